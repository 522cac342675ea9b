//! The cache of verified tokens: the conditions under which remembering a verification is as good as
//! repeating it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use m2m_crypto::{Algorithm, RandomError, SecureRandom, SigningKey, SystemRandom, sha256};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, KeySet, Presenter, RemoteKeySet, Response, Scratch, TokenType, Verifier,
    VerifierBuilder, VerifyError,
};
use m2m_types::{Live, Timestamp};
use serde_json::json;
use support::*;

fn cached(builder: VerifierBuilder) -> Verifier {
    let builder = builder.with_cache(1 << 18, &SystemRandom).unwrap();
    builder.build().unwrap()
}

/// Whether the token is taken, and if so, whether from the cache.
fn verify(verifier: &Verifier, token: &str, now: Timestamp) -> Result<bool, VerifyError> {
    let mut scratch = Scratch::new();
    verifier
        .verify(token, now, &mut scratch)
        .map(|verified| verified.was_cached())
}

const FRESH: Result<bool, VerifyError> = Ok(false);
const CACHED: Result<bool, VerifyError> = Ok(true);

fn token_of(key: &SigningKey, jti: &str) -> String {
    let claims = with(&claims(), "jti", jti.into());
    sign(header(key.algorithm()).to_string(), claims.to_string(), key)
}

#[test]
fn without_being_asked_for_nothing_is_remembered() {
    let bench = Bench::es256();
    let verifier = policy(set(&bench.key)).build().unwrap();
    for _ in 0..3 {
        assert_eq!(verify(&verifier, &bench.good(), at(0)), FRESH);
    }
}

/// Condition 1: a cache is inside of one policy.
#[test]
fn two_verifiers_never_share_what_they_remember() {
    const OTHER: &str = "https://other.example";
    let bench = Bench::es256();
    let keys = || set(&bench.key);
    let token = bench.claims(with(&claims(), "aud", ORDERS.into()).to_string());
    let first = cached(policy(keys()));
    assert_eq!(verify(&first, &token, at(0)), FRESH);
    assert_eq!(verify(&first, &token, at(0)), CACHED);
    // One that asks for the same has to find out for itself.
    let twin = cached(policy(keys()));
    assert_eq!(verify(&twin, &token, at(0)), FRESH);
    let issuers = |name| Issuers::one(name, keys());
    let (aud, typ) = (|| Audience::exactly(ORDERS), TokenType::access_token);
    for (other, code) in [
        (
            Verifier::builder(issuers(OTHER), aud(), typ()),
            "issuer_unknown",
        ),
        (
            Verifier::builder(
                issuers(ISSUER),
                Audience::exactly("spiffe://example.org/x"),
                typ(),
            ),
            "audience",
        ),
        (
            Verifier::builder(issuers(ISSUER), aud(), TokenType::jwt()),
            "type",
        ),
        (
            policy(keys()).with_algorithms(&[Algorithm::Ed25519]),
            "algorithm_not_allowed",
        ),
        (
            policy(keys()).with_required_claim("tenant"),
            "claim_missing",
        ),
        (policy(keys()).with_binding_required(), "binding_required"),
        (
            policy(keys()).with_max_lifetime(Duration::from_secs(60)),
            "lifetime_too_long",
        ),
        (
            policy(keys()).with_trust_domain("example.com".parse().unwrap()),
            "trust_domain",
        ),
        (policy(set(&key(Algorithm::Es256))), "signature"),
    ] {
        let other = cached(other);
        for _ in 0..2 {
            assert_eq!(verify(&other, &token, at(0)).unwrap_err().code(), code);
        }
    }
}

