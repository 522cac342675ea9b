//! JWK sets as issuers publish them, sound, odd and hostile.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use m2m_crypto::{Algorithm, KeyError};
use m2m_token::{JwkSet, JwkSetError, JwkSetOptions, KeySet, KeySetError, MAX_KEYS, SkipReason};
use serde_json::{Value, json};
use support::*;

fn jwk(algorithm: Algorithm, kid: &str) -> Value {
    let jwk = key(algorithm)
        .verifying_key()
        .to_jwk()
        .with_kid(kid)
        .unwrap();
    serde_json::from_str(&jwk.to_json()).unwrap()
}

fn parse(keys: &[Value]) -> Result<JwkSet, JwkSetError> {
    JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

/// Why each key that was not taken was not.
fn skipped(set: &JwkSet) -> Vec<(usize, &SkipReason)> {
    let of = set.skipped().iter();
    of.map(|key| (key.index, &key.reason)).collect()
}

#[test]
fn what_is_published_is_read_back_as_the_same_keys() {
    for algorithm in algorithms() {
        let pair = key(algorithm);
        let set = JwkSet::parse(
            json!({"keys": [jwk(algorithm, "other")]})
                .to_string()
                .as_bytes(),
        );
        assert!(set.is_ok(), "{algorithm}");
        let ring =
            m2m_token::SigningKeyRing::new(pair, std::time::Duration::from_secs(60)).unwrap();
        ring.publish(key(Algorithm::Es256), at(0)).unwrap();
        let published = ring.jwk_set().to_json();
        let read = JwkSet::parse(published.as_bytes()).unwrap();
        assert_eq!((read.len(), read.skipped().len()), (2, 0), "{algorithm}");
        assert_eq!(read.to_json(), published, "{algorithm}");
        assert_eq!(read.to_string(), published);
        let value: Value = serde_json::from_str(&published).unwrap();
        for key in value["keys"].as_array().unwrap() {
            // Public members, and nothing else.
            for name in key.as_object().unwrap().keys() {
                let public = ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e", "pub"];
                assert!(public.contains(&name.as_str()), "{name}");
            }
        }
    }
}

#[test]
fn a_shared_secret_is_never_published() {
    let hour = std::time::Duration::from_secs(3600);
    let ring = m2m_token::SigningKeyRing::secret("s", mac(Algorithm::Hs256), hour).unwrap();
    assert_eq!(ring.jwk_set().to_json(), "{\"keys\":[]}");
    assert_eq!(ring.verifying_keys().load().len(), 1);
}

#[test]
fn a_key_from_the_future_does_not_spoil_the_set() {
    let good = jwk(Algorithm::Es256, "good");
    let set = parse(&[
        json!({"kty": "AKP-9", "alg": "FROM-THE-FUTURE", "pub": "AAAA", "kid": "a"}),
        json!({"kty": "EC", "crv": "P-1024", "x": "AA", "y": "AA", "kid": "b"}),
        json!({"kty": "EC", "crv": "secp256k1", "alg": "ES256K", "x": "AA", "y": "AA", "kid": "c"}),
        json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32]), "kid": "d"}),
        json!({"kty": "OKP", "crv": "Ed448", "x": b64([9; 57]), "kid": "e"}),
        json!({"kty": "RSA", "alg": "RSA-OAEP", "n": b64([0xc1; 256]), "e": "AQAB", "kid": "f"}),
        with(&jwk(Algorithm::Es256, "h"), "use", "enc".into()),
        json!({"kty": "AKP", "alg": "ML-DSA-1024", "pub": "AAAA", "kid": "i"}),
        good.clone(),
    ])
    .unwrap();
    assert_eq!(set.len(), 1);
    let unsupported = [0, 1, 2, 3, 4, 5, 7].map(|index| (index, &SkipReason::Unsupported));
    let mut expected = unsupported.to_vec();
    expected.insert(6, (6, &SkipReason::Usage));
    assert_eq!(skipped(&set), expected);
    assert_eq!(set.skipped()[0].kid.unwrap().to_string(), "\"a\"");
    assert_eq!(set.keys().public_keys().next().unwrap().0, Some("good"));
}

