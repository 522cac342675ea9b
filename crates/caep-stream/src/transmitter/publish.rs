//! Events are published: recorded, alone or together with what the application writes.

use caep_set::SecurityEvent;
use m2m_store::{Batch, Expected, IdempotencyKey, Key, StoreError};
use m2m_types::Timestamp;

use super::place::{Position, Rank};
use super::{Transmitter, TransmitterError};

/// The longest event, in bytes of JSON: with the longest names of issuer and audience, and the longest RSA
/// signature, it fits into a SET of 8 KiB.
pub const MAX_EVENT: usize = 4096;

/// An event that is to be published in somebody's batch.
#[derive(Debug)]
pub struct Publication {
    key: Key,
    value: Vec<u8>,
}

impl Publication {
    /// Adds it: it is published if the batch is committed, and else not.
    #[must_use]
    pub fn add_to(self, batch: Batch) -> Batch {
        batch.put(self.key, Expected::Absent, self.value)
    }
}

/// What became of an event that was to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Published {
    /// It is recorded, and goes to all streams that want it.
    Now,
    /// An event with this name was published before; nothing was written.
    Before,
}

impl Transmitter {
    /// Publishes an event. When this has returned [`Ok`] it survives, and goes to each stream that wants
    /// it, as soon as somebody polls or a [`Pusher`](super::Pusher) is driven.
    ///
    /// `name` is what the event is published once under: drawn at random, or derived from what causes it.
    ///
    /// # Errors
    ///
    /// See [`Transmitter::publication`]. With [`TransmitterError::Store`], publish again under the same
    /// name.
    pub async fn publish(
        &self,
        event: &SecurityEvent,
        name: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Published, TransmitterError> {
        let publication = self.publication(event, name, now)?;
        match self.commit(publication.add_to(Batch::new(name))).await {
            Ok(()) => Ok(Published::Now),
            // The same event a second later.
            Err(StoreError::IdempotencyKeyReused { .. }) => Ok(Published::Before),
            Err(error) => Err(error.into()),
        }
    }

    /// An event that is to be published in the same commit as what it tells of: neither is there without
    /// the other, whatever dies.
    ///
    /// ```text
    /// let publication = transmitter.publication(&event, name, now)?;
    /// let batch = Batch::new(name).put(session, Expected::Version(seen), closed);
    /// store.commit(publication.add_to(batch)).await?;
    /// ```
    ///
    /// # Errors
    ///
    /// [`TransmitterError::TooLong`]; [`TransmitterError::Event`] and [`TransmitterError::Mint`] for an
    /// event that says something twice, or what a minter writes.
    pub fn publication(
        &self,
        event: &SecurityEvent,
        name: IdempotencyKey,
        now: Timestamp,
    ) -> Result<Publication, TransmitterError> {
        // What cannot be written as JSON has no length that fits.
        let value = serde_json::to_string(event).unwrap_or_default();
        if value.is_empty() || value.len() > MAX_EVENT {
            return Err(TransmitterError::TooLong {
                length: value.len(),
                limit: MAX_EVENT,
            });
        }
        // What could not be read again, or be made into a SET, would be in the way of all others.
        let again = SecurityEvent::from_json(&value).map_err(TransmitterError::Event)?;
        self.minter.template(&again, now)?;
        // Which commit it is, the store will know.
        let position = Position::new(Rank::Event, now, 0, name.as_bytes());
        Ok(Publication {
            key: Key::new(&self.spaces.fresh, position.as_bytes())?,
            value: value.into_bytes(),
        })
    }
}
