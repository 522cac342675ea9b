//! What verifying and minting cost in memory, counted: nothing before a token is authentic, and never
//! more than was promised.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use m2m_crypto::{Algorithm, Backend, SystemRandom};
use m2m_token::{
    Audience, Issuers, JwkSet, KeySet, MAX_TOKEN_BYTES, Minter, RemoteKeySet, Scratch,
    SigningKeyRing, TokenRequest, TokenType, Unverified, Verifier,
};
use serde_json::json;
use support::*;

/// Whether ring checks or makes these signatures: its RSA allocates within itself.
fn allocates_in_ring(algorithm: Algorithm, backend: Backend) -> bool {
    let rsa = algorithm.name().starts_with("RS") || algorithm.name().starts_with("PS");
    rsa && backend == Backend::Ring
}

fn verifier(keys: &KeySet, backend: Backend) -> Option<Verifier> {
    let keys = keys.clone().with_backend(backend).ok()?;
    Some(policy(keys).build().unwrap())
}

#[test]
fn verifying_allocates_nothing_once_the_header_is_known() {
    for algorithm in algorithms().into_iter().chain(MACS) {
        let (keys, token) = match MACS.contains(&algorithm) {
            true => {
                let mac = Arc::new(mac(algorithm));
                let token = sign(header(algorithm).to_string(), claims().to_string(), &*mac);
                (secret_set(&mac), token)
            }
            false => {
                let bench = Bench::new(algorithm);
                (set(&bench.key), bench.good())
            }
        };
        for backend in backends() {
            let Some(verifier) = verifier(&keys, backend) else {
                continue;
            };
            if allocates_in_ring(algorithm, backend) {
                continue;
            }
            let mut scratch = Scratch::new();
            let mut run = || {
                let verified = verifier.verify(&token, at(0), &mut scratch).unwrap();
                assert!(verified.has_scope("x") || verified.subject() == Some(BILLING));
                assert!(!verified.was_cached());
            };
            run();
            let spent = measure(&mut run);
            assert_eq!(spent.count_total, 0, "{algorithm} {backend:?}: {spent:?}");
        }
    }
}

#[test]
fn a_cached_token_costs_no_allocation() {
    let bench = Bench::es256();
    let verifier = policy(set(&bench.key))
        .with_cache(1 << 16, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
    let token = bench.good();
    let mut scratch = Scratch::new();
    assert!(
        !verifier
            .verify(&token, at(0), &mut scratch)
            .unwrap()
            .was_cached()
    );
    let spent = measure(|| {
        for offset in 0..100 {
            let verified = verifier.verify(&token, at(offset), &mut scratch).unwrap();
            assert!(verified.was_cached());
            assert_eq!(verified.subject(), Some(BILLING));
        }
    });
    assert_eq!(spent.count_total, 0, "{spent:?}");
}

#[test]
fn minting_allocates_the_token_and_nothing_else() {
    #[derive(serde::Serialize)]
    struct Extra<'a> {
        tenant: &'a str,
        roles: [&'a str; 2],
    }
    let extra = Extra {
        tenant: "acme",
        roles: ["reader", "writer"],
    };
    let hour = Duration::from_secs(3600);
    let mut rings = vec![SigningKeyRing::secret("k1", mac(Algorithm::Hs256), hour).unwrap()];
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        rings.push(SigningKeyRing::new(key(algorithm), hour).unwrap());
    }
    for ring in rings {
        let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::new(ring)).unwrap();
        let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300))
            .with_scope("orders:read \"quoted\"")
            .with_client_id("billing")
            .with_certificate_binding([7; 32])
            .with_claims(&extra);
        for _ in 0..3 {
            let mut token = String::new();
            let spent = measure(|| {
                token = minter.mint(&request, at(0), &SystemRandom).unwrap();
            });
            assert_eq!(spent.count_total, 1, "{spent:?}");
            // It holds little more than the token, whose parts were written behind it.
            assert!(
                spent.bytes_total <= 2 * token.len() as u64 + 64,
                "{spent:?}"
            );
        }
    }
}

