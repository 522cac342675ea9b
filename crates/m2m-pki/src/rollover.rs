//! `Rollover`: from one authority to the next, A → A + B → B, without a step that strands anybody.
//!
//! ```text
//!            prepare B            activate              drop A
//!   Single ────────────▶ Prepared ─────────▶ Activated ─────────▶ Single
//!     A    ◀────────────   A, B                A, B                 B
//!             withdraw    A signs             B signs
//!                         needs: every live peer        needs: no leaf of A lives
//!                         has a bundle with B
//! ```
//!
//! Peers are those who verify. Each is known by a name and holds a lease; it says which bundle it has.
//! A peer whose lease has run out no longer counts, and has to fetch the bundle before it verifies again:
//! with an older one than is needed it gets no lease.

mod error;
mod format;
mod stored;

pub use error::{Blocker, RolloverError};
pub use stored::{RolloverStoreError, StoredRollover};

use std::collections::BTreeMap;
use std::time::Duration;

use m2m_types::{ServiceId, Timestamp, TrustDomain};

use crate::{Certificate, Living, TrustBundle};

/// How a trust domain gets from one authority to the next: a value, and each step gives another one or
/// says what it has to wait for. [`StoredRollover`] keeps it.
///
/// What is handed to peers is [`Rollover::bundle`], what signs is [`Rollover::signer`]. The root is rolled
/// over this way, or an intermediate that peers hold as an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollover {
    domain: TrustDomain,
    phase: RolloverPhase,
    sequence: u64,
    /// The first number of a bundle that has all that is needed to verify what lives.
    needed: u64,
    peers: BTreeMap<ServiceId, RolloverPeer>,
    handover: Duration,
}

/// Where a rollover is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloverPhase {
    /// One authority signs and is believed.
    Single {
        /// Which.
        authority: Certificate,
    },
    /// The next one is in the bundles, so that peers learn of it. The old one signs.
    Prepared {
        /// Which signs.
        old: Certificate,
        /// Which is to sign.
        new: Certificate,
        /// The first bundle that has it.
        since: u64,
    },
    /// The new one signs. The old one is believed while what it signed lives.
    Activated {
        /// Which signed.
        old: Certificate,
        /// Which signs.
        new: Certificate,
        /// When the new one began.
        at: Timestamp,
    },
}

/// What is known of one who verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloverPeer {
    /// The number of the bundle that it has.
    pub sequence: u64,
    /// Until when it counts.
    pub lease: Timestamp,
}

/// What it costs to give up an authority at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Consequences {
    /// Peers that do not have the new authority yet: they refuse everybody who has a new certificate
    /// until they fetch the bundle.
    pub behind: Vec<ServiceId>,
    /// Certificates that nobody believes any more once the bundle has arrived. Their holders need new
    /// ones, and cannot get them by renewal with the old ones.
    pub stranded: Living,
}

impl Rollover {
    /// How long after activation, at least, nothing is dropped: whoever was about to sign with the old
    /// authority has done it by then.
    pub const HANDOVER: Duration = Duration::from_secs(600);
    /// The most peers that are told apart.
    pub const MAX_PEERS: usize = 10_000;
    /// The longest lease: for so long a peer that is gone holds up a step.
    pub const MAX_LEASE: Duration = Duration::from_secs(7 * 86_400);

    /// The trust domain of one authority, whose bundle has the number `sequence`: greater than that of
    /// any bundle that was handed out before.
    pub fn new(domain: TrustDomain, authority: Certificate, sequence: u64) -> Self {
        Self {
            domain,
            phase: RolloverPhase::Single { authority },
            sequence,
            needed: sequence,
            peers: BTreeMap::new(),
            handover: Self::HANDOVER,
        }
    }

    /// With another time than [`Rollover::HANDOVER`].
    #[must_use]
    pub fn with_handover(self, handover: Duration) -> Self {
        Self { handover, ..self }
    }

    /// Where it is.
    pub fn phase(&self) -> &RolloverPhase {
        &self.phase
    }

    /// Which authority signs.
    pub fn signer(&self) -> &Certificate {
        match &self.phase {
            RolloverPhase::Single { authority } => authority,
            RolloverPhase::Prepared { old, .. } => old,
            RolloverPhase::Activated { new, .. } => new,
        }
    }

