//! Opening: all is loaded before anything can be asked, or nothing is opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use m2m_crypto::{RandomError, SecureRandom, SystemRandom};
use m2m_revoke::{
    RecordError, Revocation, RevokeError, StoredLoadError, StoredOpenError, StoredOptions,
    StoredRevocations,
};
use m2m_store::{Batch, Expected, IdempotencyKey, Key, Revision, Space, Store, StoreError};
use pollster::block_on;

use crate::support::{
    Fault, Faulty, NOW, Seeded, assert_fit_for_a_log, at, is_revoked, open, open_at, token,
};

fn set_key() -> Key {
    Key::new(&Space::new("revocation-set").unwrap(), b"set").unwrap()
}

fn put(store: &Faulty, key: Key, value: &[u8]) {
    let batch = Batch::new(IdempotencyKey::generate(&SystemRandom).unwrap());
    block_on(store.commit(batch.put(key, Expected::Anything, value))).unwrap();
}

#[test]
fn everything_is_loaded_before_there_is_a_set_to_ask() {
    let store = Faulty::new();
    let names: Vec<String> = (0..5_000).map(|n| format!("t{n}")).collect();
    let many = names
        .iter()
        .map(|name| Revocation::of(token(name), at(NOW + 300)));
    block_on(open(&store, 1).revoke_many(many)).unwrap();
    let node = open(&store, 2);
    assert!(
        names
            .iter()
            .all(|name| is_revoked(node.revocations(), name, NOW))
    );
    assert_eq!(node.stats().set().entries(), 5_000);
    assert_eq!(node.staleness(at(NOW + 7)).as_secs(), 7);
}

#[test]
fn what_is_revoked_or_merged_while_it_is_loaded_is_not_missed() {
    for (is_pruned, is_merged) in [(false, false), (true, false), (false, true), (true, true)] {
        let store = Faulty::new();
        let names: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
        for (seed, name) in (100..).zip(&names) {
            // Each by a process of its own, so each in a record.
            block_on(open(&store, seed).revoke(token(name), at(NOW + 300))).unwrap();
        }
        store.small_pages.store(true, Ordering::Relaxed);
        let (writer, pruned) = (open(&store, 1), Arc::clone(&store));
        store.after_scan(move || {
            // What is read in pages of two is gone, and is where the first page has been.
            if is_merged {
                assert_eq!(block_on(writer.compact(at(NOW))).unwrap().merged(), 25);
            }
            for n in 0..40 {
                let name = format!("late-{n}");
                block_on(writer.revoke(token(&name), at(NOW + 300))).unwrap();
            }
            if is_pruned {
                pruned.inner.prune(Revision::MAX);
            }
        });
        let opened = open(&store, 2);
        assert_eq!(opened.stats().set().entries(), 65);
        assert_eq!(opened.stats().reloads(), u64::from(is_pruned));
    }
}

#[test]
fn a_store_that_forgets_faster_than_it_is_read_opens_nothing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    store.always_too_old.store(true, Ordering::Relaxed);
    let error = open_at(&store, 2, NOW).unwrap_err();
    assert_eq!(error, StoredOpenError::Load(StoredLoadError::Pruned));
    let error = block_on(node.catch_up(at(NOW + 5))).unwrap_err();
    assert_eq!(error, StoredLoadError::Pruned);
    assert_eq!(node.staleness(at(NOW + 5)).as_secs(), 5);
}

#[test]
fn a_store_that_hangs_leaves_no_half_open_set() {
    let store = Faulty::new();
    block_on(open(&store, 1).revoke(token("a"), at(NOW + 300))).unwrap();
    store.scans_hang.store(true, Ordering::Relaxed);
    let dynamic: Arc<dyn Store> = store.clone();
    let random = Seeded::new(2);
    let options = StoredOptions::default();
    let mut opening = Box::pin(StoredRevocations::open(dynamic, at(NOW), &random, options));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..3 {
        assert!(matches!(opening.as_mut().poll(&mut context), Poll::Pending));
    }
    drop(opening);
    store.scans_hang.store(false, Ordering::Relaxed);
    assert!(is_revoked(open(&store, 3).revocations(), "a", NOW));
    assert_eq!(Arc::strong_count(&store), 1, "nothing is left behind");
}

#[test]
fn a_store_that_cannot_be_read_opens_nothing() {
    let store = Faulty::new();
    store.reads_fail.store(true, Ordering::Relaxed);
    let error = open_at(&store, 1, NOW).unwrap_err();
    assert!(matches!(
        error,
        StoredOpenError::Store(StoreError::Unavailable { .. })
    ));
    assert_fit_for_a_log(&error);
    store.reads_fail.store(false, Ordering::Relaxed);
    store.fail([Fault::Refused]);
    assert!(matches!(
        open_at(&store, 1, NOW),
        Err(StoredOpenError::Store(_))
    ));
    open(&store, 1);
}

