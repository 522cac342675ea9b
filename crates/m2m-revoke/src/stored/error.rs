//! Why revocations were not loaded, kept, followed or compacted.

use m2m_crypto::RandomError;
use m2m_store::{Key, StoreError};

use super::segment::RecordError;
use crate::error::{RebuildError, RevokeError};
use crate::target::Kind;

/// Why [`StoredRevocations::open`](super::StoredRevocations::open) gave nothing. There is then no
/// set to ask, and whoever needs one refuses.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredOpenError {
    /// The store could not be read, or did not take the record of a new set.
    #[error("the store failed while the revocations were opened")]
    Store(#[from] StoreError),
    /// The records were not all taken in.
    #[error("not all revocations of the store could be loaded")]
    Load(#[from] StoredLoadError),
    /// The record with the key and the time of the set is not what this code writes.
    #[error(
        "the record of the set is malformed, or of a form ({form:?}) this program does not know"
    )]
    SetMalformed {
        /// The version of its form, if it has any byte.
        form: Option<u8>,
    },
    /// There are revocations, but not the record with the key and the time of the set.
    #[error("the store has revocations and has lost the record of their set; restore a backup")]
    SetMissing,
    /// No randomness.
    #[error("the revocations were not opened")]
    Random(#[from] RandomError),
}

/// Why the revocations of a store are not all in memory. Those that were before still are.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredLoadError {
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[from] StoreError),
    /// A record is not understood, so what it revokes would be accepted.
    #[error("{key} does not hold revocations that are understood")]
    Record {
        /// Which.
        key: Key,
        /// What is wrong with it.
        #[source]
        problem: RecordError,
    },
    /// Memory does not take them: see [`StoredOptions::with_capacity_limit`](super::StoredOptions).
    #[error("the set in memory does not take what the store has")]
    Set(#[from] RevokeError),
    /// The store forgot what was deleted each time before everything was read.
    #[error("the store prunes its feed faster than it can be read; let it remember more")]
    Pruned,
}

/// Why something was not, or not wholly, revoked.
///
/// Say to nobody that it is revoked. Calling again does no harm: what is there twice counts once, and
/// the longer of two revocations stays.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredRevokeError {
    /// The store did not take it. It is **not** revoked, and the set is as it was.
    #[error("not revoked: the store did not take it")]
    NotStored(#[source] StoreError),
    /// The store may have taken it and may not. Here it **is** revoked, since refusing is the safe
    /// side; it may be forgotten by a restart, and others may never hear of it. Call again.
    #[error("revoked in this process, but perhaps not durably; do it again")]
    Unknown(#[source] StoreError),
    /// Each time another record was where it was to be written. It is **not** revoked.
    #[error("not revoked: {attempts} times there was another record in its place; try again")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The set in memory has no room. Nothing was written, and it is **not** revoked.
    #[error("not revoked: the set has no room for it")]
    NoRoom(#[source] RevokeError),
    /// It is durable, and in force wherever it is followed, but **not** in this process.
    #[error("durable, but not in force in this process")]
    NotInForce(#[source] RevokeError),
    /// A field of the target is longer than any credential's. Nothing of the call is revoked.
    #[error("not revoked: a field of a {kind:?} has {length} bytes; at most 65535 are kept")]
    FieldTooLong {
        /// Of which kind the target is.
        kind: Kind,
        /// How long the field is.
        length: usize,
    },
}

/// Why a compaction did not go to its end. Nothing was forgotten that may matter, and the next call
/// goes on where this one was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredCompactError {
    /// The set in memory could not be written anew.
    #[error("the set in memory could not be compacted")]
    Set(#[from] RebuildError),
    /// The store failed.
    #[error("the store failed while it was compacted")]
    Store(#[from] StoreError),
    /// A record is not understood, so nobody knows how long it must be kept.
    #[error("{key} does not hold revocations that are understood")]
    Record {
        /// Which.
        key: Key,
        /// What is wrong with it.
        #[source]
        problem: RecordError,
    },
    /// The record with the time of the set is gone or malformed.
    #[error("the record of the set is gone or malformed; restore a backup")]
    SetMissing,
}
