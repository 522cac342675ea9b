//! `KeyEncryption`: the outer key, which seals the key that seals the values.

use std::fmt;

use m2m_crypto::{AeadAlgorithm, AeadKey, KeyError, SecretBytes, SystemRandom};

use crate::Reason;

/// Encrypts a store's data key, so that the file or the database holds it only sealed.
///
/// [`LocalKey`] does it with a key of yours. A KMS or HSM fits by implementing the two methods;
/// they are called when a store is created, opened or given another outer key, and never for a
/// record.
pub trait KeyEncryption: Send + Sync {
    /// Seals `data_key`. Binds `context` (the store's id) to it, so that a sealed key is of no use
    /// in another store.
    ///
    /// # Errors
    ///
    /// [`KeyEncryptionError`].
    fn wrap(&self, data_key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KeyEncryptionError>;

    /// Opens what [`KeyEncryption::wrap`] gave.
    ///
    /// # Errors
    ///
    /// [`KeyEncryptionError::WrongKey`] if it was wrapped with another key or for another context.
    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KeyEncryptionError>;
}

/// Why a data key was not sealed or opened.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyEncryptionError {
    /// It was sealed with another key, or for another store.
    #[error("the data key was sealed with another outer key, or for another store")]
    WrongKey,
    /// Whoever holds the outer key did not answer.
    #[error("the outer key is not available: {reason}")]
    Unavailable {
        /// What was seen.
        reason: Reason,
    },
}

/// An outer key that this process holds: 32 bytes from wherever the program keeps its secrets.
///
/// ```
/// use m2m_crypto::{SecretBytes, SystemRandom};
/// use m2m_store::{KeyEncryption, LocalKey};
///
/// let outer = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
/// let data_key = SecretBytes::random(32, &SystemRandom)?;
/// let wrapped = outer.wrap(&data_key, b"store 1")?;
/// assert!(outer.unwrap(&wrapped, b"store 1")?.ct_eq(data_key.expose_secret()));
/// assert!(outer.unwrap(&wrapped, b"store 2").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LocalKey(AeadKey);

impl LocalKey {
    /// Bytes of the key.
    pub const BYTES: usize = AeadKey::KEY_BYTES;

    /// Takes 32 uniformly random bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if they are not 32, or all zero.
    pub fn new(key: SecretBytes) -> Result<Self, KeyError> {
        AeadKey::new(AeadAlgorithm::Aes256Gcm, key).map(Self)
    }
}

impl KeyEncryption for LocalKey {
    fn wrap(&self, data_key: &SecretBytes, context: &[u8]) -> Result<Vec<u8>, KeyEncryptionError> {
        let sealed = self
            .0
            .seal(data_key.expose_secret(), context, &SystemRandom);
        sealed.map_err(|error| KeyEncryptionError::Unavailable {
            reason: Reason::new(error),
        })
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<SecretBytes, KeyEncryptionError> {
        let opened = self.0.open(wrapped, context);
        opened.map_err(|_| KeyEncryptionError::WrongKey)
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey([redacted])")
    }
}
