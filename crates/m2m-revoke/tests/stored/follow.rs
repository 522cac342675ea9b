//! Following: what one node revokes the others refuse, and nothing they hear un-revokes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use m2m_revoke::{RevokeError, StoredLoadError, StoredOptions, StoredRevocations};
use m2m_store::{Batch, Expected, IdempotencyKey, Revision, Store};
use pollster::block_on;

use crate::support::{Fault, Faulty, NOW, Seeded, at, is_revoked, open, records, token};

/// Removes every record as if it had expired, whether it has or not.
fn delete_all(store: &Faulty) {
    let mut batch = Batch::new(IdempotencyKey::from_bytes([0xdd; 16]));
    for record in records(store) {
        batch = batch.delete(record.key().clone(), Expected::Present);
    }
    block_on(store.commit(batch)).unwrap();
}

#[test]
fn two_nodes_follow_each_other() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    block_on(one.revoke(token("a"), at(NOW + 300))).unwrap();
    block_on(other.revoke(token("b"), at(NOW + 300))).unwrap();
    assert!(!is_revoked(other.revocations(), "a", NOW));
    assert!(!is_revoked(one.revocations(), "b", NOW));
    let epoch = one.revocations().epoch();
    for node in [&one, &other] {
        let found = block_on(node.catch_up(at(NOW))).unwrap();
        assert_eq!(found.changes(), 2, "its own as well");
        assert!(!found.was_reloaded() && !found.was_set_back());
        assert!(is_revoked(node.revocations(), "a", NOW));
        assert!(is_revoked(node.revocations(), "b", NOW));
    }
    assert!(
        one.revocations().epoch() > epoch,
        "cached tokens are checked again"
    );
    assert_eq!(one.as_of(), other.as_of());
    assert_eq!(block_on(one.catch_up(at(NOW))).unwrap().changes(), 0);
}

#[test]
fn a_set_that_is_full_says_so_and_gets_stale() {
    let store = Faulty::new();
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default().with_capacity_limit(2);
    let random = Seeded::new(1);
    let small = block_on(StoredRevocations::open(dynamic, at(NOW), &random, options)).unwrap();
    let node = open(&store, 2);
    for name in ["a", "b", "c"] {
        block_on(node.revoke(token(name), at(NOW + 300))).unwrap();
    }
    for _ in 0..2 {
        let error = block_on(small.catch_up(at(NOW + 9))).unwrap_err();
        assert!(matches!(
            error,
            StoredLoadError::Set(RevokeError::Full { .. })
        ));
        assert_eq!(small.staleness(at(NOW + 9)), Duration::from_secs(9));
    }
}

#[test]
fn waiting_ends_when_somebody_revokes_and_not_before() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut changed = Box::pin(one.changed());
        assert!(matches!(changed.as_mut().poll(&mut context), Poll::Pending));
        block_on(other.revoke(token("a"), at(NOW + 300))).unwrap();
        assert!(matches!(
            changed.as_mut().poll(&mut context),
            Poll::Ready(Ok(()))
        ));
    }
    assert!(
        !is_revoked(one.revocations(), "a", NOW),
        "waiting does nothing else"
    );
    block_on(one.changed()).unwrap();
    block_on(one.catch_up(at(NOW))).unwrap();
    let mut changed = Box::pin(one.changed());
    assert!(matches!(changed.as_mut().poll(&mut context), Poll::Pending));
}

#[test]
fn many_changes_are_taken_in_by_one_call() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    for n in 0..3_000 {
        block_on(one.revoke(token(&n.to_string()), at(NOW + 300))).unwrap();
    }
    // Each record once, however often it was written.
    let kept = records(&*store).len() as u64;
    assert_eq!(block_on(other.catch_up(at(NOW))).unwrap().changes(), kept);
    assert_eq!(other.stats().set().entries(), 3_000);
    assert_eq!(other.stats().changes(), kept);
}

#[test]
fn sto_010_a_deleted_record_un_revokes_nothing() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    block_on(one.revoke(token("a"), at(NOW + 300))).unwrap();
    block_on(other.catch_up(at(NOW))).unwrap();
    delete_all(&store);
    for node in [one, other] {
        block_on(node.catch_up(at(NOW))).unwrap();
        assert!(is_revoked(node.revocations(), "a", NOW));
    }
}

