//! Streams are paused, disabled and enabled again (SSF 1.0 §8.1.2), by their receiver or by the transmitter.

use caep_set::StreamUpdated;
use http::{Response, StatusCode};
use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected};
use m2m_types::Timestamp;

use super::manage::CHANGES;
use super::place::Rank;
use super::record::{Status, Stream};
use super::{Caller, Transmitter, TransmitterError, answers, intent};
use crate::management::StatusUpdate;

/// Who changes the status of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It knows.
    Receiver,
    /// Its receiver is told, before it stops and when it starts again (SSF 1.0 §8.1.5).
    Transmitter,
}

impl Transmitter {
    pub(crate) async fn read_status(
        &self,
        id: &str,
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let stream = self.heard(id, caller, now, random).await?;
        Ok(stream.map_or_else(answers::missing, |stream| status_of(&stream)))
    }

    pub(crate) async fn update_status(
        &self,
        body: &[u8],
        caller: &Caller,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Response<Vec<u8>>, TransmitterError> {
        let update = match StatusUpdate::from_json(body) {
            Ok(update) => update,
            Err(error) => return Ok(answers::bad(&error)),
        };
        // What was published before is in the queue before.
        self.dispatch_all(now, random).await?;
        let (Some(stream), Some(status)) = (
            self.stream_of(&update.stream_id, caller),
            Status::of_word(&update.status),
        ) else {
            return Ok(answers::missing());
        };
        let reason = update.reason.as_deref();
        let changed = self.change_status(&stream.id, status, reason, By::Receiver, now, random);
        match changed.await {
            Ok(stream) => Ok(status_of(&stream)),
            Err(TransmitterError::NoStream) => Ok(answers::missing()),
            Err(error) => Err(error),
        }
    }

    /// Pauses a stream, disables it, or enables it again, because the transmitter wants to. Its receiver is
    /// told with a `stream-updated`, which goes out before the stream stops, whatever else is queued.
    ///
    /// # Errors
    ///
    /// [`TransmitterError::NoStream`] and others.
    pub async fn set_status(
        &self,
        stream_id: &str,
        status: Status,
        reason: Option<&str>,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), TransmitterError> {
        self.dispatch_all(now, random).await?;
        self.refresh().await?;
        let by = By::Transmitter;
        let changed = self.change_status(stream_id, status, reason, by, now, random);
        changed.await.map(drop)
    }

    pub(crate) async fn change_status(
        &self,
        id: &str,
        status: Status,
        reason: Option<&str>,
        by: By,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Stream, TransmitterError> {
        for _ in 0..CHANGES {
            let stream = self.registry().stream_called(id);
            let stream = stream.ok_or(TransmitterError::NoStream)?;
            let before = stream.said.status;
            if before == Status::Paused && status == Status::Enabled {
                // It has waited long enough to hear only what is so now.
                self.coalesce(&stream, now, random).await?;
            }
            let mut changed = Stream::clone(&stream);
            let mut batch = Batch::new(intent(random)?);
            changed.said.status = status;
            changed.said.reason = reason.map(Box::from);
            if by == By::Receiver {
                changed.said.heard = now.unix_seconds();
            }
            if status == Status::Disabled && before != Status::Disabled {
                // What is queued is neither sent nor held; the sweep removes it.
                changed.said.life = changed.said.life.wrapping_add(1);
                batch = batch.put(self.swept(id)?, Expected::Anything, &b"old"[..]);
            }
            let starts = status == Status::Enabled && before != Status::Enabled;
            let gap = changed.said.gap.filter(|_| starts);
            if starts {
                changed.said.enabled = now.unix_seconds();
                changed.said.gap = None;
            }
            if gap.is_some() || (by == By::Transmitter && status != before) {
                let mut event = StreamUpdated::new(status.word());
                event.reason = told(reason, gap);
                let position = self.fresh_position(Rank::Control, now, random)?;
                batch = self.own_set(&changed, position, event)?.put(batch);
            }
            if self.write(batch, &changed).await? {
                return Ok(changed);
            }
        }
        Err(TransmitterError::Busy)
    }
}

/// What a receiver is told as the reason: the one that was given, and that it missed something.
fn told(reason: Option<&str>, gap: Option<u64>) -> Option<Box<str>> {
    let gap = gap.map(|since| {
        format!("events since {since} (seconds since 1970) were not kept: read the state anew")
    });
    match (reason, gap) {
        (Some(reason), Some(gap)) => Some(format!("{reason}; {gap}").into_boxed_str()),
        (Some(reason), None) => Some(Box::from(reason)),
        (None, gap) => gap.map(String::into_boxed_str),
    }
}

fn status_of(stream: &Stream) -> Response<Vec<u8>> {
    let update = StatusUpdate {
        stream_id: stream.id.clone(),
        status: stream.said.status.word(),
        reason: stream.said.reason.clone(),
    };
    answers::json(StatusCode::OK, &update)
}
