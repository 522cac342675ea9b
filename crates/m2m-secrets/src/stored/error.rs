//! Why a rotation was not read or recorded.

use m2m_crypto::KeyError;
use m2m_store::StoreError;

use crate::rotation::{CommandError, HearError, SecretName, SecretVersion};

/// Why nothing was done. Nothing is released that was not recorded.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredRotationError {
    /// Another process changed the rotation meanwhile. Nothing was written: reload, and decide anew.
    #[error("another process changed the rotation; nothing was written, reload it")]
    Conflict,
    /// The order is not safe, or not possible.
    #[error("the order was refused")]
    Command(#[from] CommandError),
    /// The acknowledgement counts for nothing.
    #[error("the acknowledgement was refused")]
    Hear(#[from] HearError),
    /// The store failed.
    #[error("the store failed while a rotation was read or recorded")]
    Store(#[from] StoreError),
    /// The record of a rotation is not what this program writes.
    #[error("the record of {secret} is missing or malformed")]
    Malformed {
        /// Of which secret.
        secret: SecretName,
    },
    /// A version that is alive has no secret. Restore a backup.
    #[error("version {version} of {secret} is alive, and its secret is not in the store")]
    SecretMissing {
        /// Of which secret.
        secret: SecretName,
        /// Which version.
        version: SecretVersion,
    },
    /// A secret or a name is of no use.
    #[error(transparent)]
    Secret(#[from] StoredSecretError),
    /// The source of randomness failed.
    #[error("the source of randomness failed; nothing was written")]
    Random,
}

/// What is of no use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredSecretError {
    /// A secret cannot be a key.
    #[error("a secret is of no use as a key: {0}")]
    Key(KeyError),
    /// A name cannot be the key of a record.
    #[error("a name does not fit the store: {0}")]
    Name(m2m_store::KeyError),
}

impl From<KeyError> for StoredRotationError {
    fn from(error: KeyError) -> Self {
        Self::Secret(StoredSecretError::Key(error))
    }
}

impl From<m2m_store::KeyError> for StoredRotationError {
    fn from(error: m2m_store::KeyError) -> Self {
        Self::Secret(StoredSecretError::Name(error))
    }
}
