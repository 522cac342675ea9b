//! Admits the same call so and so often, among a million revocations, for instruction counting:
//!
//! ```text
//! cargo build --release -p m2m-benches --bin admit
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*admit_once*' \
//!   target/release/admit warm 1000
//! ```
//!
//! Divided by the number of repetitions, the instructions collected are what one admission costs.
//! `warm` finds the token remembered; `looked-up` finds that something else was revoked since, and looks
//! the token up again.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use m2m_benches::{AUDIENCE, ISSUER, SUBJECT, now};
use m2m_crypto::{Algorithm, CertificateThumbprint, SigningKey, SystemRandom};
use m2m_guard::{
    AllowList, Call, Freshness, Grant, Guard, GuardScratch, LastConfirmed, Presented, Resources,
};
use m2m_revoke::{Revocation, Revocations, Target};
use m2m_token::{Audience, Issuers, Minter, SigningKeyRing, TokenRequest, TokenType, Verifier};
use m2m_types::Timestamp;

const REVOKED: usize = 1_000_000;

#[expect(clippy::print_stderr, reason = "a program for people")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(operation), Some(Ok(times))) = (
        arguments.first(),
        arguments.get(1).map(|times| times.parse::<u32>()),
    ) else {
        eprintln!("usage: admit (warm|looked-up) <times>");
        return ExitCode::FAILURE;
    };
    let is_looked_up = operation == "looked-up";
    let minute = Duration::from_secs(60);

    let revocations = Arc::new(Revocations::new([7; 16], now()));
    let others: Vec<String> = (0..REVOKED).map(|n| format!("another-token-{n}")).collect();
    let revoked = others.iter().map(|jti| {
        let target = Target::Token {
            issuer: ISSUER,
            jti,
        };
        Revocation::of(target, Timestamp::MAX)
    });
    revocations.revoke_many(revoked).expect("room");
    let shown = CertificateThumbprint::of_der(b"\x30\x03\x02\x01\x05");
    let other = CertificateThumbprint::of_der(b"\x30\x03\x02\x01\x06");
    let target = Target::CertificateThumbprint(other.as_bytes());
    revocations.revoke(target, Timestamp::MAX).expect("room");

    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).expect("a key");
    let ring = Arc::new(SigningKeyRing::new(key, 60 * minute).expect("a sound first key"));
    let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring));
    let minter = minter.expect("a sound minter");
    let request = TokenRequest::new(SUBJECT, AUDIENCE, 5 * minute)
        .with_scope("orders:read orders:write")
        .with_client_id("billing-prod-7f9c")
        .with_certificate_binding(shown);
    let token = minter
        .mint(&request, now(), &SystemRandom)
        .expect("it can be minted");

    // Followed from elsewhere, so that ages are asked.
    let confirmed = Arc::new(LastConfirmed::never());
    confirmed.confirm(now());
    let fresh = || Freshness::confirmed_within(minute, Arc::clone(&confirmed));
    let tokens = Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(AUDIENCE),
        TokenType::access_token(),
    )
    .with_cache(16 << 20, &SystemRandom)
    .expect("randomness");
    let caller = SUBJECT.parse().expect("a name");
    let resources = Resources::under("/v1/orders").expect("a path");
    let allowed = AllowList::new().allow(&caller, Grant::new("GET", resources));
    let guard = Guard::builder(allowed)
        .with_bound_tokens(tokens, fresh())
        .with_revocations(Arc::clone(&revocations), fresh())
        .build()
        .expect("a sound guard");

    let presented = Presented::nothing()
        .with_token(&token)
        .with_certificate(shown);
    let mut scratch = GuardScratch::new();
    assert!(admits(&guard, &presented, &mut scratch), "it is admitted");
    for n in 0..times {
        if is_looked_up {
            let jti = format!("yet another {n}");
            let target = Target::Token {
                issuer: ISSUER,
                jti: &jti,
            };
            revocations.revoke(target, Timestamp::MAX).expect("room");
        }
        assert!(
            admit_once(&guard, &presented, &mut scratch),
            "it is admitted"
        );
    }
    ExitCode::SUCCESS
}

#[inline(never)]
fn admit_once(guard: &Guard, presented: &Presented<'_>, scratch: &mut GuardScratch) -> bool {
    admits(guard, black_box(presented), scratch)
}

#[inline(always)]
fn admits(guard: &Guard, presented: &Presented<'_>, scratch: &mut GuardScratch) -> bool {
    let call = Call::new("GET", "/v1/orders/2026-0001");
    let admitted = guard.admit(presented, black_box(&call), black_box(now()), scratch);
    // Looked at where it is, as who serves a call does.
    admitted.as_ref().is_ok_and(|admitted| admitted.is_bound())
}
