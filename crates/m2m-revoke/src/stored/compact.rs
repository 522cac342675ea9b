//! Forgetting what has expired for everybody, in memory and in the store.

use std::time::Duration;

use m2m_store::{
    Batch, Expected, Key, MAX_BATCH_OPERATIONS, MAX_PAGE_RECORDS, Page, Revision, Scan, Store,
    StoreError,
};
use m2m_types::Timestamp;

use super::error::StoredCompactError;
use super::set_record::SetRecord;
use super::{StoredRevocations, record};
use crate::set::Compaction;
use crate::term::{REVOCATION_MARGIN, Term};

/// How often a call tries to move the time of the set while other nodes do so.
const ATTEMPTS: u32 = 4;

/// What [`StoredRevocations::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredCompaction {
    memory: Compaction,
    deleted: u64,
    looked_at: u64,
    round_done: bool,
    behind: Duration,
}

impl StoredRevocations {
    /// Forgets what ended before `now`: in memory, which is [`Revocations::compact`], and in the
    /// store.
    ///
    /// Call this on a timer, every few minutes, on one node or on all of them. Of the store each call
    /// looks at some records ([`StoredOptions::with_compact_records`](super::StoredOptions)), and the
    /// next one goes on behind them. A record that somebody changes at the same moment is left for
    /// the next round. Memory is compacted in the call, in one or two passes over the set, so it
    /// takes its thread as long.
    ///
    /// # A clock that jumps
    ///
    /// The store keeps a time for the set, which never goes back. It begins when the set is created,
    /// and a call moves it towards `now` by at most [`REVOCATION_MARGIN`], ten minutes; records go by
    /// this time, and by `now` if that is earlier. So what [`Revocations::compact`] says of clocks
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
            looked_at: 0,
            round_done: false,
            behind: Duration::ZERO,
        };
        let time = self.move_time(now).await?;
        done.behind = now.checked_since(time).unwrap_or_default();
        let mut left = self.compact_records.max(1);
        while left > 0 && !done.round_done {
            let page = self.next_page(left).await?;
            // By `now` if the clock was set back: that forgets less.
            done.deleted += self.delete(&ended(&page, time.min(now))?).await?;
            done.looked_at += page.records().len() as u64;
            done.round_done = page.next().is_none();
            *self.swept() = page.next().cloned();
            left = left.saturating_sub(page.records().len());
        }
        Ok(done)
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
            match self.commit(set.moved_to(line, self.intents.next())).await {
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

    async fn next_page(&self, left: usize) -> Result<Page, StoreError> {
        let mut scan = Scan::new(record::space()).with_limit(left.min(MAX_PAGE_RECORDS));
        if let Some(key) = self.swept().clone() {
            scan = scan.after(key);
        }
        self.store.scan(&scan).await
    }

    /// Deletes these records in these versions. Returns how many; others may have come first.
    async fn delete(&self, ended: &[(&Key, Revision)]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for chunk in ended.chunks(MAX_BATCH_OPERATIONS) {
            let mut batch = Batch::new(self.intents.next());
            for (key, version) in chunk {
                batch = batch.delete((*key).clone(), Expected::Version(*version));
            }
            match self.commit(batch).await {
                Ok(_) => deleted += chunk.len() as u64,
                // One of them was extended or deleted meanwhile; the next round sees them as they
                // are then.
                Err(failed) if failed.is_conflict() => {}
                Err(failed) => return Err(failed.error),
            }
        }
        Ok(deleted)
    }
}

/// What of `page` may be forgotten at `time`: the rule of the set in memory.
fn ended(page: &Page, time: Timestamp) -> Result<Vec<(&Key, Revision)>, StoredCompactError> {
    let mut ended = Vec::new();
    for record in page.records() {
        let revocation = record::decode(record.value().as_bytes());
        let revocation = revocation.map_err(|problem| StoredCompactError::Record {
            key: record.key().clone(),
            problem,
        })?;
        if Term::new(revocation.expires(), None).is_over(time) {
            ended.push((record.key(), record.version()));
        }
    }
    Ok(ended)
}

impl StoredCompaction {
    /// What was done in memory.
    pub const fn memory(&self) -> &Compaction {
        &self.memory
    }

    /// How many records this call deleted.
    pub const fn deleted(&self) -> u64 {
        self.deleted
    }

    /// How many records it looked at.
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
}
