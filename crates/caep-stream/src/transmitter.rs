//! The transmitter: streams are managed, events are published, SETs are pushed and polled.
//!
//! No socket, no clock, no runtime. Requests and responses of the `http` crate go in and out, the time and
//! randomness are arguments, and all state is in a [`Store`]: several processes may serve one transmitter,
//! and one that dies has lost nothing that it acknowledged.
//!
//! ```text
//!  application ── publish(event) ─▶ [events] one record, alone or in the application's own batch
//!                                      │
//!                               dispatch: which streams want it? signed for each
//!                                      ▼
//!  receiver ◀── 200 {sets} ── poll ◀─ [queue of each stream] ─▶ Pusher ── POST SET ─▶ receiver
//!           ─── ack, setErrs ─▶                                   ▲ 202, 400, nothing at all
//!                                      │ refused, or not delivered in days
//!                                      ▼
//!                               [dead letters]       [events of the past] ─▶ replay, the same `jti`
//! ```
//!
//! # What the edge does
//!
//! It answers [`Transmitter::metadata`] to everybody, authenticates all other callers, and hands what
//! they ask to [`Transmitter::handle`] with the [`Caller`] they are:
//!
//! ```text
//! let answer = match transmitter.metadata(&request) {
//!     Some(response) => response,
//!     None => match authenticate(&request) {                      // bearer token or certificate
//!         None => unauthorized(HeaderValue::from_static("Bearer")),
//!         Some(caller) => match transmitter.handle(&request, &caller, now(), random).await {
//!             Ok(Answer::Ready(response)) => response,
//!             Ok(Answer::Waiting(mut poll)) => loop {             // a long poll, with nothing to give
//!                 select! { transmitter.changed(&poll), sleep_until(poll.until()) }
//!                 match transmitter.resume(poll, now(), random).await {
//!                     Ok(Answer::Ready(response)) => break response,
//!                     Ok(Answer::Waiting(again)) => poll = again,
//!                     Err(error) => break error.response(),
//!                 }
//!             },
//!             Err(error) => error.response(),                     // 503, and a line in the log
//!         },
//!     },
//! };
//! ```
//!
//! # What pushes
//!
//! One task drives a [`Pusher`]. Each [`PushDelivery`] ends with [`Pusher::handle_response`] or
//! [`Pusher::handle_failure`]:
//!
//! ```text
//! let mut pusher = Pusher::new(Arc::clone(&transmitter));
//! loop {
//!     while let Some(delivery) = pusher.poll_delivery(now(), random).await? {
//!         spawn(async { (delivery.id(), send(delivery.request()).await) });  // check the address it resolves to
//!     }
//!     select! {
//!         (id, Ok(response)) = next finished => pusher.handle_response(&id, &response, now(), random).await?,
//!         (id, Err(_))       = next finished => pusher.handle_failure(&id, now(), random).await?,
//!         pusher.changed()                   => {}   // something was published, here or elsewhere
//!         sleep_until(pusher.poll_timeout()) => {}   // something is to be tried again
//!     }
//! }
//! ```
//!
//! Once in a while (a minute is often enough) [`Transmitter::tidy`] ends what is due to end. What was
//! delivered leaves tombstones in the store; have them pruned as well, or the way to the head of a queue
//! goes past all of them.
//!
//! # What is promised
//!
//! - What [`Transmitter::publish`] has returned [`Ok`] for is delivered to each stream that wants it, or is
//!   among its dead letters, or its receiver was told of a gap. It may be delivered twice, with the same
//!   `jti`.
//! - Queues are bounded. A stream that is full is paused, and says so. Of states (compliance, risk,
//!   assurance) only the newest of a subject is kept then; a revocation is never dropped for anything
//!   newer. When even the reserve is full, the gap is told when the stream is enabled again.
//! - Another receiver's stream looks like one that does not exist.

mod answers;
mod caller;
mod coalesce;
mod dead;
mod dispatch;
mod error;
mod interest;
mod lag;
mod lane;
mod manage;
mod options;
mod place;
mod poll;
mod publish;
mod pusher;
mod queue;
mod record;
mod registry;
mod replay;
mod routes;
mod status;
mod subjects;
mod target;
mod tidy;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caep_set::SetMinter;
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, IdempotencyKey, Store, StoreError};
use m2m_token::{SigningKeyRing, SigningKeyState};
use m2m_types::Timestamp;

pub use answers::{forbidden, unauthorized};
pub use caller::{Caller, CallerError};
pub use dead::DeadLetter;
pub use error::TransmitterError;
pub use lag::Lag;
pub use options::TransmitterOptions;
pub use poll::LongPoll;
pub use publish::{MAX_EVENT, Publication, Published};
pub use pusher::{PushDelivery, PushId, Pushed, Pusher};
pub use record::Status;
pub use replay::ReplayFrom;
pub use routes::Answer;
pub use target::PushTargets;
pub use tidy::Tidied;

use crate::management::{DefaultSubjects, TransmitterMetadata};
use interest::Rules;
use place::{Position, Rank, Spaces};
use record::{Ours, Stream};
use registry::Registry;
use routes::Routes;

