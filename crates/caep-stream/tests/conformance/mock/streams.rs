//! The mock's one stream, what was done with it, and what was wrong about that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::{AUDIENCE, ISSUER, Profile, Shared, Spoilt, all_standard, answer_json, empty};
use crate::checks::VERIFICATION;

const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
/// What a receiver may say of its stream.
const RECEIVERS: [&str; 4] = ["stream_id", "events_requested", "delivery", "description"];

/// What a receiver did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Created,
    Read,
    Updated,
    Replaced,
    Deleted,
    StatusRead,
    StatusSet(String),
    VerificationAsked,
    SubjectAdded,
    SubjectRemoved,
    /// A poll that waits, or one that does not.
    Polled {
        waits: bool,
    },
}

/// Everything that the mock remembers.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) stream: Option<Stream>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) failures: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// How often each SET was acknowledged.
    pub(crate) acknowledged: BTreeMap<String, usize>,
    /// What was refused, and with which code.
    pub(crate) refused: BTreeMap<String, String>,
    /// What was put into streams: names and types of events.
    pub(crate) sent: Vec<(String, String)>,
    /// What must be refused, and the code that says why.
    pub(crate) spoilt: BTreeMap<String, &'static str>,
    /// What was neither acknowledged nor refused, and is to come again.
    pub(crate) left_for_later: BTreeSet<String>,
    /// The next verification has another state than was asked for.
    pub(crate) mistakes_state: bool,
    /// The next stream is said to be another transmitter's.
    pub(crate) mistakes_issuer: bool,
    /// The token reads and does not manage.
    pub(crate) only_reads: bool,
    count: u64,
    kept: BTreeMap<String, String>,
    handed_out: BTreeSet<String>,
}

pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) configuration: Value,
    status: String,
    waiting: VecDeque<(String, String)>,
}

impl State {
    pub(crate) fn fail(&mut self, what: &str) {
        self.failures.push(what.to_owned());
    }

    pub(crate) fn has(&self, seen: &Seen) -> bool {
        self.seen.contains(seen)
    }

    pub(crate) fn is_stream(&self, name: Option<&str>) -> bool {
        self.stream.is_some() && self.stream.as_ref().map(|stream| &*stream.name) == name
    }

    pub(super) fn next_name(&mut self) -> String {
        self.count += 1;
        format!("jti-{}-{}", std::process::id(), self.count)
    }

    pub(super) fn enqueue(&mut self, name: &str, uri: &str, set: String) -> bool {
        let delivers = self.delivers();
        let Some(stream) = self.stream.as_mut().filter(|_| delivers) else {
            return false;
        };
        stream.waiting.push_back((name.to_owned(), set.clone()));
        self.sent.push((name.to_owned(), uri.to_owned()));
        self.kept.insert(name.to_owned(), set);
        true
    }

    pub(super) fn enqueue_again(&mut self, name: &str) {
        let set = self.kept.get(name).cloned();
        if let (Some(stream), Some(set)) = (&mut self.stream, set) {
            stream.waiting.push_back((name.to_owned(), set));
        }
    }

    /// What must be acknowledged.
    fn good(&self) -> impl Iterator<Item = &(String, String)> {
        let sent = self.sent.iter();
        sent.filter(|(name, _)| !self.spoilt.contains_key(name))
    }

    /// Whether everything that must be was acknowledged, and what must be refused was.
    pub(crate) fn has_all_answered(&self) -> bool {
        !self.sent.is_empty()
            && self
                .good()
                .all(|(name, _)| self.acknowledged.contains_key(name))
            && self
                .spoilt
                .keys()
                .all(|name| self.refused.contains_key(name) || self.acknowledged.contains_key(name))
    }

    /// The types of what was not acknowledged.
    pub(crate) fn unacknowledged(&self) -> Vec<&str> {
        let good = self.good();
        let open = good.filter(|(name, _)| !self.acknowledged.contains_key(name));
        open.map(|(_, uri)| uri.as_str()).collect()
    }

