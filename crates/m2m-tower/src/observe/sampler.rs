//! `Sampler`: of a flood, a bounded number a second, and how many were left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Says of which things others are told: of the first [`Sampler::A_SECOND`] of each second. Cloning copies
/// pointers: clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sampler {
    /// The second that is counted, and how many there were in it.
    counted: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
}

impl Sampler {
    /// How many a second are told of.
    pub(crate) const A_SECOND: u64 = 100;
    /// By how much a clock that was read before another counts with it, in seconds.
    const BETWEEN_THREADS: u64 = 5;
    const COUNT_BITS: u32 = 16;

    /// If this one, in `second`, is to be told of: how many since the last one were not.
    pub(crate) fn take(&self, second: u64) -> Option<u64> {
        let count = |before: u64| {
            let held = before >> Self::COUNT_BITS;
            // A thread that read the clock before others does not begin their second anew.
            match second <= held && held - second <= Self::BETWEEN_THREADS {
                true if before & ((1 << Self::COUNT_BITS) - 1) >= Self::A_SECOND => None,
                true => Some(before + 1),
                false => Some(second << Self::COUNT_BITS | 1),
            }
        };
        let counted = self
            .counted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        match counted {
            Ok(_) => Some(self.left_out.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sampler: &Sampler, second: u64, times: u64) -> u64 {
        (0..times)
            .filter(|_| sampler.take(second).is_some())
            .count() as u64
    }

    #[test]
    fn a_hundred_a_second_and_a_count_of_the_others() {
        let sampler = Sampler::default();
        assert_eq!(told(&sampler, 7, 1000), 100);
        assert_eq!(sampler.take(8), Some(900));
        assert_eq!(sampler.take(8), Some(0));
        assert_eq!(told(&sampler, 8, 1000), 98);
    }

    #[test]
    fn a_clock_that_was_read_late_begins_no_second_anew() {
        let sampler = Sampler::default();
        let told: u64 = (0..10_000).map(|n| told(&sampler, 7 + n % 2, 1)).sum();
        assert!(told <= 200, "{told}");
        // One that was set back does.
        let sampler = Sampler::default();
        assert!(sampler.take(1_000_000).is_some());
        assert_eq!(self::told(&sampler, 7, 1000), 100);
    }
}
