#![no_main]
//! Any bytes as a trust bundle, in JSON and in PEM.

use libfuzzer_sys::fuzz_target;
use m2m_crypto::VerifyingKey;
use m2m_fuzz::check_message;
use m2m_pki::{BundleError, TrustBundle, TrustBundles};

fuzz_target!(|data: &[u8]| {
    // The trust domain of the seeds.
    let domain = "local".parse().expect("a trust domain");
    for read in [
        TrustBundle::from_json(domain, data),
        TrustBundle::from_pem("local".parse().expect("a trust domain"), data),
    ] {
        match read {
            Ok(bundle) => check(&bundle),
            Err(error) => check_error(&error),
        }
    }
});

fn check(bundle: &TrustBundle) {
    let domain = bundle.trust_domain().clone();
    for authority in bundle.authorities() {
        assert!(authority.is_ca() && bundle.holds(authority));
        assert!(authority.public_key().is_ok());
    }
    for authority in bundle.jwt_authorities() {
        assert!(authority.kid().is_some() && !authority.has_private_members());
        // Whether it is a key is for who verifies with it to find out, without a panic.
        let _ = VerifyingKey::from_jwk(authority);
    }
    // What is written is read as the same, with nothing skipped.
    let again = TrustBundle::from_json(domain.clone(), bundle.to_json().as_bytes());
    let again = again.expect("what is written is read");
    assert!(again.has_same_authorities(bundle) && again.skipped().is_empty());
    assert_eq!(again.sequence(), bundle.sequence());
    assert_eq!(again.refresh_hint(), bundle.refresh_hint());
    let held = TrustBundles::new()
        .updated(again)
        .expect("the first of its domain");
    assert_eq!(held.authorities_of(&domain), bundle.authorities());
    // An older one does not come back.
    if let Some(older) = bundle
        .sequence()
        .and_then(|sequence| sequence.checked_sub(1))
    {
        assert!(held.updated(bundle.clone().with_sequence(older)).is_err());
    }
}

fn check_error(error: &BundleError) {
    check_message(error);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        assert!(text.len() <= 512 && !text.chars().any(char::is_control));
        source = cause.source();
    }
}
