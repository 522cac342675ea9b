//! Time, compared fairly on a machine that is never quiet.
//!
//! The clock is the processor time of this thread, so that what the scheduler gives to others is not
//! counted; on a quiet machine it is the time on the wall. What others do to the caches remains.
//!
//! In every round each contender of a group runs for a few milliseconds, in an order that turns, so
//! that what disturbs one soon disturbs the others too. Two numbers come out: the calm time (the
//! best round, when nothing disturbed) and the median over the rounds of the ratio to the group's
//! first contender in that same round. The ratio is the one to trust.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::contender::Contender;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How many rounds.
    pub rounds: usize,
    /// How long a contender runs in a round.
    pub slice: Duration,
}

/// What came out for one contender.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The contender's id.
    pub id: String,
    /// Nanoseconds per operation in its best round.
    pub calm: f64,
    /// Its time divided by that of the group's first contender: the median of the rounds.
    pub ratio: f64,
}

/// Times the contenders of one group; the first is what the others are compared with.
pub fn measure(contenders: &mut [Contender], effort: Effort) -> Vec<Timing> {
    let batches: Vec<u64> = contenders
        .iter_mut()
        .map(|contender| batch(contender, effort.slice))
        .collect();
    let mut rounds = vec![Vec::with_capacity(effort.rounds); contenders.len()];
    for round in 0..effort.rounds {
        for index in order(contenders.len(), round) {
            let elapsed = time(&mut contenders[index], batches[index]);
            rounds[index].push(elapsed.as_secs_f64() * 1e9 / batches[index] as f64);
        }
    }
    contenders
        .iter()
        .zip(&rounds)
        .map(|(contender, times)| Timing {
            id: contender.id.clone(),
            calm: times.iter().copied().fold(f64::INFINITY, f64::min),
            ratio: median(
                times
                    .iter()
                    .zip(&rounds[0])
                    .map(|(time, first)| time / first),
            ),
        })
        .collect()
}

/// How many operations fill `slice`: doubled until a run is long enough to tell.
fn batch(contender: &mut Contender, slice: Duration) -> u64 {
    let mut times = 1;
    loop {
        let elapsed = time(contender, times);
        if elapsed * 4 >= slice {
            let each = elapsed.as_secs_f64() / times as f64;
            return ((slice.as_secs_f64() / each) as u64).max(1);
        }
        times *= 2;
    }
}

fn time(contender: &mut Contender, times: u64) -> Duration {
    let start = processor_time();
    (contender.run)(times);
    processor_time().saturating_sub(start)
}

/// How long this thread has run.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("processor time is positive")
}

/// Every round starts with another one, and every other round goes backwards.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(round % count.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

/// The median of `values`.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_runs_every_contender_once() {
        for round in 0..10 {
            let mut order = order(5, round);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn the_median_ignores_a_disturbed_round() {
        assert_eq!(median([1.0, 900.0, 2.0].into_iter()), 2.0);
    }
}
