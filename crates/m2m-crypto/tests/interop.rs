//! Keys and signatures that others made.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that panics has failed; a skipped one must be heard of"
)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, Jwk, KeyError, MacKey, SigningKey, VerifyingKey};
use m2m_testkit::vectors;
use serde_json::Value;
use support::{is_supported, secret, sign, split, verifies};

fn jwk(value: &Value) -> Jwk {
    Jwk::from_json(value.to_string().as_bytes()).unwrap()
}

/// The key `jwk` is, asymmetric or not; whether `jws` is valid under it.
fn accepts(jwk_value: &Value, jws: &str) -> Result<bool, KeyError> {
    if jws.split('.').count() != 3 {
        return Ok(false);
    }
    let (header, signed, signature) = split(jws);
    let algorithm = Algorithm::from_name(header["alg"].as_str().unwrap());
    let algorithm = algorithm.ok_or(KeyError::AlgorithmUnknown)?;
    if jwk_value["kty"] == "oct" {
        let key = MacKey::from_jwk_as(&secret(&jwk_value.to_string()), algorithm)?;
        return Ok(key.verify(signed, &signature).is_ok());
    }
    let key = VerifyingKey::from_jwk_as(&jwk(jwk_value), algorithm)?;
    Ok(verifies(&key, signed, &signature))
}

/// `json_web_key_test` and the JWS part of `json_web_crypto_test`: one key at a time, as this crate
/// knows no sets.
#[test]
fn wycheproof_json_web_keys() {
    // Our answer is theirs, but for:
    let exceptions = [
        // The set of keys is ambiguous: for whoever chooses from a set.
        ("json_web_key_test", 1, "mixed key set"),
        ("json_web_key_test", 4, "duplicate kid"),
        ("json_web_crypto_test", 47, "mixed key set"),
    ];
    for (file, expected_total) in [("json_web_key_test", 26), ("json_web_crypto_test", 48)] {
        let Some(tests) = vectors::read_json(&format!("jwt/wycheproof/{file}.json")) else {
            return;
        };
        let mut total = 0;
        for group in tests["testGroups"].as_array().unwrap() {
            let keys = group.get("public").unwrap_or(&group["private"]);
            // Some are JSON in a string.
            let keys: Value = match keys.as_str() {
                Some(text) => serde_json::from_str(text).unwrap(),
                None => keys.clone(),
            };
            let keys = match keys.get("keys") {
                Some(keys) => keys.as_array().unwrap().clone(),
                None => vec![keys],
            };
            for test in group["tests"].as_array().unwrap() {
                let Some(jws) = test["jws"].as_str() else {
                    continue; // encryption
                };
                total += 1;
                let id = test["tcId"].as_u64().unwrap();
                let valid = keys.iter().any(|key| accepts_quietly(key, jws));
                let listed = exceptions.iter().any(|(f, tc, _)| *f == file && *tc == id);
                let same = valid == (test["result"] == "valid");
                assert_eq!(same, !listed, "{file} {id}: {}", test["comment"]);
            }
        }
        assert_eq!(total, expected_total, "{file}");
    }
}

/// Tokens in these files may be too broken to split; that is a refusal too.
fn accepts_quietly(key: &Value, jws: &str) -> bool {
    let mut parts = jws.split('.').map(|part| URL_SAFE_NO_PAD.decode(part));
    let (Some(Ok(header)), true) = (parts.next(), parts.all(|part| part.is_ok())) else {
        return false;
    };
    let header: Option<Value> = serde_json::from_slice(&header).ok();
    header.is_some_and(|header| header["alg"].is_string()) && accepts(key, jws).unwrap_or(false)
}

