//! The suite's transmitter, as its receiver tests play it, with its quirks: one stream for each receiver,
//! a poll address with the stream's name in its query, errors without a body, answers of 405 in the
//! interoperability profile, a status `disabled` that nothing leaves, and pushes without `Accept`.

mod events;
mod sets;
mod streams;

pub(crate) use events::{Unit, all_standard, payload};

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use m2m_testkit::http::{Loopback, Server};
use serde_json::{Value, json};

use sets::Signer;
pub(crate) use sets::Spoilt;
pub(crate) use streams::{Seen, State};

/// Its name has a path, so that the well-known address goes between host and path.
pub(crate) const ISSUER: &str = "https://suite.example/test/a/m2m";
pub(crate) const HOST: &str = "suite.example";
/// The audience of its stream.
pub(crate) const AUDIENCE: &str = "https://receiver.example/audience";
/// How long a poll hangs; 10 s in the suite.
const LONG_POLL: Duration = Duration::from_secs(2);
/// How long it waits for the receiver.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many SETs a poll gets that does not say.
const DEFAULT_EVENTS: usize = 16;

/// Which profile it plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// All of SSF 1.0.
    Ssf,
    /// CAEP interoperability: what is not in it is answered with 405.
    Interop,
}

pub(crate) struct Mock {
    shared: Arc<Shared>,
    names: Loopback,
    _server: Server,
}

struct Shared {
    profile: Profile,
    signer: Signer,
    token: String,
    state: Mutex<State>,
    changed: Condvar,
}

