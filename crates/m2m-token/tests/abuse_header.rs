//! Abuse of header parameters: what must not be ignored, and what must not be believed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use m2m_crypto::Algorithm;
use m2m_token::{KeySet, MAX_KEYS, MAX_KEYS_TRIED, Verifier, VerifyError};
use serde_json::{Value, json};
use support::*;

fn plus(name: &str, value: impl Into<Value>) -> String {
    with(&header(Algorithm::Es256), name, value.into()).to_string()
}

#[test]
fn jwt_080_a_critical_parameter_that_nobody_knows_is_refused() {
    let bench = Bench::es256();
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["http://example.com/UNDEFINED"]),
        json!([]),
        json!([1]),
        json!(""),
        json!("exp"),
        json!(null),
        json!(true),
        json!({}),
    ] {
        assert_eq!(
            bench.header_code(plus("crit", crit.clone())),
            "header",
            "{crit}"
        );
        let named = with_raw(&header(Algorithm::Es256), "cri\\u0074", &crit.to_string());
        assert_eq!(bench.header_code(named), "header", "{crit}");
    }
    // The same from a header that was known a moment ago, but for that.
    assert_eq!(bench.header_code(plus("x", 1)), "ok");
    assert_eq!(bench.header_code(plus("x", json!(["crit"]))), "ok");
    assert_eq!(bench.header_code(plus("crit", json!(["x"]))), "header");
}