#[test]
fn sto_010_a_feed_that_does_not_go_back_far_enough_is_read_anew_and_added() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    block_on(one.revoke(token("gone"), at(NOW + 300))).unwrap();
    block_on(other.catch_up(at(NOW))).unwrap();
    delete_all(&store);
    block_on(one.revoke(token("a"), at(NOW + 300))).unwrap();
    store.inner.prune(Revision::MAX);
    block_on(one.revoke(token("b"), at(NOW + 300))).unwrap();
    let found = block_on(other.catch_up(at(NOW + 1))).unwrap();
    assert!(found.was_reloaded() && !found.was_set_back());
    for name in ["gone", "a", "b"] {
        assert!(is_revoked(other.revocations(), name, NOW), "{name}");
    }
    assert_eq!(other.stats().reloads(), 1);
    assert_eq!(other.staleness(at(NOW + 1)), Duration::ZERO);
    assert!(
        !block_on(other.catch_up(at(NOW + 1)))
            .unwrap()
            .was_reloaded()
    );
}

#[test]
fn sto_010_a_store_that_was_set_back_un_revokes_nothing_and_is_told_of() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("lost"), at(NOW + 300))).unwrap();
    delete_all(&store);
    store.is_restored.store(true, Ordering::Relaxed);
    let found = block_on(node.catch_up(at(NOW))).unwrap();
    assert!(found.was_reloaded() && found.was_set_back());
    assert!(is_revoked(node.revocations(), "lost", NOW));
    assert!(!block_on(node.catch_up(at(NOW))).unwrap().was_set_back());
    // Whoever starts now does not know of it, until it is revoked again.
    assert!(!is_revoked(open(&store, 2).revocations(), "lost", NOW));
    block_on(node.revoke(token("lost"), at(NOW + 300))).unwrap();
    assert!(is_revoked(open(&store, 3).revocations(), "lost", NOW));
}

#[test]
fn staleness_counts_from_the_last_time_that_nothing_was_missing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    assert_eq!(node.staleness(at(NOW)), Duration::ZERO);
    assert_eq!(node.staleness(at(NOW + 9)), Duration::from_secs(9));
    block_on(node.catch_up(at(NOW + 9))).unwrap();
    assert_eq!(node.staleness(at(NOW + 9)), Duration::ZERO);
    store.reads_fail.store(true, Ordering::Relaxed);
    assert!(block_on(node.catch_up(at(NOW + 20))).is_err());
    assert_eq!(node.staleness(at(NOW + 20)), Duration::from_secs(11));
    assert_eq!(node.stats().caught_up_at(), at(NOW + 9));
    // Revoking needs no reading, and says nothing about what others did.
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    assert_eq!(node.staleness(at(NOW + 20)), Duration::from_secs(11));
}

#[test]
fn sto_016_staleness_is_unknown_when_the_clock_was_set_back() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let decade = 10 * 365 * 86_400;
    block_on(node.catch_up(at(NOW + decade))).unwrap();
    assert_eq!(node.staleness(at(NOW)), Duration::MAX);
    assert_eq!(node.staleness(at(NOW + decade - 60)), Duration::ZERO);
    assert_eq!(node.staleness(at(NOW + decade - 61)), Duration::MAX);
    block_on(node.catch_up(at(NOW))).unwrap();
    assert_eq!(node.staleness(at(NOW)), Duration::ZERO);
}

#[test]
fn a_revocation_whose_caller_went_away_is_taken_in_by_the_next_look() {
    let store = Faulty::new();
    let node = open(&store, 1);
    // It is written, but nobody hears the answer: as if the future had been dropped.
    let mut context = Context::from_waker(Waker::noop());
    store.fail([Fault::WrittenUnknown, Fault::WrittenUnknown]);
    let other = open(&store, 2);
    let mut revoking = Box::pin(other.revoke(token("a"), at(NOW + 300)));
    let _ = revoking.as_mut().poll(&mut context);
    drop(revoking);
    block_on(node.catch_up(at(NOW))).unwrap();
    assert!(is_revoked(node.revocations(), "a", NOW));
}

#[test]
fn nodes_on_threads_converge() {
    let store = Faulty::new();
    let nodes: Vec<_> = (0..4).map(|seed| Arc::new(open(&store, seed))).collect();
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..200 {
                    // Half of them are everybody's.
                    let name = match n % 2 {
                        0 => format!("shared-{n}"),
                        _ => format!("{number}-{n}"),
                    };
                    block_on(node.revoke(token(&name), at(NOW + 300 + number as u64))).unwrap();
                    assert!(is_revoked(node.revocations(), &name, NOW));
                }
            });
            scope.spawn(move || {
                for _ in 0..50 {
                    block_on(node.catch_up(at(NOW))).unwrap();
                }
            });
        }
    });
    for node in &nodes {
        block_on(node.catch_up(at(NOW))).unwrap();
        assert_eq!(node.stats().set().entries(), 100 + 4 * 100);
        let shared = |n| is_revoked(node.revocations(), &format!("shared-{n}"), NOW + 303);
        assert!((0..200).step_by(2).all(shared), "the longest of all counts");
    }
}
