//! Examples that standards print, and tokens and key sets that others made.
//!
//! RFC 7515 and RFC 8037 stand here; the larger collections are looked for with `m2m_testkit`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;

use m2m_crypto::{Algorithm, Jwk, MacKey, SigningKey, VerifyingKey};
use m2m_testkit::vectors;
use m2m_token::{
    Audience, Issuers, JwkSet, JwkSetOptions, KeySet, Scratch, SkipReason, TokenType, Verifier,
};
use m2m_types::Timestamp;
use serde_json::{Value, json};
use support::jws::Keys;
use support::{RSA_JWK, backends, secret};

/// `exp` of the examples in RFC 7515 and RFC 7519.
const EXP: u64 = 1_300_819_380;

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

/// What a verifier of `issuer`'s tokens says, with the keys on every library that takes them.
fn codes(keys: &KeySet, issuer: &str, token: &str, now: Timestamp) -> Vec<&'static str> {
    let mut scratch = Scratch::new();
    let keys = backends()
        .into_iter()
        .filter_map(|backend| keys.clone().with_backend(backend).ok());
    let codes: Vec<_> = keys
        .map(|keys| {
            let verifier = Verifier::builder(
                Issuers::one(issuer, keys),
                Audience::danger_ignored(),
                TokenType::jwt_or_absent(),
            )
            .danger_accepting_no_expiry()
            .build()
            .unwrap();
            match verifier.verify(token, now, &mut scratch) {
                Ok(verified) => {
                    assert_eq!(verified.issuer(), Some(issuer));
                    "ok"
                }
                Err(error) => error.code(),
            }
        })
        .collect();
    assert!(!codes.is_empty());
    codes
}

#[track_caller]
fn assert_codes(keys: &KeySet, issuer: &str, token: &str, now: Timestamp, code: &str) {
    let codes = codes(keys, issuer, token, now);
    assert!(codes.iter().all(|found| *found == code), "{codes:?}");
}

/// The examples of RFC 7515 have these claims, line breaks and all.
const RFC7515_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

const A1_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

const A3_JWK: &str = r#"{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[test]
fn rfc_7515_appendix_a_1_to_a_3_and_a_5() {
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": A1_SECRET}).to_string();
    let a1 = MacKey::from_jwk(&secret(jwk)).unwrap();
    let a1 = KeySet::new().with_unnamed_secret(Arc::new(a1)).unwrap();
    let a2 = SigningKey::from_jwk_as(&secret(RSA_JWK), Algorithm::Rs256).unwrap();
    let a2 = KeySet::new()
        .with_unnamed_key(a2.verifying_key().clone())
        .unwrap();
    let a3 = VerifyingKey::from_jwk(&Jwk::from_json(A3_JWK.as_bytes()).unwrap()).unwrap();
    let a3 = KeySet::new().with_unnamed_key(a3).unwrap();
    let tokens = [
        (
            &a1,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            A1_SIGNATURE,
        ),
        (&a2, "eyJhbGciOiJSUzI1NiJ9", A2_SIGNATURE),
        (&a3, "eyJhbGciOiJFUzI1NiJ9", A3_SIGNATURE),
    ];
    for (keys, header, signature) in tokens {
        let token = format!("{header}.{RFC7515_CLAIMS}.{signature}");
        assert_codes(keys, "joe", &token, time(EXP - 1), "ok");
        assert_codes(keys, "joe", &token, time(EXP), "expired");
        for (other, _, _) in tokens
            .iter()
            .filter(|(other, _, _)| !std::ptr::eq(*other, keys))
        {
            assert_codes(other, "joe", &token, time(EXP - 1), "key_unknown");
        }
        // RFC 7519 §6.1: the same without a signature.
        let unsecured = format!("eyJhbGciOiJub25lIn0.{RFC7515_CLAIMS}.");
        assert_codes(keys, "joe", &unsecured, time(EXP - 1), "parts");
    }
}

#[test]
fn rfc_8037_appendix_a_4() {
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let keys = Keys::load(&jwk, &JwkSetOptions::new()).unwrap();
    let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for backend in backends() {
        let keys = keys.with_backend(backend).unwrap();
        assert_eq!(keys.check(jws), Ok(()));
        assert_eq!(keys.check(&jws.replace("hgyY", "hgyZ")), Err("signature"));
    }
}

/// Whether each library that takes the keys finds the JWS sound; they must agree.
#[track_caller]
fn check(keys: &Keys, jws: &str) -> Result<(), &'static str> {
    let mut checks = backends()
        .into_iter()
        .filter_map(|backend| keys.with_backend(backend))
        .map(|keys| keys.check(jws));
    let first = checks.next().expect("a library takes the key");
    assert!(checks.all(|check| check == first));
    first
}

