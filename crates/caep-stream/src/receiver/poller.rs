//! `Poller`: asks a transmitter for SETs (RFC 8936), and acknowledges those that are recorded.

use std::fmt;
use std::time::Duration;

use caep_set::ErrorCode;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use m2m_crypto::SecureRandom;
use m2m_types::Timestamp;

use crate::body::BodyError;
use crate::delivery::poll::{PollRequest, PollResponse};
use crate::management::{DeliveryMethod, StreamConfiguration};
use crate::receiver::accept::{Postponed, Received};
use crate::receiver::{Receiver, retry_after};

/// The most acknowledgements, and errors, of one request.
const MAX_ACKNOWLEDGED: usize = 1_000;
/// How often in a row it asks again at once because there is more.
const MAX_HURRIED: u32 = 100;
/// The shortest pause, where there is one.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(300);
/// How long to wait where SETs came and none could be taken.
const STUCK: Duration = Duration::from_secs(10);
/// A request without an answer for so long is taken for lost.
const LOST: Duration = Duration::from_secs(300);

/// Asks one transmitter for SETs, again and again. See the [module](crate::receiver) for the loop.
///
/// - It acknowledges what is recorded, in the next request, until a 200 says that this was heard.
/// - What cannot be taken is reported (`setErrs`), so that it does not come for ever. What waits for keys
///   or for the store is neither; it comes again.
/// - After failures it waits longer each time, up to five minutes and not all at the same moment, or as long
///   as the transmitter says, up to an hour. An answer that came at once and brought nothing makes it wait
///   as well, also when it was to be a long poll; so does a page of which nothing could be taken, and
///   after a hundred pages in a row, a second for others.
pub struct Poller {
    issuer: Box<str>,
    endpoint: Uri,
    authorization: Option<HeaderValue>,
    waiting: Waiting,
    max_events: u32,
    acknowledged: Vec<Box<str>>,
    refused: Vec<(Box<str>, ErrorCode)>,
    under_way: Option<UnderWay>,
    due: Timestamp,
    failures: u32,
    hurried: u32,
}

/// Where SETs are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two ways")]
pub enum Waiting {
    /// At the transmitter: it answers when it has something (long poll). Let the HTTP client wait for a
    /// minute at least.
    There,
    /// Here: it is asked so often.
    Here {
        /// How long to wait between two requests that bring nothing.
        interval: Duration,
    },
}

struct UnderWay {
    since: Timestamp,
    acknowledged: usize,
    refused: usize,
}

/// What an answer brought.
#[derive(Debug, Default)]
pub struct PollReport {
    /// Each SET, by the name that it was delivered under, and what became of it.
    pub received: Vec<(Box<str>, Received)>,
    /// What was wrong with the answer itself.
    pub problem: Option<PollerError>,
}

/// Why a stream cannot be polled, or an answer brought nothing.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PollerError {
    /// The stream is pushed, or does not say where it is polled.
    #[error("the stream has no address where it is polled")]
    NoEndpoint,
    /// Where it is polled is no `https` URL.
    #[error("where the stream is polled is no `https` URL")]
    Endpoint,
    /// It does not know who asks, or that is not enough (401, 403): get a new access token and give it to
    /// [`Poller::set_authorization`].
    #[error("the transmitter answers {status}: a new access token is needed")]
    Unauthorized {
        /// The status of the answer.
        status: StatusCode,
    },
    /// There is no such stream (404): make a new one.
    #[error("the transmitter has no such stream (any more)")]
    Gone,
    /// Another status than 200.
    #[error("the transmitter answers {status}")]
    Status {
        /// The status of the answer.
        status: StatusCode,
    },
    /// The body is not what it should be. Nothing of it was taken.
    #[error("{0}")]
    Body(BodyError),
    /// The issuer is not a source of the receiver.
    #[error("the receiver has no source of this issuer")]
    NoSource,
}

