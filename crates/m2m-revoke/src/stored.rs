//! `StoredRevocations`: a set that outlives its process, and that several processes share.

mod compact;
mod error;
mod follow;
mod item;
mod load;
mod merge;
mod segment;
mod set_record;
mod stats;
mod write;
mod young;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use m2m_crypto::SecureRandom;
use m2m_store::{Cursor, IdempotencyKey, Key, Store};
use m2m_types::Timestamp;

use crate::set::{DEFAULT_CAPACITY_LIMIT, Revocations};

pub use compact::StoredCompaction;
pub use error::{StoredCompactError, StoredLoadError, StoredOpenError, StoredRevokeError};
pub use follow::CaughtUp;
pub use segment::RecordError;
pub use stats::StoredStats;

use set_record::SetRecord;
use stats::Counts;
use young::Young;

/// A set of revocations that is kept in a store: durable before it is acknowledged, in force before
/// the first check, and followed by other processes. Share it as `Arc<StoredRevocations>`.
///
/// **Holding it is the proof that everything was loaded.** There is no set that can be asked before:
/// until [`StoredRevocations::open`] has returned one, nothing is accepted.
///
/// # Who does what
///
/// Checks go to [`StoredRevocations::revocations`], which is in memory and never calls the store.
/// Revoke here and not there, for what is revoked there alone is forgotten with the process.
///
/// There are no hidden threads, so two loops are the application's. One follows; how often it runs
/// if nothing changes bounds [`StoredRevocations::staleness`]:
///
/// ```text
/// loop {
///     wait at most a second for stored.changed();    // woken by a change, or by the time
///     stored.catch_up(clock.now()).await;            // an error: log it; staleness grows
/// }
/// ```
///
/// The other calls [`StoredRevocations::compact`] every few minutes. Both work on any runtime, and
/// on none. Now and then a call merges the tables of the set, as [`Revocations`] says, and takes its
/// thread for that long: some milliseconds, half a second at ten million entries.
///
/// # Dead is dead
///
/// What is in memory is only ever added to: by an older copy of the store, by a deleted record, by a
/// reload nothing is un-revoked. In the store a revocation is forgotten when what it revokes has
/// expired for every verifier, by the same rule as in [`Revocations::compact`] and by a time that the
/// store keeps, so that a process which starts with a wrong clock forgets nothing either.
pub struct StoredRevocations {
    store: Arc<dyn Store>,
    revocations: Arc<Revocations>,
    /// Names what is to be committed.
    intents: Numbers,
    /// Names segments.
    ids: Numbers,
    young: Young,
    place: Mutex<Cursor>,
    /// In seconds since 1970.
    caught_up_at: AtomicU64,
    compact_records: usize,
    /// Behind which record the next compaction goes on.
    swept: Mutex<Option<Key>>,
    counts: Counts,
}

/// How a [`StoredRevocations`] is to be. The default suits most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredOptions {
    capacity_limit: u64,
    compact_records: usize,
}

/// Numbers that no other process has: one drawn at random, counted on.
struct Numbers {
    first: u128,
    next: AtomicU64,
}

impl StoredRevocations {
    /// Opens the set that is kept in `store`, and loads all of it. If there is none it is created.
    ///
    /// `now` is the time, and that at which a new set begins; one that exists has its own, see
    /// [`StoredRevocations::compact`]. From `random` come the keys of a new set, which are drawn
    /// once and kept, so that all nodes have the same, and the names of what this node will commit.
    ///
    /// # Errors
    ///
    /// [`StoredOpenError`]. Nothing can be checked then, so refuse, and try again.
    pub async fn open(
        store: Arc<dyn Store>,
        now: Timestamp,
        random: &dyn SecureRandom,
        options: StoredOptions,
    ) -> Result<Self, StoredOpenError> {
        let intents = Numbers::draw(random)?;
        let ids = Numbers::draw(random)?;
        let set = SetRecord::open(&*store, now, random).await?;
        let revocations = Revocations::new(set.fingerprint_key(), set.time)
            .with_capacity_limit(options.capacity_limit);
        let place = load::load(&*store, &revocations, now).await?;
        let opened = Self {
            store,
            revocations: Arc::new(revocations),
            intents,
            ids,
            young: Young::default(),
            place: Mutex::new(place),
            caught_up_at: AtomicU64::new(0),
            compact_records: options.compact_records,
            swept: Mutex::new(None),
            counts: Counts::default(),
        };
        opened.catch_up(now).await?;
        Ok(opened)
    }

    /// The set to check with, which is always in memory: for a verifier.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    fn next_intent(&self) -> IdempotencyKey {
        IdempotencyKey::from_bytes(self.intents.next().to_be_bytes())
    }

    fn place(&self) -> MutexGuard<'_, Cursor> {
        // Nobody panics while holding it; and a place is whole or not written.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swept(&self) -> MutexGuard<'_, Option<Key>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caught_up_at(&self) -> Timestamp {
        let seconds = self.caught_up_at.load(Ordering::Acquire);
        Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::MIN)
    }
}

impl StoredOptions {
    /// Lets the set hold `limit` entries instead of [`DEFAULT_CAPACITY_LIMIT`]. If the store has more
    /// it is not opened: a part of them would be accepted.
    #[must_use]
    pub const fn with_capacity_limit(mut self, limit: u64) -> Self {
        self.capacity_limit = limit;
        self
    }

    /// How many revocations of the store one [`StoredRevocations::compact`] looks at: a million unless
    /// it is said here, which is some 40 MB and two tenths of a second. At least one segment is
    /// looked at.
    #[must_use]
    pub const fn with_compact_records(mut self, records: usize) -> Self {
        self.compact_records = records;
        self
    }
}

impl Default for StoredOptions {
    fn default() -> Self {
        Self {
            capacity_limit: DEFAULT_CAPACITY_LIMIT,
            compact_records: 1_000_000,
        }
    }
}

impl Numbers {
    fn draw(random: &dyn SecureRandom) -> Result<Self, StoredOpenError> {
        let first = IdempotencyKey::generate(random)?;
        Ok(Self {
            first: u128::from_be_bytes(*first.as_bytes()),
            next: AtomicU64::new(0),
        })
    }

    fn next(&self) -> u128 {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        self.first.wrapping_add(u128::from(count))
    }
}

impl fmt::Debug for StoredRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StoredRevocations")
            .field(&self.stats())
            .finish()
    }
}
