//! `ClientKeys`: the API keys of one client, of which at most two are accepted.

mod event;
mod leak;
mod record;

use std::num::NonZeroU32;
use std::time::Duration;

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::{ServiceId, Timestamp};

use crate::{ApiKey, ApiKeyId, KeyHash, KeyHasher, Rehash};
pub use event::{KeyEnd, KeyEvent, KeyEventKind};
pub use leak::{LeakAnswer, LeakError};

/// How many ended keys a [`ClientKeys`] remembers, so that one that turns up later names its version.
pub const REMEMBERED_KEYS: usize = 16;

/// The number of a client's key: 1, 2, 3, and none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(NonZeroU32);

/// The API keys of one client: one that is current, perhaps one more that is still accepted while the
/// client moves, and what is remembered of ended ones.
///
/// Each step takes the time. A time before one that was heard of counts as that one; give the later of
/// the clock's and [`KeyTable::latest`](crate::KeyTable::latest), so that a clock that goes back brings
/// nothing back that a table has refused.
///
/// A state machine without I/O and without secrets: it keeps hashes. Keep it before a new key is handed out and before a table with the change is
/// published, and the events in the audit log.
///
/// ```
/// # use m2m_secrets::{KeyFormat, KeyHasher, PepperVersion, SharedSecret};
/// # let random = m2m_crypto::SystemRandom;
/// # let hasher = KeyHasher::new(KeyFormat::new("acme", "live")?, PepperVersion::new(1).unwrap(),
/// #     &SharedSecret::generate(&random)?)?;
/// use std::time::Duration;
/// use m2m_secrets::ClientKeys;
/// use m2m_types::Timestamp;
///
/// let (now, day) = (Timestamp::from_unix_seconds(1_700_000_000)?, Duration::from_secs(86_400));
/// let owner = "spiffe://example.org/billing".parse()?;
/// let (mut client, first) = ClientKeys::issue(owner, &hasher, &random, now)?;
///
/// // The client has a day to move; both keys work until then.
/// let second = client.rotate(&hasher, day, &random, now)?;
/// assert_eq!(client.live().count(), 2);
/// assert_eq!(client.current().map(|key| key.id()), Some(second.key().id()));
/// # let _ = first;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeys {
    owner: ServiceId,
    /// The last number that was given away.
    last: KeyVersion,
    current: Option<LiveKey>,
    older: Option<LiveKey>,
    ended: Vec<EndedKey>,
    /// The latest time that was heard of: it does not go back, so nothing expired comes back.
    latest: Timestamp,
}

/// A key that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveKey {
    id: ApiKeyId,
    version: KeyVersion,
    hash: KeyHash,
    made_at: Timestamp,
    accepted_until: Option<Timestamp>,
}

/// A key that is accepted no more, and never again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedKey {
    id: ApiKeyId,
    version: KeyVersion,
    hash: KeyHash,
    ended_at: Timestamp,
    why: KeyEnd,
}

/// A new key, to be handed to the client once, and what has happened.
#[derive(Debug)]
pub struct Issued {
    key: ApiKey,
    version: KeyVersion,
    events: Vec<KeyEvent>,
}

/// Why no key was made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// No randomness. Nothing has changed.
    #[error("{0}; nothing has changed")]
    Random(RandomError),
    /// The client has had 2³² − 1 keys. Nothing has changed.
    #[error("no version is left for this client; nothing has changed")]
    Exhausted,
}

/// The client has no such key that is accepted. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this client has no accepted key {id}")]
pub struct NoSuchKey {
    /// The key that was named.
    pub id: ApiKeyId,
}