/// Condition 2: all bytes are compared.
#[test]
fn a_token_that_only_ends_like_a_remembered_one_is_another_token() {
    let bench = Bench::es256();
    let verifier = cached(policy(set(&bench.key)));
    let token = bench.good();
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = input.split_once('.').unwrap();
    // The same signature, length and header, and claims of the forger's.
    let forged = claims().to_string().replace("billing", "bi11ing");
    let forged = format!("{header}.{}.{signature}", b64(forged));
    assert_eq!(forged.len(), token.len());
    assert_eq!(
        verify(&verifier, &forged, at(0)),
        Err(VerifyError::Signature)
    );
    let rest = &token[1..];
    let (half, last_half) = token.split_at(token.len() / 2);
    for near in [
        format!("f{rest}"),
        rest.to_owned(),
        format!("e{token}"),
        last_half.to_owned(),
        format!("{half}{half}{last_half}"),
        token[token.len() - 32..].to_owned(),
    ] {
        assert!(verify(&verifier, &near, at(0)).is_err(), "{near}");
    }
    assert_eq!(verify(&verifier, &token, at(0)), CACHED);
}

/// Condition 3: keys that go take their tokens with them.
#[test]
fn when_the_keys_change_what_was_verified_with_them_is_verified_again() {
    let (old, new) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let keys = Arc::new(Live::new(set(&old)));
    let verifier = cached(Verifier::builder(
        Issuers::one(ISSUER, Arc::clone(&keys)),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    ));
    let token = token_of(&old, "a");
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    assert_eq!(verify(&verifier, &token, at(0)), CACHED);
    // Another key was added: verified once more, then remembered again.
    let both = set(&old)
        .with_key("k2", new.verifying_key().clone())
        .unwrap();
    keys.store(both);
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    assert_eq!(verify(&verifier, &token, at(0)), CACHED);
    // Another key under the same name, or none at all.
    keys.store(set(&new));
    for _ in 0..2 {
        assert_eq!(
            verify(&verifier, &token, at(0)),
            Err(VerifyError::Signature)
        );
    }
    keys.store(KeySet::new());
    assert_eq!(
        verify(&verifier, &token, at(0)).unwrap_err().code(),
        "key_unknown"
    );
    keys.store(set(&old));
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
}

#[test]
fn the_keys_of_one_issuer_do_not_disturb_the_tokens_of_another() {
    const OTHER: &str = "https://other.example";
    let (a, b) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let keys = Arc::new(Live::new(set(&a)));
    let verifier = cached(Verifier::builder(
        Issuers::one(ISSUER, Arc::clone(&keys)).and(OTHER, set(&b)),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    ));
    let ours = token_of(&a, "a");
    let claims = with(&claims(), "iss", OTHER.into()).to_string();
    let theirs = sign(header(Algorithm::Es256).to_string(), claims, &b);
    for token in [&ours, &theirs] {
        assert_eq!(verify(&verifier, token, at(0)), FRESH);
    }
    keys.store(set(&key(Algorithm::Es256)));
    assert_eq!(verify(&verifier, &theirs, at(0)), CACHED);
    assert_eq!(verify(&verifier, &ours, at(0)), Err(VerifyError::Signature));
}

fn remote_set(pair: &SigningKey) -> String {
    let jwk = pair.verifying_key().to_jwk().with_kid("k1").unwrap();
    format!("{{\"keys\":[{}]}}", jwk.to_json())
}

