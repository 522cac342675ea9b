//! What the tests of this crate share: keys, tokens written by hand, and verifiers that are the same but
//! for what must not matter.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

pub mod jws;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{Algorithm, Backend, MacKey, SecretBytes, SigningKey, SystemRandom};
use m2m_token::{
    Audience, Issuers, KeySet, Presenter, Scratch, TokenType, Verifier, VerifierBuilder,
    VerifyError,
};
use m2m_types::Timestamp;
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.example";
pub const ORDERS: &str = "spiffe://example.org/orders";
pub const BILLING: &str = "spiffe://example.org/billing";
/// When the tokens of these tests are issued, in seconds since 1970.
pub const START: u64 = 1_700_000_000;

pub use m2m_testkit::keys::RSA_JWK;

/// `offset` seconds after [`START`].
pub fn at(offset: i64) -> Timestamp {
    Timestamp::from_unix_seconds(START.checked_add_signed(offset).unwrap()).unwrap()
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Every library this build has.
pub fn backends() -> Vec<Backend> {
    vec![
        Backend::Ring,
        #[cfg(feature = "aws-lc-rs")]
        Backend::AwsLcRs,
    ]
}

/// The algorithms with key pairs that this build knows.
pub fn algorithms() -> Vec<Algorithm> {
    let mut all = vec![
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Ed25519,
        Algorithm::EdDsa,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];
    if cfg!(feature = "aws-lc-rs") {
        all.push(Algorithm::Es512);
    }
    all
}

pub const MACS: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

/// A key pair: fresh, but for RSA, which takes long to make.
pub fn key(algorithm: Algorithm) -> SigningKey {
    if algorithm.name().starts_with("RS") || algorithm.name().starts_with("PS") {
        return SigningKey::from_jwk_as(&secret(RSA_JWK), algorithm).unwrap();
    }
    SigningKey::generate(algorithm, &SystemRandom).unwrap()
}

pub fn secret(text: impl AsRef<[u8]>) -> SecretBytes {
    SecretBytes::new(text.as_ref().to_vec())
}

/// A shared secret that is the same in each run.
pub fn mac(algorithm: Algorithm) -> MacKey {
    MacKey::new(algorithm, secret([0x5a; 64])).unwrap()
}

/// A set with one key, called `k1`.
pub fn set(key: &SigningKey) -> KeySet {
    KeySet::new()
        .with_key("k1", key.verifying_key().clone())
        .unwrap()
}

/// Whatever makes signatures.
pub trait Signs {
    fn signature(&self, input: &[u8]) -> Vec<u8>;
}

impl Signs for SigningKey {
    fn signature(&self, input: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.signature_bytes()];
        let length = self.sign(input, &mut out).unwrap();
        out.truncate(length);
        out
    }
}

impl Signs for MacKey {
    fn signature(&self, input: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.signature_bytes()];
        let length = self.sign(input, &mut out).unwrap();
        out.truncate(length);
        out
    }
}

/// A signature of the given bytes, whatever is signed.
pub struct Fixed(pub Vec<u8>);

impl Signs for Fixed {
    fn signature(&self, _: &[u8]) -> Vec<u8> {
        self.0.clone()
    }
}

/// A token with exactly this header and this payload, well signed.
pub fn sign(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>, key: &impl Signs) -> String {
    let input = format!("{}.{}", b64(header), b64(payload));
    let signature = key.signature(input.as_bytes());
    format!("{input}.{}", b64(signature))
}

/// The header that the verifiers here expect.
pub fn header(algorithm: Algorithm) -> Value {
    json!({"alg": algorithm.name(), "kid": "k1", "typ": "at+jwt"})
}

/// Claims that the verifiers here take.
pub fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": BILLING, "aud": ORDERS,
        "iat": START, "exp": START + 300, "jti": "t-1",
    })
}

/// The JSON text of `value` with the member `name` replaced by the JSON text `json`, however odd.
pub fn with_raw(value: &Value, name: &str, json: &str) -> String {
    let mut object = value.as_object().unwrap().clone();
    object.remove(name);
    let rest = serde_json::to_string(&object).unwrap();
    let comma = if object.is_empty() { "" } else { "," };
    format!("{{\"{name}\":{json}{comma}{}", &rest[1..])
}

pub fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name).unwrap();
    value
}

pub fn with(value: &Value, name: &str, member: Value) -> Value {
    let mut value = value.clone();
    value[name] = member;
    value
}

