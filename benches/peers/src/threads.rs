//! How throughput grows with a second thread.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// How often the comparison is repeated; the best time of each kind counts.
const WINDOWS: usize = 300;
const WINDOW: Duration = Duration::from_millis(8);

/// Work that a thread repeats: it does the operation as often as it is told.
pub type Worker = Box<dyn FnMut(u64) + Send>;

/// Throughput of two threads divided by that of one; `make` makes a thread's work.
///
/// One and two take turns, and the best of each counts: whatever else the machine does can only
/// make them worse.
pub fn scaling(make: impl Fn() -> Worker) -> f64 {
    let batch = batch(&mut make());
    let (mut one, mut two) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..WINDOWS {
        one = one.min(run(vec![make()], batch).as_secs_f64());
        two = two.min(run(vec![make(), make()], batch).as_secs_f64());
    }
    2.0 * one / two
}

/// The time until every worker, each on a thread of its own, has done `batch` operations.
fn run(workers: Vec<Worker>, batch: u64) -> Duration {
    let barrier = Barrier::new(workers.len());
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let barrier = &barrier;
                scope.spawn(move || {
                    worker(1000);
                    barrier.wait();
                    let start = Instant::now();
                    worker(batch);
                    start.elapsed()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a worker does not panic"))
            .max()
            .unwrap_or_default()
    })
}

fn batch(worker: &mut Worker) -> u64 {
    let mut times = 1000;
    loop {
        let start = Instant::now();
        worker(times);
        let elapsed = start.elapsed();
        if elapsed * 4 >= WINDOW {
            return (times as f64 * WINDOW.as_secs_f64() / elapsed.as_secs_f64()) as u64;
        }
        times *= 2;
    }
}
