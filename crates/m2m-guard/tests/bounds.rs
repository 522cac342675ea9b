//! What an admission costs in memory, counted; and how much is compiled.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use allocation_counter::measure;
use m2m_guard::{Call, Freshness, Grant, Guard, GuardScratch, Presented, Resources};
use m2m_revoke::{Revocation, Target};
use m2m_types::Timestamp;
use support::*;

/// Another million things are revoked.
const REVOKED: usize = 1_000_000;

#[test]
fn a_warm_admission_allocates_nothing_among_a_million_revocations() {
    let world = World::new();
    let others: Vec<String> = (0..REVOKED).map(|n| format!("another-{n}")).collect();
    let revoked = others.iter().map(|jti| {
        let target = Target::Token {
            issuer: ISSUER,
            jti,
        };
        Revocation::of(target, Timestamp::MAX)
    });
    world.revocations.revoke_many(revoked).unwrap();
    let thumbprint = certificate(9);
    let target = Target::CertificateThumbprint(thumbprint.as_bytes());
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    let guard = world.builder().build().unwrap();
    let token = world.bound_token(BILLING, certificate(1));
    let presented = Presented::nothing()
        .with_token(&token)
        .with_certificate(certificate(1));
    let mut scratch = GuardScratch::new();
    assert!(guard.admit(&presented, &READ, now(), &mut scratch).is_ok());
    let spent = measure(|| {
        for second in 0..100 {
            let admitted = guard
                .admit(&presented, &READ, at(second), &mut scratch)
                .unwrap();
            assert!(admitted.token().unwrap().was_cached());
            assert_eq!(admitted.name(), BILLING);
        }
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
    // The epoch changes between two calls: the token is looked up again.
    for n in 0..3 {
        let jti = format!("yet another {n}");
        let target = Target::Token {
            issuer: ISSUER,
            jti: &jti,
        };
        world.revocations.revoke(target, Timestamp::MAX).unwrap();
        let spent = measure(|| {
            assert!(guard.admit(&presented, &READ, now(), &mut scratch).is_ok());
        });
        assert_eq!(spent.count_total, 0, "{spent:?}");
    }
    assert!(measure(|| drop(Box::new(1))).count_total > 0, "it counts");
}

/// G-3: what a stranger sends costs a refusal, and not memory by its length.
#[test]
fn dos_002_a_refusal_costs_a_few_small_allocations_whatever_was_sent() {
    let world = World::new();
    let guard = world.builder().build().unwrap();
    let mut scratch = GuardScratch::new();
    let long = "a".repeat(1 << 20);
    for token in ["", "a.b.c", long.as_str()] {
        let presented = Presented::nothing().with_token(token);
        let mut refuse = || {
            guard
                .admit(&presented, &READ, now(), &mut scratch)
                .unwrap_err()
                .code()
        };
        refuse();
        let spent = measure(|| assert_eq!(refuse(), "token"));
        assert!(spent.bytes_total <= 1024, "{spent:?}");
    }
}

/// Whatever is asked for, a path of nothing but slashes or one of many segments.
#[test]
fn dos_002_a_decision_allocates_nothing_by_the_length_of_what_is_asked_for() {
    let world = World::new();
    let grant = Grant::new("GET", Resources::under("/orders").unwrap());
    let list = m2m_guard::AllowList::new().allow(&service(BILLING), grant);
    let guard = Guard::builder(list)
        .with_bearer_tokens(world.verifier(), Freshness::in_process())
        .danger_without_revocations()
        .build()
        .unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    for path in [
        "/".repeat(1 << 20),
        "/a".repeat(1 << 19),
        format!("/orders{}", "/a".repeat(1 << 19)),
    ] {
        let call = Call::new("GET", &path);
        let mut ask = || guard.admit(&presented, &call, now(), &mut scratch).is_ok();
        assert_eq!(ask(), path.starts_with("/orders"));
        let spent = measure(|| assert_eq!(ask(), path.starts_with("/orders")));
        assert!(spent.bytes_total <= 1024, "{spent:?}");
    }
}

/// The crates that a user of `package` compiles, itself included.
fn tree(arguments: &[&str]) -> usize {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "tree",
        "--offline",
        "--locked",
        "-e",
        "normal",
        "--prefix",
        "none",
    ]);
    let output = command.args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    crates.len()
}

#[test]
fn little_is_compiled_for_tokens_and_not_much_for_everything() {
    let counts = [
        (tree(&["-p", "m2m-token"]), 40),
        (tree(&["-p", "m2m-guard"]), 42),
        (tree(&["-p", "m2m-guard", "--all-features"]), 90),
    ];
    for (count, limit) in counts {
        assert!((10..=limit).contains(&count), "{counts:?}");
    }
}
