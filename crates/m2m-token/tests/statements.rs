//! Statements: tokens without end that have all but audience and name in common.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, MintError, Minter, Scratch, SigningKeyRing, TokenType, Verifier, VerifyError,
};
use m2m_types::Timestamp;
use serde_json::json;

const NOW: u64 = 1_790_000_000;

fn minter(issuer: &str, token_type: TokenType) -> (Minter, Arc<SigningKeyRing>) {
    let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
    let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(600)).unwrap());
    (
        Minter::new(issuer, token_type, Arc::clone(&ring)).unwrap(),
        ring,
    )
}

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW).unwrap()
}

#[test]
fn a_statement_says_what_its_template_says_and_whom_it_is_for() {
    let (minter, ring) = minter("https://a.example/\"x", TokenType::named("statement+jwt"));
    for filler in 0..7 {
        let claims = json!({"a": "ä", "b": "x".repeat(filler), "c": {"d": [1, 2]}});
        let template = minter.template(&claims, now()).unwrap();
        for length in 1..5 {
            let audience = "r".repeat(length);
            let token = minter.mint_from(&template, &audience, "n-1").unwrap();
            let verifier = Verifier::builder(
                Issuers::one("https://a.example/\"x", ring.verifying_keys()),
                Audience::exactly(&audience),
                TokenType::named("statement+jwt"),
            )
            .danger_accepting_no_expiry()
            .build()
            .unwrap();
            let mut scratch = Scratch::new();
            let verified = verifier.verify(&token, now(), &mut scratch).unwrap();
            assert_eq!(verified.token_id(), Some("n-1"));
            assert_eq!(verified.claims().issued_at(), Some(now()));
            assert_eq!(
                verified.claims().claim::<serde_json::Value>("c").unwrap(),
                Some(json!({"d": [1, 2]}))
            );
            // It has no end, so who asks for one does not take it.
            let strict = Verifier::builder(
                Issuers::one("https://a.example/\"x", ring.verifying_keys()),
                Audience::exactly(&audience),
                TokenType::named("statement+jwt"),
            )
            .build()
            .unwrap();
            let error = strict
                .verify(&token, now(), &mut Scratch::new())
                .unwrap_err();
            assert!(matches!(error, VerifyError::ClaimMissing { .. }));
        }
    }
}

#[test]
fn no_statement_is_an_access_token() {
    for name in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let (minter, _) = minter("https://a.example", TokenType::named(name));
        assert_eq!(
            minter.template(&json!({}), now()).unwrap_err(),
            MintError::Statement
        );
    }
}

#[test]
fn a_statement_is_made_by_who_wrote_it() {
    let (one, _) = minter("https://a.example", TokenType::named("x"));
    let (two, _) = minter("https://b.example", TokenType::named("x"));
    let template = one.template(&json!({}), now()).unwrap();
    assert_eq!(
        two.mint_from(&template, "r", "1").unwrap_err(),
        MintError::Statement
    );
    for name in ["iss", "aud", "iat", "jti", "exp", "nbf", "sub", "cnf"] {
        let error = one.template(&json!({name: "x"}), now()).unwrap_err();
        assert_eq!(error, MintError::Reserved { name });
    }
    assert_eq!(
        one.template(&json!([1]), now()).unwrap_err(),
        MintError::Serialize
    );
    let template = one
        .template(&json!({"x": "y".repeat(6000)}), now())
        .unwrap();
    let error = one.mint_from(&template, "r", "1").unwrap_err();
    assert!(matches!(error, MintError::TooLong { .. }), "{error}");
}

/// What is made one by one costs one allocation, the token itself.
#[test]
fn a_statement_is_made_in_one_allocation() {
    let (minter, _) = minter("https://a.example", TokenType::named("x"));
    let template = minter
        .template(&json!({"a": "b".repeat(500)}), now())
        .unwrap();
    minter.mint_from(&template, "r", "1").unwrap();
    let info = allocation_counter::measure(|| {
        minter.mint_from(&template, "r", "1").unwrap();
    });
    assert_eq!(info.count_total, 1);
}
