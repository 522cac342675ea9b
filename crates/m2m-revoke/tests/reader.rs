//! `RevocationReader`: what it keeps never makes it miss anything.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use m2m_revoke::{PreparedIssuer, Revocation, RevocationReader, Revocations, Target, TokenFacts};
use m2m_types::{ServiceId, Timestamp};

const ISSUER: &str = "https://issuer.example";
const NOW: u64 = 1_700_000_000;
/// Enough that the tail is doubled and merged several times.
const ENTRIES: u64 = 40_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn empty() -> Arc<Revocations> {
    Arc::new(Revocations::new([1; 16], at(NOW)))
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

fn facts(jti: &str) -> TokenFacts<'_> {
    TokenFacts {
        issuer: ISSUER,
        jti: Some(jti),
        subject: Some("spiffe://example.org/billing"),
        session: Some("s-1"),
        key: Some(&[9; 32]),
        issued_at: Some(at(NOW)),
    }
}

/// Asks in one of the ways that there are.
fn is_revoked(reader: &mut RevocationReader, issuer: &PreparedIssuer, number: u64) -> bool {
    let jti = number.to_string();
    match number % 3 {
        0 => reader.check(&token(&jti), None, at(NOW)),
        1 => reader.check_token(&facts(&jti), at(NOW)),
        _ => reader.check_token_of(issuer, &facts(&jti), at(NOW)),
    }
    .is_err()
}

#[test]
fn what_was_acknowledged_is_refused_by_every_later_check_of_a_reader() {
    let set = empty();
    let issuer = set.prepare_issuer(ISSUER);
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..ENTRIES {
                let jti = number.to_string();
                match number % 4_096 {
                    100 => set
                        .revoke_many([Revocation::of(token(&jti), at(NOW + 300))])
                        .unwrap(),
                    _ => set.revoke(token(&jti), at(NOW + 300)).unwrap(),
                }
                match number % 1_024 {
                    200 => drop(set.compact(at(NOW + 100)).unwrap()),
                    300 => drop(set.snapshot().unwrap()),
                    _ => {}
                }
                // How readers learn that the call has returned.
                acknowledged.store(number + 1, Ordering::Release);
            }
        });
        // One that asks all the time, and one that is idle for many swaps in between.
        for pause in [0, 3_000] {
            let (set, issuer, acknowledged) = (&set, &issuer, &acknowledged);
            scope.spawn(move || {
                let mut reader = RevocationReader::new(Arc::clone(set));
                let (mut random, mut next_at) = (7, 0);
                loop {
                    let seen = acknowledged.load(Ordering::Acquire);
                    if seen < next_at {
                        thread::yield_now();
                        continue;
                    }
                    next_at = (seen + pause).min(ENTRIES);
                    if seen > 0 {
                        random = next(random);
                        for number in [seen - 1, random % seen, 0] {
                            assert!(
                                is_revoked(&mut reader, issuer, number),
                                "{number} of {seen}"
                            );
                        }
                        let never = ENTRIES + random % ENTRIES;
                        assert!(!is_revoked(&mut reader, issuer, never), "{never}");
                    }
                    if seen == ENTRIES {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn a_reader_answers_as_its_set_does_for_every_kind() {
    let service: ServiceId = "spiffe://example.org/billing".parse().unwrap();
    let subject = "spiffe://example.org/billing";
    let targets = [
        token("a-1"),
        Target::Session {
            issuer: ISSUER,
            sid: "s-1",
        },
        Target::Subject {
            issuer: ISSUER,
            subject,
        },
        Target::Service(service.as_ref()),
        Target::Key {
            issuer: ISSUER,
            thumbprint: &[9; 32],
        },
    ];
    for (until, is_refused) in [(NOW - 1, false), (NOW, true)] {
        for with_another_kind in [false, true] {
            for target in targets {
                let set = empty();
                let issuer = set.prepare_issuer(ISSUER);
                let mut reader = RevocationReader::new(Arc::clone(&set));
                if with_another_kind {
                    set.revoke(token("z"), at(NOW + 300)).unwrap();
                    let sid = Target::Session {
                        issuer: ISSUER,
                        sid: "z",
                    };
                    set.revoke(sid, at(NOW + 300)).unwrap();
                }
                let facts = facts("a-1");
                assert!(reader.check_token(&facts, at(NOW)).is_ok());
                set.revoke_issued_until(target, at(until), at(NOW + 300))
                    .unwrap();
                for _ in ["in the tail", "in the table"] {
                    let expected = set.check_token(&facts, at(NOW));
                    assert_eq!(expected.is_err(), is_refused);
                    assert_eq!(reader.check_token(&facts, at(NOW)), expected);
                    assert_eq!(reader.check_token_of(&issuer, &facts, at(NOW)), expected);
                    let one = set.check(&target, facts.issued_at, at(NOW));
                    assert_eq!(reader.check(&target, facts.issued_at, at(NOW)), one);
                    set.snapshot().unwrap();
                }
            }
        }
    }
}

#[test]
fn a_reader_lets_go_of_its_table_when_it_is_told_to() {
    let set = empty();
    let mut reader = RevocationReader::new(Arc::clone(&set));
    let issuer = set.prepare_issuer(ISSUER);
    set.revoke(token("3"), at(NOW + 300)).unwrap();
    assert!(is_revoked(&mut reader, &issuer, 3));
    assert_eq!(
        format!("{reader:?}"),
        "RevocationReader { holds: true, .. }"
    );
    reader.release();
    assert_eq!(
        format!("{reader:?}"),
        "RevocationReader { holds: false, .. }"
    );
    assert!(is_revoked(&mut reader, &issuer, 3));
    assert!(Arc::ptr_eq(reader.set(), &set));
}

#[test]
fn a_check_of_a_reader_allocates_nothing() {
    let set = empty();
    let issuer = set.prepare_issuer(ISSUER);
    let mut reader = RevocationReader::new(Arc::clone(&set));
    for number in 0..10_000 {
        set.revoke(token(&number.to_string()), at(NOW + 300))
            .unwrap();
    }
    // The first look at a snapshot on a thread makes room for all later ones.
    assert!(set.check(&token("1"), None, at(NOW)).is_err());
    for swap in [false, true, true] {
        if swap {
            set.revoke(token("another"), at(NOW + 300)).unwrap();
            set.snapshot().unwrap();
        }
        let facts = facts("5");
        let count = allocation_counter::measure(|| {
            assert!(reader.check_token_of(&issuer, &facts, at(NOW)).is_err());
        });
        assert_eq!(count.count_total, 0);
    }
}

/// SplitMix64.
fn next(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}
