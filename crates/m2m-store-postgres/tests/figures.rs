//! How fast a change is seen elsewhere, and how many commits a second there are. Prints figures; fails
//! only where a promise is broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use m2m_store::{Cursor, Expected, Follower, Step, Store};
use m2m_store_postgres::PostgresConfig;

mod common;

/// Each commit carries when it was acknowledged at the latest: the follower in another store (with
/// connections of its own, as in another process) says how much later it saw it.
async fn latencies(config: &PostgresConfig, changes: u32) -> Vec<Duration> {
    let writer = common::store(config).await;
    let reader = Arc::new(common::connect(config).await);
    let mut follower = Follower::new(reader, common::space());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let step = follower.next().await.expect("a step");
            let now = Instant::now();
            if let Step::Changes { changes, .. } = &step {
                for change in changes {
                    let _ = told.send((change.revision(), now));
                }
            }
            follower.done(&step);
        }
    });
    let mut seen = Vec::new();
    for number in 0..changes {
        let put = common::batch().put(common::key(number.to_be_bytes()), Expected::Absent, vec![1]);
        let committed = writer.commit(put).await.expect("committed");
        let acknowledged = Instant::now();
        loop {
            let (revision, at) = heard.recv().await.expect("the follower lives");
            if revision == committed.revision() {
                seen.push(at.saturating_duration_since(acknowledged));
                break;
            }
        }
        // Not in step with the poll.
        tokio::time::sleep(Duration::from_millis(u64::from(number % 23))).await;
    }
    seen.sort_unstable();
    seen
}

/// What a machine that does nothing else promises: a change is seen elsewhere within this time.
const PROMISE: Duration = Duration::from_millis(100);
/// How much later than the least that it takes in the same moments.
const TIMES_THE_LEAST: u32 = 3;
const ROUNDS: u32 = 5;

/// What it takes at the least to hear of a change by looking: waiting for one interval and asking the
/// server twice, over and over on a connection of its own, until it is told to stop.
async fn least(stop: Arc<AtomicBool>) -> Vec<Duration> {
    let client = common::client(m2m_testkit::postgres::shared().expect("a server")).await;
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..2 {
            let asked = client.query_one("SELECT 1", &[]).await;
            asked.expect("an answer");
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

fn late(sorted: &[Duration]) -> Duration {
    let late = sorted.get(sorted.len() * 99 / 100);
    *late.expect("something was measured")
}

/// Strict where the machine is calm: there the least is a fifth of the promise and less. Where others
/// take the processor, both are late, and in the best of some rounds by as much.
#[test]
fn a_change_is_seen_elsewhere_within_a_tenth_of_a_second() {
    let Some(_) = common::fresh() else { return };
    common::run(async {
        for wakes in [false, true] {
            let (mut tried, mut kept) = (Vec::new(), false);
            for _ in 0..ROUNDS {
                let config = common::fresh().expect("a server");
                let config = if wakes {
                    config.with_wake_ups()
                } else {
                    config
                };
                let stop = Arc::new(AtomicBool::new(false));
                let control = tokio::spawn(least(Arc::clone(&stop)));
                let seen = latencies(&config, 100).await;
                stop.store(true, Ordering::Relaxed);
                let least = control.await.expect("no panic");
                let (ours, least) = (late(&seen), late(&least));
                println!("seen elsewhere, wake-ups {wakes}: p99 {ours:?}, at the least {least:?}");
                tried.push((ours, least));
                kept = ours < PROMISE.max(least * TIMES_THE_LEAST);
                if kept {
                    break;
                }
            }
            assert!(kept, "wake-ups {wakes}: {tried:?}");
        }
    });
}

#[test]
fn many_callers_share_a_transaction() {
    let Some(_) = common::fresh() else { return };
    common::run(async {
        for callers in [1_u32, 64] {
            let config = common::fresh().expect("a server");
            let store = Arc::new(common::store(&config).await);
            let began = Instant::now();
            let tasks = (0..callers).map(|caller| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let mut done = 0_u64;
                    while began.elapsed() < Duration::from_secs(1) {
                        let id = [caller.to_be_bytes(), (done as u32).to_be_bytes()].concat();
                        let key = common::key(id);
                        let batch = common::batch().put(key, Expected::Absent, vec![7; 100]);
                        store.commit(batch).await.expect("committed");
                        done += 1;
                    }
                    done
                })
            });
            let tasks: Vec<_> = tasks.collect();
            let mut all = 0;
            for task in tasks {
                all += task.await.expect("no panic");
            }
            let stats = store.stats();
            let rate = all as f64 / began.elapsed().as_secs_f64();
            println!(
                "{callers} callers: {rate:.0} durable commits a second, {} groups",
                stats.groups
            );
            assert_eq!(stats.commits, all);
            assert!(callers == 1 || stats.groups < all / 4, "{stats:?}");

            let began = Instant::now();
            let (mut place, mut changes) = (Cursor::START, 0);
            loop {
                let answer = store.changes(&common::space(), place, 1_000).await;
                let Ok(m2m_store::Changes::Some(page)) = answer else {
                    panic!("{answer:?}");
                };
                changes += page.changes().len() as u64;
                place = page.next();
                if !page.has_more() {
                    break;
                }
            }
            assert_eq!(changes, all);
            let rate = changes as f64 / began.elapsed().as_secs_f64();
            println!("feed: {rate:.0} changes a second");
        }
    });
}
