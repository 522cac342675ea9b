//! Why a client's keys were not read or recorded.

use std::fmt;

use m2m_crypto::RandomError;
use m2m_store::{Key, Reason, StoreError};
use m2m_types::ServiceId;

use crate::{IssueError, LeakError, NoSuchKey};

/// Why nothing was done. No key is handed out that was not recorded.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredClientsError {
    /// Another process changed the client meanwhile, or there is such a client already. Nothing was
    /// written: follow, and decide anew.
    #[error("another process changed the client; nothing was written, follow the store")]
    Conflict,
    /// There is no such client.
    #[error("there is no client {owner}")]
    UnknownClient {
        /// Who.
        owner: ServiceId,
    },
    /// No key was made.
    #[error("no key was made")]
    Issue(#[from] IssueError),
    /// The client has no such key.
    #[error("nothing was revoked")]
    NoSuchKey(#[from] NoSuchKey),
    /// The client is not known to have had such a key.
    #[error("nothing came of the report")]
    Leak(#[from] LeakError),
    /// The store failed.
    #[error("the store failed while keys were read or recorded")]
    Store(#[from] StoreError),
    /// A record is not what this program writes. Nothing of it is shown.
    #[error("the record {key} is malformed")]
    Malformed {
        /// Where.
        key: Key,
    },
    /// A name cannot be the key of a record.
    #[error("a name does not fit the store: {0}")]
    Name(m2m_store::KeyError),
    /// The store tells of something that this program does not know.
    #[error("the store tells of something unknown: {reason}")]
    Unknown {
        /// What.
        reason: Reason,
    },
    /// The source of randomness failed.
    #[error("the source of randomness failed; nothing was written")]
    Random,
}

impl StoredClientsError {
    pub(super) fn unknown(_: &impl fmt::Debug) -> Self {
        Self::Unknown {
            reason: Reason::new("a kind of change that was added later"),
        }
    }
}

impl From<m2m_store::KeyError> for StoredClientsError {
    fn from(error: m2m_store::KeyError) -> Self {
        Self::Name(error)
    }
}

impl From<RandomError> for StoredClientsError {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}
