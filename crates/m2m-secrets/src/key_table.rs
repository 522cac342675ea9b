//! `KeyTable`: which keys are accepted, looked up in one step and checked with one HMAC.

mod refusal;
mod slots;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::{ServiceId, Timestamp};

use crate::pepper::Unproven;
use crate::{
    ApiKeyId, ClientKeys, KeyHash, KeyHasher, KeyVersion, LiveKey, PepperVersion, PresentedKey,
};
pub use refusal::{KeyRefusal, KeyRejection};
use slots::{Slot, Slots, SlotsError};

/// The most keys of a [`KeyTable`], ended ones included. At 128 bytes each these take 8 GiB.
pub const MAX_TABLE_KEYS: usize = 1 << 26;

/// The keys of all clients, as of one moment: made whole and then only read. Put it into a
/// [`Live`](m2m_types::Live) and replace it when something has changed.
///
/// A check costs the same however many keys there are: one look-up, one HMAC and one comparison in
/// constant time. It allocates nothing and takes no lock.
///
/// ```
/// # use std::sync::Arc;
/// # use m2m_secrets::{ClientKeys, KeyFormat, KeyHasher, PepperVersion, SharedSecret};
/// # let random = m2m_crypto::SystemRandom;
/// # let hasher = KeyHasher::new(KeyFormat::new("acme", "live")?, PepperVersion::new(1).unwrap(),
/// #     &SharedSecret::generate(&random)?)?;
/// # let now = m2m_types::Timestamp::from_unix_seconds(1_700_000_000)?;
/// use m2m_secrets::KeyTable;
/// use m2m_types::Live;
///
/// # let hasher = Arc::new(hasher);
/// # let owner: m2m_types::ServiceId = "spiffe://example.org/billing".parse()?;
/// let (client, issued) = ClientKeys::issue(owner.clone(), &hasher, &random, now)?;
/// let table = Live::new(KeyTable::build(hasher, [&client], &random, now)?);
///
/// let snapshot = table.load();
/// let verified = snapshot.check(issued.key().expose_secret().as_bytes(), now)?;
/// assert_eq!(verified.owner(), &owner);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyTable {
    hasher: Arc<KeyHasher>,
    slots: Slots,
    owners: Box<[ServiceId]>,
    /// The latest time that was heard of, in seconds: what has expired stays so if a clock goes back.
    latest: AtomicU64,
}

/// A client whose key was right and is accepted. Only [`KeyTable::check`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedKey<'t> {
    owner: &'t ServiceId,
    id: ApiKeyId,
    version: KeyVersion,
    accepted_until: Option<Timestamp>,
    rehash: Option<Rehash>,
}

/// The hash of a key that was just used, under the current pepper: to be kept in place of the one under
/// an earlier pepper, see [`ClientKeys::apply_rehash`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehash {
    id: ApiKeyId,
    from: PepperVersion,
    to: KeyHash,
}

/// Whose a key is or was, found by [`KeyTable::trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedKey<'t> {
    owner: &'t ServiceId,
    version: KeyVersion,
    is_live: bool,
}

/// Why no table was made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTableError {
    /// Two keys have one id: whose is it? Restored twice, or drawn from a broken source.
    #[error("two keys have the id {id}")]
    Repeated {
        /// Which.
        id: ApiKeyId,
    },
    /// More than [`MAX_TABLE_KEYS`].
    #[error("a table has at most {MAX_TABLE_KEYS} keys")]
    TooMany,
    /// No randomness for where keys lie.
    #[error("{0}")]
    Random(RandomError),
}

