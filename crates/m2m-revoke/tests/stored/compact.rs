//! Compaction: only what has expired for everybody is forgotten, whatever clocks say.

use std::sync::Arc;
use std::time::Duration;

use m2m_revoke::{Revocation, StoredCompactError, StoredOptions, StoredRevocations};
use m2m_store::Store;
use m2m_types::Timestamp;
use pollster::block_on;

use crate::support::{
    Fault, Faulty, NOW, Seeded, at, is_revoked, open, open_at, records, stored, token,
};

const MARGIN: u64 = 600;
const DECADE: u64 = 10 * 365 * 86_400;

fn open_looking_at(store: &Arc<Faulty>, seed: u64, records: usize) -> StoredRevocations {
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default().with_compact_records(records);
    let random = Seeded::new(seed);
    block_on(StoredRevocations::open(dynamic, at(NOW), &random, options)).unwrap()
}

/// Writes a segment of a hundred tokens that nothing is added to.
fn revoke_hundred(node: &StoredRevocations, segment: u32, expires: u64) {
    let names: Vec<String> = (0..100).map(|n| format!("{segment:020}-{n:020}")).collect();
    let many = names
        .iter()
        .map(|name| Revocation::of(token(name), at(expires)));
    block_on(node.revoke_many(many)).unwrap();
}

#[test]
fn a_revocation_goes_when_its_margin_has_passed_and_not_before() {
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
            assert!(is_kept || expires <= before, "call {call}, minute {minute}");
        }
        // What is dead is gone when it is a quarter.
        let needed = (0..60).filter(|minute| NOW + 60 * minute > before).count() as u64;
        assert!(3 * stored(&*store) <= 4 * needed, "call {call}");
    }
    assert_eq!(stored(&*store), 0);
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
fn sto_016_news_is_taken_in_whatever_the_clock_says() {
    let store = Faulty::new();
    let (node, other) = (open(&store, 1), open(&store, 2));
    for _ in 0..10 {
        block_on(node.compact(at(NOW + DECADE))).unwrap();
    }
    block_on(other.revoke(token("a"), at(NOW + 300))).unwrap();
    block_on(node.catch_up(at(NOW + DECADE))).unwrap();
    // The clock is put right.
    assert!(is_revoked(node.revocations(), "a", NOW));
}

#[test]
fn a_call_looks_at_so_many_revocations_and_the_next_goes_on() {
    let store = Faulty::new();
    let node = open_looking_at(&store, 1, 300);
    for segment in 0..10 {
        revoke_hundred(&node, segment, NOW);
    }
    block_on(node.compact(at(NOW))).unwrap();
    let looks: Vec<_> = (0..5)
        .map(|_| block_on(node.compact(at(NOW + MARGIN))).unwrap())
        .map(|done| (done.looked_at(), done.deleted(), done.is_round_done()))
        .collect();
    assert_eq!(
        looks,
        [
            (300, 300, false),
            (300, 300, false),
            (100, 100, true),
            (300, 300, false),
            (0, 0, true)
        ]
    );
    assert!(records(&*store).is_empty());
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
    assert_eq!((records(&*store).len(), stored(&*store)), (1, 200));
    let node = open(&store, 9);
    let is_kept = |n: &usize| is_revoked(node.revocations(), &names[*n], NOW + 9_000);
    assert_eq!((0..2_000).filter(is_kept).count(), 200);
}

#[test]
fn sto_010_what_is_extended_while_it_is_deleted_stays() {
    let store = Faulty::new();
    let (one, other) = (open(&store, 1), Arc::new(open(&store, 2)));
    block_on(other.revoke(token("a"), at(NOW))).unwrap();
    block_on(one.compact(at(NOW + MARGIN - 1))).unwrap();
    // `other` extends it between `one`'s reading and deleting.
    let writer = Arc::clone(&other);
    store.after_scan(move || {
        block_on(writer.revoke(token("a"), at(NOW + 9_000))).unwrap();
    });
    let done = block_on(one.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!((done.deleted(), done.merged()), (0, 0), "left for later");
    assert_eq!(one.stats().conflicts(), 1);
    block_on(one.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!(stored(&*store), 1);
    let elsewhere = open(&store, 4);
    for node in [&other, &elsewhere] {
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
    block_on(node.revoke(token("single"), at(NOW))).unwrap();
    for segment in 0..3 {
        revoke_hundred(&node, segment, NOW);
    }
    // Moving the time, then a batch for each level, of which the second fails.
    store.fail([Fault::None, Fault::None, Fault::Refused]);
    let error = block_on(node.compact(at(NOW + MARGIN))).unwrap_err();
    assert!(matches!(error, StoredCompactError::Store(_)), "{error:?}");
    assert_eq!(stored(&*store), 300);
    // Nobody knows, and asking again tells.
    store.fail([Fault::WrittenUnknown, Fault::LostUnknown]);
    let done = block_on(node.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!((done.deleted(), done.merged()), (300, 3));
    assert!(records(&*store).is_empty());
    assert_eq!(open(&store, 2).stats().set().entries(), 0);
}

#[test]
fn what_has_ended_and_is_still_stored_is_not_loaded_and_takes_no_room() {
    let store = Faulty::new();
    let node = open(&store, 1);
    let names: Vec<String> = (0..100).map(|n| format!("{n:040}")).collect();
    let many = (0..).zip(&names).map(|(n, name)| {
        let expires = at(NOW + if n < 20 { 0 } else { 9_000 });
        Revocation::of(token(name), expires)
    });
    block_on(node.revoke_many(many)).unwrap();
    let done = block_on(node.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!((done.memory().dropped(), done.deleted()), (20, 0));
    assert_eq!(stored(&*store), 100, "a fifth is not worth writing");
    // By the right time, by a wrong one, and by one that was set back, when it is not known.
    for (now, entries) in [(NOW + MARGIN, 80), (NOW + DECADE, 80), (NOW, 100)] {
        let node = open_at(&store, now, now).unwrap();
        assert_eq!(node.stats().set().entries(), entries);
    }
    let dynamic: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default().with_capacity_limit(80);
    let (now, random) = (at(NOW + MARGIN), Seeded::new(7));
    block_on(StoredRevocations::open(dynamic, now, &random, options)).unwrap();
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
