//! Queues are counted, and cleared of what is moot.

use std::collections::HashMap;

use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Key};
use m2m_types::Timestamp;

use super::place::{queue_prefix, scan};
use super::queue::{Keep, Queued};
use super::record::Stream;
use super::registry::Depth;
use super::{Transmitter, TransmitterError, intent};

/// How many records one commit removes.
pub(crate) const AT_ONCE: usize = 200;

impl Transmitter {
    /// Counts what is queued.
    pub(crate) async fn count(
        &self,
        stream: &Stream,
        now: Timestamp,
    ) -> Result<Depth, TransmitterError> {
        let prefix = queue_prefix(&stream.id, stream.said.life);
        let mut read = scan(&self.spaces.queue, &prefix)?;
        let mut count = 0;
        loop {
            let page = self.store.scan(&read).await?;
            count += page.records().len();
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => break,
            }
        }
        Ok(self.know(stream, Depth::counted(count, now)))
    }

    /// Removes from a queue what something later has made moot: of each family of states, all but the
    /// last. Revocations stay, all of them.
    pub(crate) async fn coalesce(
        &self,
        stream: &Stream,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Depth, TransmitterError> {
        let prefix = queue_prefix(&stream.id, stream.said.life);
        let mut read = scan(&self.spaces.queue, &prefix)?;
        let mut last: HashMap<_, Key> = HashMap::new();
        let (mut count, mut moot) = (0, Vec::new());
        loop {
            let page = self.store.scan(&read).await?;
            for record in page.records() {
                count += 1;
                if let Keep::UntilNext(family) = Queued::decode(record)?.keep {
                    moot.extend(last.insert(family, record.key().clone()));
                }
            }
            match page.next() {
                Some(next) => read = read.after(next.clone()),
                None => break,
            }
        }
        self.remove(&moot, random).await?;
        let mut depth = Depth::counted(count - moot.len(), now);
        depth.coalesced = true;
        Ok(self.know(stream, depth))
    }

    fn know(&self, stream: &Stream, depth: Depth) -> Depth {
        self.registry().know(&stream.id, depth);
        depth
    }

    /// Removes records, some at a time.
    pub(crate) async fn remove(
        &self,
        keys: &[Key],
        random: &dyn SecureRandom,
    ) -> Result<(), TransmitterError> {
        for some in keys.chunks(AT_ONCE) {
            let batch = some.iter().fold(Batch::new(intent(random)?), |batch, key| {
                batch.delete(key.clone(), Expected::Anything)
            });
            self.commit(batch).await?;
        }
        Ok(())
    }
}
