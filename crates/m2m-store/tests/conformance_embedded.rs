//! `EmbeddedStore` keeps what every store promises.
#![cfg(all(feature = "conformance", feature = "embedded"))]

use std::sync::Arc;
use std::thread;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, conformance};

fn options() -> EmbeddedOptions {
    let outer = SecretBytes::random(LocalKey::BYTES, &SystemRandom).expect("randomness");
    EmbeddedOptions::new(Arc::new(LocalKey::new(outer).expect("32 random bytes")))
}

#[test]
fn the_embedded_store_keeps_every_promise() {
    for case in conformance::cases() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::create(directory.path().join("store"), &options()).unwrap();
        if let Err(violation) = pollster::block_on(case.run(Arc::new(store))) {
            panic!("{violation}");
        }
    }
}

#[test]
fn the_embedded_store_keeps_every_promise_to_many_threads() {
    for case in conformance::cases() {
        let directory = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::create(directory.path().join("store"), &options()).unwrap();
        let spawn = |task| drop(thread::spawn(|| pollster::block_on(task)));
        if let Err(violation) = pollster::block_on(case.run_on(Arc::new(store), spawn)) {
            panic!("{violation}");
        }
    }
}
