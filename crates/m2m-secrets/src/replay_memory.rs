//! `ReplayMemory`: lets each signed message through once.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::Timestamp;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{OutsideWindow, RequestRejection, TimeWindow};

/// The most messages a [`ReplayMemory`] is made for: 2 GiB of memory at most.
pub const MAX_REPLAY_CAPACITY: usize = 1 << 26;

/// Slots of a bucket: one cache line. A message may lie in any slot of two buckets.
const BUCKET: usize = 8;
/// A slot says when it may be used again, counted in so many seconds…
const UNIT_SECONDS: u64 = 16;
/// …in so many bits: until the last [`Timestamp`] there is.
const UNIT_BITS: u32 = 34;
const UNIT_MASK: u64 = (1 << UNIT_BITS) - 1;

/// Lets each message through once, as long as it is within its [`TimeWindow`].
///
/// - **Bounded.** All memory is taken when it is made: 16 to 32 bytes for each message of `capacity`.
///   So many within one window always find room in practice (the slots are twice as many, and each
///   message may choose among 16); where one finds none it is refused, never another forgotten.
/// - **It does not forget early.** What a clock that was set forward made it forget, it refuses when
///   the clock is set back: nothing comes through twice, whatever the clock does.
/// - **No lock.** Threads meet in single words. Of two threads that show the same message at once, one
///   gets through, or (if their clocks differ as well) none.
///
/// It knows messages by 30 bits of a keyed hash beside their place and time, so one among 10⁹ is refused
/// by mistake; its sender's next attempt has another nonce. What was seen before the process started it
/// cannot know: see [`Self::refuse_until`].
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{ReplayError, ReplayMemory, TimeWindow};
/// use m2m_types::Timestamp;
///
/// let memory = ReplayMemory::new(100_000, TimeWindow::FIVE_MINUTES, &SystemRandom)?;
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// memory.admit(b"billing", b"nonce", now, now)?;
/// assert_eq!(memory.admit(b"billing", b"nonce", now, now), Err(ReplayError::Replayed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReplayMemory {
    /// Zero, or a message's hash above the unit in which it leaves the window.
    buckets: Box<[[AtomicU64; BUCKET]]>,
    hash_key: (u64, u64),
    window: TimeWindow,
    capacity: usize,
    /// The latest unit of a message that was forgotten.
    forgotten: AtomicU64,
}

/// Where a message lies, and as what.
struct Place {
    buckets: [usize; 2],
    word: u64,
}

impl ReplayMemory {
    /// Room for `capacity` messages within one `window`: the most that are expected in
    /// `window.past() + window.future()`, with some to spare. `random` keys the hash, so that no sender
    /// can choose where its messages lie.
    ///
    /// # Errors
    ///
    /// [`ReplayMemoryError`] for a capacity of 0 or above [`MAX_REPLAY_CAPACITY`], or if `random` fails.
    pub fn new(
        capacity: usize,
        window: TimeWindow,
        random: &dyn SecureRandom,
    ) -> Result<Self, ReplayMemoryError> {
        if !(1..=MAX_REPLAY_CAPACITY).contains(&capacity) {
            return Err(ReplayMemoryError::Capacity { asked: capacity });
        }
        let mut key = [0; 16];
        random.fill(&mut key).map_err(ReplayMemoryError::Random)?;
        let key = u128::from_le_bytes(key);
        let buckets = (capacity * 2).div_ceil(BUCKET).next_power_of_two().max(2);
        Ok(Self {
            buckets: (0..buckets).map(|_| Default::default()).collect(),
            hash_key: (key as u64, (key >> 64) as u64),
            window,
            capacity,
            forgotten: AtomicU64::new(0),
        })
    }

    /// Lets the message through that `scope` (whose key it was signed with) signed at `time` with
    /// `nonce`, unless it came before. Call it last, when the message is known to be authentic: what a
    /// stranger made up must not take room.
    ///
    /// # Errors
    ///
    /// [`ReplayError`].
    pub fn admit(
        &self,
        scope: &[u8],
        nonce: &[u8],
        time: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        self.window.check(time, now)?;
        let unit = unit(time.saturating_add(self.window.past()));
        let forgotten = || unit <= self.forgotten.load(Ordering::SeqCst);
        if forgotten() {
            return Err(ReplayError::Forgotten);
        }
        let place = self.place(scope, nonce, time, unit);
        let full = ReplayError::Full {
            capacity: self.capacity,
        };
        // Ends: whoever takes a slot away from under us has made progress.
        while !self.try_take(&place, now).ok_or(full)?? {}
        // Another thread may have put the same message into another slot, if it found other slots free.
        // Each puts its word down before it looks again, so at least one sees the other's.
        if self.count(&place) > 1 {
            return Err(ReplayError::Replayed);
        }
        // Looked at once more: what was forgotten while we looked for it counts.
        match forgotten() {
            true => Err(ReplayError::Forgotten),
            false => Ok(()),
        }
    }

