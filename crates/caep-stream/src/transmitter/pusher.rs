//! `Pusher`: which SET is to be pushed next, and what its answer means (RFC 8935).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, Uri};
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Changes, Cursor, Expected, Record, Scan, StoreFuture};
use m2m_types::Timestamp;

use super::lane::Lane;
use super::place::{Position, stream_of};
use super::queue::{Known, Queued};
use super::record::Stream;
use super::{Transmitter, TransmitterError, dead, intent};
use crate::delivery::push::{self, PushOutcome};
use crate::management::DeliveryMethod;

/// Which delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PushId {
    stream: Box<str>,
    life: u32,
    position: Position,
}

impl PushId {
    /// Of which stream.
    pub fn stream_id(&self) -> &str {
        &self.stream
    }

    /// `jti` of the SET.
    pub fn token_id(&self) -> String {
        self.position.token_id()
    }
}

/// A SET that is to be pushed now.
#[derive(Debug)]
pub struct PushDelivery {
    id: PushId,
    request: Request<Vec<u8>>,
}

impl PushDelivery {
    /// Which one: to be handed back with its answer.
    pub fn id(&self) -> &PushId {
        &self.id
    }

    /// What is to be sent. Check the address that its host resolves to, connect to that one, and follow no
    /// redirection.
    pub fn request(&self) -> &Request<Vec<u8>> {
        &self.request
    }

    /// Takes both out.
    pub fn into_parts(self) -> (PushId, Request<Vec<u8>>) {
        (self.id, self.request)
    }
}

/// What became of a SET that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "callers count each")]
pub enum Pushed {
    /// Its receiver has it.
    Delivered,
    /// It is tried again, not before this time.
    Again(Timestamp),
    /// It is a dead letter.
    Dead,
    /// It was under way no more: it took too long, or its stream is gone.
    Late,
}

/// Pushes SETs: says what is to be sent, and is told what came of it. See the [module](super) for the loop.
///
/// Of each stream, one SET after the other (or as many at a time as
/// [`TransmitterOptions::with_in_flight`](super::TransmitterOptions::with_in_flight) says), in the order in
/// which they were published. One that fails holds up its stream, and no other; it is tried again after
/// one second, two, four, and so on, with some chance in it.
///
/// One for each transmitter is enough. With several, in several processes, SETs arrive more than once.
pub struct Pusher {
    transmitter: Arc<Transmitter>,
    lanes: BTreeMap<Box<str>, Lane>,
    /// Whose turn it is.
    turns: VecDeque<Box<str>>,
    place: Option<Cursor>,
    /// Up to where all that was published was given to the queues.
    looked: Cursor,
}

impl Pusher {
    /// Pushes for `transmitter`.
    pub fn new(transmitter: Arc<Transmitter>) -> Self {
        Self {
            transmitter,
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            place: None,
            looked: Cursor::START,
        }
    }

