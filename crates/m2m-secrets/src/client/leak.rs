//! What happens when a key was found where it should not be.

use m2m_crypto::SecureRandom;
use m2m_types::Timestamp;

use super::{ClientKeys, IssueError, Issued, KeyEnd, KeyEvent, KeyEventKind, KeyVersion, LiveKey};
use crate::{ApiKey, ApiKeyId, KeyHasher};

/// What became of a leak that was reported. In each case the leaked key is refused at once.
#[non_exhaustive]
#[derive(Debug)]
pub enum LeakAnswer {
    /// The client's other key has taken over; if it had a deadline then it has none now.
    TookOver {
        /// The number of the key that is current now.
        current: KeyVersion,
        /// What has happened.
        events: Vec<KeyEvent>,
    },
    /// There was no other key, so here is a new one. Until the client has it, it is refused.
    Replaced(Issued),
    /// There was no other key, and no new one could be made: the client is locked out until
    /// [`ClientKeys::rotate`] succeeds.
    LockedOut {
        /// Why.
        reason: IssueError,
        /// What has happened.
        events: Vec<KeyEvent>,
    },
    /// The key had ended before.
    Dead {
        /// Its number.
        version: KeyVersion,
        /// Why it had ended.
        why: KeyEnd,
        /// What has happened.
        events: Vec<KeyEvent>,
    },
}

/// Why nothing came of a report.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeakError {
    /// The client has never had that key, or so long ago that it is forgotten. Nothing has changed.
    #[error("this client is not known to have had the key {id}; nothing has changed")]
    Unknown {
        /// The key that was named.
        id: ApiKeyId,
    },
}

impl LeakAnswer {
    /// What has happened, in order: for the audit log.
    pub fn events(&self) -> &[KeyEvent] {
        match self {
            Self::TookOver { events, .. }
            | Self::LockedOut { events, .. }
            | Self::Dead { events, .. } => events,
            Self::Replaced(issued) => issued.events(),
        }
    }
}

impl ClientKeys {
    /// The key `id` was found where it should not be. It is refused from now on; the client's other
    /// key takes over, or there is a new one.
    ///
    /// Ask [`KeyTable::trace`](crate::KeyTable::trace) first whether it was the real one: key ids are
    /// public, and whoever can report any of them can lock clients out.
    ///
    /// # Errors
    ///
    /// [`LeakError`].
    pub fn report_leak(
        &mut self,
        id: ApiKeyId,
        hasher: &KeyHasher,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<LeakAnswer, LeakError> {
        let mut events = self.expire(now);
        let Some(leaked) = self.take(id) else {
            return self.reported_again(id, events);
        };
        events.push(self.end(leaked, KeyEnd::Leaked));
        if let Some(other) = self.current.take().or_else(|| self.older.take()) {
            if other.accepted_until.is_some() {
                events.push(self.event(other.id, other.version, KeyEventKind::TookOver));
            }
            let current = other.version;
            self.current = Some(LiveKey {
                accepted_until: None,
                ..other
            });
            return Ok(LeakAnswer::TookOver { current, events });
        }
        match self.replace(hasher, random, &mut events) {
            Ok((key, version)) => Ok(LeakAnswer::Replaced(Issued {
                key,
                version,
                events,
            })),
            Err(reason) => Ok(LeakAnswer::LockedOut { reason, events }),
        }
    }

    fn replace(
        &mut self,
        hasher: &KeyHasher,
        random: &dyn SecureRandom,
        events: &mut Vec<KeyEvent>,
    ) -> Result<(ApiKey, KeyVersion), IssueError> {
        let version = self.last.next().ok_or(IssueError::Exhausted)?;
        let (key, hash) = hasher.draw(random).map_err(IssueError::Random)?;
        self.last = version;
        self.current = Some(LiveKey::new(&key, version, hash, self.latest));
        events.push(self.event(key.id(), version, KeyEventKind::Issued));
        Ok((key, version))
    }

    fn reported_again(
        &mut self,
        id: ApiKeyId,
        mut events: Vec<KeyEvent>,
    ) -> Result<LeakAnswer, LeakError> {
        let dead = self.ended.iter().find(|key| key.id == id);
        let (version, why) = dead
            .map(|key| (key.version, key.why))
            .ok_or(LeakError::Unknown { id })?;
        events.push(self.event(id, version, KeyEventKind::ReportedAgain));
        Ok(LeakAnswer::Dead {
            version,
            why,
            events,
        })
    }
}
