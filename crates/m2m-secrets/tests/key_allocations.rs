//! What is on the way of each request allocates nothing.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::Arc;

use allocation_counter::measure;
use m2m_crypto::SystemRandom;
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyScanner, KeyTable, PairRoot, Parties,
    PeerFloors, PepperVersion, RootVersion, SharedSecret,
};
use m2m_types::{Live, ServiceId, Timestamp};

fn allocations(run: impl FnOnce()) -> u64 {
    measure(run).count_total
}

#[test]
fn keys_are_checked_and_refused_without_allocating() {
    let now = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
    let pepper = SharedSecret::generate(&SystemRandom).unwrap();
    let format = KeyFormat::new("acme", "live").unwrap();
    let version = PepperVersion::new(1).unwrap();
    let hasher = Arc::new(KeyHasher::new(format.clone(), version, &pepper).unwrap());
    let owner: ServiceId = "spiffe://example.org/a".parse().unwrap();
    let (client, issued) = ClientKeys::issue(owner, &hasher, &SystemRandom, now).unwrap();
    let table = KeyTable::build(Arc::clone(&hasher), [&client], &SystemRandom, now).unwrap();
    let table = Live::new(table);
    let text = issued.key().expose_secret().as_bytes();
    table.load(); // the thread's first look allocates what it keeps

    assert_eq!(
        allocations(|| assert!(table.load().check(text, now).is_ok())),
        0
    );
    let cut = text.get(1..).unwrap();
    assert_eq!(
        allocations(|| assert!(table.load().check(cut, now).is_err())),
        0
    );
    let stranger = format.generate(&SystemRandom).unwrap();
    let stranger = stranger.expose_secret().as_bytes();
    assert_eq!(
        allocations(|| assert!(table.load().check(stranger, now).is_err())),
        0
    );

    let scanner = KeyScanner::new(vec![format]).unwrap();
    let log = [b"Bearer ", text, b" acme_live_ ", stranger].concat();
    assert_eq!(
        allocations(|| assert_eq!(scanner.find_in(&log).count(), 2)),
        0
    );
}

#[test]
fn keys_of_pairs_are_derived_without_allocating() {
    let root = PairRoot::new(
        &SharedSecret::generate(&SystemRandom).unwrap(),
        RootVersion(1),
    );
    let one: ServiceId = "spiffe://example.org/one".parse().unwrap();
    let two: ServiceId = "spiffe://example.org/two".parse().unwrap();
    let three: ServiceId = "spiffe://example.org/three".parse().unwrap();
    let mut floors = PeerFloors::new(&SystemRandom).unwrap();
    floors.raise(&three, Generation::NEVER).unwrap();
    let first = Generation::FIRST;
    let count = allocations(|| {
        let parties = Parties::pair(&one, &two).unwrap();
        let tag = root.sign(&parties, first, b"message");
        assert!(
            root.verify(&parties, first, &floors, b"message", &tag)
                .is_ok()
        );
        assert!(
            root.verify(&parties, first, &floors, b"another", &tag)
                .is_err()
        );
        let trio = Parties::trio(&one, &two, &three).unwrap();
        assert!(
            root.verify(&trio, first, &floors, b"message", &tag)
                .is_err()
        );
    });
    assert_eq!(count, 0);
}
