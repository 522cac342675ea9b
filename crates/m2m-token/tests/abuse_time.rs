//! Abuse of time: before, after, to the second, and clocks that are set back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::time::Duration;

use m2m_crypto::Algorithm;
use m2m_token::Scratch;
use m2m_types::{Clock, ManualClock, SystemClock, Timestamp, TimestampError};
use serde_json::json;
use support::*;

const LEEWAY: u64 = 30;

/// Without leeway, and with 30 s of it.
fn benches() -> [(Bench, i64); 2] {
    let lenient = |keys| policy(keys).with_leeway(Duration::from_secs(LEEWAY));
    [
        (Bench::es256(), 0),
        (Bench::with_policy(Algorithm::Es256, lenient), LEEWAY as i64),
    ]
}

#[test]
fn jwt_050_a_token_without_end_is_refused() {
    let bench = Bench::es256();
    assert_eq!(
        bench.claims_code(without(&claims(), "exp").to_string()),
        "claim_missing"
    );
    let bare = without(&without(&claims(), "exp"), "iat");
    assert_eq!(bench.claims_code(bare.to_string()), "claim_missing");
}

#[test]
fn jwt_050_an_end_that_may_be_missing_may_not_be_malformed_or_past() {
    let lenient = |keys| policy(keys).danger_accepting_no_expiry();
    let bench = Bench::with_policy(Algorithm::Es256, lenient);
    let endless = without(&claims(), "exp");
    assert_eq!(bench.claims_code(endless.to_string()), "ok");
    assert_eq!(
        bench
            .verifiers
            .code_at(&bench.claims(endless.to_string()), at(1_000_000_000)),
        "ok"
    );
    for value in ["null", "\"\"", "-1", "1e400", "[]", "1.5"] {
        assert_eq!(
            bench.claims_code(with_raw(&endless, "exp", value)),
            "claim_type",
            "{value}"
        );
    }
    assert_eq!(bench.verifiers.code_at(&bench.good(), at(300)), "expired");
    // What begins still has to have begun, and a limit on the lifetime is one.
    let later = with(&endless, "nbf", json!(START + 1));
    assert_eq!(bench.claims_code(later.to_string()), "not_yet_valid");
    let limited = |keys| lenient(keys).with_max_lifetime(Duration::from_secs(300));
    let bench = Bench::with_policy(Algorithm::Es256, limited);
    assert_eq!(bench.claims_code(endless.to_string()), "lifetime_too_long");
}

#[test]
fn jwt_051_the_end_is_exclusive_to_the_second_and_leeway_moves_it() {
    for (bench, leeway) in benches() {
        let code = |token: &str, offset: i64| bench.verifiers.code_at(token, at(offset));
        // Lives from 100 to 300.
        let dated = |name: &str| {
            let claims = without(&with(&claims(), "exp", json!(START + 300)), "iat");
            bench.claims(with(&claims, name, json!(START + 100)).to_string())
        };
        for (name, early) in [("nbf", "not_yet_valid"), ("iat", "issued_in_future")] {
            let table = [
                (100 - leeway - 1, early),
                (100 - leeway, "ok"),
                (100, "ok"),
                (101, "ok"),
                (299, "ok"),
                (300 + leeway - 1, "ok"),
                (300 + leeway, "expired"),
                (300 + leeway + 1, "expired"),
                (1_000_000_000, "expired"),
                (-1_700_000_000, early),
            ];
            for (offset, expected) in table {
                // A fresh token each time, and one that was seen when it was valid.
                assert_eq!(
                    code(&dated(name), offset),
                    expected,
                    "{name} {leeway} {offset}"
                );
            }
            let seen = dated(name);
            assert_eq!(code(&seen, 200), "ok");
            for (offset, expected) in table {
                assert_eq!(
                    code(&seen, offset),
                    expected,
                    "seen, {name} {leeway} {offset}"
                );
            }
        }
    }
}

#[test]
fn jwt_052_a_token_from_the_future_is_refused() {
    for (bench, leeway) in benches() {
        for (name, code) in [("nbf", "not_yet_valid"), ("iat", "issued_in_future")] {
            let in_future = |by: i64| {
                let date = json!(START.checked_add_signed(by).unwrap());
                bench.claims_code(with(&without(&claims(), "iat"), name, date).to_string())
            };
            assert_eq!(in_future(leeway), "ok", "{name}");
            assert_eq!(in_future(leeway + 1), code, "{name}");
            assert_eq!(in_future(299), code, "{name}");
        }
    }
}

