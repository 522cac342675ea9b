//! What the embedded store's operations cost: a commit by a caller alone and by 64 that wait, a
//! read, a scan, a step of the feed. On the file system that holds the temporary directory, or
//! `M2M_STORE_DIR`.
//!
//! ```text
//! cargo bench -p m2m-benches --bench store
//! ```

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{
    Batch, Changes, Cursor, EmbeddedOptions, EmbeddedStore, Expected, IdempotencyKey, Key,
    LocalKey, Scan, Space, Store,
};
use tempfile::TempDir;

const RECORDS: u64 = 100_000;
const CALLERS: u64 = 64;
const VALUE: [u8; 100] = [7; 100];

fn space() -> Space {
    Space::new("bench").expect("a name")
}

/// Keys lie scattered, as digests do.
fn key(number: u64) -> Key {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    Key::new(&space(), &scattered).expect("a short id")
}

fn batch(numbers: std::ops::Range<u64>) -> Batch {
    let name = IdempotencyKey::generate(&SystemRandom).expect("randomness");
    numbers.fold(Batch::new(name), |batch, number| {
        batch.put(key(number), Expected::Anything, VALUE.as_slice())
    })
}

fn filled() -> (TempDir, Arc<EmbeddedStore>) {
    let directory = match std::env::var_os("M2M_STORE_DIR") {
        Some(parent) => TempDir::new_in(parent),
        None => TempDir::new(),
    };
    let directory = directory.expect("a directory");
    let outer = SecretBytes::random(LocalKey::BYTES, &SystemRandom).expect("randomness");
    let outer = LocalKey::new(outer).expect("a key");
    let options = EmbeddedOptions::new(Arc::new(outer));
    let store = EmbeddedStore::create(directory.path().join("state.m2m"), &options);
    let store = store.expect("a store");
    for first in (0..RECORDS).step_by(250) {
        pollster::block_on(store.commit(batch(first..first + 250))).expect("durable");
    }
    (directory, Arc::new(store))
}

fn store(c: &mut Criterion) {
    let (_directory, store) = filled();
    let mut next = RECORDS;
    c.bench_function("store/commit/alone", |b| {
        b.iter(|| {
            next += 1;
            pollster::block_on(store.commit(batch(next..next + 1))).expect("durable")
        });
    });
    commit_together(c, &store, next + 1);

    let mut number = 0;
    c.bench_function("store/get", |b| {
        b.iter(|| {
            number = (number + 7919) % RECORDS;
            let record = pollster::block_on(store.get(black_box(&key(number))));
            assert!(record.expect("it can be read").is_some());
        });
    });
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("scan/1000", |b| {
        let scan = Scan::new(space());
        b.iter(|| {
            let page = pollster::block_on(store.scan(&scan)).expect("it can be read");
            assert_eq!(page.records().len(), 1_000);
        });
    });
    group.bench_function("changes/1000", |b| {
        b.iter(|| assert!(changes(&store, 1_000) >= 1_000));
    });
    group.finish();
}

/// Each iteration is one commit of each of 64 threads.
fn commit_together(c: &mut Criterion, store: &Arc<EmbeddedStore>, first: u64) {
    let mut group = c.benchmark_group("store/commit");
    group.throughput(Throughput::Elements(CALLERS));
    let mut round = 0;
    group.bench_function("64-callers", |b| {
        b.iter_custom(|times| {
            let start = std::time::Instant::now();
            std::thread::scope(|scope| {
                for caller in 0..CALLERS {
                    scope.spawn(move || {
                        for time in 0..times {
                            let number = first + (round + time) * CALLERS + caller;
                            let batch = batch(number..number + 1);
                            pollster::block_on(store.commit(batch)).expect("durable");
                        }
                    });
                }
            });
            round += times;
            start.elapsed()
        });
    });
    group.finish();
}

fn changes(store: &EmbeddedStore, limit: usize) -> usize {
    let space = space();
    let changes = store.changes(&space, Cursor::START, limit);
    match pollster::block_on(changes).expect("it can be read") {
        Changes::Some(page) => page.changes().len(),
        _ => panic!("the start is never too old"),
    }
}

criterion_group!(benches, store);
criterion_main!(benches);
