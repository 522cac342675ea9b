//! Why a set could not do what it was asked to.

use crate::table::BytesChanged;
use crate::target::Kind;

/// Why something was not revoked. **It is not revoked**: whoever asked for it must not be told that
/// it is, and what depends on it must be refused by other means until it is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The set holds as many entries as it may. Those stay; nothing of the call was taken in.
    #[error(
        "the set holds {entries} revocations and may hold {limit}; compact it or raise the limit"
    )]
    Full {
        /// How many it holds.
        entries: u64,
        /// [`Revocations::with_capacity_limit`](crate::Revocations::with_capacity_limit).
        limit: u64,
    },
    /// The set has changed as often as it can count; a loaded snapshot said so.
    #[error("revision {revision} is the last one; begin a set under a new key")]
    RevisionExhausted {
        /// The revision that has no next one.
        revision: u64,
    },
    /// The bytes of the snapshot that the set works from changed after they had been checked: a
    /// mapped file was written to, for example. Look-ups in what is damaged answer "revoked".
    #[error("the bytes of the snapshot changed after they were checked; load a sound one")]
    SnapshotChanged,
}

/// Why two sets were not merged. The set is as it was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The snapshot's fingerprints were made under another key, so they cannot be compared.
    #[error("the snapshot has another fingerprint key; sets to be merged must share it")]
    DifferentKey,
    /// The union does not fit; see the cause.
    #[error("the union of the sets cannot be held")]
    Refused(#[from] RevokeError),
}

/// Why a set could not be written anew. The set is as it was and goes on revoking.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// See [`RevokeError::SnapshotChanged`].
    #[error("the bytes of the snapshot changed after they were checked; load a sound one")]
    SnapshotChanged,
}

/// Why bytes are not a snapshot.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// There are fewer bytes than a header has.
    #[error("{length} bytes are fewer than the {needed} of a header")]
    Truncated {
        /// How many there are.
        length: usize,
        /// How many a header has.
        needed: usize,
    },
    /// It is something else, or of a version this code does not know.
    #[error("{magic:02x?} does not begin a revocation snapshot of version 3")]
    Format {
        /// What it begins with.
        magic: [u8; 8],
    },
    /// The revision is one that no set reaches by counting.
    #[error("revision {revision} is out of range")]
    Revision {
        /// What the header says.
        revision: u64,
    },
    /// The set's own time is after the year 9999.
    #[error("{seconds} s since 1970 is not a time")]
    Time {
        /// What the header says.
        seconds: u64,
    },
    /// The header describes a table that this crate does not make.
    #[error("a table of {groups} groups for {homes} homes")]
    Shape {
        /// The range of the homes.
        homes: u64,
        /// The number of groups.
        groups: u64,
    },
    /// There are not as many bytes as the header says.
    #[error("{length} bytes do not hold a header and {groups} groups")]
    Length {
        /// How many bytes there are.
        length: usize,
        /// How many groups of entries the header says.
        groups: u64,
    },
    /// The bytes were damaged on their way.
    #[error("the checksum is {computed:016x} and should be {stated:016x}")]
    Checksum {
        /// What the header says.
        stated: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// An entry stands where no look-up finds it, is of no known kind or stands twice, or the last
    /// group has no room.
    #[error("the entry in slot {slot} does not belong there")]
    Misplaced {
        /// Which slot.
        slot: u64,
    },
    /// There are not as many entries of a kind as the header says.
    #[error("{found} entries of kind {kind:?}, the header says {stated}")]
    Count {
        /// The kind.
        kind: Kind,
        /// What the header says.
        stated: u64,
        /// How many there are.
        found: u64,
    },
}

impl From<RevokeError> for RebuildError {
    fn from(_: RevokeError) -> Self {
        // A set is rebuilt without a limit and without a new revision, so nothing else can fail.
        Self::SnapshotChanged
    }
}

impl From<BytesChanged> for RevokeError {
    fn from(_: BytesChanged) -> Self {
        Self::SnapshotChanged
    }
}
