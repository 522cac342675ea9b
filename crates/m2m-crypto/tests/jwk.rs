//! What a JWK may look like, and what a key may be.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use m2m_crypto::{
    Algorithm, Jwk, JwkError, KeyError, KeyFormat, KeyKind, SecretBytes, SigningKey, VerifyingKey,
};
use serde_json::{Value, json};
use support::{RFC7515_A2, base64url, secret, signing_key, unbase64url};

/// A valid P-256 key (RFC 7515 appendix A.3).
fn p256() -> Value {
    json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})
}

const P256_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk[member] = value.into();
    jwk
}

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
fn jwt_010_a_point_in_spki_that_is_off_the_curve_or_compressed_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512] {
        if !support::is_supported(algorithm) {
            continue;
        }
        let key = signing_key(algorithm);
        let good = key.verifying_key().to_spki_der().to_vec();
        assert!(VerifyingKey::from_spki_der(algorithm, &good).is_ok());
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        let error = KeyError::PointInvalid {
            kind: algorithm.key_kind(),
        };
        assert_eq!(
            VerifyingKey::from_spki_der(algorithm, &bad).unwrap_err(),
            error
        );
        // The first byte of the point: hybrid form, infinity, a compressed point of full length.
        let at = good.len() - key.signature_bytes() - 1;
        for first in [0, 2, 3, 5, 6, 7] {
            bad.clone_from(&good);
            bad[at] = first;
            assert_eq!(
                VerifyingKey::from_spki_der(algorithm, &bad).unwrap_err(),
                error
            );
        }
    }
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
fn pki_026_a_private_key_that_is_not_of_its_public_key_is_refused() {
    let good = with(p256(), "d", P256_D);
    assert!(SigningKey::from_jwk(&secret(&good.to_string())).is_ok());
    let mut other = unbase64url(P256_D);
    other[31] ^= 1;
    for (d, error) in [
        (other.clone(), KeyError::PartsMismatch),
        (vec![0; 32], KeyError::PartsMismatch),
        (vec![0xff; 32], KeyError::PartsMismatch),
        (
            other[1..].to_vec(),
            KeyError::MemberLength {
                member: "d",
                expected: 32,
                found: 31,
            },
        ),
        (
            [&[0], &other[..]].concat(),
            KeyError::MemberLength {
                member: "d",
                expected: 32,
                found: 33,
            },
        ),
    ] {
        let jwk = with(good.clone(), "d", base64url(&d)).to_string();
        assert_eq!(SigningKey::from_jwk(&secret(&jwk)).unwrap_err(), error);
    }
    let without = SigningKey::from_jwk(&secret(&p256().to_string()));
    assert_eq!(
        without.unwrap_err(),
        KeyError::MemberMissing { member: "d" }
    );

    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": base64url(&[7; 32])});
    let mismatch = SigningKey::from_jwk(&secret(&ed25519.to_string()));
    assert_eq!(mismatch.unwrap_err(), KeyError::PartsMismatch);
}

#[test]
fn pki_026_every_number_of_an_rsa_key_is_checked() {
    let good: Value = serde_json::from_str(RFC7515_A2).unwrap();
    for backend in support::backends() {
        let key = signing_key(Algorithm::Rs256);
        assert!(key.with_backend(backend).is_ok());
    }
    for member in ["n", "p", "q", "dp", "dq", "qi"] {
        let mut number = unbase64url(good[member].as_str().unwrap());
        let middle = number.len() / 2;
        number[middle] ^= 4;
        let jwk = with(good.clone(), member, base64url(&number)).to_string();
        let loaded = SigningKey::from_jwk_as(&secret(&jwk), Algorithm::Rs256);
        let error = loaded.unwrap_err();
        assert!(
            matches!(error, KeyError::PartsMismatch | KeyError::Rejected { .. }),
            "{member}: {error:?}"
        );
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(member);
        let loaded = SigningKey::from_jwk_as(&secret(&missing.to_string()), Algorithm::Rs256);
        assert_eq!(loaded.unwrap_err(), KeyError::MemberMissing { member });
    }
    let more = with(
        good.clone(),
        "oth",
        json!([{"r": "AA", "d": "AA", "t": "AA"}]),
    );
    let loaded = SigningKey::from_jwk_as(&secret(&more.to_string()), Algorithm::Rs256);
    assert_eq!(loaded.unwrap_err(), KeyError::MultiPrime);
}

#[test]
fn a_private_member_with_json_escapes_is_refused() {
    let escaped = with(p256(), "d", P256_D)
        .to_string()
        .replace("jpsQ", "\\u006apsQ");
    assert_eq!(
        SigningKey::from_jwk(&SecretBytes::new(escaped.into_bytes())).unwrap_err(),
        KeyError::Jwk(JwkError::Escaped { member: "d" })
    );
}

