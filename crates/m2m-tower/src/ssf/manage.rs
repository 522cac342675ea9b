//! `ManagementService`: streams are managed and polled by callers that a guard has admitted.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use caep_stream::transmitter::{self, Answer, LongPoll, Transmitter, TransmitterError};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use m2m_crypto::SystemRandom;
use m2m_guard::{Caller, Rejection, Remedy};
use m2m_types::{Clock, ClockError, Timestamp};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower_service::Service;

use super::body::{BodyProblem, closing, later, read_whole};
use super::observer::Observer;
use super::places::{NoRoom, Place, Places};
use super::{Answering, whole, with_body};
use crate::answer::answer_to;
use crate::authenticate::NotAdmitted;
use crate::body::WholeBody;

/// Answers what receivers ask of a [`Transmitter`]: about their streams, status and subjects, for verifications
/// (SSF 1.0 §8.1), and polls, long ones too (RFC 8936). Cloning copies a pointer.
///
/// It stands behind [`crate::Authenticate`], whose [`Caller`] the application maps to the receiver that it
/// is. Whoever is mapped to nobody gets 403; another receiver's stream looks like one that is not there. Paths
/// are those of the transmitter's endpoints, whole: route to it without taking anything off.
///
/// What a caller can take up is bounded: requests and waiting polls in all and for each receiver, bodies by
/// size (413) and time (408, and the connection ends).
#[derive(Clone)]
pub struct ManagementService {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    transmitter: Arc<Transmitter>,
    clock: Arc<dyn Clock>,
    map: Arc<dyn Fn(&Caller) -> Option<transmitter::Caller> + Send + Sync>,
    body_time: Duration,
    /// Requests whose body is read, or that the store is asked about.
    busy: Places,
    /// Polls that wait.
    waiting: Places,
    /// What is published is given to the streams by one poll at a time, for all of them.
    dispatching: Arc<Mutex<()>>,
    observer: Observer<ManagementEvent>,
}

/// What happened at a [`ManagementService`], besides good answers: for operators.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum ManagementEvent {
    /// A request came that no [`crate::Authenticate`] had admitted.
    NotAdmitted,
    /// The application maps this caller to no receiver.
    Unmapped(Caller),
    /// There were too many requests at a time: of this receiver, or in all.
    Busy {
        /// Whose request was turned away.
        receiver: Box<str>,
    },
    /// There were too many polls that wait: of this receiver, or in all.
    TooManyWait {
        /// Whose poll was turned away.
        receiver: Box<str>,
    },
    /// A body was not read.
    Body {
        /// Whose.
        receiver: Box<str>,
        /// Why.
        problem: BodyProblem,
    },
    /// The transmitter failed, most often because its store did.
    Failed(TransmitterError),
    /// What time it is is not known.
    Clock(ClockError),
}

impl ManagementService {
    /// The longest body that is read: a poll with its acknowledgements.
    const BODY_BYTES: usize = caep_stream::poll::MAX_REQUEST;
    /// How long a body may take, unless it is said otherwise.
    const BODY_TIME: Duration = Duration::from_secs(10);
    /// How many requests are dealt with at a time, in all and of one receiver.
    const BUSY: (usize, usize) = (512, 16);
    /// How many polls wait at a time, in all and of one receiver.
    const WAITING: (usize, usize) = (10_000, 8);

    /// Answers for `transmitter`. `map` says which receiver a caller is: `None` for whoever may manage nothing.
    /// It is asked for each request, and may look at the scopes of the caller's token.
    pub fn new(
        transmitter: Arc<Transmitter>,
        clock: Arc<dyn Clock>,
        map: impl Fn(&Caller) -> Option<transmitter::Caller> + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                transmitter,
                clock,
                map: Arc::new(map),
                body_time: Self::BODY_TIME,
                busy: Places::new(Self::BUSY.0, Self::BUSY.1),
                waiting: Places::new(Self::WAITING.0, Self::WAITING.1),
                dispatching: Arc::default(),
                observer: Observer::nobody(),
            }),
        }
    }

    /// How long a body may take: 10 s, unless this is said.
    #[must_use]
    pub fn with_body_time(self, limit: Duration) -> Self {
        self.with(|shared| shared.body_time = limit)
    }

    /// How many requests are dealt with at a time: `all`, and `each` of one receiver; 512 and 16, unless this is
    /// said. Beyond, the answer is 503, or 429 to the one that has too many.
    #[must_use]
    pub fn with_concurrency(self, all: usize, each: usize) -> Self {
        self.with(|shared| shared.busy = Places::new(all, each))
    }

    /// How many polls wait at a time: `all`, and `each` of one receiver; 10,000 and 8, unless this is said.
    /// Beyond, the answer is 503, or 429 to the one that has too many. What such a poll acknowledged is
    /// acknowledged.
    #[must_use]
    pub fn with_waiting_polls(self, all: usize, each: usize) -> Self {
        self.with(|shared| shared.waiting = Places::new(all, each))
    }

    /// Tells `observe` what happens, and of how much it was not told since: at most a hundred times a second.
    /// It should not block.
    #[must_use]
    pub fn with_observer(
        self,
        observe: impl Fn(&ManagementEvent, u64) + Send + Sync + 'static,
    ) -> Self {
        self.with(|shared| shared.observer.set(observe))
    }

    /// How many polls wait now.
    pub fn waiting_polls(&self) -> usize {
        self.shared.waiting.count()
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<B> Service<Request<B>> for ManagementService
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
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            Ok(shared.answer(parts, body).await)
        })
    }
}