impl Poller {
    /// Polls `stream`, where its transmitter said.
    ///
    /// # Errors
    ///
    /// [`PollerError::NoEndpoint`] and [`PollerError::Endpoint`].
    pub fn new(stream: &StreamConfiguration, waiting: Waiting) -> Result<Self, PollerError> {
        let delivery = &stream.delivery;
        let is_polled = delivery.method() == DeliveryMethod::Poll;
        let url = delivery.endpoint_url().filter(|_| is_polled);
        let endpoint: Uri = url
            .ok_or(PollerError::NoEndpoint)?
            .parse()
            .map_err(|_| PollerError::Endpoint)?;
        if endpoint.scheme_str() != Some("https") || endpoint.host().is_none_or(str::is_empty) {
            return Err(PollerError::Endpoint);
        }
        Ok(Self {
            issuer: stream.issuer.clone(),
            endpoint,
            authorization: None,
            waiting,
            max_events: 100,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            under_way: None,
            due: Timestamp::MIN,
            failures: 0,
            hurried: 0,
        })
    }

    /// At most so many SETs at once: 100, unless it is said here.
    #[must_use]
    pub fn with_max_events(mut self, count: u32) -> Self {
        self.max_events = count.max(1);
        self
    }

    /// What requests have in `Authorization` from now on. If it waits because the last one was not taken
    /// it goes on at once.
    pub fn set_authorization(&mut self, mut authorization: HeaderValue) {
        authorization.set_sensitive(true);
        self.authorization = Some(authorization);
        self.due = Timestamp::MIN;
    }

    /// The request to send now, if there is one. One is under way at most.
    pub fn poll_request(&mut self, now: Timestamp) -> Option<Request<Vec<u8>>> {
        if let Some(under_way) = &self.under_way {
            if now < under_way.since.saturating_add(LOST) {
                return None;
            }
            self.under_way = None;
        }
        if now < self.due {
            return None;
        }
        let wanted = PollRequest::new().with_max_events(self.max_events);
        Some(self.request(wanted, self.waiting != Waiting::There, now))
    }

    /// The last request before the end: it only acknowledges. `None` if there is nothing to be.
    pub fn last_request(&mut self, now: Timestamp) -> Option<Request<Vec<u8>>> {
        if self.acknowledged.is_empty() && self.refused.is_empty() {
            return None;
        }
        Some(self.request(PollRequest::new().with_max_events(0), true, now))
    }

    /// When to call [`Poller::poll_request`] again if nothing happens before.
    pub fn poll_timeout(&self) -> Timestamp {
        match &self.under_way {
            Some(under_way) => under_way.since.saturating_add(LOST),
            None => self.due,
        }
    }

