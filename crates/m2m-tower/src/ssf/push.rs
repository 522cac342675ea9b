//! `PushService`: the endpoint that SETs are pushed to (RFC 8935).

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use caep_stream::push;
use caep_stream::receiver::Received;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use m2m_crypto::SystemRandom;
use m2m_types::ClockError;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::body::{BodyProblem, close, closing, later, read_whole};
use super::observer::Observer;
use super::receive::ActFailure;
use super::{Answering, SignalReceiver, whole, with_body};
use crate::body::WholeBody;

/// Takes SETs that are pushed (RFC 8935), and acts upon them before it says 202. Cloning copies a pointer.
///
/// Who may push is said by each [`caep_stream::receiver::Source`], by the value of `Authorization` that its stream
/// was made with: it stands outside of [`crate::Authenticate`]. From whoever shows none of them not a byte of
/// a body is read. A SET that could not be recorded, or not be acted upon, is answered with 503, and comes
/// again.
#[derive(Clone)]
pub struct PushService {
    signals: SignalReceiver,
    body_time: Duration,
    busy: Arc<Semaphore>,
    observer: Observer<PushEvent>,
}

/// What happened at a [`PushService`]: for operators.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum PushEvent {
    /// A request showed no `Authorization` that is known here.
    Stranger,
    /// There were too many requests at a time.
    Busy,
    /// A body was not read.
    Body(BodyProblem),
    /// A request brought no SET: another method, another media type, no token.
    NoSet(StatusCode),
    /// A SET came, and this became of it.
    Received(Received),
    /// A SET was recorded and not acted upon, so it was not acknowledged.
    NotActed(ActFailure),
    /// What time it is is not known.
    Clock(ClockError),
}

impl PushService {
    const BODY_TIME: Duration = Duration::from_secs(10);
    /// How many requests are dealt with at a time. Each has a SET in memory, and a wait for the store.
    const BUSY: usize = 256;

    pub(super) fn new(signals: SignalReceiver) -> Self {
        Self {
            signals,
            body_time: Self::BODY_TIME,
            busy: Arc::new(Semaphore::new(Self::BUSY)),
            observer: Observer::nobody(),
        }
    }

    /// How long a body may take: 10 s, unless this is said.
    #[must_use]
    pub fn with_body_time(mut self, limit: Duration) -> Self {
        self.body_time = limit;
        self
    }

    /// How many requests of known senders are dealt with at a time: 256, unless this is said. Beyond, the answer
    /// is 503.
    #[must_use]
    pub fn with_concurrency(mut self, count: usize) -> Self {
        self.busy = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        self
    }

    /// Tells `observe` what happens, and of how much it was not told since: at most a hundred times a second.
    /// It should not block.
    #[must_use]
    pub fn with_observer(
        mut self,
        observe: impl Fn(&PushEvent, u64) + Send + Sync + 'static,
    ) -> Self {
        self.observer.set(observe);
        self
    }

    async fn answer<B: Body>(&self, parts: Parts, body: B) -> Response<Vec<u8>> {
        let now = match self.signals.now() {
            Ok(now) => now,
            Err(error) => {
                self.observer.tell(&PushEvent::Clock(error));
                return unavailable();
            }
        };
        let (receiver, version) = (self.signals.receiver(), parts.version);
        if !receiver.knows_sender(&parts.headers) {
            self.observer.tell(&PushEvent::Stranger);
            let is_unread = !body.is_end_stream();
            let request = with_body(parts, &[]);
            let pushed = receiver.handle_push(&request, now, &SystemRandom).await;
            let mut response = pushed.response;
            if is_unread {
                close(&mut response, version);
            }
            return response;
        }
        let Ok(_place) = self.busy.try_acquire() else {
            self.observer.tell(&PushEvent::Busy);
            let mut response = unavailable();
            close(&mut response, version);
            return response;
        };
        let body = match read_whole(body, push::MAX_BODY, self.body_time).await {
            Ok(body) => body,
            Err(problem) => {
                self.observer.tell(&PushEvent::Body(problem));
                return closing(problem.status(), version);
            }
        };
        let request = with_body(parts, &body);
        let pushed = receiver.handle_push(&request, now, &SystemRandom).await;
        let Some(received) = pushed.received else {
            let status = pushed.response.status();
            self.observer.tell(&PushEvent::NoSet(status));
            return pushed.response;
        };
        self.signals.note(&received);
        let is_recorded = matches!(received, Received::New | Received::Repeated);
        self.observer.tell(&PushEvent::Received(received));
        if is_recorded {
            // It has been read as a SET.
            let compact = push::read(&request).unwrap_or_default();
            if let Err(failure) = self.signals.act_upon(compact).await {
                self.observer.tell(&PushEvent::NotActed(failure));
                return unavailable();
            }
        }
        pushed.response
    }
}

fn unavailable() -> Response<Vec<u8>> {
    later(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5))
}

impl<B> Service<Request<B>> for PushService
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<WholeBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let service = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            Ok(whole(service.answer(parts, body).await))
        })
    }
}

impl fmt::Debug for PushService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushService")
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}
