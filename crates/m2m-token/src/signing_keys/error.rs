//! `SigningKeyError`: why a key ring was not changed.

use m2m_types::Timestamp;

use crate::key_set::KeySetError;

/// Why a key ring was not changed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The key cannot be added.
    #[error("the key cannot be added: {0}")]
    Set(KeySetError),
    /// There is no such key.
    #[error("no key {kid:?} in this ring; published ones are in its JWK set")]
    Unknown {
        /// The name asked for.
        kid: Box<str>,
    },
    /// The key has not been published for long enough: some verifiers would not know it.
    #[error("key {kid:?} may be used from {from} on, when every verifier can know it")]
    TooEarly {
        /// Its name.
        kid: Box<str>,
        /// When to try again.
        from: Timestamp,
    },
    /// The key was active before. What is retired does not come back.
    #[error("key {kid:?} is retiring; a retired key is never used again")]
    Retiring {
        /// Its name.
        kid: Box<str>,
    },
    /// The key is in use; another one must be activated first.
    #[error("key {kid:?} is the one in use; activate another one first")]
    InUse {
        /// Its name.
        kid: Box<str>,
    },
}