#[test]
fn an_equal_set_fetched_anew_keeps_what_is_remembered_and_another_does_not() {
    let pair = key(Algorithm::Es256);
    let mut remote = RemoteKeySet::new().with_max_age(Duration::from_secs(1_000));
    let verifier = cached(Verifier::builder(
        Issuers::one(ISSUER, remote.keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    ));
    let mut fetch = |body: &str, now| {
        let fetch = remote.poll_fetch(now).unwrap();
        let response = Response::new(body.as_bytes());
        remote.handle_response(fetch.id(), &response, now).unwrap();
    };
    let long = with(&claims(), "exp", json!(START + 10_000)).to_string();
    let token = sign(header(Algorithm::Es256).to_string(), long, &pair);
    fetch(&remote_set(&pair), at(0));
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    assert_eq!(verify(&verifier, &token, at(999)), CACHED);
    fetch(&remote_set(&pair), at(999));
    assert_eq!(verify(&verifier, &token, at(999)), CACHED);
    // What was remembered stood on the age of the first answer; on the second it stands anew.
    assert_eq!(verify(&verifier, &token, at(1_000)), FRESH);
    assert_eq!(verify(&verifier, &token, at(1_998)), CACHED);
    // Nobody has confirmed the keys since: remembered or not, they are too old.
    assert_eq!(
        verify(&verifier, &token, at(1_999)).unwrap_err().code(),
        "keys_stale"
    );
    fetch(&remote_set(&key(Algorithm::Es256)), at(2_000));
    assert_eq!(
        verify(&verifier, &token, at(2_000)),
        Err(VerifyError::Signature)
    );
}

/// Condition 4: dates are looked at each time, by the same rules.
#[test]
fn dates_hold_for_remembered_tokens_as_for_fresh_ones_leeway_included() {
    for leeway in [0_i64, 30] {
        let bench = Bench::es256();
        let policy = || {
            let leeway = Duration::from_secs(leeway as u64);
            support::policy(set(&bench.key)).with_leeway(leeway)
        };
        let claims = with(&claims(), "nbf", json!(START + 10));
        let token = bench.claims(claims.to_string());
        let remembering = cached(policy());
        let plain = policy().build().unwrap();
        assert_eq!(verify(&remembering, &token, at(100)), FRESH);
        for offset in -40..400 {
            let answer = verify(&remembering, &token, at(offset)).map(|_| ());
            assert_eq!(
                answer,
                verify(&plain, &token, at(offset)).map(|_| ()),
                "{offset}"
            );
        }
        assert_eq!(verify(&remembering, &token, at(299 + leeway)), CACHED);
        assert_eq!(
            verify(&remembering, &token, at(300 + leeway))
                .unwrap_err()
                .code(),
            "expired"
        );
        assert_eq!(verify(&remembering, &token, at(10 - leeway)), CACHED);
        assert_eq!(
            verify(&remembering, &token, at(9 - leeway))
                .unwrap_err()
                .code(),
            "not_yet_valid"
        );
    }
}

#[test]
fn a_key_that_finishes_retiring_takes_its_remembered_tokens_along() {
    // A token that claims to outlive its key, remembered while the key still counted.
    let pair = key(Algorithm::Es256);
    let copy = SigningKey::from_pkcs8_der(Algorithm::Es256, pair.to_pkcs8_der().expose_secret());
    let ring = m2m_token::SigningKeyRing::new(pair, Duration::from_secs(60)).unwrap();
    let kid = ring.states()[0].0.clone();
    let verifier = cached(Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    ));
    let next = ring.publish(key(Algorithm::Es256), at(0)).unwrap();
    ring.activate(&next, at(0)).unwrap();
    let header = with(&header(Algorithm::Es256), "kid", (*kid).into()).to_string();
    let token = sign(header, claims().to_string(), &copy.unwrap());
    assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    assert_eq!(verify(&verifier, &token, at(59)), CACHED);
    assert_eq!(
        verify(&verifier, &token, at(60)).unwrap_err().code(),
        "key_unknown"
    );
}