impl Shared {
    async fn answer<B: Body>(&self, parts: Parts, body: B) -> Response<WholeBody> {
        let Some(caller) = parts.extensions.get::<Caller>() else {
            self.observer.tell(&ManagementEvent::NotAdmitted);
            // Without a layer in front nobody was asked, so nobody is known.
            let rejection = parts.extensions.get::<NotAdmitted>();
            let rejection = rejection.map_or(Rejection::Unavailable, |NotAdmitted(why)| *why);
            return answer_to(Some(rejection), &Remedy::Nothing, false);
        };
        let Some(receiver) = (self.map)(caller) else {
            self.observer
                .tell(&ManagementEvent::Unmapped(caller.clone()));
            return answer_to(Some(Rejection::Forbidden), &Remedy::Nothing, false);
        };
        whole(self.answer_to(parts, body, &receiver).await)
    }

    async fn answer_to<B: Body>(
        &self,
        parts: Parts,
        body: B,
        receiver: &transmitter::Caller,
    ) -> Response<Vec<u8>> {
        let place = match self.busy.enter(receiver.receiver()) {
            Ok(place) => place,
            Err(why) => {
                let receiver = receiver.receiver().into();
                self.observer.tell(&ManagementEvent::Busy { receiver });
                return no_room(why);
            }
        };
        let limit = ManagementService::BODY_BYTES;
        let body = match read_whole(body, limit, self.body_time).await {
            Ok(body) => body,
            Err(problem) => {
                let receiver = receiver.receiver().into();
                let event = ManagementEvent::Body { receiver, problem };
                self.observer.tell(&event);
                return closing(problem.status(), parts.version);
            }
        };
        let answered = self.handle(parts, &body, receiver, place).await;
        answered.unwrap_or_else(|event| {
            self.observer.tell(&event);
            match event {
                ManagementEvent::Failed(error) => error.response(),
                _ => later(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5)),
            }
        })
    }

    async fn handle(
        &self,
        parts: Parts,
        body: &[u8],
        receiver: &transmitter::Caller,
        place: Place,
    ) -> Result<Response<Vec<u8>>, ManagementEvent> {
        let (transmitter, random) = (&self.transmitter, &SystemRandom);
        let request = with_body(parts, body);
        let handled = transmitter.handle(&request, receiver, self.now()?, random);
        let poll = match handled.await.map_err(ManagementEvent::Failed)? {
            Answer::Ready(response) => return Ok(response),
            Answer::Waiting(poll) => poll,
        };
        drop((place, request));
        match self.waiting.enter(receiver.receiver()) {
            Ok(_waits) => self.wait(poll).await,
            Err(why) => {
                let receiver = receiver.receiver().into();
                self.observer
                    .tell(&ManagementEvent::TooManyWait { receiver });
                Ok(no_room(why))
            }
        }
    }

    /// Until there is something, or the poll's time is up.
    async fn wait(&self, mut poll: LongPoll) -> Result<Response<Vec<u8>>, ManagementEvent> {
        let failed = ManagementEvent::Failed;
        let (transmitter, random) = (&self.transmitter, &SystemRandom);
        let mut looked = Instant::now();
        loop {
            let left = poll.until().checked_since(self.now()?).unwrap_or_default();
            let changed = tokio::time::timeout(left, transmitter.changed(&poll)).await;
            if let Ok(Err(error)) = changed {
                return Err(failed(TransmitterError::Store(error)));
            }
            // Every commit wakes all that wait: where they are many, each looks less often.
            tokio::time::sleep_until(looked + self.waiting.gap()).await;
            looked = Instant::now();
            let now = self.now()?;
            let turn = self.dispatching.lock().await;
            transmitter.dispatch(now, random).await.map_err(failed)?;
            drop(turn);
            match transmitter
                .resume(poll, now, random)
                .await
                .map_err(failed)?
            {
                Answer::Ready(response) => return Ok(response),
                Answer::Waiting(again) => poll = again,
            }
        }
    }

    fn now(&self) -> Result<Timestamp, ManagementEvent> {
        self.clock.now().map_err(ManagementEvent::Clock)
    }
}

fn no_room(why: NoRoom) -> Response<Vec<u8>> {
    let status = match why {
        NoRoom::Here => StatusCode::SERVICE_UNAVAILABLE,
        NoRoom::ForThisOne => StatusCode::TOO_MANY_REQUESTS,
    };
    later(status, Duration::from_secs(5))
}

impl fmt::Debug for ManagementService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementService")
            .field("transmitter", &self.shared.transmitter)
            .field("waiting", &self.shared.waiting.count())
            .finish_non_exhaustive()
    }
}
