//! What only `MemoryStore` does: forget on request, fail on request, begin anywhere.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use m2m_store::{
    Batch, Change, Changes, Cursor, Expected, Failure, Follower, IdempotencyKey, Key, MemoryStore,
    Revision, Scan, Space, Step, Store, StoreError,
};
use pollster::block_on;

fn space() -> Space {
    Space::new("a").unwrap()
}

fn key(id: impl AsRef<[u8]>) -> Key {
    Key::new(&space(), id.as_ref()).unwrap()
}

fn batch(number: u64) -> Batch {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(IdempotencyKey::from_bytes(bytes))
}

fn put(number: u64, id: impl AsRef<[u8]>) -> Batch {
    batch(number).put(key(id), Expected::Anything, number.to_be_bytes().as_slice())
}

fn page(store: &MemoryStore, since: Cursor, limit: usize) -> (Vec<Change>, Cursor, bool) {
    match block_on(store.changes(&space(), since, limit)).unwrap() {
        Changes::Some(page) => (page.changes().to_vec(), page.next(), page.has_more()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cursor_from_before_what_was_pruned_is_too_old() {
    let store = MemoryStore::new();
    let mut cursors = vec![page(&store, Cursor::START, 1).1];
    for number in 1..=3 {
        block_on(store.commit(put(number, [b'0' + number as u8]))).unwrap();
        cursors.push(page(&store, Cursor::START, 10).1);
    }
    block_on(store.commit(batch(4).delete(key("1"), Expected::Present))).unwrap();
    cursors.push(page(&store, Cursor::START, 10).1);

    store.prune(Revision::new(2).unwrap());
    for (revision, cursor) in cursors.iter().enumerate() {
        let changes = block_on(store.changes(&space(), *cursor, 10)).unwrap();
        assert_eq!(changes == Changes::TooOld, revision < 2, "{revision}");
    }
    // The tombstone of revision 4 is still there, and is not after it has been pruned.
    let deleted = |change: &Change| matches!(change, Change::Deleted { .. });
    assert!(page(&store, Cursor::START, 10).0.iter().any(deleted));
    store.prune(Revision::MAX);
    assert!(!page(&store, Cursor::START, 10).0.iter().any(deleted));
    assert_eq!(block_on(store.get(&key("1"))).unwrap(), None);
    assert_eq!(page(&store, cursors[4], 10), (vec![], cursors[4], false));
}

#[cfg(feature = "conformance")]
#[test]
fn nobody_misses_what_was_pruned() {
    let store = Arc::new(MemoryStore::new());
    let prune = async |until| store.prune(until);
    let kept = block_on(m2m_store::conformance::check_pruning(store.clone(), prune));
    assert_eq!(kept, Ok(()));
}

#[test]
fn a_walk_from_the_start_comes_to_its_end_in_a_pruned_store() {
    let store = MemoryStore::new();
    for number in 1..=10 {
        block_on(store.commit(put(number, number.to_be_bytes()))).unwrap();
    }
    block_on(store.commit(batch(11).delete(key(1_u64.to_be_bytes()), Expected::Present))).unwrap();
    store.prune(Revision::MAX);

    // Places on the way lie before what was pruned, but nothing read on the way has been.
    let (mut place, mut seen, mut more) = (Cursor::START, 0, true);
    while more {
        let changes;
        (changes, place, more) = page(&store, place, 1);
        place = Cursor::from_bytes(&place.to_bytes()).unwrap();
        seen += changes.len();
    }
    assert_eq!(seen, 9);
    assert_eq!(place.revision().number(), 11);
}

#[test]
fn a_walk_that_may_have_missed_a_deletion_begins_anew() {
    let store = MemoryStore::new();
    for number in 1..=10 {
        block_on(store.commit(put(number, number.to_be_bytes()))).unwrap();
    }
    let (seen, place, _) = page(&store, Cursor::START, 1);
    assert_eq!(seen[0].key(), &key(1_u64.to_be_bytes()));
    block_on(store.commit(batch(11).delete(key(1_u64.to_be_bytes()), Expected::Present))).unwrap();
    let next = page(&store, place, 1).1;
    store.prune(Revision::MAX);
    for place in [place, next] {
        let changes = block_on(store.changes(&space(), place, 1)).unwrap();
        assert_eq!(changes, Changes::TooOld);
    }
}

#[test]
fn a_follower_of_a_pruned_store_reloads_and_ends_with_what_is_there() {
    let store = Arc::new(MemoryStore::new());
    let mut follower = Follower::new(store.clone(), space());
    for number in 0..1500_u64 {
        block_on(store.commit(put(number, number.to_be_bytes()))).unwrap();
    }
    let step = block_on(follower.look()).unwrap();
    follower.done(&step);
    for number in 0..10_u64 {
        let gone = batch(2000 + number).delete(key(number.to_be_bytes()), Expected::Present);
        block_on(store.commit(gone)).unwrap();
    }
    store.prune(Revision::MAX);

    let mut kept = std::collections::BTreeSet::new();
    let mut reloads = 0;
    for _ in 0..10 {
        let step = block_on(follower.look()).unwrap();
        follower.done(&step);
        match step {
            Step::Reload => {
                kept.clear();
                reloads += 1;
            }
            Step::Changes { changes, .. } => {
                kept.extend(changes.iter().map(|change| change.key().clone()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((kept.len(), reloads), (1490, 1));
}

#[test]
fn sto_015_after_the_last_revision_there_is_none() {
    let last_but_one = Revision::new(Revision::MAX.number() - 1).unwrap();
    let store = MemoryStore::new().with_head(last_but_one);
    let committed = block_on(store.commit(put(1, "k"))).unwrap();
    assert_eq!(committed.revision(), Revision::MAX);
    for number in 2..5 {
        let refused = block_on(store.commit(put(number, "k")));
        assert_eq!(refused, Err(StoreError::Exhausted));
    }
    // Nothing wrapped, nothing was written, reading and asking again go on.
    let record = block_on(store.get(&key("k"))).unwrap().unwrap();
    assert_eq!(record.version(), Revision::MAX);
    assert_eq!(record.value().as_bytes(), 1_u64.to_be_bytes());
    let (changes, place, more) = page(&store, Cursor::START, 1);
    assert_eq!(
        (changes.len(), place.revision(), more),
        (1, Revision::MAX, false)
    );
    assert_eq!(page(&store, place, 1), (vec![], place, false));
    assert!(block_on(store.commit(put(1, "k"))).unwrap().was_repeated());
    assert_eq!(Revision::MAX.next(), None);
    assert_eq!(Revision::new(Revision::MAX.number() + 1), None);
    assert_eq!(Revision::new(u64::MAX), None);
}

#[test]
fn who_is_behind_the_head_a_store_began_at_does_not_wait() {
    let store = MemoryStore::new().with_head(Revision::new(5).unwrap());
    let at = |revision| {
        let head = block_on(store.scan(&Scan::new(space()))).unwrap().as_of();
        Cursor::new(head.incarnation(), Revision::new(revision).unwrap())
    };
    let mut context = Context::from_waker(Waker::noop());
    let behind = store.changed(at(4)).as_mut().poll(&mut context);
    assert_eq!(behind, Poll::Ready(Ok(())));
    let there = store.changed(at(5)).as_mut().poll(&mut context);
    assert_eq!(there, Poll::Pending);
}

#[test]
fn a_failure_that_was_asked_for_happens_once_and_says_the_truth() {
    let written = [
        (Failure::NotWritten, false),
        (Failure::WrittenButUnknown, true),
        (Failure::NotWrittenAndUnknown, false),
    ];
    for (failure, written) in written {
        let store = MemoryStore::new();
        store.fail_next(failure);
        let error = block_on(store.commit(put(1, "k"))).unwrap_err();
        let unknown = matches!(error, StoreError::OutcomeUnknown { .. });
        assert_eq!(unknown, failure != Failure::NotWritten, "{failure:?}");
        assert!(error.is_transient());
        let there = block_on(store.get(&key("k"))).unwrap().is_some();
        assert_eq!(there, written, "{failure:?}");
        // STO-018: the same batch again says which it was, and has its effect once.
        let committed = block_on(store.commit(put(1, "k"))).unwrap();
        assert_eq!(committed.was_repeated(), written, "{failure:?}");
        assert_eq!(committed.revision().number(), 1);
    }
}

#[test]
fn idempotency_keys_are_remembered_as_long_as_promised() {
    let store = MemoryStore::new();
    for number in 0..IdempotencyKey::REMEMBERED {
        block_on(store.commit(put(number, "k"))).unwrap();
    }
    let first = block_on(store.commit(put(0, "k"))).unwrap();
    assert!(first.was_repeated());
    assert_eq!(first.revision().number(), 1);
}
