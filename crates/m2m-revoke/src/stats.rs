//! `Stats`: how much a set holds, in numbers and never in names.

use std::fmt;

use m2m_types::Timestamp;

use crate::header::Counts;
use crate::target::Kind;

/// How much a set holds. See [`Revocations::stats`](crate::Revocations::stats).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub(crate) counts: Counts,
    pub(crate) tail_entries: u64,
    pub(crate) bytes: u64,
    pub(crate) capacity_limit: u64,
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    pub(crate) compacted_until: Timestamp,
}

impl Stats {
    /// How many targets have an entry, expired ones that were not compacted yet included.
    pub fn entries(&self) -> u64 {
        self.counts.total()
    }

    /// How many of them are of one kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.of(kind)
    }

    /// How many entries there may be.
    pub const fn capacity_limit(&self) -> u64 {
        self.capacity_limit
    }

    /// How many entries were written since the table was built the last time. Some of them may
    /// extend one that is in the table.
    pub const fn tail_entries(&self) -> u64 {
        self.tail_entries
    }

    /// Bytes of table and tail. While a table is built there are two.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// See [`Revocations::epoch`](crate::Revocations::epoch).
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// See [`RevocationSnapshot::revision`](crate::RevocationSnapshot::revision).
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The set's own time, see [`Revocations::compact`](crate::Revocations::compact). If it lags
    /// far behind the clock, nobody compacts or the clock has jumped.
    pub const fn compacted_until(&self) -> Timestamp {
        self.compacted_until
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Stats");
        debug.field("entries", &self.entries());
        for kind in Kind::ALL.into_iter().filter(|kind| self.count(*kind) > 0) {
            debug.field(&format!("{kind:?}"), &self.count(kind));
        }
        debug
            .field("capacity_limit", &self.capacity_limit)
            .field("tail_entries", &self.tail_entries)
            .field("bytes", &self.bytes)
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .field("compacted_until", &self.compacted_until)
            .finish()
    }
}
