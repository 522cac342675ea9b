//! Forgetting what has expired for everybody, in memory and in the store, and keeping the store small.

use std::time::Duration;

use m2m_store::{MAX_PAGE_RECORDS, Page, Scan, Store, StoreError};
use m2m_types::Timestamp;

use super::error::StoredCompactError;
use super::merge::{Gathered, Merged, Old};
use super::set_record::SetRecord;
use super::{StoredRevocations, segment};
use crate::set::Compaction;
use crate::term::REVOCATION_MARGIN;

/// How often a call tries to move the time of the set while other nodes do so.
const ATTEMPTS: u32 = 4;

/// What [`StoredRevocations::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCompaction {
    memory: Compaction,
    deleted: u64,
    merged: u64,
    looked_at: u64,
    round_done: bool,
    behind: Duration,
}

impl StoredRevocations {
    /// Forgets what ended before `now`: in memory, which is [`Revocations::compact`], and in the
    /// store, where it also merges small segments into large ones. Without it the store grows, and
    /// opening takes longer.
    ///
    /// Call this on a timer, every few minutes, on one node or on all of them. Of the store each call
    /// looks at some revocations ([`StoredOptions::with_compact_records`](super::StoredOptions)), and
    /// the next one goes on behind them. What somebody changes at the same moment is left for the next
    /// round. What has ended is gone from a segment when it is a quarter of it; until then it is not
    /// loaded any more. Memory is compacted in the call, in one or two passes over the set, so it
    /// takes its thread as long.
    ///
    /// Merged segments are deleted, and stores remember deletions until they are pruned: one for some
    /// fifty revocations that came one by one.
    ///
    /// # A clock that jumps
    ///
    /// The store keeps a time for the set, which never goes back. It begins when the set is created,
    /// and a call moves it towards `now` by at most [`REVOCATION_MARGIN`], ten minutes; what is
    /// stored goes by this time, and by `now` if that is earlier. So what [`Revocations::compact`] says of clocks
    /// holds for the store as well, and for processes that start with a wrong one.
    ///
    /// # Errors
    ///
    /// [`StoredCompactError`]. Nothing was forgotten that may matter.
    ///
    /// [`Revocations::compact`]: crate::Revocations::compact
    pub async fn compact(&self, now: Timestamp) -> Result<StoredCompaction, StoredCompactError> {
        let mut done = StoredCompaction {
            memory: self.revocations.compact(now)?,
            deleted: 0,
            merged: 0,
            looked_at: 0,
            round_done: false,
            behind: Duration::ZERO,
        };
        let time = self.move_time(now).await?;
        done.behind = now.checked_since(time).unwrap_or_default();
        self.young.leave();
        // By `now` if the clock was set back: that forgets less.
        let line = time.min(now);
        let mut gathered = Gathered::new(line);
        while !done.round_done && done.looked_at < self.compact_records.max(1) as u64 {
            self.sweep_page(line, &mut gathered, &mut done).await?;
        }
        done.count(&self.merge(&mut gathered).await?);
        Ok(done)
    }

    /// Looks at a page of segments, or at as much of it as is left of what a call looks at.
    async fn sweep_page(
        &self,
        line: Timestamp,
        gathered: &mut Gathered,
        done: &mut StoredCompaction,
    ) -> Result<(), StoredCompactError> {
        let limit = self.compact_records.max(1) as u64;
        let page = self.next_page(limit - done.looked_at).await?;
        let next = page.next().cloned();
        for record in page.into_records() {
            let old = Old::read(record, line)?;
            let key = old.key().clone();
            done.looked_at += old.entries();
            if gathered.is_full_for(&old) {
                done.count(&self.merge(gathered).await?);
            }
            gathered.add(old);
            if done.looked_at >= limit {
                *self.swept() = Some(key);
                return Ok(());
            }
        }
        done.round_done = next.is_none();
        *self.swept() = next;
        Ok(())
    }

    /// Moves the set's own time, in the store, towards `now`. Gives the time that is there then.
    async fn move_time(&self, now: Timestamp) -> Result<Timestamp, StoredCompactError> {
        let mut time = Timestamp::MIN;
        for _ in 0..ATTEMPTS {
            let set = SetRecord::get(&*self.store).await?;
            let set = set.ok_or(StoredCompactError::SetMissing)?;
            let line = now.min(set.time.saturating_add(REVOCATION_MARGIN));
            if line <= set.time {
                return Ok(set.time);
            }
            match self.commit(set.moved_to(line, self.next_intent())).await {
                Ok(_) => return Ok(line),
                Err(failed) if failed.is_conflict() => {
                    time = set.time;
                }
                Err(failed) => return Err(failed.error.into()),
            }
        }
        // Others move it all the time; where it was last seen is safe.
        Ok(time)
    }

    async fn next_page(&self, left: u64) -> Result<Page, StoreError> {
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        let mut scan = Scan::new(segment::space()).with_limit(limit.min(MAX_PAGE_RECORDS));
        if let Some(key) = self.swept().clone() {
            scan = scan.after(key);
        }
        self.store.scan(&scan).await
    }
}

impl StoredCompaction {
    /// What was done in memory.
    pub const fn memory(&self) -> &Compaction {
        &self.memory
    }

    /// How many revocations are no longer in the store because they have ended.
    pub const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// How many records were merged into fewer, or into none.
    pub const fn merged(&self) -> u64 {
        self.merged
    }

    /// How many revocations it looked at in the store; one that is there twice counts twice.
    pub const fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// Whether it came to the end of the records; the next call begins at the front.
    pub const fn is_round_done(&self) -> bool {
        self.round_done
    }

    /// How far the set's own time in the store is behind the `now` of the call: zero if all is well.
    pub const fn behind(&self) -> Duration {
        self.behind
    }

    fn count(&mut self, merged: &Merged) {
        self.deleted += merged.ended;
        self.merged += merged.records;
    }
}
