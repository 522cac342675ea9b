//! What a JWK may look like, and which JWKs make a key.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{Algorithm, Jwk, JwkError, KeyError, KeyKind, SigningKey, VerifyingKey};
use serde_json::{Value, json};
use support::{P256_D, RFC7515_A2, base64url, p256, secret, unbase64url, with};

fn load(jwk: &Value) -> Result<VerifyingKey, KeyError> {
    VerifyingKey::from_jwk(&Jwk::from_json(jwk.to_string().as_bytes())?)
}

fn refusal(jwk: &Value) -> KeyError {
    load(jwk).unwrap_err()
}

fn parse_refusal(json: &str) -> JwkError {
    Jwk::from_json(json.as_bytes()).unwrap_err()
}

#[test]
fn the_members_are_checked_for_form() {
    let wrong_type = |member| JwkError::WrongType { member };
    for (json, error) in [
        (
            r#"{"kty":"EC","kty":"EC"}"#,
            JwkError::Duplicate {
                member: Some("kty"),
            },
        ),
        (
            r#"{"kty":"EC","k\u0074y":"EC"}"#,
            JwkError::Duplicate {
                member: Some("kty"),
            },
        ),
        (
            r#"{"kty":"EC","x":"","x":""}"#,
            JwkError::Duplicate { member: Some("x") },
        ),
        (
            r#"{"kty":"EC","d":"","d":""}"#,
            JwkError::Duplicate { member: Some("d") },
        ),
        (
            r#"{"kty":"EC","foo":1,"foo":2}"#,
            JwkError::Duplicate { member: None },
        ),
        ("{}", JwkError::Missing { member: "kty" }),
        (r#"{"kty":1}"#, wrong_type("kty")),
        (r#"{"kty":null}"#, wrong_type("kty")),
        (r#"{"kty":"EC","kid":7}"#, wrong_type("kid")),
        (r#"{"kty":"EC","kid":null}"#, wrong_type("kid")),
        (r#"{"kty":"EC","alg":["ES256"]}"#, wrong_type("alg")),
        (r#"{"kty":"EC","use":{}}"#, wrong_type("use")),
        (r#"{"kty":"EC","x":true}"#, wrong_type("x")),
        (r#"{"kty":"EC","key_ops":"verify"}"#, wrong_type("key_ops")),
        (
            r#"{"kty":"EC","key_ops":["verify",1]}"#,
            wrong_type("key_ops"),
        ),
        (
            r#"{"kty":"EC","key_ops":["verify","verify"]}"#,
            JwkError::KeyOps,
        ),
        (
            r#"{"kty":"EC","x":"AB"}"#,
            JwkError::NotBase64url { member: "x" },
        ),
        (
            r#"{"kty":"EC","x":"AA=="}"#,
            JwkError::NotBase64url { member: "x" },
        ),
        (
            r#"{"kty":"EC","y":"+/+/"}"#,
            JwkError::NotBase64url { member: "y" },
        ),
        (
            r#"{"kty":"RSA","n":"AA\nAA"}"#,
            JwkError::NotBase64url { member: "n" },
        ),
        (
            r#"{"kty":"RSA","e":"A"}"#,
            JwkError::NotBase64url { member: "e" },
        ),
    ] {
        assert_eq!(parse_refusal(json), error, "{json}");
    }
}

#[test]
fn only_one_json_object_in_utf_8_is_a_jwk() {
    for json in [
        &b""[..],
        b"[]",
        b"null",
        b"\"EC\"",
        b"{\"kty\":\"EC\"",
        b"{\"kty\":\"EC\"}x",
        b"{\"kty\":\"EC\"}{}",
        b"{'kty':'EC'}",
        b"{\"kty\":\"EC\",}",
        b"\xef\xbb\xbf{\"kty\":\"EC\"}",
        b"{\"kty\":\"EC\",\"x\xff\":1}",
        b"{\"kty\":\"EC\",\"foo\":\"\xff\"}",
        b"{\"kty\":\"\\ud800\"}",
    ] {
        assert!(
            matches!(Jwk::from_json(json), Err(JwkError::Json { .. })),
            "{}",
            json.escape_ascii()
        );
    }
    assert!(Jwk::from_json(b" {\"kty\":\"EC\"}\n").is_ok());
}

#[test]
fn the_size_of_a_jwk_is_bounded() {
    let long = |bytes: usize| format!(r#"{{"kty":"EC","kid":"{}"}}"#, "k".repeat(bytes));
    assert!(Jwk::from_json(long(256).as_bytes()).is_ok());
    assert_eq!(
        parse_refusal(&long(257)),
        JwkError::MemberTooLong {
            member: "kid",
            found: 257,
            limit: 256
        }
    );
    assert!(matches!(
        parse_refusal(&long(40_000)),
        JwkError::TooLong { .. }
    ));

    let members: String = (0..64).map(|n| format!(r#","m{n}":0"#)).collect();
    let json = format!(r#"{{"kty":"EC"{members}}}"#);
    assert_eq!(parse_refusal(&json), JwkError::TooManyMembers { limit: 64 });

    let operations: Vec<_> = (0..17).map(|n| n.to_string()).collect();
    let json = json!({"kty": "EC", "key_ops": operations}).to_string();
    assert_eq!(parse_refusal(&json), JwkError::KeyOps);

    let deep = format!(
        r#"{{"kty":"EC","x":{}{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert!(matches!(parse_refusal(&deep), JwkError::Json { .. }));
}

#[test]
fn a_jwk_of_an_unknown_family_is_read_but_makes_no_key() {
    for (json, error) in [
        (
            json!({"kty": "XYZ", "x": "AAAA"}),
            KeyError::AlgorithmUnknown,
        ),
        (
            json!({"kty": "oct", "k": "AAAA"}),
            KeyError::AlgorithmUnknown,
        ),
        (
            json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"}),
            KeyError::AlgorithmUnknown,
        ),
        (
            json!({"kty": "EC", "crv": "secp256k1"}),
            KeyError::AlgorithmUnknown,
        ),
        (
            json!({"kty": "EC"}),
            KeyError::MemberMissing { member: "crv" },
        ),
        (
            json!({"kty": "AKP", "pub": "AAAA"}),
            KeyError::AlgorithmMissing {
                kind: KeyKind::Other,
            },
        ),
        (
            json!({"kty": "AKP", "alg": "ML-DSA-99"}),
            KeyError::AlgorithmUnknown,
        ),
        (
            json!({"kty": "RSA", "n": "AAAA"}),
            KeyError::AlgorithmMissing { kind: KeyKind::Rsa },
        ),
    ] {
        assert_eq!(refusal(&json), error, "{json}");
    }
}

#[test]
fn jwt_010_a_point_off_the_curve_or_of_the_wrong_width_is_refused() {
    assert!(load(&p256()).is_ok());
    let (x, y) = (
        unbase64url(p256()["x"].as_str().unwrap()),
        unbase64url(p256()["y"].as_str().unwrap()),
    );
    let off_curve = KeyError::PointInvalid {
        kind: KeyKind::P256,
    };
    let mut other = y.clone();
    other[31] ^= 1;
    assert_eq!(refusal(&with(p256(), "y", base64url(&other))), off_curve);
    let zero = base64url(&[0; 32]);
    let infinity = with(with(p256(), "x", zero.clone()), "y", zero);
    assert_eq!(refusal(&infinity), off_curve);
    // A coordinate not reduced modulo the field's prime.
    assert_eq!(
        refusal(&with(p256(), "x", base64url(&[0xff; 32]))),
        off_curve
    );

    for (found, x) in [
        (31, x[1..].to_vec()),
        (33, [&[0], &x[..]].concat()),
        (33, [&x[..], &[0]].concat()),
        (0, vec![]),
    ] {
        let error = KeyError::MemberLength {
            member: "x",
            expected: 32,
            found,
        };
        assert_eq!(refusal(&with(p256(), "x", base64url(&x))), error);
    }
    let missing = json!({"kty": "EC", "crv": "P-256", "x": base64url(&x)});
    assert_eq!(refusal(&missing), KeyError::MemberMissing { member: "y" });
}

#[test]
fn jwt_004_jwt_010_the_algorithm_must_fit_the_curve() {
    for (alg, error) in [
        (
            "ES384",
            KeyError::AlgorithmMismatch {
                algorithm: Algorithm::Es384,
                kind: KeyKind::P256,
            },
        ),
        (
            "RS256",
            KeyError::AlgorithmMismatch {
                algorithm: Algorithm::Rs256,
                kind: KeyKind::P256,
            },
        ),
        (
            "HS256",
            KeyError::AlgorithmMismatch {
                algorithm: Algorithm::Hs256,
                kind: KeyKind::P256,
            },
        ),
        ("ES521", KeyError::AlgorithmUnknown),
        ("es256", KeyError::AlgorithmUnknown),
        ("none", KeyError::AlgorithmUnknown),
        ("", KeyError::AlgorithmUnknown),
        ("ECDH-ES", KeyError::AlgorithmUnknown),
    ] {
        assert_eq!(refusal(&with(p256(), "alg", alg)), error, "{alg}");
    }
    assert_eq!(
        load(&with(p256(), "alg", "ES256")).unwrap().algorithm(),
        Algorithm::Es256
    );
    assert_eq!(load(&p256()).unwrap().algorithm(), Algorithm::Es256);
}

#[test]
fn jwt_004_a_key_is_not_loaded_as_another_algorithm_of_its_family() {
    let jwk: Value = serde_json::from_str(RFC7515_A2).unwrap();
    let jwk = with(jwk, "alg", "RS256").to_string();
    let jwk = Jwk::from_json(jwk.as_bytes()).unwrap();
    for asked in [
        Algorithm::Ps256,
        Algorithm::Rs384,
        Algorithm::Es256,
        Algorithm::Hs256,
    ] {
        assert_eq!(
            VerifyingKey::from_jwk_as(&jwk, asked).unwrap_err(),
            KeyError::AlgorithmContradicts {
                key: Algorithm::Rs256,
                asked
            }
        );
    }
    assert!(VerifyingKey::from_jwk_as(&jwk, Algorithm::Rs256).is_ok());
}

#[test]
fn both_names_of_ed25519_are_one_algorithm() {
    let (old, new) = (Algorithm::EdDsa, Algorithm::Ed25519);
    assert!(old.accepts(new) && new.accepts(old) && old.accepts(old) && new.accepts(new));
    for algorithm in Algorithm::ALL {
        for other in Algorithm::ALL {
            let names = [old, new].contains(algorithm) && [old, new].contains(other);
            assert_eq!(algorithm.accepts(*other), algorithm == other || names);
        }
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(*algorithm));
    }
}

#[test]
fn jwt_011_private_members_are_dropped_and_never_shown_again() {
    let jwk = with(p256(), "d", P256_D);
    let jwk = Jwk::from_json(jwk.to_string().as_bytes()).unwrap();
    assert!(jwk.has_private_members());
    let key = VerifyingKey::from_jwk(&jwk).unwrap();
    for text in [
        jwk.to_json(),
        format!("{jwk:?}"),
        key.to_jwk().to_json(),
        format!("{key:?}"),
        serde_json::to_string(&jwk).unwrap(),
    ] {
        assert!(!text.contains(P256_D), "{text}");
        assert!(!text.contains("\"d\""), "{text}");
    }
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        // Whatever it holds: it is skipped, and it is noticed.
        for value in [json!("AAAA"), json!(7), json!([{"r": "AAAA"}]), Value::Null] {
            let jwk = with(p256(), member, value).to_string();
            let jwk = Jwk::from_json(jwk.as_bytes()).unwrap();
            assert!(jwk.has_private_members());
            assert_eq!(
                jwk.to_json(),
                Jwk::from_json(p256().to_string().as_bytes())
                    .unwrap()
                    .to_json()
            );
        }
    }
}

#[test]
fn jwt_012_a_jwk_for_something_else_never_verifies() {
    for (member, value, usable) in [
        ("use", json!("sig"), true),
        ("use", json!("enc"), false),
        ("use", json!("jwt-svid"), false),
        ("use", json!(""), false),
        ("key_ops", json!(["verify"]), true),
        ("key_ops", json!(["sign", "verify"]), true),
        ("key_ops", json!(["sign"]), false),
        ("key_ops", json!(["encrypt"]), false),
        ("key_ops", json!([]), false),
    ] {
        let jwk = with(p256(), member, value.clone());
        let parsed = Jwk::from_json(jwk.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.can_verify(), usable, "{jwk}");
        match usable {
            true => assert!(load(&jwk).is_ok()),
            false => {
                assert_eq!(refusal(&jwk), KeyError::UsageForbidden);
                let as_said = VerifyingKey::from_jwk_as(&parsed, Algorithm::Es256);
                assert_eq!(as_said.unwrap_err(), KeyError::UsageForbidden);
            }
        }
    }
}

#[test]
fn a_private_jwk_for_something_else_never_signs() {
    let private = with(p256(), "d", P256_D);
    for (member, value, usable) in [
        ("use", json!("enc"), false),
        ("key_ops", json!(["verify"]), false),
        ("key_ops", json!(["sign"]), true),
    ] {
        let json = with(private.clone(), member, value).to_string();
        let loaded = SigningKey::from_jwk(&secret(&json));
        assert_eq!(loaded.is_ok(), usable);
        assert!(usable || loaded.unwrap_err() == KeyError::UsageForbidden);
    }
}

#[test]
fn every_message_is_short_and_shows_nothing_of_the_input() {
    let canary = "CANARYcanary0123456789";
    for json in [
        json!({"kty": canary}),
        json!({"kty": "EC", "crv": canary}),
        with(p256(), "alg", canary),
        with(p256(), "use", canary),
        with(p256(), "x", format!("{canary}=")),
        with(p256(), "kid", canary.repeat(100)),
        json!({"kty": canary, canary: canary}),
    ] {
        let error = refusal(&json);
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.len() <= 512 && !text.contains("CANARY"), "{text}");
        }
    }
}
