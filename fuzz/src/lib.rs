//! What the fuzz targets share: fixed keys (those that RFC 7515 and RFC 8037 print), verifiers over
//! them, and the promises that hold for every refusal.

pub mod pki;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{
    Algorithm, Jwk, MacKey, RandomError, SecretBytes, SecureRandom, SigningKey, VerifyingKey,
};
use m2m_revoke::{Revocations, Target};
use m2m_token::{Audience, Issuers, KeySet, TokenType, Verifier, VerifierBuilder};
use m2m_types::Timestamp;

/// The issuer of every token, as in the examples of RFC 7515.
pub const ISSUER: &str = "joe";
/// The service that verifies.
pub const ORDERS: &str = "spiffe://example.org/orders";
/// The service that is verified.
pub const BILLING: &str = "spiffe://example.org/billing";
/// The `jti` that is revoked.
pub const REVOKED: &str = "revoked";

/// The private JWKs that the RFCs print.
pub const HS256: &str = include_str!("../keys/hs256.jwk");
/// RFC 7515 §A.2.
pub const RS256: &str = include_str!("../keys/rs256.jwk");
/// RFC 7515 §A.3.
pub const ES256: &str = include_str!("../keys/es256.jwk");
/// RFC 8037 §A.1.
pub const EDDSA: &str = include_str!("../keys/eddsa.jwk");

/// Six minutes before the examples of RFC 7515 expire.
pub fn now() -> Timestamp {
    at(1_300_819_000)
}

/// A moment.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).expect("a second before the year 9999")
}

/// The shared secret of RFC 7515 §A.1, for any HMAC.
pub fn mac_key(algorithm: Algorithm) -> MacKey {
    let jwk = HS256.replace("HS256", algorithm.name());
    MacKey::from_jwk(&SecretBytes::from(jwk.as_bytes())).expect("an RFC's example is a key")
}

/// The private key in `jwk`.
pub fn signing_key(jwk: &str) -> SigningKey {
    SigningKey::from_jwk(&SecretBytes::from(jwk.as_bytes())).expect("an RFC's example is a key")
}

/// The public half of `jwk`, for `algorithm`.
pub fn verifying_key(jwk: &str, algorithm: Algorithm) -> VerifyingKey {
    let jwk = jwk.replace(r#""alg""#, r#""was""#);
    let jwk = Jwk::from_json(jwk.as_bytes()).expect("an RFC's example is a JWK");
    VerifyingKey::from_jwk_as(&jwk, algorithm).expect("an RFC's example is a key")
}

/// A verifier that checks all there is to check: one key of each kind, all of them named.
pub fn strict() -> VerifierBuilder {
    let keys = KeySet::new()
        .with_secret("hs", mac_key(Algorithm::Hs256))
        .and_then(|keys| keys.with_key("rs", verifying_key(RS256, Algorithm::Rs256)))
        .and_then(|keys| keys.with_key("ps", verifying_key(RS256, Algorithm::Ps256)))
        .and_then(|keys| keys.with_key("es", verifying_key(ES256, Algorithm::Es256)))
        .and_then(|keys| keys.with_key("ed", verifying_key(EDDSA, Algorithm::Ed25519)))
        .expect("five keys of different names");
    let revocations = Revocations::new([7; 16], at(1_300_000_000));
    let (issuer, jti) = (ISSUER, REVOKED);
    revocations
        .revoke(Target::Token { issuer, jti }, at(1_400_000_000))
        .expect("there is room for one");
    Verifier::builder(
        Issuers::one(ISSUER, keys.clone()).and("another", keys),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_max_lifetime(Duration::from_secs(3600))
    .with_revocations(Arc::new(revocations))
}

/// A verifier that checks the signature, the dates and the form, and takes whatever is left.
pub fn lenient() -> VerifierBuilder {
    let keys = KeySet::new()
        .with_unnamed_secret(mac_key(Algorithm::Hs256))
        .and_then(|keys| keys.with_unnamed_key(verifying_key(RS256, Algorithm::Rs256)))
        .and_then(|keys| keys.with_unnamed_key(verifying_key(RS256, Algorithm::Ps256)))
        .and_then(|keys| keys.with_unnamed_key(verifying_key(ES256, Algorithm::Es256)))
        .and_then(|keys| keys.with_unnamed_key(verifying_key(EDDSA, Algorithm::EdDsa)))
        .and_then(|keys| keys.with_secret("hs", mac_key(Algorithm::Hs256)))
        .expect("keys without a name and one with");
    Verifier::builder(
        Issuers::danger_ignored(keys),
        Audience::danger_ignored(),
        TokenType::danger_ignored(),
    )
    .danger_ignoring_binding()
}

/// `builder` with the smallest cache there is, so that tokens push each other out of it.
pub fn cached(builder: VerifierBuilder) -> VerifierBuilder {
    builder
        .with_cache(1, &FixedRandom)
        .expect("the fixed source does not fail")
}

/// A source of bytes that are always the same, so that a finding can be repeated.
#[derive(Debug)]
pub struct FixedRandom;

impl SecureRandom for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(0x5a);
        Ok(())
    }
}

/// `header`, `claims` and their HMAC as a compact JWS (RFC 7515 §7.1).
pub fn sign(key: &MacKey, header: &[u8], claims: &[u8]) -> String {
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(claims));
    let mut tag = [0; 64];
    let length = key
        .sign(token.as_bytes(), &mut tag)
        .expect("64 bytes hold a tag");
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(tag.get(..length).unwrap_or_default()));
    token
}

/// What every refusal promises to whoever writes it into a log: it is short, of one line, and
/// nothing in it steers a terminal.
pub fn check_message(error: &dyn Display) {
    let message = error.to_string();
    assert!(message.len() <= 512, "a message of {} bytes", message.len());
    let unprintable = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!message.contains(unprintable), "{message:?}");
}
