//! Tokens, bindings, revocation, freshness and decisions, by the one call.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use m2m_guard::{
    Age, AllowList, Basis, BuildError, Call, Credential, Decision, Denial, Freshness, Guard,
    GuardScratch, LastConfirmed, Presented, Proven, RefusalReason, Rejection, Remedy,
};
use m2m_revoke::{Kind, Target};
use m2m_token::{MAX_TOKEN_BYTES, PolicyError, TokenRequest, VerifyError};
use m2m_types::Timestamp;
use support::*;

/// The reason of a refusal, and what its peer learns.
fn refused(guard: &Guard, presented: &Presented<'_>) -> (RefusalReason, Rejection) {
    refused_at(guard, presented, now())
}

fn refused_at(
    guard: &Guard,
    presented: &Presented<'_>,
    now: Timestamp,
) -> (RefusalReason, Rejection) {
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(presented, &READ, now, &mut scratch)
        .unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.len() <= 512 && !text.contains(char::is_control),
        "{text}"
    );
    (refusal.reason().clone(), refusal.rejection())
}

fn admits(guard: &Guard, presented: &Presented<'_>) -> bool {
    let mut scratch = GuardScratch::new();
    guard.admit(presented, &READ, now(), &mut scratch).is_ok()
}

#[test]
fn a_guard_that_takes_nothing_or_says_nothing_of_revocation_is_not_built() {
    let world = World::new();
    let nothing = Guard::builder(allowed()).danger_without_revocations();
    assert_eq!(nothing.build().err(), Some(BuildError::NothingTaken));
    let unsaid =
        Guard::builder(allowed()).with_bound_tokens(world.verifier(), Freshness::in_process());
    assert_eq!(unsaid.build().err(), Some(BuildError::RevocationsUnsaid));
    let certificate = Credential::Certificate;
    let required = world.builder().requiring(certificate).build().err();
    let expected = BuildError::RequiredNotTaken {
        credential: certificate,
    };
    assert_eq!(required, Some(expected));
    let contradiction = Guard::builder(allowed())
        .with_bound_tokens(
            world.verifier().with_leeway(MINUTE * 60),
            Freshness::in_process(),
        )
        .danger_without_revocations();
    assert!(matches!(
        contradiction.build().err(),
        Some(BuildError::Tokens(PolicyError::LeewayTooLong { .. }))
    ));
}

#[test]
fn jwt_071_a_bound_token_is_admitted_with_its_certificate_alone() {
    let world = World::new();
    let guard = world.builder().build().unwrap();
    let token = world.bound_token(BILLING, certificate(1));
    let presented = Presented::nothing().with_token(&token);
    let method = "x5t#S256";
    // Twice: the second time the token is remembered.
    for _ in 0..2 {
        assert!(admits(&guard, &presented.with_certificate(certificate(1))));
        let other = refused(&guard, &presented.with_certificate(certificate(2)));
        let mismatch = RefusalReason::Token(VerifyError::BindingMismatch { method });
        assert_eq!(other, (mismatch, Rejection::Unauthenticated));
        let missing = RefusalReason::Token(VerifyError::BindingMissing { method });
        assert_eq!(refused(&guard, &presented).0, missing);
        // A key that was shown is no certificate that was.
        let key = *certificate(1).as_bytes();
        assert_eq!(refused(&guard, &presented.with_key(key)).0, missing);
    }
}

#[test]
fn jwt_070_a_token_that_is_not_bound_is_refused_where_tokens_must_be() {
    let world = World::new();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let strict = world.builder().build().unwrap();
    for presented in [presented, presented.with_certificate(certificate(1))] {
        let reason = RefusalReason::Token(VerifyError::BindingRequired);
        assert_eq!(refused(&strict, &presented).0, reason);
    }
    assert!(admits(&world.bearer().build().unwrap(), &presented));
    // And where bearer tokens are taken, a bound one is still bound.
    let bound = world.bound_token(BILLING, certificate(1));
    let bare = Presented::nothing().with_token(&bound);
    assert!(!admits(&world.bearer().build().unwrap(), &bare));
}

