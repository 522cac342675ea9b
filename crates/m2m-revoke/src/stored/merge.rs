//! Merging segments: what is small becomes large, and what has ended is left out.
//!
//! A merge is one batch. It deletes segments, each in the version that was read, and puts what they
//! held elsewhere; so at every moment each revocation is in some segment, whatever fails and whoever
//! merges the same ones. A follower misses nothing either: it may never see what is deleted, but
//! where that is now was written later.
//!
//! Segments have levels by their size. Those of one level are merged when they are [`FAN_IN`] or make
//! a segment of the last level, and what comes out is of a higher one; so a revocation is written
//! anew about as often as there are levels. Those of the last level are left alone until a quarter
//! of one has ended.

use std::sync::atomic::Ordering;

use m2m_store::{Batch, Expected, Key, Record, Revision, StoreError, Value};
use m2m_types::Timestamp;

use super::StoredRevocations;
use super::error::StoredCompactError;
use super::item::{self, Item};
use super::segment::{self, LAST_LEVEL, RecordError, SEGMENT_BYTES, Segment};

/// How many segments of a level are worth merging.
const FAN_IN: usize = 8;
/// A segment is written anew if at least one in so many of its revocations has ended.
const WORN: u64 = 4;
/// As many segments go into one merge at most: a store takes 256 operations in a batch.
const MERGE_SEGMENTS: usize = 200;
/// A merge ends with the segment that takes it beyond so many bytes: a quarter of what a store takes.
const MERGE_BYTES: usize = 1 << 20;
/// How often a merge is tried without segments that others were writing to.
const ATTEMPTS: u32 = 16;

/// A segment that was read.
pub(super) struct Old {
    key: Key,
    version: Revision,
    value: Value,
    entries: u64,
    ended: u64,
}

/// Segments of one level that may be merged.
pub(super) struct Gathered {
    line: Timestamp,
    level: u8,
    segments: Vec<Old>,
    bytes: usize,
}

/// What one merge did.
#[derive(Default)]
pub(super) struct Merged {
    /// How many revocations were left out.
    pub(super) ended: u64,
    /// How many records were merged.
    pub(super) records: u64,
}

impl StoredRevocations {
    /// Merges what was gathered, if it is worth it. What somebody else changes at the same moment is
    /// left for the next round.
    pub(super) async fn merge(
        &self,
        gathered: &mut Gathered,
    ) -> Result<Merged, StoredCompactError> {
        let (mut olds, line) = (gathered.take(), gathered.line);
        for _ in 0..ATTEMPTS {
            leave_what_is_not_worth_it(&mut olds);
            if olds.is_empty() {
                break;
            }
            let (batch, ended) = self.merging(&olds, line)?;
            let failed = match self.commit(batch).await {
                Ok(_) => {
                    let records = olds.len() as u64;
                    return Ok(Merged { ended, records });
                }
                Err(failed) => failed,
            };
            match failed.error {
                // Somebody writes to it.
                StoreError::Conflict {
                    key,
                    found: Some(_),
                    ..
                } => olds.retain(|old| old.key != key),
                // Somebody merges the same.
                StoreError::Conflict { .. } => olds.clear(),
                error => return Err(error.into()),
            }
            self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Merged::default())
    }

    /// The batch that puts what `olds` hold in as few segments as it takes, and how many revocations
    /// that leaves out.
    fn merging(&self, olds: &[Old], line: Timestamp) -> Result<(Batch, u64), StoredCompactError> {
        let mut items = Vec::new();
        for old in olds {
            old.add_to(&mut items)?;
        }
        item::unite(&mut items);
        let all = items.len();
        items.retain(|item| !item.term().is_over(line));
        let ended = (all - items.len()) as u64;

        let mut batch = Batch::new(self.next_intent());
        let mut left: Vec<&Old> = olds.iter().collect();
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let (segment, _, behind) = Segment::fill(rest, SEGMENT_BYTES);
            let (key, expected) = self.place_for(&segment, &mut left);
            batch = batch.put_with_summary(key, expected, segment.value(), segment.summary());
            rest = behind;
        }
        for old in left {
            batch = batch.delete(old.key.clone(), Expected::Version(old.version));
        }
        Ok((batch, ended))
    }

    /// Where `segment` is to be: in the place of one that is merged, which leaves no tombstone, if
    /// there is one of its level.
    ///
    /// Not in that of a young one, which only its own process writes to.
    fn place_for(&self, segment: &Segment, left: &mut Vec<&Old>) -> (Key, Expected) {
        let level = segment.level();
        let same = |old: &&Old| level > 0 && segment::level_of(&old.key) == level;
        match left.iter().position(same) {
            Some(at) => {
                let old = left.swap_remove(at);
                (old.key.clone(), Expected::Version(old.version))
            }
            None => (segment::key(level, self.ids.next()), Expected::Absent),
        }
    }
}

/// Leaves all of `olds` if together they are worth a merge, else those that are worn.
fn leave_what_is_not_worth_it(olds: &mut Vec<Old>) {
    let bytes: usize = olds.iter().map(Old::live_bytes).sum();
    let is_worth_it = olds.len() >= FAN_IN || (olds.len() > 1 && bytes >= SEGMENT_BYTES);
    if !is_worth_it {
        olds.retain(Old::is_worn);
    }
}

impl Gathered {
    pub(super) fn new(line: Timestamp) -> Self {
        Self {
            line,
            level: 0,
            segments: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether `old` is for the next merge.
    pub(super) fn is_full_for(&self, old: &Old) -> bool {
        let is_full = self.segments.len() >= MERGE_SEGMENTS || self.bytes >= MERGE_BYTES;
        is_full || self.level != old.level()
    }

    pub(super) fn add(&mut self, old: Old) {
        self.level = old.level();
        if self.level < LAST_LEVEL || old.is_worn() {
            self.bytes += old.value.len();
            self.segments.push(old);
        }
    }

    fn take(&mut self) -> Vec<Old> {
        self.bytes = 0;
        std::mem::take(&mut self.segments)
    }
}

impl Old {
    /// What `record` holds, and how much of it has ended at `line`.
    pub(super) fn read(record: Record, line: Timestamp) -> Result<Self, StoredCompactError> {
        let mut old = Self {
            key: record.key().clone(),
            version: record.version(),
            value: record.into_value(),
            entries: 0,
            ended: 0,
        };
        let (mut entries, mut ended) = (0, 0);
        old.for_each(|item| {
            entries += 1;
            ended += u64::from(item.term().is_over(line));
        })?;
        (old.entries, old.ended) = (entries, ended);
        Ok(old)
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    fn level(&self) -> u8 {
        segment::level_of(&self.key).min(LAST_LEVEL)
    }

    fn is_worn(&self) -> bool {
        self.ended > 0 && self.ended.saturating_mul(WORN) >= self.entries
    }

    /// About how much of it is left.
    fn live_bytes(&self) -> usize {
        let live = (self.entries - self.ended) as usize;
        self.value.len() / (self.entries as usize).max(1) * live
    }

    fn add_to<'a>(&'a self, items: &mut Vec<Item<'a>>) -> Result<(), StoredCompactError> {
        self.for_each(|item| items.push(item))
    }

    fn for_each<'a>(&'a self, mut take: impl FnMut(Item<'a>)) -> Result<(), StoredCompactError> {
        let mut read = || -> Result<(), RecordError> {
            for group in segment::groups(self.value.as_bytes()) {
                for item in group?.items() {
                    take(item?);
                }
            }
            Ok(())
        };
        read().map_err(|problem| StoredCompactError::Record {
            key: self.key.clone(),
            problem,
        })
    }
}
