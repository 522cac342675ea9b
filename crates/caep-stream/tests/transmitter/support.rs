//! A transmitter in memory, and receivers that talk to it without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use caep_set::{
    AuthenticSet, DeviceComplianceChange, Event, Profile, SecurityEvent, SessionRevoked,
    SetVerifier, StreamUpdated, SubjectId, Verification,
};
use caep_stream::poll::{PollRequest, PollResponse};
use caep_stream::transmitter::{
    Answer, Caller, Published, PushDelivery, Pushed, Pusher, Transmitter, TransmitterError,
    TransmitterOptions,
};
use caep_stream::{DefaultSubjects, TransmitterMetadata};
use http::{Method, Request, Response, StatusCode};
use m2m_crypto::{Algorithm, SecureRandom, SigningKey, SystemRandom};
use m2m_store::{IdempotencyKey, MemoryStore, Store};
use m2m_token::{Audience, Issuers, Scratch, SigningKeyRing};
use m2m_types::Timestamp;
use pollster::block_on;
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://tr.example/issuer1";
pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const RANDOM: &dyn SecureRandom = &SystemRandom;
pub(crate) const PUSH: &str = "https://rc.example/events";

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

pub(crate) fn metadata(subjects: DefaultSubjects) -> TransmitterMetadata {
    TransmitterMetadata::new(ISSUER, "https://tr.example/jwks.json")
        .unwrap()
        .with_endpoints(
            "https://tr.example/ssf/streams",
            "https://tr.example/ssf/status",
            "https://tr.example/ssf/subjects/add",
            "https://tr.example/ssf/subjects/remove",
            "https://tr.example/ssf/verify",
        )
        .unwrap()
        .with_default_subjects(subjects)
}

/// A transmitter, whose clock the test moves.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) keys: Arc<SigningKeyRing>,
    pub(crate) transmitter: Arc<Transmitter>,
    options: TransmitterOptions,
    subjects: DefaultSubjects,
    now: AtomicU64,
}

