//! Our embedded store, as the measurements open and fill it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use m2m_crypto::SecretBytes;
use m2m_store::{
    Batch, EmbeddedOptions, EmbeddedStore, Expected, IdempotencyKey, Key, LocalKey,
    MAX_BATCH_OPERATIONS, Space, Store,
};

use super::rows::{self, KEY_BYTES, Row};

/// How many batches wait at once in [`commit_all`].
const TOGETHER: usize = 64;

/// The space of all records.
///
/// # Panics
///
/// Never: it is a name.
pub fn space() -> Space {
    Space::new("measured").expect("a name")
}

/// The key of a row.
///
/// # Panics
///
/// Never: it is short.
pub fn key(key: &[u8; KEY_BYTES]) -> Key {
    Key::new(&space(), key).expect("a short id")
}

/// One put of the `number`th row, under an idempotency key that nobody used.
pub fn batch(number: u64) -> Batch {
    batch_of(&[rows::row(number)])
}

/// One batch of all of `rows`.
pub fn batch_of(rows: &[Row]) -> Batch {
    rows.iter().fold(named(), |batch, (id, value)| {
        batch.put(key(id), Expected::Anything, value.clone())
    })
}

/// Opens the store in `directory`, or creates it there.
///
/// # Panics
///
/// If it cannot be opened.
pub fn open(directory: &Path) -> EmbeddedStore {
    let outer = LocalKey::new(SecretBytes::new(vec![7; LocalKey::BYTES])).expect("a key");
    let options = EmbeddedOptions::new(Arc::new(outer));
    EmbeddedStore::open_or_create(directory.join("state.m2m"), &options).expect("a store")
}

/// Writes rows 0 to `count`, many to a batch.
///
/// # Panics
///
/// If it cannot.
pub fn fill(store: &dyn Store, count: u64) {
    let firsts = (0..count).step_by(MAX_BATCH_OPERATIONS);
    let batches = firsts.map(|first| {
        let last = count.min(first + MAX_BATCH_OPERATIONS as u64);
        batch_of(&rows::rows(first..last))
    });
    commit_all(store, batches);
}

/// Commits all, many waiting at once.
///
/// # Panics
///
/// If one is refused.
pub fn commit_all(store: &dyn Store, batches: impl Iterator<Item = Batch>) {
    let mut waiting = VecDeque::new();
    for batch in batches {
        let mut commit = store.commit(batch);
        // It is on its way once it was asked for the first time.
        let asked = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context)));
        match pollster::block_on(asked) {
            Poll::Ready(done) => drop(done.expect("a durable commit")),
            Poll::Pending => waiting.push_back(commit),
        }
        if waiting.len() == TOGETHER {
            let oldest = waiting.pop_front().expect("one of many");
            pollster::block_on(oldest).expect("a durable commit");
        }
    }
    for commit in waiting {
        pollster::block_on(commit).expect("a durable commit");
    }
}

fn named() -> Batch {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Spread as keys that are drawn at random, and different in each process.
    let number = NEXT.fetch_add(1, Ordering::Relaxed) + (u64::from(std::process::id()) << 32);
    Batch::new(IdempotencyKey::from_bytes(rows::key(number)))
}
