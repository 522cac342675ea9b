//! The cache of verified tokens: bounded, inside of one verifier, and never a reason to accept what
//! a check would refuse now. `docs/decisions/0002-verified-token-cache.md` argues each rule.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use foldhash::quality::FixedState;
use m2m_crypto::{RandomError, SecureRandom, Thumbprint, constant_time_eq};
use m2m_types::Timestamp;
use zeroize::Zeroizing;

use crate::claims::{Claims, Facts};
use crate::json::Member;

/// The most memory that one cached token takes, in bytes. A token that would take more is verified
/// each time.
pub(crate) const MAX_ENTRY_BYTES: usize = 4096;
/// Places in which a token may stand.
const WAYS: usize = 4;
/// How much of the token's end the hash is made of: of every signature, bytes that nobody can choose.
const TAIL_BYTES: usize = 32;

/// Tokens that were found valid, by all of their bytes.
pub(crate) struct TokenCache {
    hash: FixedState,
    /// As many as a power of two.
    sets: Box<[Set]>,
    evictions: AtomicU64,
}

/// How full a cache of verified tokens is; see [`Verifier::cache_figures`](crate::Verifier::cache_figures).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheFigures {
    /// How many tokens there is room for.
    pub places: usize,
    /// How many are kept, expired ones that were not let go of yet included.
    pub taken: usize,
    /// How often one that had not expired was let go of because there was no room.
    pub evictions: u64,
}

/// The places in which a token may stand, on one cache line: one step finds all of them.
#[derive(Default)]
#[repr(align(64))]
struct Set {
    /// The hash of the token in each slot, 0 for none. Read without touching the slots.
    tags: [AtomicU64; WAYS],
    slots: [ArcSwapOption<CachedToken>; WAYS],
}

/// A token that was found valid, and under which conditions it still is.
pub(crate) struct CachedToken {
    token: Zeroizing<Box<[u8]>>,
    json: Zeroizing<Box<str>>,
    unescaped: Zeroizing<Box<str>>,
    members: Box<[Member]>,
    facts: Facts,
    /// Whether `sub` is the name of a machine, which then need not be found out again.
    pub(crate) names_service: bool,
    /// Valid from this second on and before that one, leeway and the keys' own age included.
    from: Timestamp,
    until: Timestamp,
    /// Which issuer's keys it was verified with, and which version of them.
    issuer: usize,
    keys_version: u64,
    pub(crate) key: Option<Thumbprint>,
    /// The revocation epoch in which it was last found not to be revoked.
    epoch: AtomicU64,
}

/// What a cache entry stands on; see [`CachedToken`].
pub(crate) struct Grounds {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) issuer: usize,
    pub(crate) keys_version: u64,
    pub(crate) key: Option<Thumbprint>,
    pub(crate) epoch: u64,
}

impl TokenCache {
    /// Room for as many tokens as `max_bytes` hold in the worst case, at least one set of them.
    pub(crate) fn new(max_bytes: usize, random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut seed = [0; 8];
        random.fill(&mut seed)?;
        let sets = (max_bytes / (MAX_ENTRY_BYTES * WAYS)).max(1);
        // The largest power of two that fits.
        let sets = 1 << sets.ilog2();
        Ok(Self {
            hash: FixedState::with_seed(u64::from_le_bytes(seed)),
            sets: (0..sets).map(|_| Set::default()).collect(),
            evictions: AtomicU64::new(0),
        })
    }

