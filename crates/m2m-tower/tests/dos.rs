//! What strangers make the layer remember and compute.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};

use allocation_counter::measure;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Freshness, Guard};
use m2m_token::{Audience, Issuers, KeySet, MAX_KEYS_TRIED, TokenType, Verifier};
use m2m_types::Live;
use support::*;

/// A token that nobody signed.
fn unsigned(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|text| URL_SAFE_NO_PAD.encode(text));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([1; 64]))
}

#[test]
fn dos_003_distinct_names_of_strangers_take_no_room() {
    let world = World::new();
    let guard = world.bearer().with_bearer_tokens(
        world.verifier().with_cache(1 << 20, &SystemRandom).unwrap(),
        Freshness::in_process(),
    );
    let layer = world.layer_of(guard).with_observer(|_, _| ());
    let ask = |at: usize| {
        let header = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"k-{at}"}}"#);
        // Of the issuer that is known, and of as many that are not.
        let issuer = match at % 2 {
            0 => ISSUER.to_owned(),
            _ => format!("https://issuer-{at}.example"),
        };
        let claims = format!(
            r#"{{"iss":"{issuer}","sub":"spiffe://example.org/s-{at}","jti":"{at}","exp":1,"aud":"x"}}"#
        );
        let request = with_token(&format!("/orders/{at}"), &unsigned(&header, &claims));
        assert_eq!(send(&layer, request).status.as_u16(), 401);
    };
    (0..100).for_each(ask);
    let spent = measure(|| (100..100_100).for_each(ask));
    assert!(spent.count_total > 100_000, "it counts");
    assert!(spent.bytes_current <= 16 << 10, "{spent:?}");
}

#[test]
fn dos_004_a_stranger_costs_two_signature_checks_at_most() {
    let world = World::new();
    let tell = |keys: usize| {
        let set = (0..keys).fold(KeySet::new(), |set, at| {
            let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
            set.with_key(&format!("k-{at}"), key.verifying_key().clone())
                .unwrap()
        });
        let verifier = Verifier::builder(
            Issuers::one(ISSUER, Live::new(set)),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        );
        let guard = Guard::builder(AllowList::new())
            .with_bearer_tokens(verifier, Freshness::in_process())
            .danger_without_revocations();
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&told);
        let layer = world.layer_of(guard).with_observer(move |refused, _| {
            lines.lock().unwrap().push(refused.to_string());
        });
        // It fits each of the keys: all that could be tried is.
        let claims = format!(r#"{{"iss":"{ISSUER}","sub":"x","exp":9999999999,"aud":"{ORDERS}"}}"#);
        let token = unsigned(r#"{"alg":"ES256","typ":"at+jwt"}"#, &claims);
        assert_eq!(
            send(&layer, with_token("/orders", &token)).status.as_u16(),
            401
        );
        let mut told = told.lock().unwrap();
        assert_eq!(told.len(), 1);
        told.remove(0)
    };
    let (tried, not_tried) = (tell(MAX_KEYS_TRIED), tell(MAX_KEYS_TRIED + 1));
    assert_eq!(MAX_KEYS_TRIED, 2);
    assert!(tried.contains("signature"), "{tried}");
    // More would fit: none is tried.
    assert!(!not_tried.contains("signature"), "{not_tried}");
}