    pub(super) fn delivers(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.status == "enabled")
    }

    pub(super) fn has_nothing(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_none_or(|stream| stream.waiting.is_empty())
    }

    pub(super) fn acknowledge(&mut self, name: &str) {
        *self.acknowledged.entry(name.to_owned()).or_default() += 1;
        if self.spoilt.contains_key(name) {
            self.fail("what is spoilt is not acknowledged");
        }
    }

    /// A receiver will not take a SET.
    pub(super) fn refuse(&mut self, name: &str, error: &Value) {
        let code = error["err"].as_str().unwrap_or_default().to_owned();
        if !error["err"].is_string() || !error["description"].is_string() {
            self.fail("a refusal has `err` and `description`");
        }
        match self.spoilt.get(name) {
            None => self.fail(&format!("nothing is refused that is right: {error}")),
            Some(expected) if **expected != *code => {
                self.warnings
                    .push(format!("the code is {expected}, not {code}"));
            }
            Some(_) => {}
        }
        self.refused.insert(name.to_owned(), code);
    }

    /// The next request that pushes something, if the stream is one that is pushed.
    pub(super) fn next_push(&mut self) -> Option<(Request<Vec<u8>>, String)> {
        let delivers = self.delivers();
        let stream = self.stream.as_mut().filter(|_| delivers)?;
        let delivery = &stream.configuration["delivery"];
        if delivery["method"] != "urn:ietf:rfc:8935" {
            return None;
        }
        let (name, set) = stream.waiting.pop_front()?;
        let mut request = Request::post(delivery["endpoint_url"].as_str().unwrap_or_default())
            .header("content-type", "application/secevent+jwt");
        if let Some(value) = delivery["authorization_header"].as_str() {
            request = request.header("authorization", value);
        }
        let request = request.body(set.into_bytes());
        if request.is_err() {
            self.fail("pushes have an address that is one");
        }
        Some((request.ok()?, name))
    }

    /// What a poll says.
    pub(super) fn polled(&mut self, asked: &Value) {
        let waits = asked["returnImmediately"] != json!(true);
        self.seen.push(Seen::Polled { waits });
        // The suite forgets the acknowledgements of a stream that does not deliver.
        if !self.delivers() {
            return;
        }
        let names = asked["ack"].as_array().into_iter().flatten();
        for name in names.filter_map(Value::as_str) {
            self.acknowledge(name);
        }
        let errors = asked["setErrs"].as_object();
        for (name, error) in errors.into_iter().flatten() {
            self.refuse(name, error);
        }
        // What was handed out before this request, and is spoken of neither here nor earlier.
        let silent = self.handed_out.iter().filter(|name| {
            !self.refused.contains_key(*name) && !self.acknowledged.contains_key(*name)
        });
        self.left_for_later.extend(silent.cloned());
    }

    /// What a poll gets.
    pub(super) fn page(&mut self, most: usize) -> Value {
        let delivers = self.delivers();
        let mut answer = json!({"sets": {}});
        if let Some(stream) = self.stream.as_mut().filter(|_| delivers) {
            let most = most.min(stream.waiting.len());
            for (name, set) in stream.waiting.drain(..most) {
                answer["sets"][&name] = json!(set);
                self.handed_out.insert(name);
            }
            if !stream.waiting.is_empty() {
                answer["moreAvailable"] = json!(true);
            }
        }
        answer
    }

    /// Looks at what a receiver says of its stream: its own members and no others.
    fn check(&mut self, wish: &Value, method: &str) {
        let transmitters = ["iss", "aud", "events_supported", "events_delivered"];
        let others = ["min_verification_interval", "inactivity_timeout"];
        for name in wish.as_object().into_iter().flat_map(|wish| wish.keys()) {
            let mine = transmitters
                .iter()
                .chain(&others)
                .any(|known| name == known);
            if mine || (name == "stream_id" && method == "POST") {
                self.fail(&format!("{method} has {name}, which is the transmitter's"));
            }
            // Others are only logged.
            let _ = RECEIVERS.contains(&name.as_str());
        }
        if method == "POST" && !wish["events_requested"].is_array() {
            self.fail("a new stream requests events");
        }
    }
}

impl Stream {
    fn new(name: String, profile: Profile, wish: &Value) -> Self {
        let mut supported = all_standard();
        supported.extend([VERIFICATION.to_owned(), STREAM_UPDATED.to_owned()]);
        if profile == Profile::Interop {
            let interop = crate::streams::INTEROP;
            supported.retain(|uri| {
                uri.contains("/ssf/") || interop.iter().any(|name| uri.ends_with(name))
            });
        }
        let configuration = json!({
            "stream_id": name,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "events_supported": supported,
        });
        let mut stream = Self {
            name,
            configuration,
            status: "enabled".to_owned(),
            waiting: VecDeque::new(),
        };
        stream.take_over(wish);
        stream
    }

    fn take_over(&mut self, wish: &Value) {
        for member in ["events_requested", "delivery", "description"] {
            if !wish[member].is_null() {
                self.configuration[member] = wish[member].clone();
            }
        }
        if self.configuration["delivery"].is_null() {
            self.configuration["delivery"] = json!({"method": "urn:ietf:rfc:8936"});
        }
        if self.configuration["delivery"]["method"] == "urn:ietf:rfc:8936" {
            let url = format!("{ISSUER}/events?stream_id={}", self.name);
            self.configuration["delivery"]["endpoint_url"] = json!(url);
        }
        let supported = self.configuration["events_supported"].as_array().cloned();
        let mut delivered = self.configuration["events_requested"].as_array().cloned();
        if let (Some(delivered), Some(supported)) = (&mut delivered, supported) {
            delivered.retain(|uri| supported.contains(uri));
        }
        self.configuration["events_delivered"] = json!(delivered.unwrap_or_default());
    }
}