#[test]
fn rfc_7520_cookbook() {
    let read = |name: &str| vectors::read_json(&format!("jwt/rfc7520-cookbook/{name}"));
    for (name, algorithm) in [
        ("jws/4_1.rsa_v15_signature.json", Algorithm::Rs256),
        ("jws/4_2.rsa-pss_signature.json", Algorithm::Ps384),
        ("jws/4_3.ecdsa_signature.json", Algorithm::Es512),
        (
            "jws/4_4.hmac-sha2_integrity_protection.json",
            Algorithm::Hs256,
        ),
        ("curve25519/jws.json", Algorithm::EdDsa),
    ] {
        let Some(example) = read(name) else { return };
        let options = JwkSetOptions::new().with_rsa_algorithm(algorithm);
        let loaded = Keys::load(&example["input"]["key"], &options);
        if algorithm == Algorithm::Es512 && backends().len() == 1 {
            assert!(loaded.is_err(), "ring has no ES512");
            continue;
        }
        let keys = loaded.unwrap();
        let jws = example["output"]["compact"].as_str().unwrap();
        assert_eq!(check(&keys, jws), Ok(()), "{name}");
        // Another header, payload or signature is another JWS.
        for at in [3, jws.len() / 2, jws.len() - 10] {
            let other = if &jws[at..=at] == "A" { "B" } else { "A" };
            let changed = format!("{}{other}{}", &jws[..at], &jws[at + 1..]);
            assert!(check(&keys, &changed).is_err(), "{name} {at}");
        }
    }
    // A payload sent elsewhere is no payload here; one that is not encoded is refused.
    let Some(detached) = read("jws/4_5.signature_with_detached_content.json") else {
        return;
    };
    let keys = Keys::load(&detached["input"]["key"], &JwkSetOptions::new()).unwrap();
    let jws = detached["output"]["compact"].as_str().unwrap();
    assert_eq!(check(&keys, jws), Err("parts"));
    let Some(plain) = read("rfc7797/hmac-sha2_b64_false.json") else {
        return;
    };
    let jwk = &plain["input"]["key"];
    let keys = Keys::load(jwk, &JwkSetOptions::new()).unwrap();
    let jws = plain["output"]["compact"].as_str().unwrap();
    assert_eq!(check(&keys, jws), Err("header"));
}

#[test]
fn rfc_9964_ml_dsa() {
    let Some(examples) = vectors::read_json("jwt/rfc9964-mldsa/rfc9964_jose.json") else {
        return;
    };
    for example in examples.as_array().unwrap() {
        let algorithm = example["jwk"]["alg"].as_str().unwrap();
        match Keys::load(&example["jwk"], &JwkSetOptions::new()) {
            Ok(keys) => {
                assert_eq!(keys.len(), 1);
                let jws = example["jws"].as_str().unwrap();
                assert_eq!(check(&keys, jws), Ok(()), "{algorithm}");
                let changed = jws.replacen("SXTigJlz", "SXTigJlA", 1);
                assert_eq!(check(&keys, &changed), Err("signature"), "{algorithm}");
                println!("{algorithm}: verified");
            }
            // Not with ring; with aws-lc-rs as far as it is stable there.
            Err(refused) => {
                assert_eq!(refused, "none of the 1 keys in the set can be used here");
                println!("{algorithm}: not supported by this build");
            }
        }
    }
}

#[test]
fn tokens_of_josekit() {
    let read = |name: &str| vectors::read(&format!("jwt/josekit-interop/{name}"));
    let public = |name: &str, algorithm| -> Option<KeySet> {
        let jwk = read(&format!("jwk/{name}"))?;
        let options = JwkSetOptions::new().with_rsa_algorithm(algorithm);
        let body = format!("{{\"keys\":[{jwk}]}}");
        JwkSet::parse_with(body.as_bytes(), &options)
            .ok()
            .map(JwkSet::into_keys)
    };
    let mut verified = 0;
    for algorithm in support::algorithms().into_iter().chain(support::MACS) {
        let name = algorithm.name();
        let keys = match name {
            "HS256" | "HS384" | "HS512" => {
                let jwk = read("jwk/oct_512bit_private.jwk");
                let Some(jwk) = jwk else { return };
                let key = MacKey::from_jwk_as(&secret(jwk), algorithm).unwrap();
                KeySet::new().with_unnamed_secret(Arc::new(key)).unwrap()
            }
            // The same tokens under the old name of the algorithm.
            "Ed25519" => continue,
            _ => {
                let file = match name {
                    "ES256" => "EC_P-256_public.jwk",
                    "ES384" => "EC_P-384_public.jwk",
                    "ES512" => "EC_P-521_public.jwk",
                    "EdDSA" => "OKP_Ed25519_public.jwk",
                    _ => "RSA_public.jwk",
                };
                let Some(keys) = public(file, algorithm) else {
                    return;
                };
                keys
            }
        };
        let Some(token) = read(&format!("{name}.jwt")) else {
            return;
        };
        let token = token.trim_end();
        assert_codes(&keys, "joe", token, time(EXP - 1), "ok");
        assert_codes(&keys, "joe", token, time(EXP), "expired");
        assert_codes(&keys, "jo", token, time(EXP - 1), "issuer_unknown");
        verified += 1;
    }
    assert!(verified >= 12, "{verified}");
    // What nothing here verifies, or opens.
    let Some(keys) = public("EC_P-256_public.jwk", Algorithm::Rs256) else {
        return;
    };
    for (name, code) in [
        ("ES256K", "algorithm_unknown"),
        ("RSA-OAEP_A256GCM", "header"),
        ("RSA-OAEP-256_A128CBC-HS256_DEF", "header"),
        ("RSA1_5_A128CBC-HS256", "header"),
    ] {
        let Some(token) = read(&format!("{name}.jwt")) else {
            return;
        };
        assert_codes(&keys, "joe", token.trim_end(), time(EXP - 1), code);
    }
}

