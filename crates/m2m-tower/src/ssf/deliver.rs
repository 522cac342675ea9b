//! `Deliverer`: pushes SETs to their receivers, and keeps a transmitter tidy.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use caep_stream::transmitter::{
    Lag, PushDelivery, PushId, Pushed, Pusher, Tidied, Transmitter, TransmitterError,
};
use http::{Response, StatusCode};
use m2m_crypto::SystemRandom;
use m2m_store::StoreError;
use m2m_types::{Clock, ClockError, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use super::{PAUSE, lent};
use crate::fetch::{Excess, FetchFailure, HttpSender, Repeat};

/// Pushes what a [`Transmitter`] has to push (RFC 8935), at once when it is published, and again later where it
/// was not taken: a [`Pusher`], with the sending done. Once in a while it also tidies the transmitter and says how
/// far each stream is behind.
///
/// SETs go where an [`HttpSender`] goes: to public addresses alone unless told otherwise, whatever a
/// receiver said when it made its stream and whatever its name means since. Connections are kept, pushes to
/// different receivers go side by side, [`Deliverer::with_concurrency`] at most. The sender's limit of time
/// must be shorter than [`caep_stream::transmitter::TransmitterOptions::with_answer_within`].
///
/// Nothing happens until [`Deliverer::run`] is polled, and nothing goes on when it is dropped: what was on
/// its way then is pushed again, with the same `jti`.
pub struct Deliverer {
    transmitter: Arc<Transmitter>,
    sender: HttpSender,
    clock: Arc<dyn Clock>,
    concurrency: usize,
    tidy_every: Duration,
    observe: Arc<dyn Fn(&DeliveryEvent) + Send + Sync>,
}

/// What happened to a [`Deliverer`].
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum DeliveryEvent {
    /// A receiver has a SET.
    Delivered {
        /// Which.
        id: PushId,
        /// How long the push took.
        took: Duration,
    },
    /// A SET was not taken, and is pushed again.
    Retried {
        /// Which.
        id: PushId,
        /// Not before this time.
        again: Timestamp,
        /// Why.
        why: NotDelivered,
    },
    /// A SET is a dead letter: it was refused, or could not be delivered for too long.
    Dead {
        /// Which.
        id: PushId,
        /// Why.
        why: NotDelivered,
    },
    /// A push ended after it was given up, or after its stream was deleted.
    Late {
        /// Which.
        id: PushId,
    },
    /// How far each stream is behind.
    Lag(Vec<Lag>),
    /// What was due to end was ended.
    Tidied(Tidied),
    /// The transmitter failed, most often because its store did. It is tried again after a second.
    Failed(TransmitterError),
    /// What time it is is not known, so nothing is done.
    Clock(ClockError),
}

/// Why a push did not deliver.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDelivered {
    /// There was no answer.
    #[error("{0}")]
    NoAnswer(FetchFailure),
    /// The answer was another than that it was taken.
    #[error("the answer was {0}")]
    Status(StatusCode),
}

/// A push that ended.
struct Ended {
    id: PushId,
    took: Duration,
    result: Result<Response<Vec<u8>>, FetchFailure>,
}

/// Pushes that are under way.
type UnderWay = Vec<Pin<Box<dyn Future<Output = Ended> + Send>>>;

/// What it waited for.
enum Woken {
    Ended(Ended),
    Changed(Result<(), StoreError>),
    Time,
}

impl Deliverer {
    /// Without anything to wait for, it looks again after this time.
    const LOOK_AGAIN: Duration = Duration::from_secs(60);

    /// Pushes what `transmitter` has by `sender`.
    pub fn new(transmitter: Arc<Transmitter>, sender: HttpSender, clock: Arc<dyn Clock>) -> Self {
        Self {
            transmitter,
            sender,
            clock,
            concurrency: 64,
            tidy_every: Duration::from_secs(60),
            observe: Arc::new(|_| ()),
        }
    }

    /// How many pushes are under way at a time: 64, unless this is said. Of one stream it is as many as the
    /// transmitter's options say, one by default.
    #[must_use]
    pub fn with_concurrency(mut self, count: usize) -> Self {
        self.concurrency = count.clamp(1, 4096);
        self
    }

    /// How often the transmitter is tidied, and how far its streams are behind is said: each minute, unless
    /// this is said. Both read all queues.
    #[must_use]
    pub fn with_tidying_every(mut self, interval: Duration) -> Self {
        self.tidy_every = interval.max(PAUSE);
        self
    }

    /// Tells `observe` what happens. It should not block.
    #[must_use]
    pub fn with_observer(
        mut self,
        observe: impl Fn(&DeliveryEvent) + Send + Sync + 'static,
    ) -> Self {
        self.observe = Arc::new(observe);
        self
    }

    /// Delivers, for ever: drop it to stop.
    pub async fn run(self) -> Infallible {
        let (mut pushing, mut tidying) = (pin!(self.push()), pin!(self.tidy()));
        poll_fn(|context| {
            let _: Poll<Infallible> = pushing.as_mut().poll(context);
            tidying.as_mut().poll(context)
        })
        .await
    }