impl Shared {
    pub(super) fn streams(
        &self,
        request: &Request<Vec<u8>>,
        asked: Option<&str>,
    ) -> Response<Vec<u8>> {
        let method = request.method().as_str();
        let wish: Option<Value> = serde_json::from_slice(request.body()).ok();
        let mut state = self.state();
        match method {
            "GET" => match (asked, &state.stream) {
                (None, stream) => {
                    let all = stream.iter().map(|stream| stream.configuration.clone());
                    answer_json(200, &all.collect())
                }
                (Some(name), Some(stream)) if stream.name == name => {
                    let response = answer_json(200, &stream.configuration);
                    state.seen.push(Seen::Read);
                    response
                }
                (Some(_), _) => empty(404),
            },
            "DELETE" => {
                if asked.is_none() || !state.is_stream(asked) {
                    return empty(if asked.is_none() { 400 } else { 404 });
                }
                state.stream = None;
                state.seen.push(Seen::Deleted);
                empty(204)
            }
            "POST" => {
                let Some(wish) = wish.filter(Value::is_object) else {
                    return empty(400);
                };
                state.check(&wish, method);
                if state.stream.is_some() {
                    return empty(409);
                }
                if !wish["events_requested"].is_array() {
                    return empty(500); // as the suite throws
                }
                let name = format!("stream_{}", state.next_name());
                let stream = Stream::new(name, self.profile, &wish);
                let mut said = stream.configuration.clone();
                if std::mem::take(&mut state.mistakes_issuer) {
                    said["iss"] = json!("https://other.example");
                }
                let response = answer_json(201, &said);
                state.stream = Some(stream);
                state.seen.push(Seen::Created);
                response
            }
            "PATCH" | "PUT" if self.profile == Profile::Interop => empty(405),
            "PATCH" | "PUT" => {
                let Some(wish) = wish.filter(Value::is_object) else {
                    return empty(400);
                };
                state.check(&wish, method);
                if !state.is_stream(wish["stream_id"].as_str()) {
                    return empty(404);
                }
                state.seen.push(match method {
                    "PATCH" => Seen::Updated,
                    _ => Seen::Replaced,
                });
                let Some(stream) = &mut state.stream else {
                    return empty(404);
                };
                if method == "PUT" {
                    for member in ["events_requested", "delivery", "description"] {
                        stream.configuration[member] = Value::Null;
                    }
                }
                stream.take_over(&wish);
                if let Some(configuration) = stream.configuration.as_object_mut() {
                    configuration.retain(|_, value| !value.is_null());
                }
                answer_json(200, &stream.configuration)
            }
            _ => empty(405),
        }
    }

    pub(super) fn status(
        &self,
        request: &Request<Vec<u8>>,
        asked: Option<&str>,
    ) -> Response<Vec<u8>> {
        let mut state = self.state();
        if request.method() == Method::GET {
            let Some(stream) = state.stream.as_ref().filter(|_| state.is_stream(asked)) else {
                return empty(404);
            };
            let told = json!({"stream_id": stream.name, "status": stream.status});
            state.seen.push(Seen::StatusRead);
            return answer_json(200, &told);
        }
        if self.profile == Profile::Interop {
            return empty(405);
        }
        let Ok(wish) = serde_json::from_slice::<Value>(request.body()) else {
            return empty(400);
        };
        let wanted = wish["status"].as_str().unwrap_or_default().to_owned();
        if !state.is_stream(wish["stream_id"].as_str()) {
            return empty(404);
        }
        let Some(stream) = &mut state.stream else {
            return empty(404);
        };
        let is_status = ["enabled", "paused", "disabled"].contains(&wanted.as_str());
        // Nothing leaves `disabled`.
        if !is_status || stream.status == "disabled" {
            return empty(400);
        }
        stream.status.clone_from(&wanted);
        let told = json!({"stream_id": stream.name, "status": wanted});
        state.seen.push(Seen::StatusSet(wanted));
        answer_json(200, &told)
    }

    pub(super) fn verify(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        if request.method() != Method::POST {
            return empty(405);
        }
        let Ok(wish) = serde_json::from_slice::<Value>(request.body()) else {
            return empty(400);
        };
        let name = wish["stream_id"].as_str();
        let mut state = self.state();
        if !state.is_stream(name) {
            return empty(404);
        }
        state.seen.push(Seen::VerificationAsked);
        let mistaken = std::mem::take(&mut state.mistakes_state);
        drop(state);
        let subject = json!({"format": "opaque", "id": name});
        let payload = match wish.get("state") {
            _ if mistaken => json!({"state": "another-state"}),
            Some(state) => json!({"state": state}),
            None => json!({}),
        };
        let code = if mistaken { "invalid_state" } else { "" };
        self.enqueue((VERIFICATION, &payload), &subject, Spoilt::Not, code);
        empty(204)
    }

    pub(super) fn subject(&self, request: &Request<Vec<u8>>, endpoint: &str) -> Response<Vec<u8>> {
        if self.profile == Profile::Interop || request.method() != Method::POST {
            return empty(405);
        }
        let Ok(wish) = serde_json::from_slice::<Value>(request.body()) else {
            return empty(400);
        };
        let mut state = self.state();
        if !state.is_stream(wish["stream_id"].as_str()) {
            return empty(404);
        }
        let (seen, status) = match endpoint {
            "add_subject" => (Seen::SubjectAdded, 200),
            _ => (Seen::SubjectRemoved, 204),
        };
        state.seen.push(seen);
        empty(status)
    }
}
