//! The life of tokens and keys: minted, verified, remembered, revoked, rotated.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, MintError, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType,
    Verifier, VerifyError,
};
use m2m_types::Timestamp;

const ISSUER: &str = "https://issuer.example";
const ORDERS: &str = "spiffe://example.org/orders";
const BILLING: &str = "spiffe://example.org/billing";
const HOUR: Duration = Duration::from_secs(3600);

fn at(offset: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + offset).unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap()
}

struct World {
    ring: Arc<SigningKeyRing>,
    minter: Minter,
    revocations: Arc<Revocations>,
    verifier: Verifier,
}

fn world() -> World {
    let ring = Arc::new(SigningKeyRing::new(key(), HOUR).unwrap());
    let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap();
    let revocations = Arc::new(Revocations::new([7; 16], at(0)));
    let verifier = Verifier::builder(
        Issuers::one(ISSUER, ring.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_revocations(Arc::clone(&revocations))
    .with_cache(1 << 20, &SystemRandom)
    .unwrap()
    .build()
    .unwrap();
    World {
        ring,
        minter,
        revocations,
        verifier,
    }
}

impl World {
    fn mint(&self, now: Timestamp) -> String {
        let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
        self.minter.mint(&request, now, &SystemRandom).unwrap()
    }

    /// Whether the token is taken, and if it is, whether from the cache.
    fn verify(&self, token: &str, now: Timestamp) -> Result<bool, VerifyError> {
        let mut scratch = Scratch::new();
        let verified = self.verifier.verify(token, now, &mut scratch)?;
        assert_eq!(verified.subject(), Some(BILLING));
        Ok(verified.was_cached())
    }
}

#[test]
fn a_token_that_was_seen_before_is_taken_from_the_cache_until_it_expires() {
    let world = world();
    let token = world.mint(at(0));
    assert_eq!(world.verify(&token, at(0)), Ok(false));
    assert_eq!(world.verify(&token, at(0)), Ok(true));
    assert_eq!(world.verify(&token, at(299)), Ok(true));
    let error = world.verify(&token, at(300)).unwrap_err();
    assert_eq!(error.code(), "expired");
    // Before it was issued it is no more valid for being remembered.
    let early = Timestamp::from_unix_seconds(1_699_999_999).unwrap();
    assert_eq!(
        world.verify(&token, early).unwrap_err().code(),
        "issued_in_future"
    );
}

#[test]
fn a_revocation_holds_from_the_next_call_on_for_cached_tokens_too() {
    let world = world();
    let (one, other) = (world.mint(at(0)), world.mint(at(0)));
    for token in [&one, &other] {
        assert_eq!(world.verify(token, at(0)), Ok(false));
        assert_eq!(world.verify(token, at(0)), Ok(true));
    }
    let mut scratch = Scratch::new();
    let verified = world.verifier.verify(&one, at(1), &mut scratch).unwrap();
    let target = Target::Token {
        issuer: ISSUER,
        jti: verified.token_id().unwrap(),
    };
    world.revocations.revoke(target, at(300)).unwrap();
    assert_eq!(world.verify(&one, at(1)).unwrap_err().code(), "revoked");
    assert_eq!(world.verify(&one, at(1)).unwrap_err().code(), "revoked");
    assert_eq!(world.verify(&other, at(1)), Ok(true));
}

#[test]
fn keys_rotate_without_a_refused_token() {
    let world = world();
    let old = world.mint(at(0));
    assert_eq!(world.verify(&old, at(0)), Ok(false));
    let next = world.ring.publish(key(), at(1)).unwrap();
    let during = world.mint(at(1));
    assert_eq!(world.verify(&during, at(1)), Ok(false));
    world.ring.activate(&next, at(2)).unwrap();
    let new = world.mint(at(2));
    for token in [&old, &during, &new] {
        assert!(world.verify(token, at(2)).is_ok());
    }
}

#[test]
fn a_removed_key_takes_its_cached_tokens_with_it() {
    let world = world();
    let old = world.mint(at(0));
    let leaked = world.ring.states()[0].0.clone();
    assert_eq!(world.verify(&old, at(0)), Ok(false));
    assert_eq!(world.verify(&old, at(0)), Ok(true));
    let next = world.ring.publish(key(), at(1)).unwrap();
    world.ring.activate(&next, at(1)).unwrap();
    assert!(world.verify(&old, at(1)).is_ok());
    world.ring.remove(&leaked, at(2)).unwrap();
    assert_eq!(world.verify(&old, at(2)).unwrap_err().code(), "key_unknown");
}

#[test]
fn a_scope_that_verifiers_would_refuse_is_not_minted() {
    let world = world();
    for scope in ["read\u{7f}", "read\nwrite", "\0"] {
        let request =
            TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300)).with_scope(scope);
        let minted = world.minter.mint(&request, at(0), &SystemRandom);
        assert_eq!(minted, Err(MintError::Text { name: "scope" }), "{scope:?}");
    }
}
