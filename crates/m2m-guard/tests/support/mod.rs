//! What the tests share: an issuer, tokens of a machine, and guards that take them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, CertificateThumbprint, SigningKey, SystemRandom};
use m2m_guard::{AllowList, Call, Freshness, Grant, Guard, GuardBuilder, Resources};
use m2m_revoke::Revocations;
use m2m_token::{
    Audience, Issuers, Minter, SigningKeyRing, TokenRequest, TokenType, Verifier, VerifierBuilder,
};
use m2m_types::{ServiceId, Timestamp};

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const BILLING: &str = "spiffe://example.org/billing";
pub(crate) const SHOP: &str = "spiffe://example.org/shop";
pub(crate) const ORDERS: &str = "spiffe://example.org/orders";
pub(crate) const READ: Call<'static> = Call::new("GET", "/orders/17");
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// 2026-01-01T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    at(0)
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600 + seconds).unwrap()
}

pub(crate) fn service(name: &str) -> ServiceId {
    name.parse().unwrap()
}

/// The certificate of machine `n`.
pub(crate) fn certificate(n: u8) -> CertificateThumbprint {
    CertificateThumbprint::of_der(&[0x30, 3, 2, 1, n])
}

/// Billing and the shop may read orders.
pub(crate) fn allowed() -> AllowList {
    let read = || Grant::new("GET", Resources::under("/orders").unwrap());
    AllowList::new()
        .allow(&service(BILLING), read())
        .allow(&service(SHOP), read())
}

/// An issuer, and what is void.
pub(crate) struct World {
    pub(crate) ring: Arc<SigningKeyRing>,
    pub(crate) minter: Minter,
    pub(crate) revocations: Arc<Revocations>,
}

impl World {
    pub(crate) fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
        Self {
            minter: Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&ring)).unwrap(),
            ring,
            revocations: Arc::new(Revocations::new([7; 16], now())),
        }
    }

    pub(crate) fn verifier(&self) -> VerifierBuilder {
        Verifier::builder(
            Issuers::one(ISSUER, self.ring.verifying_keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        )
        .with_cache(1 << 16, &SystemRandom)
        .unwrap()
    }

    /// Bound tokens, revocations, and the [`allowed`].
    pub(crate) fn builder(&self) -> GuardBuilder {
        Guard::builder(allowed())
            .with_bound_tokens(self.verifier(), Freshness::in_process())
            .with_revocations(Arc::clone(&self.revocations), Freshness::in_process())
    }

    /// As [`World::builder`], with tokens of whoever has them.
    pub(crate) fn bearer(&self) -> GuardBuilder {
        Guard::builder(allowed())
            .with_bearer_tokens(self.verifier(), Freshness::in_process())
            .with_revocations(Arc::clone(&self.revocations), Freshness::in_process())
    }

    pub(crate) fn token(&self, request: &TokenRequest<'_>) -> String {
        self.minter.mint(request, now(), &SystemRandom).unwrap()
    }

    pub(crate) fn bearer_token(&self, subject: &str) -> String {
        self.token(&request(subject))
    }

    pub(crate) fn bound_token(&self, subject: &str, to: CertificateThumbprint) -> String {
        self.token(&request(subject).with_certificate_binding(to))
    }
}

pub(crate) fn request(subject: &str) -> TokenRequest<'_> {
    TokenRequest::new(subject, ORDERS, Duration::from_secs(300)).with_scope("orders:read")
}
