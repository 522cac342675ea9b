//! Compaction: only what has expired for everybody is forgotten, whatever clocks say.

use std::sync::Arc;
use std::time::Duration;

use m2m_revoke::{Revocation, StoredCompactError, StoredOptions, StoredRevocations};
use m2m_store::Store;
use m2m_types::Timestamp;
use pollster::block_on;

use crate::support::{Fault, Faulty, NOW, Seeded, at, is_revoked, open, open_at, records, token};

const MARGIN: u64 = 600;
const DECADE: u64 = 10 * 365 * 86_400;

fn open_looking_at(store: &Arc<Faulty>, seed: u64, records: usize) -> StoredRevocations {
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default().with_compact_records(records);
    let random = Seeded::new(seed);
    block_on(StoredRevocations::open(dynamic, at(NOW), &random, options)).unwrap()
}

#[test]
fn a_record_goes_when_its_margin_has_passed_and_not_before() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    block_on(node.revoke(token("key"), Timestamp::MAX)).unwrap();
    let mut now = NOW;
    while now < NOW + 300 + MARGIN - 1 {
        now = (now + 299).min(NOW + 300 + MARGIN - 1);
        let done = block_on(node.compact(at(now))).unwrap();
        assert_eq!((done.deleted(), done.memory().dropped()), (0, 0));
        assert!(done.is_round_done());
        assert_eq!(done.looked_at(), 2);
    }
    let done = block_on(node.compact(at(now + 1))).unwrap();
    assert_eq!((done.deleted(), done.memory().dropped()), (1, 1));
    assert_eq!(done.behind(), Duration::ZERO);
    assert_eq!(records(&*store).len(), 1);
    assert!(is_revoked(
        open(&store, 2).revocations(),
        "key",
        NOW + DECADE
    ));
}

#[test]
fn sto_016_a_clock_that_jumps_ahead_deletes_nothing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 2 * MARGIN))).unwrap();
    // A process that starts with that clock deletes nothing either.
    let late = open_at(&store, 2, NOW + DECADE).unwrap();
    for (call, node) in (1..).zip([&node, &late]) {
        let done = block_on(node.compact(at(NOW + DECADE))).unwrap();
        let behind = DECADE - call * MARGIN;
        assert_eq!(done.behind(), Duration::from_secs(behind));
        assert_eq!(done.memory().dropped(), 0);
        assert_eq!(done.deleted(), 0);
    }
    // The clock is put right.
    for node in [node, late] {
        assert!(is_revoked(node.revocations(), "a", NOW));
    }
}

#[test]
fn sto_016_each_call_forgets_only_what_had_expired_by_an_earlier_one() {
    let store = Faulty::new();
    let node = open(&store, 1);
    for minute in 0..60 {
        let name = minute.to_string();
        block_on(node.revoke(token(&name), at(NOW + 60 * minute))).unwrap();
    }
    for call in 1..=12_u64 {
        // A decade ahead, each time.
        let before = NOW + MARGIN * (call - 1);
        block_on(open(&store, 200 + call).compact(at(NOW + DECADE))).unwrap();
        let node = open(&store, 100);
        for minute in 0..60 {
            let name = minute.to_string();
            let expires = NOW + 60 * minute;
            let is_kept = is_revoked(node.revocations(), &name, expires);
            assert_eq!(is_kept, expires > before, "call {call}, minute {minute}");
        }
    }
}

#[test]
fn sto_016_a_clock_that_is_set_back_deletes_less_and_un_expires_nothing() {
    let store = Faulty::new();
    let node = open(&store, 1);
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    for seconds in [0, 300, 600, 899] {
        block_on(node.compact(at(NOW + seconds))).unwrap();
    }
    for past in [NOW, NOW - DECADE, 0] {
        let done = block_on(node.compact(at(past))).unwrap();
        assert_eq!((done.deleted(), done.behind()), (0, Duration::ZERO));
    }
    assert_eq!(block_on(node.compact(at(NOW + 900))).unwrap().deleted(), 1);
    for past in [NOW, 0] {
        let node = open_at(&store, 2, past).unwrap();
        assert_eq!(node.stats().set().entries(), 0);
        block_on(node.compact(at(past))).unwrap();
    }
}

#[test]
fn sto_016_after_a_clock_that_was_ahead_records_go_by_the_right_one() {
    let store = Faulty::new();
    let node = open(&store, 1);
    for _ in 0..10 {
        block_on(node.compact(at(NOW + DECADE))).unwrap();
    }
    // The store's time is an hour and more ahead; the clock is put right.
    block_on(node.revoke(token("a"), at(NOW + 300))).unwrap();
    for seconds in [0, 300, 899] {
        let done = block_on(node.compact(at(NOW + seconds))).unwrap();
        assert_eq!((done.deleted(), done.memory().dropped()), (0, 0));
    }
    assert_eq!(block_on(node.compact(at(NOW + 900))).unwrap().deleted(), 1);
}

#[test]
fn a_call_looks_at_so_many_records_and_the_next_goes_on() {
    let store = Faulty::new();
    let node = open_looking_at(&store, 1, 30);
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let many = names
        .iter()
        .map(|name| Revocation::of(token(name), at(NOW)));
    block_on(node.revoke_many(many)).unwrap();
    block_on(node.compact(at(NOW))).unwrap();
    let looks: Vec<_> = (0..5)
        .map(|_| block_on(node.compact(at(NOW + MARGIN))).unwrap())
        .map(|done| (done.looked_at(), done.deleted(), done.is_round_done()))
        .collect();
    let left = records(&*store).len() as u64;
    assert_eq!(
        looks[..4],
        [
            (30, 30, false),
            (30, 30, false),
            (10, 10, true),
            (30, 30, left == 0)
        ]
    );
    assert_eq!(left, 0);
}

