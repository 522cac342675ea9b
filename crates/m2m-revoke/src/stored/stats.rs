//! `StoredStats`: what there is to watch, in numbers and never in names.

use std::sync::atomic::{AtomicU64, Ordering};

use m2m_store::Cursor;
use m2m_types::Timestamp;

use super::StoredRevocations;
use crate::stats::Stats;

/// What to watch of a set that is kept in a store. See [`StoredRevocations::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredStats {
    set: Stats,
    as_of: Cursor,
    caught_up_at: Timestamp,
    changes: u64,
    reloads: u64,
    conflicts: u64,
    repeats: u64,
}

/// What was counted since the set was opened.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) changes: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) repeats: AtomicU64,
}

impl StoredRevocations {
    /// What there is to watch. Waits for a writer, so it is not for the hot path.
    pub fn stats(&self) -> StoredStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StoredStats {
            set: self.revocations.stats(),
            as_of: self.as_of(),
            caught_up_at: self.caught_up_at(),
            changes: read(&self.counts.changes),
            reloads: read(&self.counts.reloads),
            conflicts: read(&self.counts.conflicts),
            repeats: read(&self.counts.repeats),
        }
    }
}

impl StoredStats {
    /// What is in memory.
    pub const fn set(&self) -> &Stats {
        &self.set
    }

    /// See [`StoredRevocations::as_of`]: its revision, beside that of other nodes, shows who lags.
    pub const fn as_of(&self) -> Cursor {
        self.as_of
    }

    /// The time of the last successful [`StoredRevocations::catch_up`].
    pub const fn caught_up_at(&self) -> Timestamp {
        self.caught_up_at
    }

    /// How many changes of the feed were taken in.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// How often everything was read anew. If this grows, the store prunes too early or this node
    /// follows too seldom.
    pub const fn reloads(&self) -> u64 {
        self.reloads
    }

    /// How often another node had changed a record first: merged what this one was writing to, or what
    /// it was merging.
    pub const fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// How often a batch was committed again because its outcome was not known.
    pub const fn repeats(&self) -> u64 {
        self.repeats
    }
}
