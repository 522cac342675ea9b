//! Our transmitter behind HTTP: the edge that a service writes, as small as it can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use caep_set::{
    ChangeType, Common, ComplianceStatus, CredentialChange, CredentialType, DeviceComplianceChange,
    Event, InitiatingEntity, Reasons, SecurityEvent, SessionRevoked, SubjectId,
};
use caep_stream::TransmitterMetadata;
use caep_stream::transmitter::{
    Answer, Caller, Pusher, Transmitter, TransmitterOptions, unauthorized,
};
use http::{HeaderValue, Request, Response};
use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_store::{IdempotencyKey, MemoryStore, Store};
use m2m_testkit::http::{Loopback, Server};
use m2m_testkit::keys::RSA_JWK;
use m2m_testkit::wait;
use m2m_token::SigningKeyRing;
use m2m_types::{Clock, SystemClock, Timestamp};
use pollster::block_on;

use crate::streams::{CAEP, INTEROP};

/// With a path, so that the well-known address goes between host and path.
pub(crate) const ISSUER: &str = "https://transmitter.example/tenant-1";
pub(crate) const HOST: &str = "transmitter.example";
const TOKEN: &str = "token-of-the-tester";
const HOUR: Duration = Duration::from_secs(3600);
/// How long its pusher waits for something new before it looks again.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct TransmitterHost {
    edge: Arc<Edge>,
    pusher: Option<JoinHandle<()>>,
    _server: Server,
}

struct Edge {
    transmitter: Arc<Transmitter>,
    keys: Arc<SigningKeyRing>,
    clock: SystemClock,
    network: Loopback,
    ending: AtomicBool,
}

impl TransmitterHost {
    /// Starts it, and tells `network` where it is. Pushes go where `network` says.
    pub(crate) fn start(network: &Loopback) -> Self {
        let secret = SecretBytes::from(RSA_JWK.as_bytes());
        let key = SigningKey::from_jwk_as(&secret, Algorithm::Rs256).expect("the key of RFC 7515");
        let keys = Arc::new(SigningKeyRing::new(key, HOUR).expect("a ring"));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = TransmitterOptions::default()
            .with_min_verification_interval(Duration::from_secs(1))
            .with_long_poll(Duration::from_secs(5));
        let types: Vec<String> = INTEROP.iter().map(|name| format!("{CAEP}{name}")).collect();
        let transmitter = Transmitter::new(
            store,
            "tests",
            metadata(),
            &format!("{ISSUER}/poll"),
            Arc::clone(&keys),
            types.iter().map(String::as_str),
            options,
        );
        let edge = Arc::new(Edge {
            transmitter: Arc::new(transmitter.expect("a transmitter")),
            keys,
            clock: SystemClock::new(),
            network: network.clone(),
            ending: AtomicBool::new(false),
        });
        let answering = Arc::clone(&edge);
        let server = Server::start(move |request| answering.answer(&request));
        let server = server.expect("a port is free");
        network.tell(HOST, server.address());
        let pushing = Arc::clone(&edge);
        Self {
            edge,
            pusher: Some(std::thread::spawn(move || pushing.push())),
            _server: server,
        }
    }

    pub(crate) fn issuer(&self) -> &'static str {
        ISSUER
    }

    pub(crate) fn token(&self) -> &'static str {
        TOKEN
    }

    /// What makes events happen.
    pub(crate) fn trigger(&self) -> Box<dyn Fn(&str) + Send + Sync> {
        let edge = Arc::clone(&self.edge);
        Box::new(move |uri| edge.publish(uri))
    }
}

impl Drop for TransmitterHost {
    fn drop(&mut self) {
        self.edge.ending.store(true, Ordering::SeqCst);
        if let Some(pusher) = self.pusher.take() {
            // What it panics about, its thread has said.
            let _ = pusher.join();
        }
    }
}

fn metadata() -> TransmitterMetadata {
    let at = |name: &str| format!("{ISSUER}/{name}");
    let metadata = TransmitterMetadata::new(ISSUER, &at("jwks.json")).expect("https");
    let metadata = metadata.with_endpoints(
        &at("streams"),
        &at("status"),
        &at("subjects:add"),
        &at("subjects:remove"),
        &at("verify"),
    );
    let metadata = metadata.expect("https");
    metadata.with_authorization_schemes(["urn:ietf:rfc:6749"])
}

