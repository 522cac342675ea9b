//! What a transmitter makes: one SET, or one event for many.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod common;

use std::collections::HashSet;

use caep_set::{
    ChangeType, CredentialChange, CredentialType, CustomEvent, Event, EventTime, InitiatingEntity,
    Members, Profile, RawEvent, Reasons, SecurityEvent, SessionRevoked, SetVerifier, SubjectId,
};
use common::{NOW, RECEIVER, TRANSMITTER, at, minter};
use m2m_crypto::{RandomError, SecureRandom, SystemRandom};
use m2m_token::{Audience, Issuers, MintError, Scratch, Unverified};
use proptest::prelude::*;

fn certificate_revoked() -> SecurityEvent {
    let mut event = CredentialChange::new(CredentialType::X509, ChangeType::Revoke);
    event.x509_issuer = Some("CN=orders".into());
    event.x509_serial = Some("7f3a".into());
    event.common.event_timestamp = Some(EventTime::from(at(NOW - 5)));
    event.common.initiating_entity = Some(InitiatingEntity::Policy);
    event.common.reason_admin = Some(Reasons::in_language("en", "leaked"));
    let subject = SubjectId::uri("spiffe://example.org/orders").unwrap();
    SecurityEvent::new(subject, event).with_transaction("t-1")
}

fn verifier(
    audience: &str,
    keys: std::sync::Arc<m2m_types::Live<m2m_token::KeySet>>,
) -> SetVerifier {
    SetVerifier::new(
        Issuers::one(TRANSMITTER, keys),
        Audience::exactly(audience),
        Profile::ssf(),
    )
    .unwrap()
}

#[test]
fn what_is_minted_is_what_is_read() {
    let (minter, ring) = minter();
    let event = certificate_revoked();
    let set = minter
        .mint(&event, RECEIVER, at(NOW), &SystemRandom)
        .unwrap();
    let mut scratch = Scratch::new();
    let verifier = verifier(RECEIVER, ring.verifying_keys());
    let received = verifier.verify(set.token(), at(NOW), &mut scratch).unwrap();
    let received = received.conforming().unwrap();
    let token = received.token();
    assert_eq!(token.issuer(), TRANSMITTER);
    assert_eq!(token.token_id(), set.token_id());
    assert_eq!(token.issued_at(), at(NOW));
    assert_eq!(token.audience().collect::<Vec<_>>(), [RECEIVER]);
    assert_eq!(token.transaction(), Some("t-1"));
    assert_eq!(token.subject(), Some(event.subject()));
    assert_eq!(token.event(), Some(event.event()));
    assert_eq!(token.happened_at(), at(NOW - 5));
    assert!(event.event().is_revocation());
    let unverified = Unverified::danger_decode(set.token(), &mut scratch).unwrap();
    assert_eq!(unverified.token_type(), Some("secevent+jwt"));
    assert!(!unverified.danger_claims().contains("exp"));
    assert!(!format!("{set:?}").contains(set.token()));
}

#[test]
fn one_event_for_many_audiences_gives_each_its_own() {
    let (minter, ring) = minter();
    let template = minter.template(&certificate_revoked(), at(NOW)).unwrap();
    let mut names = HashSet::new();
    for at_ in 0..100 {
        // Of every length, so that every remainder of the encoding is met.
        let audience = format!("https://r.example/{}", "x".repeat(at_));
        let set = minter
            .mint_from(&template, &audience, &SystemRandom)
            .unwrap();
        assert!(names.insert(set.token_id().to_owned()));
        let keys = ring.verifying_keys();
        let received = verifier(&audience, keys)
            .verify(set.token(), at(NOW), &mut Scratch::new())
            .unwrap()
            .conforming()
            .unwrap();
        assert_eq!(
            received.token().event(),
            Some(certificate_revoked().event())
        );
        // Nobody can show it to another.
        let other = verifier("https://other.example", ring.verifying_keys());
        assert!(
            other
                .verify(set.token(), at(NOW), &mut Scratch::new())
                .is_err()
        );
    }
    let quoted = minter
        .mint_named(&template, "https://r.example/\"q\\", "j\"1")
        .unwrap();
    let received = verifier("https://r.example/\"q\\", ring.verifying_keys());
    let received = received
        .verify(&quoted, at(NOW), &mut Scratch::new())
        .unwrap();
    assert_eq!(received.token().unwrap().token_id(), "j\"1");
}