#[test]
fn jwt_082_an_unencoded_payload_is_refused_said_critical_or_not() {
    let bench = Bench::es256();
    for b64 in ["false", "null", "0", "\"true\"", "[]"] {
        let plain = with_raw(&header(Algorithm::Es256), "b64", b64);
        assert_eq!(bench.header_code(&plain), "header", "{b64}");
        let critical: Value = serde_json::from_str(&plain).unwrap();
        let critical = with(&critical, "crit", json!(["b64"]));
        assert_eq!(bench.header_code(critical.to_string()), "header", "{b64}");
    }
    // A payload that is not encoded, signed as it is (RFC 7797 §4.2).
    let header = b64(r#"{"alg":"ES256","kid":"k1","typ":"at+jwt","b64":false,"crit":["b64"]}"#);
    let claims = claims().to_string().replace('.', "\\u002e");
    let input = format!("{header}.{claims}");
    let signature = bench.key.signature(input.as_bytes());
    assert_eq!(bench.code(&format!("{input}.{}", b64(signature))), "header");
}

#[test]
fn jwt_084_a_key_in_the_header_is_not_used() {
    let bench = Bench::es256();
    let attacker = key(Algorithm::Es256);
    let jwk: Value = serde_json::from_str(&attacker.verifying_key().to_jwk().to_json()).unwrap();
    for kid in ["k1", "attacker"] {
        for (name, value) in [
            ("jwk", jwk.clone()),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("jku", json!("file:///etc/passwd")),
        ] {
            let header = plus(name, value);
            let header = with(&serde_json::from_str(&header).unwrap(), "kid", kid.into());
            let token = sign(header.to_string(), claims().to_string(), &attacker);
            let expected = match kid {
                "k1" => "signature",
                _ => "key_unknown",
            };
            assert_eq!(bench.code(&token), expected, "{name}");
        }
    }
    let header = without(&with(&header(Algorithm::Es256), "jwk", jwk.clone()), "kid");
    let token = sign(header.to_string(), claims().to_string(), &attacker);
    assert_eq!(bench.code(&token), "signature");
    // Where it does not matter it does no harm either.
    assert_eq!(bench.header_code(plus("jwk", jwk)), "ok");
}

#[test]
fn jwt_085_a_certificate_in_the_header_is_not_used() {
    let bench = Bench::es256();
    let attacker = key(Algorithm::Es256);
    let der = attacker.verifying_key().to_spki_der();
    let certificate = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    for (name, value) in [
        ("x5c", json!([certificate, certificate])),
        ("x5u", json!("https://attacker.example/chain.pem")),
        ("x5t", json!(b64([7; 20]))),
        ("x5t#S256", json!(b64([7; 32]))),
    ] {
        let token = sign(plus(name, value.clone()), claims().to_string(), &attacker);
        assert_eq!(bench.code(&token), "signature", "{name}");
        assert_eq!(bench.header_code(plus(name, value)), "ok", "{name}");
    }
}

#[test]
fn jwt_086_a_kid_is_a_name_and_nothing_is_looked_up_by_it_but_a_key() {
    let bench = Bench::es256();
    let strange = [
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR 1=1--",
        "|id",
        "$(id)",
        "http://127.0.0.1/",
        "k1\0",
        "k1\r\nSet-Cookie: a=b",
        "\x1b[31mred",
        "\u{202e}1k",
        "K1",
        "k1 ",
        "k\u{200b}1",
    ];
    for kid in strange {
        let token = bench.header(plus("kid", kid));
        assert_eq!(bench.code(&token), "key_unknown", "{kid:?}");
        // `code` has seen to it that what is shown is short and harmless.
        let error = bench.verifiers.error(&token);
        let VerifyError::KeyUnknown { kid: shown, .. } = error else {
            panic!("{error:?}");
        };
        assert!(shown.to_string().starts_with('"'), "{shown}");
    }
    assert_eq!(bench.header_code(plus("kid", "k".repeat(4_000))), "header");
    assert_eq!(
        bench.header_code(plus("kid", "k".repeat(64_000))),
        "too_long"
    );
    for malformed in ["7", "null", "[]", "[\"k1\"]", "{}", "true", "\"\""] {
        let header = with_raw(&header(Algorithm::Es256), "kid", malformed);
        assert_eq!(bench.header_code(header), "header", "{malformed}");
    }
    // A key that is called so is found, by exactly that name.
    for kid in strange {
        let keys = KeySet::new()
            .with_key(kid, bench.key.verifying_key().clone())
            .unwrap();
        let verifiers = Verifiers::of(keys);
        let token = |kid: &str| bench.header(plus("kid", kid));
        assert_eq!(verifiers.code(&token(kid)), "ok", "{kid:?}");
        assert_eq!(verifiers.code(&token("k1")), "key_unknown", "{kid:?}");
    }
}

#[test]
fn jwt_087_without_kid_at_most_two_keys_are_tried() {
    assert_eq!(MAX_KEYS_TRIED, 2);
    let pairs: Vec<_> = (0..4).map(|_| key(Algorithm::Es256)).collect();
    let keys = |count: usize| {
        pairs[..count]
            .iter()
            .enumerate()
            .fold(KeySet::new(), |keys, (at, key)| {
                let key = key.verifying_key().clone();
                match at {
                    0 => keys.with_unnamed_key(key),
                    _ => keys.with_key(&format!("k{at}"), key),
                }
                .unwrap()
            })
    };
    let nameless = without(&header(Algorithm::Es256), "kid").to_string();
    let token = |at: usize| sign(&nameless, claims().to_string(), &pairs[at]);
    for count in 1..=4 {
        let verifiers = Verifiers::of(keys(count));
        for at in 0..4 {
            let expected = match (count <= MAX_KEYS_TRIED, at < count) {
                (false, _) => "key_ambiguous",
                (true, true) => "ok",
                (true, false) => "signature",
            };
            assert_eq!(verifiers.code(&token(at)), expected, "{count} {at}");
        }
    }
    // Keys for other algorithms do not count.
    let other = key(Algorithm::Ed25519);
    let mixed = (0..48).fold(keys(1), |keys, at| {
        let key = other.verifying_key().clone();
        keys.with_key(&format!("other-{at}"), key).unwrap()
    });
    assert_eq!(Verifiers::of(mixed).code(&token(0)), "ok");
    // An unnamed key is not for tokens that name one.
    let named = sign(
        header(Algorithm::Es256).to_string(),
        claims().to_string(),
        &pairs[0],
    );
    assert_eq!(Verifiers::of(keys(1)).code(&named), "key_unknown");
}

#[test]
fn jwt_087_dos_004_a_strangers_token_costs_two_signature_checks_at_most() {
    // A set as full as it may be, and a token that fits each of its keys: none is tried.
    let rsa = key(Algorithm::Rs256);
    let full = (0..MAX_KEYS).fold(KeySet::new(), |keys, at| {
        let key = rsa.verifying_key().clone();
        keys.with_key(&format!("k{at}"), key).unwrap()
    });
    let verifier: Verifier = policy(full).build().unwrap();
    let nameless = without(&header(Algorithm::Rs256), "kid").to_string();
    let token = sign(nameless, claims().to_string(), &Fixed(vec![1; 256]));
    let mut scratch = m2m_token::Scratch::new();
    let refused = verifier.verify(&token, at(0), &mut scratch).map(|_| ());
    assert_eq!(
        refused,
        Err(VerifyError::KeyAmbiguous {
            candidates: MAX_KEYS,
            limit: MAX_KEYS_TRIED
        })
    );
}

#[test]
fn jwt_091_a_token_in_a_token_is_not_unwrapped() {
    let bench = Bench::es256();
    let nested = with(&header(Algorithm::Es256), "cty", "JWT".into()).to_string();
    let mut token = bench.good();
    for level in 1..=20 {
        token = sign(&nested, &token, &bench.key);
        let code = bench.code(&token);
        assert!(["json", "too_long"].contains(&code), "{level} {code}");
    }
    // A claims object stays one, whatever the header calls it: nothing in it is opened.
    let carrying = with(&claims(), "jwt", bench.good().into());
    assert_eq!(
        bench.code(&sign(nested, carrying.to_string(), &bench.key)),
        "ok"
    );
}
