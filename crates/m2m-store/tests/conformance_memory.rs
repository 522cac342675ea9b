//! `MemoryStore` keeps what every store promises.
#![cfg(feature = "conformance")]

use std::sync::Arc;
use std::thread;

use m2m_store::{MemoryStore, conformance};

#[test]
fn the_memory_store_keeps_every_promise() {
    for case in conformance::cases() {
        let store = Arc::new(MemoryStore::new());
        if let Err(violation) = pollster::block_on(case.run(store)) {
            panic!("{violation}");
        }
    }
}

#[test]
fn the_memory_store_keeps_every_promise_to_many_threads() {
    for case in conformance::cases() {
        let store = Arc::new(MemoryStore::new());
        let spawn = |task| drop(thread::spawn(|| pollster::block_on(task)));
        if let Err(violation) = pollster::block_on(case.run_on(store, spawn)) {
            panic!("{violation}");
        }
    }
}
