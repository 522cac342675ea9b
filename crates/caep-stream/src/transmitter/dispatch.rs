//! Published events are given to the streams that want them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use caep_set::SecurityEvent;
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Cursor, Expected, Key, MAX_BATCH_OPERATIONS, Record, StoreError};
use m2m_token::MintError;
use m2m_types::Timestamp;

use super::manage::CHANGES;
use super::place::{Position, position_of, scan_all};
use super::queue::{Keep, Queued};
use super::record::{Status, Stream};
use super::status::By;
use super::{Transmitter, TransmitterError, intent};
use crate::management::DefaultSubjects;

/// How many events are looked at at a time.
const EVENTS: usize = 256;
/// One operation less than this, and a stream's two still fit.
const FULL: usize = MAX_BATCH_OPERATIONS - 8;
/// How many bytes a batch may have before it is committed.
const HEAVY: usize = 1 << 20;
/// A queue that is full is looked through again after this time at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What was dispatched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatched {
    /// How many events.
    pub(crate) count: usize,
    /// Nothing was there to be dispatched as of this place.
    pub(crate) as_of: Cursor,
}

/// Writes that are committed together.
struct Sheaf {
    batch: Batch,
    /// Streams that the batch checks or writes: each once.
    streams: BTreeSet<Box<str>>,
    /// Those that it writes.
    written: BTreeSet<Box<str>>,
}

impl Sheaf {
    fn new(random: &dyn SecureRandom) -> Result<Self, TransmitterError> {
        Ok(Self {
            batch: Batch::new(intent(random)?),
            streams: BTreeSet::new(),
            written: BTreeSet::new(),
        })
    }

    fn with(mut self, add: impl FnOnce(Batch) -> Batch) -> Self {
        self.batch = add(self.batch);
        self
    }

    /// Whether it cannot write this stream, because it says that the stream stays as it is.
    fn only_checks(&self, stream: &Stream) -> bool {
        self.streams.contains(&stream.id) && !self.written.contains(&stream.id)
    }

    fn is_full(&self) -> bool {
        self.batch.operations().len() >= FULL || self.batch.bytes() >= HEAVY
    }
}

/// Whether a queue takes one more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Yes,
    /// It is lost, and its receiver will be told.
    No,
    /// Nobody has counted yet.
    Unknown,
    /// It is full, but something in it may be moot by now.
    Look,
    /// There is none, and the stream is to be paused.
    Pause,
}

impl Transmitter {
    /// Gives the events that are published to the queues of the streams that want them, and says how
    /// many events there were. Polls and pushers do so by themselves; it can be done twice, or by two at
    /// a time, and is the same.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`]; what was not dispatched will be.
    pub async fn dispatch(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        Ok(self.dispatch_all(now, random).await?.count)
    }

