//! Why no CRL was published.

use m2m_crypto::RandomError;
use m2m_store::StoreError;

use crate::ledger::LedgerError;
use crate::{CrlNumber, CrlNumberError, CrlSignError};

/// Why no CRL was published. What was published before stays good until its `nextUpdate`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlPublishError {
    /// The issuer's certificate has no `subjectKeyIdentifier`, so the ledger does not know what is its.
    #[error("the issuer's certificate has no subjectKeyIdentifier")]
    NoKeyId,
    /// There is no such list.
    #[error("there is no list {list}")]
    NoList {
        /// Which.
        list: u32,
    },
    /// Somebody else claimed a greater number meanwhile. Theirs will list as much and more.
    #[error("CRL {number} was overtaken before it was released")]
    Overtaken {
        /// The number that is not used.
        number: CrlNumber,
    },
    /// Others publish the same list all the time.
    #[error("overtaken {rounds} times")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// There is no next number.
    #[error("there is no next number")]
    Number(#[from] CrlNumberError),
    /// It cannot be signed.
    #[error("it cannot be signed")]
    Sign(#[from] CrlSignError),
    /// There were no random bytes.
    #[error("no random bytes")]
    Random(#[from] RandomError),
    /// The ledger could not be read or written. A number may have been claimed; it is not used.
    #[error("the ledger failed")]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for CrlPublishError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}
