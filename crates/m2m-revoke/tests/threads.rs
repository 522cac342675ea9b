//! Readers and a writer at the same time.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use m2m_revoke::{Revocation, Revocations, Target, TokenFacts};
use m2m_types::Timestamp;

const NOW: u64 = 1_700_000_000;
/// Enough that the tail is doubled and merged several times.
const ENTRIES: u64 = 40_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: "https://issuer.example",
        jti,
    }
}

fn is_revoked(revocations: &Revocations, number: u64) -> bool {
    let jti = number.to_string();
    revocations.check(&token(&jti), None, at(NOW)).is_err()
}

#[test]
fn what_was_acknowledged_is_refused_by_every_later_check_on_another_thread() {
    let revocations = Revocations::new([1; 16], at(NOW));
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..ENTRIES {
                let jti = number.to_string();
                match number % 4_096 {
                    100 => revocations
                        .revoke_many([Revocation::of(token(&jti), at(NOW + 300))])
                        .unwrap(),
                    _ => revocations.revoke(token(&jti), at(NOW + 300)).unwrap(),
                }
                match number % 8_192 {
                    200 => drop(revocations.compact(at(NOW + 100)).unwrap()),
                    300 => drop(revocations.snapshot().unwrap()),
                    _ => {}
                }
                // How readers learn that the call has returned.
                acknowledged.store(number + 1, Ordering::Release);
            }
        });
        for seed in [1, 2] {
            let (revocations, acknowledged) = (&revocations, &acknowledged);
            scope.spawn(move || {
                let mut random = seed;
                loop {
                    let seen = acknowledged.load(Ordering::Acquire);
                    if seen > 0 {
                        random = next(random);
                        for number in [seen - 1, random % seen, 0] {
                            assert!(is_revoked(revocations, number), "{number} of {seen}");
                        }
                        assert!(!is_revoked(revocations, ENTRIES + random), "never revoked");
                    }
                    if seen == ENTRIES {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(revocations.stats().entries(), ENTRIES);
}

fn facts(jti: &str) -> TokenFacts<'_> {
    TokenFacts {
        issuer: "https://issuer.example",
        jti: Some(jti),
        subject: None,
        session: None,
        key: None,
        issued_at: None,
    }
}

#[test]
fn a_stamp_taken_before_a_check_dies_with_the_change_that_the_check_missed() {
    let revocations = Revocations::new([1; 16], at(NOW));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..ENTRIES {
                let jti = number.to_string();
                let epoch = revocations.epoch();
                revocations.revoke(token(&jti), at(NOW + 300)).unwrap();
                assert!(revocations.epoch() > epoch);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            let mut number = 0;
            // A cache of one token: stamped before the check, believed while the stamp holds.
            while !done.load(Ordering::Acquire) && number < ENTRIES {
                let jti = number.to_string();
                let stamp = revocations.epoch();
                let passed = revocations.check_token(&facts(&jti), at(NOW)).is_ok();
                if passed && revocations.epoch() == stamp {
                    // A hit. Whatever was counted by the stamp was seen by the check: as many
                    // entries as changes, in order, so this one was not among them.
                    assert!(stamp <= number, "{number} passed at {stamp}");
                }
                number = revocations.epoch().max(number + u64::from(!passed));
            }
        });
    });
}

/// SplitMix64.
fn next(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}
