#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bits;
mod check;
mod checksum;
mod error;
mod fingerprint;
mod header;
mod names;
mod reader;
mod set;
mod siphash;
mod snapshot;
mod stats;
#[cfg(feature = "store")]
mod stored;
mod table;
mod tail;
mod target;
mod term;

pub use check::{Revoked, TokenFacts};
pub use error::{MergeError, RebuildError, RevokeError, SnapshotError};
pub use fingerprint::PreparedIssuer;
pub use reader::RevocationReader;
pub use set::{Compaction, DEFAULT_CAPACITY_LIMIT, Revocations};
pub use snapshot::RevocationSnapshot;
pub use stats::Stats;
#[cfg(feature = "store")]
pub use stored::{
    CaughtUp, RecordError, StoredCompactError, StoredCompaction, StoredLoadError, StoredOpenError,
    StoredOptions, StoredRevocations, StoredRevokeError, StoredStats,
};
pub use target::{Kind, Revocation, Target};
pub use term::REVOCATION_MARGIN;
