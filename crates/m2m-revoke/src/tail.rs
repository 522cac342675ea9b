//! The tail: what was revoked since the table was built, in a small table of atomic words.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::fingerprint::Fingerprint;
use crate::term::{Entry, Term};

/// Open addressing with linear probing, at most half full, written by one thread at a time and read
/// by any number without waiting.
///
/// # Orderings
///
/// A slot is published by the `Release` store of its term, after the two words of its fingerprint.
/// A reader loads the term first, with `Acquire`: if it is set, the fingerprint it then reads is
/// the one that belongs to it, because a fingerprint never changes once its slot is published. A
/// later term of the same entry is one more store of one word. Slots are never freed, so a reader
/// that meets a free slot knows that nothing stood behind it when it came by.
pub(crate) struct Tail {
    slots: Box<[Slot]>,
    len: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    term: AtomicU64,
    high: AtomicU64,
    low: AtomicU64,
}

/// Slots of a new tail: 24 KiB.
const FIRST_CAPACITY: usize = 1024;

/// The tail is half full; the entry was not taken.
#[derive(Debug)]
pub(crate) struct HalfFull;

impl Tail {
    pub(crate) fn new() -> Self {
        Self::with_capacity(FIRST_CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            len: AtomicUsize::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn byte_len(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// The term of `fingerprint`, or [`Term::NONE`].
    #[inline]
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Term {
        if self.len() == 0 {
            return Term::NONE;
        }
        self.find_probing(fingerprint)
    }

    /// Not inlined, so that the way of a look-up through the table stays short.
    #[inline(never)]
    fn find_probing(&self, fingerprint: Fingerprint) -> Term {
        match self.probe(fingerprint) {
            Some((slot, true)) => Term::from_bits(slot.term.load(Ordering::Acquire)),
            _ => Term::NONE,
        }
    }

    /// Sets the term of an entry. Only one thread may be in here at a time; the set's lock sees to
    /// that.
    pub(crate) fn put(&self, entry: Entry) -> Result<(), HalfFull> {
        let (slot, taken) = self.probe(entry.fingerprint).ok_or(HalfFull)?;
        if taken {
            slot.term.store(entry.term.bits(), Ordering::Release);
            return Ok(());
        }
        let len = self.len();
        if len >= self.slots.len() / 2 {
            return Err(HalfFull);
        }
        let bits = entry.fingerprint.bits();
        slot.high.store((bits >> 64) as u64, Ordering::Relaxed);
        slot.low.store(bits as u64, Ordering::Relaxed);
        slot.term.store(entry.term.bits(), Ordering::Release);
        // A reader that finds the length zero skips the slots; whoever was told of this entry
        // synchronised with something after this store, so sees it.
        self.len.store(len + 1, Ordering::Release);
        Ok(())
    }

    /// The same entries with twice the room.
    pub(crate) fn doubled(&self) -> Self {
        let bigger = Self::with_capacity(self.slots.len() * 2);
        for entry in self.entries() {
            let put = bigger.put(entry);
            debug_assert!(put.is_ok(), "half of the half is a quarter");
        }
        bigger
    }

    /// The entries in ascending order of their fingerprints.
    pub(crate) fn sorted(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.entries().collect();
        entries.sort_unstable_by_key(|entry| entry.fingerprint);
        entries
    }

    fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.slots.iter().filter_map(|slot| {
            let term = Term::from_bits(slot.term.load(Ordering::Acquire));
            (!term.is_none()).then(|| Entry {
                fingerprint: slot.fingerprint(),
                term,
            })
        })
    }

    /// The slot of `fingerprint` and `true`, or the free slot where it would go and `false`.
    #[inline]
    fn probe(&self, fingerprint: Fingerprint) -> Option<(&Slot, bool)> {
        let home = fingerprint.home(self.slots.len() as u64).0 as usize;
        let (before, from) = self.slots.split_at_checked(home)?;
        for slot in from.iter().chain(before) {
            if slot.term.load(Ordering::Acquire) == Term::NONE.bits() {
                return Some((slot, false));
            }
            if slot.fingerprint() == fingerprint {
                return Some((slot, true));
            }
        }
        None
    }
}

impl Slot {
    /// What the slot holds, once its term has been seen.
    fn fingerprint(&self) -> Fingerprint {
        let high = u128::from(self.high.load(Ordering::Relaxed));
        let low = u128::from(self.low.load(Ordering::Relaxed));
        Fingerprint::from_bits((high << 64) | low)
    }
}
