//! What operators are told of a refusal beyond its reason: which check, by two stable words, who called as far as
//! that was proven, and how old what was asked was.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use m2m_guard::{
    Age, AllowList, Basis, Check, Credential, Freshness, Guard, GuardScratch, LastConfirmed,
    Presented, Refusal,
};
use m2m_revoke::Target;
use m2m_types::Timestamp;
use support::*;

fn refused(guard: &Guard, presented: &Presented<'_>) -> Refusal {
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(presented, &READ, now(), &mut scratch)
        .unwrap_err();
    let pair = (refusal.code(), refusal.detail());
    assert!(
        Refusal::codes().any(|known| known == pair),
        "not listed: {pair:?}"
    );
    refusal
}

/// Code, detail, check, credential and caller.
fn facts(refusal: &Refusal) -> (&str, &str, Check, Option<Credential>, Option<&str>) {
    (
        refusal.code(),
        refusal.detail(),
        refusal.check(),
        refusal.credential(),
        refusal.caller().map(|caller| caller.as_str()),
    )
}

#[test]
fn each_refusal_says_which_check_by_two_words_and_who_as_far_as_proven() {
    let world = World::new();
    let guard = world.bearer().build().unwrap();
    let token = Some(Credential::Token);
    let of = |presented: &Presented<'_>| refused(&guard, presented);

    let nothing = of(&Presented::nothing());
    let expected = ("nothing_presented", "", Check::Presented, None, None);
    assert_eq!(facts(&nothing), expected);

    let forged = World::new().bearer_token(BILLING);
    let forged = of(&Presented::nothing().with_token(&forged));
    let expected = ("token", "key_unknown", Check::Token, token, None);
    assert_eq!(
        facts(&forged),
        expected,
        "what a forgery says is nobody's name"
    );

    let nobody = world.bearer_token("spiffe://example.org/nobody");
    let denied = of(&Presented::nothing().with_token(&nobody));
    let name = Some("spiffe://example.org/nobody");
    assert_eq!(
        facts(&denied),
        ("denied", "", Check::Decision, None, name),
        "it is proven, and may not"
    );

    let user = world.bearer_token("a user");
    let nameless = of(&Presented::nothing().with_token(&user));
    let expected = ("not_service", "token", Check::Name, token, None);
    assert_eq!(facts(&nameless), expected);

    // The certificate that a bearer shows besides is void.
    let good = world.bearer_token(BILLING);
    let shown = certificate(3);
    let target = Target::CertificateThumbprint(shown.as_bytes());
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    let presented = Presented::nothing()
        .with_token(&good)
        .with_certificate(shown);
    let expected = (
        "revoked",
        "certificate_thumbprint",
        Check::Revocation,
        Some(Credential::Certificate),
        Some(BILLING),
    );
    assert_eq!(facts(&of(&presented)), expected);

    let billing = service(BILLING);
    let target = Target::Service(billing.as_ref());
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    let revoked = of(&Presented::nothing().with_token(&good));
    let expected = ("token", "revoked", Check::Revocation, token, None);
    assert_eq!(facts(&revoked), expected);
}

#[test]
fn a_guard_tells_ages_and_how_full_its_cache_is_without_a_call() {
    let world = World::new();
    let confirmed = Arc::new(LastConfirmed::never());
    let guard = Guard::builder(AllowList::new())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::confirmed_within(MINUTE, Arc::clone(&confirmed)),
        )
        .with_revocations(Arc::clone(&world.revocations), Freshness::in_process())
        .build()
        .unwrap();
    assert_eq!(guard.ages(now()).of(Basis::Keys), Age::Never);
    confirmed.confirm(now());
    let ages = guard.ages(at(7));
    assert_eq!(ages.of(Basis::Keys), Age::Confirmed(MINUTE * 7 / 60));
    assert_eq!(ages.of(Basis::Revocations), Age::InProcess);
    assert_eq!(ages.of(Basis::Crls), Age::NotAsked);
    let refusal = refused(&guard, &Presented::nothing());
    assert_eq!(refusal.ages().of(Basis::Keys), Age::NotAsked);

    let figures = || guard.cache_figures().unwrap();
    assert_eq!((figures().taken, figures().evictions), (0, 0));
    let places = figures().places;
    assert!(places >= 4, "{places}");
    // A verified token is remembered, whether or not its bearer may do what it asks for.
    refused(
        &guard,
        &Presented::nothing().with_token(&world.bearer_token(BILLING)),
    );
    assert_eq!(figures().taken, 1);
    let many = u64::try_from(places).unwrap() * 4;
    for n in 0..many {
        let id = format!("token-{n}");
        let token = world.token(&request(BILLING).with_token_id(&id));
        refused(&guard, &Presented::nothing().with_token(&token));
    }
    assert!(figures().evictions > 0 && figures().taken <= places);
    let bare = m2m_token::Verifier::builder(
        m2m_token::Issuers::one(ISSUER, world.ring.verifying_keys()),
        m2m_token::Audience::exactly(ORDERS),
        m2m_token::TokenType::access_token(),
    );
    let bare = Guard::builder(AllowList::new())
        .with_bearer_tokens(bare, Freshness::in_process())
        .danger_without_revocations()
        .build()
        .unwrap();
    assert_eq!(bare.cache_figures(), None);
}