#[test]
fn tokens_and_keys_of_node_deno_and_bun() {
    let mut verified = 0;
    for runtime in ["node", "deno", "bun"] {
        let name = format!("jwt/jwt-simple-realworld/{runtime}.json");
        let Some(file) = vectors::read_json(&name) else {
            return;
        };
        let issuer = file["runtime"].as_str().unwrap();
        for (name, key) in file["keys"].as_object().unwrap() {
            let body = json!({"keys": [key["public"]]}).to_string();
            let set = JwkSet::parse(body.as_bytes());
            let usable = set.as_ref().is_ok_and(|set| set.len() == 1);
            let Some(token) = key["jwt"].as_str() else {
                let signs = name.starts_with("ML-DSA");
                assert!(!usable || signs, "{runtime} {name} is not for signatures");
                continue;
            };
            if !usable {
                assert!(name.starts_with("ML-DSA"), "{runtime} {name}: {set:?}");
                continue;
            }
            let keys = set.unwrap().into_keys();
            assert_codes(&keys, issuer, token, time(EXP), "ok");
            // Without the permission they are refused: they never end.
            let strict = Verifier::builder(
                Issuers::one(issuer, keys),
                Audience::danger_ignored(),
                TokenType::jwt(),
            )
            .build()
            .unwrap();
            let mut scratch = Scratch::new();
            let refused = strict.verify(token, time(EXP), &mut scratch);
            assert_eq!(refused.unwrap_err().code(), "claim_missing");
            verified += 1;
        }
    }
    assert!(verified >= 15, "{verified}");
}

#[test]
fn key_sets_of_paypal_and_yahoo() {
    for (name, taken, skipped) in [
        (
            "paypal_jwks",
            &["RS256", "RS256", "ES256", "PS256"][..],
            &[(3, SkipReason::Unsupported)][..],
        ),
        ("yahoo_jwks", &["ES256"], &[(0, SkipReason::TooWeak)]),
    ] {
        let file = format!("jwt/jwt-simple-realworld/{name}.json");
        let Some(text) = vectors::read(&file) else {
            return;
        };
        for backend in backends() {
            let options = JwkSetOptions::new().with_backend(backend);
            let set = JwkSet::parse_with(text.as_bytes(), &options).unwrap();
            let mut found: Vec<_> = set
                .keys()
                .public_keys()
                .map(|(_, key)| key.algorithm().name())
                .collect();
            let mut expected = taken.to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{name}");
            let passed: Vec<_> = set
                .skipped()
                .iter()
                .map(|key| (key.index, key.reason.clone()))
                .collect();
            assert_eq!(passed, skipped, "{name}");
            let again = JwkSet::parse(set.to_json().as_bytes()).unwrap();
            assert_eq!(again.to_json(), set.to_json());
        }
    }
}

#[test]
fn proofs_and_workload_tokens_of_others_are_not_access_tokens() {
    let bench = support::Bench::es256();
    let mut tokens = Vec::new();
    for file in ["jwt/rfc9449-dpop/examples.json", "jwt/wimse/wit_wpt.json"] {
        let Some(value) = vectors::read_json(file) else {
            return;
        };
        collect(&value, &mut tokens);
        assert!(!tokens.is_empty(), "{file}");
    }
    assert!(tokens.len() >= 4, "{}", tokens.len());
    for token in &tokens {
        let code = bench.code(token);
        assert!(["type", "claim_missing"].contains(&code), "{code} {token}");
    }
}

/// Every string that looks like a token.
fn collect(value: &Value, tokens: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with("eyJ") && text.split('.').count() == 3 => {
            tokens.push(text.clone());
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, tokens)),
        Value::Object(map) => map.values().for_each(|value| collect(value, tokens)),
        _ => {}
    }
}