#[test]
fn the_numbers_of_an_rsa_public_key_are_bounded() {
    let n = unbase64url(
        serde_json::from_str::<Value>(RFC7515_A2).unwrap()["n"]
            .as_str()
            .unwrap(),
    );
    let rsa = |n: &[u8], e: &[u8]| {
        refusal(&json!({"kty": "RSA", "alg": "RS256", "n": base64url(n), "e": base64url(e)}))
    };
    let size = |bits| KeyError::ModulusSize {
        bits,
        min: 2048,
        max: 8192,
    };
    let e = [1, 0, 1];
    assert_eq!(rsa(&n[1..], &e), size(2040));
    let mut short = n.clone();
    short[0] = 0x7f;
    assert_eq!(rsa(&short, &e), size(2047));
    assert_eq!(rsa(&[0xff; 1025], &e), size(8200));
    let mut even = n.clone();
    even[255] &= 0xfe;
    assert_eq!(rsa(&even, &e), KeyError::ModulusEven);
    assert_eq!(rsa(&[], &e), KeyError::MemberNotMinimal { member: "n" });
    assert_eq!(
        rsa(&[&[0, 0], &n[..]].concat(), &e),
        KeyError::MemberNotMinimal { member: "n" }
    );
    for e in [
        &[1][..],
        &[2],
        &[0xff, 0xfe],
        &[2, 0, 0, 0, 1],
        &[1, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(rsa(&n, e), KeyError::ExponentInvalid, "{e:?}");
    }
    for e in [&[][..], &[0], &[0, 3]] {
        assert_eq!(
            rsa(&n, e),
            KeyError::MemberNotMinimal { member: "e" },
            "{e:?}"
        );
    }
    for e in [&[3][..], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
        let jwk = json!({"kty": "RSA", "alg": "RS256", "n": base64url(&n), "e": base64url(e)});
        let key = load(&jwk).unwrap();
        assert_eq!(
            support::on_every_backend(&key).len(),
            support::backends().len()
        );
    }
}

#[test]
fn one_sign_byte_before_an_rsa_modulus_is_no_other_key() {
    let jwk: Value = serde_json::from_str(RFC7515_A2).unwrap();
    let n = unbase64url(jwk["n"].as_str().unwrap());
    let signed = with(jwk.clone(), "n", base64url(&[&[0], &n[..]].concat()));
    let load_rsa = |jwk: &Value| {
        let jwk = Jwk::from_json(jwk.to_string().as_bytes()).unwrap();
        VerifyingKey::from_jwk_as(&jwk, Algorithm::Rs256).unwrap()
    };
    assert_eq!(load_rsa(&jwk).thumbprint(), load_rsa(&signed).thumbprint());
    assert_eq!(load_rsa(&signed).to_jwk().n(), Some(&n[..]));
}

#[test]
fn pem_must_have_exactly_one_key_of_the_right_sort() {
    let malformed = KeyError::Malformed {
        format: KeyFormat::Pem,
    };
    let key = signing_key(Algorithm::Es256);
    let public = key.verifying_key().to_pem();
    let private = key.to_pkcs8_pem();
    let private = String::from_utf8(private.expose_secret().to_vec()).unwrap();
    let verifying = |pem: &str| VerifyingKey::from_pem(Algorithm::Es256, pem.as_bytes());
    let signing = |pem: &str| SigningKey::from_pem(Algorithm::Es256, pem.as_bytes());

    assert!(verifying(&public).is_ok() && signing(&private).is_ok());
    assert!(verifying(&public.replace('\n', "\r\n")).is_ok());
    assert!(signing(&private.replace('\n', "\r\n")).is_ok());
    assert!(signing(private.trim_end()).is_ok());
    assert!(signing(&format!("{public}some words\n{private}")).is_ok());
    for pem in [
        "",
        "PUBLIC KEY",
        &private,
        &format!("{public}{public}"),
        &public[..100],
    ] {
        assert_eq!(verifying(pem).unwrap_err(), malformed, "{pem}");
    }
    for pem in [
        "",
        &public,
        &format!("{private}{private}"),
        &private[..100],
        &private.replace("END PRIVATE", "END PUBLIC"),
        &private.replacen('M', "!", 1),
        &private.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    ] {
        let error = signing(pem).unwrap_err();
        let empty = KeyError::Malformed {
            format: KeyFormat::Pkcs8,
        };
        assert!(error == malformed || error == empty, "{pem}: {error:?}");
    }
}

#[test]
fn der_with_something_behind_it_or_cut_off_is_refused() {
    for algorithm in support::signing_algorithms() {
        let key = signing_key(algorithm);
        let public = key.verifying_key().to_spki_der().to_vec();
        let private = key.to_pkcs8_der().expose_secret().to_vec();
        assert!(VerifyingKey::from_spki_der(algorithm, &public).is_ok());
        assert!(SigningKey::from_pkcs8_der(algorithm, &private).is_ok());
        let longer = |der: &[u8]| [der, &[0]].concat();
        assert!(VerifyingKey::from_spki_der(algorithm, &longer(&public)).is_err());
        assert!(SigningKey::from_pkcs8_der(algorithm, &longer(&private)).is_err());
        for cut in [0, 1, 2, 10, 30, public.len() - 1] {
            assert!(VerifyingKey::from_spki_der(algorithm, &public[..cut]).is_err());
        }
        for cut in [0, 1, 2, 10, 30, private.len() - 1] {
            assert!(SigningKey::from_pkcs8_der(algorithm, &private[..cut]).is_err());
        }
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