#[test]
fn nothing_is_minted_that_no_receiver_would_take() {
    let (minter, _) = minter();
    let template = minter.template(&certificate_revoked(), at(NOW)).unwrap();
    for (audience, token_id) in [("", "1"), ("a", ""), ("a\n", "1"), ("a", "1\0")] {
        let error = minter
            .mint_named(&template, audience, token_id)
            .unwrap_err();
        assert!(matches!(error, MintError::Text { .. }), "{error}");
    }
    // Another minter's template.
    let (other, _) = common::minter();
    assert!(
        other.mint_named(&template, "a", "1").is_ok(),
        "of the same transmitter"
    );
    for name in ["iss", "aud", "iat", "jti", "exp", "sub", "nbf"] {
        let mut claims = Members::new();
        claims.set(name, "x").unwrap();
        let event = certificate_revoked().with_claims(claims);
        assert_eq!(
            minter.template(&event, at(NOW)).unwrap_err(),
            MintError::Reserved { name }
        );
    }
    let mut claims = Members::new();
    claims.set("large", &"x".repeat(9000)).unwrap();
    let event = certificate_revoked().with_claims(claims);
    let error = minter
        .mint(&event, "a", at(NOW), &SystemRandom)
        .unwrap_err();
    assert!(matches!(error, MintError::TooLong { .. }), "{error}");
}

struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn without_randomness_there_is_no_set() {
    let (minter, _) = minter();
    let error = minter
        .mint(&certificate_revoked(), "a", at(NOW), &Broken)
        .unwrap_err();
    assert_eq!(error, MintError::Random(RandomError));
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct LimitRaised {
    to: u32,
}

impl CustomEvent for LimitRaised {
    const URI: &'static str = "https://bank.example/limit-raised";
}

#[test]
fn own_types_of_events_travel() {
    let (minter, ring) = minter();
    let subject = SubjectId::opaque("account-1").unwrap();
    let event = Event::custom(&LimitRaised { to: 7 }).unwrap();
    let event = SecurityEvent::new(subject, event);
    let set = minter
        .mint(&event, RECEIVER, at(NOW), &SystemRandom)
        .unwrap();
    let received = verifier(RECEIVER, ring.verifying_keys())
        .verify(set.token(), at(NOW), &mut Scratch::new())
        .unwrap()
        .conforming()
        .unwrap();
    let event = received.token().event().unwrap();
    assert_eq!(
        event.as_custom::<LimitRaised>(),
        Ok(Some(LimitRaised { to: 7 }))
    );
    let other = Event::from(SessionRevoked::new());
    assert_eq!(other.as_custom::<LimitRaised>(), Ok(None));
    let wrong = Event::Other(RawEvent::new(LimitRaised::URI, Members::new()));
    assert!(wrong.as_custom::<LimitRaised>().is_err());
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::hash_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in an unknown event and in unknown members comes out as it went in.
    #[test]
    fn the_unknown_survives(
        payload in prop::collection::hash_map("[a-zA-Z_.]{1,8}", json_value(), 0..6),
        id in "[^\\p{C}]{1,20}",
    ) {
        let payload = serde_json::Value::Object(payload.into_iter().collect());
        let members = Members::from_json(&payload.to_string()).unwrap();
        let (minter, ring) = minter();
        let subject = SubjectId::opaque(&id).unwrap();
        let event = SecurityEvent::new(subject, Event::Other(RawEvent::new("urn:x:y", members)));
        let set = minter.mint(&event, RECEIVER, at(NOW), &SystemRandom).unwrap();
        let received = verifier(RECEIVER, ring.verifying_keys())
            .verify(set.token(), at(NOW), &mut Scratch::new())
            .unwrap();
        let token = received.token().unwrap();
        let written: serde_json::Value =
            serde_json::from_str(&token.event().unwrap().payload_json().unwrap()).unwrap();
        prop_assert_eq!(written, payload);
        prop_assert_eq!(token.subject(), Some(event.subject()));
    }

    /// No text makes a reading panic, and none that is not an object is taken.
    #[test]
    fn no_text_makes_a_reading_panic(text in ".{0,200}") {
        let reading = caep_set::Reading::of_claims(&text, &Profile::ssf(), at(NOW));
        prop_assert!(reading.token().is_none());
    }
}
