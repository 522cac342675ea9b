//! What is due to end is ended: streams that nobody listens to, events that are too old, what deleted
//! streams left behind.

use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Key, Space};
use m2m_types::Timestamp;

use super::coalesce::AT_ONCE;
use super::interest::Entry;
use super::place::{position_of, prefix, queue_prefix, scan, scan_all, stream_of};
use super::record::{Status, Stream};
use super::status::By;
use super::{Transmitter, TransmitterError, dead, intent};
use crate::management::{DefaultSubjects, DeliveryMethod};

/// What one call has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tidied {
    /// Streams that were paused because their receivers said nothing for too long.
    pub paused: usize,
    /// SETs that nobody polled, and are dead letters now.
    pub unpolled: usize,
    /// Records that were removed.
    pub removed: usize,
}

impl Transmitter {
    /// Ends what is due: pauses streams whose receivers were not heard of (`inactivity_timeout`), makes
    /// dead letters of SETs that nobody polled, forgets events and dead letters that are older than the
    /// retention, and removes what deleted and disabled streams left behind. Call it once in a while; it
    /// goes on where one that died has stopped.
    ///
    /// # Errors
    ///
    /// [`TransmitterError`]; call it again later.
    pub async fn tidy(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Tidied, TransmitterError> {
        self.dispatch_all(now, random).await?;
        self.refresh().await?;
        let mut tidied = Tidied::default();
        let streams: Vec<_> = self.registry().streams().cloned().collect();
        for stream in &streams {
            tidied.paused += self.pause_silent(stream, now, random).await?;
            tidied.unpolled += self.bury_unpolled(stream, now, random).await?;
            tidied.removed += self.forget_removals(stream, now, random).await?;
        }
        let horizon = now.saturating_sub(self.options.retention);
        for space in [&self.spaces.past, &self.spaces.dead] {
            tidied.removed += self.forget(space, horizon, random).await?;
        }
        tidied.removed += self.sweep(random).await?;
        Ok(tidied)
    }

    async fn pause_silent(
        &self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        let Some(timeout) = self.options.inactivity_timeout else {
            return Ok(0);
        };
        let silent = now.unix_seconds().saturating_sub(stream.said.heard);
        if stream.said.status != Status::Enabled || silent <= timeout.as_secs() {
            return Ok(0);
        }
        let reason = Some("nothing was heard for longer than `inactivity_timeout`");
        let by = By::Transmitter;
        let paused = self.change_status(&stream.id, Status::Paused, reason, by, now, random);
        paused.await.map(|_| 1)
    }

    /// SETs that nobody polled while they could have been.
    async fn bury_unpolled(
        &self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        let time = self.options.give_up_after;
        let is_due = stream.method() == DeliveryMethod::Poll
            && stream.said.status == Status::Enabled
            && stream.enabled_at().saturating_add(time) <= now;
        if !is_due {
            return Ok(0);
        }
        let horizon = now.saturating_sub(time);
        let look = scan(
            &self.spaces.queue,
            &queue_prefix(&stream.id, stream.said.life),
        )?
        .with_limit(AT_ONCE / 2);
        let mut count = 0;
        loop {
            let page = self.store.scan(&look).await?;
            let mut batch = Batch::new(intent(random)?);
            for record in page.records() {
                let position = position_of(record.key());
                let Some(position) = position.filter(|position| position.time() <= horizon) else {
                    break;
                };
                let letter = dead::encode("nobody polled it", record.value().as_bytes());
                let key = self.spaces.dead(&stream.id, position)?;
                batch = batch.delete(record.key().clone(), Expected::Anything).put(
                    key,
                    Expected::Anything,
                    letter,
                );
            }
            let buried = batch.operations().len() / 2;
            if buried == 0 {
                return Ok(count);
            }
            self.commit(batch).await?;
            self.registry().taken(&stream.id, buried);
            count += buried;
        }
    }

    /// Removed subjects whose grace is over, where none are included without having been added.
    async fn forget_removals(
        &self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        if self.rules().default == DefaultSubjects::All {
            return Ok(0);
        }
        let grace = self.options.removal_grace;
        let horizon = now.saturating_sub(grace).unix_seconds();
        let mut read = scan(&self.spaces.subjects, &prefix(&stream.id))?;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read).await?;
            let is_over = |record: &&m2m_store::Record| {
                let removed = Entry::decode(record).and_then(|entry| entry.removed);
                removed.is_some_and(|removed| removed < horizon)
            };
            let over = page.records().iter().filter(is_over);
            // If it was added again meanwhile, it stays.
            for record in over {
                let version = Expected::Version(record.version());
                let batch = Batch::new(intent(random)?).delete(record.key().clone(), version);
                match self.commit(batch).await {
                    Ok(()) => count += 1,
                    Err(m2m_store::StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => return Ok(count),
            }
        }
    }

    /// Forgets what is older than `horizon`.
    async fn forget(
        &self,
        space: &Space,
        horizon: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        let mut read = scan_all(space)?;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read).await?;
            let keys = page.records().iter().map(m2m_store::Record::key);
            let is_old =
                |key: &&Key| position_of(key).is_some_and(|position| position.time() < horizon);
            let old: Vec<Key> = keys.filter(is_old).cloned().collect();
            self.remove(&old, random).await?;
            count += old.len();
            match page.next() {
                // Events are in the order of their commits, which is about that of their times; dead
                // letters are in that of their streams.
                Some(_) if *space == self.spaces.past && old.is_empty() => return Ok(count),
                Some(next) => read = read.after(next.clone()),
                None => return Ok(count),
            }
        }
    }

    /// Removes what deleted streams left behind, and what disabled ones had queued.
    async fn sweep(&self, random: &dyn SecureRandom) -> Result<usize, TransmitterError> {
        let mut count = 0;
        let notes = self.store.scan(&scan_all(&self.spaces.swept)?).await?;
        for note in notes.records() {
            let Some(id) = stream_of(note.key()) else {
                continue;
            };
            let stream = self.registry().stream_called(id);
            let spaces = match &stream {
                Some(_) => &[&self.spaces.queue][..],
                None => &[&self.spaces.queue, &self.spaces.subjects, &self.spaces.dead],
            };
            let current = stream.map(|stream| queue_prefix(id, stream.said.life));
            for space in spaces {
                count += self
                    .sweep_one(space, id, current.as_deref(), random)
                    .await?;
            }
            // If something was noted meanwhile, it is swept again.
            let version = Expected::Version(note.version());
            let done = Batch::new(intent(random)?).delete(note.key().clone(), version);
            match self.commit(done).await {
                Ok(()) | Err(m2m_store::StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }

    /// Removes all records of a stream from a space, but for `kept` and what comes
    /// after it.
    async fn sweep_one(
        &self,
        space: &Space,
        id: &str,
        kept: Option<&[u8]>,
        random: &dyn SecureRandom,
    ) -> Result<usize, TransmitterError> {
        let mut read = scan(space, &prefix(id))?;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read).await?;
            let keys = page.records().iter().map(m2m_store::Record::key);
            // Of a stream that is there, what is older than its queue. A newer one may have begun.
            let is_left = |key: &&Key| kept.is_none_or(|kept| key.id() < kept);
            let left: Vec<Key> = keys.filter(is_left).cloned().collect();
            self.remove(&left, random).await?;
            count += left.len();
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => return Ok(count),
            }
        }
    }
}