/// Tokens that strangers can send, of every kind of wrong.
fn strangers(bench: &Bench) -> Vec<String> {
    let stranger = Bench::es256();
    let good = bench.good();
    let (input, _) = good.rsplit_once('.').unwrap();
    let of_claims = |claims: String| stranger.claims(claims);
    let of_header = |header: String| stranger.header(header);
    let object = claims();
    let header = header(Algorithm::Es256);
    vec![
        String::new(),
        "a".into(),
        "a.b.c".into(),
        ".".repeat(MAX_TOKEN_BYTES),
        ".".repeat(1 << 20),
        "A".repeat(MAX_TOKEN_BYTES),
        "A".repeat(1 << 20),
        format!("{}.A.A", "A".repeat(MAX_TOKEN_BYTES - 4)),
        format!("{input}.{}", "A".repeat(86)),
        format!("{input}.{}", "A".repeat(87)),
        format!("{input}.!"),
        format!("{good}."),
        format!("{good}.{good}"),
        stranger.good(),
        of_claims("foo".into()),
        of_claims("{".repeat(3_000)),
        of_claims("[".repeat(3_000)),
        of_claims(format!("{{\"a\":{}", "[".repeat(3_000))),
        of_claims(format!("{{{}}}", "\"a\":1,".repeat(500))),
        of_claims(with(&object, "iss", "https://other.example".into()).to_string()),
        of_claims(with(&object, "iss", "x".repeat(3_000).into()).to_string()),
        of_claims(with_raw(
            &object,
            "iss",
            &format!("\"{}\"", "\\u0041".repeat(500)),
        )),
        of_claims(with_raw(
            &object,
            "sub",
            &format!("\"{}\"", "\\n".repeat(1_500)),
        )),
        of_claims(with(&object, "aud", vec!["x"; 1_000].into()).to_string()),
        of_claims(with(&object, "exp", 0.into()).to_string()),
        of_claims(with(&object, "cnf", json!({"jwk": {}})).to_string()),
        of_claims(with(&object, "scope", "r ".repeat(1_500).into()).to_string()),
        of_header(with(&header, "kid", "unknown".into()).to_string()),
        of_header(with(&header, "kid", "k".repeat(3_000).into()).to_string()),
        of_header(with(&header, "alg", "none".into()).to_string()),
        of_header(with(&header, "alg", "HS256".into()).to_string()),
        of_header(with(&header, "typ", "JWT".into()).to_string()),
        of_header(with(&header, "crit", json!(["x"])).to_string()),
        of_header(with(&header, "x5c", vec!["A".repeat(2_000)].into()).to_string()),
        of_header(without(&header, "kid").to_string()),
    ]
}

#[test]
fn g3_dos_002_jwt_039_what_strangers_send_allocates_nothing() {
    let bench = Bench::es256();
    let mut scratch = Scratch::new();
    for verifier in bench.verifiers.each() {
        for known in [false, true] {
            if known {
                assert!(verifier.verify(&bench.good(), at(0), &mut scratch).is_ok());
            }
            for token in strangers(&bench) {
                let spent = measure(|| {
                    assert!(verifier.verify(&token, at(0), &mut scratch).is_err());
                });
                let shown = &token[..token.len().min(60)];
                assert_eq!(spent.count_total, 0, "{shown}… {spent:?}");
            }
        }
    }
    for token in strangers(&bench) {
        let spent = measure(|| {
            let _ = Unverified::danger_decode(&token, &mut scratch);
        });
        assert_eq!(spent.count_total, 0, "{spent:?}");
    }
}

#[test]
fn g3_a_header_written_with_escapes_costs_a_short_text_and_no_more() {
    // The one thing a stranger makes us allocate: names in the header whose escapes must be undone.
    let bench = Bench::es256();
    let verifier = bench.verifiers.each().next().unwrap();
    let mut scratch = Scratch::new();
    let header = header(Algorithm::Es256);
    for (name, characters) in [("kid", 256), ("kid", 800), ("typ", 64), ("alg", 64)] {
        let escaped = format!("\"{}\"", "\\u0041".repeat(characters));
        let token = bench.header(with_raw(&header, name, &escaped));
        let spent = measure(|| {
            assert!(verifier.verify(&token, at(0), &mut scratch).is_err());
        });
        assert!(spent.bytes_max <= 1024, "{name} {spent:?}");
    }
}

#[test]
fn g3_a_scratch_is_all_the_memory_there_is() {
    let mut kept = None;
    let spent = measure(|| kept = Some(Scratch::new()));
    assert!(spent.bytes_current <= 64 * 1024, "{spent:?}");
}

