//! Tokens that contain the key they are bound to (`cnf.jwk`), as workload identity tokens do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::time::Duration;

use m2m_crypto::{Algorithm, SystemRandom, VerifyingKey};
use m2m_testkit::vectors;
use m2m_token::{
    Audience, Confirmation, Issuers, KeySet, Presenter, Scratch, TokenType, Unverified, Verifier,
    VerifierBuilder, VerifyError,
};
use m2m_types::Timestamp;
use serde_json::{Value, json};
use support::*;

const METHOD: &str = "jwk";

fn bound_to(key: &VerifyingKey) -> String {
    let jwk: Value = serde_json::from_str(&key.to_jwk().to_json()).unwrap();
    with(&claims(), "cnf", json!({ METHOD: jwk })).to_string()
}

fn accepting(builder: VerifierBuilder) -> Verifier {
    builder.with_embedded_keys().build().unwrap()
}

#[test]
fn jwt_070_a_key_in_the_token_is_taken_only_if_the_policy_says_so() {
    let (issuer, own) = (key(Algorithm::Es256), key(Algorithm::Ed25519));
    let token = sign(
        header(Algorithm::Es256).to_string(),
        bound_to(own.verifying_key()),
        &issuer,
    );
    let thumbprint = own.verifying_key().thumbprint();
    let proof = Presenter::unknown().with_key(thumbprint);
    let mut scratch = Scratch::new();
    for builder in [
        policy(set(&issuer)),
        policy(set(&issuer)).danger_ignoring_binding(),
    ] {
        let verifier = builder.build().unwrap();
        let refused = verifier.verify_presented(&token, &proof, at(0), &mut scratch);
        assert_eq!(refused.unwrap_err().code(), "claim_value");
        let refused = verifier.verify_bound(&token, at(0), &mut scratch);
        assert_eq!(refused.unwrap_err().code(), "claim_value");
    }
    // To look away takes both words, and still tells what it is bound to.
    let blind = accepting(policy(set(&issuer)).danger_ignoring_binding());
    let verified = blind.verify(&token, at(0), &mut scratch).unwrap();
    assert_eq!(
        verified.claims().confirmation(),
        Some(Confirmation::EmbeddedKey(thumbprint))
    );
}

#[test]
fn jwt_071_a_token_is_taken_from_the_holder_of_the_key_in_it_alone_cached_or_not() {
    let (issuer, own) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let other = key(Algorithm::Es256);
    let token = sign(
        header(Algorithm::Es256).to_string(),
        bound_to(own.verifying_key()),
        &issuer,
    );
    let (own, other) = (own.verifying_key(), other.verifying_key().thumbprint());
    let nobody = Presenter::unknown();
    let cold = accepting(policy(set(&issuer)));
    let warm = policy(set(&issuer)).with_cache(1 << 16, &SystemRandom);
    let warm = accepting(warm.unwrap());
    let mut scratch = Scratch::new();
    for verifier in [&cold, &warm, &warm] {
        let mut code = |presenter: &Presenter| {
            let result = verifier.verify_presented(&token, presenter, at(0), &mut scratch);
            result.map_or_else(|error| error.code(), |_| "ok")
        };
        assert_eq!(code(&nobody.with_key(own.thumbprint())), "ok");
        assert_eq!(code(&nobody.with_key(other)), "binding_mismatch");
        assert_eq!(code(&nobody), "binding_missing");
        let certificate = nobody.with_certificate(*own.thumbprint().as_bytes());
        assert_eq!(code(&certificate), "binding_missing");

        // The other way round: first the token, then the proof.
        let mut prove = |presenter: &Presenter| {
            let unproven = verifier.verify_bound(&token, at(0), &mut scratch).unwrap();
            let thumbprint = own.thumbprint();
            assert_eq!(
                unproven.confirmation(),
                Confirmation::EmbeddedKey(thumbprint)
            );
            assert_eq!(unproven.embedded_key().unwrap().thumbprint(), thumbprint);
            assert!(!format!("{unproven:?}").contains(BILLING));
            let verified = unproven.prove(presenter)?;
            assert_eq!(verified.subject(), Some(BILLING));
            Ok(())
        };
        assert_eq!(prove(&nobody.with_key(own.thumbprint())), Ok(()));
        let method = METHOD;
        assert_eq!(
            prove(&nobody.with_key(other)),
            Err(VerifyError::BindingMismatch { method })
        );
        assert_eq!(prove(&nobody), Err(VerifyError::BindingMissing { method }));
    }
}

