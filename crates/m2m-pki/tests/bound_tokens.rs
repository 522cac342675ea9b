//! Tokens that are bound to certificates of ours: nobody else can present them.
#![allow(clippy::unwrap_used, reason = "a test may panic and say so")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Confirmation, Issuers, Minter, Presenter, Scratch, SigningKeyRing, TokenRequest,
    TokenType, Verifier, VerifyError,
};
use support::{leaf, ledger, now, root_of};

const ISSUER: &str = "https://issuer.example";
const BILLING: &str = "spiffe://example.org/billing";
const ORDERS: &str = "spiffe://example.org/orders";

/// From a certificate to a bound token and back: no text is handled on the way.
#[test]
fn jwt_071_a_token_is_taken_from_the_holder_of_the_certificate_it_is_bound_to_alone() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let own = leaf(&ledger, &root, "billing");
    let other = leaf(&ledger, &root, "billing");
    assert_ne!(own.thumbprint(), other.thumbprint());

    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_cache(1 << 16, &SystemRandom)
    .unwrap()
    .build()
    .unwrap();
    let minter = Minter::new(ISSUER, TokenType::access_token(), ring).unwrap();
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300))
        .with_certificate_binding(*own.thumbprint());
    let token = minter.mint(&request, now(), &SystemRandom).unwrap();

    let mut scratch = Scratch::new();
    let nobody = Presenter::unknown();
    let mut present = |presenter: &Presenter| {
        let verified = verifier.verify_presented(&token, presenter, now(), &mut scratch)?;
        Ok(verified.claims().confirmation())
    };
    let method = "x5t#S256";
    // Twice, so that the cache knows the token when the others come again.
    for _ in 0..2 {
        assert_eq!(
            present(&nobody.with_certificate(*own.thumbprint())),
            Ok(Some(Confirmation::Certificate(*own.thumbprint())))
        );
        assert_eq!(
            present(&nobody.with_certificate(*other.thumbprint())),
            Err(VerifyError::BindingMismatch { method })
        );
        assert_eq!(
            present(&nobody),
            Err(VerifyError::BindingMissing { method })
        );
        // The thumbprint of its key is no proof of the certificate.
        assert_eq!(
            present(&nobody.with_key(*own.thumbprint().as_bytes())),
            Err(VerifyError::BindingMissing { method })
        );
    }
}
