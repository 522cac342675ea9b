//! m2m's side: for each algorithm a key, a minter and a verifier.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use m2m_crypto::{Algorithm, MacKey, SecretBytes, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
};
use m2m_types::Timestamp;

use crate::Claims;

pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "https://service.example";
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
/// Long enough for HS512 (RFC 7518 §3.2).
pub(crate) const SECRET: &[u8; 64] = &[7; 64];
const SECRET_ID: &str = "the shared one";

/// One per algorithm.
pub(crate) static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    [
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
    ]
    .map(Subject::new)
    .into()
});

/// An issuer with one key, and a service that trusts it.
pub(crate) struct Subject {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: String,
    /// `None` for HMAC, whose key is [`SECRET`].
    pub(crate) key: Option<SigningKey>,
    minter: Minter,
    verifier: Verifier,
}

impl Subject {
    fn new(algorithm: Algorithm) -> Self {
        let key = (!algorithm.is_symmetric())
            .then(|| SigningKey::generate(algorithm, &SystemRandom).expect("a key is made"));
        let (ring, kid) = match &key {
            Some(key) => {
                let copy =
                    SigningKey::from_pkcs8_der(algorithm, key.to_pkcs8_der().expose_secret());
                let ring = SigningKeyRing::new(copy.expect("its own form"), LIFETIME);
                (ring, key.verifying_key().thumbprint().to_string())
            }
            None => {
                let secret = MacKey::new(algorithm, SecretBytes::new(SECRET.to_vec()));
                let secret = secret.expect("the secret is long enough");
                (
                    SigningKeyRing::secret(SECRET_ID, secret, LIFETIME),
                    SECRET_ID.to_owned(),
                )
            }
        };
        let ring = Arc::new(ring.expect("one key fits"));
        let verifier = Verifier::builder(
            Issuers::one(ISSUER, ring.verifying_keys()),
            Audience::exactly(AUDIENCE),
            TokenType::access_token(),
        );
        Self {
            algorithm,
            kid,
            key,
            minter: Minter::new(ISSUER, TokenType::access_token(), ring).expect("it has a name"),
            verifier: verifier.build().expect("the policy is sound"),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.algorithm.name()
    }

    pub(crate) fn mint(&self, claims: &Claims) -> String {
        let request = TokenRequest::new(&claims.sub, AUDIENCE, LIFETIME)
            .with_token_id(&claims.jti)
            .with_client_id(&claims.client_id)
            .with_scope(&claims.scope)
            .with_claims(&claims.further);
        self.minter
            .mint(&request, now(), &SystemRandom)
            .expect("it mints")
    }

    pub(crate) fn verify(&self, token: &str) -> Option<Claims> {
        let mut scratch = Scratch::new();
        let verified = self.verifier.verify(token, now(), &mut scratch).ok()?;
        Some(
            verified
                .claims()
                .deserialize()
                .expect("they have their types"),
        )
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is past 1970");
    Timestamp::from_unix_seconds(since.as_secs()).expect("it is before the year 10000")
}