impl KeyTable {
    /// Makes the table of all keys of `clients`, ended ones included, so that they are known when they
    /// are used.
    ///
    /// `random` decides where keys lie, so that nobody can make many lie in one place.
    ///
    /// # Errors
    ///
    /// [`KeyTableError`].
    pub fn build<'c>(
        hasher: Arc<KeyHasher>,
        clients: impl IntoIterator<Item = &'c ClientKeys>,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Self, KeyTableError> {
        let (mut owners, mut found) = (Vec::new(), Vec::new());
        let mut latest = now;
        for client in clients {
            latest = latest.max(client.latest());
            let owner = u32::try_from(owners.len()).map_err(|_| KeyTableError::TooMany)?;
            owners.push(client.owner().clone());
            let live = client.live().map(|key| Slot::live(key, owner, &hasher));
            let ended = client.ended().iter();
            let ended = ended.map(|key| Slot::ended(key, owner, &hasher));
            found.extend(live.chain(ended));
            if found.len() > MAX_TABLE_KEYS {
                return Err(KeyTableError::TooMany);
            }
        }
        let slots = Slots::new(&found, random).map_err(|error| match error {
            SlotsError::Repeated(id) => KeyTableError::Repeated { id },
            SlotsError::Random(error) => KeyTableError::Random(error),
        })?;
        Ok(Self {
            hasher,
            slots,
            owners: owners.into(),
            latest: AtomicU64::new(latest.unix_seconds()),
        })
    }

    /// The next table, which has heard of all times that this one has: what has expired stays so even
    /// if the clock went back in between.
    ///
    /// # Errors
    ///
    /// As [`Self::build`].
    pub fn rebuild<'c>(
        &self,
        clients: impl IntoIterator<Item = &'c ClientKeys>,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Self, KeyTableError> {
        let now = now.max(self.latest());
        Self::build(Arc::clone(&self.hasher), clients, random, now)
    }

    /// The latest time it has heard of.
    pub fn latest(&self) -> Timestamp {
        let seconds = self.latest.load(Ordering::Relaxed);
        Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::MAX)
    }

    /// Whose key is this?
    ///
    /// `text` is what was presented, and nothing around it; one that is malformed or has an unknown id
    /// is refused before anything is hashed. `now` is compared with the ends of overlaps; a time before
    /// one that was heard of already counts as that one.
    ///
    /// # Errors
    ///
    /// [`KeyRefusal`]. Whether a key has ended is only said of a key that is right, so nobody raises
    /// that alarm who merely knows an id.
    #[inline]
    pub fn check(&self, text: &[u8], now: Timestamp) -> Result<VerifiedKey<'_>, KeyRefusal> {
        // The memory that is looked up is waited for while the checksum is reckoned.
        let format = self.hasher.format();
        let parsed = format.parse_beside(text, |id| self.slots.find(id));
        let (key, found) = parsed.map_err(KeyRefusal::Malformed)?;
        let (id, slot) = self.prove(key, found)?;
        let owner = self.owner_of(slot);
        match slot.accepted_until() {
            Some(until) if until == Timestamp::MIN => {
                Err(refusal::ended(owner, id, slot.version()))
            }
            Some(until) if self.has_passed(until, now) => {
                Err(refusal::expired(owner, id, slot.version(), until))
            }
            accepted_until => Ok(VerifiedKey {
                owner,
                id,
                version: slot.version(),
                accepted_until,
                rehash: self.rehash(key, slot),
            }),
        }
    }

    /// Whose key was found somewhere, whether or not it is still accepted. Only a key that is right is
    /// traced: ids are public.
    ///
    /// # Errors
    ///
    /// [`KeyRefusal::Unknown`], [`KeyRefusal::Wrong`] or [`KeyRefusal::PepperUnknown`].
    pub fn trace(&self, key: PresentedKey<'_>) -> Result<TracedKey<'_>, KeyRefusal> {
        let (_, slot) = self.prove(key, self.slots.find(key.id().as_bytes()))?;
        Ok(TracedKey {
            owner: self.owner_of(slot),
            version: slot.version(),
            is_live: slot.accepted_until() != Some(Timestamp::MIN),
        })
    }

    /// How many keys it has, ended ones included.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys that cannot be checked because their pepper is not there. Each use of one is refused.
    pub fn without_pepper(&self) -> impl Iterator<Item = ApiKeyId> {
        let slots = self.slots.iter();
        slots
            .filter(|slot| self.hasher.version_at(slot.pepper()).is_none())
            .map(Slot::id)
    }

    #[inline]
    fn prove<'t>(
        &'t self,
        key: PresentedKey<'_>,
        found: Option<&'t Slot>,
    ) -> Result<(ApiKeyId, &'t Slot), KeyRefusal> {
        let id = key.id();
        let slot = found.ok_or(KeyRefusal::Unknown { id })?;
        match self.hasher.check(slot.pepper(), key, slot.hash()) {
            Ok(()) => Ok((id, slot)),
            Err(Unproven::Wrong) => Err(KeyRefusal::Wrong { id }),
            Err(Unproven::PepperUnknown) => Err(KeyRefusal::PepperUnknown { id }),
        }
    }

    #[inline]
    fn has_passed(&self, until: Timestamp, now: Timestamp) -> bool {
        let now = now.unix_seconds();
        let latest = self.latest.load(Ordering::Relaxed);
        if now > latest {
            self.latest.fetch_max(now, Ordering::Relaxed);
        }
        until.unix_seconds() <= now.max(latest)
    }

    #[inline]
    fn rehash(&self, key: PresentedKey<'_>, slot: &Slot) -> Option<Rehash> {
        match slot.pepper() {
            0 => None,
            place => Some(Rehash {
                id: key.id(),
                from: self.hasher.version_at(place)?,
                to: self.hasher.hash_presented(key),
            }),
        }
    }

    #[inline]
    fn owner_of(&self, slot: &Slot) -> &ServiceId {
        let owner = self.owners.get(slot.owner());
        owner.expect("each slot was made with its owner")
    }
}

impl<'t> VerifiedKey<'t> {
    /// Whose key it is.
    pub fn owner(&self) -> &'t ServiceId {
        self.owner
    }

    /// The public name of the key.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// Which of the client's keys: how far it has moved.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// From which second on this key is refused, if the client is to move to another.
    pub fn accepted_until(&self) -> Option<Timestamp> {
        self.accepted_until
    }

    /// What to keep instead, if the key is still kept under an earlier pepper. Made anew at each use,
    /// for the price of a second HMAC, until a table has it.
    pub fn rehash(&self) -> Option<&Rehash> {
        self.rehash.as_ref()
    }
}

impl Rehash {
    /// Of which key.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// Under which pepper it is kept now.
    pub fn from(&self) -> PepperVersion {
        self.from
    }

    /// What to keep instead.
    pub fn to(&self) -> &KeyHash {
        &self.to
    }
}

impl<'t> TracedKey<'t> {
    /// Whose key it is or was.
    pub fn owner(&self) -> &'t ServiceId {
        self.owner
    }

    /// The number of the key.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// Whether it was accepted when the table was made.
    pub fn is_live(&self) -> bool {
        self.is_live
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable")
            .field("hasher", &self.hasher)
            .field("keys", &self.len())
            .field("clients", &self.owners.len())
            .finish_non_exhaustive()
    }
}

impl Slot {
    fn live(key: &LiveKey, owner: u32, hasher: &KeyHasher) -> Self {
        let until = key.accepted_until().unwrap_or(Timestamp::MAX);
        Self::new(key.id(), key.hash(), key.version(), owner, until, hasher)
    }

    fn ended(key: &crate::EndedKey, owner: u32, hasher: &KeyHasher) -> Self {
        let until = Timestamp::MIN;
        Self::new(key.id(), key.hash(), key.version(), owner, until, hasher)
    }
}