#[test]
fn a_key_that_is_too_weak_is_passed_over_and_one_that_is_wrong_is_not() {
    let good = jwk(Algorithm::Es256, "good");
    let mut n = vec![0xc1; 128];
    n[127] = 1;
    let weak = json!({"kty": "RSA", "alg": "RS256", "n": b64(&n), "e": "AQAB", "kid": "weak"});
    let set = parse(&[weak, good.clone()]).unwrap();
    assert_eq!(skipped(&set), [(0, &SkipReason::TooWeak)]);

    let rsa = jwk(Algorithm::Rs256, "rsa");
    let n = unb64(rsa["n"].as_str().unwrap());
    for (name, value) in [
        ("e", b64([1])),
        ("e", b64([2])),
        ("e", b64([0])),
        ("e", b64([1, 0, 0])),
        ("e", b64([0, 1, 0, 1])),
        ("e", String::new()),
        ("e", b64([0xff; 9])),
        ("n", String::new()),
        ("n", b64([&n[..255], &[0]].concat())),
        ("n", b64([&[0, 0], &n[..]].concat())),
        ("n", format!("{}=", rsa["n"].as_str().unwrap())),
        ("n", rsa["n"].as_str().unwrap().replace('-', "+")),
        ("alg", "ES256".into()),
        ("kty", "EC".into()),
        ("kty", "OKP".into()),
    ] {
        let refused = parse(&[good.clone(), with(&rsa, name, value.clone().into())]);
        assert!(
            matches!(refused, Err(JwkSetError::Key { index: 1, .. })),
            "{name} {value}: {refused:?}"
        );
    }
    for name in ["n", "e"] {
        let refused = parse(&[good.clone(), without(&rsa, name)]).map(|_| ());
        let problem = KeyError::MemberMissing { member: name };
        assert_eq!(refused, Err(JwkSetError::Key { index: 1, problem }));
    }
    // One sign byte before n is seen in sets of large issuers, and means nothing.
    let signed = with(&rsa, "n", b64([&[0], &n[..]].concat()).into());
    let (plain, signed) = (parse(&[rsa]).unwrap(), parse(&[signed]).unwrap());
    assert_eq!(plain.to_json(), signed.to_json());
}

#[test]
fn rsa_keys_that_do_not_say_their_algorithm_get_one_and_no_more() {
    let rsa = without(&jwk(Algorithm::Rs256, "k1"), "alg");
    let body = json!({"keys": [rsa]}).to_string();
    for algorithm in [Algorithm::Rs256, Algorithm::Rs512, Algorithm::Ps256] {
        let options = JwkSetOptions::new().with_rsa_algorithm(algorithm);
        let set = JwkSet::parse_with(body.as_bytes(), &options).unwrap();
        let verifiers = Verifiers::of(set.into_keys());
        for other in [Algorithm::Rs256, Algorithm::Rs512, Algorithm::Ps256] {
            let token = sign(header(other).to_string(), claims().to_string(), &key(other));
            let expected = match other == algorithm {
                true => "ok",
                false => "algorithm_mismatch",
            };
            assert_eq!(verifiers.code(&token), expected, "{algorithm} {other}");
        }
    }
}

#[test]
fn a_key_without_name_is_taken_if_it_is_the_only_one() {
    let nameless = without(&jwk(Algorithm::Es256, "x"), "kid");
    assert_eq!(parse(std::slice::from_ref(&nameless)).unwrap().len(), 1);
    let set = parse(&[nameless, jwk(Algorithm::Es256, "good")]).unwrap();
    assert_eq!(skipped(&set), [(0, &SkipReason::Unnamed)]);
    let empty = parse(&[jwk(Algorithm::Es256, "")]).map(|_| ());
    let problem = KeySetError::KeyId { length: 0 };
    assert_eq!(empty, Err(JwkSetError::Set { index: 0, problem }));
    let longest = parse(&[with(
        &jwk(Algorithm::Es256, "x"),
        "kid",
        "k".repeat(256).into(),
    )]);
    assert!(longest.is_ok());
    let longer = parse(&[with(
        &jwk(Algorithm::Es256, "x"),
        "kid",
        "k".repeat(257).into(),
    )]);
    assert!(matches!(longer, Err(JwkSetError::Key { .. })));
    for kid in [json!(1), json!(null), json!([]), json!({})] {
        let refused = parse(&[with(&jwk(Algorithm::Es256, "x"), "kid", kid.clone())]);
        assert!(
            matches!(refused, Err(JwkSetError::Key { .. })),
            "{kid} {refused:?}"
        );
    }
}

