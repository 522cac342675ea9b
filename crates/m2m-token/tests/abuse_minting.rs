//! Abuse of minting: what a careless or hostile caller asks for, and what verifiers make of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, MacKey, RandomError, SecureRandom, SystemRandom};
use m2m_token::{
    Audience, Issuers, KeySetError, MintError, Minter, Scratch, SigningKeyError, SigningKeyRing,
    TokenRequest, TokenType, Verifier, VerifyError,
};
use m2m_types::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::*;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

struct World {
    ring: Arc<SigningKeyRing>,
    minter: Minter,
    verifier: Verifier,
}

fn world() -> World {
    let ring = Arc::new(SigningKeyRing::new(key(Algorithm::Es256), HOUR).unwrap());
    World {
        minter: Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap(),
        verifier: verifier(&ring),
        ring,
    }
}

fn verifier(ring: &SigningKeyRing) -> Verifier {
    Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .build()
    .unwrap()
}

fn request() -> TokenRequest<'static> {
    TokenRequest::new(BILLING, ORDERS, MINUTE)
}

impl World {
    fn mint<C: serde::Serialize + ?Sized>(
        &self,
        request: &TokenRequest<'_, C>,
    ) -> Result<String, MintError> {
        self.minter.mint(request, at(0), &SystemRandom)
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Value, VerifyError> {
        let mut scratch = Scratch::new();
        let verified = self.verifier.verify(token, now, &mut scratch)?;
        Ok(verified.claims().deserialize().unwrap())
    }
}

#[test]
fn jwt_100_registered_claims_are_not_overwritten() {
    let world = world();
    let request = request()
        .with_scope("a")
        .with_client_id("c")
        .with_session_id("s")
        .with_not_before(at(0))
        .with_key_binding([7; 32]);
    for name in [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "cnf",
        "client_id",
        "sid",
        "scope",
    ] {
        // Whether the request itself writes it or not.
        for request in [request, self::request()] {
            let claims = json!({"a": 1, name: "evil", "z": 1});
            let refused = world.mint(&request.with_claims(&claims));
            assert_eq!(refused, Err(MintError::Reserved { name }));
        }
        let escaped: String = name
            .chars()
            .map(|c| format!("\\u{:04x}", c as u32))
            .collect();
        let raw = format!(r#"{{"{escaped}":"evil"}}"#);
        let raw: &RawValue = serde_json::from_str(&raw).unwrap();
        for request in [request, self::request()] {
            let refused = world.mint(&request.with_claims(raw)).unwrap_err();
            assert!(
                matches!(
                    refused,
                    MintError::Reserved { .. } | MintError::Claims { .. }
                ),
                "{name} {refused:?}"
            );
        }
    }
    // What is no object, has repeated members, or is not what verifiers take.
    for raw in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":{"b":1,"b":1}}"#,
        r#"{"a":"\ud800"}"#,
        r#"[{"a":1}]"#,
        r#""a""#,
        "1",
        "null",
        r#"{"a":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}"#,
    ] {
        let raw: &RawValue = serde_json::from_str(raw).unwrap();
        let minted = world.mint(&request.with_claims(raw));
        let refused = matches!(minted, Err(MintError::Claims { .. } | MintError::Serialize));
        assert!(refused, "{raw} {minted:?}");
    }
    for empty in [json!({}), json!({"a": 1})] {
        let token = world.mint(&self::request().with_claims(&empty)).unwrap();
        assert!(world.verify(&token, at(0)).is_ok());
    }
    for raw in ["{ }", "{ \"a\" : 1 }", "{\n}"] {
        let raw: &RawValue = serde_json::from_str(raw).unwrap();
        let token = world.mint(&self::request().with_claims(raw)).unwrap();
        assert!(world.verify(&token, at(0)).is_ok());
    }
}

#[test]
fn jwt_101_a_lifetime_is_at_least_a_second_and_at_most_the_keys() {
    let world = world();
    let mint = |lifetime, now| {
        let request = TokenRequest::new(BILLING, ORDERS, lifetime);
        world.minter.mint(&request, now, &SystemRandom)
    };
    for lifetime in [
        Duration::ZERO,
        Duration::from_millis(999),
        HOUR + Duration::from_secs(1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        assert!(
            matches!(mint(lifetime, at(0)), Err(MintError::Lifetime { .. })),
            "{lifetime:?}"
        );
    }
    for lifetime in [Duration::from_secs(1), HOUR] {
        let claims = world
            .verify(&mint(lifetime, at(0)).unwrap(), at(0))
            .unwrap();
        assert_eq!(claims["exp"], json!(START + lifetime.as_secs()));
        assert_eq!(claims["iat"], json!(START));
    }
    // At the end of the calendar there is no time left to live.
    assert!(matches!(
        mint(MINUTE, Timestamp::MAX),
        Err(MintError::Lifetime { limit: 0, .. })
    ));
    let nearly = Timestamp::MAX.saturating_sub(MINUTE);
    assert!(mint(MINUTE, nearly).is_ok());
    assert!(matches!(
        mint(MINUTE + Duration::from_secs(1), nearly),
        Err(MintError::Lifetime { limit: 60, .. })
    ));
    // A token that is never valid is not made.
    for offset in [60, 61, 100_000] {
        let request = request().with_not_before(at(offset));
        assert_eq!(world.mint(&request), Err(MintError::NeverValid));
    }
    assert!(world.mint(&request().with_not_before(at(59))).is_ok());
}

#[test]
fn jwt_102_strange_texts_come_back_as_they_went_in_here_and_elsewhere() {
    let world = world();
    let states = world.ring.states();
    let kid = &*states[0].0;
    let keys = world.ring.verifying_keys().load_full();
    let public = keys.public_keys().next().unwrap().1.to_pem();
    let foreign_key = jsonwebtoken::DecodingKey::from_ec_pem(public.as_bytes()).unwrap();
    let foreign = |token: &str| -> Value {
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&[ORDERS]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode(token, &foreign_key, &validation).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some(kid));
        decoded.claims
    };
    let strange = [
        "\"quotes\" and \\backslashes\\",
        "</script><script>alert(1)</script>",
        "line\u{2028}separator\u{2029}",
        "😀 \u{10ffff} \u{e000} \u{fffd}",
        "\u{202e}right to left",
        "e\u{301} and é",
        "{\"iss\":\"evil\"}",
        "\",\"iss\":\"evil\",\"x\":\"",
        "a.b.c",
        "\u{7f}",
        "' OR 1=1--",
        &"\"".repeat(2048),
        &"x".repeat(2048),
    ];
    for text in strange {
        let extra = BTreeMap::from([(text, text), ("controls", "\0\r\n\t\u{1b}")]);
        // DEL stands in JSON as it is; names here have none.
        if text == "\u{7f}" {
            let refused = world.mint(&TokenRequest::new(text, ORDERS, MINUTE));
            assert_eq!(refused, Err(MintError::Text { name: "sub" }));
            continue;
        }
        let long = text.len() > 100;
        let request = TokenRequest::new(text, ORDERS, MINUTE);
        let token = match long {
            true => world.mint(&request).unwrap(),
            false => {
                let request = request
                    .with_client_id(text)
                    .with_session_id(text)
                    .with_scope(text)
                    .with_token_id(text);
                world.mint(&request.with_claims(&extra)).unwrap()
            }
        };
        let ours = world.verify(&token, at(0)).unwrap();
        assert_eq!(ours["sub"], json!(text));
        if !long {
            for name in ["client_id", "sid", "scope", "jti", text] {
                assert_eq!(ours[name], json!(text), "{name}");
            }
            assert_eq!(ours["controls"], json!("\0\r\n\t\u{1b}"));
        }
        assert_eq!(foreign(&token), ours);
    }
    // Control characters in names, which verifiers refuse, are refused before they are signed.
    for control in ["\0", "\n", "a\r\nb", "\x1b[31m", "\u{7f}"] {
        let text = MintError::Text { name: "sub" };
        let refused = world.mint(&TokenRequest::new(control, ORDERS, MINUTE));
        assert_eq!(refused, Err(text), "{control:?}");
        for (name, request) in [
            ("aud", TokenRequest::new(BILLING, control, MINUTE)),
            ("jti", request().with_token_id(control)),
            ("client_id", request().with_client_id(control)),
            ("sid", request().with_session_id(control)),
            ("scope", request().with_scope(control)),
        ] {
            let refused = world.mint(&request);
            assert_eq!(refused, Err(MintError::Text { name }), "{control:?}");
        }
        let ring = Arc::clone(&world.ring);
        assert!(Minter::new(control, TokenType::access_token(), ring).is_err());
    }
    for (name, request) in [
        ("sub", TokenRequest::new("", ORDERS, MINUTE)),
        ("aud", TokenRequest::new(BILLING, "", MINUTE)),
        ("jti", request().with_token_id("")),
    ] {
        assert_eq!(world.mint(&request), Err(MintError::Text { name }));
    }
}

#[test]
fn jwt_102_a_type_that_verifiers_would_not_read_is_not_minted() {
    let world = world();
    for name in ["", &"x".repeat(65), &"x".repeat(10_000)] {
        let minter = Minter::new(ISSUER, TokenType::named(name), Arc::clone(&world.ring));
        assert!(minter.is_err(), "{} bytes", name.len());
    }
    let ring = || Arc::clone(&world.ring);
    assert!(Minter::new("", TokenType::access_token(), ring()).is_err());
    assert!(Minter::new(&"x".repeat(2049), TokenType::access_token(), ring()).is_err());
    assert!(Minter::new(ISSUER, TokenType::danger_ignored(), ring()).is_err());
    let longest = "x".repeat(64);
    let minter = Minter::new(ISSUER, TokenType::named(&longest), ring()).unwrap();
    let token = minter.mint(&request(), at(0), &SystemRandom).unwrap();
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, world.ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::named(&longest),
    )
    .build()
    .unwrap();
    assert!(verifier.verify(&token, at(0), &mut Scratch::new()).is_ok());
    // Nor a token that they would not read for its length.
    let claims = json!({"x": "y".repeat(8_000)});
    assert!(matches!(
        world.mint(&request().with_claims(&claims)),
        Err(MintError::TooLong { .. })
    ));
}

