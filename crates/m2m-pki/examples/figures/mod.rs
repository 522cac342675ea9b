//! How the programs beside this measure, and the lines that other programs read:
//! `figure NAME VALUE`, the value in what the name says.
#![expect(clippy::print_stdout, reason = "it prints what was measured")]

use std::time::{Duration, Instant};

/// Prints `value` for people, with what it has to reach, and for programs under `name`.
pub(crate) fn figure(name: &str, value: f64, what: &str, reach: &str) {
    println!("  {what:<56} {value:>8.3}   {reach}");
    println!("figure {name} {value:.4}");
}

/// Something that is timed.
pub(crate) struct Run<'a> {
    pub(crate) name: &'static str,
    work: Box<dyn FnMut(usize) + 'a>,
    /// Microseconds of one turn, in the shortest round.
    pub(crate) least: f64,
}

impl<'a> Run<'a> {
    pub(crate) fn new(name: &'static str, work: impl FnMut(usize) + 'a) -> Self {
        Self {
            name,
            work: Box::new(work),
            least: f64::MAX,
        }
    }
}

/// Runs each for `turns` at a time, one after the other, `rounds` times after one to warm up, and
/// keeps the least time of one turn, in microseconds.
pub(crate) fn take_turns(runs: &mut [Run<'_>], turns: usize, rounds: usize) {
    for round in 0..=rounds {
        for Run { work, least, .. } in &mut *runs {
            let before = processor_time();
            (0..turns).for_each(&mut *work);
            let spent = processor_time().saturating_sub(before);
            if round > 0 {
                *least = least.min(spent.as_secs_f64() * 1e6 / turns as f64);
            }
        }
    }
}

/// What this thread has used, where the system tells; it counts by ticks, so a round should take a
/// tenth of a second.
pub(crate) fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse().ok());
    match nanos {
        Some(nanos) => Duration::from_nanos(nanos),
        None => {
            static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
            BEGIN.get_or_init(Instant::now).elapsed()
        }
    }
}