/// How often a commit is tried whose outcome is not known. Its idempotency key makes that safe.
const ATTEMPTS: usize = 5;
/// How long a SET may be on its way after it was checked that its key is known.
const ON_THE_WAY: Duration = Duration::from_secs(600);

/// A transmitter of Shared Signals; see the [module](self) for how it is driven.
pub struct Transmitter {
    store: Arc<dyn Store>,
    spaces: Spaces,
    metadata: TransmitterMetadata,
    routes: Routes,
    poll_endpoint: Box<str>,
    keys: Arc<SigningKeyRing>,
    minter: SetMinter,
    supported: Vec<Box<str>>,
    options: TransmitterOptions,
    registry: Mutex<Registry>,
}

impl Transmitter {
    /// The transmitter called `name` in `store`. It says `metadata` of itself, whose endpoints are those
    /// that [`Transmitter::handle`] answers at; streams are polled below `poll_endpoint`. SETs are signed
    /// with the active key of `keys`, whose JWK set the caller serves. `events` are the URIs of the types
    /// of events that can be had.
    ///
    /// # Errors
    ///
    /// [`TransmitterError::Name`], [`TransmitterError::Endpoints`], [`TransmitterError::Metadata`],
    /// [`TransmitterError::Mint`].
    pub fn new<'u>(
        store: Arc<dyn Store>,
        name: &str,
        metadata: TransmitterMetadata,
        poll_endpoint: &str,
        keys: Arc<SigningKeyRing>,
        events: impl IntoIterator<Item = &'u str>,
        options: TransmitterOptions,
    ) -> Result<Self, TransmitterError> {
        let spaces = Spaces::new(name).ok_or_else(|| TransmitterError::Name {
            name: name.chars().take(32).collect::<String>().into_boxed_str(),
        })?;
        let poll_endpoint = poll_endpoint.trim_end_matches('/');
        Ok(Self {
            store,
            spaces,
            routes: Routes::new(&metadata, poll_endpoint)?,
            poll_endpoint: Box::from(poll_endpoint),
            minter: SetMinter::new(metadata.issuer(), Arc::clone(&keys))?,
            metadata,
            keys,
            supported: events.into_iter().map(Box::from).collect(),
            options,
            registry: Mutex::new(Registry::default()),
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Whoever panicked left at worst something that is read again from the feed.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what is known of streams and subjects up to now.
    async fn refresh(&self) -> Result<(), TransmitterError> {
        loop {
            let since = self.registry().places();
            let spaces = &self.spaces;
            let subjects = self.store.changes(&spaces.subjects, since.subjects, 1_000);
            let subjects = subjects.await?;
            let streams = self.store.changes(&spaces.streams, since.streams, 1_000);
            let streams = streams.await?;
            let more = self.registry().apply(since, streams, subjects);
            let more = more.map_err(|record| TransmitterError::Record {
                key: record.key().clone(),
            })?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Where what happens now stands, behind all that is committed.
    fn fresh_position(
        &self,
        rank: Rank,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Position, TransmitterError> {
        let mut name = [0; 16];
        random.fill(&mut name)?;
        let head = self.registry().places().streams.revision();
        Ok(Position::new(rank, now, head.number() + 1, &name))
    }

    /// Commits, and asks again under the same name while nobody knows what became of it.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut attempts = 1;
        loop {
            match self.store.commit(batch.clone()).await {
                Err(StoreError::OutcomeUnknown { .. }) if attempts < ATTEMPTS => attempts += 1,
                other => return other.map(drop),
            }
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            // Who does not say it includes all: the silence of a stream must not be a surprise.
            default: self
                .metadata
                .default_subjects()
                .unwrap_or(DefaultSubjects::All),
            matching: self.options.matching,
            grace: self.options.removal_grace,
        }
    }

    fn ours(&self) -> Ours<'_> {
        let seconds = |time: Option<Duration>| {
            time.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
        };
        Ours {
            issuer: self.metadata.issuer(),
            poll_endpoint: &self.poll_endpoint,
            supported: &self.supported,
            min_verification_interval: seconds(self.options.min_verification_interval),
            inactivity_timeout: seconds(self.options.inactivity_timeout),
        }
    }

    /// Whether receivers find this key in the JWK set, and still will in a while.
    fn is_known(&self, kid: &str, now: Timestamp) -> bool {
        let states = self.keys.states();
        let state = states.iter().find(|(known, _)| **known == *kid);
        match state.map(|(_, state)| state) {
            Some(SigningKeyState::Active) => true,
            Some(SigningKeyState::Retiring { until }) => now.saturating_add(ON_THE_WAY) < *until,
            _ => false,
        }
    }

    /// The stream, if it is the caller's.
    fn stream_of(&self, id: &str, caller: &Caller) -> Option<Arc<Stream>> {
        let stream = self.registry().stream_called(id);
        stream.filter(|stream| stream.is_of(caller))
    }
}

impl fmt::Debug for Transmitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transmitter")
            .field("issuer", &self.metadata.issuer())
            .field("spaces", &self.spaces)
            .finish_non_exhaustive()
    }
}

fn intent(random: &dyn SecureRandom) -> Result<IdempotencyKey, TransmitterError> {
    Ok(IdempotencyKey::generate(random)?)
}