#[test]
fn what_is_no_public_key_is_refused_and_a_bearer_token_is_not_a_bound_one() {
    let issuer = key(Algorithm::Es256);
    let verifier = accepting(policy(set(&issuer)));
    let public: Value = serde_json::from_str(&issuer.verifying_key().to_jwk().to_json()).unwrap();
    let mut scratch = Scratch::new();
    let mut code = |jwk: Value| {
        let payload = with(&claims(), "cnf", json!({ METHOD: jwk })).to_string();
        let token = sign(header(Algorithm::Es256).to_string(), payload, &issuer);
        let result = verifier.verify_bound(&token, at(0), &mut scratch);
        result.map_or_else(|error| error.code(), |_| "ok")
    };
    assert_eq!(code(public.clone()), "ok");
    for wrong in [
        json!({}),
        json!({"kty": "EC"}),
        json!({"kty": "oct", "k": b64([7; 32])}),
        with(&public, "x", json!(b64([7; 32]))),
        with(&public, "use", json!("enc")),
        with(&public, "alg", json!("ES384")),
        // Everybody who saw the token could prove to hold it.
        with(&public, "d", json!(b64([7; 32]))),
        json!([public.clone()]),
        json!("key"),
        json!(null),
    ] {
        assert_eq!(code(wrong.clone()), "claim_value", "{wrong}");
    }
    let free = sign(
        header(Algorithm::Es256).to_string(),
        claims().to_string(),
        &issuer,
    );
    let refused = verifier.verify_bound(&free, at(0), &mut scratch);
    assert_eq!(refused.unwrap_err(), VerifyError::BindingRequired);
    // A stranger's key is not even looked at.
    let stranger = key(Algorithm::Es256);
    let forged = sign(
        header(Algorithm::Es256).to_string(),
        bound_to(stranger.verifying_key()),
        &stranger,
    );
    let refused = verifier.verify_bound(&forged, at(0), &mut scratch);
    assert_eq!(refused.unwrap_err(), VerifyError::Signature);
    let shown = Unverified::danger_decode(&forged, &mut scratch).unwrap();
    assert_eq!(shown.danger_claims().confirmation(), None);
}

/// The proof of draft-ietf-wimse-wpt, checked with the key of a token that says what theirs does. Their
/// issuer's key is not published, so one of ours signs it.
#[test]
fn the_workload_identity_token_of_wimse_proves_its_request() {
    let Some(vector) = vectors::read_json("jwt/wimse/wit_wpt.json") else {
        return;
    };
    let issuer = key(Algorithm::Es256);
    let wit = sign(
        vector["wit_header"].to_string(),
        vector["wit_payload"].to_string(),
        &issuer,
    );
    let now = Timestamp::from_unix_seconds(1_745_510_000).unwrap();
    let keys = KeySet::new()
        .with_key("June 5", issuer.verifying_key().clone())
        .unwrap();
    let verifier = Verifier::builder(
        Issuers::danger_ignored(keys),
        Audience::danger_ignored(),
        TokenType::named("wit+jwt"),
    )
    .with_binding_required()
    .with_max_lifetime(Duration::from_secs(3600));
    let verifier = accepting(verifier);
    let mut scratch = Scratch::new();
    let unproven = verifier.verify_bound(&wit, now, &mut scratch).unwrap();

    let key = unproven.embedded_key().unwrap();
    let proofs = Verifier::builder(
        Issuers::danger_ignored(KeySet::new().with_unnamed_key(key.clone()).unwrap()),
        Audience::exactly("https://workload.example.com/path"),
        TokenType::named("wpt+jwt"),
    )
    .build()
    .unwrap();
    let mut proof_scratch = Scratch::new();
    let wpt = vector["wpt"].as_str().unwrap();
    let proof = proofs.verify(wpt, now, &mut proof_scratch).unwrap();
    assert!(proof.token_id().is_some());

    let presenter = Presenter::unknown().with_key(key.thumbprint());
    let verified = unproven.prove(&presenter).unwrap();
    assert_eq!(
        verified.subject(),
        Some("wimse://example.com/specific-workload")
    );
}
