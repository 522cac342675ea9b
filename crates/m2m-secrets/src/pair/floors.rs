//! `PeerFloors`: from which generation on a peer's keys are accepted. Public, and only ever higher.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::BuildHasher;

use m2m_crypto::{RandomError, SecureRandom};
use m2m_types::ServiceId;
use siphasher::sip::SipHasher13;

use super::Generation;

/// The most peers of whom [`PeerFloors`] knows something.
pub const MAX_PEER_FLOORS: usize = 1 << 20;

/// The first generation of each peer's keys that is accepted: [`Generation::FIRST`] unless something
/// else was said.
///
/// It holds no secret and may be sent to everybody by whatever way, in whatever order and repeatedly:
/// what is merged is the higher of two numbers, so a stale message takes nothing back.
#[derive(Clone)]
pub struct PeerFloors {
    floors: HashMap<ServiceId, Generation, Keyed>,
}

/// There are floors of [`MAX_PEER_FLOORS`] peers already; that of another one was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are floors of {MAX_PEER_FLOORS} peers already; that of {peer} was not taken")]
pub struct FloorsFull {
    peer: ServiceId,
}

impl PeerFloors {
    /// Nothing was taken back from anybody. `random` decides where peers lie in memory.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut key = [0; 16];
        random.fill(&mut key)?;
        Ok(Self {
            floors: HashMap::with_hasher(Keyed(key)),
        })
    }

    /// Accepts keys of `peer` from `floor` on, unless they are accepted only from a later one on. Says
    /// whether something has changed.
    ///
    /// # Errors
    ///
    /// [`FloorsFull`]: to be handled as an alarm, because a peer's keys were **not** taken back.
    pub fn raise(&mut self, peer: &ServiceId, floor: Generation) -> Result<bool, FloorsFull> {
        let is_full = self.floors.len() >= MAX_PEER_FLOORS;
        match self.floors.entry(peer.clone()) {
            Entry::Occupied(mut known) => {
                let is_higher = floor > *known.get();
                if is_higher {
                    known.insert(floor);
                }
                Ok(is_higher)
            }
            Entry::Vacant(_) if floor <= Generation::FIRST => Ok(false),
            Entry::Vacant(_) if is_full => Err(FloorsFull { peer: peer.clone() }),
            Entry::Vacant(unknown) => {
                unknown.insert(floor);
                Ok(true)
            }
        }
    }

    /// Takes the higher floor of each peer.
    ///
    /// # Errors
    ///
    /// [`FloorsFull`]; what fitted was taken.
    pub fn merge(&mut self, other: &Self) -> Result<(), FloorsFull> {
        for (peer, floor) in other.iter() {
            self.raise(peer, floor)?;
        }
        Ok(())
    }

    /// From which generation on keys of `peer` are accepted.
    pub fn floor_of(&self, peer: &ServiceId) -> Generation {
        match self.floors.is_empty() {
            true => Generation::FIRST,
            false => *self.floors.get(peer).unwrap_or(&Generation::FIRST),
        }
    }

    /// All floors above [`Generation::FIRST`], in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceId, Generation)> {
        self.floors.iter().map(|(peer, floor)| (peer, *floor))
    }
}

impl fmt::Debug for PeerFloors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.floors).finish()
    }
}

impl PartialEq for PeerFloors {
    fn eq(&self, other: &Self) -> bool {
        let is_in = |(peer, floor): (&ServiceId, Generation)| other.floor_of(peer) == floor;
        self.floors.len() == other.floors.len() && self.iter().all(is_in)
    }
}

impl Eq for PeerFloors {}

#[derive(Clone)]
struct Keyed([u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