impl Edge {
    fn now(&self) -> Timestamp {
        self.clock.now().expect("a clock that can be believed")
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let request = borrowed(request);
        if request.uri().path().ends_with("/jwks.json") {
            let keys = self.keys.jwk_set().to_json().into_bytes();
            let json = HeaderValue::from_static("application/json");
            let mut response = Response::new(keys);
            response.headers_mut().insert("content-type", json);
            return response;
        }
        if let Some(response) = self.transmitter.metadata(&request) {
            return response;
        }
        let shown = request.headers().get("authorization");
        if shown.is_none_or(|value| *value != *format!("Bearer {TOKEN}")) {
            return unauthorized(HeaderValue::from_static("Bearer"));
        }
        let caller = Caller::new("tester", "https://receiver.example/audience");
        let caller = caller.expect("names");
        let handled = self
            .transmitter
            .handle(&request, &caller, self.now(), &SystemRandom);
        let mut answer = block_on(handled);
        loop {
            let poll = match answer {
                Ok(Answer::Ready(response)) => return response,
                Ok(Answer::Waiting(poll)) => poll,
                Err(error) => return error.response(),
            };
            let left = poll.until().checked_since(self.now()).unwrap_or_default();
            // Whatever it was, and if it was nothing: the transmitter looks.
            let _ = wait::at_most(left.min(PAUSE), self.transmitter.changed(&poll));
            answer = block_on(self.transmitter.resume(poll, self.now(), &SystemRandom));
        }
    }

    fn push(&self) {
        let mut pusher = Pusher::new(Arc::clone(&self.transmitter));
        while !self.ending.load(Ordering::SeqCst) {
            let next = block_on(pusher.poll_delivery(self.now(), &SystemRandom));
            let Some(delivery) = next.expect("a store in memory") else {
                let _ = wait::at_most(PAUSE, pusher.changed());
                continue;
            };
            let sent = self.network.call(delivery.request(), HOUR);
            let (now, id) = (self.now(), delivery.id());
            let pushed = match &sent {
                Ok(response) => {
                    let response = response_of(response);
                    block_on(pusher.handle_response(id, &response, now, &SystemRandom))
                }
                Err(_) => block_on(pusher.handle_failure(id, now, &SystemRandom)),
            };
            pushed.expect("a store in memory");
        }
    }

    /// Something of the type `uri` happens.
    fn publish(&self, uri: &str) {
        let now = self.now();
        let mut common = Common::default();
        common.event_timestamp = Some(now.into());
        common.initiating_entity = Some(InitiatingEntity::Policy);
        common.reason_admin = Some(Reasons::in_language("en", "a test"));
        let event = match uri.trim_start_matches(CAEP) {
            "session-revoked" => {
                let mut event = SessionRevoked::new();
                event.common = common;
                Event::from(event)
            }
            "credential-change" => {
                let mut event = CredentialChange::new(CredentialType::Password, ChangeType::Update);
                event.common = common;
                Event::from(event)
            }
            _ => {
                let (before, after) = (ComplianceStatus::Compliant, ComplianceStatus::NotCompliant);
                let mut event = DeviceComplianceChange::new(before, after);
                event.common = common;
                Event::from(event)
            }
        };
        let subject = SubjectId::email("user@example.com").expect("an address");
        let event = SecurityEvent::new(subject, event).with_transaction("a-test");
        let name = IdempotencyKey::generate(&SystemRandom).expect("randomness");
        let published = block_on(self.transmitter.publish(&event, name, now));
        published.expect("a store in memory");
    }
}

/// The same request, with a body that is lent.
pub(crate) fn borrowed(request: &Request<Vec<u8>>) -> Request<&[u8]> {
    let mut lent = Request::new(request.body().as_slice());
    *lent.method_mut() = request.method().clone();
    *lent.uri_mut() = request.uri().clone();
    *lent.headers_mut() = request.headers().clone();
    lent
}

/// The same response, with a body that is lent.
pub(crate) fn response_of(response: &Response<Vec<u8>>) -> Response<&[u8]> {
    let mut lent = Response::new(response.body().as_slice());
    *lent.status_mut() = response.status();
    *lent.headers_mut() = response.headers().clone();
    lent
}