#[test]
fn what_is_no_set_is_refused_with_the_reason() {
    for form in [
        "",
        " ",
        "null",
        "[]",
        "\"keys\"",
        "{}",
        "{\"keys\":null}",
        "{\"keys\":{}}",
        "{\"keys\":\"\"}",
        "{\"Keys\":[]}",
        "{\"keys\":[]",
        "{\"keys\":[]}x",
        "{\"keys\":[]}{\"keys\":[]}",
        "{\"keys\":[],\"keys\":[]}",
        "{\"keys\":[,]}",
        "\u{feff}{\"keys\":[]}",
        "<html><body>Service unavailable</body></html>",
        "<?xml version=\"1.0\"?>",
        "404 page not found",
    ] {
        let refused = JwkSet::parse(form.as_bytes()).map(|_| ());
        assert!(
            matches!(refused, Err(JwkSetError::Form { .. })),
            "{form}: {refused:?}"
        );
    }
    let refused = JwkSet::parse(b"{\"keys\":[]}").map(|_| ());
    assert_eq!(refused, Err(JwkSetError::Empty { total: 0 }));
    let refused = JwkSet::parse(b"{\"keys\":[\xff]}").map(|_| ());
    assert!(matches!(refused, Err(JwkSetError::Form { .. })));
    for key in [
        "1",
        "null",
        "\"x\"",
        "[]",
        "{\"kty\":\"EC\",\"kty\":\"EC\"}",
        "{\"kty\":\"EC\",\"k\\u0074y\":\"EC\"}",
        "{\"x\":{\"a\":1,\"a\":1},\"kty\":\"x\"}",
        "{\"x\":\"\\ud800\",\"kty\":\"x\"}",
    ] {
        let text = format!("{{\"keys\":[{key}]}}");
        let refused = JwkSet::parse(text.as_bytes()).map(|_| ());
        assert!(
            matches!(
                refused,
                Err(JwkSetError::Json { index: 0, .. } | JwkSetError::Key { index: 0, .. })
            ),
            "{key}: {refused:?}"
        );
    }
    for key in [
        "{}",
        "{\"kid\":\"x\"}",
        "{\"kty\":1}",
        "{\"kty\":null}",
        "{\"kty\":\"\"}",
    ] {
        let text = format!("{{\"keys\":[{key}]}}");
        let refused = JwkSet::parse(text.as_bytes()).map(|_| ());
        assert!(
            matches!(refused, Err(JwkSetError::Key { .. })),
            "{key}: {refused:?}"
        );
    }
    // Members beside `keys` are no business of ours (RFC 7517 §5).
    let good = jwk(Algorithm::Es256, "x");
    let text = json!({"keys": [good], "issuer": "x", "more": {"a": [1]}}).to_string();
    assert_eq!(JwkSet::parse(text.as_bytes()).unwrap().len(), 1);
}

#[test]
fn a_set_has_128_keys_and_half_a_megabyte_at_most() {
    let good = jwk(Algorithm::Es256, "x");
    let named = |count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| with(&good, "kid", format!("k{at}").into()))
            .collect()
    };
    assert_eq!(parse(&named(MAX_KEYS)).unwrap().len(), MAX_KEYS);
    for count in [MAX_KEYS + 1, 2_000] {
        let problem = KeySetError::TooManyKeys;
        let refused = parse(&named(count)).map(|_| ());
        assert_eq!(
            refused,
            Err(JwkSetError::Set {
                index: MAX_KEYS,
                problem
            }),
            "{count}"
        );
    }
    let long = format!("{}{{\"keys\":[]}}", " ".repeat(JwkSet::MAX_BYTES));
    assert_eq!(
        JwkSet::parse(long.as_bytes()).map(|_| ()),
        Err(JwkSetError::TooLong {
            length: long.len(),
            limit: JwkSet::MAX_BYTES
        })
    );
    let full = (0..MAX_KEYS).fold(KeySet::new(), |keys, at| {
        let key = key(Algorithm::Ed25519).verifying_key().clone();
        keys.with_key(&format!("k{at}"), key).unwrap()
    });
    let one_more = full.with_key("more", key(Algorithm::Ed25519).verifying_key().clone());
    assert_eq!(one_more.map(|_| ()), Err(KeySetError::TooManyKeys));
}

#[test]
fn a_refused_set_is_put_into_words_that_show_none_of_it() {
    let marker = "SECRETSECRETSECRETSECRET";
    for text in [
        format!("{{\"keys\":[{{\"kty\":\"EC\",\"d\":\"{marker}\"}}]}}"),
        format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{marker}\"}}]}}"),
        format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":1,\"alg\":\"{marker}\"}}]}}"),
        format!("{{\"keys\":[{{\"{marker}\":1,\"{marker}\":1}}]}}"),
        format!("{{\"keys\":[\"{marker}\"]}}"),
        format!("{{\"keys\":\"{marker}\"}}"),
        format!("{{\"{marker}\":1"),
        format!("<html>{marker}\r\n\x1b[31m"),
        format!("{{\"keys\":[{{\"kty\":\"{marker}\"}}]}}"),
    ] {
        let error = JwkSet::parse(text.as_bytes()).unwrap_err();
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(marker), "{shown}");
            assert!(shown.len() <= 512, "{shown}");
        }
    }
}

#[test]
fn api_001_every_library_reads_a_set_to_the_same_keys() {
    let keys: Vec<Value> = algorithms()
        .into_iter()
        .filter(|algorithm| *algorithm != Algorithm::Es512)
        .map(|algorithm| jwk(algorithm, algorithm.name()))
        .collect();
    let body = json!({ "keys": keys }).to_string();
    for backend in backends() {
        let options = JwkSetOptions::new().with_backend(backend);
        let set = JwkSet::parse_with(body.as_bytes(), &options).unwrap();
        assert_eq!((set.len(), set.skipped().len()), (keys.len(), 0));
        assert!(
            set.keys()
                .public_keys()
                .all(|(_, key)| key.backend() == backend)
        );
        let plain = JwkSet::parse(body.as_bytes()).unwrap();
        assert_eq!(set.to_json(), plain.to_json());
    }
}