/// No randomness at all.
struct Broken;

impl SecureRandom for Broken {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn jwt_103_without_randomness_there_is_no_token() {
    let world = world();
    let refused = world.minter.mint(&request(), at(0), &Broken);
    assert_eq!(refused, Err(MintError::Random(RandomError)));
    assert_eq!(
        world.minter.prepare(&request(), at(0), &Broken).map(|_| ()),
        Err(MintError::Random(RandomError))
    );
    // A verifier whose cache cannot be seeded is not built.
    let keys = world.ring.verifying_keys().load_full();
    assert!(
        policy((*keys).clone())
            .with_cache(1 << 16, &Broken)
            .is_err()
    );
    // The next one is fine: nothing was left half done.
    let token = world.mint(&request()).unwrap();
    assert!(world.verify(&token, at(0)).is_ok());
    let ids: std::collections::HashSet<String> = (0..1_000)
        .map(|_| {
            let token = world.mint(&request()).unwrap();
            let payload = unb64(token.split('.').nth(1).unwrap());
            let claims: Value = serde_json::from_slice(&payload).unwrap();
            claims["jti"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 1_000);
}

#[test]
fn jwt_106_a_retired_keys_tokens_live_as_long_as_they_could_and_no_longer() {
    for leeway in [0, 30] {
        let ring = SigningKeyRing::new(key(Algorithm::Es256), HOUR)
            .unwrap()
            .with_leeway(Duration::from_secs(leeway));
        let ring = Arc::new(ring);
        let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap();
        let verifier = Verifier::builder(
            Issuers::one(ISSUER, ring.verifying_keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        )
        .with_leeway(Duration::from_secs(leeway))
        .with_cache(1 << 16, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
        let mut scratch = Scratch::new();
        let longest = TokenRequest::new(BILLING, ORDERS, HOUR);
        let token = minter.mint(&longest, at(0), &SystemRandom).unwrap();
        let old = ring.states()[0].0.clone();
        let next = ring.publish(key(Algorithm::Es256), at(0)).unwrap();
        ring.activate(&next, at(0)).unwrap();
        // Its tokens end with it, so one that claims to live longer shows what the key itself says.
        let end = 3600 + leeway as i64;
        for offset in [0, 1, 3_599, end - 1] {
            let taken = verifier.verify(&token, at(offset), &mut scratch);
            assert!(taken.is_ok(), "{offset} {taken:?}");
        }
        let code = verifier
            .verify(&token, at(end), &mut scratch)
            .unwrap_err()
            .code();
        assert!(["expired", "key_unknown"].contains(&code), "{code}");
        // Before anybody tidies up, and after.
        assert_eq!(ring.jwk_set().len(), 2);
        ring.tidy(at(end - 1));
        assert_eq!(ring.jwk_set().len(), 2);
        ring.tidy(at(end));
        assert_eq!(ring.jwk_set().len(), 1);
        assert_eq!(
            ring.activate(&old, at(end)),
            Err(SigningKeyError::Unknown { kid: old.clone() })
        );
        let code = verifier
            .verify(&token, at(0), &mut scratch)
            .unwrap_err()
            .code();
        assert_eq!(code, "key_unknown", "even for a clock that was set back");
    }
}

#[test]
fn jwt_106_nothing_signed_with_a_retired_key_is_taken_whatever_it_says_of_itself() {
    // A copy of the key, in the hands of somebody who ignores the ring.
    let pair = key(Algorithm::Es256);
    let copy = m2m_crypto::SigningKey::from_pkcs8_der(
        Algorithm::Es256,
        pair.to_pkcs8_der().expose_secret(),
    )
    .unwrap();
    let ring = SigningKeyRing::new(pair, HOUR).unwrap();
    let kid = ring.states()[0].0.clone();
    let verifier = verifier(&ring);
    let header = with(&header(Algorithm::Es256), "kid", (*kid).into()).to_string();
    let forever = with(&claims(), "exp", json!(253_402_300_799_u64)).to_string();
    let token = sign(header, forever, &copy);
    let mut scratch = Scratch::new();
    assert!(verifier.verify(&token, at(1_000_000), &mut scratch).is_ok());
    let next = ring.publish(key(Algorithm::Es256), at(0)).unwrap();
    ring.activate(&next, at(0)).unwrap();
    assert!(verifier.verify(&token, at(3_599), &mut scratch).is_ok());
    let refused = verifier
        .verify(&token, at(3_600), &mut scratch)
        .unwrap_err();
    assert_eq!(refused.code(), "key_unknown");
    assert_eq!(
        ring.activate(&kid, at(1)),
        Err(SigningKeyError::Retiring { kid: kid.clone() })
    );
}

#[test]
fn jwt_107_a_key_is_called_by_its_thumbprint_and_stands_in_a_ring_once() {
    let twice = || m2m_crypto::SigningKey::from_jwk_as(&secret(RSA_JWK), Algorithm::Rs256).unwrap();
    let ring = SigningKeyRing::new(twice(), HOUR).unwrap();
    assert_eq!(
        ring.publish(twice(), at(0)),
        Err(SigningKeyError::Set(KeySetError::DuplicateKeyId))
    );
    let secret_ring = SigningKeyRing::secret("s", mac(Algorithm::Hs256), HOUR).unwrap();
    let again: MacKey = mac(Algorithm::Hs256);
    assert_eq!(
        secret_ring.publish_secret("s", again, at(0)),
        Err(SigningKeyError::Set(KeySetError::DuplicateKeyId))
    );
    // RFC 7638 §3.1 (RSA), RFC 8037 appendix A.3 (OKP); EC: RFC 7515 A.3's key by the same rule.
    for (jwk, thumbprint) in [
        (
            r#"{"kty":"RSA","alg":"RS256","kid":"2011-04-29","e":"AQAB",
                "n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#,
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
        (
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U",
        ),
    ] {
        let jwk = m2m_crypto::Jwk::from_json(jwk.as_bytes()).unwrap();
        let key = m2m_crypto::VerifyingKey::from_jwk(&jwk).unwrap();
        let ring = SigningKeyRing::external(key, HOUR).unwrap();
        assert_eq!(&*ring.states()[0].0, thumbprint);
        assert!(ring.jwk_set().to_json().contains(thumbprint));
    }
}
