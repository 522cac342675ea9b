//! Signed requests in this crate's own, compact form: at most three blocks of the hash in the common
//! case, and one header.

mod canonical;
mod header;
mod sign;
mod verify;

pub use canonical::{MAX_CANONICAL_BYTES, RequestParts};
pub use sign::{RequestSignError, sign_request};
pub use verify::{RequestError, VerifiedRequest, verify_request};

use std::fmt;

use m2m_crypto::{KeyError, MacKey};

use crate::{Purpose, PurposeKey, SharedSecret};

/// The header that carries the signature of a request.
pub const REQUEST_SIGNATURE: &str = "m2m-signature";

/// The key that signs requests, derived from a shared secret: what a [`Ring`](crate::Ring) holds of
/// each version. Wiped on drop, never shown.
pub struct RequestKey(PurposeKey);

impl RequestKey {
    /// The key for requests under `secret`; to be handed to
    /// [`Ring::fixed_with`](crate::Ring::fixed_with).
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the library refuses what was derived.
    pub fn derive(secret: &SharedSecret) -> Result<Self, KeyError> {
        PurposeKey::derive(Purpose::REQUEST, secret).map(Self)
    }

    fn mac_key(&self) -> &MacKey {
        self.0.mac_key()
    }
}

impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestKey([redacted])")
    }
}
