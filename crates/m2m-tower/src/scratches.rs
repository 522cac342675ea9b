//! `Scratches`: memory for admissions, lent to one request at a time and never waited for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use m2m_guard::GuardScratch;

/// How many are kept: as many admissions as run at once on a large machine. Each is 36 KiB.
const KEPT: usize = 64;

/// Some [`GuardScratch`]es. A request tries a few of them; none of these tries waits.
pub(crate) struct Scratches {
    kept: [Mutex<Option<Box<GuardScratch>>>; KEPT],
    next: AtomicUsize,
}

impl Scratches {
    pub(crate) fn new() -> Self {
        Self {
            kept: std::array::from_fn(|_| Mutex::new(None)),
            next: AtomicUsize::new(0),
        }
    }

    /// Lends one for `use_it`. A new one is made if none is at hand.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut GuardScratch) -> T) -> T {
        const TRIES: usize = 4;
        let first = self.next.load(Ordering::Relaxed);
        for at in 0..TRIES {
            let Some(slot) = self.kept.get((first + at) % KEPT) else {
                continue;
            };
            let mut held = match slot.try_lock() {
                Ok(held) => held,
                // A panic has nothing to do with the memory, which is written anew each time.
                Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) => {
                    // Somebody else is at work here: others begin elsewhere.
                    self.next
                        .store(first.wrapping_add(at + 1), Ordering::Relaxed);
                    continue;
                }
            };
            return use_it(held.get_or_insert_default());
        }
        use_it(&mut GuardScratch::new())
    }
}
