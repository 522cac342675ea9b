//! Merging: few records, and at every moment each revocation in one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use m2m_revoke::{Revocation, StoredRevocations};
use m2m_store::{Revision, Store};
use pollster::block_on;

use crate::support::{Fault, Faulty, NOW, at, is_revoked, open, records, stored, token};

const MARGIN: u64 = 600;
const EXPIRES: u64 = NOW + 9_000;

/// A store with segments of all sizes, and what is to be found there.
fn filled() -> (Arc<Faulty>, Vec<String>) {
    let store = Faulty::new();
    let mut kept = Vec::new();
    let mut revoke = |seed: u64, count: u64, expires: u64| {
        let names: Vec<String> = (0..count).map(|n| format!("{seed:020}-{n:020}")).collect();
        revoke_many(&open(&store, seed), &names, expires);
        if expires > NOW {
            kept.extend(names);
        }
    };
    for seed in 0..12 {
        revoke(100 + seed, 1 + seed % 3, EXPIRES);
        revoke(200 + seed, 1, NOW);
        revoke(300 + seed, 100 + seed, EXPIRES);
    }
    for seed in 0..9 {
        revoke(400 + seed, 700, EXPIRES);
    }
    (store, kept)
}

fn revoke_many(node: &StoredRevocations, names: &[String], expires: u64) {
    let many = names
        .iter()
        .map(|name| Revocation::of(token(name), at(expires)));
    block_on(node.revoke_many(many)).unwrap();
}

fn assert_all(node: &StoredRevocations, names: &[String]) {
    for name in names {
        assert!(is_revoked(node.revocations(), name, NOW + MARGIN), "{name}");
    }
}

#[test]
fn sto_010_merging_that_is_cut_off_at_any_commit_loses_nothing_for_anybody() {
    let (refused, written, lost) = (Fault::Refused, Fault::WrittenUnknown, Fault::LostUnknown);
    let mut commits = 0;
    for at_commit in 0.. {
        let mut was_cut_off = false;
        for fault in [refused, written, lost] {
            let (store, kept) = filled();
            let (follower, node) = (open(&store, 2), open(&store, 3));
            let before = store.commits.load(Ordering::Relaxed);
            store.fail(vec![Fault::None; at_commit]);
            store.fail([fault; 4]);
            let cut_off = block_on(node.compact(at(NOW + MARGIN)));
            was_cut_off = cut_off.is_err();
            commits = store.commits.load(Ordering::Relaxed) - before;
            store.forget_faults();
            drop(node);

            assert_all(&open(&store, 4), &kept);
            block_on(follower.catch_up(at(NOW + MARGIN))).unwrap();
            assert_all(&follower, &kept);
            // Another one does it.
            block_on(open(&store, 5).compact(at(NOW + MARGIN))).unwrap();
            let last = open(&store, 6);
            assert_all(&last, &kept);
            assert_eq!(last.stats().set().entries(), kept.len() as u64);
        }
        if !was_cut_off {
            break;
        }
    }
    assert!(commits >= 4, "the time, and each level: {commits}");
}