pub(crate) fn caller(name: &str) -> Caller {
    Caller::new(name, &format!("https://{name}.example")).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(TransmitterOptions::default(), DefaultSubjects::All)
    }

    pub(crate) fn with(options: TransmitterOptions, subjects: DefaultSubjects) -> Self {
        let store = Arc::new(MemoryStore::new());
        let key = SigningKey::generate(Algorithm::Ed25519, RANDOM).unwrap();
        let keys = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap());
        Self {
            transmitter: open(&store, &keys, &options, subjects),
            store,
            keys,
            options,
            subjects,
            now: AtomicU64::new(NOW),
        }
    }

    /// Another process with the same store.
    pub(crate) fn another(&self) -> Arc<Transmitter> {
        open(&self.store, &self.keys, &self.options, self.subjects)
    }

    /// The process died, and another was started.
    pub(crate) fn restart(&mut self) {
        self.transmitter = self.another();
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn verifier(&self, audience: &str) -> SetVerifier {
        let issuers = Issuers::one(ISSUER, self.keys.verifying_keys());
        SetVerifier::new(issuers, Audience::exactly(audience), Profile::ssf()).unwrap()
    }

    /// What a receiver called `name` reads of a SET: it must be authentic and conforming.
    pub(crate) fn read(&self, name: &str, set: &str) -> AuthenticSet {
        let verifier = self.verifier(&format!("https://{name}.example"));
        let set = verifier.verify(set, self.now(), &mut Scratch::new());
        let set = set.unwrap_or_else(|error| panic!("{error}"));
        assert!(set.findings().is_empty(), "{:?}", set.findings());
        set
    }

    pub(crate) fn answer(
        &self,
        name: &str,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<Answer, TransmitterError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(body)
            .unwrap();
        let caller = caller(name);
        let answer = self
            .transmitter
            .handle(&request, &caller, self.now(), RANDOM);
        block_on(answer)
    }

    pub(crate) fn ask(&self, name: &str, method: Method, path: &str, body: &Value) -> Reply {
        let body = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).unwrap(),
        };
        match self.answer(name, method, path, &body).unwrap() {
            Answer::Ready(response) => Reply::new(response),
            Answer::Waiting(_) => panic!("a long poll"),
        }
    }

    pub(crate) fn get(&self, name: &str, path: &str) -> Reply {
        self.ask(name, Method::GET, path, &Value::Null)
    }

    pub(crate) fn post(&self, name: &str, path: &str, body: &Value) -> Reply {
        self.ask(name, Method::POST, path, body)
    }

    /// A stream that is polled.
    pub(crate) fn polled(&self, name: &str) -> String {
        self.create(
            name,
            &json!({"events_requested": [SessionRevoked::URI, DeviceComplianceChange::URI]}),
        )
    }

    /// A stream that is pushed to.
    pub(crate) fn pushed(&self, name: &str) -> String {
        let delivery = json!({
            "method": "urn:ietf:rfc:8935",
            "endpoint_url": PUSH,
            "authorization_header": "Bearer pushed",
        });
        self.create(name, &json!({"delivery": delivery}))
    }

    pub(crate) fn create(&self, name: &str, body: &Value) -> String {
        let reply = self.post(name, "/ssf/streams", body);
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.json);
        reply.json["stream_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn publish(&self, event: &SecurityEvent) {
        let name = IdempotencyKey::generate(RANDOM).unwrap();
        let published = self.transmitter.publish(event, name, self.now());
        assert_eq!(block_on(published), Ok(Published::Now));
    }

    /// Revokes a session.
    pub(crate) fn revoke(&self, session: &str) {
        self.publish(&revoked(session));
    }

    pub(crate) fn poll(
        &self,
        name: &str,
        stream: &str,
        request: &PollRequest,
    ) -> Vec<(String, String)> {
        self.poll_page(name, stream, request).0
    }

    pub(crate) fn poll_page(
        &self,
        name: &str,
        stream: &str,
        request: &PollRequest,
    ) -> (Vec<(String, String)>, bool) {
        let body = serde_json::to_value(request).unwrap();
        let reply = self.post(name, &format!("/ssf/poll/{stream}"), &body);
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        let response = PollResponse::from_json(&reply.body).unwrap();
        let owned = |(name, set): (&str, &str)| (name.to_owned(), set.to_owned());
        (
            response.sets().map(owned).collect(),
            response.more_available(),
        )
    }

    /// Polls, acknowledges, and says what it was told, in short words.
    pub(crate) fn drain(&self, name: &str, stream: &str) -> Vec<String> {
        let mut told = Vec::new();
        let mut acks: Vec<String> = Vec::new();
        loop {
            let request = PollRequest::new()
                .returning_immediately()
                .acknowledging(acks.iter().map(String::as_str));
            let sets = self.poll(name, stream, &request);
            if sets.is_empty() {
                return told;
            }
            told.extend(sets.iter().map(|(_, set)| self.said(name, set)));
            acks = sets.into_iter().map(|(jti, _)| jti).collect();
        }
    }

    /// What a SET says, in short words.
    pub(crate) fn said(&self, name: &str, set: &str) -> String {
        let set = self.read(name, set);
        let token = set.token().unwrap();
        let subject = serde_json::to_value(token.subject().unwrap()).unwrap();
        let id = subject["id"].as_str().unwrap_or("?").to_owned();
        match token.event().unwrap() {
            Event::SessionRevoked(_) => format!("revoked {id}"),
            Event::DeviceComplianceChange(event) => {
                format!("{id} is {}", event.current_status.as_str())
            }
            Event::Verification(Verification { state, .. }) => format!("verification {state:?}"),
            Event::StreamUpdated(StreamUpdated { status, reason, .. }) => {
                format!(
                    "stream {} {}",
                    status.as_str(),
                    reason.as_deref().unwrap_or_default()
                )
            }
            other => other.uri().to_owned(),
        }
    }

    pub(crate) fn status(&self, name: &str, stream: &str, status: &str) {
        let reply = self.post(
            name,
            "/ssf/status",
            &json!({"stream_id": stream, "status": status}),
        );
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.json["status"], status);
    }

    pub(crate) fn records(&self, space: &str) -> usize {
        let space = m2m_store::Space::new(&format!("ssf-{space}-test")).unwrap();
        let page = block_on(self.store.scan(&m2m_store::Scan::new(space))).unwrap();
        page.records().len()
    }
}