    /// The next SET to send, if one is to be sent now. Ask until there is none.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`]; ask again later.
    pub async fn poll_delivery(
        &mut self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Option<PushDelivery>, TransmitterError> {
        let dispatched = self.transmitter.dispatch_all(now, random).await?;
        self.looked = dispatched.as_of;
        self.transmitter.refresh().await?;
        self.wake().await?;
        self.give_up_waiting(now);
        for _ in 0..self.turns.len() {
            let Some(id) = self.turns.pop_front() else {
                break;
            };
            self.turns.push_back(id.clone());
            let stream = self.transmitter.registry().stream_called(&id);
            let Some(stream) = stream.filter(|stream| stream.method() == DeliveryMethod::Push)
            else {
                continue;
            };
            if let Some(delivery) = self.next_of(&stream, now, random).await? {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    /// Finds out which streams have something new.
    async fn wake(&mut self) -> Result<(), TransmitterError> {
        let transmitter = Arc::clone(&self.transmitter);
        let mut all = false;
        loop {
            let Some(place) = self.place else {
                // From here on. What is there already is found by looking.
                let look = Scan::new(transmitter.spaces.queue.clone()).with_limit(1);
                self.place = Some(transmitter.store.scan(&look).await?.as_of());
                all = true;
                continue;
            };
            let changes = transmitter
                .store
                .changes(&transmitter.spaces.queue, place, 1_000);
            match changes.await? {
                Changes::Some(page) => {
                    for change in page.changes() {
                        let lane = stream_of(change.key()).and_then(|id| self.lanes.get_mut(id));
                        if let Some(lane) = lane {
                            lane.awake = true;
                        }
                    }
                    self.place = Some(page.next());
                    if !page.has_more() {
                        break;
                    }
                }
                _ => self.place = None,
            }
        }
        let registry = transmitter.registry();
        self.lanes
            .retain(|id, _| registry.stream_called(id).is_some());
        for stream in registry.streams() {
            let lane = self.lanes.entry(stream.id.clone()).or_default();
            if all || lane.version != stream.version {
                lane.awake = true;
                lane.version = stream.version;
            }
        }
        if self.turns.len() != self.lanes.len() {
            self.turns = self.lanes.keys().cloned().collect();
        }
        Ok(())
    }

    /// What has been under way for too long has failed.
    fn give_up_waiting(&mut self, now: Timestamp) {
        for (id, lane) in &mut self.lanes {
            let late = lane.in_flight.iter().find(|(_, until)| *until <= now);
            if let Some((position, _)) = late.copied() {
                lane.in_flight.retain(|(_, until)| *until > now);
                lane.wait(&self.transmitter.options, id, position, None, now);
            }
        }
    }

    async fn next_of(
        &mut self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Option<PushDelivery>, TransmitterError> {
        let transmitter = Arc::clone(&self.transmitter);
        let Some(lane) = self.lanes.get_mut(&stream.id) else {
            return Ok(None);
        };
        let options = &transmitter.options;
        let waits = lane.not_before.is_some_and(|time| now < time);
        if !lane.awake || waits || lane.in_flight.len() >= options.in_flight {
            return Ok(None);
        }
        let look = transmitter
            .to_send(stream)?
            .with_limit(lane.in_flight.len() + 1);
        let page = transmitter.store.scan(&look).await?;
        for record in page.records() {
            let queued = Queued::decode(record)?;
            let position = queued.position;
            if lane.in_flight.iter().any(|(known, _)| *known == position) {
                continue;
            }
            let Some(request) = request(&transmitter, stream, &queued, now)? else {
                let why = "the address is none that is pushed to";
                bury(&transmitter, record, &stream.id, position, why, random).await?;
                continue;
            };
            let until = now.saturating_add(options.answer_within);
            lane.in_flight.push((position, until));
            let id = PushId {
                stream: stream.id.clone(),
                life: stream.said.life,
                position,
            };
            return Ok(Some(PushDelivery { id, request }));
        }
        // What was buried is gone; what is behind it is still there.
        lane.awake = page.next().is_some();
        Ok(None)
    }

    /// The receiver answered.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`]: it could not be recorded, and the SET will be sent again.
    pub async fn handle_response(
        &mut self,
        id: &PushId,
        response: &Response<&[u8]>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Pushed, TransmitterError> {
        if !self.arrived(id) {
            return Ok(Pushed::Late);
        }
        match push::outcome(response) {
            PushOutcome::Delivered => {
                let key = self
                    .transmitter
                    .spaces
                    .queued(&id.stream, id.life, id.position)?;
                let batch = Batch::new(intent(random)?).delete(key, Expected::Anything);
                self.transmitter.commit(batch).await?;
                self.transmitter.registry().taken(&id.stream, 1);
                if let Some(lane) = self.lanes.get_mut(&id.stream) {
                    lane.failures = 0;
                    lane.not_before = None;
                }
                Ok(Pushed::Delivered)
            }
            PushOutcome::Refused(failure) => {
                let why = dead::because(&failure);
                self.bury(id, &why, random).await
            }
            PushOutcome::Later {
                status,
                retry_after,
            } => {
                let why = format!("not delivered; the last answer was {}", status.as_u16());
                self.failed(id, &why, retry_after, now, random).await
            }
        }
    }

    /// It could not be sent, or there was no answer.
    ///
    /// # Errors
    ///
    /// See [`Pusher::handle_response`].
    pub async fn handle_failure(
        &mut self,
        id: &PushId,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Pushed, TransmitterError> {
        if !self.arrived(id) {
            return Ok(Pushed::Late);
        }
        let why = "not delivered; there was no answer";
        self.failed(id, why, None, now, random).await
    }

    /// When to call [`Pusher::poll_delivery`] again if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let lanes = self.lanes.values();
        let times = lanes.flat_map(|lane| {
            let retry = lane.not_before.filter(|_| lane.awake);
            let answers = lane.in_flight.iter().map(|(_, until)| *until);
            retry.into_iter().chain(answers)
        });
        times.min()
    }

    /// Waits until there may be something new to send. May be ready for nothing.
    pub fn changed(&self) -> StoreFuture<'_, ()> {
        // Not from where the queues were looked at, which was later: what was published in between would
        // wait until something else happens.
        self.transmitter.store.changed(self.looked)
    }

    /// Whether it was under way; it no longer is.
    fn arrived(&mut self, id: &PushId) -> bool {
        let Some(lane) = self.lanes.get_mut(&id.stream) else {
            return false;
        };
        let before = lane.in_flight.len();
        lane.in_flight
            .retain(|(position, _)| *position != id.position);
        lane.awake = true;
        lane.in_flight.len() != before
    }

    async fn failed(
        &mut self,
        id: &PushId,
        why: &str,
        retry_after: Option<u32>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Pushed, TransmitterError> {
        let stream = self.transmitter.registry().stream_called(&id.stream);
        let (Some(stream), Some(lane)) = (stream, self.lanes.get_mut(&id.stream)) else {
            return Ok(Pushed::Late);
        };
        let position = id.position;
        let again = lane.wait(
            &self.transmitter.options,
            &id.stream,
            position,
            retry_after,
            now,
        );
        // What was held while the stream was paused has its time from then on.
        let begun = position.time().max(stream.enabled_at());
        if now < begun.saturating_add(self.transmitter.options.give_up_after) {
            return Ok(Pushed::Again(again));
        }
        self.bury(id, why, random).await
    }

    async fn bury(
        &self,
        id: &PushId,
        why: &str,
        random: &dyn SecureRandom,
    ) -> Result<Pushed, TransmitterError> {
        let spaces = &self.transmitter.spaces;
        let key = spaces.queued(&id.stream, id.life, id.position)?;
        match self.transmitter.store.get(&key).await? {
            Some(record) => {
                let transmitter = &self.transmitter;
                bury(transmitter, &record, &id.stream, id.position, why, random).await?;
                Ok(Pushed::Dead)
            }
            None => Ok(Pushed::Late),
        }
    }
}

/// The request that pushes a SET; [`None`] if it can be sent nowhere.
fn request(
    transmitter: &Transmitter,
    stream: &Stream,
    queued: &Queued<'_>,
    now: Timestamp,
) -> Result<Option<Request<Vec<u8>>>, TransmitterError> {
    let url = stream.said.push.as_deref();
    // What was allowed when the stream was made may not be any more.
    let url = url.filter(|url| transmitter.options.targets.allows(url));
    let Some(endpoint) = url.and_then(|url| url.parse::<Uri>().ok()) else {
        return Ok(None);
    };
    let secret = stream.secret.as_ref();
    let authorization = match secret.map(|secret| HeaderValue::from_bytes(secret.expose_secret())) {
        Some(Ok(value)) => Some(value),
        Some(Err(_)) => return Ok(None),
        None => None,
    };
    let anew = transmitter.signed_anew(queued.token, now, &mut Known::default())?;
    let set = anew.as_deref().unwrap_or(queued.token);
    Ok(Some(push::request(endpoint, authorization, set)))
}

/// Moves a SET to the dead letters.
async fn bury(
    transmitter: &Transmitter,
    record: &Record,
    stream: &str,
    position: Position,
    why: &str,
    random: &dyn SecureRandom,
) -> Result<(), TransmitterError> {
    let letter = dead::encode(why, record.value().as_bytes());
    let batch = Batch::new(intent(random)?)
        .delete(record.key().clone(), Expected::Anything)
        .put(
            transmitter.spaces.dead(stream, position)?,
            Expected::Anything,
            letter,
        );
    transmitter.commit(batch).await?;
    transmitter.registry().taken(stream, 1);
    Ok(())
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher")
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}