    async fn push(&self) -> Infallible {
        let mut pusher = Pusher::new(Arc::clone(&self.transmitter));
        let mut under_way = UnderWay::new();
        // After a failure nothing new is begun before this time.
        let mut not_before = Instant::now();
        loop {
            let may_begin = not_before <= Instant::now();
            if may_begin && let Err(failed) = self.begin(&mut pusher, &mut under_way).await {
                (self.observe)(&failed);
                not_before = Instant::now() + PAUSE;
            }
            let next = match not_before > Instant::now() {
                true => Some(not_before),
                false => None,
            };
            let done = match self.wait(&pusher, &mut under_way, next).await {
                Woken::Ended(ended) => self.ended(&mut pusher, ended).await,
                Woken::Changed(Err(error)) => {
                    Err(DeliveryEvent::Failed(TransmitterError::Store(error)))
                }
                Woken::Changed(Ok(())) | Woken::Time => Ok(()),
            };
            if let Err(failed) = done {
                (self.observe)(&failed);
                not_before = Instant::now() + PAUSE;
            }
        }
    }

    /// Begins all pushes that are to be begun now.
    async fn begin(
        &self,
        pusher: &mut Pusher,
        under_way: &mut UnderWay,
    ) -> Result<(), DeliveryEvent> {
        while under_way.len() < self.concurrency {
            let next = pusher.poll_delivery(self.now()?, &SystemRandom).await;
            match next.map_err(DeliveryEvent::Failed)? {
                Some(delivery) => under_way.push(self.send(delivery)),
                None => break,
            }
        }
        Ok(())
    }

    fn send(&self, delivery: PushDelivery) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
        let sender = self.sender.clone();
        Box::pin(async move {
            let (id, request) = delivery.into_parts();
            let begun = Instant::now();
            // A SET has a name: to have it twice is to have it once. That it was taken is said in the head.
            let (limits, repeat) = (sender.limits(), Repeat::Harmless);
            let sent = sender.exchange(&request, limits, repeat, Excess::CutOff);
            let result = sent.await;
            let took = begun.elapsed();
            Ended { id, took, result }
        })
    }

    /// Until a push has ended, something is published, or something is due; after a failure no longer than
    /// until `next`, and nothing is begun before.
    async fn wait(
        &self,
        pusher: &Pusher,
        under_way: &mut UnderWay,
        next: Option<Instant>,
    ) -> Woken {
        let has_room = under_way.len() < self.concurrency && next.is_none();
        let mut changed = pusher.changed();
        let due = next.unwrap_or_else(|| Instant::now() + self.until_due(pusher));
        let mut due = pin!(sleep_until(due));
        poll_fn(|context| {
            let ended = under_way.iter_mut().enumerate().find_map(|(at, push)| {
                match push.as_mut().poll(context) {
                    Poll::Ready(ended) => Some((at, ended)),
                    Poll::Pending => None,
                }
            });
            if let Some((at, ended)) = ended {
                drop(under_way.swap_remove(at));
                return Poll::Ready(Woken::Ended(ended));
            }
            if has_room && let Poll::Ready(changed) = changed.as_mut().poll(context) {
                return Poll::Ready(Woken::Changed(changed));
            }
            due.as_mut().poll(context).map(|()| Woken::Time)
        })
        .await
    }

    fn until_due(&self, pusher: &Pusher) -> Duration {
        let due = pusher.poll_timeout();
        let now = self.clock.now().ok();
        let left = due.zip(now).map(|(due, now)| {
            let left = due.checked_since(now).unwrap_or_default();
            left.max(PAUSE)
        });
        left.unwrap_or(Self::LOOK_AGAIN).min(Self::LOOK_AGAIN)
    }

    async fn ended(&self, pusher: &mut Pusher, ended: Ended) -> Result<(), DeliveryEvent> {
        let Ended { id, took, result } = ended;
        let (now, random) = (self.now()?, &SystemRandom);
        let (pushed, why) = match &result {
            Ok(response) => {
                let lent = lent(response);
                let handled = pusher.handle_response(&id, &lent, now, random);
                (handled.await, NotDelivered::Status(response.status()))
            }
            Err(failure) => {
                let handled = pusher.handle_failure(&id, now, random);
                (handled.await, NotDelivered::NoAnswer(*failure))
            }
        };
        let event = match pushed.map_err(DeliveryEvent::Failed)? {
            Pushed::Delivered => DeliveryEvent::Delivered { id, took },
            Pushed::Again(again) => DeliveryEvent::Retried { id, again, why },
            Pushed::Dead => DeliveryEvent::Dead { id, why },
            Pushed::Late => DeliveryEvent::Late { id },
        };
        (self.observe)(&event);
        Ok(())
    }

    async fn tidy(&self) -> Infallible {
        loop {
            if let Err(failed) = self.tidy_once().await {
                (self.observe)(&failed);
            }
            sleep(self.tidy_every).await;
        }
    }

    async fn tidy_once(&self) -> Result<(), DeliveryEvent> {
        let tidied = self.transmitter.tidy(self.now()?, &SystemRandom).await;
        (self.observe)(&DeliveryEvent::Tidied(
            tidied.map_err(DeliveryEvent::Failed)?,
        ));
        let lag = self.transmitter.lag(self.now()?).await;
        (self.observe)(&DeliveryEvent::Lag(lag.map_err(DeliveryEvent::Failed)?));
        Ok(())
    }

    fn now(&self) -> Result<Timestamp, DeliveryEvent> {
        self.clock.now().map_err(DeliveryEvent::Clock)
    }
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliverer")
            .field("transmitter", &self.transmitter)
            .field("sender", &self.sender)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
