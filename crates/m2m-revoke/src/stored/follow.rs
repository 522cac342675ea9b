//! Following what others revoke.

use std::sync::atomic::Ordering;
use std::time::Duration;

use m2m_store::{Changes, Cursor, MAX_PAGE_RECORDS, StoreError};
use m2m_types::Timestamp;

use super::error::StoredLoadError;
use super::{StoredRevocations, load, segment};

/// By how much one thread may have read the clock before another, and both be right.
const BETWEEN_THREADS: Duration = Duration::from_secs(60);
/// How often one call reads everything anew because the place in the feed is too old.
const RELOADS: u32 = 3;

/// What [`StoredRevocations::catch_up`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    changes: u64,
    reloaded: bool,
    set_back: bool,
}

impl StoredRevocations {
    /// Waits until there may be something that [`StoredRevocations::catch_up`] has not seen, and
    /// does nothing else. May be dropped at any moment, and may return for nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store can no longer tell.
    pub async fn changed(&self) -> Result<(), StoreError> {
        self.store.changed(self.as_of()).await
    }

    /// Takes in all that was revoked, on whichever node, before this call. Does not wait for more.
    ///
    /// `now` is the time at which it is called; [`StoredRevocations::staleness`] counts from it. Of
    /// what the store deleted nothing is un-revoked here. If the feed no longer knows what happened
    /// since the last call, everything is read again and added to what is there.
    ///
    /// # Errors
    ///
    /// [`StoredLoadError`]. What was revoked stays so, and the next call begins where this one failed.
    /// The set gets staler meanwhile.
    pub async fn catch_up(&self, now: Timestamp) -> Result<CaughtUp, StoredLoadError> {
        let mut found = CaughtUp {
            changes: 0,
            reloaded: false,
            set_back: false,
        };
        let space = segment::space();
        let mut reloads = 0;
        loop {
            let place = self.as_of();
            let changes = self.store.changes(&space, place, MAX_PAGE_RECORDS).await?;
            let Changes::Some(page) = changes else {
                if reloads == RELOADS {
                    return Err(StoredLoadError::Pruned);
                }
                reloads += 1;
                found.set_back |= self.reload(place, now).await?;
                found.reloaded = true;
                continue;
            };
            load::apply(page.changes(), &self.revocations)?;
            self.go_on(place, page.next());
            let count = page.changes().len() as u64;
            self.counts.changes.fetch_add(count, Ordering::Relaxed);
            found.changes += count;
            if !page.has_more() {
                self.caught_up_at
                    .store(now.unix_seconds(), Ordering::Release);
                return Ok(found);
            }
        }
    }

    /// How long ago it was known that nothing is missing: the time between `now` and that of the
    /// last [`StoredRevocations::catch_up`] that succeeded. Costs one load, so a guard can ask on
    /// every call and refuse beyond a bound; it is then the bound on how long a revocation takes to
    /// get here.
    ///
    /// If `now` is before that call by more than a minute, the clock was set back and nothing is
    /// known: [`Duration::MAX`], until the next call. Less is taken for zero, since another thread
    /// may have read the clock later.
    pub fn staleness(&self, now: Timestamp) -> Duration {
        let then = self.caught_up_at();
        match now.checked_since(then) {
            Some(age) => age,
            None if then <= now.saturating_add(BETWEEN_THREADS) => Duration::ZERO,
            None => Duration::MAX,
        }
    }

    /// Up to where everything in the store is in force here.
    pub fn as_of(&self) -> Cursor {
        *self.place()
    }

    /// Reads everything anew. Returns whether the store has been set back since.
    async fn reload(&self, place: Cursor, now: Timestamp) -> Result<bool, StoredLoadError> {
        let next = load::load(&*self.store, &self.revocations, now).await?;
        self.go_on(place, next);
        self.counts.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(next.incarnation() != place.incarnation())
    }

    /// Moves from `place` to `next`, unless somebody else moved meanwhile.
    fn go_on(&self, place: Cursor, next: Cursor) {
        let mut current = self.place();
        if *current == place {
            *current = next;
        }
    }
}

impl CaughtUp {
    /// How many records changed: deleted ones too, and those this node wrote itself. A record holds
    /// many revocations.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether everything was read anew, because the feed did not go back far enough.
    pub const fn was_reloaded(&self) -> bool {
        self.reloaded
    }

    /// Whether the store has been set back to an older copy. What was revoked since that copy is in
    /// force here until this process ends, and **lost** to those that start now: revoke it again.
    pub const fn was_set_back(&self) -> bool {
        self.set_back
    }
}
