//! Durable commits: 64 callers that wait, beside one thread that writes groups of 64 into redb.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use m2m_store::{EmbeddedStore, Store};

use super::engines::{Engine, Redb};
use super::{embedded, place, rows};
use crate::timing::median;

/// How many callers wait, and how many rows bare redb writes at once.
pub const CALLERS: u64 = 64;
/// How many records are there before anything is measured: more than a store remembers idempotency
/// keys, so that it also forgets one for each that it adds.
const BEFORE: u64 = 200_000;
const SLICE: Duration = Duration::from_millis(400);

/// What was measured. Rates are in commits a second.
#[derive(Clone, Copy, Debug)]
pub struct Commits {
    /// 64 tasks on one thread, each committing one record and waiting, again and again.
    pub tasks: f64,
    /// How many of their batches share a commit.
    pub per_group: f64,
    /// 64 threads that do.
    pub threads: f64,
    /// Rows a second that bare redb makes durable, 64 at once.
    pub bare: f64,
    /// The median over the rounds of the tasks' rate, divided by redb's in the same round.
    pub tasks_ratio: f64,
    /// And of the threads' rate.
    pub threads_ratio: f64,
    /// Seconds that a caller waits who is alone.
    pub alone: f64,
    /// Seconds that redb needs for one row.
    pub bare_alone: f64,
}

/// Measures `rounds` times each, in turns.
///
/// # Panics
///
/// If a commit fails.
pub fn measure(rounds: usize) -> Commits {
    let (here, there) = (place::directory(), place::directory());
    let store = filled(here.path());
    let mut bare = Redb::open(&there.path().join("data"));
    for first in (0..BEFORE).step_by(10_000) {
        bare.commit(&rows::rows(first..first + 10_000));
    }
    let next = Arc::new(AtomicU64::new(BEFORE));
    let mut next_bare = BEFORE;
    let (mut tasks, mut threads, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    let (mut alone, mut bare_alone) = (Vec::new(), Vec::new());
    let mut groups = Vec::new();
    for _ in 0..rounds {
        let before = store.stats().expect("it can be read");
        tasks.push(by_tasks(&store, &next));
        let after = store.stats().expect("it can be read");
        groups
            .push((after.commits - before.commits) as f64 / (after.groups - before.groups) as f64);
        bares.push(by_redb(&mut bare, &mut next_bare));
        threads.push(by_threads(&store, &next));
        alone.push(seconds(|| {
            let batch = embedded::batch(next.fetch_add(1, Ordering::Relaxed));
            pollster::block_on(store.commit(batch)).expect("a durable commit");
        }));
        bare_alone.push(seconds(|| {
            bare.commit(&[rows::row(next_bare)]);
            next_bare += 1;
        }));
    }
    let ratio = |ours: &[f64]| median(ours.iter().zip(&bares).map(|(ours, bare)| ours / bare));
    Commits {
        tasks_ratio: ratio(&tasks),
        threads_ratio: ratio(&threads),
        per_group: median(groups.into_iter()),
        tasks: median(tasks.into_iter()),
        threads: median(threads.into_iter()),
        bare: median(bares.into_iter()),
        alone: median(alone.into_iter()),
        bare_alone: median(bare_alone.into_iter()),
    }
}

/// A store with records, each of which was committed by itself.
///
/// # Panics
///
/// If it cannot be filled.
fn filled(directory: &std::path::Path) -> Arc<EmbeddedStore> {
    let store = Arc::new(embedded::open(directory));
    let next = Arc::new(AtomicU64::new(0));
    // Many at once, since only their number matters.
    runtime().block_on(callers(&store, 1_024, move || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        (number < BEFORE).then_some(number)
    }));
    store
}

fn by_tasks(store: &Arc<EmbeddedStore>, next: &Arc<AtomicU64>) -> f64 {
    let (start, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let (next, counted) = (Arc::clone(next), Arc::clone(&count));
    runtime().block_on(callers(store, CALLERS, move || {
        (start.elapsed() < SLICE).then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            next.fetch_add(1, Ordering::Relaxed)
        })
    }));
    count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn by_threads(store: &Arc<EmbeddedStore>, next: &AtomicU64) -> f64 {
    let (start, count) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while start.elapsed() < SLICE {
                    let batch = embedded::batch(next.fetch_add(1, Ordering::Relaxed));
                    pollster::block_on(store.commit(batch)).expect("a durable commit");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn by_redb(bare: &mut Redb, next: &mut u64) -> f64 {
    let (start, first) = (Instant::now(), *next);
    while start.elapsed() < SLICE {
        bare.commit(&rows::rows(*next..*next + CALLERS));
        *next += CALLERS;
    }
    (*next - first) as f64 / start.elapsed().as_secs_f64()
}

/// `count` tasks on this thread, each of which commits record after record until there is none.
async fn callers(
    store: &Arc<EmbeddedStore>,
    count: u64,
    next: impl Fn() -> Option<u64> + Clone + Send + 'static,
) {
    let tasks = (0..count).map(|_| {
        let (store, next) = (Arc::clone(store), next.clone());
        tokio::spawn(async move {
            while let Some(number) = next() {
                let committed = store.commit(embedded::batch(number)).await;
                committed.expect("a durable commit");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task does not panic");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.build().expect("a runtime")
}

/// How long one of `work` takes: the median of a slice.
fn seconds(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < SLICE {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    median(times.into_iter())
}
