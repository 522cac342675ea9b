//! RFC 7638 thumbprints: a name for a public key that everyone computes alike.

use std::fmt;

use crate::base64url;
use crate::digest::sha256;

/// The RFC 7638 thumbprint of a public key: SHA-256 over its required JWK members.
///
/// Equal thumbprints mean equal keys, whatever `kid`, `use` or `alg` the JWKs carried, so it makes a
/// good `kid`. Displays as base64url, 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Hashes the JSON that RFC 7638 §3.2 prescribes: required members only, sorted, no whitespace.
    pub(crate) fn of_json(json: &str) -> Self {
        Self(sha256(json.as_bytes()))
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}