/// The policy that most tests here use.
pub fn policy(keys: KeySet) -> VerifierBuilder {
    Verifier::builder(
        Issuers::one(ISSUER, keys),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
}

/// Verifiers of the same policy that differ in what must not change an answer: the library that
/// prepared the keys, whether tokens are remembered, whether the scratch memory is fresh.
pub struct Verifiers(Vec<Verifier>);

impl Verifiers {
    /// Of [`policy`].
    pub fn of(keys: KeySet) -> Self {
        Self::new(&keys, policy)
    }

    pub fn new(keys: &KeySet, policy: impl Fn(KeySet) -> VerifierBuilder) -> Self {
        let mut all = Vec::new();
        for backend in backends() {
            // ES512 and the like are for one library only.
            let Ok(keys) = keys.clone().with_backend(backend) else {
                continue;
            };
            all.push(policy(keys.clone()).build().unwrap());
            let cached = policy(keys).with_cache(1 << 16, &SystemRandom).unwrap();
            all.push(cached.build().unwrap());
        }
        assert!(!all.is_empty());
        Self(all)
    }

    /// `ok`, or the word for why the token is refused, at [`START`].
    #[track_caller]
    pub fn code(&self, token: &str) -> &'static str {
        self.code_at(token, at(0))
    }

    #[track_caller]
    pub fn code_at(&self, token: &str, now: Timestamp) -> &'static str {
        self.code_presented(token, &Presenter::unknown(), now)
    }

    #[track_caller]
    pub fn code_presented(
        &self,
        token: &str,
        presenter: &Presenter,
        now: Timestamp,
    ) -> &'static str {
        let mut used = Scratch::new();
        let mut codes = Vec::new();
        for verifier in &self.0 {
            // Twice: the second time header or token may be known.
            for _ in 0..2 {
                for scratch in [&mut used, &mut Scratch::new()] {
                    let result = verifier.verify_presented(token, presenter, now, scratch);
                    codes.push(match result {
                        Ok(_) => "ok",
                        Err(error) => {
                            assert_mute(&error, token);
                            error.code()
                        }
                    });
                }
            }
        }
        let first = codes[0];
        assert!(
            codes.iter().all(|code| *code == first),
            "one policy, several answers: {codes:?}"
        );
        first
    }

    /// The error itself, of the first verifier.
    #[track_caller]
    pub fn error(&self, token: &str) -> VerifyError {
        let mut scratch = Scratch::new();
        self.0[0].verify(token, at(0), &mut scratch).unwrap_err()
    }

    pub fn each(&self) -> impl Iterator<Item = &Verifier> {
        self.0.iter()
    }
}

/// Rule G-4: what an error shows is short, one line of ASCII (and an ellipsis), and no part of the
/// token longer than a name.
#[track_caller]
pub fn assert_mute(error: &VerifyError, token: &str) {
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.len() <= 512, "{} bytes: {shown}", shown.len());
        assert!(
            shown
                .chars()
                .all(|c| c == '…' || (c.is_ascii() && !c.is_ascii_control())),
            "{shown:?}"
        );
        let parts = token.split('.').filter(|part| part.len() >= 32);
        for part in parts.filter(|part| part.is_ascii()) {
            assert!(!shown.contains(&part[..32]), "{shown}");
        }
    }
    assert_eq!(error.rejection().code(), "invalid_token");
}

/// One key pair, its set and its verifiers.
pub struct Bench {
    pub key: SigningKey,
    pub algorithm: Algorithm,
    pub verifiers: Verifiers,
}

impl Bench {
    pub fn new(algorithm: Algorithm) -> Self {
        let key = key(algorithm);
        Self {
            verifiers: Verifiers::of(set(&key)),
            key,
            algorithm,
        }
    }

    pub fn with_policy(algorithm: Algorithm, policy: impl Fn(KeySet) -> VerifierBuilder) -> Self {
        let key = key(algorithm);
        Self {
            verifiers: Verifiers::new(&set(&key), policy),
            key,
            algorithm,
        }
    }

    pub fn es256() -> Self {
        Self::new(Algorithm::Es256)
    }

    /// A token that is taken.
    pub fn good(&self) -> String {
        self.claims(claims().to_string())
    }

    /// A token with this payload and the usual header.
    pub fn claims(&self, payload: impl AsRef<[u8]>) -> String {
        sign(header(self.algorithm).to_string(), payload, &self.key)
    }

    /// A token with this header and the usual payload.
    pub fn header(&self, header: impl AsRef<[u8]>) -> String {
        sign(header, claims().to_string(), &self.key)
    }

    #[track_caller]
    pub fn code(&self, token: &str) -> &'static str {
        self.verifiers.code(token)
    }

    /// What becomes of a token with this payload.
    #[track_caller]
    pub fn claims_code(&self, payload: impl AsRef<[u8]>) -> &'static str {
        self.code(&self.claims(payload))
    }

    /// What becomes of a token with this header.
    #[track_caller]
    pub fn header_code(&self, header: impl AsRef<[u8]>) -> &'static str {
        self.code(&self.header(header))
    }
}

/// A set of one secret, called `k1`.
pub fn secret_set(key: &Arc<MacKey>) -> KeySet {
    KeySet::new().with_secret("k1", Arc::clone(key)).unwrap()
}
