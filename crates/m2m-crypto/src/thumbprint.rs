//! Thumbprints: names for public keys (RFC 7638) and for certificates (RFC 8705 §3.1) that everyone
//! computes alike.

use std::fmt;
use std::str::FromStr;

use crate::base64url;
use crate::digest::sha256;

/// The RFC 7638 thumbprint of a public key: SHA-256 over its required JWK members.
///
/// Equal thumbprints mean equal keys, whatever `kid`, `use` or `alg` the JWKs carried, so it makes a
/// good `kid`. Displays, and is read, as base64url without padding: 43 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Hashes the JSON that RFC 7638 §3.2 prescribes: required members only, sorted, no whitespace.
    pub(crate) fn of_json(json: &str) -> Self {
        Self(sha256(json.as_bytes()))
    }
}

/// The thumbprint of a certificate: SHA-256 of its DER, signature included. Tokens name it `x5t#S256`
/// when they are bound to the certificate (RFC 8705 §3.1), and so do JWKs (RFC 7517 §4.9).
///
/// Displays, and is read, as base64url without padding: 43 characters. It is public: comparing it
/// needs no constant time.
///
/// ```
/// use m2m_crypto::CertificateThumbprint;
///
/// let der = b"\x30\x03\x02\x01\x05"; // as a TLS library hands it out
/// let thumbprint = CertificateThumbprint::of_der(der);
/// let claim = thumbprint.to_string();
/// assert_eq!(claim.len(), 43);
/// assert_eq!(claim.parse(), Ok(thumbprint));
/// assert!(format!("{claim}=").parse::<CertificateThumbprint>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateThumbprint([u8; 32]);

impl CertificateThumbprint {
    /// The thumbprint of the certificate with this DER, all of it.
    pub fn of_der(der: &[u8]) -> Self {
        Self(sha256(der))
    }
}

/// A text that is no thumbprint: it must be 32 bytes in base64url, 43 characters without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 in base64url: 43 characters, no padding")]
pub struct ThumbprintError;

/// What both kinds can do.
macro_rules! hash_in_base64url {
    ($name:ident, $text:literal) => {
        impl $name {
            /// One that was computed elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The hash itself.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        /// Reads base64url, in its one canonical form.
        impl FromStr for $name {
            type Err = ThumbprintError;

            fn from_str(text: &str) -> Result<Self, ThumbprintError> {
                let bytes = base64url::decode_array(text).ok_or(ThumbprintError)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64url::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($text, "({})"), self)
            }
        }
    };
}

hash_in_base64url!(Thumbprint, "Thumbprint");
hash_in_base64url!(CertificateThumbprint, "CertificateThumbprint");