#[test]
fn a_call_without_credentials_is_told_so_and_nothing_else() {
    let guard = World::new().builder().build().unwrap();
    let nothing = refused(&guard, &Presented::nothing());
    assert_eq!(
        nothing,
        (
            RefusalReason::NothingPresented,
            Rejection::CredentialRequired
        )
    );
    // A certificate alone says who holds a key, and not who that is.
    let bare = Presented::nothing().with_certificate(certificate(1));
    assert_eq!(refused(&guard, &bare).0, RefusalReason::NothingPresented);
}

#[test]
fn jwt_038_what_is_no_token_is_refused_in_one_word() {
    let world = World::new();
    let guard = world.builder().build().unwrap();
    let good = world.bound_token(BILLING, certificate(1));
    let forged = world.bearer_token("billing");
    let too_long = "a.".repeat(MAX_TOKEN_BYTES);
    for token in [
        "",
        "x",
        "a.b.c",
        "\r\n\x1b[31m",
        good.get(..good.len() - 1).unwrap(),
        &too_long,
        &forged,
    ] {
        let (reason, rejection) = refused(&guard, &Presented::nothing().with_token(token));
        assert!(matches!(reason, RefusalReason::Token(_)), "{reason:?}");
        assert_eq!(rejection, Rejection::Unauthenticated);
    }
}

#[test]
fn a_subject_that_is_no_machine_is_refused() {
    let world = World::new();
    let guard = world.bearer().build().unwrap();
    for subject in [
        "alice",
        "spiffe://example.org",
        "spiffe://Example.org/billing",
        "https://example.org/x",
    ] {
        let token = world.bearer_token(subject);
        let (reason, _) = refused(&guard, &Presented::nothing().with_token(&token));
        let token = Credential::Token;
        assert!(
            matches!(reason, RefusalReason::NotService { credential, .. } if credential == token),
            "{reason:?}"
        );
    }
}

