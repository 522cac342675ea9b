//! One cache line for each key, found by multiplying.

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::Timestamp;

use crate::{ApiKeyId, KEY_ID_BYTES, KeyHash, KeyHasher, KeyVersion};

/// A key, in one line of a usual processor's cache, so that a look-up waits for memory once.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Slot {
    hash: [u8; KeyHash::BYTES],
    /// Seconds; 0 for a key that has ended, the largest for one without end.
    accepted_until: u64,
    owner: u32,
    /// 0 in an empty slot.
    version: u32,
    id: [u8; KEY_ID_BYTES],
    pepper: u8,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Open addressing over twice as many slots as keys.
pub(super) struct Slots {
    slots: Box<[Slot]>,
    /// How far from its place a key may lie.
    reach: usize,
    count: usize,
    seed: [u64; 2],
}

#[derive(Debug)]
pub(super) enum SlotsError {
    Repeated(ApiKeyId),
    Random(RandomError),
}

impl Slot {
    pub(super) fn new(
        id: ApiKeyId,
        hash: &KeyHash,
        version: KeyVersion,
        owner: u32,
        accepted_until: Timestamp,
        hasher: &KeyHasher,
    ) -> Self {
        Self {
            hash: *hash.as_bytes(),
            accepted_until: accepted_until.unix_seconds(),
            owner,
            version: version.number(),
            id: *id.as_bytes(),
            pepper: hasher.place_of(hash.pepper()),
        }
    }

    const EMPTY: Self = Self {
        hash: [0; KeyHash::BYTES],
        accepted_until: 0,
        owner: 0,
        version: 0,
        id: [0; KEY_ID_BYTES],
        pepper: u8::MAX,
    };

    pub(super) fn id(&self) -> ApiKeyId {
        ApiKeyId::from_bytes(&self.id).expect("only empty slots have none")
    }

    #[inline]
    pub(super) fn hash(&self) -> &[u8; KeyHash::BYTES] {
        &self.hash
    }

    #[inline]
    pub(super) fn pepper(&self) -> u8 {
        self.pepper
    }

    #[inline]
    pub(super) fn owner(&self) -> usize {
        self.owner as usize
    }

    #[inline]
    pub(super) fn version(&self) -> KeyVersion {
        KeyVersion::new(self.version).expect("only empty slots have none")
    }

    /// From when on it is refused: [`Timestamp::MIN`] if it has ended, [`None`] if it has no end.
    #[inline]
    pub(super) fn accepted_until(&self) -> Option<Timestamp> {
        let until = Timestamp::from_unix_seconds(self.accepted_until).ok();
        until.filter(|until| *until != Timestamp::MAX)
    }

    fn is_empty(&self) -> bool {
        self.version == 0
    }
}

impl Slots {
    pub(super) fn new(keys: &[Slot], random: &dyn SecureRandom) -> Result<Self, SlotsError> {
        let mut seed = [0; 16];
        random.fill(&mut seed).map_err(SlotsError::Random)?;
        let number = u128::from_le_bytes(seed);
        let mut slots = Self {
            slots: vec![Slot::EMPTY; (2 * keys.len()).max(1)].into(),
            reach: 0,
            count: keys.len(),
            seed: [number as u64, (number >> 64) as u64],
        };
        for key in keys {
            slots.insert(key)?;
        }
        Ok(slots)
    }

    #[inline]
    pub(super) fn find(&self, id: &[u8; KEY_ID_BYTES]) -> Option<&Slot> {
        let start = self.place_of(id);
        let mut at = start;
        for _ in 0..=self.reach {
            let slot = self.slots.get(at)?;
            // An empty slot has an id of zeroes, which no key has.
            if slot.id == *id && !slot.is_empty() {
                return Some(slot);
            }
            at = self.after(at);
        }
        None
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.is_empty())
    }

    fn insert(&mut self, key: &Slot) -> Result<(), SlotsError> {
        let mut at = self.place_of(&key.id);
        for distance in 0..self.slots.len() {
            let next = self.after(at);
            if let Some(slot) = self.slots.get_mut(at) {
                if slot.id == key.id {
                    return Err(SlotsError::Repeated(key.id()));
                }
                if slot.is_empty() {
                    *slot = key.clone();
                    self.reach = self.reach.max(distance);
                    return Ok(());
                }
            }
            at = next;
        }
        unreachable!("half of the slots stay empty")
    }

    /// Where a key belongs. Ids are evenly spread by whoever draws them; the seed is there in case that
    /// somebody else has drawn some.
    #[inline]
    fn place_of(&self, id: &[u8; KEY_ID_BYTES]) -> usize {
        let [first, second] = self.seed;
        let (low, high) = halves(id);
        let product = u128::from(low ^ first) * u128::from(high ^ second | 1);
        let mixed = (product as u64) ^ ((product >> 64) as u64);
        // The upper half of a product is below the other factor.
        ((u128::from(mixed) * self.slots.len() as u128) >> 64) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        match at + 1 == self.slots.len() {
            true => 0,
            false => at + 1,
        }
    }
}

/// All bytes of an id, some of them twice.
#[inline]
fn halves(id: &[u8; KEY_ID_BYTES]) -> (u64, u64) {
    let first = id.first_chunk().copied().unwrap_or_default();
    let last = id.last_chunk().copied().unwrap_or_default();
    (u64::from_le_bytes(first), u64::from_le_bytes(last))
}