#[test]
fn sto_018_a_set_whose_creation_is_unknown_is_the_one_that_is_there() {
    for fault in [Fault::WrittenUnknown, Fault::LostUnknown] {
        let store = Faulty::new();
        store.fail([fault]);
        let node = open(&store, 1);
        block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
        assert!(is_revoked(open(&store, 2).revocations(), "a", NOW));
    }
    let store = Faulty::new();
    store.fail([Fault::LostUnknown; 8]);
    let error = open_at(&store, 1, NOW).unwrap_err();
    let unknown = matches!(
        error,
        StoredOpenError::Store(StoreError::OutcomeUnknown { .. })
    );
    assert!(unknown, "{error:?}");
}

#[test]
fn nodes_that_create_a_set_at_once_have_the_same_keys() {
    // The rival's record is there before ours is written.
    let elsewhere = Faulty::new();
    block_on(open(&elsewhere, 7).revoke(token("x"), at(NOW + 300))).unwrap();
    let winner = block_on(elsewhere.get(&set_key())).unwrap().unwrap();
    let store = Faulty::new();
    let batch = Batch::new(IdempotencyKey::from_bytes([1; 16]));
    store.rival(batch.put(set_key(), Expected::Absent, winner.value().clone()));
    let node = open(&store, 8);
    block_on(node.revoke(token("x"), at(NOW + 300))).unwrap();
    // So the sets can be merged.
    let other = open(&store, 9);
    let snapshot = node.revocations().snapshot().unwrap();
    other.revocations().merge(&snapshot).unwrap();
}

#[test]
fn sto_010_what_is_not_understood_refuses_to_open() {
    for (value, problem) in [
        (&b"\x02"[..], RecordError::Format { found: 2 }),
        (b"", RecordError::Truncated { length: 0 }),
        (
            b"\x01\x09\0\0\0\0\0\x08\0\0\0\0\x01\0\x01a",
            RecordError::Kind { found: 9 },
        ),
    ] {
        let store = Faulty::new();
        let node = open(&store, 1);
        block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
        let key = Key::new(&Space::new("revocation").unwrap(), b"later").unwrap();
        put(&store, key.clone(), value);
        let error = open_at(&store, 2, NOW).unwrap_err();
        let load = StoredLoadError::Record { key, problem };
        assert_eq!(error, StoredOpenError::Load(load.clone()));
        assert_fit_for_a_log(&error);
        // Who is open already goes on refusing what it knows, and gets stale.
        assert_eq!(block_on(node.catch_up(at(NOW + 60))), Err(load));
        assert_eq!(node.staleness(at(NOW + 60)).as_secs(), 60);
        assert!(is_revoked(node.revocations(), "a", NOW));
        assert!(block_on(node.compact(at(NOW))).is_err());
    }
}

#[test]
fn a_set_record_that_is_not_understood_refuses_to_open() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let good = block_on(store.get(&set_key())).unwrap().unwrap();
    let good = good.value().as_bytes().to_vec();
    let with = |at: usize, byte| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let longer = [&good[..], b"\0"].concat();
    for bad in [
        with(0, 2),
        with(17, 0xff),
        good[1..].to_vec(),
        longer,
        vec![],
    ] {
        put(&store, set_key(), &bad);
        let error = open_at(&store, 2, NOW).unwrap_err();
        let form = bad.first().copied();
        assert_eq!(error, StoredOpenError::SetMalformed { form });
        assert_fit_for_a_log(&error);
        assert!(block_on(node.compact(at(NOW))).is_err());
    }
}

#[test]
fn revocations_without_the_record_of_their_set_refuse_to_open() {
    let store = Faulty::new();
    block_on(open(&store, 1).revoke(token("a"), at(NOW + 300))).unwrap();
    let batch = Batch::new(IdempotencyKey::from_bytes([1; 16]));
    block_on(store.commit(batch.delete(set_key(), Expected::Present))).unwrap();
    assert_eq!(
        open_at(&store, 2, NOW).unwrap_err(),
        StoredOpenError::SetMissing
    );
}

#[test]
fn a_set_that_does_not_fit_is_not_opened_in_part() {
    let store = Faulty::new();
    let many = ["a", "b", "c"].map(|name| Revocation::of(token(name), at(NOW + 300)));
    block_on(open(&store, 1).revoke_many(many)).unwrap();
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default().with_capacity_limit(2);
    let random = Seeded::new(2);
    let opened = StoredRevocations::open(dynamic, at(NOW), &random, options);
    let full = matches!(
        block_on(opened),
        Err(StoredOpenError::Load(StoredLoadError::Set(
            RevokeError::Full { .. }
        )))
    );
    assert!(full);
}

#[test]
fn without_randomness_nothing_is_opened() {
    struct Broken;
    impl SecureRandom for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError)
        }
    }
    let store = Faulty::new();
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default();
    let opened = StoredRevocations::open(dynamic, at(NOW), &Broken, options);
    assert_eq!(
        block_on(opened).unwrap_err(),
        StoredOpenError::Random(RandomError)
    );
    assert_eq!(store.commits.load(Ordering::Relaxed), 0);
}
