//! Dead letters: SETs that were not taken, and why.

use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Record, StoreError};
use m2m_types::Timestamp;

use super::place::{Position, position_of, prefix, scan};
use super::record::Status;
use super::{Transmitter, TransmitterError, intent};
use crate::delivery::SetFailure;

/// The longest reason that is kept, in bytes.
const MAX_REASON: usize = 200;

/// A SET that was not taken, or could not be delivered in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    stream_id: Box<str>,
    position: Position,
    reason: Box<str>,
}

impl DeadLetter {
    /// Of which stream.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }

    /// `jti`.
    pub fn token_id(&self) -> String {
        self.position.token_id()
    }

    /// When it was published.
    pub fn published_at(&self) -> Timestamp {
        self.position.time()
    }

    /// Why. What a receiver has said is in it, escaped.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A dead letter as it is written: the reason, and the record of the queue.
pub(crate) fn encode(reason: &str, queued: &[u8]) -> Vec<u8> {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = reason.get(..end).unwrap_or_default().as_bytes();
    // At most MAX_REASON.
    let length = u8::try_from(reason.len()).unwrap_or(u8::MAX);
    [&[length][..], reason, queued].concat()
}

fn decode(record: &Record) -> Option<(DeadLetter, &[u8])> {
    let (length, rest) = record.value().as_bytes().split_first()?;
    let (reason, queued) = rest.split_at_checked(usize::from(*length))?;
    let letter = DeadLetter {
        stream_id: Box::from(super::place::stream_of(record.key())?),
        position: position_of(record.key())?,
        reason: Box::from(std::str::from_utf8(reason).ok()?),
    };
    Some((letter, queued))
}

/// What a receiver said, fit for a line.
pub(crate) fn because(failure: &SetFailure) -> String {
    let short =
        |text: &str| -> String { text.chars().take(80).flat_map(char::escape_debug).collect() };
    format!(
        "{}: {}",
        short(failure.code_text()),
        short(failure.description())
    )
}

impl Transmitter {
    /// The dead letters of a stream, the oldest first, up to `limit`.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`].
    pub async fn dead_letters(
        &self,
        stream_id: &str,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TransmitterError> {
        let page = scan(&self.spaces.dead, &prefix(stream_id))?.with_limit(limit);
        let page = self.store.scan(&page).await?;
        let read = page.records().iter().map(|record| {
            let wrong = || TransmitterError::Record {
                key: record.key().clone(),
            };
            Ok(decode(record).ok_or_else(wrong)?.0)
        });
        read.collect()
    }

    /// Puts a dead letter back into its queue, at its place and with its `jti`. Says whether that was done:
    /// not if it is no longer there, never was a SET, or its stream is disabled and holds nothing.
    ///
    /// # Errors
    ///
    /// [`TransmitterError::NoStream`] and others.
    pub async fn revive(
        &self,
        letter: &DeadLetter,
        random: &dyn SecureRandom,
    ) -> Result<bool, TransmitterError> {
        self.refresh().await?;
        let stream = self.registry().stream_called(&letter.stream_id);
        let stream = stream.ok_or(TransmitterError::NoStream)?;
        let dead = self.spaces.dead(&stream.id, letter.position)?;
        let Some(record) = self.store.get(&dead).await? else {
            return Ok(false);
        };
        let wrong = || TransmitterError::Record { key: dead.clone() };
        let (_, queued) = decode(&record).ok_or_else(wrong)?;
        if queued.is_empty() || stream.said.status == Status::Disabled {
            return Ok(false);
        }
        let life = stream.said.life;
        let queue = self.spaces.queued(&stream.id, life, letter.position)?;
        let batch = Batch::new(intent(random)?)
            .check(
                self.spaces.stream(&stream.id)?,
                Expected::Version(stream.version),
            )
            .delete(dead.clone(), Expected::Version(record.version()))
            .put(queue, Expected::Anything, queued);
        match self.commit(batch).await {
            Ok(()) => {
                self.registry().added(&stream.id, 1);
                Ok(true)
            }
            Err(StoreError::Conflict { key, .. }) if key == dead => Ok(false),
            Err(StoreError::Conflict { .. }) => Err(TransmitterError::Busy),
            Err(error) => Err(error.into()),
        }
    }
}
