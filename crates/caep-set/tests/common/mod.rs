//! What the tests share: a transmitter and a receiver that know each other.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::Arc;
use std::time::Duration;

use caep_set::{AuthenticSet, Profile, SetError, SetMinter, SetVerifier};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_token::{Audience, Issuers, KeySet, Scratch, SigningKeyRing};
use m2m_types::Timestamp;

pub(crate) const TRANSMITTER: &str = "https://tr.example.com";
pub(crate) const RECEIVER: &str = "https://receiver.example.com/stream/1";
pub(crate) const NOW: u64 = 1_790_000_010;

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

/// A transmitter whose key can also sign what no minter would make.
pub(crate) struct Transmitter {
    key: SigningKey,
}

impl Transmitter {
    pub(crate) fn new() -> Self {
        Self {
            key: SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap(),
        }
    }

    pub(crate) fn keys(&self) -> KeySet {
        KeySet::new()
            .with_key("k1", self.key.verifying_key().clone())
            .unwrap()
    }

    /// Signs a header and claims as they are.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let input = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let mut signature = [0; m2m_crypto::MAX_SIGNATURE_BYTES];
        let length = self.key.sign(input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", encode(&signature[..length]))
    }

    /// Signs claims under the header of a SET.
    pub(crate) fn set(&self, claims: &str) -> String {
        self.sign(r#"{"typ":"secevent+jwt","alg":"ES256","kid":"k1"}"#, claims)
    }

    pub(crate) fn verifier(&self, profile: Profile) -> SetVerifier {
        SetVerifier::new(
            Issuers::one(TRANSMITTER, self.keys()),
            Audience::exactly(RECEIVER),
            profile,
        )
        .unwrap()
    }
}

pub(crate) fn minter() -> (SetMinter, Arc<SigningKeyRing>) {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
    (
        SetMinter::new(TRANSMITTER, Arc::clone(&ring)).unwrap(),
        ring,
    )
}

pub(crate) fn verify(verifier: &SetVerifier, set: &str) -> Result<AuthenticSet, SetError> {
    verifier.verify(set, at(NOW), &mut Scratch::new())
}

/// The claims of a SET that keeps all rules, with changes: a value takes the place of what was there,
/// and `null` takes a claim away.
pub(crate) fn claims(changes: &serde_json::Value) -> String {
    let mut claims = serde_json::json!({
        "iss": TRANSMITTER,
        "jti": "4d3559ec67504aaba65d40b0363faad8",
        "iat": NOW - 10,
        "aud": RECEIVER,
        "txn": "8675309",
        "sub_id": {
            "format": "complex",
            "user": {"format": "iss_sub", "iss": TRANSMITTER, "sub": "alice"},
            "session": {"format": "opaque", "id": "sess-1"},
        },
        "events": {SESSION_REVOKED: {"event_timestamp": NOW - 10}},
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims.to_string()
}

pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
