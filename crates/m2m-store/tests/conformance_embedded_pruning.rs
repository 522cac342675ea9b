//! `EmbeddedStore` forgets what was deleted, and nobody misses it.
#![cfg(all(feature = "conformance", feature = "embedded"))]

use std::sync::Arc;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, conformance};

#[test]
fn nobody_misses_what_was_pruned() {
    let outer = SecretBytes::random(LocalKey::BYTES, &SystemRandom).expect("randomness");
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(outer).expect("32 random bytes")));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Arc::new(EmbeddedStore::create(path, &options).unwrap());
    let prune = async |until| {
        store.prune_tombstones(until).await.unwrap();
    };
    let kept = pollster::block_on(conformance::check_pruning(store.clone(), prune));
    assert_eq!(kept, Ok(()));
}
