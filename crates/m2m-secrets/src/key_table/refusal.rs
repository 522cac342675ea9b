//! `KeyRefusal`: why a key was refused, for operators; and `KeyRejection`, what its bearer may learn.

use std::fmt;

use m2m_types::{ServiceId, Timestamp};

use crate::{ApiKeyId, KeyVersion, MalformedKey};

/// Why a key was refused: for logs and operators. The peer gets [`KeyRefusal::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// It is no key of this format. Nothing was looked up, and nothing was hashed.
    #[error("{0}")]
    Malformed(MalformedKey),
    /// No key has this id. Nothing was hashed.
    #[error("no key has the id {id}")]
    Unknown {
        /// The id that was presented.
        id: ApiKeyId,
    },
    /// The id is somebody's, and the secret is not: guessed, damaged, or put together of two keys.
    #[error("the secret of key {id} is another")]
    Wrong {
        /// The id that was presented.
        id: ApiKeyId,
    },
    /// It is kept under a pepper that is not there: it cannot be said whether it is right.
    #[error("key {id} is kept under a pepper that is not there")]
    PepperUnknown {
        /// The id that was presented.
        id: ApiKeyId,
    },
    /// It was right, and its overlap is over.
    #[error("key {id}, version {version} of {owner}, was accepted until {until}")]
    Expired {
        /// Whose key.
        owner: ServiceId,
        /// Which key.
        id: ApiKeyId,
        /// Its number.
        version: KeyVersion,
        /// From when on it is refused.
        until: Timestamp,
    },
    /// It was right, and has ended: somebody still uses it, or whoever stole it.
    #[error("key {id}, version {version} of {owner}, has ended")]
    Ended {
        /// Whose key.
        owner: ServiceId,
        /// Which key.
        id: ApiKeyId,
        /// Its number.
        version: KeyVersion,
    },
}

/// What the bearer of a refused key may learn: the same word whatever the cause.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRejection {
    /// `invalid_client` (RFC 6749 §5.2).
    InvalidClient,
}

impl KeyRefusal {
    /// What the peer may learn.
    pub const fn rejection(&self) -> KeyRejection {
        KeyRejection::InvalidClient
    }

    m2m_types::codes! {
        pub fn code;
        Self::Malformed(_) => "malformed",
        Self::Unknown { .. } => "unknown",
        Self::Wrong { .. } => "wrong",
        Self::PepperUnknown { .. } => "pepper_unknown",
        Self::Expired { .. } => "expired",
        Self::Ended { .. } => "ended",
    }
}

#[cold]
pub(super) fn ended(owner: &ServiceId, id: ApiKeyId, version: KeyVersion) -> KeyRefusal {
    KeyRefusal::Ended {
        owner: owner.clone(),
        id,
        version,
    }
}

#[cold]
pub(super) fn expired(
    owner: &ServiceId,
    id: ApiKeyId,
    version: KeyVersion,
    until: Timestamp,
) -> KeyRefusal {
    KeyRefusal::Expired {
        owner: owner.clone(),
        id,
        version,
        until,
    }
}

impl fmt::Display for KeyRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid_client")
    }
}
