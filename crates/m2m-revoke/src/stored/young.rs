//! `Young`: the segments that this process goes on adding to.
//!
//! A revocation that comes alone would make a record of its own, and merging it away later would
//! leave a tombstone. So it is added to a segment that this process has begun before, by writing that
//! one anew, as long as it is small: what a store writes for a record costs as much for a hundred
//! bytes as for two thousand. A segment is taken out while it is written, so callers that revoke at
//! once write to different ones and do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use m2m_store::{Expected, Key, Revision};

use super::item::Item;
use super::segment::Segment;

/// A young segment takes nothing beyond this: some fifty tokens. Half a page of redb, and what
/// PostgreSQL keeps within a row.
pub(super) const YOUNG_BYTES: usize = 2 << 10;
/// How many are kept while nobody writes to them: as many as callers usually revoke at once.
const KEPT: usize = 64;

/// Segments of this process that nobody is writing to.
#[derive(Default)]
pub(super) struct Young(Mutex<Vec<Open>>);

/// A segment as it is in the store at `version`, unless it was merged since.
///
/// Only the process that drew its key ever writes at it: merging deletes it, and puts what it held
/// elsewhere. So at one version there is one content, even if the store was set back to an older copy.
pub(super) struct Open {
    pub(super) key: Key,
    pub(super) version: Revision,
    pub(super) segment: Segment,
}

impl Young {
    /// Takes out a segment that has room for `items`. One without is left to be merged.
    pub(super) fn take(&self, items: &[Item<'_>]) -> Option<Open> {
        let open = self.kept().pop()?;
        open.has_room(items).then_some(open)
    }

    /// Keeps a segment that was written and acknowledged, for the next.
    pub(super) fn keep(&self, open: Open) {
        let mut kept = self.kept();
        if open.segment.len() < YOUNG_BYTES && kept.len() < KEPT {
            kept.push(open);
        }
    }

    /// Adds no more to any of them: they are about to be merged.
    pub(super) fn leave(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Open>> {
        // Nobody panics while holding it; and each is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Where it is written again.
    pub(super) fn expected(&self) -> Expected {
        Expected::Version(self.version)
    }

    /// What is to be there next: `items` as well.
    pub(super) fn with(self, items: &[Item<'_>]) -> Segment {
        let mut segment = self.segment;
        items.iter().for_each(|item| segment.push(item));
        segment
    }

    fn has_room(&self, items: &[Item<'_>]) -> bool {
        let growth = |item| self.segment.growth(item);
        self.segment.len() + items.iter().map(growth).sum::<usize>() <= YOUNG_BYTES
    }
}
