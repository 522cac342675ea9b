//! Our receiver behind HTTP: it manages its stream, takes pushes or polls, and acts upon what came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use caep_set::{Profile, StreamStatus, SubjectId};
use caep_stream::receiver::{
    Answer, Call, Discovery, Namespace, Poller, Receiver, Source, SourceKeys, StreamClient, Trust,
    TrustMatrix, TrustRule, Waiting,
};
use caep_stream::{Delivery, SecretHeader, StreamConfiguration, StreamRequest};
use http::{Request, Response, StatusCode};
use m2m_crypto::SystemRandom;
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::{MemoryStore, Store};
use m2m_testkit::http::{Loopback, Server};
use m2m_token::{Audience, RemoteKeySet};
use m2m_types::{Clock, SystemClock, Timestamp};
use pollster::block_on;
use serde_json::Value;

use crate::mock::{AUDIENCE, ISSUER};
use crate::receivers::{Receiving, Step, Went};
use crate::tester::{Delivery as How, RECEIVER_HOST};
use crate::transmitter_host::{borrowed, response_of};

const PATIENCE: Duration = Duration::from_secs(10);
const SECRET: &str = "Bearer what-the-transmitter-shows";
const SHORT: Duration = Duration::from_millis(20);
/// What is skipped where it would have to be waited for: time is an argument.
const A_MINUTE: u64 = 60;

/// A receiver that was told to do nothing yet.
pub(crate) struct ReceiverHost {
    network: Loopback,
    how: How,
    at_work: Option<AtWork>,
}

/// One that has a stream, or is about to.
struct AtWork {
    client: StreamClient,
    edge: Arc<Edge>,
    stream: Option<StreamConfiguration>,
    poller: Option<JoinHandle<()>>,
    _server: Server,
}

struct Edge {
    receiver: Receiver,
    revocations: StoredRevocations,
    clock: SystemClock,
    network: Loopback,
    authorization: String,
    ending: AtomicBool,
    skipped: AtomicU64,
}