    /// The bundle that peers are to have.
    pub fn bundle(&self) -> TrustBundle {
        let authorities = match &self.phase {
            RolloverPhase::Single { authority } => vec![authority.clone()],
            RolloverPhase::Prepared { old, new, .. }
            | RolloverPhase::Activated { old, new, .. } => {
                vec![old.clone(), new.clone()]
            }
        };
        TrustBundle::new(self.domain.clone(), authorities).with_sequence(self.sequence)
    }

    /// The peers whose lease has not run out at `now`.
    pub fn live_peers(&self, now: Timestamp) -> impl Iterator<Item = (&ServiceId, &RolloverPeer)> {
        self.peers.iter().filter(move |(_, peer)| now < peer.lease)
    }

    /// `peer` says that it uses bundle `sequence` and counts until `lease`: call it when the peer fetches
    /// bundles, and has put the one it fetched in place.
    ///
    /// # Errors
    ///
    /// [`RolloverError::Behind`] if that bundle is too old to verify what lives,
    /// [`RolloverError::NotPublished`] if there is none of that number,
    /// [`RolloverError::Backwards`] if it had a newer one, [`RolloverError::Lease`],
    /// [`RolloverError::TooManyPeers`]. It then has no longer a lease than before.
    pub fn acknowledged(
        &self,
        peer: &ServiceId,
        sequence: u64,
        lease: Timestamp,
        now: Timestamp,
    ) -> Result<Self, RolloverError> {
        if lease <= now || lease > now.saturating_add(Self::MAX_LEASE) {
            return Err(RolloverError::Lease { lease, now });
        }
        if sequence > self.sequence {
            let newest = self.sequence;
            return Err(RolloverError::NotPublished { sequence, newest });
        }
        if sequence < self.needed {
            let needed = self.needed;
            return Err(RolloverError::Behind { sequence, needed });
        }
        let held = self.peers.get(peer).filter(|held| now < held.lease);
        if let Some(held) = held.filter(|held| sequence < held.sequence) {
            let held = held.sequence;
            return Err(RolloverError::Backwards { sequence, held });
        }
        let mut next = self.without_gone(now);
        if next.peers.len() >= Self::MAX_PEERS && !next.peers.contains_key(peer) {
            return Err(RolloverError::TooManyPeers);
        }
        next.peers
            .insert(peer.clone(), RolloverPeer { sequence, lease });
        Ok(next)
    }

    /// `peer` no longer verifies anything, and says so itself.
    #[must_use]
    pub fn left(mut self, peer: &ServiceId) -> Self {
        self.peers.remove(peer);
        self
    }

    /// A → A + B: `new` is put in the bundles, and signs nothing yet.
    ///
    /// # Errors
    ///
    /// [`RolloverError::Phase`]; [`RolloverError::Authority`] if it can be no authority of the domain;
    /// [`RolloverError::Expired`].
    pub fn prepared(&self, new: Certificate, now: Timestamp) -> Result<Self, RolloverError> {
        let RolloverPhase::Single { authority: old } = &self.phase else {
            return Err(self.wrong_phase());
        };
        let bundle = TrustBundle::new(self.domain.clone(), [old.clone()]);
        bundle.with_authority(new.clone())?;
        if !new.is_valid_at(now) {
            let not_after = new.not_after();
            return Err(RolloverError::Expired { not_after, now });
        }
        let since = self.next_sequence()?;
        let mut next = self.without_gone(now);
        (next.sequence, next.phase) = (
            since,
            RolloverPhase::Prepared {
                old: old.clone(),
                new,
                since,
            },
        );
        Ok(next)
    }

    /// A + B → A: the new authority is taken back before it signed anything.
    ///
    /// # Errors
    ///
    /// [`RolloverError::Phase`], above all once it signs: what it signed would be refused.
    pub fn withdrawn(&self) -> Result<Self, RolloverError> {
        let RolloverPhase::Prepared { old, .. } = &self.phase else {
            return Err(self.wrong_phase());
        };
        let authority = old.clone();
        let sequence = self.next_sequence()?;
        Ok(Self {
            phase: RolloverPhase::Single { authority },
            sequence,
            ..self.clone()
        })
    }

