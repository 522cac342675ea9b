//! Abuse of algorithms and keys: what a header says is compared with the key and never believed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;

use base64::Engine;
use m2m_crypto::{Algorithm, KeyError, MacKey, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, JwkSet, JwkSetError, KeySet, KeySetError, MintError, Minter, PolicyError,
    RemoteKeySet, Response, Scratch, SigningKeyRing, SkipReason, TokenRequest, TokenType,
    Unverified, Verifier, VerifyError,
};
use serde_json::{Value, json};
use support::*;

/// The public JWK of `key` under the name `k1`.
fn jwk(key: &SigningKey) -> Value {
    let jwk = key.verifying_key().to_jwk().with_kid("k1").unwrap();
    serde_json::from_str(&jwk.to_json()).unwrap()
}

fn parse(keys: &[Value]) -> Result<JwkSet, JwkSetError> {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn jwt_001_a_token_without_signature_is_refused_before_its_claims_are_read() {
    let bench = Bench::es256();
    let header = b64(r#"{"alg":"none","kid":"k1","typ":"at+jwt"}"#);
    // The empty signature already is no part; with one, `none` is no algorithm.
    assert_eq!(bench.code(&format!("{header}.{}.", b64("{}"))), "parts");
    // Not even base64: nobody looked at the claims.
    assert_eq!(
        bench.code(&format!("{header}.!!!.AAAA")),
        "algorithm_unknown"
    );
    let claims = claims().to_string();
    assert_eq!(
        bench.code(&format!("{header}.{}.AAAA", b64(claims))),
        "algorithm_unknown"
    );
}

#[test]
fn jwt_002_none_in_no_spelling_is_an_algorithm_however_well_the_token_is_signed() {
    let bench = Bench::es256();
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        " none",
        "\\u006eone",
        "non\\u0065",
        "none\\u0000",
    ] {
        let header = format!(r#"{{"alg":"{alg}","kid":"k1","typ":"at+jwt"}}"#);
        assert_eq!(bench.header_code(&header), "algorithm_unknown", "{alg}");
    }
}

#[test]
fn jwt_003_public_key_text_is_no_hmac_secret() {
    for algorithm in algorithms() {
        let key = key(algorithm);
        let public = key.verifying_key();
        let pem = public.to_pem();
        let der = public.to_spki_der();
        let mut forms = vec![
            pem.as_bytes().to_vec(),
            pem.trim_end().as_bytes().to_vec(),
            pem.replace('\n', "\r\n").into_bytes(),
            der.to_vec(),
            base64::engine::general_purpose::STANDARD
                .encode(&der)
                .into_bytes(),
            public.to_jwk().to_json().into_bytes(),
            json!({"keys": [jwk(&key)]}).to_string().into_bytes(),
        ];
        if let Some((x, y)) = public.to_jwk().x().zip(public.to_jwk().y()) {
            forms.push([&[4], x, y].concat());
        }
        let bench = Verifiers::of(set(&key));
        for form in &forms {
            for mac in MACS {
                let refused = MacKey::new(mac, secret(form)).map(|_| ());
                assert!(
                    matches!(
                        refused,
                        Err(KeyError::SecretIsPublic { .. } | KeyError::SecretLength { .. })
                    ),
                    "{algorithm} {mac} {}: {refused:?}",
                    String::from_utf8_lossy(form)
                );
            }
            // Somebody else's library takes it for a secret. The key here is still not for HMAC.
            let token = jsonwebtoken::encode(
                &jsonwebtoken::Header {
                    kid: Some("k1".into()),
                    typ: Some("at+jwt".into()),
                    ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
                },
                &claims(),
                &jsonwebtoken::EncodingKey::from_secret(form),
            )
            .unwrap();
            assert_eq!(bench.code(&token), "algorithm_mismatch", "{algorithm}");
        }
    }
}

#[test]
fn jwt_004_the_header_must_say_what_the_key_is_for() {
    for algorithm in algorithms() {
        let bench = Bench::new(algorithm);
        assert_eq!(bench.code(&bench.good()), "ok", "{algorithm}");
        for other in algorithms().into_iter().chain(MACS) {
            let expected = match algorithm.accepts(other) {
                true => "ok",
                false => "algorithm_mismatch",
            };
            let token = bench.header(header(other).to_string());
            assert_eq!(bench.code(&token), expected, "{algorithm} {other}");
        }
    }
    // The secret would do for each of the three; it is for the one it was made for.
    for algorithm in MACS {
        let secret = Arc::new(mac(algorithm));
        let verifiers = Verifiers::of(secret_set(&secret));
        for other in MACS {
            let token = sign(header(other).to_string(), claims().to_string(), &mac(other));
            let expected = match algorithm == other {
                true => "ok",
                false => "algorithm_mismatch",
            };
            assert_eq!(verifiers.code(&token), expected, "{algorithm} {other}");
        }
    }
}

#[test]
fn jwt_005_a_kid_does_not_lend_its_key_to_another_algorithm() {
    let (ec, rsa) = (key(Algorithm::Es256), key(Algorithm::Rs256));
    let keys = KeySet::new()
        .with_key("ec", ec.verifying_key().clone())
        .and_then(|keys| keys.with_key("rsa", rsa.verifying_key().clone()))
        .unwrap();
    let allowed = [Algorithm::Es256, Algorithm::Rs256];
    let verifiers = Verifiers::new(&keys, |keys| policy(keys).with_algorithms(&allowed));
    let token = |kid: &str, alg: &str, key: &SigningKey| {
        let header = json!({"alg": alg, "kid": kid, "typ": "at+jwt"});
        sign(header.to_string(), claims().to_string(), key)
    };
    assert_eq!(verifiers.code(&token("ec", "ES256", &ec)), "ok");
    assert_eq!(verifiers.code(&token("rsa", "RS256", &rsa)), "ok");
    let mismatch = "algorithm_mismatch";
    assert_eq!(verifiers.code(&token("ec", "RS256", &ec)), mismatch);
    assert_eq!(verifiers.code(&token("ec", "RS256", &rsa)), mismatch);
    assert_eq!(verifiers.code(&token("rsa", "ES256", &ec)), mismatch);
    let other = "algorithm_not_allowed";
    assert_eq!(verifiers.code(&token("rsa", "PS256", &rsa)), other);
}

#[test]
fn jwt_006_alg_must_be_there_and_be_a_name() {
    let bench = Bench::es256();
    let long = format!("\"{}\"", "A".repeat(4_000));
    let odd = header(Algorithm::Es256);
    for alg in [
        "null",
        "256",
        r#"["ES256"]"#,
        r#"{"a":1}"#,
        "true",
        r#""""#,
        &long,
    ] {
        assert_eq!(
            bench.header_code(with_raw(&odd, "alg", alg)),
            "header",
            "{alg}"
        );
    }
    assert_eq!(
        bench.header_code(without(&odd, "alg").to_string()),
        "header"
    );
    // 10 kB of it are more than any token has.
    let longer = format!("\"{}\"", "A".repeat(10_000));
    assert_eq!(
        bench.header_code(with_raw(&odd, "alg", &longer)),
        "too_long"
    );
}

#[test]
fn jwt_007_an_unknown_algorithm_is_no_reason_to_fetch_keys() {
    let key = key(Algorithm::Es256);
    let body = json!({"keys": [jwk(&key)]}).to_string();
    let mut remote = RemoteKeySet::new();
    let fetch = remote.poll_fetch(at(0)).unwrap();
    remote
        .handle_response(fetch.id(), &Response::new(body.as_bytes()), at(0))
        .unwrap();
    let quiet_until = remote.poll_timeout();
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, remote.keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .build()
    .unwrap();
    for kid in ["k1", "k2"] {
        for alg in ["ES256K", "HS1", "none", "RSA-OAEP", "\u{e9}"] {
            let header = json!({"alg": alg, "kid": kid, "typ": "at+jwt"});
            let token = sign(header.to_string(), claims().to_string(), &key);
            let mut scratch = m2m_token::Scratch::new();
            let error = verifier.verify(&token, at(1), &mut scratch).unwrap_err();
            assert_eq!(error, VerifyError::AlgorithmUnknown);
            // `KeyUnknown` alone asks for a fetch; here the loop of the application does nothing.
            if let VerifyError::KeyUnknown { .. } = error {
                remote.handle_unknown_key();
            }
        }
    }
    assert_eq!(remote.poll_timeout(), quiet_until);
    assert_eq!(remote.poll_fetch(at(60)), None);
}

#[test]
fn jwt_008_a_weak_secret_is_no_key() {
    for (algorithm, needed) in MACS.into_iter().zip([32, 48, 64]) {
        for length in 0..needed {
            let refused = MacKey::new(algorithm, secret(vec![7; length])).map(|_| ());
            let found = length;
            assert_eq!(refused, Err(KeyError::SecretLength { needed, found }));
        }
        let zero = MacKey::new(algorithm, secret(vec![0; needed])).map(|_| ());
        assert_eq!(zero, Err(KeyError::SecretZero));
        assert!(MacKey::new(algorithm, secret(vec![7; needed])).is_ok());
    }
}

#[test]
fn jwt_010_a_point_that_is_none_spoils_the_set() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384] {
        let good = jwk(&key(algorithm));
        assert_eq!(parse(std::slice::from_ref(&good)).unwrap().len(), 1);
        let x = unb64(good["x"].as_str().unwrap());
        let width = x.len();
        let mut other = x.clone();
        other[width - 1] ^= 1;
        let zero = vec![0; width];
        let longer = [&[0], &x[..]].concat();
        let ones = vec![0xff; width];
        let bad_x = [&x[1..], &longer, &other, &zero, &ones, &[]];
        for x in bad_x {
            let refused = parse(&[with(&good, "x", b64(x).into())]);
            assert!(
                matches!(refused, Err(JwkSetError::Key { index: 0, .. })),
                "{algorithm}: {refused:?}"
            );
        }
        // The point at infinity, in what some take for its coordinates.
        let infinity = with(&with(&good, "x", b64(&zero).into()), "y", b64(&zero).into());
        assert!(matches!(parse(&[infinity]), Err(JwkSetError::Key { .. })));
        for (member, value) in [("crv", "P-521"), ("crv", "P-256K"), ("crv", "Ed25519")] {
            let refused = parse(&[with(&good, member, value.into())]);
            assert!(refused.is_err(), "{algorithm} {value}: {refused:?}");
        }
        for alg in ["ES384", "ES256", "RS256", "HS256", "EdDSA"] {
            if alg != algorithm.name() {
                let refused = parse(&[with(&good, "alg", alg.into())]);
                assert!(
                    matches!(refused, Err(JwkSetError::Key { .. })),
                    "{algorithm} {alg}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn jwt_011_published_private_keys_are_not_used_and_never_published_again() {
    let good = jwk(&key(Algorithm::Es256));
    let private =
        |name: &str, value: &str| with(&with(&good, "kid", "leaked".into()), name, value.into());
    for (name, value) in [
        ("d", "AQAB"),
        ("p", "AQAB"),
        ("q", "AQAB"),
        ("dp", "AQAB"),
        ("dq", "AQAB"),
        ("qi", "AQAB"),
        ("k", "AQAB"),
        ("priv", "AQAB"),
    ] {
        let set = parse(&[good.clone(), private(name, value)]).unwrap();
        assert_eq!(set.len(), 1, "{name}");
        assert_eq!(set.skipped()[0].reason, SkipReason::PrivateKey, "{name}");
        assert!(!set.to_json().contains("leaked"), "{name}");
        assert!(!set.to_json().contains(value), "{name}");
        assert!(!format!("{set:?}").contains(value), "{name}");
        // Nothing else is in it: then it is no set.
        assert_eq!(
            parse(&[private(name, value)]).map(|_| ()),
            Err(JwkSetError::Empty { total: 1 })
        );
    }
    let rsa: Value = serde_json::from_str(RSA_JWK).unwrap();
    let set = parse(&[good, with(&rsa, "kid", "rsa".into())]).unwrap();
    assert_eq!(set.skipped()[0].reason, SkipReason::PrivateKey);
    assert!(!set.to_json().contains(rsa["d"].as_str().unwrap()));
}

#[test]
fn jwt_012_a_key_that_is_not_for_verifying_verifies_nothing() {
    let key = key(Algorithm::Es256);
    let good = jwk(&key);
    let other = with(&jwk(&support::key(Algorithm::Es256)), "kid", "k2".into());
    for (name, value) in [
        ("use", json!("enc")),
        ("use", json!("SIG")),
        ("use", json!("")),
        ("key_ops", json!([])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!(["encrypt", "wrapKey"])),
        ("key_ops", json!(["Verify"])),
    ] {
        let set = parse(&[other.clone(), with(&good, name, value.clone())]).unwrap();
        assert_eq!(set.len(), 1, "{name} {value}");
        assert_eq!(set.skipped()[0].reason, SkipReason::Usage, "{name} {value}");
        let verifiers = Verifiers::of(set.into_keys());
        let token = sign(
            header(Algorithm::Es256).to_string(),
            claims().to_string(),
            &key,
        );
        assert_eq!(verifiers.code(&token), "key_unknown", "{name} {value}");
    }
    // What cannot be understood is not taken for absent.
    for (name, value) in [
        ("use", json!(1)),
        ("key_ops", json!("verify")),
        ("key_ops", json!([1])),
        ("key_ops", json!(["verify", "verify"])),
    ] {
        let refused = parse(&[other.clone(), with(&good, name, value.clone())]);
        assert!(
            matches!(refused, Err(JwkSetError::Key { index: 1, .. })),
            "{name} {value}: {refused:?}"
        );
    }
    let sound = with(
        &with(&good, "use", json!("sig")),
        "key_ops",
        json!(["verify"]),
    );
    assert_eq!(parse(&[sound]).unwrap().len(), 1);
}

#[test]
fn jwt_013_two_keys_of_one_name_spoil_the_set_and_the_one_in_use_stays() {
    let (old, one, two) = (
        key(Algorithm::Es256),
        key(Algorithm::Es256),
        key(Algorithm::Es256),
    );
    let refused = JwkSetError::Set {
        index: 1,
        problem: KeySetError::DuplicateKeyId,
    };
    assert_eq!(
        parse(&[jwk(&one), jwk(&two)]).map(|_| ()),
        Err(refused.clone())
    );
    // Twice the same key is no better: whoever wrote that did not look.
    assert_eq!(parse(&[jwk(&one), jwk(&one)]).map(|_| ()), Err(refused));

    let mut remote = RemoteKeySet::new();
    let fetch = remote.poll_fetch(at(0)).unwrap();
    let body = json!({"keys": [jwk(&old)]}).to_string();
    remote
        .handle_response(fetch.id(), &Response::new(body.as_bytes()), at(0))
        .unwrap();
    let fetch = remote.poll_fetch(at(600)).unwrap();
    let body = json!({"keys": [jwk(&one), jwk(&two)]}).to_string();
    assert!(
        remote
            .handle_response(fetch.id(), &Response::new(body.as_bytes()), at(600))
            .is_err()
    );
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, remote.keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .build()
    .unwrap();
    let token = |key: &SigningKey| {
        let claims = with(&claims(), "exp", json!(START + 3000));
        sign(
            header(Algorithm::Es256).to_string(),
            claims.to_string(),
            key,
        )
    };
    let mut scratch = m2m_token::Scratch::new();
    assert!(verifier.verify(&token(&old), at(601), &mut scratch).is_ok());
    let error = verifier
        .verify(&token(&one), at(601), &mut scratch)
        .unwrap_err();
    assert_eq!(error, VerifyError::Signature);
}

#[test]
fn jwt_014_a_secret_in_a_published_set_is_no_key_and_policy_can_name_algorithms() {
    let public = with(&jwk(&key(Algorithm::Es256)), "kid", "ec".into());
    let oct =
        json!({"kty": "oct", "kid": "k1", "alg": "HS256", "use": "sig", "k": b64([0x5a; 64])});
    let set = parse(&[public, oct]).unwrap();
    assert_eq!(set.skipped()[0].reason, SkipReason::Secret);
    let token = sign(
        header(Algorithm::Hs256).to_string(),
        claims().to_string(),
        &mac(Algorithm::Hs256),
    );
    assert_eq!(Verifiers::of(set.into_keys()).code(&token), "key_unknown");

    // A set that was mixed on purpose, and a policy that names only the one kind.
    let ec = key(Algorithm::Es256);
    let mixed = secret_set(&Arc::new(mac(Algorithm::Hs256)))
        .with_key("ec", ec.verifying_key().clone())
        .unwrap();
    assert_eq!(Verifiers::of(mixed.clone()).code(&token), "ok");
    let asymmetric = Verifiers::new(&mixed, |keys| {
        policy(keys).with_algorithms(&[Algorithm::Es256])
    });
    assert_eq!(asymmetric.code(&token), "algorithm_not_allowed");
    let header = json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"});
    let good = sign(header.to_string(), claims().to_string(), &ec);
    assert_eq!(asymmetric.code(&good), "ok");
}

/// That these types cannot be confused is compiled in the documentation of `KeySet` and
/// `SigningKeyRing`; here is what the ways that do compile come to.
#[test]
fn jwt_015_a_public_key_signs_nothing_and_a_secret_is_no_public_key() {
    let hour = std::time::Duration::from_secs(3600);
    let pair = key(Algorithm::Es256);
    let ring = SigningKeyRing::external(pair.verifying_key().clone(), hour).unwrap();
    let ring = Arc::new(ring);
    let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap();
    let request = TokenRequest::new(BILLING, ORDERS, hour);
    // The ring has only the public key: whoever has the private one must sign.
    let minted = minter.mint(&request, at(0), &SystemRandom);
    assert_eq!(minted, Err(MintError::External));
    let prepare = || minter.prepare(&request, at(0), &SystemRandom).unwrap();
    let (prepared, stranger) = (prepare(), key(Algorithm::Es256));
    let forged = stranger.signature(prepared.signing_input());
    let refused = MintError::Attach {
        algorithm: Algorithm::Es256,
    };
    assert_eq!(minter.attach(prepared, &forged), Err(refused));
    // Nor is the signature of another token good for this one.
    let other = pair.signature(prepare().signing_input());
    assert_eq!(minter.attach(prepare(), &other), Err(refused));
    for length in [0, 63, 65] {
        assert_eq!(minter.attach(prepare(), &vec![1; length]), Err(refused));
    }
    let prepared = prepare();
    assert_eq!(prepared.algorithm(), Algorithm::Es256);
    assert_eq!(prepared.key_id(), &*ring.states()[0].0);
    assert!(!format!("{prepared:?}").contains("eyJ"));
    let signature = pair.signature(prepared.signing_input());
    let token = minter.attach(prepared, &signature).unwrap();
    let keys = ring.verifying_keys().load_full();
    assert_eq!(Verifiers::of((*keys).clone()).code(&token), "ok");
    // A secret is among the verifying keys of its ring, and never among the public ones.
    let ring = SigningKeyRing::secret("k1", mac(Algorithm::Hs256), hour).unwrap();
    assert_eq!(ring.verifying_keys().load().public_keys().count(), 0);
    assert!(ring.jwk_set().is_empty());
}

/// That no way leads from `Unverified` to `Verified` is compiled in the documentation of `Verified`.
#[test]
fn jwt_016_what_anybody_may_have_written_is_another_type_and_says_so() {
    let bench = Bench::es256();
    let forged = sign(
        header(Algorithm::Es256).to_string(),
        with(&claims(), "sub", "spiffe://example.org/admin".into()).to_string(),
        &key(Algorithm::Es256),
    );
    let mut scratch = Scratch::new();
    let unverified = Unverified::danger_decode(&forged, &mut scratch).unwrap();
    assert_eq!(unverified.key_id(), Some("k1"));
    assert_eq!(unverified.token_type(), Some("at+jwt"));
    assert_eq!(unverified.algorithm(), Algorithm::Es256);
    // The claims are there to be shown, under a name that is easily found.
    let shown = unverified.danger_claims();
    assert_eq!(shown.subject(), Some("spiffe://example.org/admin"));
    assert!(!format!("{unverified:?} {shown:?}").contains("admin"));
    // Reading it makes it no more genuine, nor does the memory it was read in.
    for verifier in bench.verifiers.each() {
        assert!(Unverified::danger_decode(&forged, &mut scratch).is_ok());
        let refused = verifier.verify(&forged, at(0), &mut scratch).map(|_| ());
        assert_eq!(refused, Err(VerifyError::Signature));
    }
}

#[test]
fn jwt_017_a_verifier_is_not_built_without_issuer_audience_type_and_algorithms() {
    let keys = || set(&key(Algorithm::Es256));
    let build = |issuers, audience, token_type| {
        Verifier::builder(issuers, audience, token_type)
            .build()
            .map(|_| ())
    };
    let (issuers, audience) = (
        || Issuers::one(ISSUER, keys()),
        || Audience::exactly(ORDERS),
    );
    let typ = TokenType::access_token;
    assert_eq!(
        build(Issuers::one("", keys()), audience(), typ()),
        Err(PolicyError::IssuerEmpty)
    );
    assert_eq!(
        build(issuers().and("", keys()), audience(), typ()),
        Err(PolicyError::IssuerEmpty)
    );
    assert_eq!(
        build(issuers().and(ISSUER, keys()), audience(), typ()),
        Err(PolicyError::IssuerTwice {
            name: ISSUER.into()
        })
    );
    assert_eq!(
        build(issuers(), Audience::exactly(""), typ()),
        Err(PolicyError::AudienceEmpty)
    );
    assert_eq!(
        build(issuers(), audience().or(""), typ()),
        Err(PolicyError::AudienceEmpty)
    );
    assert_eq!(
        build(issuers(), audience(), TokenType::named("")),
        Err(PolicyError::TypeEmpty)
    );
    let none = policy(keys()).with_algorithms(&[]).build().map(|_| ());
    assert_eq!(none, Err(PolicyError::NoAlgorithms));
    let leeway = m2m_token::VerifierBuilder::MAX_LEEWAY + std::time::Duration::from_secs(1);
    assert!(matches!(
        policy(keys()).with_leeway(leeway).build(),
        Err(PolicyError::LeewayTooLong { .. })
    ));
    assert_eq!(build(issuers(), audience(), typ()), Ok(()));
}
