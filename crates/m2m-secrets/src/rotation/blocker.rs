//! `Blocker`: who or what stands in the way of a step, by name and reason.

use std::fmt;
use std::time::Duration;

use m2m_types::Timestamp;

use super::name::{Epoch, MemberName};

/// Why a step is not safe yet. `Display` is a line for the operator.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blocker {
    /// A verifier has not proved that it holds the version; it would refuse it.
    NotAccepting {
        /// Who.
        member: MemberName,
        /// The newest ring it proved to hold.
        acknowledged: Epoch,
        /// The ring it must hold.
        needed: Epoch,
    },
    /// A signer has not proved that it left the version; it may still sign with it.
    MaySign {
        /// Who.
        member: MemberName,
        /// The newest ring it proved to hold.
        acknowledged: Epoch,
        /// The ring it must hold.
        needed: Epoch,
    },
    /// A member that cannot acknowledge is given time.
    TimeBound {
        /// Who.
        member: MemberName,
        /// Until when.
        until: Timestamp,
    },
    /// The version signs: there is no newer one that does.
    Signs,
    /// Messages made with the version may still arrive.
    InFlight {
        /// Until when.
        until: Timestamp,
    },
    /// A verifier accepted the version a short while ago.
    InUse {
        /// Who.
        member: MemberName,
        /// How long ago, at most.
        idle: Duration,
    },
    /// A verifier has not reported since messages can no longer be under way.
    NoReport {
        /// Who.
        member: MemberName,
        /// Since when it should.
        since: Timestamp,
    },
    /// The lease of a member runs: it may still act.
    LeaseRunning {
        /// Who.
        member: MemberName,
        /// Until when, with what clocks may differ.
        until: Timestamp,
    },
}

impl Blocker {
    /// Who is in the way; nobody if it is time itself.
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::NotAccepting { member, .. }
            | Self::MaySign { member, .. }
            | Self::TimeBound { member, .. }
            | Self::InUse { member, .. }
            | Self::NoReport { member, .. }
            | Self::LeaseRunning { member, .. } => Some(member),
            Self::Signs | Self::InFlight { .. } => None,
        }
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAccepting {
                member,
                acknowledged,
                needed,
            } => write!(
                f,
                "{member} would refuse it: it proved to hold ring {acknowledged}, and needs {needed}"
            ),
            Self::MaySign {
                member,
                acknowledged,
                needed,
            } => write!(
                f,
                "{member} may still sign with it: it proved to hold ring {acknowledged}, and needs {needed}"
            ),
            Self::TimeBound { member, until } => {
                write!(f, "{member} cannot acknowledge and has until {until}")
            }
            Self::Signs => f.write_str("it is the version that signs; activate another one first"),
            Self::InFlight { until } => {
                write!(f, "messages made with it may arrive until {until}")
            }
            Self::InUse { member, idle } => write!(f, "{member} accepted it {idle:?} ago"),
            Self::NoReport { member, since } => {
                write!(f, "{member} has not reported its uses since {since}")
            }
            Self::LeaseRunning { member, until } => {
                write!(f, "{member} may act until {until} by its lease")
            }
        }
    }
}
