//! `Lag`: how far a stream is behind.

use std::time::Duration;

use m2m_types::Timestamp;

use super::place::{position_of, prefix, queue_prefix, scan};
use super::record::Status;
use super::{Transmitter, TransmitterError};

/// How far a stream is behind: for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// Which stream.
    pub stream_id: Box<str>,
    /// Whose it is.
    pub receiver: Box<str>,
    /// Whether it sends.
    pub status: Status,
    /// How many SETs wait.
    pub depth: usize,
    /// For how long the oldest of them has waited.
    pub oldest: Option<Duration>,
    /// How many SETs were not taken, or could not be delivered.
    pub dead_letters: usize,
    /// Since when something was not held that should have been sent. Its receiver is told when the
    /// stream is enabled again.
    pub gap_since: Option<Timestamp>,
}

impl Transmitter {
    /// How far each stream is behind, as of the last dispatch. Reads all queues: for once a minute, not
    /// for each request.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`].
    pub async fn lag(&self, now: Timestamp) -> Result<Vec<Lag>, TransmitterError> {
        self.refresh().await?;
        let streams: Vec<_> = self.registry().streams().cloned().collect();
        let mut all = Vec::with_capacity(streams.len());
        for stream in streams {
            let queue = queue_prefix(&stream.id, stream.said.life);
            let first = scan(&self.spaces.queue, &queue)?.with_limit(1);
            let first = self.store.scan(&first).await?;
            let first = first
                .records()
                .first()
                .and_then(|record| position_of(record.key()));
            let gap = stream.said.gap.map(Timestamp::from_unix_seconds);
            all.push(Lag {
                stream_id: stream.id.clone(),
                receiver: stream.said.receiver.clone(),
                status: stream.said.status,
                depth: self.count(&stream, now).await?.counted,
                oldest: first
                    .map(|position| now.checked_since(position.time()).unwrap_or_default()),
                dead_letters: self.count_dead(&stream.id).await?,
                gap_since: gap.and_then(Result::ok),
            });
        }
        Ok(all)
    }

    async fn count_dead(&self, stream: &str) -> Result<usize, TransmitterError> {
        let mut read = scan(&self.spaces.dead, &prefix(stream))?;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read).await?;
            count += page.records().len();
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => return Ok(count),
            }
        }
    }
}