#[test]
fn rfc_7515_7519_7638_8037_appendices() {
    let Some(cases) = vectors::read_json("jwt/rfc-appendix/rfc7515_7519_7638_8037.json") else {
        return;
    };
    let mut checked = 0;
    for case in cases.as_array().unwrap() {
        if let Some(jws) = case["jws"].as_str() {
            match accepts(&case["jwk"], jws) {
                Ok(valid) => assert!(valid, "{}", case["source"]),
                Err(error) => assert_eq!(case["alg"], "none", "{}: {error}", case["source"]),
            }
            checked += 1;
        }
        if let Some(thumbprint) = case["thumbprint"].as_str() {
            assert_eq!(
                thumbprint_of(&case["jwk"]),
                thumbprint,
                "{}",
                case["source"]
            );
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

fn thumbprint_of(value: &Value) -> String {
    let jwk = jwk(value);
    VerifyingKey::from_jwk(&jwk)
        .or_else(|_| VerifyingKey::from_jwk_as(&jwk, Algorithm::Rs256))
        .unwrap()
        .thumbprint()
        .to_string()
}

/// JWT-107: `kid` by RFC 7638, for each kind of key.
#[test]
fn jwt_107_thumbprints_are_those_of_the_rfcs() {
    // RFC 7638 §3.1
    let rsa = serde_json::json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"});
    assert_eq!(
        thumbprint_of(&rsa),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    // RFC 8037 appendix A.3
    let okp = serde_json::json!({"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(
        thumbprint_of(&okp),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    // RFC 9449 §4.2, the key of its examples and §6.1, its jkt
    let ec = serde_json::json!({"kty": "EC", "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
    assert_eq!(
        thumbprint_of(&ec),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    );
}

#[test]
#[cfg(feature = "aws-lc-rs")]
fn rfc_9964_ml_dsa() {
    let Some(cases) = vectors::read_json("jwt/rfc9964-mldsa/rfc9964_jose.json") else {
        return;
    };
    for case in cases.as_array().unwrap() {
        let jwk_value = &case["jwk"];
        let public = jwk(jwk_value);
        let key = VerifyingKey::from_jwk(&public).unwrap();
        assert_eq!(
            key.thumbprint().to_string(),
            jwk_value["kid"].as_str().unwrap()
        );
        let (_, signed, signature) = split(case["jws"].as_str().unwrap());
        assert!(verifies(&key, signed, &signature));
        let signer = SigningKey::from_jwk(&secret(&jwk_value.to_string())).unwrap();
        assert_eq!(signer.verifying_key().thumbprint(), key.thumbprint());
        assert!(verifies(&key, b"message", &sign(&signer, b"message")));
    }
}

#[test]
fn rfc_7520_keys_and_signatures() {
    for (file, algorithm) in [
        ("4_1.rsa_v15_signature", Algorithm::Rs256),
        ("4_2.rsa-pss_signature", Algorithm::Ps384),
        ("4_3.ecdsa_signature", Algorithm::Es512),
        ("4_4.hmac-sha2_integrity_protection", Algorithm::Hs256),
    ] {
        let Some(case) = vectors::read_json(&format!("jwt/rfc7520-cookbook/jws/{file}.json"))
        else {
            return;
        };
        if !is_supported(algorithm) {
            continue;
        }
        let jws = case["output"]["compact"].as_str().unwrap();
        assert_eq!(accepts(&case["input"]["key"], jws), Ok(true), "{file}");
        if !algorithm.is_symmetric() {
            let json = secret(&case["input"]["key"].to_string());
            let signer = SigningKey::from_jwk_as(&json, algorithm).unwrap();
            let signature = sign(&signer, b"message");
            assert!(verifies(signer.verifying_key(), b"message", &signature));
        }
    }
    let Some(case) = vectors::read_json("jwt/rfc7520-cookbook/curve25519/jws.json") else {
        return;
    };
    let jws = case["output"]["compact"].as_str().unwrap();
    assert_eq!(accepts(&case["input"]["key"], jws), Ok(true));
}

#[test]
fn josekit_keys_and_tokens() {
    let folder = "jwt/josekit-interop";
    let read = |name: &str| vectors::read(&format!("{folder}/{name}"));
    let mut checked = 0;
    for (token, key) in [
        ("ES256", "EC_P-256"),
        ("ES384", "EC_P-384"),
        ("ES512", "EC_P-521"),
        ("EdDSA", "OKP_Ed25519"),
        ("RS256", "RSA"),
        ("RS384", "RSA"),
        ("RS512", "RSA"),
        ("PS256", "RSA"),
        ("PS384", "RSA"),
        ("PS512", "RSA"),
    ] {
        let algorithm = Algorithm::from_name(token).unwrap();
        let (Some(jws), Some(public), Some(private)) = (
            read(&format!("{token}.jwt")),
            read(&format!("jwk/{key}_public.jwk")),
            read(&format!("jwk/{key}_private.jwk")),
        ) else {
            return;
        };
        if !is_supported(algorithm) {
            continue;
        }
        let public: Value = serde_json::from_str(&public).unwrap();
        assert_eq!(accepts(&public, jws.trim()), Ok(true), "{token}");
        let signer = SigningKey::from_jwk_as(&secret(&private), algorithm).unwrap();
        let verifier = VerifyingKey::from_jwk_as(&jwk(&public), algorithm).unwrap();
        assert_eq!(signer.verifying_key().thumbprint(), verifier.thumbprint());
        assert!(verifies(&verifier, b"message", &sign(&signer, b"message")));
        checked += 1;
    }
    assert!(checked >= 9);
    for foreign in ["EC_secp256k1", "OKP_Ed448", "OKP_X25519", "OKP_X448"] {
        let public = read(&format!("jwk/{foreign}_public.jwk")).unwrap();
        let public: Value = serde_json::from_str(&public).unwrap();
        assert!(matches!(
            VerifyingKey::from_jwk(&jwk(&public)),
            Err(KeyError::AlgorithmUnknown)
        ));
    }
}

#[test]
fn keys_and_tokens_of_javascript_runtimes() {
    let mut checked = 0;
    for runtime in ["node", "deno", "bun"] {
        let Some(all) = vectors::read_json(&format!("jwt/jwt-simple-realworld/{runtime}.json"))
        else {
            return;
        };
        for (name, pair) in all["keys"].as_object().unwrap() {
            let Some(jws) = pair["jwt"].as_str() else {
                let loaded = VerifyingKey::from_jwk(&jwk(&pair["public"]));
                let signs = name.starts_with("ML-DSA") && support::TWO_BACKENDS;
                assert_eq!(loaded.is_ok(), signs, "{runtime} {name}");
                continue;
            };
            let (header, signed, signature) = split(jws);
            let algorithm = Algorithm::from_name(header["alg"].as_str().unwrap()).unwrap();
            if !is_supported(algorithm) {
                continue;
            }
            let Some(public) = pair.get("public") else {
                assert!(accepts(&pair["private"], jws).unwrap(), "{runtime} {name}");
                checked += 1;
                continue;
            };
            let key = VerifyingKey::from_jwk_as(&jwk(public), algorithm).unwrap();
            assert!(verifies(&key, signed, &signature), "{runtime} {name}");
            let json = secret(&pair["private"].to_string());
            let signer = SigningKey::from_jwk_as(&json, algorithm).unwrap();
            assert_eq!(signer.verifying_key().thumbprint(), key.thumbprint());
            assert!(verifies(&key, b"message", &sign(&signer, b"message")));
            checked += 1;
        }
    }
    assert!(checked >= 9, "{checked}");
}

#[test]
fn key_sets_as_paypal_and_yahoo_serve_them() {
    let answers = [
        // The first PayPal modulus has 2048 bits behind a sign byte, the P-256 key an extra member.
        (
            "paypal",
            [
                Ok("RS256"),
                Ok("RS256"),
                Ok("ES256"),
                Err("alg"),
                Ok("PS256"),
            ]
            .as_slice(),
        ),
        ("yahoo", [Err("modulus"), Ok("ES256")].as_slice()),
    ];
    for (name, answers) in answers {
        let Some(set) = vectors::read_json(&format!("jwt/jwt-simple-realworld/{name}_jwks.json"))
        else {
            return;
        };
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), answers.len());
        for (key, answer) in keys.iter().zip(answers) {
            match (VerifyingKey::from_jwk(&jwk(key)), answer) {
                (Ok(key), Ok(name)) => assert_eq!(key.algorithm().name(), *name),
                (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
                (loaded, answer) => panic!("{name}: {loaded:?}, not {answer:?}"),
            }
        }
    }
}

#[test]
fn keys_made_by_openssl() {
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl")
            .args(arguments)
            .output()
            .ok()?;
        output.status.success().then_some(output.stdout)
    };
    if openssl(&["version"]).is_none() {
        eprintln!("SKIPPED: no openssl");
        return;
    }
    for (arguments, algorithm) in [
        (
            &["genpkey", "-algorithm", "ED25519"][..],
            Algorithm::Ed25519,
        ),
        (
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ],
            Algorithm::Es256,
        ),
        (
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
            ],
            Algorithm::Es384,
        ),
        (
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-521",
            ],
            Algorithm::Es512,
        ),
        (
            &["ecparam", "-name", "prime256v1", "-genkey"],
            Algorithm::Es256,
        ), // SEC 1, parameters first
        (
            &[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
            ],
            Algorithm::Ps256,
        ),
        (&["genrsa", "-traditional", "2048"], Algorithm::Rs512), // PKCS#1
        (&["genpkey", "-algorithm", "ML-DSA-65"], Algorithm::MlDsa65), // seed and expanded key
    ] {
        if !is_supported(algorithm) {
            continue;
        }
        let Some(pem) = openssl(arguments) else {
            eprintln!("SKIPPED: this openssl has no {algorithm}");
            continue;
        };
        let key = SigningKey::from_pem(algorithm, &pem)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
        assert!(verifies(
            key.verifying_key(),
            b"message",
            &sign(&key, b"message")
        ));
    }
}