#[test]
fn what_is_revoked_is_refused_from_the_next_call_on_whichever_kind_it_is() {
    let expires = Timestamp::MAX;
    let thumbprint = certificate(1);
    let billing = service(BILLING);
    let cases: [(Target<'_>, Kind); 4] = [
        (
            Target::Token {
                issuer: ISSUER,
                jti: "a-1",
            },
            Kind::Token,
        ),
        (
            Target::Subject {
                issuer: ISSUER,
                subject: BILLING,
            },
            Kind::Subject,
        ),
        (Target::Service(billing.as_ref()), Kind::Service),
        (
            Target::CertificateThumbprint(thumbprint.as_bytes()),
            Kind::CertificateThumbprint,
        ),
    ];
    for (target, kind) in cases {
        let world = World::new();
        let guard = world.builder().build().unwrap();
        let request = request(BILLING)
            .with_certificate_binding(thumbprint)
            .with_token_id("a-1");
        let token = world.token(&request);
        let presented = Presented::nothing()
            .with_token(&token)
            .with_certificate(thumbprint);
        assert!(admits(&guard, &presented) && admits(&guard, &presented));
        world.revocations.revoke(target, expires).unwrap();
        let (reason, rejection) = refused(&guard, &presented);
        let found = match reason {
            RefusalReason::Token(VerifyError::Revoked(revoked)) => revoked,
            RefusalReason::Revoked {
                credential,
                revoked,
            } => {
                assert_eq!(credential, Credential::Certificate);
                revoked
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (found.kind(), rejection),
            (kind, Rejection::Unauthenticated)
        );
    }
}

#[test]
fn what_is_too_old_to_go_by_refuses_and_every_answer_says_how_old_it_was() {
    let world = World::new();
    let (keys, revocations) = (
        Arc::new(LastConfirmed::never()),
        Arc::new(LastConfirmed::never()),
    );
    let guard = Guard::builder(allowed())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::confirmed_within(MINUTE, Arc::clone(&keys)),
        )
        .with_revocations(
            Arc::clone(&world.revocations),
            Freshness::confirmed_within(MINUTE / 2, Arc::clone(&revocations)),
        )
        .build()
        .unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let stale = |basis, age| {
        let limit = if basis == Basis::Keys {
            MINUTE
        } else {
            MINUTE / 2
        };
        (
            RefusalReason::Stale { basis, age, limit },
            Rejection::Unavailable,
        )
    };
    // Not confirmed is not fresh.
    assert_eq!(
        refused(&guard, &presented),
        stale(Basis::Revocations, Age::Never)
    );
    revocations.confirm(now());
    assert_eq!(refused(&guard, &presented), stale(Basis::Keys, Age::Never));
    keys.confirm(now());

    let mut scratch = GuardScratch::new();
    let admitted = guard
        .admit(&presented, &READ, at(30), &mut scratch)
        .unwrap();
    let age = Age::Confirmed(MINUTE / 2);
    assert_eq!(
        (
            admitted.ages().of(Basis::Keys),
            admitted.ages().of(Basis::Revocations)
        ),
        (age, age)
    );
    assert_eq!(admitted.ages().of(Basis::Crls), Age::NotAsked);

    let old = Age::Confirmed(MINUTE / 2 + std::time::Duration::from_secs(1));
    assert_eq!(
        refused_at(&guard, &presented, at(31)),
        stale(Basis::Revocations, old)
    );
    // A clock that goes back makes nothing older, and an old answer takes nothing back.
    revocations.confirm(at(40));
    revocations.confirm(at(1));
    assert_eq!(
        revocations.age(at(41)),
        Some(std::time::Duration::from_secs(1))
    );
    assert_eq!(revocations.age(now()), Some(std::time::Duration::ZERO));
}

#[test]
fn age_is_of_no_matter_only_where_that_was_said_out_loud() {
    let world = World::new();
    let guard = Guard::builder(allowed())
        .with_bearer_tokens(world.verifier(), Freshness::danger_any_age(|_| None))
        .with_revocations(
            Arc::clone(&world.revocations),
            Freshness::danger_any_age(|_| Some(MINUTE * 60)),
        )
        .build()
        .unwrap();
    let token = world.bearer_token(BILLING);
    let mut scratch = GuardScratch::new();
    let presented = Presented::nothing().with_token(&token);
    let admitted = guard.admit(&presented, &READ, now(), &mut scratch).unwrap();
    assert_eq!(admitted.ages().of(Basis::Keys), Age::Never);
    assert_eq!(
        admitted.ages().of(Basis::Revocations),
        Age::Confirmed(MINUTE * 60)
    );
    assert_eq!(
        admitted.ages().to_string(),
        "keys never confirmed, CRLs not asked, revocations 3600 s old"
    );
}

#[test]
fn nobody_may_do_what_was_not_named() {
    let world = World::new();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let guard = Guard::builder(AllowList::new())
        .with_bearer_tokens(world.verifier(), Freshness::in_process())
        .danger_without_revocations()
        .build()
        .unwrap();
    let (reason, rejection) = refused(&guard, &presented);
    assert!(matches!(reason, RefusalReason::Denied(_)));
    assert_eq!(rejection, Rejection::Forbidden);
}

#[test]
fn dos_005_a_hook_that_panics_refuses_its_own_call_and_no_other() {
    let world = World::new();
    let panics = Arc::new(AtomicBool::new(true));
    let hook = {
        let panics = Arc::clone(&panics);
        move |_: &Proven<'_>, _: &Call<'_>| match panics.load(Ordering::Relaxed) {
            true => panic!("a bug of the application"),
            false => Decision::Allow,
        }
    };
    let age = {
        let panics = Arc::clone(&panics);
        move |now: Timestamp| match panics.load(Ordering::Relaxed) && now > at(100) {
            true => panic!("another bug"),
            false => Some(MINUTE),
        }
    };
    let guard = Guard::builder(hook)
        .with_bearer_tokens(world.verifier(), Freshness::within(MINUTE, age))
        .with_revocations(Arc::clone(&world.revocations), Freshness::in_process())
        .build()
        .unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for time in [now(), at(101)] {
        let refusal = guard
            .admit(&presented, &READ, time, &mut scratch)
            .unwrap_err();
        assert_eq!(refusal.rejection(), Rejection::Unavailable);
        assert_eq!(refusal.code(), "panicked");
    }
    std::panic::set_hook(before);
    panics.store(false, Ordering::Relaxed);
    // Same guard, same scratch: nothing is poisoned, and nothing was let through.
    assert!(guard.admit(&presented, &READ, now(), &mut scratch).is_ok());
    let nothing = guard.admit(&Presented::nothing(), &READ, now(), &mut scratch);
    assert_eq!(
        nothing.unwrap_err().rejection(),
        Rejection::CredentialRequired
    );
}

#[test]
fn a_denial_tells_operators_why_and_the_caller_what_to_do() {
    let world = World::new();
    let quote = "no \r\n\x1b[31m".repeat(100);
    let deny = move |_: &Proven<'_>, _: &Call<'_>| {
        let remedy = Remedy::Scope("orders:write".into());
        Decision::Deny(Denial::new(quote.clone()).with_remedy(remedy))
    };
    let guard = Guard::builder(deny)
        .with_bearer_tokens(world.verifier(), Freshness::in_process())
        .danger_without_revocations()
        .build()
        .unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(&presented, &READ, now(), &mut scratch)
        .unwrap_err();
    assert_eq!(refusal.remedy(), &Remedy::Scope("orders:write".into()));
    let text = refusal.to_string();
    assert!(
        text.starts_with(r"denied: no \r\n\x1b[31m") && text.len() < 512,
        "{text}"
    );
    assert!(!text.contains(char::is_control));
}

#[test]
fn what_is_admitted_can_be_kept_without_what_it_came_from() {
    let world = World::new();
    let token = world.bound_token(BILLING, certificate(1));
    let caller = {
        let guard = world.builder().build().unwrap();
        let mut scratch = GuardScratch::new();
        let presented = Presented::nothing()
            .with_token(&token)
            .with_certificate(certificate(1));
        let admitted = guard.admit(&presented, &READ, now(), &mut scratch).unwrap();
        assert!(admitted.is_bound() && admitted.has_scope("orders:read"));
        assert_eq!(
            admitted.credentials().collect::<Vec<_>>(),
            [Credential::Token]
        );
        admitted.to_caller().unwrap()
    };
    assert_eq!(caller.service_id(), &service(BILLING));
    assert_eq!(caller.certificate(), Some(&certificate(1)));
    assert!(caller.has_scope("orders:read") && !caller.has_scope("orders"));
    let kept = caller.token().unwrap();
    assert!(kept.is_bound() && kept.issuer() == Some(ISSUER));
    assert_eq!(kept.expires_at(), Some(at(300)));
    assert!(kept.claims_json().contains("orders:read"));
    let shown = format!("{caller:?} {kept:?}");
    assert!(
        !shown.contains("orders:read") && !shown.contains(&token),
        "{shown}"
    );
}

/// G-4: neither a token nor what it says is in what a log may show.
#[test]
fn nothing_shown_of_a_call_says_what_was_presented() {
    let world = World::new();
    let guard = world.builder().build().unwrap();
    let token = world.bound_token(BILLING, certificate(1));
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(&presented, &READ, now(), &mut scratch)
        .unwrap_err();
    let shown = format!("{presented:?} {refusal:?} {refusal} {guard:?} {scratch:?}");
    for part in token.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
}

#[test]
fn jwt_051_dates_hold_through_the_guard_as_well() {
    let world = World::new();
    let guard = world.bearer().build().unwrap();
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_token(&token);
    let mut scratch = GuardScratch::new();
    assert!(
        guard
            .admit(&presented, &READ, at(299), &mut scratch)
            .is_ok()
    );
    let expired = guard.admit(&presented, &READ, at(300 + 3600), &mut scratch);
    assert!(matches!(
        expired.unwrap_err().reason(),
        RefusalReason::Token(VerifyError::Expired { .. })
    ));
    let another = TokenRequest::new(BILLING, "spiffe://example.org/others", MINUTE);
    let another = world.token(&another);
    let (reason, _) = refused(&guard, &Presented::nothing().with_token(&another));
    assert!(matches!(
        reason,
        RefusalReason::Token(VerifyError::Audience { .. })
    ));
}
