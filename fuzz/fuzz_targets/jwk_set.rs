#![no_main]
//! Any bytes as a JWK set and as one JWK: what is read can be published, and is then read as the same.

use libfuzzer_sys::fuzz_target;
use m2m_crypto::{Jwk, VerifyingKey};
use m2m_fuzz::check_message;
use m2m_token::JwkSet;

fuzz_target!(|data: &[u8]| {
    match JwkSet::parse(data) {
        Ok(set) => check_set(&set),
        Err(error) => check_message(&error),
    }
    match Jwk::from_json(data) {
        Ok(jwk) => check_jwk(&jwk),
        Err(error) => check_message(&error),
    }
});

fn check_set(set: &JwkSet) {
    assert!(!set.is_empty(), "a set that verifies nothing is refused");
    let json = set.to_json();
    let again = JwkSet::parse(json.as_bytes()).expect("what is published can be read");
    assert_eq!(again.skipped(), [], "and used, all of it");
    let keys = |set: &JwkSet| -> Vec<_> {
        let keys = set.keys().public_keys();
        keys.map(|(kid, key)| {
            (
                kid.map(str::to_owned),
                key.algorithm().name(),
                key.thumbprint(),
            )
        })
        .collect()
    };
    assert_eq!(keys(set), keys(&again));
    assert_eq!(json, again.to_json());
}

fn check_jwk(jwk: &Jwk) {
    let json = jwk.to_json();
    let again = Jwk::from_json(json.as_bytes()).expect("what is written can be read");
    assert_eq!(json, again.to_json());
    assert!(
        !again.has_private_members(),
        "private members are not written"
    );
    let key = match VerifyingKey::from_jwk(jwk) {
        Ok(key) => key,
        Err(error) => return check_message(&error),
    };
    let same = VerifyingKey::from_jwk(&again).expect("the same key");
    assert_eq!(key.thumbprint(), same.thumbprint());
}