type Outcome<T> = Result<T, String>;

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl ReceiverHost {
    pub(crate) fn new(network: &Loopback, how: How) -> Self {
        Self {
            network: network.clone(),
            how,
            at_work: None,
        }
    }

    /// Finds the transmitter, gets a token and keys, and listens.
    fn begin(&self) -> Outcome<AtWork> {
        let mut discovery = Discovery::new(ISSUER).map_err(words)?;
        let metadata = self.network.call(&discovery.request(), PATIENCE);
        let metadata = metadata.map_err(words)?;
        let transmitter = discovery.read(&response_of(&metadata)).map_err(words)?;
        let authorization = self.token()?;
        let header = authorization.parse().map_err(words)?;
        let keys = SourceKeys::fetched(RemoteKeySet::new(), &transmitter);
        let client = StreamClient::new(transmitter)
            .with_authorization(header)
            .with_audience([AUDIENCE]);
        let secret = SecretHeader::new(SECRET).map_err(words)?;
        let source = Source::new(ISSUER, keys, Audience::exactly(AUDIENCE), Profile::ssf());
        let source = source.map_err(words)?.pushed_with(secret);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = SystemClock::new();
        let now = clock.now().map_err(words)?;
        let revocations = StoredRevocations::open(
            Arc::clone(&store),
            now,
            &SystemRandom,
            StoredOptions::default(),
        );
        let receiver = Receiver::open(store, "tests", vec![source], &SystemRandom);
        let rule = TrustRule::new(ISSUER, Trust::Act).about(Namespace::danger_any());
        let edge = Arc::new(Edge {
            receiver: block_on(receiver)
                .map_err(words)?
                .with_trust(TrustMatrix::new().with(rule)),
            revocations: block_on(revocations).map_err(words)?,
            clock,
            network: self.network.clone(),
            authorization,
            ending: AtomicBool::new(false),
            skipped: AtomicU64::new(0),
        });
        edge.fetch_keys()?;
        let pushed = Arc::clone(&edge);
        let server = Server::start(move |request| pushed.take_push(&request)).map_err(words)?;
        self.network.tell(RECEIVER_HOST, server.address());
        Ok(AtWork {
            client,
            edge,
            stream: None,
            poller: None,
            _server: server,
        })
    }

    /// An access token, as a client with credentials gets it (RFC 6749 §4.4).
    fn token(&self) -> Outcome<String> {
        let request = Request::post(format!("{ISSUER}/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(b"grant_type=client_credentials&scope=ssf.manage".to_vec());
        let answer = self.network.call(&request.map_err(words)?, PATIENCE);
        let answer: Value = serde_json::from_slice(answer.map_err(words)?.body()).map_err(words)?;
        let token = answer["access_token"].as_str().ok_or("no token")?;
        Ok(format!("Bearer {token}"))
    }

    fn wish(&self, events: &[String], description: &str) -> Outcome<StreamRequest> {
        let delivery = match self.how {
            How::Push => {
                let secret = SecretHeader::new(SECRET).map_err(words)?;
                Delivery::push(&format!("https://{RECEIVER_HOST}/events"), Some(secret))
            }
            How::Poll | How::LongPoll => Delivery::poll(),
        };
        Ok(StreamRequest::new()
            .requesting(events.iter().map(String::as_str))
            .delivered_by(delivery)
            .described(description))
    }

    fn create(&mut self, events: &[String]) -> Outcome<Went> {
        if self.at_work.is_none() {
            self.at_work = Some(self.begin()?);
        }
        let wish = self.wish(events, "made by a receiver")?;
        let waiting = match self.how {
            How::LongPoll => Waiting::There,
            How::Push | How::Poll => Waiting::Here { interval: SHORT },
        };
        let at_work = self.at_work.as_mut().ok_or("not at work")?;
        let call = at_work.client.create(&wish).map_err(words)?;
        let stream = match at_work.edge.call(&call)? {
            Answer::Done(stream) => stream,
            other => return went(&other),
        };
        at_work.edge.receiver.attach(&stream);
        if self.how != How::Push {
            let mut poller = Poller::new(&stream, waiting).map_err(words)?;
            let header = at_work.edge.authorization.parse().map_err(words)?;
            poller.set_authorization(header);
            let edge = Arc::clone(&at_work.edge);
            at_work.poller = Some(std::thread::spawn(move || edge.poll(poller)));
        }
        at_work.stream = Some(stream);
        Ok(Went::Done)
    }

    fn manage(&mut self, step: &Step) -> Outcome<Went> {
        let wish = |this: &Self, description| {
            let stream = this.at_work.as_ref().and_then(|at| at.stream.as_ref());
            let events = stream.and_then(|stream| stream.events_requested.clone());
            let events: Vec<String> = events
                .into_iter()
                .flatten()
                .map(|uri| uri.into_string())
                .collect();
            this.wish(&events, description)
        };
        let (changed, replaced) = (wish(self, "changed")?, wish(self, "replaced")?);
        let at_work = self.at_work.as_mut().ok_or("there is no stream")?;
        let (client, edge) = (&at_work.client, &at_work.edge);
        let stream = at_work.stream.as_ref().ok_or("there is no stream")?;
        let id = &*stream.stream_id;
        let subject = SubjectId::email("user@example.com").map_err(words)?;
        match step {
            Step::Create(_) | Step::Delete => Err("no change of a stream".to_owned()),
            Step::Read => went(&edge.call(&client.read(id).map_err(words)?)?),
            Step::ReadStatus => went(&edge.call(&client.read_status(id).map_err(words)?)?),
            Step::Update => went(&edge.call(&client.update(stream, changed).map_err(words)?)?),
            Step::Replace => went(&edge.call(&client.replace(stream, replaced).map_err(words)?)?),
            Step::SetStatus(status) => {
                let status = StreamStatus::from(*status);
                let call = client.update_status(id, status, Some("a test"));
                went(&edge.call(&call.map_err(words)?)?)
            }
            Step::AddSubject => {
                let call = client.add_subject(id, &subject, Some(true));
                went(&edge.call(&call.map_err(words)?)?)
            }
            Step::RemoveSubject => {
                let call = client.remove_subject(id, &subject);
                went(&edge.call(&call.map_err(words)?)?)
            }
            Step::Verify => edge.verify(client),
            Step::SkipAMinute => edge.skip_a_minute(),
        }
    }

    fn delete(&mut self) -> Outcome<Went> {
        let at_work = self.at_work.take().ok_or("there is no stream")?;
        let stream = at_work.stream.as_ref().ok_or("there is no stream")?;
        let call = at_work.client.delete(&stream.stream_id).map_err(words)?;
        let answer = at_work.edge.call(&call)?;
        at_work.end();
        went(&answer)
    }
}

impl Receiving for ReceiverHost {
    fn step(&mut self, step: Step) -> Outcome<Went> {
        match step {
            Step::Create(events) => self.create(&events),
            Step::Delete => self.delete(),
            other => self.manage(&other),
        }
    }
}

impl Drop for ReceiverHost {
    fn drop(&mut self) {
        if let Some(at_work) = self.at_work.take() {
            at_work.end();
        }
    }
}

impl AtWork {
    fn end(mut self) {
        self.edge.ending.store(true, Ordering::SeqCst);
        if let Some(poller) = self.poller.take() {
            // What it panics about, its thread has said.
            let _ = poller.join();
        }
    }
}

fn went<T>(answer: &Answer<T>) -> Outcome<Went> {
    match answer {
        Answer::Done(_) | Answer::Accepted => Ok(Went::Done),
        Answer::Exists => Ok(Went::Exists),
        Answer::NotSupported => Ok(Went::NotSupported),
        Answer::Forbidden => Ok(Went::Forbidden),
        Answer::Refused { .. } => Ok(Went::Refused),
        Answer::NotFound | Answer::Unauthenticated | Answer::Later { .. } => {
            Err("the transmitter answers something else".to_owned())
        }
    }
}

impl Edge {
    fn now(&self) -> Timestamp {
        let now = self.clock.now().expect("a clock that can be believed");
        now.saturating_add(Duration::from_secs(self.skipped.load(Ordering::SeqCst)))
    }

    fn call<T>(&self, call: &Call<T>) -> Outcome<Answer<T>> {
        let response = self.network.call(call.request(), PATIENCE).map_err(words)?;
        call.read(&response_of(&response)).map_err(words)
    }

    fn fetch_keys(&self) -> Outcome<()> {
        while let Some(fetch) = self.receiver.poll_keys(self.now()) {
            let response = self
                .network
                .call(fetch.request(), PATIENCE)
                .map_err(words)?;
            let taken = self
                .receiver
                .handle_keys(&fetch, &response_of(&response), self.now());
            taken.map_err(words)?;
        }
        Ok(())
    }

    /// A minute later: keys may be fetched again.
    fn skip_a_minute(&self) -> Outcome<Went> {
        self.skipped.fetch_add(A_MINUTE, Ordering::SeqCst);
        self.fetch_keys()?;
        Ok(Went::Done)
    }

    fn verify(&self, client: &StreamClient) -> Outcome<Went> {
        let now = self.now();
        let wanted = self.receiver.poll_verification(ISSUER, now, &SystemRandom);
        let wanted = block_on(wanted).map_err(words)?;
        let wanted = wanted.ok_or("it is not time to verify")?;
        let answer = self.call(&client.verify(&wanted).map_err(words)?)?;
        let handled =
            self.receiver
                .handle_verification_answer(ISSUER, &answer, self.now(), &SystemRandom);
        block_on(handled).map_err(words)?;
        went(&answer)
    }

    fn take_push(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        if request.uri().path() != "/events" {
            let mut response = Response::new(Vec::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let request = borrowed(request);
        let pushed = self
            .receiver
            .handle_push(&request, self.now(), &SystemRandom);
        let response = block_on(pushed).response;
        self.act();
        response
    }

    fn poll(&self, mut poller: Poller) {
        while !self.ending.load(Ordering::SeqCst) {
            let Some(request) = poller.poll_request(self.now()) else {
                std::thread::sleep(SHORT);
                continue;
            };
            match self.network.call(&request, PATIENCE) {
                Ok(response) => {
                    let response = response_of(&response);
                    let (now, receiver) = (self.now(), &self.receiver);
                    let taken = poller.handle_response(receiver, &response, now, &SystemRandom);
                    drop(block_on(taken));
                    self.act();
                }
                Err(_) => poller.handle_failure(self.now(), &SystemRandom),
            }
        }
    }

    fn act(&self) {
        let acted = self
            .receiver
            .act(&self.revocations, 100, self.now(), &SystemRandom);
        let report = block_on(acted);
        assert!(report.problem.is_none(), "{:?}", report.problem);
    }
}