    /// Refuses what was signed before `time`: that may have been let through by a process that came
    /// before this one, which took its memory with it. Refuses messages that are on their way, too.
    pub fn refuse_until(&self, time: Timestamp) {
        let leaves = time.saturating_add(self.window.past());
        self.forgotten.fetch_max(unit(leaves), Ordering::SeqCst);
    }

    /// The window that messages must be in.
    pub fn window(&self) -> TimeWindow {
        self.window
    }

    /// How much memory it has, in bytes. It never grows.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.buckets)
    }

    /// Tries to put a message down: `None` if there is no room, `false` if another thread was quicker.
    fn try_take(&self, place: &Place, now: Timestamp) -> Option<Result<bool, ReplayError>> {
        // A unit is over when its last second is.
        let over = now.unix_seconds() / UNIT_SECONDS;
        let mut best: Option<(usize, &AtomicU64, u64)> = None;
        for bucket in self.slots(place) {
            let mut room = 0;
            let mut free = None;
            for slot in bucket {
                let word = slot.load(Ordering::SeqCst);
                if word == place.word {
                    return Some(Err(ReplayError::Replayed));
                }
                if word & UNIT_MASK <= over {
                    room += 1;
                    free = free.or(Some((slot, word)));
                }
            }
            // The emptier of the two, so that none fills up early.
            if let Some((slot, word)) = free.filter(|_| best.is_none_or(|(most, ..)| room > most)) {
                best = Some((room, slot, word));
            }
        }
        let (_, slot, word) = best?;
        // Before it is gone: whoever misses it must find this.
        self.forgotten.fetch_max(word & UNIT_MASK, Ordering::SeqCst);
        let taken = slot.compare_exchange(word, place.word, Ordering::SeqCst, Ordering::SeqCst);
        Some(Ok(taken.is_ok()))
    }

    fn count(&self, place: &Place) -> usize {
        let slots = self.slots(place).flatten();
        slots
            .filter(|slot| slot.load(Ordering::SeqCst) == place.word)
            .count()
    }

    fn slots(&self, place: &Place) -> impl Iterator<Item = &[AtomicU64; BUCKET]> {
        let buckets = place.buckets.into_iter();
        buckets.filter_map(|bucket| self.buckets.get(bucket))
    }

    fn place(&self, scope: &[u8], nonce: &[u8], time: Timestamp, unit: u64) -> Place {
        let mut hasher = SipHasher13::new_with_keys(self.hash_key.0, self.hash_key.1);
        hasher.write_u64(time.unix_seconds());
        hasher.write_u64(scope.len() as u64);
        hasher.write(scope);
        hasher.write(nonce);
        let hash = hasher.finish128();
        let mask = self.buckets.len() - 1; // a power of two, at least 2
        let first = hash.h1 as usize & mask;
        let second = (hash.h1 >> 32) as usize & mask;
        Place {
            buckets: [first, if first == second { first ^ 1 } else { second }],
            word: (hash.h2 << UNIT_BITS) | unit,
        }
    }
}

/// The unit that `time` is in, counted from 1: zero is an empty slot.
fn unit(time: Timestamp) -> u64 {
    time.unix_seconds() / UNIT_SECONDS + 1
}

impl fmt::Debug for ReplayMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayMemory")
            .field("capacity", &self.capacity)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Why a memory was not made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayMemoryError {
    /// For no messages, or for more than [`MAX_REPLAY_CAPACITY`].
    #[error("a memory for {asked} messages; 1 to {MAX_REPLAY_CAPACITY} are taken")]
    Capacity {
        /// For how many.
        asked: usize,
    },
    /// No randomness to key the hash with.
    #[error("{0}")]
    Random(RandomError),
}

/// Why a message was not let through.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It is not of this time.
    #[error("{0}")]
    OutsideWindow(OutsideWindow),
    /// It came before.
    #[error("this message was let through before")]
    Replayed,
    /// It may have come before: the clock was set forward meanwhile, or [`ReplayMemory::refuse_until`]
    /// said so.
    #[error("messages of that time are forgotten; was the clock set back?")]
    Forgotten,
    /// There is no room to remember it.
    #[error("no room for another message; the memory is for {capacity} within its window")]
    Full {
        /// For how many the memory was made.
        capacity: usize,
    },
}

impl ReplayError {
    /// What the sender may learn.
    pub const fn rejection(&self) -> RequestRejection {
        match self {
            Self::Full { .. } => RequestRejection::Unavailable,
            _ => RequestRejection::Unauthenticated,
        }
    }
}

impl From<OutsideWindow> for ReplayError {
    fn from(outside: OutsideWindow) -> Self {
        Self::OutsideWindow(outside)
    }
}
