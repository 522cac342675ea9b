//! `Places`: how many requests are dealt with at a time, of whom, and how often those that wait may look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts requests that are dealt with, in all and for each receiver. Cloning shares the counts.
#[derive(Clone, Debug)]
pub(super) struct Places {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_each: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of: HashMap<Box<str>, usize>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Mutex<Counts>>,
    receiver: Box<str>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There are too many in all.
    Here,
    /// There are too many of this receiver.
    ForThisOne,
}

impl Places {
    /// All that wait together look for something so often in a second at most: each commit wakes all of
    /// them, whomever it is for.
    const LOOKS_A_SECOND: u32 = 2_000;

    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self {
            counts: Arc::default(),
            most,
            most_each,
        }
    }

    pub(super) fn enter(&self, receiver: &str) -> Result<Place, NoRoom> {
        let mut counts = lock(&self.counts);
        let of_it = counts.of.get(receiver).copied().unwrap_or_default();
        if of_it >= self.most_each {
            return Err(NoRoom::ForThisOne);
        }
        if counts.all >= self.most {
            return Err(NoRoom::Here);
        }
        counts.all += 1;
        counts.of.insert(Box::from(receiver), of_it + 1);
        drop(counts);
        Ok(Place {
            counts: Arc::clone(&self.counts),
            receiver: Box::from(receiver),
        })
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.counts).all
    }

    /// How long one is to leave between two looks.
    pub(super) fn gap(&self) -> Duration {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        let second = Duration::from_secs(1);
        (second / Self::LOOKS_A_SECOND)
            .saturating_mul(count)
            .min(second)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all = counts.all.saturating_sub(1);
        let left = counts.of.get_mut(&self.receiver).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.of.remove(&self.receiver);
        }
    }
}

/// Whoever panicked with it left whole numbers.
fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_receiver() {
        let places = Places::new(3, 2);
        let first = places.enter("a").unwrap();
        let _second = places.enter("a").unwrap();
        assert_eq!(places.enter("a").unwrap_err(), NoRoom::ForThisOne);
        let _third = places.enter("b").unwrap();
        assert_eq!(places.enter("c").unwrap_err(), NoRoom::Here);
        drop(first);
        let _fourth = places.enter("a").unwrap();
        assert_eq!(places.count(), 3);
    }

    #[test]
    fn the_more_wait_the_less_often_each_looks() {
        let places = Places::new(10_000, 10_000);
        assert_eq!(places.gap(), Duration::ZERO);
        let all: Vec<Place> = (0..4_000).map(|_| places.enter("a").unwrap()).collect();
        assert_eq!(places.gap(), Duration::from_secs(1));
        drop(all);
        assert_eq!(places.gap(), Duration::ZERO);
        assert!(lock(&places.counts).of.is_empty());
    }
}