/// Condition 5: a revocation holds from the next call on.
#[test]
fn whatever_is_revoked_is_refused_at_the_next_call_and_the_rest_stays_remembered() {
    let bench = Bench::es256();
    let token = |jti: &str, sub: &str, sid: &str| {
        let claims = with(&with(&claims(), "jti", jti.into()), "sub", sub.into());
        bench.claims(with(&claims, "sid", sid.into()).to_string())
    };
    let thumbprint = bench.key.verifying_key().thumbprint();
    let targets = [
        Target::Token {
            issuer: ISSUER,
            jti: "hit",
        },
        Target::Subject {
            issuer: ISSUER,
            subject: BILLING,
        },
        Target::Session {
            issuer: ISSUER,
            sid: "s-hit",
        },
    ];
    let hit = token("hit", BILLING, "s-hit");
    let miss = token("miss", "spiffe://example.org/other", "s-miss");
    for target in targets {
        let revocations = Arc::new(Revocations::new([7; 16], at(0)));
        let builder = policy(set(&bench.key)).with_revocations(Arc::clone(&revocations));
        let verifier = cached(builder);
        for token in [&hit, &miss] {
            assert_eq!(verify(&verifier, token, at(0)), FRESH);
            assert_eq!(verify(&verifier, token, at(0)), CACHED);
        }
        revocations.revoke(target, at(1_000)).unwrap();
        for _ in 0..2 {
            assert_eq!(
                verify(&verifier, &hit, at(1)).unwrap_err().code(),
                "revoked"
            );
            assert_eq!(verify(&verifier, &miss, at(1)), CACHED);
        }
    }
    let revocations = Arc::new(Revocations::new([7; 16], at(0)));
    let verifier = cached(policy(set(&bench.key)).with_revocations(Arc::clone(&revocations)));
    for token in [&hit, &miss] {
        assert_eq!(verify(&verifier, token, at(0)), FRESH);
    }
    let key = Target::Key {
        issuer: ISSUER,
        thumbprint: thumbprint.as_bytes(),
    };
    revocations.revoke(key, at(1_000)).unwrap();
    for token in [&hit, &miss] {
        assert_eq!(
            verify(&verifier, token, at(1)).unwrap_err().code(),
            "revoked"
        );
    }
}

#[test]
fn a_scratch_that_serves_two_verifiers_asks_the_revocations_of_each() {
    let bench = Bench::es256();
    let token = bench.good();
    let sets = [7, 7].map(|key| Arc::new(Revocations::new([key; 16], at(0))));
    let [one, other] = [0, 1].map(|which: usize| {
        policy(set(&bench.key))
            .with_revocations(Arc::clone(&sets[which]))
            .build()
            .unwrap()
    });
    let mut scratch = Scratch::new();
    let mut refused = |verifier: &Verifier| verifier.verify(&token, at(1), &mut scratch).is_err();
    // In both there is something, so that both are looked into.
    for set in &sets {
        let target = Target::Subject {
            issuer: ISSUER,
            subject: "somebody else",
        };
        set.revoke(target, at(1_000)).unwrap();
    }
    assert!(!refused(&one) && !refused(&other));
    let target = Target::Subject {
        issuer: ISSUER,
        subject: BILLING,
    };
    sets[1].revoke(target, at(1_000)).unwrap();
    assert!(!refused(&one) && refused(&other) && !refused(&one));
    sets[0].revoke(target, at(1_000)).unwrap();
    assert!(refused(&one) && refused(&other));
}

/// Condition 6: only what verified is remembered, and only that makes room.
#[test]
fn what_is_refused_neither_enters_nor_evicts() {
    let bench = Bench::es256();
    let builder = policy(set(&bench.key));
    // The smallest cache there is: four places.
    let verifier = builder
        .with_cache(0, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
    let good = bench.good();
    assert_eq!(verify(&verifier, &good, at(0)), FRESH);
    let mut scratch = Scratch::new();
    let (input, _) = good.rsplit_once('.').unwrap();
    let spent = measure(|| {
        for number in 0_u32..2_000 {
            let mut signature = [1; 64];
            signature[60..].copy_from_slice(&number.to_be_bytes());
            let mut token = String::with_capacity(good.len());
            token.push_str(input);
            token.push('.');
            token.push_str(&b64(signature));
            assert!(verifier.verify(&token, at(0), &mut scratch).is_err());
        }
    });
    assert_eq!(spent.bytes_current, 0, "{spent:?}");
    assert_eq!(verify(&verifier, &good, at(0)), CACHED);
    // Nor does a token whose signature is right and whose claims are not.
    let wrong = bench.claims(with(&claims(), "aud", "x".into()).to_string());
    for _ in 0..8 {
        assert_eq!(
            verify(&verifier, &wrong, at(0)).unwrap_err().code(),
            "audience"
        );
    }
    assert_eq!(verify(&verifier, &good, at(0)), CACHED);
}

/// Condition 7: who presents a token is never remembered.
#[test]
fn a_binding_is_checked_at_each_call() {
    let bench = Bench::es256();
    let verifier = cached(policy(set(&bench.key)));
    let (own, other) = (sha256(b"own"), sha256(b"other"));
    let bound = with(&claims(), "cnf", json!({"x5t#S256": b64(own)}));
    let token = bench.claims(bound.to_string());
    let mut scratch = Scratch::new();
    let mut verify = |presenter: &Presenter| {
        verifier
            .verify_presented(&token, presenter, at(0), &mut scratch)
            .map(|verified| verified.was_cached())
    };
    let (own, other) = (
        Presenter::unknown().with_certificate(own),
        Presenter::unknown().with_certificate(other),
    );
    // The wrong one comes first, and is not remembered as the right one.
    assert_eq!(verify(&other).unwrap_err().code(), "binding_mismatch");
    assert_eq!(verify(&own), FRESH);
    assert_eq!(verify(&own), CACHED);
    assert_eq!(verify(&other).unwrap_err().code(), "binding_mismatch");
    assert_eq!(
        verify(&Presenter::unknown()).unwrap_err().code(),
        "binding_missing"
    );
    assert_eq!(verify(&own), CACHED);
}

/// Counts how much was asked for; always gives the same.
struct Counted(AtomicUsize, u8);

impl SecureRandom for Counted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        bytes.fill(self.1);
        Ok(())
    }
}