    pub(crate) async fn dispatch_all(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Dispatched, TransmitterError> {
        let scan = scan_all(&self.spaces.fresh)?.with_limit(EVENTS);
        let (mut count, mut conflicts) = (0, 0);
        loop {
            let page = self.store.scan(&scan).await?;
            let as_of = page.as_of();
            if page.records().is_empty() {
                return Ok(Dispatched { count, as_of });
            }
            self.refresh().await?;
            let mut events = page.into_records();
            events.sort_unstable_by_key(Record::version);
            match self.spread(&events, now, random).await {
                Ok(()) => {
                    count += events.len();
                    conflicts = 0;
                }
                // A stream was changed meanwhile, or somebody else dispatched the same.
                Err(TransmitterError::Store(StoreError::Conflict { .. }))
                    if conflicts < CHANGES =>
                {
                    conflicts += 1;
                }
                Err(TransmitterError::Store(StoreError::Conflict { .. })) => {
                    return Err(TransmitterError::Busy);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn spread(
        &self,
        events: &[Record],
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), TransmitterError> {
        let mut sheaf = Sheaf::new(random)?;
        for record in events {
            let wrong = || TransmitterError::Record {
                key: record.key().clone(),
            };
            let position = position_of(record.key()).ok_or_else(wrong)?;
            let position = position.committed_as(record.version().number());
            let json = std::str::from_utf8(record.value().as_bytes()).map_err(|_| wrong())?;
            let event = SecurityEvent::from_json(json).map_err(|_| wrong())?;
            let template = self.minter.template(&event, position.time());
            let keep = Keep::of(&event);
            for mut stream in self.wanting(&event, now) {
                let room = loop {
                    match self.room(&stream, keep, now) {
                        Room::Unknown => {
                            // What is not yet committed would not be seen.
                            sheaf = self.flush(sheaf, record, random).await?;
                            self.count(&stream, now).await?;
                        }
                        Room::Look => {
                            sheaf = self.flush(sheaf, record, random).await?;
                            self.coalesce(&stream, now, random).await?;
                        }
                        Room::Pause => {
                            sheaf = self.flush(sheaf, record, random).await?;
                            stream = self.pause_full(&stream, now, random).await?;
                        }
                        known => break known,
                    }
                };
                let is_missed = room == Room::No && stream.said.gap.is_none();
                if sheaf.is_full() || (is_missed && sheaf.only_checks(&stream)) {
                    sheaf = self.flush(sheaf, record, random).await?;
                }
                if room == Room::No {
                    if is_missed {
                        sheaf = self.note_gap(sheaf, &stream, position)?;
                    }
                    continue;
                }
                self.registry().added(&stream.id, 1);
                let position = position.in_stream(&stream.id);
                let audience = &stream.said.audience;
                let name = position.token_id();
                let token = template.as_ref().map_err(MintError::clone);
                let token =
                    token.and_then(|template| self.minter.mint_named(template, audience, &name));
                sheaf = match token {
                    Ok(token) => {
                        let life = stream.said.life;
                        let key = self.spaces.queued(&stream.id, life, position)?;
                        let value = Queued::encode(keep, &token);
                        self.checked(sheaf, &stream)?
                            .with(|batch| batch.put(key, Expected::Anything, value))
                    }
                    // It must not be in the way of all others.
                    Err(error) if is_about_the_event(&error) => {
                        let dead = self.spaces.dead(&stream.id, position)?;
                        let letter = super::dead::encode("no SET can be made of it", b"");
                        sheaf.with(|batch| batch.put(dead, Expected::Anything, letter))
                    }
                    Err(error) => return Err(error.into()),
                };
            }
            let past = Key::new(&self.spaces.past, position.as_bytes())?;
            let value = record.value().as_bytes();
            sheaf = sheaf.with(|batch| {
                batch
                    .delete(record.key().clone(), Expected::Version(record.version()))
                    .put(past, Expected::Anything, value)
            });
            if sheaf.is_full() {
                sheaf = self.commit_sheaf(sheaf, random).await?;
            }
        }
        self.commit_sheaf(sheaf, random).await.map(drop)
    }

    /// Commits what there is while `event` is not yet done.
    async fn flush(
        &self,
        sheaf: Sheaf,
        event: &Record,
        random: &dyn SecureRandom,
    ) -> Result<Sheaf, TransmitterError> {
        if sheaf.batch.operations().is_empty() {
            return Ok(sheaf);
        }
        let expected = Expected::Version(event.version());
        let sheaf = sheaf.with(|batch| batch.check(event.key().clone(), expected));
        self.commit_sheaf(sheaf, random).await
    }

    async fn commit_sheaf(
        &self,
        sheaf: Sheaf,
        random: &dyn SecureRandom,
    ) -> Result<Sheaf, TransmitterError> {
        if sheaf.batch.operations().is_empty() {
            return Ok(sheaf);
        }
        self.commit(sheaf.batch).await?;
        self.refresh().await?;
        Sheaf::new(random)
    }

    async fn pause_full(
        &self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Arc<Stream>, TransmitterError> {
        let (status, reason) = (Status::Paused, Some("the queue is full"));
        let by = By::Transmitter;
        let paused = self.change_status(&stream.id, status, reason, by, now, random);
        paused.await.map(drop)?;
        let stream = self.registry().stream_called(&stream.id);
        stream.ok_or(TransmitterError::Busy)
    }

    /// The streams that an event is for.
    fn wanting(&self, event: &SecurityEvent, now: Timestamp) -> Vec<Arc<Stream>> {
        let streams: Vec<Arc<Stream>> = self.registry().streams().cloned().collect();
        let wants = |stream: &Arc<Stream>| self.wants(stream, event, now);
        streams.into_iter().filter(wants).collect()
    }

    /// Whether an event is of a type that the stream delivers and about a subject of it, and its receiver
    /// may be told.
    pub(crate) fn wants(&self, stream: &Stream, event: &SecurityEvent, now: Timestamp) -> bool {
        let uri = event.event().uri();
        let is_delivered =
            self.supported.iter().any(|known| **known == *uri) && stream.delivers(uri);
        if !is_delivered {
            return false;
        }
        let rules = self.rules();
        let is_in = match self.registry().interest(&stream.id) {
            Some(interest) => interest.includes(event.subject(), &rules, now),
            None => rules.default == DefaultSubjects::All,
        };
        let gate = self.options.gate.as_ref();
        is_in && gate.is_none_or(|gate| gate(&stream.caller(), event))
    }

    /// Adds to the sheaf that the stream is as it was when this was decided.
    fn checked(&self, mut sheaf: Sheaf, stream: &Stream) -> Result<Sheaf, TransmitterError> {
        if !sheaf.streams.insert(stream.id.clone()) {
            return Ok(sheaf);
        }
        let key = self.spaces.stream(&stream.id)?;
        Ok(sheaf.with(|batch| batch.check(key, Expected::Version(stream.version))))
    }

    /// Adds to the sheaf that the stream has missed something.
    fn note_gap(
        &self,
        mut sheaf: Sheaf,
        stream: &Stream,
        position: Position,
    ) -> Result<Sheaf, TransmitterError> {
        // Only the first is noted.
        if !sheaf.streams.insert(stream.id.clone()) {
            return Ok(sheaf);
        }
        sheaf.written.insert(stream.id.clone());
        let key = self.spaces.stream(&stream.id)?;
        let mut changed = Stream::clone(stream);
        changed.said.gap = Some(position.time().unix_seconds());
        let version = Expected::Version(stream.version);
        Ok(sheaf.with(|batch| batch.put(key, version, changed.encode())))
    }

    /// Whether the queue of `stream` takes one more.
    fn room(&self, stream: &Stream, keep: Keep, now: Timestamp) -> Room {
        if stream.said.status == Status::Disabled {
            return Room::No;
        }
        let limit = self.options.queue_limit;
        let Some(depth) = self.registry().depth(&stream.id) else {
            return Room::Unknown;
        };
        if depth.estimate < limit {
            return Room::Yes;
        }
        let grown = depth.estimate.saturating_sub(depth.counted) > limit / 8;
        let waited = now.checked_since(depth.counted_at);
        if !depth.coalesced || grown || waited.is_some_and(|waited| waited >= LOOK_AGAIN) {
            return Room::Look;
        }
        if stream.said.status == Status::Enabled {
            return Room::Pause;
        }
        let is_reserved = keep != Keep::Always && depth.estimate < limit.saturating_mul(2);
        match is_reserved {
            true => Room::Yes,
            false => Room::No,
        }
    }
}

/// Whether it is the event that a SET cannot be made of, and not the key or the machine.
pub(crate) fn is_about_the_event(error: &MintError) -> bool {
    matches!(
        error,
        MintError::TooLong { .. }
            | MintError::Serialize
            | MintError::Claims { .. }
            | MintError::Reserved { .. }
            | MintError::Text { .. }
    )
}
