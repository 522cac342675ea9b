//! Why a step is not taken, and what it has to wait for.

use m2m_types::{ServiceId, Timestamp};

use crate::profile::short;
use crate::{AuthorityError, Living};

/// What a step has to wait for.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocker {
    /// A live peer would refuse what the new authority signs.
    #[error(
        "{} has bundle {has} and needs {needs}; it counts until {lease}",
        short(peer)
    )]
    PeerBehind {
        /// Which.
        peer: ServiceId,
        /// The bundle it has.
        has: u64,
        /// The bundle it needs.
        needs: u64,
        /// When it no longer counts.
        lease: Timestamp,
    },
    /// Certificates that the old authority signed would be refused.
    #[error(
        "{} certificates of the old authority live, the last until {}",
        living.leaves,
        living.latest_not_after.unwrap_or(Timestamp::MIN)
    )]
    LeavesLive {
        /// How many and for how long.
        living: Living,
    },
    /// Who was about to sign with the old authority may still be at it.
    #[error("the handover runs until {until}")]
    Handover {
        /// Until when.
        until: Timestamp,
    },
}

/// Why a step is not taken. Everything stays as it was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloverError {
    /// It would strand somebody.
    #[error("{} obstacles; the first: {}", blockers.len(), first(blockers))]
    Blocked {
        /// All that is in the way.
        blockers: Vec<Blocker>,
    },
    /// There is no such step from here.
    #[error("no such step: {found}")]
    Phase {
        /// Where it is.
        found: &'static str,
    },
    /// The certificate can be no authority of the domain, or is one already.
    #[error("no authority of the trust domain")]
    Authority(#[from] AuthorityError),
    /// The new authority's certificate is not valid.
    #[error("the new authority's certificate is not valid at {now}, and not after {not_after}")]
    Expired {
        /// Its `notAfter`.
        not_after: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// The peer's bundle is too old: it gets no lease before it fetches the new one.
    #[error("bundle {sequence} is too old; {needed} is needed")]
    Behind {
        /// The bundle it has.
        sequence: u64,
        /// The oldest it may have.
        needed: u64,
    },
    /// The peer had a newer bundle.
    #[error("bundle {sequence} is older than {held}, which it had")]
    Backwards {
        /// The bundle it says.
        sequence: u64,
        /// The bundle it had.
        held: u64,
    },
    /// The peer says a bundle that was never published.
    #[error("bundle {sequence} was never published; the newest is {newest}")]
    NotPublished {
        /// The bundle it says.
        sequence: u64,
        /// The newest.
        newest: u64,
    },
    /// The lease is over already or too long.
    #[error("a lease until {lease}; now is {now}")]
    Lease {
        /// Until when.
        lease: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// There are too many peers with a lease.
    #[error("at most {} peers are told apart", crate::Rollover::MAX_PEERS)]
    TooManyPeers,
    /// There is no next number for a bundle.
    #[error("no number is left for a bundle")]
    Exhausted,
}

fn first(blockers: &[Blocker]) -> String {
    blockers
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}
