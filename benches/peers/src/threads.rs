//! How throughput grows with a second thread.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::timing::{median, processor_time};

const ROUNDS: usize = 200;
const SLICE: Duration = Duration::from_millis(8);

/// Work that a thread repeats: it does the operation as often as it is told.
pub type Worker = Box<dyn FnMut(u64) + Send>;

/// Throughput of two threads at once divided by that of one alone; `make` makes a thread's work.
///
/// One and two take turns, and the median of the rounds is the answer. The clock is each thread's
/// processor time: if the two wait for each other's cache lines, their processors' time passes, but
/// not while the scheduler lets somebody else run.
pub fn scaling(make: impl Fn() -> Worker) -> f64 {
    let batch = batch(&mut make());
    median((0..ROUNDS).map(|_| {
        let one = run(vec![make()], batch);
        let two = run(vec![make(), make()], batch);
        2.0 * one.as_secs_f64() / two.as_secs_f64()
    }))
}

/// The longest time that any of the workers takes for `batch` operations, each on its own thread.
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
                    time(&mut worker, batch)
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
        let elapsed = time(worker, times);
        if elapsed * 4 >= SLICE {
            return (times as f64 * SLICE.as_secs_f64() / elapsed.as_secs_f64()) as u64;
        }
        times *= 2;
    }
}

fn time(worker: &mut Worker, times: u64) -> Duration {
    let start = processor_time();
    worker(times);
    processor_time().saturating_sub(start)
}
