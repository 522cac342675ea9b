//! `EmbeddedStats`: how large a store is, and how it keeps up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{ReadableDatabase, ReadableTableMetadata};

use super::EmbeddedStore;
use super::failure::Failed;
use super::shared::Shared;
use super::tables::{RECORDS, Reading};
use crate::{Revision, StoreError};

/// Size and load of an [`EmbeddedStore`], for metrics.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedStats {
    /// The newest revision.
    pub head: Revision,
    /// Cursors before this revision are too old.
    pub floor: Revision,
    /// Records that are there.
    pub records: u64,
    /// Deleted records that the feed still tells of.
    pub tombstones: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Batches that wait for their commit, or take part in it.
    pub waiting_batches: u64,
    /// Bytes of these batches.
    pub waiting_bytes: u64,
    /// Batches committed since the store was opened.
    pub commits: u64,
    /// Groups of batches since then: each cost one durable transaction at most.
    pub groups: u64,
    /// Batches refused because of what they expected.
    pub conflicts: u64,
    /// Batches refused for another reason.
    pub failures: u64,
    /// How long the last group took.
    pub last_commit: Duration,
    /// How long the slowest group took.
    pub slowest_commit: Duration,
}

/// What waits in an [`EmbeddedStore`] now: its lag.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedLoad {
    /// Batches that wait for their commit, or take part in it.
    pub waiting_batches: u64,
    /// Bytes of these batches, and of the next one that waits for room.
    pub waiting_bytes: u64,
}

impl EmbeddedStore {
    /// What waits. Answers at once also while the disk does not, when [`EmbeddedStore::stats`], which
    /// reads the file, may have to wait for it.
    pub fn load(&self) -> EmbeddedLoad {
        let free_bytes = self.shared.room.available_permits() as u64;
        EmbeddedLoad {
            waiting_batches: self.shared.waiting() as u64,
            waiting_bytes: u64::from(Shared::ROOM_BYTES) - free_bytes,
        }
    }

    /// How large it is and how it keeps up.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be read.
    pub fn stats(&self) -> Result<EmbeddedStats, StoreError> {
        let shared = &self.shared;
        shared.check()?;
        let read = shared.with_database(|opened| {
            let marks = Reading::begin(opened.database(), &shared.sealer)?.marks()?;
            let rows = opened.database().begin_read()?.open_table(RECORDS)?.len()?;
            let file_bytes = opened.disk().len()?;
            Ok((marks, rows, file_bytes))
        });
        let (marks, rows, file_bytes) = read.map_err(Failed::into_read_error)?;
        let load = self.load();
        let counters = &shared.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Ok(EmbeddedStats {
            head: marks.head,
            floor: marks.floor,
            records: rows.saturating_sub(marks.tombstones),
            tombstones: marks.tombstones,
            file_bytes,
            waiting_batches: load.waiting_batches,
            waiting_bytes: load.waiting_bytes,
            commits: count(&counters.commits),
            groups: count(&counters.groups),
            conflicts: count(&counters.conflicts),
            failures: count(&counters.failures),
            last_commit: Duration::from_micros(count(&counters.last_commit_micros)),
            slowest_commit: Duration::from_micros(count(&counters.slowest_commit_micros)),
        })
    }
}