#[test]
fn dos_001_work_grows_with_the_length_of_a_token_and_not_faster() {
    // A clock in a test, for once: nothing else sees a loop within a loop. The shortest of many
    // measurements is stable, and the bound is half way from linear (4) to quadratic (16).
    let bench = Bench::es256();
    let mut scratch = Scratch::new();
    let mut time = |token: &str| {
        let mut shortest = Duration::MAX;
        for _ in 0..60 {
            let start = Instant::now();
            for _ in 0..20 {
                let _ = std::hint::black_box(Unverified::danger_decode(token, &mut scratch));
            }
            shortest = shortest.min(start.elapsed());
        }
        shortest
    };
    type Worst = fn(usize) -> String;
    let worst: [(&str, Worst); 8] = [
        ("long string", |n| format!("\"{}\"", "x".repeat(n))),
        ("escapes", |n| format!("\"{}\"", "\\u0041".repeat(n / 6))),
        ("backslashes", |n| format!("\"{}\"", "\\\\".repeat(n / 2))),
        ("items", |n| format!("[{}0]", "0,".repeat(n / 2))),
        ("white space", |n| format!("[{}]", " ".repeat(n))),
        ("digits", |n| "1".repeat(n)),
        ("small objects", |n| {
            format!("[{}0]", "{\"a\":1},".repeat(n / 8))
        }),
        ("wide letters", |n| format!("\"{}\"", "😀".repeat(n / 4))),
    ];
    for (name, value) in worst {
        let token = |n| bench.claims(with_raw(&claims(), "x", &value(n)));
        let (short, long) = (token(1_000), token(5_200));
        let ratio = long.len() as f64 / short.len() as f64;
        // A machine with much else to do may not be calm for long: one calm measurement is enough.
        let mut grown = f64::MAX;
        for _ in 0..4 {
            let (short, long) = (time(&short), time(&long));
            grown = grown.min(long.as_secs_f64() / short.as_secs_f64());
            if grown <= 2.5 * ratio {
                break;
            }
        }
        assert!(
            grown <= 2.5 * ratio,
            "{name}: {grown:.1} times for {ratio:.1} times as long"
        );
    }
}

#[test]
fn dos_002_a_key_set_is_read_in_memory_that_its_length_bounds() {
    let key = key(Algorithm::Es256);
    let jwk = |kid: &str| {
        let jwk = key.verifying_key().to_jwk().with_kid(kid).unwrap();
        jwk.to_json()
    };
    let many = |count: usize| {
        let keys: Vec<String> = (0..count).map(|at| jwk(&format!("k{at}"))).collect();
        format!("{{\"keys\":[{}]}}", keys.join(","))
    };
    let filled = |text: &str, length: usize| text.repeat(length / text.len());
    const MAX: usize = JwkSet::MAX_BYTES;
    let sets = [
        String::new(),
        "{\"keys\":[]}".into(),
        many(1),
        many(128),
        many(129),
        many(2_000),
        format!("{{\"keys\":[{}0]}}", filled("0,", MAX - 64)),
        format!("{{\"keys\":[{}0]}}", filled("{},", MAX - 64)),
        format!("{{\"keys\":[{}0]}}", filled("[],", MAX - 64)),
        format!("{{\"keys\":{}", filled("[", MAX - 64)),
        format!("{{\"keys\":[{}", filled("{\"a\":", MAX - 64)),
        format!("{{\"x\":{}", filled("[", MAX - 64)),
        format!("{{\"x\":\"{}\",\"keys\":[]}}", filled("\\u0041", MAX - 64)),
        format!("{{{}\"keys\":[]}}", filled("\"a\":1,", MAX - 64)),
        format!(
            "{{\"keys\":[{{{}\"kty\":\"EC\"}}]}}",
            filled("\"a\":1,", MAX - 64)
        ),
        format!(
            "{{\"keys\":[{{\"kty\":\"EC\",\"x5c\":[{}\"\"]}}]}}",
            filled("\"\",", MAX - 64)
        ),
        format!(
            "{{\"keys\":[{{\"kty\":\"EC\",\"x\":\"{}\"}}]}}",
            filled("A", MAX - 64)
        ),
        format!(
            "{{\"keys\":[{{\"kty\":\"RSA\",\"n\":\"{}\"}}]}}",
            filled("A", MAX - 64)
        ),
        format!(
            "{{\"keys\":[{{\"kty\":\"oct\",\"key_ops\":[{}\"\"]}}]}}",
            filled("\"a\",", MAX - 64)
        ),
        filled("<html>", MAX - 64),
        filled(" ", MAX - 64),
        filled("{\"keys\":[", MAX + 1_000_000),
    ];
    for set in &sets {
        assert!(set.len() <= MAX || set.len() > MAX + 900_000);
        let spent = measure(|| {
            let _ = JwkSet::parse(set.as_bytes());
        });
        let bound = 8 * set.len() as u64 + 64 * 1024;
        let shown = &set[..set.len().min(60)];
        assert!(
            spent.bytes_max <= bound,
            "{} bytes {shown}…: {spent:?}",
            set.len()
        );
    }
}