#[test]
fn what_was_merged_is_in_few_records_that_hold_it_once() {
    let (store, kept) = filled();
    let node = open(&store, 1);
    let before = records(&*store).len() as u64;
    let done = block_on(node.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!(done.deleted(), 12);
    assert!(done.merged() >= before && done.is_round_done());
    assert!(records(&*store).len() <= 6, "{}", records(&*store).len());
    assert_eq!(stored(&*store), kept.len() as u64);
    // What is merged is left alone.
    for _ in 0..3 {
        let commits = store.commits.load(Ordering::Relaxed);
        let done = block_on(node.compact(at(NOW + MARGIN))).unwrap();
        assert_eq!((done.deleted(), done.merged()), (0, 0));
        assert_eq!(store.commits.load(Ordering::Relaxed), commits);
    }
}

#[test]
fn who_follows_from_before_hears_of_all_that_was_merged_since() {
    for is_pruned in [false, true] {
        let (store, mut kept) = filled();
        let follower = open(&store, 1);
        for round in 0..3_u64 {
            let names: Vec<String> = (0..200).map(|n| format!("{round}-{n:040}")).collect();
            for (seed, names) in (0..).zip(names.chunks(20)) {
                revoke_many(&open(&store, 1_000 + 100 * round + seed), names, EXPIRES);
            }
            kept.extend(names);
            block_on(open(&store, 50 + round).compact(at(NOW + MARGIN))).unwrap();
        }
        if is_pruned {
            store.inner.prune(Revision::MAX);
        }
        let found = block_on(follower.catch_up(at(NOW + MARGIN))).unwrap();
        assert_eq!(found.was_reloaded(), is_pruned);
        assert_all(&follower, &kept);
    }
}

#[test]
fn two_nodes_that_merge_the_same_segments_do_it_once() {
    let (store, kept) = filled();
    let (one, other) = (open(&store, 1), Arc::new(open(&store, 2)));
    let rival = Arc::clone(&other);
    // `other` does it all between `one`'s reading and its first merge.
    store.after_scan(move || {
        let done = block_on(rival.compact(at(NOW + MARGIN))).unwrap();
        assert_eq!(done.deleted(), 12);
    });
    let done = block_on(one.compact(at(NOW + MARGIN))).unwrap();
    assert_eq!((done.deleted(), done.merged()), (0, 0));
    assert!(one.stats().conflicts() > 0);
    assert_eq!(stored(&*store), kept.len() as u64);
    for node in [&one, &*other, &open(&store, 3)] {
        block_on(node.catch_up(at(NOW + MARGIN))).unwrap();
        assert_all(node, &kept);
    }
}

#[test]
fn nodes_that_revoke_and_merge_at_once_on_threads_lose_nothing() {
    let store = Faulty::new();
    let nodes: Vec<_> = (0..4).map(|seed| open(&store, seed)).collect();
    std::thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..300 {
                    let name = format!("{number}-{n}");
                    block_on(node.revoke(token(&name), at(EXPIRES))).unwrap();
                }
            });
            scope.spawn(move || {
                for _ in 0..30 {
                    block_on(node.compact(at(NOW))).unwrap();
                    block_on(node.catch_up(at(NOW))).unwrap();
                }
            });
        }
    });
    block_on(nodes[0].compact(at(NOW))).unwrap();
    assert_eq!(stored(&*store), 1_200, "each once");
    assert!(records(&*store).len() < 16);
    let kept: Vec<String> = (0..4)
        .flat_map(|number| (0..300).map(move |n| format!("{number}-{n}")))
        .collect();
    for node in nodes.iter().chain([&open(&store, 9)]) {
        block_on(node.catch_up(at(NOW))).unwrap();
        assert_all(node, &kept);
    }
}

#[test]
fn a_segment_that_is_written_to_is_left_and_the_others_are_merged() {
    let store = Faulty::new();
    let writer = Arc::new(open(&store, 1));
    block_on(writer.revoke(token("a"), at(EXPIRES))).unwrap();
    for seed in 0..20 {
        let name = format!("single-{seed}");
        block_on(open(&store, 100 + seed).revoke(token(&name), at(EXPIRES))).unwrap();
    }
    let node = open(&store, 2);
    let writing = Arc::clone(&writer);
    store.after_scan(move || block_on(writing.revoke(token("b"), at(EXPIRES))).unwrap());
    assert_eq!(block_on(node.compact(at(NOW))).unwrap().merged(), 20);
    assert_eq!(node.stats().conflicts(), 1);
    assert_eq!(records(&*store).len(), 2);
    block_on(writer.revoke(token("c"), at(EXPIRES))).unwrap();
    assert_eq!(writer.stats().conflicts(), 0);
    assert_eq!(records(&*store).len(), 2);
    assert_eq!(open(&store, 3).stats().set().entries(), 23);
}

#[test]
fn a_hundred_thousand_single_revocations_are_few_records_and_small() {
    const SINGLE: u64 = 100_000;
    let store = Faulty::new();
    let node = open(&store, 1);
    for n in 0..SINGLE {
        block_on(node.revoke(token(&format!("{n:032}")), at(EXPIRES))).unwrap();
        if n % 30_000 == 29_999 {
            block_on(node.compact(at(NOW))).unwrap();
        }
    }
    assert!(records(&*store).len() < 1_000, "as few as were written");
    let done = block_on(node.compact(at(NOW))).unwrap();
    assert!(done.is_round_done());
    let kept = records(&*store);
    let bytes: usize = kept.iter().map(|record| record.value().len()).sum();
    assert!(kept.len() <= 30, "{} records", kept.len());
    assert!(bytes as u64 <= 40 * SINGLE, "{bytes} bytes");
    assert_eq!(stored(&*store), SINGLE);
    // What was deleted for it is remembered until it is pruned: one record for fifty revocations.
    let all = block_on(store.inner.changes(
        &m2m_store::Space::new("revocation").unwrap(),
        m2m_store::Cursor::START,
        1_000,
    ));
    let m2m_store::Changes::Some(all) = all.unwrap() else {
        panic!("the start is known");
    };
    assert!(all.has_more());
    store.inner.prune(Revision::MAX);
    assert_eq!(open(&store, 2).stats().set().entries(), SINGLE);
}