    /// The new authority signs from now on.
    ///
    /// # Errors
    ///
    /// [`RolloverError::Blocked`] by each live peer whose bundle does not have it;
    /// [`RolloverError::Expired`]; [`RolloverError::Phase`].
    pub fn activated(&self, now: Timestamp) -> Result<Self, RolloverError> {
        let RolloverPhase::Prepared { old, new, since } = &self.phase else {
            return Err(self.wrong_phase());
        };
        if !new.is_valid_at(now) {
            let not_after = new.not_after();
            return Err(RolloverError::Expired { not_after, now });
        }
        let behind = self
            .live_peers(now)
            .filter(|(_, peer)| peer.sequence < *since);
        let blockers: Vec<Blocker> = behind
            .map(|(name, peer)| Blocker::PeerBehind {
                peer: name.clone(),
                has: peer.sequence,
                needs: *since,
                lease: peer.lease,
            })
            .collect();
        if !blockers.is_empty() {
            return Err(RolloverError::Blocked { blockers });
        }
        let mut next = self.without_gone(now);
        next.needed = *since;
        next.phase = RolloverPhase::Activated {
            old: old.clone(),
            new: new.clone(),
            at: now,
        };
        Ok(next)
    }

    /// A + B → B: the old authority leaves the bundles. `living` is what the ledger says lives of it
    /// **now**, see [`Ledger::living_under`](crate::Ledger::living_under).
    ///
    /// # Errors
    ///
    /// [`RolloverError::Blocked`] while anything lives, or the handover runs; [`RolloverError::Phase`].
    pub fn dropped(&self, living: &Living, now: Timestamp) -> Result<Self, RolloverError> {
        let RolloverPhase::Activated { new, at, .. } = &self.phase else {
            return Err(self.wrong_phase());
        };
        let mut blockers = Vec::new();
        if living.leaves > 0 {
            blockers.push(Blocker::LeavesLive { living: *living });
        }
        let until = at.saturating_add(self.handover);
        if now < until {
            blockers.push(Blocker::Handover { until });
        }
        if !blockers.is_empty() {
            return Err(RolloverError::Blocked { blockers });
        }
        self.with_only(new.clone(), now)
    }

    /// The old authority's key is in wrong hands: it is out of the bundles at once, and the new one
    /// signs, **whoever that strands**. `living` is what the ledger says lives of the old one.
    ///
    /// # Errors
    ///
    /// [`RolloverError::Phase`] if there is no new authority: prepare one first.
    pub fn danger_abandoned(
        &self,
        living: &Living,
        now: Timestamp,
    ) -> Result<(Self, Consequences), RolloverError> {
        let (new, since) = match &self.phase {
            RolloverPhase::Prepared { new, since, .. } => (new, *since),
            RolloverPhase::Activated { new, .. } => (new, self.needed),
            RolloverPhase::Single { .. } => return Err(self.wrong_phase()),
        };
        let behind = self
            .live_peers(now)
            .filter(|(_, peer)| peer.sequence < since);
        let consequences = Consequences {
            behind: behind.map(|(name, _)| name.clone()).collect(),
            stranded: *living,
        };
        let mut next = self.with_only(new.clone(), now)?;
        // Who still believes the old one must not be told that all is well.
        next.needed = next.sequence;
        Ok((next, consequences))
    }

    fn with_only(&self, authority: Certificate, now: Timestamp) -> Result<Self, RolloverError> {
        let mut next = self.without_gone(now);
        next.sequence = self.next_sequence()?;
        next.phase = RolloverPhase::Single { authority };
        Ok(next)
    }

    fn without_gone(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.peers.retain(|_, peer| now < peer.lease);
        next
    }

    fn next_sequence(&self) -> Result<u64, RolloverError> {
        self.sequence.checked_add(1).ok_or(RolloverError::Exhausted)
    }

    fn wrong_phase(&self) -> RolloverError {
        RolloverError::Phase {
            found: match self.phase {
                RolloverPhase::Single { .. } => "one authority",
                RolloverPhase::Prepared { .. } => "the new authority is prepared",
                RolloverPhase::Activated { .. } => "the new authority signs",
            },
        }
    }
}