#[test]
fn dos_003_the_cache_stays_within_its_bytes_whatever_is_put_into_it() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    let mut scratch = Scratch::new();
    for max_bytes in [0, 1 << 16, 1 << 20] {
        let mut verifier = None;
        let empty = measure(|| {
            let policy = policy(secret_set(&secret));
            let policy = policy.with_cache(max_bytes, &SystemRandom).unwrap();
            verifier = Some(policy.build().unwrap());
        });
        let verifier = verifier.unwrap();
        let mut verify = |at_: usize, pad: usize| {
            let claims = with(&claims(), "jti", format!("t-{at_}").into());
            let claims = with(&claims, "pad", "x".repeat(pad).into());
            let token = sign(
                header(Algorithm::Hs256).to_string(),
                claims.to_string(),
                &*secret,
            );
            let spent = measure(|| {
                assert!(verifier.verify(&token, at(0), &mut scratch).is_ok());
            });
            spent.bytes_current
        };
        let mut kept = empty.bytes_current;
        for at in 0..4_000 {
            kept += verify(at, at % 2_000);
        }
        // Four tokens of 4 KiB are kept however little was asked for; keys and names come on top.
        let bound = max_bytes.max(4 * 4096) as i64 + 32 * 1024;
        assert!(kept <= bound, "{kept} of {bound}");
        assert!(kept > 8 * 1024, "something is kept");
    }
}

#[test]
fn dos_003_known_headers_and_unknown_keys_take_no_more_room_with_time() {
    // A holder of a key can write any header; each is remembered, and few at a time.
    let bench = Bench::es256();
    let verifier = policy(set(&bench.key)).build().unwrap();
    let mut scratch = Scratch::new();
    let mut kept = 0;
    for at_ in 0..2_000 {
        let header = with(&header(Algorithm::Es256), "n", at_.into());
        let header = with(&header, "pad", "x".repeat(at_ % 600).into());
        let token = bench.header(header.to_string());
        let spent = measure(|| {
            assert!(verifier.verify(&token, at(0), &mut scratch).is_ok());
        });
        kept += spent.bytes_current;
    }
    assert!(kept <= 32 * 1024, "{kept}");
    let mut remote = RemoteKeySet::new();
    let spent = measure(|| {
        for _ in 0..1_000_000 {
            remote.handle_unknown_key();
        }
    });
    assert_eq!(spent.count_total, 0);
}

#[test]
fn a_refusal_is_put_into_words_within_512_bytes_and_without_the_token() {
    // `Verifiers::code` looks at each error (rule G-4); here at what else can be shown.
    let bench = Bench::es256();
    let token = bench.good();
    let mut scratch = Scratch::new();
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, set(&bench.key)),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_cache(1 << 16, &SystemRandom)
    .unwrap()
    .build()
    .unwrap();
    let secrets: Vec<&str> = token.split('.').collect();
    for _ in 0..2 {
        let verified = verifier.verify(&token, at(0), &mut scratch).unwrap();
        for shown in [
            format!("{verified:?}"),
            format!("{:?}", verified.claims()),
            format!("{verifier:?}"),
        ] {
            assert!(shown.len() <= 512, "{shown}");
            for secret in &secrets {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert!(!shown.contains(BILLING), "{shown}");
        }
    }
    assert!(!format!("{scratch:?}").contains("eyJ"));
    let unverified = Unverified::danger_decode(&token, &mut scratch).unwrap();
    assert!(!format!("{unverified:?}").contains(BILLING));
}