/// Condition 8: where a token is kept depends on a secret, so that nobody can crowd one place.
#[test]
fn the_places_are_drawn_from_a_seed_and_a_bad_one_only_costs_time() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    for fill in [0, 7, 255] {
        let random = Counted(AtomicUsize::new(0), fill);
        let builder = policy(secret_set(&secret));
        let verifier = builder
            .with_cache(8 << 20, &random)
            .unwrap()
            .build()
            .unwrap();
        assert!(random.0.load(Ordering::Relaxed) >= 8, "64 bits of seed");
        let tokens: Vec<String> = (0..500)
            .map(|jti| {
                let claims = with(&claims(), "jti", format!("t-{jti}").into());
                sign(
                    header(Algorithm::Hs256).to_string(),
                    claims.to_string(),
                    &*secret,
                )
            })
            .collect();
        for token in &tokens {
            assert_eq!(verify(&verifier, token, at(0)), FRESH);
        }
        let kept = tokens
            .iter()
            .filter(|token| verify(&verifier, token, at(0)) == CACHED)
            .count();
        // 500 in 2,048 places of four each: nearly all find one of theirs.
        assert!(kept >= 480, "{kept}");
    }
}

/// Condition 9: tokens are secrets, so they are bounded, shown to nobody, and let go.
#[test]
fn expired_tokens_are_let_go_and_none_is_shown() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    let verifier = cached(policy(secret_set(&secret)));
    let token = |jti: usize, lifetime: u64| {
        let claims = with(&claims(), "jti", format!("t-{jti}").into());
        let claims = with(&claims, "exp", json!(START + lifetime));
        sign(
            header(Algorithm::Hs256).to_string(),
            claims.to_string(),
            &*secret,
        )
    };
    let (short, long) = (token(0, 10), token(1, 1_000));
    let mut scratch = Scratch::new();
    let filled = measure(|| {
        for token in [&short, &long] {
            assert!(verifier.verify(token, at(0), &mut scratch).is_ok());
        }
    });
    let purged = measure(|| verifier.purge_cache(at(10)));
    assert!(purged.bytes_current < 0, "{purged:?}");
    assert!(
        -purged.bytes_current < filled.bytes_current,
        "the other one is kept"
    );
    assert_eq!(verify(&verifier, &long, at(10)), CACHED);
    let purged = measure(|| verifier.purge_cache(at(1_000)));
    assert!(purged.bytes_current < 0, "{purged:?}");
    let shown = format!("{verifier:?}");
    assert!(!shown.contains("eyJ") && !shown.contains("t-1"), "{shown}");
}

