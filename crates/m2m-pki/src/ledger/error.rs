//! Why something is not in the ledger.

use m2m_store::StoreError;
use m2m_types::ServiceId;

use crate::profile::short;
use crate::{Rejection, Serial};

/// Why the ledger could not be read or written.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A record is not what this crate writes.
    #[error("a record in {space} is not what the ledger writes; restore a backup")]
    Damaged {
        /// Where.
        space: &'static str,
    },
}

/// Why a certificate was not recorded, and so is not released: for operators. Who asked for it gets
/// [`RecordError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its key is somebody else's, or that of a CA and asked for a machine, or the other way round.
    #[error(
        "its key is that of {} (CA: {is_ca}) and was asked for {}",
        short(bound),
        short(asked)
    )]
    KeyBound {
        /// Whose it is.
        bound: ServiceId,
        /// Whether it is a CA's.
        is_ca: bool,
        /// Who asked.
        asked: ServiceId,
    },
    /// Its key was revoked with an earlier certificate.
    #[error("its key was revoked, as one of {}", short(identity))]
    KeyRevoked {
        /// Whose it was.
        identity: ServiceId,
    },
    /// The certificate of its issuer is revoked.
    #[error("its issuer is revoked")]
    IssuerRevoked,
    /// The number was issued before.
    #[error("the serial number {serial} was issued before")]
    SerialTaken {
        /// Which.
        serial: Serial,
    },
    /// It has no `authorityKeyIdentifier`, so it has no place in the ledger.
    #[error("it does not say which key signed it")]
    Unnamed,
    /// Others wrote about the same key all the time.
    #[error("the key's record changed {rounds} times while it was read")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// The ledger could not be read or written. Whether the record is there is not known; the
    /// certificate is not released in either case.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl RecordError {
    /// What the sender of the request may learn.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::KeyBound { .. } | Self::KeyRevoked { .. } => Rejection::Refused,
            _ => Rejection::Unavailable,
        }
    }
}
