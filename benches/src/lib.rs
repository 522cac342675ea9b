//! What the benches share: keys, a minter and a verifier for each algorithm, and tokens of the size
//! that access tokens have.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, Backend, MacKey, SecretBytes, SigningKey, SystemRandom};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use m2m_types::Timestamp;

/// Who issues the benches' tokens.
pub const ISSUER: &str = "https://issuer.prod.example.org";
/// For whom they are.
pub const AUDIENCE: &str = "spiffe://prod.example.org/ns/shop/sa/orders";
/// About whom they are.
pub const SUBJECT: &str = "spiffe://prod.example.org/ns/shop/sa/billing";
/// The algorithms that are measured, with their names in bench ids.
pub const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::Hs256, "hs256"),
    (Algorithm::Es256, "es256"),
    (Algorithm::EdDsa, "ed25519"),
    (Algorithm::Rs256, "rs256"),
];

/// Further claims, so that a token has about 750 bytes.
#[derive(serde::Serialize)]
pub struct Extra {
    tenant: &'static str,
    env: &'static str,
    roles: [&'static str; 2],
    #[serde(rename = "x5t#S256")]
    x5t: &'static str,
}

const EXTRA: Extra = Extra {
    tenant: "acme-europe",
    env: "production",
    roles: ["orders-reader", "orders-writer"],
    x5t: "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2",
};

/// One algorithm's issuer and verifiers.
pub struct World {
    /// Mints with the algorithm.
    pub minter: Minter,
    /// Verifies everything each time, and looks nothing up.
    pub bare: Verifier,
    /// Verifies everything each time, revocation included.
    pub cold: Verifier,
    /// Remembers tokens.
    pub warm: Verifier,
    /// What both verifiers look in; some other tokens are revoked in it.
    pub revocations: Arc<Revocations>,
}

/// The time at which everything happens.
///
/// # Panics
///
/// Never: it is in range.
pub fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).expect("in range")
}

/// The request that tokens are minted from.
pub fn request() -> TokenRequest<'static, Extra> {
    TokenRequest::new(SUBJECT, AUDIENCE, Duration::from_secs(300))
        .with_not_before(now())
        .with_client_id("billing-prod-7f9c")
        .with_scope("orders:read orders:write")
        .with_claims(&EXTRA)
}

impl World {
    /// An issuer for `algorithm`, whose keys `backend` prepares.
    ///
    /// # Panics
    ///
    /// If a key cannot be made, which makes every figure worthless.
    pub fn new(algorithm: Algorithm, backend: Backend) -> Self {
        let hour = Duration::from_secs(3600);
        let ring = match algorithm {
            Algorithm::Hs256 => {
                let secret = SecretBytes::new((1..=32).collect());
                let key = MacKey::new(algorithm, secret).expect("a sound secret");
                SigningKeyRing::secret("bench-2026-11", key, hour)
            }
            _ => SigningKeyRing::new(signing_key(algorithm, backend), hour),
        };
        let ring = Arc::new(ring.expect("a sound first key"));
        let revocations = Arc::new(Revocations::new([7; 16], now()));
        for i in 0..1000 {
            let jti = format!("another-token-{i}");
            let target = Target::Token {
                issuer: ISSUER,
                jti: &jti,
            };
            revocations.revoke(target, Timestamp::MAX).expect("room");
        }
        let verifier = || {
            Verifier::builder(
                Issuers::one(ISSUER, ring.verifying_keys()),
                Audience::exactly(AUDIENCE),
                TokenType::access_token(),
            )
        };
        let bare = verifier().build().expect("a sound policy");
        let verifier = || verifier().with_revocations(Arc::clone(&revocations));
        let cold = verifier().build().expect("a sound policy");
        let warm = verifier()
            .with_cache(16 << 20, &SystemRandom)
            .expect("randomness")
            .build()
            .expect("a sound policy");
        let minter = Minter::new(ISSUER, TokenType::access_token(), ring).expect("a sound minter");
        Self {
            minter,
            bare,
            cold,
            warm,
            revocations,
        }
    }

    /// A token, checked before it is used: cold and warm verifiers take it.
    ///
    /// # Panics
    ///
    /// If they do not: a bench must not time a refusal.
    pub fn token(&self) -> String {
        let token = self
            .minter
            .mint(&request(), now(), &SystemRandom)
            .expect("it can be minted");
        let mut scratch = Scratch::new();
        for verifier in [&self.bare, &self.cold, &self.warm] {
            verifier
                .verify(&token, now(), &mut scratch)
                .expect("it verifies");
        }
        let again = self.warm.verify(&token, now(), &mut scratch);
        assert!(again.expect("it verifies").was_cached());
        token
    }
}

/// A key for `algorithm`, prepared by `backend`.
///
/// # Panics
///
/// If it cannot be made.
pub fn signing_key(algorithm: Algorithm, backend: Backend) -> SigningKey {
    let key = SigningKey::generate(algorithm, &SystemRandom).expect("a key");
    key.with_backend(backend).expect("the library can do that")
}