    /// Takes an answer in: records its SETs with `receiver`, one by one. They are acknowledged with the next
    /// request, so send that soon.
    ///
    /// Read at most [`crate::poll::MAX_RESPONSE`] bytes of a body and one more.
    pub async fn handle_response(
        &mut self,
        receiver: &Receiver,
        response: &Response<&[u8]>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> PollReport {
        let under_way = self.under_way.take();
        let answer = match read(response) {
            Ok(answer) => answer,
            Err(problem) => {
                self.pause(retry_after(response), now, random);
                return PollReport {
                    problem: Some(problem),
                    ..PollReport::default()
                };
            }
        };
        if let Some(sent) = &under_way {
            // It has heard these.
            let (acknowledged, refused) = (sent.acknowledged, sent.refused);
            let heard = acknowledged.min(self.acknowledged.len());
            self.acknowledged.drain(..heard);
            self.refused.drain(..refused.min(self.refused.len()));
        }
        if receiver.source(&self.issuer).is_none() {
            self.pause(None, now, random);
            return PollReport {
                problem: Some(PollerError::NoSource),
                ..PollReport::default()
            };
        }
        let received = self.take_in(receiver, &answer, now, random).await;
        self.failures = 0;
        self.plan(&received, under_way, now);
        PollReport {
            received,
            problem: None,
        }
    }

    /// The request came to nothing: no connection, no answer in time, an answer that is too long.
    pub fn handle_failure(&mut self, now: Timestamp, random: &dyn SecureRandom) {
        self.under_way = None;
        self.pause(None, now, random);
    }

    async fn take_in(
        &mut self,
        receiver: &Receiver,
        answer: &PollResponse,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Vec<(Box<str>, Received)> {
        let mut all = Vec::new();
        for (name, set) in answer.sets() {
            let ours = |source: &crate::receiver::Source| source.issuer == self.issuer;
            let received = receiver.accept(set, Some(name), ours, now, random).await;
            match &received {
                Received::Refused(refusal) => {
                    self.refused.push((Box::from(name), refusal.code()));
                }
                Received::Later(_) => {}
                _ => self.acknowledged.push(Box::from(name)),
            }
            let is_store_down = matches!(received, Received::Later(Postponed::NotRecorded(_)));
            all.push((Box::from(name), received));
            if is_store_down {
                // The others would wait for it in vain, one after the other.
                break;
            }
        }
        all
    }

    /// When to ask again after an answer. Whether it said that there is more does not matter: where
    /// something came it asks again at once, to acknowledge it, and where nothing came there is no more.
    fn plan(
        &mut self,
        received: &[(Box<str>, Received)],
        under_way: Option<UnderWay>,
        now: Timestamp,
    ) {
        let is_later = |one: &(Box<str>, Received)| matches!(one.1, Received::Later(_));
        let has_progress = !self.acknowledged.is_empty() || !self.refused.is_empty();
        let wait = if has_progress {
            // There is something to acknowledge, and maybe more to get.
            self.hurried += 1;
            match self.hurried < MAX_HURRIED {
                true => Duration::ZERO,
                false => SHORTEST,
            }
        } else if received.iter().any(is_later) {
            STUCK
        } else {
            let took = under_way.and_then(|sent| now.checked_since(sent.since));
            let did_wait = took.is_some_and(|took| took >= SHORTEST);
            match self.waiting {
                Waiting::There if did_wait => Duration::ZERO,
                Waiting::There => SHORTEST,
                Waiting::Here { interval } => interval.max(SHORTEST),
            }
        };
        if wait > Duration::ZERO {
            self.hurried = 0;
        }
        self.due = now.saturating_add(wait);
    }

    fn request(
        &mut self,
        wanted: PollRequest,
        is_immediate: bool,
        now: Timestamp,
    ) -> Request<Vec<u8>> {
        let acknowledged = self.acknowledged.iter().take(MAX_ACKNOWLEDGED);
        let refused = self.refused.iter().take(MAX_ACKNOWLEDGED);
        self.under_way = Some(UnderWay {
            since: now,
            acknowledged: acknowledged.len(),
            refused: refused.len(),
        });
        let mut wanted = wanted.acknowledging(acknowledged.map(|name| &**name));
        for (name, code) in refused {
            wanted = wanted.refusing(name, *code);
        }
        if is_immediate {
            wanted = wanted.returning_immediately();
        }
        // Texts and numbers: there is nothing that cannot be written.
        let mut request = Request::new(serde_json::to_vec(&wanted).unwrap_or_default());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let json = HeaderValue::from_static("application/json");
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        if !self.refused.is_empty() {
            headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        request
    }

    /// Waits, longer each time, and up to a quarter more than that.
    fn pause(&mut self, wanted: Option<u32>, now: Timestamp, random: &dyn SecureRandom) {
        self.hurried = 0;
        self.failures = self.failures.saturating_add(1);
        let pause = SHORTEST * 2_u32.pow(self.failures.min(9) - 1);
        let pause = pause.min(LONGEST);
        let mut byte = [0];
        // Without randomness they wait as long as the others.
        let _ = random.fill(&mut byte);
        let pause = pause + pause / 1024 * u32::from(byte[0]);
        let wanted = Duration::from_secs(u64::from(wanted.unwrap_or(0)));
        self.due = now.saturating_add(pause.max(wanted).max(SHORTEST));
    }
}

fn read(response: &Response<&[u8]>) -> Result<PollResponse, PollerError> {
    match response.status() {
        StatusCode::OK => PollResponse::from_json(response.body()).map_err(PollerError::Body),
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(PollerError::Unauthorized { status })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(PollerError::Gone),
        status => Err(PollerError::Status { status }),
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("issuer", &self.issuer)
            .field("endpoint", &self.endpoint)
            .field("acknowledged", &self.acknowledged.len())
            .field("refused", &self.refused.len())
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
