//! Events of the past are sent again, with the same `jti`.

use caep_set::SecurityEvent;
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Key, StoreError};
use m2m_types::Timestamp;

use super::coalesce::AT_ONCE;
use super::dispatch::is_about_the_event;
use super::place::{Position, position_of, scan_all};
use super::queue::{Keep, Queued};
use super::record::{Status, Stream};
use super::{Transmitter, TransmitterError, intent};

/// From where on events are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is no third way to say where"
)]
pub enum ReplayFrom<'j> {
    /// Those that were published at this time or later.
    Time(Timestamp),
    /// The one that the stream got under this `jti`, and those after it.
    TokenId(&'j str),
}

impl Transmitter {
    /// Puts events of the past into the queue of a stream once more, at their places and with their
    /// `jti`: a receiver that has them takes them for repeated, and one that lost them gets them. Goes
    /// back as far as [`TransmitterOptions::with_retention`](super::TransmitterOptions::with_retention)
    /// says, and takes what the stream wants now. Says how many.
    ///
    /// # Errors
    ///
    /// [`TransmitterError::NoStream`], also for a `jti` that the stream never got;
    /// [`TransmitterError::Full`] if there is no room for more: some of them are queued.
    pub async fn replay(
        &self,
        stream_id: &str,
        from: ReplayFrom<'_>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        // What is published is among the past first.
        self.dispatch_all(now, random).await?;
        let stream = self.registry().stream_called(stream_id);
        let stream = stream.ok_or(TransmitterError::NoStream)?;
        let past = &self.spaces.past;
        let mut read = scan_all(past)?;
        let since = match from {
            ReplayFrom::Time(time) => time,
            ReplayFrom::TokenId(name) => {
                let first = Position::of_token_id(name).filter(|first| !first.is_control());
                let first = first.ok_or(TransmitterError::NoStream)?.without_own();
                let before = first.as_bytes().split_last();
                let before = before.map_or(&[][..], |(_, before)| before);
                read = read.after(Key::new(past, before)?);
                Timestamp::MIN
            }
        };
        let mut depth = self.count(&stream, now).await?.counted;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read.clone().with_limit(AT_ONCE)).await?;
            let key = self.spaces.stream(&stream.id)?;
            let mut batch =
                Batch::new(intent(random)?).check(key, Expected::Version(stream.version));
            for record in page.records() {
                let wrong = || TransmitterError::Record {
                    key: record.key().clone(),
                };
                let position = position_of(record.key()).ok_or_else(wrong)?;
                if position.time() < since {
                    continue;
                }
                let json = std::str::from_utf8(record.value().as_bytes()).map_err(|_| wrong())?;
                let event = SecurityEvent::from_json(json).map_err(|_| wrong())?;
                if let Some((key, value)) = self.once_more(&stream, &event, position, now)? {
                    batch = batch.put(key, Expected::Anything, value);
                }
            }
            let added = batch.operations().len() - 1;
            if added > 0 {
                if depth + added > self.options.queue_limit {
                    return Err(TransmitterError::Full);
                }
                match self.commit(batch).await {
                    Ok(()) => {}
                    Err(StoreError::Conflict { .. }) => return Err(TransmitterError::Busy),
                    Err(error) => return Err(error.into()),
                }
                self.registry().added(&stream.id, added);
                (depth, count) = (depth + added, count + added);
            }
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => return Ok(count),
            }
        }
    }

    /// The record of an event in the queue of a stream, if the stream wants it.
    fn once_more(
        &self,
        stream: &Stream,
        event: &SecurityEvent,
        position: Position,
        now: Timestamp,
    ) -> Result<Option<(Key, Vec<u8>)>, TransmitterError> {
        let wants = stream.said.status != Status::Disabled && self.wants(stream, event, now);
        if !wants {
            return Ok(None);
        }
        let template = self.minter.template(event, position.time())?;
        let position = position.in_stream(&stream.id);
        let audience = &stream.said.audience;
        let name = position.token_id();
        let token = match self.minter.mint_named(&template, audience, &name) {
            Ok(token) => token,
            // Then it is a dead letter already.
            Err(error) if is_about_the_event(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let key = self.spaces.queued(&stream.id, stream.said.life, position)?;
        Ok(Some((key, Queued::encode(Keep::of(event), &token))))
    }
}