    /// The entry for exactly these bytes.
    #[inline]
    pub(crate) fn find(&self, token: &[u8]) -> Option<Guard<Option<Arc<CachedToken>>>> {
        let tag = self.tag(token)?;
        let set = self.set(tag)?;
        for (slot_tag, slot) in set.tags.iter().zip(&set.slots) {
            // The tag decides nothing: it only says where to compare all the bytes.
            if slot_tag.load(Ordering::Acquire) == tag {
                let found = slot.load();
                if found
                    .as_ref()
                    .is_some_and(|entry| constant_time_eq(&entry.token, token))
                {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Keeps a token that was just verified, and lets go of another one if there is no room: of one
    /// that has expired, if there is one among those that could be.
    pub(crate) fn insert(
        &self,
        token: &[u8],
        claims: Claims<'_>,
        grounds: Grounds,
        now: Timestamp,
    ) {
        let size = size_of::<CachedToken>()
            + token.len()
            + claims.json.len()
            + claims.unescaped.len()
            + size_of_val(claims.members);
        let Some(tag) = self.tag(token).filter(|_| size <= MAX_ENTRY_BYTES) else {
            return;
        };
        let entry = CachedToken {
            token: Zeroizing::new(Box::from(token)),
            json: Zeroizing::new(Box::from(claims.json)),
            unescaped: Zeroizing::new(Box::from(claims.unescaped)),
            members: Box::from(claims.members),
            facts: *claims.facts,
            names_service: claims.service_id().is_ok(),
            from: grounds.from,
            until: grounds.until,
            issuer: grounds.issuer,
            keys_version: grounds.keys_version,
            key: grounds.key,
            epoch: AtomicU64::new(grounds.epoch),
        };
        let Some(set) = self.set(tag) else { return };
        let way = self.victim(set, tag, now);
        if let (Some(slot), Some(slot_tag)) = (set.slots.get(way), set.tags.get(way)) {
            // A reader may see the new tag with the old token or the other way round: it compares
            // the token itself, so the worst that happens is that it finds nothing.
            slot.store(Some(Arc::new(entry)));
            slot_tag.store(tag, Ordering::Release);
        }
    }

    /// Which way of its set to use for `tag`: the token's own, an empty one, an expired one, any.
    fn victim(&self, set: &Set, tag: u64, now: Timestamp) -> usize {
        let way_of = |wanted: u64| {
            set.tags
                .iter()
                .position(|slot_tag| slot_tag.load(Ordering::Relaxed) == wanted)
        };
        let expired = || {
            set.slots
                .iter()
                .position(|slot| slot.load().as_ref().is_some_and(|entry| entry.until <= now))
        };
        way_of(tag)
            .or_else(|| way_of(0))
            .or_else(expired)
            .unwrap_or_else(|| self.evictions.fetch_add(1, Ordering::Relaxed) as usize % WAYS)
    }

    /// How full it is. Looks at every place.
    pub(crate) fn figures(&self) -> CacheFigures {
        let tags = self.sets.iter().flat_map(|set| &set.tags);
        CacheFigures {
            places: self.sets.len() * WAYS,
            taken: tags.filter(|tag| tag.load(Ordering::Relaxed) != 0).count(),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    /// Lets go of every token that has expired.
    pub(crate) fn purge(&self, now: Timestamp) {
        let places = self
            .sets
            .iter()
            .flat_map(|set| set.slots.iter().zip(&set.tags));
        for (slot, tag) in places {
            let expired = slot.load().as_ref().is_some_and(|entry| entry.until <= now);
            if expired {
                tag.store(0, Ordering::Release);
                slot.store(None);
            }
        }
    }

    /// A keyed hash of the token's end; never 0.
    #[inline]
    fn tag(&self, token: &[u8]) -> Option<u64> {
        let tail: &[u8; TAIL_BYTES] = token.last_chunk()?;
        let (a, b) = tail.split_first_chunk::<16>()?;
        let mut hasher = self.hash.build_hasher();
        hasher.write_u128(u128::from_le_bytes(*a));
        hasher.write_u128(u128::from_le_bytes(*b.first_chunk()?));
        Some(hasher.finish() | 1)
    }

    /// Where a token with this tag may stand.
    #[inline]
    fn set(&self, tag: u64) -> Option<&Set> {
        self.sets.get((tag >> 32) as usize & (self.sets.len() - 1))
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("slots", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

impl CachedToken {
    pub(crate) const NONE: Claims<'static> = Claims {
        json: "",
        unescaped: "",
        members: &[],
        facts: &Facts::EMPTY,
    };

    #[inline]
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims {
            json: &self.json,
            unescaped: &self.unescaped,
            members: &self.members,
            facts: &self.facts,
        }
    }

    /// Whether its dates hold now.
    #[inline]
    pub(crate) fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    #[inline]
    pub(crate) fn issuer(&self) -> usize {
        self.issuer
    }

    #[inline]
    pub(crate) fn keys_version(&self) -> u64 {
        self.keys_version
    }

    /// Whether it was found not to be revoked in `epoch` already.
    #[inline]
    pub(crate) fn was_checked_in(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Relaxed) == epoch
    }

    /// It was looked up after `epoch` was read, and was not revoked.
    pub(crate) fn set_checked_in(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }
}
