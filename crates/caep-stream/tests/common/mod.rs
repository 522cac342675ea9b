//! Transmitters, and a receiver that knows them.
#![allow(dead_code, reason = "not each test needs each of these")]

use std::sync::Arc;
use std::time::Duration;

use caep_set::{Event, Profile, SecurityEvent, SetMinter, SubjectId, Verification};
use caep_stream::StreamConfiguration;
use caep_stream::receiver::{
    Namespace, Receiver, Source, SourceKeys, Trust, TrustMatrix, TrustRule,
};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_revoke::{Revocations, StoredOptions, StoredRevocations};
use m2m_store::{MemoryStore, Store};
use m2m_token::{Audience, SigningKeyRing};
use m2m_types::Timestamp;
use pollster::block_on;

pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const RECEIVER: &str = "https://rc.example";
pub(crate) const A: &str = "https://a.example";
pub(crate) const B: &str = "https://b.example";

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

/// One who makes SETs.
pub(crate) struct Transmitter {
    pub(crate) issuer: &'static str,
    pub(crate) ring: Arc<SigningKeyRing>,
    pub(crate) minter: SetMinter,
}

impl Transmitter {
    pub(crate) fn new(issuer: &'static str) -> Self {
        let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom).unwrap();
        let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
        let minter = SetMinter::new(issuer, Arc::clone(&ring)).unwrap();
        Self {
            issuer,
            ring,
            minter,
        }
    }

    pub(crate) fn set(&self, jti: &str, subject: SubjectId, event: impl Into<Event>) -> String {
        self.set_at(jti, subject, event, NOW)
    }

    pub(crate) fn set_at(
        &self,
        jti: &str,
        subject: SubjectId,
        event: impl Into<Event>,
        made: u64,
    ) -> String {
        let event = SecurityEvent::new(subject, event).with_transaction("t-1");
        self.sign(&event, jti, RECEIVER, made)
    }

    pub(crate) fn sign(
        &self,
        event: &SecurityEvent,
        jti: &str,
        audience: &str,
        made: u64,
    ) -> String {
        let template = self.minter.template(event, at(made)).unwrap();
        self.minter.mint_named(&template, audience, jti).unwrap()
    }

    pub(crate) fn verification(&self, jti: &str, state: Option<&str>, made: u64) -> String {
        let mut event = Verification::new();
        event.state = state.map(Box::from);
        self.set_at(jti, SubjectId::opaque("s-1").unwrap(), event, made)
    }

    pub(crate) fn source(&self) -> Source {
        let keys = SourceKeys::fixed(self.ring.verifying_keys());
        let audience = Audience::exactly(RECEIVER);
        Source::new(self.issuer, keys, audience, Profile::ssf()).unwrap()
    }
}

/// The stream `s-1` of `issuer`, polled.
pub(crate) fn stream(issuer: &str) -> StreamConfiguration {
    let json = format!(
        r#"{{"stream_id": "s-1", "iss": "{issuer}", "aud": "{RECEIVER}",
        "delivery": {{"method": "urn:ietf:rfc:8936", "endpoint_url": "{issuer}/poll"}},
        "events_delivered": [], "min_verification_interval": 30}}"#
    );
    StreamConfiguration::from_json(issuer, json.as_bytes()).unwrap()
}

pub(crate) fn memory() -> (Arc<MemoryStore>, Arc<dyn Store>) {
    let store = Arc::new(MemoryStore::new());
    (Arc::clone(&store), store)
}

/// A and B may each act for their own names.
pub(crate) fn matrix() -> TrustMatrix {
    [A, B].into_iter().fold(TrustMatrix::new(), |matrix, name| {
        let rule = TrustRule::new(name, Trust::Act);
        matrix.with(
            rule.about(Namespace::issuer(name))
                .about(Namespace::own())
                .about(Namespace::trust_domain("example.org")),
        )
    })
}

pub(crate) fn open(store: &Arc<dyn Store>, sources: Vec<Source>) -> Receiver {
    let receiver = Receiver::open(Arc::clone(store), "test", sources, &SystemRandom);
    block_on(receiver).unwrap().with_trust(matrix())
}

pub(crate) fn revocations(store: &Arc<dyn Store>) -> StoredRevocations {
    let options = StoredOptions::default();
    block_on(StoredRevocations::open(
        Arc::clone(store),
        at(NOW),
        &SystemRandom,
        options,
    ))
    .unwrap()
}

/// Whether a token of the session is refused.
pub(crate) fn is_session_revoked(revocations: &Revocations, issuer: &str, sid: &str) -> bool {
    let target = m2m_revoke::Target::Session { issuer, sid };
    revocations.check(&target, None, at(NOW)).is_err()
}

pub(crate) fn push<'b>(set: &'b str, authorization: Option<&str>) -> http::Request<&'b [u8]> {
    let request = http::Request::post("/events").header("content-type", "application/secevent+jwt");
    let request = match authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    };
    request.body(set.as_bytes()).unwrap()
}