#[test]
fn jwt_053_a_token_may_not_live_longer_than_the_policy_says() {
    let limit = Duration::from_secs(300);
    let limited = |keys| policy(keys).with_max_lifetime(limit);
    let bench = Bench::with_policy(Algorithm::Es256, limited);
    let lives = |seconds: u64| with(&claims(), "exp", json!(START + seconds)).to_string();
    assert_eq!(bench.claims_code(lives(300)), "ok");
    assert_eq!(bench.claims_code(lives(301)), "lifetime_too_long");
    assert_eq!(
        bench.claims_code(with(&claims(), "exp", json!(253_402_300_799_u64)).to_string()),
        "lifetime_too_long"
    );
    assert_eq!(
        bench.claims_code(without(&claims(), "iat").to_string()),
        "claim_missing"
    );
    // Whatever the policy: who ends before it begins never holds.
    for bench in [bench, Bench::es256()] {
        for begin in ["iat", "nbf"] {
            for by in [300, 301, 10_000] {
                let claims = with(&claims(), begin, json!(START + by));
                assert_eq!(
                    bench.claims_code(claims.to_string()),
                    "lifetime",
                    "{begin} {by}"
                );
            }
        }
    }
}

#[test]
fn jwt_055_a_clock_set_back_brings_nothing_to_life_again() {
    // What verifies is a function of the time it is given; that the time never goes back is for the
    // clock to see to. `SystemClock` does (its own tests set the machine's clock back), so in a
    // process with one of them a token that was once seen expired stays expired.
    let bench = Bench::es256();
    let clock = SystemClock::new();
    let first = clock.now().unwrap().unix_seconds();
    let expired = with(
        &with(&claims(), "iat", json!(first - 600)),
        "exp",
        json!(first),
    );
    let token = bench.claims(expired.to_string());
    let mut latest = Timestamp::MIN;
    for _ in 0..100 {
        let now = clock.now().unwrap();
        assert!(now >= latest);
        latest = now;
        assert_eq!(bench.verifiers.code_at(&token, now), "expired");
    }
    // With a clock that can be set back the cache follows it, and never knows better than a fresh
    // verification would.
    let clock = ManualClock::new(at(0));
    let token = bench.good();
    let mut codes = Vec::new();
    for offset in [0, 299, 300, 0, -1, 0] {
        clock.set(at(offset));
        codes.push(bench.verifiers.code_at(&token, clock.now().unwrap()));
    }
    assert_eq!(
        codes,
        ["ok", "ok", "expired", "ok", "issued_in_future", "ok"]
    );
}

#[test]
fn jwt_056_a_time_that_no_calendar_has_never_reaches_a_verifier() {
    let bench = Bench::es256();
    let token = bench.claims(with(&claims(), "exp", json!(253_402_300_799_u64)).to_string());
    assert!(matches!(
        Timestamp::from_unix_seconds(253_402_300_800),
        Err(TimestampError { .. })
    ));
    // A clock that fails gives no time, so there is no call to make: the answer is no.
    let clock = ManualClock::new(Timestamp::MAX);
    clock.advance(Duration::from_secs(1));
    let mut scratch = Scratch::new();
    for verifier in bench.verifiers.each() {
        let allowed = clock
            .now()
            .is_ok_and(|now| verifier.verify(&token, now, &mut scratch).is_ok());
        assert!(!allowed);
    }
    // At both ends of the calendar nothing overflows and nothing is taken by mistake.
    assert_eq!(
        bench.verifiers.code_at(&token, Timestamp::MIN),
        "issued_in_future"
    );
    assert_ne!(bench.verifiers.code_at(&token, Timestamp::MAX), "ok");
    let lenient = |keys| policy(keys).with_leeway(Duration::from_secs(600));
    let bench = Bench::with_policy(Algorithm::Es256, lenient);
    let token = bench.claims(with(&claims(), "exp", json!(253_402_300_799_u64)).to_string());
    assert_ne!(bench.verifiers.code_at(&token, Timestamp::MAX), "ok");
    let first = with(&with(&claims(), "exp", json!(1)), "iat", json!(0));
    let token = bench.claims(first.to_string());
    assert_eq!(bench.verifiers.code_at(&token, Timestamp::MIN), "ok");
}