impl KeyVersion {
    /// The first key of a client.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The version with this number, unless it is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl ClientKeys {
    /// A client with its first key.
    ///
    /// # Errors
    ///
    /// [`IssueError::Random`].
    pub fn issue(
        owner: ServiceId,
        hasher: &KeyHasher,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<(Self, Issued), IssueError> {
        let (key, hash) = hasher.draw(random).map_err(IssueError::Random)?;
        let version = KeyVersion::FIRST;
        let mut client = Self {
            owner,
            last: version,
            current: Some(LiveKey::new(&key, version, hash, now)),
            older: None,
            ended: Vec::new(),
            latest: now,
        };
        let events = vec![client.event(key.id(), version, KeyEventKind::Issued)];
        client.latest = now;
        Ok((
            client,
            Issued {
                key,
                version,
                events,
            },
        ))
    }

    /// A new key. The one that was current is accepted for `overlap` more; what was accepted besides
    /// ends now, so there are never three.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn rotate(
        &mut self,
        hasher: &KeyHasher,
        overlap: Duration,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Issued, IssueError> {
        let version = self.last.next().ok_or(IssueError::Exhausted)?;
        let (key, hash) = hasher.draw(random).map_err(IssueError::Random)?;
        let mut events = self.expire(now);
        if let Some(oldest) = self.older.take() {
            events.push(self.end(oldest, KeyEnd::Superseded));
        }
        let until = self.latest.saturating_add(overlap);
        if let Some(mut older) = self.current.take() {
            // A deadline that was set before is not moved by a rotation.
            let until = older.accepted_until.map_or(until, |set| set.min(until));
            older.accepted_until = Some(until);
            events.push(self.event(older.id, older.version, KeyEventKind::AcceptedUntil(until)));
            self.older = Some(older);
        }
        self.last = version;
        self.current = Some(LiveKey::new(&key, version, hash, self.latest));
        events.push(self.event(key.id(), version, KeyEventKind::Issued));
        events.extend(self.expire(now)); // an overlap of nothing
        Ok(Issued {
            key,
            version,
            events,
        })
    }

    /// Ends the keys whose time has come, and says which. Every other step does it too.
    pub fn expire(&mut self, now: Timestamp) -> Vec<KeyEvent> {
        self.latest = self.latest.max(now);
        let latest = self.latest;
        let expired = |key: &mut LiveKey| key.accepted_until.is_some_and(|until| until <= latest);
        let ended = [self.older.take_if(expired), self.current.take_if(expired)];
        let ended = ended.into_iter().flatten();
        ended.map(|key| self.end(key, KeyEnd::Expired)).collect()
    }

    /// Ends an accepted key at once, by order of whoever may order it.
    ///
    /// # Errors
    ///
    /// [`NoSuchKey`].
    pub fn revoke(&mut self, id: ApiKeyId, now: Timestamp) -> Result<Vec<KeyEvent>, NoSuchKey> {
        let mut events = self.expire(now);
        let key = self.take(id).ok_or(NoSuchKey { id })?;
        events.push(self.end(key, KeyEnd::Revoked));
        Ok(events)
    }

    /// Takes the hash of a key under a newer pepper, if that key still has the hash it was made from.
    pub fn apply_rehash(&mut self, rehash: &Rehash) -> Option<KeyEvent> {
        let is_it =
            |key: &&mut LiveKey| key.id == rehash.id() && key.hash.pepper() == rehash.from();
        let key = match self.current.as_mut().filter(is_it) {
            Some(current) => current,
            None => self.older.as_mut().filter(is_it)?,
        };
        key.hash = *rehash.to();
        let (id, version) = (key.id, key.version);
        let (from, to) = (rehash.from(), rehash.to().pepper());
        Some(self.event(id, version, KeyEventKind::Rehashed { from, to }))
    }

    /// Whose keys.
    pub fn owner(&self) -> &ServiceId {
        &self.owner
    }

    /// The key that the client is to use.
    pub fn current(&self) -> Option<&LiveKey> {
        self.current.as_ref()
    }

    /// The accepted keys, the current one first: at most two.
    pub fn live(&self) -> impl Iterator<Item = &LiveKey> {
        self.current.iter().chain(&self.older)
    }

    /// The last [`REMEMBERED_KEYS`] keys that ended, the latest last.
    pub fn ended(&self) -> &[EndedKey] {
        &self.ended
    }

    /// The latest time this client has heard of.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    fn take(&mut self, id: ApiKeyId) -> Option<LiveKey> {
        let is_it = |key: &mut LiveKey| key.id == id;
        self.current
            .take_if(is_it)
            .or_else(|| self.older.take_if(is_it))
    }

    fn end(&mut self, key: LiveKey, why: KeyEnd) -> KeyEvent {
        let event = self.event(key.id, key.version, KeyEventKind::Ended(why));
        if self.ended.len() == REMEMBERED_KEYS {
            self.ended.remove(0);
        }
        self.ended.push(EndedKey {
            id: key.id,
            version: key.version,
            hash: key.hash,
            ended_at: self.latest,
            why,
        });
        event
    }

    fn event(&self, id: ApiKeyId, version: KeyVersion, kind: KeyEventKind) -> KeyEvent {
        KeyEvent::new(self.owner.clone(), id, version, self.latest, kind)
    }
}

impl LiveKey {
    fn new(key: &ApiKey, version: KeyVersion, hash: KeyHash, made_at: Timestamp) -> Self {
        Self {
            id: key.id(),
            version,
            hash,
            made_at,
            accepted_until: None,
        }
    }

    /// Its public name.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The number of the key.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// What is kept of it.
    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }

    /// When it was made.
    pub fn made_at(&self) -> Timestamp {
        self.made_at
    }

    /// From which second on it is refused; without end if [`None`].
    pub fn accepted_until(&self) -> Option<Timestamp> {
        self.accepted_until
    }
}

impl EndedKey {
    /// Its public name.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The number of the key.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// What is kept of it, so that it is known when it turns up.
    pub fn hash(&self) -> &KeyHash {
        &self.hash
    }

    /// Since when it is refused.
    pub fn ended_at(&self) -> Timestamp {
        self.ended_at
    }

    /// Why.
    pub fn why(&self) -> KeyEnd {
        self.why
    }
}

impl Issued {
    /// The key. It cannot be had again.
    pub fn key(&self) -> &ApiKey {
        &self.key
    }

    /// Its number.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// What has happened, in order: for the audit log.
    pub fn events(&self) -> &[KeyEvent] {
        &self.events
    }
}

impl std::fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}