fn open(
    store: &Arc<MemoryStore>,
    keys: &Arc<SigningKeyRing>,
    options: &TransmitterOptions,
    subjects: DefaultSubjects,
) -> Arc<Transmitter> {
    open_on(Arc::<MemoryStore>::clone(store), keys, options, subjects)
}

pub(crate) fn open_on(
    store: Arc<dyn Store>,
    keys: &Arc<SigningKeyRing>,
    options: &TransmitterOptions,
    subjects: DefaultSubjects,
) -> Arc<Transmitter> {
    let events = [SessionRevoked::URI, DeviceComplianceChange::URI];
    let transmitter = Transmitter::new(
        store,
        "test",
        metadata(subjects),
        "https://tr.example/ssf/poll",
        Arc::clone(keys),
        events,
        options.clone(),
    );
    Arc::new(transmitter.unwrap())
}

pub(crate) fn revoked(session: &str) -> SecurityEvent {
    about(SubjectId::opaque(session).unwrap())
}

pub(crate) fn about(subject: SubjectId) -> SecurityEvent {
    SecurityEvent::new(subject, SessionRevoked::new()).with_transaction("cause")
}

/// The device is compliant, or not any more.
pub(crate) fn compliance(device: &str, now: &str) -> SecurityEvent {
    let event = DeviceComplianceChange::new("compliant", now);
    SecurityEvent::new(SubjectId::opaque(device).unwrap(), event).with_transaction("cause")
}

/// A response, read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) json: Value,
}

impl Reply {
    pub(crate) fn new(response: Response<Vec<u8>>) -> Self {
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        let json = match body.as_slice() {
            [] => Value::Null,
            body => {
                assert_eq!(parts.headers["content-type"], "application/json");
                serde_json::from_slice(body).unwrap()
            }
        };
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
            json,
        }
    }
}

/// Pushes for a world.
pub(crate) struct Pushing {
    pub(crate) pusher: Pusher,
}

impl Pushing {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            pusher: Pusher::new(Arc::clone(&world.transmitter)),
        }
    }

    pub(crate) fn next(&mut self, world: &World) -> Option<PushDelivery> {
        block_on(self.pusher.poll_delivery(world.now(), RANDOM)).unwrap()
    }

    pub(crate) fn answer(
        &mut self,
        world: &World,
        delivery: &PushDelivery,
        status: u16,
        body: &str,
    ) -> Pushed {
        let mut response = Response::new(body.as_bytes());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let handled = self
            .pusher
            .handle_response(delivery.id(), &response, world.now(), RANDOM);
        block_on(handled).unwrap()
    }

    /// Delivers all that is to be delivered now, and says what it was.
    pub(crate) fn deliver(&mut self, world: &World, name: &str) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(delivery) = self.next(world) {
            let set = std::str::from_utf8(delivery.request().body()).unwrap();
            told.push(world.said(name, set));
            assert_eq!(self.answer(world, &delivery, 202, ""), Pushed::Delivered);
        }
        told
    }
}

impl World {
    /// The same store, served by a process with the default options.
    pub(crate) fn strict_again(other: &Self) -> Self {
        let options = TransmitterOptions::default();
        Self {
            store: Arc::clone(&other.store),
            keys: Arc::clone(&other.keys),
            transmitter: open(&other.store, &other.keys, &options, other.subjects),
            options,
            subjects: other.subjects,
            now: AtomicU64::new(other.now().unix_seconds()),
        }
    }
}