#[test]
fn a_verified_token_outlives_its_place_in_the_cache() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    let builder = policy(secret_set(&secret));
    let verifier = builder
        .with_cache(0, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
    let token = |jti: usize| {
        let claims = with(&claims(), "jti", format!("t-{jti}").into());
        sign(
            header(Algorithm::Hs256).to_string(),
            claims.to_string(),
            &*secret,
        )
    };
    let first = token(0);
    let (mut one, mut two) = (Scratch::new(), Scratch::new());
    assert!(verifier.verify(&first, at(0), &mut one).is_ok());
    let held = verifier.verify(&first, at(0), &mut one).unwrap();
    assert!(held.was_cached());
    for jti in 1..100 {
        assert!(verifier.verify(&token(jti), at(0), &mut two).is_ok());
    }
    verifier.purge_cache(at(10_000));
    assert_eq!(held.token_id(), Some("t-0"));
    assert_eq!(held.subject(), Some(BILLING));
    drop(held);
    assert_eq!(verify(&verifier, &first, at(0)), FRESH);
}

#[test]
fn eviction_takes_expired_tokens_first() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    let builder = policy(secret_set(&secret));
    let verifier = builder
        .with_cache(0, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
    let token = |jti: usize, lifetime: u64| {
        let claims = with(&claims(), "jti", format!("t-{jti}").into());
        let claims = with(&claims, "exp", json!(START + lifetime));
        sign(
            header(Algorithm::Hs256).to_string(),
            claims.to_string(),
            &*secret,
        )
    };
    let tokens = [
        token(0, 1_000),
        token(1, 10),
        token(2, 1_000),
        token(3, 1_000),
    ];
    for token in &tokens {
        assert_eq!(verify(&verifier, token, at(0)), FRESH);
    }
    for token in &tokens {
        assert_eq!(verify(&verifier, token, at(0)), CACHED);
    }
    let fifth = token(4, 1_000);
    assert_eq!(verify(&verifier, &fifth, at(20)), FRESH);
    for token in [&tokens[0], &tokens[2], &tokens[3], &fifth] {
        assert_eq!(verify(&verifier, token, at(20)), CACHED);
    }
}

#[test]
fn a_token_too_long_to_keep_is_verified_each_time() {
    let bench = Bench::es256();
    let verifier = cached(policy(set(&bench.key)));
    let token = bench.claims(with(&claims(), "pad", "x".repeat(4_000).into()).to_string());
    for _ in 0..2 {
        assert_eq!(verify(&verifier, &token, at(0)), FRESH);
    }
}

#[test]
fn threads_that_share_a_verifier_get_the_answers_they_would_get_alone() {
    let secret = Arc::new(mac(Algorithm::Hs256));
    let revocations = Arc::new(Revocations::new([7; 16], at(0)));
    let builder = policy(secret_set(&secret)).with_revocations(Arc::clone(&revocations));
    let verifier = builder
        .with_cache(0, &SystemRandom)
        .unwrap()
        .build()
        .unwrap();
    let token = |jti: usize| {
        let claims = with(&claims(), "jti", format!("t-{jti}").into());
        sign(
            header(Algorithm::Hs256).to_string(),
            claims.to_string(),
            &*secret,
        )
    };
    let tokens: Vec<String> = (0..16).map(token).collect();
    let target = Target::Token {
        issuer: ISSUER,
        jti: "t-3",
    };
    revocations.revoke(target, at(1_000)).unwrap();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (verifier, tokens) = (&verifier, &tokens);
            scope.spawn(move || {
                let mut scratch = Scratch::new();
                for step in 0..4_000 {
                    let jti = (first + step * 7) % tokens.len();
                    let result = verifier.verify(&tokens[jti], at(0), &mut scratch);
                    match result {
                        Ok(verified) => {
                            assert_eq!(verified.token_id(), Some(&*format!("t-{jti}")));
                            assert_ne!(jti, 3);
                        }
                        Err(error) => assert_eq!((jti, error.code()), (3, "revoked")),
                    }
                    if step % 500 == 0 {
                        verifier.purge_cache(at(0));
                    }
                }
            });
        }
    });
}
