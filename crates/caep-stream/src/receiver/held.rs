//! What is held because a transmitter revoked too much, and what an operator does about it.

use std::time::Duration;

use m2m_crypto::SecureRandom;
use m2m_store::{Batch, Expected, Key, StoreError};
use m2m_types::Timestamp;

use crate::inbox::{InboxError, PendingSet, intent};
use crate::receiver::Receiver;
use crate::receiver::ceiling::Level;
use crate::receiver::source::Source;

/// How often the state of a ceiling is read again because somebody else has changed it.
const ATTEMPTS: usize = 8;
/// How many SETs are moved in one commit: two writes for each.
const MOVED_AT_ONCE: usize = 100;

/// What an operator decides about what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Release {
    /// It is right: act upon what is held, and upon all that comes in the time given, without a ceiling.
    Act {
        /// For how long there is no ceiling. The SETs that are held must be acted upon in this time.
        lifted_for: Duration,
    },
    /// It is wrong: forget what is held. The transmitter will not send it again.
    Discard,
}

impl Receiver {
    /// Since when everything that `issuer` revokes is held; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn held_since(&self, issuer: &str) -> Result<Option<Timestamp>, InboxError> {
        let Some(source) = self.source(issuer) else {
            return Ok(None);
        };
        let kept = self.kept_level(source).await?;
        let since = kept.value.and_then(|level: Level| level.held_since);
        Ok(since.and_then(|seconds| Timestamp::from_unix_seconds(seconds).ok()))
    }

    /// SETs that are held, of all transmitters, the oldest first, up to `limit` (256 at most).
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn held(&self, limit: usize) -> Result<Vec<PendingSet>, InboxError> {
        let reads = self.reads();
        let held = self.inbox.pending_in(&self.held, limit, None, &reads);
        Ok(held.await?.0)
    }

    /// An operator has looked at what is held of `issuer`, and this is what is done with it. Gives how many
    /// SETs it was done with. If it fails some of them may have been; call again.
    ///
    /// # Errors
    ///
    /// [`InboxError`].
    pub async fn release(
        &self,
        issuer: &str,
        release: Release,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<usize, InboxError> {
        let Some(source) = self.source(issuer) else {
            return Ok(0);
        };
        if let Release::Act { lifted_for } = release {
            let until = now.saturating_add(lifted_for).unix_seconds();
            self.lift(source, until, now, random).await?;
        }
        let count = self.move_held(issuer, release, random).await?;
        if release == Release::Discard {
            self.lift(source, 0, now, random).await?;
        }
        Ok(count)
    }

    async fn lift(
        &self,
        source: &Source,
        until: u64,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), InboxError> {
        for _ in 0..ATTEMPTS {
            let kept = self.kept_level(source).await?;
            let mut level = Level::at(source.ceiling, kept.value, now);
            level.held_since = None;
            level.lifted_until = until;
            let batch = kept.put(Batch::new(intent(random)?), &level);
            match self.inbox.commit(batch).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(InboxError::Store(error)),
            }
        }
        Err(InboxError::Contended)
    }

    async fn move_held(
        &self,
        issuer: &str,
        release: Release,
        random: &dyn SecureRandom,
    ) -> Result<usize, InboxError> {
        let reads = self.reads();
        let (mut count, mut after) = (0, None);
        loop {
            let page = self
                .inbox
                .pending_in(&self.held, MOVED_AT_ONCE, after, &reads);
            let (sets, next) = page.await?;
            let theirs = sets.iter().filter(|set| set.token().issuer() == issuer);
            let mut batch = Batch::new(intent(random)?);
            let mut moved = 0;
            for set in theirs {
                batch = batch.delete(set.key().clone(), Expected::Version(set.version()));
                if matches!(release, Release::Act { .. }) {
                    let key = Key::new(self.inbox.pending_space(), set.key().id());
                    let key = key.map_err(|_| InboxError::Violating)?;
                    batch = batch.put(key, Expected::Absent, set.compact().as_bytes());
                }
                moved += 1;
            }
            if moved > 0 {
                self.inbox.commit(batch).await?;
                count += moved;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }
}