impl Mock {
    pub(crate) fn new(profile: Profile, names: &Loopback) -> Self {
        let shared = Arc::new(Shared {
            profile,
            signer: Signer::new(),
            token: "a-token-of-the-suite".to_owned(),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let answering = Arc::clone(&shared);
        let server = Server::start(move |request| answering.answer(&request));
        let server = server.expect("a port is free");
        names.tell(HOST, server.address());
        Self {
            shared,
            names: names.clone(),
            _server: server,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Waits until `is` holds of what happened, or the time is over.
    pub(crate) fn wait_until(&self, is: impl Fn(&State) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !is(&state) {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self.shared.wait(state, left);
        }
        true
    }

    /// Puts an event into the stream, and pushes it if it is one that is pushed. Its name, if there is a
    /// stream that works.
    pub(crate) fn emit(&self, uri: &str, subject: &Value, payload: &Value) -> Option<String> {
        let event = (uri, payload);
        let name = self.shared.enqueue(event, subject, Spoilt::Not, "")?;
        self.push_waiting();
        Some(name)
    }

    /// The same with one that must be refused, with this code: because of how it is spoilt, or of what it
    /// says.
    pub(crate) fn emit_wrong(
        &self,
        event: (&str, &Value),
        subject: &Value,
        spoilt: Spoilt,
        code: &'static str,
    ) -> Option<String> {
        let name = self.shared.enqueue(event, subject, spoilt, code)?;
        self.push_waiting();
        Some(name)
    }

    /// Delivers a SET once more.
    pub(crate) fn emit_again(&self, name: &str) {
        self.state().enqueue_again(name);
        self.shared.changed.notify_all();
        self.push_waiting();
    }

    /// Pushes what waits, one after the other; 202 acknowledges, any other answer is a failure.
    pub(crate) fn push_waiting(&self) {
        loop {
            let mut state = self.state();
            let Some((request, name)) = state.next_push() else {
                return;
            };
            drop(state);
            let answer = self.names.call(&request, PATIENCE);
            let mut state = self.state();
            match answer {
                Ok(response) if response.status() == StatusCode::ACCEPTED => {
                    if !response.body().is_empty() {
                        state.fail("202 to a push has an empty body");
                    }
                    state.acknowledge(&name);
                }
                Ok(response)
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE
                        && state.spoilt.contains_key(&name) =>
                {
                    state.left_for_later.insert(name);
                }
                Ok(response) => refused(&mut state, &name, &response),
                Err(error) => state.fail(&format!("a push is answered: {error}")),
            }
            drop(state);
            self.shared.changed.notify_all();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, time: Duration) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn enqueue(
        &self,
        event: (&str, &Value),
        subject: &Value,
        spoilt: Spoilt,
        code: &'static str,
    ) -> Option<String> {
        let mut state = self.state();
        let name = state.next_name();
        let set = self.signer.sign(&name, event, subject, spoilt);
        let taken = state.enqueue(&name, event.0, set);
        if taken && !code.is_empty() {
            state.spoilt.insert(name.clone(), code);
        }
        drop(state);
        self.changed.notify_all();
        taken.then_some(name)
    }

    fn answer(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let path = request.uri().path().to_owned();
        let known = "/.well-known/ssf-configuration/test/a/m2m";
        let response = match path.strip_prefix("/test/a/m2m/") {
            _ if path == known => answer_json(200, &self.metadata()),
            Some("jwks") => answer_json(200, &self.signer.keys()),
            Some("token") => self.grant(request),
            Some(endpoint) => self.authorized(request, endpoint),
            None => empty(404),
        };
        self.changed.notify_all();
        response
    }

    fn metadata(&self) -> Value {
        let at = |name: &str| format!("{ISSUER}/{name}");
        let mut metadata = json!({
            "issuer": ISSUER,
            "spec_version": "1_0",
            "jwks_uri": at("jwks"),
            "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
            "configuration_endpoint": at("streams"),
            "status_endpoint": at("status"),
            "verification_endpoint": at("verify"),
            "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        });
        if self.profile == Profile::Ssf {
            metadata["add_subject_endpoint"] = json!(at("add_subject"));
            metadata["remove_subject_endpoint"] = json!(at("remove_subject"));
        }
        metadata
    }

    /// RFC 6749 §4.4, for any client.
    fn grant(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        let form = String::from_utf8_lossy(request.body());
        if !form
            .split('&')
            .any(|pair| pair == "grant_type=client_credentials")
        {
            return answer_json(400, &json!({"error": "unsupported_grant_type"}));
        }
        let token = json!({
            "access_token": self.token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "ssf.read ssf.manage",
        });
        answer_json(200, &token)
    }

    fn authorized(&self, request: &Request<Vec<u8>>, endpoint: &str) -> Response<Vec<u8>> {
        let shown = request.headers().get("authorization");
        let shown = shown.and_then(|value| value.to_str().ok());
        // To the letter, as the suite has it.
        if shown != Some(&format!("Bearer {}", self.token)) {
            let words = json!({"error": "unauthorized", "error_description": "no such token"});
            return answer_json(401, &words);
        }
        if self.state().only_reads && request.method() != http::Method::GET {
            let words = json!({"error": "insufficient_scope", "scope": "ssf.manage"});
            return answer_json(403, &words);
        }
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let stream = pairs.find(|(name, _)| *name == "stream_id");
        let stream = stream.map(|(_, value)| value);
        match endpoint {
            "streams" => self.streams(request, stream),
            "status" => self.status(request, stream),
            "verify" => self.verify(request),
            "add_subject" | "remove_subject" => self.subject(request, endpoint),
            "events" => self.poll(request, stream),
            _ => empty(404),
        }
    }

    fn poll(&self, request: &Request<Vec<u8>>, stream: Option<&str>) -> Response<Vec<u8>> {
        let Ok(asked) = serde_json::from_slice::<Value>(request.body()) else {
            return empty(400);
        };
        let mut state = self.state();
        if stream.is_none() || !state.is_stream(stream) {
            return empty(if stream.is_none() { 400 } else { 404 });
        }
        state.polled(&asked);
        self.changed.notify_all();
        let most = asked["maxEvents"].as_u64();
        let most = most.map_or(DEFAULT_EVENTS, |most| usize::try_from(most).unwrap_or(0));
        let waits = asked["returnImmediately"] != json!(true) && most > 0;
        let end = Instant::now() + LONG_POLL;
        while waits && state.delivers() && state.has_nothing() {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                break;
            };
            state = self.wait(state, left);
        }
        answer_json(200, &state.page(most))
    }
}

/// What a push is answered with that is not taken (RFC 8935 §2.3).
fn refused(state: &mut State, name: &str, response: &Response<Vec<u8>>) {
    let status = response.status();
    let has = |field: &str, value: Option<&str>| {
        let found = response.headers().get(field);
        found.is_some_and(|found| value.is_none_or(|value| found == value))
    };
    let error = serde_json::from_slice(response.body()).unwrap_or_default();
    if status != StatusCode::BAD_REQUEST {
        state.fail(&format!("a push is answered with 202 or 400, not {status}"));
    }
    if !has("content-type", Some("application/json")) || !has("content-language", None) {
        state.fail("a refusal is JSON, and says in which language");
    }
    state.refuse(name, &error);
}

fn empty(status: u16) -> Response<Vec<u8>> {
    let response = Response::builder().status(status).body(Vec::new());
    response.expect("a response")
}

fn answer_json(status: u16, body: &Value) -> Response<Vec<u8>> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes());
    response.expect("a response")
}
