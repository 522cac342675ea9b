//! `StreamKeeper`: what a receiver does so that a stream stays what it is.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use caep_stream::InboxError;
use caep_stream::receiver::{Answer, Discovery, Transmitter};
use http::StatusCode;
use m2m_crypto::SystemRandom;
use m2m_types::{ClockError, Timestamp};
use tokio::time::{Instant, timeout};

use super::receive::{ActFailure, KeysFailure};
use super::streams::{DiscoverFailure, ManageFailure, StreamManager, discover};
use super::{PAUSE, SignalReceiver};

/// Keeps one stream alive: fetches the transmitter's keys when it is time to, or at once when a SET names one that
/// is not known; asks for verifications, the heartbeat by which [`caep_stream::receiver::Receiver::freshness`] knows
/// whether the stream still speaks; looks whether the transmitter's metadata have changed; acts upon what
/// waits, and forgets old names.
///
/// One for each transmitter. Nothing happens until [`StreamKeeper::run`] is polled, and nothing goes on when it is
/// dropped.
pub struct StreamKeeper {
    signals: SignalReceiver,
    manager: StreamManager,
    metadata: Option<Metadata>,
    observe: Box<dyn Fn(&KeeperEvent) + Send + Sync>,
    /// When it acts and forgets next.
    tidy_at: Instant,
}

struct Metadata {
    discovery: Discovery,
    every: Duration,
    at: Instant,
    known: Transmitter,
}

/// What happened to a [`StreamKeeper`].
#[non_exhaustive]
#[derive(Debug)]
pub enum KeeperEvent {
    /// Keys were fetched and taken: so many sets.
    Keys(usize),
    /// Keys were not fetched, or not taken.
    NoKeys(KeysFailure),
    /// A verification was asked for, and the transmitter said this. The event itself comes by the stream.
    Asked(Answer<()>),
    /// A verification was to be asked for and could not be.
    NotAsked(ManageFailure),
    /// The transmitter's metadata have changed. **Look**: endpoints and keys stay those of the beginning until
    /// the program is started again.
    MetadataChanged(Box<Transmitter>),
    /// The transmitter's metadata were not read, or not believed.
    NoMetadata(DiscoverFailure),
    /// SETs that wait could not be acted upon.
    NotActed(ActFailure),
    /// The receiver's store failed.
    Failed(InboxError),
    /// What time it is is not known, so nothing is done.
    Clock(ClockError),
}

impl StreamKeeper {
    /// How often it acts upon what waits, and forgets a few hundred names.
    const TIDY: Duration = Duration::from_secs(30);

    /// Keeps the stream that `manager` has at its transmitter.
    pub fn new(signals: SignalReceiver, manager: StreamManager) -> Self {
        Self {
            signals,
            manager,
            metadata: None,
            observe: Box::new(|_| ()),
            tidy_at: Instant::now(),
        }
    }

    /// Looks at the metadata `every` so often, as `discovery` says: at an hour, say. If the keys move to another
    /// origin, that is refused and reported.
    #[must_use]
    pub fn with_metadata(mut self, discovery: Discovery, every: Duration) -> Self {
        let every = every.max(Duration::from_secs(60));
        self.metadata = Some(Metadata {
            discovery,
            every,
            at: Instant::now() + every,
            known: self.manager.client().transmitter().clone(),
        });
        self
    }

    /// Tells `observe` what happens. It should not block.
    #[must_use]
    pub fn with_observer(mut self, observe: impl Fn(&KeeperEvent) + Send + Sync + 'static) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Keeps, for ever: drop it to stop.
    pub async fn run(mut self) -> Infallible {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(event) => {
                    (self.observe)(&event);
                    PAUSE
                }
            };
            // Whatever woke it, it looks.
            let _ = timeout(pause, self.signals.keys_wanted()).await;
        }
    }

    /// Does what is due, and says how long to wait.
    async fn step(&mut self) -> Result<Duration, KeeperEvent> {
        let (taken, problem) = self.signals.fetch_keys(self.manager.sender()).await;
        if taken > 0 {
            (self.observe)(&KeeperEvent::Keys(taken));
        }
        if let Some(problem) = problem {
            (self.observe)(&KeeperEvent::NoKeys(problem));
        }
        self.ask().await?;
        if self.tidy_at <= Instant::now() {
            self.tidy_at = Instant::now() + Self::TIDY;
            if let Err(failure) = self.signals.act().await {
                (self.observe)(&KeeperEvent::NotActed(failure));
            }
            let receiver = self.signals.receiver();
            let forgotten = receiver.forget(self.now()?, &SystemRandom).await;
            forgotten.map_err(KeeperEvent::Failed)?;
        }
        self.look_at_metadata().await;
        let (receiver, now) = (self.signals.receiver(), self.now()?);
        let issuer = self.manager.client().transmitter().issuer();
        let due = receiver
            .poll_keys_timeout()
            .min(receiver.poll_verification_timeout(issuer));
        let left = due.checked_since(now).unwrap_or_default();
        Ok(left.clamp(PAUSE, Self::TIDY))
    }

    /// Asks for a verification, if it is time.
    async fn ask(&self) -> Result<(), KeeperEvent> {
        let (receiver, random) = (self.signals.receiver(), &SystemRandom);
        let client = self.manager.client();
        let issuer = client.transmitter().issuer();
        let wanted = receiver.poll_verification(issuer, self.now()?, random);
        let Some(wanted) = wanted.await.map_err(KeeperEvent::Failed)? else {
            return Ok(());
        };
        let asked = match client.verify(&wanted) {
            Ok(call) => self.manager.send(&call).await,
            Err(error) => Err(ManageFailure::Client(error)),
        };
        let (answer, event) = match asked {
            Ok(answer) => (answer.clone(), KeeperEvent::Asked(answer)),
            Err(failure) => {
                let later = Answer::Later {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    retry_after: None,
                };
                (later, KeeperEvent::NotAsked(failure))
            }
        };
        (self.observe)(&event);
        let handled = receiver.handle_verification_answer(issuer, &answer, self.now()?, random);
        handled.await.map_err(KeeperEvent::Failed)
    }

    async fn look_at_metadata(&mut self) {
        let Some(metadata) = &mut self.metadata else {
            return;
        };
        if Instant::now() < metadata.at {
            return;
        }
        metadata.at = Instant::now() + metadata.every;
        match discover(&mut metadata.discovery, self.manager.sender()).await {
            Ok(found) if found != metadata.known => {
                metadata.known = found.clone();
                (self.observe)(&KeeperEvent::MetadataChanged(Box::new(found)));
            }
            Ok(_) => {}
            Err(failure) => (self.observe)(&KeeperEvent::NoMetadata(failure)),
        }
    }

    fn now(&self) -> Result<Timestamp, KeeperEvent> {
        self.signals.now().map_err(KeeperEvent::Clock)
    }
}

impl fmt::Debug for StreamKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamKeeper")
            .field("signals", &self.signals)
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}
