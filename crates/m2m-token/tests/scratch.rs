//! A scratch keeps the header and the keys it was used with last. That saves time and decides nothing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, KeySet, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use m2m_types::{Live, Timestamp};

const ISSUER: &str = "https://issuer.example";
const ORDERS: &str = "spiffe://example.org/orders";
const BILLING: &str = "spiffe://example.org/billing";
const HOUR: Duration = Duration::from_secs(3600);
/// More often than a scratch keeps something else than it has.
const OFTEN: usize = 40;

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).unwrap()
}

/// The keys of an issuer and a token of its.
fn issued(issuer: &str) -> (KeySet, String) {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let keys = key.verifying_key().clone();
    let ring = Arc::new(SigningKeyRing::new(key, HOUR).unwrap());
    let kid = ring.states()[0].0.clone();
    let minter = Minter::new(issuer, TokenType::access_token(), ring).unwrap();
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    let token = minter.mint(&request, now(), &SystemRandom).unwrap();
    (KeySet::new().with_key(&kid, keys).unwrap(), token)
}

fn verifier(issuers: Issuers, token_type: TokenType) -> Verifier {
    Verifier::builder(issuers, Audience::exactly(ORDERS), token_type)
        .build()
        .unwrap()
}

/// `ok`, or the code of the refusal.
fn verdict(verifier: &Verifier, token: &str, scratch: &mut Scratch) -> &'static str {
    match verifier.verify(token, now(), scratch) {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[test]
fn what_one_verifier_takes_another_refuses_with_the_same_scratch() {
    let (keys, token) = issued(ISSUER);
    let (others, _) = issued(ISSUER);
    let takes = verifier(
        Issuers::one(ISSUER, keys.clone()),
        TokenType::access_token(),
    );
    let refuses = [
        verifier(Issuers::one(ISSUER, keys), TokenType::named("logout+jwt")),
        verifier(Issuers::one(ISSUER, others), TokenType::access_token()),
    ];
    let mut scratch = Scratch::new();
    for _ in 0..OFTEN {
        assert_eq!(verdict(&takes, &token, &mut scratch), "ok");
        for other in &refuses {
            let fresh = verdict(other, &token, &mut Scratch::new());
            assert_ne!(fresh, "ok");
            assert_eq!(verdict(other, &token, &mut scratch), fresh);
        }
    }
}

#[test]
fn keys_that_were_replaced_are_not_used_again() {
    let (keys, token) = issued(ISSUER);
    let (others, other_token) = issued(ISSUER);
    let live = Arc::new(Live::new(keys.clone()));
    let verifier = verifier(
        Issuers::one(ISSUER, Arc::clone(&live)),
        TokenType::access_token(),
    );
    let mut scratch = Scratch::new();
    for _ in 0..OFTEN {
        live.store(keys.clone());
        assert_eq!(verdict(&verifier, &token, &mut scratch), "ok");
        assert_eq!(verdict(&verifier, &token, &mut scratch), "ok");
        assert_ne!(verdict(&verifier, &other_token, &mut scratch), "ok");
        live.store(others.clone());
        assert_ne!(verdict(&verifier, &token, &mut scratch), "ok");
        assert_eq!(verdict(&verifier, &other_token, &mut scratch), "ok");
        live.renew(others.clone().usable_until(now()));
        assert_ne!(verdict(&verifier, &other_token, &mut scratch), "ok");
    }
}

#[test]
fn a_header_that_only_begins_like_the_last_one_is_another() {
    let (keys, token) = issued(ISSUER);
    let verifier = verifier(Issuers::one(ISSUER, keys), TokenType::access_token());
    let mut scratch = Scratch::new();
    let (header, rest) = token.split_once('.').unwrap();
    for _ in 0..3 {
        assert_eq!(verdict(&verifier, &token, &mut scratch), "ok");
        for changed in [
            format!("{header}{rest}"),
            format!("{header}A.{rest}"),
            format!("{}.{rest}", &header[..header.len() - 1]),
            format!("{header}..{rest}"),
            format!("{header}."),
            header.to_owned(),
            format!(".{rest}"),
        ] {
            let fresh = verdict(&verifier, &changed, &mut Scratch::new());
            assert_ne!(fresh, "ok", "{changed}");
            assert_eq!(
                verdict(&verifier, &changed, &mut scratch),
                fresh,
                "{changed}"
            );
        }
    }
}

#[test]
fn tokens_of_many_issuers_take_turns_in_one_scratch() {
    let names: Vec<String> = (0..20).map(|at| format!("https://{at}.example")).collect();
    let issued: Vec<(KeySet, String)> = names.iter().map(|name| issued(name)).collect();
    let mut issuers = Issuers::one(&names[0], issued[0].0.clone());
    for (name, (keys, _)) in names.iter().zip(&issued).skip(1) {
        issuers = issuers.and(name, keys.clone());
    }
    let verifier = verifier(issuers, TokenType::access_token());
    let mut scratch = Scratch::new();
    for _ in 0..3 {
        for (name, (_, token)) in names.iter().zip(&issued) {
            let verified = verifier.verify(token, now(), &mut scratch).unwrap();
            assert_eq!(verified.issuer(), Some(&**name));
        }
    }
}

#[test]
fn all_claims_are_given_in_their_order_and_by_the_names_that_are_meant() {
    let key = support::key(Algorithm::Es256);
    let payload = format!(
        r#"{{"iss":"{ISSUER}", "aud":"{ORDERS}","sub":"{BILLING}","exp":1700000300,"t\u0065nant\"":"x\n","n":[1, {{"a":null}}]}}"#
    );
    let token = support::sign(support::header(Algorithm::Es256).to_string(), payload, &key);
    let verifier = support::policy(support::set(&key)).build().unwrap();
    let mut scratch = Scratch::new();
    let verified = verifier.verify(&token, now(), &mut scratch).unwrap();
    let claims: Vec<_> = verified.claims().iter().skip(3).collect();
    let expected = [
        ("exp", "1700000300"),
        ("tenant\"", r#""x\n""#),
        ("n", r#"[1, {"a":null}]"#),
    ];
    let expected = expected.map(|(name, json)| (name.into(), json));
    assert_eq!(claims, expected);
}