#[test]
fn several_nodes_compact_at_once() {
    let store = Faulty::new();
    let nodes: Vec<_> = (0..4)
        .map(|seed| open_looking_at(&store, seed, 700))
        .collect();
    let names: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let many = names.iter().enumerate().map(|(n, name)| {
        // Every tenth is good for longer.
        Revocation::of(token(name), at(NOW + if n % 10 == 0 { 9_000 } else { 0 }))
    });
    block_on(nodes[0].revoke_many(many)).unwrap();
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(move || {
                for _ in 0..10 {
                    block_on(node.compact(at(NOW + MARGIN))).unwrap();
                }
            });
        }
    });
    assert_eq!(records(&*store).len(), 200);
    let node = open(&store, 9);
    let is_kept = |n: &usize| is_revoked(node.revocations(), &names[*n], NOW + 9_000);
    assert_eq!((0..2_000).filter(is_kept).count(), 200);
}

#[test]
fn sto_010_a_record_that_is_extended_while_it_is_deleted_stays() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    block_on(one.revoke(token("a"), at(NOW))).unwrap();
    block_on(one.revoke(token("b"), at(NOW))).unwrap();
    // `other` extends it between `one`'s reading and deleting: the second commit of `compact`.
    let longer = {
        let elsewhere = Faulty::new();
        let set = m2m_store::Key::new(&m2m_store::Space::new("revocation-set").unwrap(), b"set");
        let set = block_on(store.get(&set.unwrap())).unwrap().unwrap();
        let batch = m2m_store::Batch::new(m2m_store::IdempotencyKey::from_bytes([1; 16]));
        let anything = m2m_store::Expected::Anything;
        let batch = batch.put(set.key().clone(), anything, set.value().clone());
        block_on(elsewhere.commit(batch)).unwrap();
        block_on(open(&elsewhere, 3).revoke(token("a"), at(NOW + 9_000))).unwrap();
        records(&*elsewhere).remove(0)
    };
    block_on(one.compact(at(NOW + MARGIN - 1))).unwrap();
    let batch = |name| m2m_store::Batch::new(m2m_store::IdempotencyKey::from_bytes([name; 16]));
    let nothing = m2m_store::Key::new(&m2m_store::Space::new("other").unwrap(), b"x").unwrap();
    store.rival(batch(2).put(nothing, m2m_store::Expected::Anything, b"".as_slice()));
    let present = m2m_store::Expected::Present;
    store.rival(batch(3).put(longer.key().clone(), present, longer.value().clone()));
    let done = block_on(one.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!(
        done.deleted(),
        0,
        "the whole batch waits for the next round"
    );
    assert_eq!(
        block_on(one.compact(at(NOW + MARGIN))).unwrap().deleted(),
        1
    );
    block_on(other.catch_up(at(NOW + MARGIN))).unwrap();
    for node in [other, open(&store, 4)] {
        assert!(is_revoked(node.revocations(), "a", NOW + 9_000));
    }
}

#[test]
fn sto_010_what_one_node_forgets_others_do_not_forget_too_early() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), open(&store, 2));
    block_on(one.revoke(token("a"), at(NOW))).unwrap();
    block_on(other.catch_up(at(NOW))).unwrap();
    // `one` is ahead of time again and again, `other` never compacts.
    for _ in 0..3 {
        block_on(one.compact(at(NOW + DECADE))).unwrap();
    }
    assert!(records(&*store).is_empty());
    block_on(other.catch_up(at(NOW))).unwrap();
    assert!(is_revoked(other.revocations(), "a", NOW));
    // It is revoked once more, which finds nothing to extend.
    block_on(other.revoke(token("a"), at(NOW + 9_000))).unwrap();
    assert!(is_revoked(open(&store, 3).revocations(), "a", NOW + 9_000));
}

#[test]
fn a_store_that_fails_in_the_middle_is_gone_on_with() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let many = names
        .iter()
        .map(|name| Revocation::of(token(name), at(NOW)));
    block_on(node.revoke_many(many)).unwrap();
    // Moving the time, then two batches, of which the second fails.
    store.fail([Fault::None, Fault::None, Fault::Refused]);
    let error = block_on(node.compact(at(NOW + MARGIN))).unwrap_err();
    assert!(matches!(error, StoredCompactError::Store(_)), "{error:?}");
    assert_eq!(records(&*store).len(), 1_000 - 256);
    // Nobody knows, and asking again tells.
    store.fail([Fault::WrittenUnknown, Fault::LostUnknown]);
    assert_eq!(
        block_on(node.compact(at(NOW + MARGIN))).unwrap().deleted(),
        1_000 - 256
    );
    assert!(records(&*store).is_empty());
    assert_eq!(open(&store, 2).stats().set().entries(), 0);
}

#[test]
fn sto_015_a_time_at_its_end_does_not_wrap() {
    let store = Faulty::new();
    let node = open_at(&store, 1, Timestamp::MAX.unix_seconds()).unwrap();
    block_on(node.revoke(token("key"), Timestamp::MAX)).unwrap();
    block_on(node.revoke(token("a"), at(NOW))).unwrap();
    let done = block_on(node.compact(Timestamp::MAX)).unwrap();
    assert_eq!(done.deleted(), 1);
    assert_eq!(block_on(node.compact(at(NOW))).unwrap().deleted(), 0);
    assert!(is_revoked(open(&store, 2).revocations(), "key", NOW));
}
