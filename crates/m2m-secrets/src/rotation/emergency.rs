//! A version is compromised: the swap to the standby, and when the leak is worth nothing any more.

use std::fmt;
use std::time::Duration;

use m2m_types::Timestamp;

use super::blocker::Blocker;
use super::engine::{Mark, Party, Reach, Rotation, Slot};
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretName, SecretVersion};

/// What an emergency will do, to be read before it is confirmed. Only
/// [`Rotation::plan_emergency`] makes one, and [`Command::Emergency`](crate::Command::Emergency)
/// takes it away.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nothing happens before the plan is handed in"]
pub struct EmergencyPlan {
    pub(crate) secret: SecretName,
    pub(crate) version: SecretVersion,
    pub(crate) successor: Option<SecretVersion>,
    pub(crate) epoch: Epoch,
    pub(crate) bound: Duration,
    pub(crate) past_every_clock: Duration,
    pub(crate) late: Vec<MemberName>,
}

/// Why there is no plan.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmergencyError {
    /// There is no such version, or it is dead: nobody accepts it.
    #[error("version {version} is not alive, so nobody accepts it")]
    NotAlive {
        /// Which.
        version: SecretVersion,
    },
    /// Nobody ever signed with it: aborting it refuses nothing.
    #[error("nobody ever signed with version {version}; abort it")]
    NeverSigned {
        /// Which.
        version: SecretVersion,
    },
    /// It is being dropped already.
    #[error("version {version} is dropped at {at} already")]
    Under {
        /// Which.
        version: SecretVersion,
        /// When.
        at: Timestamp,
    },
    /// No other version is accepted everywhere. Stage one and wait for the verifiers, who are named if
    /// one is on its way: until it has come to them, every swap would refuse calls.
    #[error("there is no standby; {} verifiers are waited for", waiting.len())]
    NoStandby {
        /// Who has not got the one on its way.
        waiting: Vec<Blocker>,
    },
}

/// How far a revocation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationStatus {
    waiting: Vec<Blocker>,
}

impl Rotation {
    /// What an emergency swap away from `version` would do at `now`. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`EmergencyError`].
    pub fn plan_emergency(
        &self,
        version: SecretVersion,
        now: Timestamp,
    ) -> Result<EmergencyPlan, EmergencyError> {
        let slot = self.slots.get(&version);
        let slot = slot.ok_or(EmergencyError::NotAlive { version })?;
        if let Some((at, _)) = slot.drop_at.filter(|_| slot.compromised) {
            return Err(EmergencyError::Under { version, at });
        }
        if !slot.has_signed {
            return Err(EmergencyError::NeverSigned { version });
        }
        let signs = version == self.ring.sign();
        let successor = match signs {
            true => Some(self.successor(now)?),
            false => None,
        };
        Ok(EmergencyPlan {
            secret: self.secret().clone(),
            version,
            successor,
            epoch: self.ring.epoch(),
            bound: self.policy.emergency(),
            past_every_clock: self.policy.past_every_clock(),
            late: self.later_than(self.policy.emergency()),
        })
    }

    fn successor(&self, now: Timestamp) -> Result<SecretVersion, EmergencyError> {
        if self.mutation.is(Mutation::EmergencyFresh) {
            let fresh = |(_, slot): &(&SecretVersion, &Slot)| slot.left_from.is_none();
            let newest = self.slots.iter().rev().find(fresh);
            return Ok(newest.map_or(self.ring.sign(), |(version, _)| *version));
        }
        self.standby(now).ok_or_else(|| {
            let staged = |(version, slot): (&SecretVersion, &Slot)| {
                let staged = slot.left_from.is_none() && *version != self.ring.sign();
                staged.then(|| self.not_accepting(slot.accepted_from, now))
            };
            let waiting = self.slots.iter().rev().find_map(staged);
            let waiting = waiting.unwrap_or_default();
            EmergencyError::NoStandby { waiting }
        })
    }

    /// Who cannot acknowledge and has more time than there is: it may sign with the compromised version,
    /// or accept it, after the bound.
    fn later_than(&self, bound: Duration) -> Vec<MemberName> {
        let late = |party: &Party| match party.reach {
            Reach::TimeBound(time) => time > bound,
            Reach::Acknowledges => false,
        };
        let late = self.members.iter().filter(|(_, party)| late(party));
        late.map(|(name, _)| name.clone()).collect()
    }

    /// Whether the time of a version has run out by every clock, or everybody left it if it is
    /// compromised. Its uses are not asked for then: the thief may be the one who uses it.
    pub(crate) fn is_due(&self, slot: &Slot, now: Timestamp) -> bool {
        let past = |(at, _): (Timestamp, Mark)| now >= at.saturating_add(self.past_every_clock());
        let left = |at: Timestamp| now >= at.saturating_add(self.policy.quiet());
        slot.drop_at.is_some_and(past) || (slot.compromised && slot.left_at.is_some_and(left))
    }

    fn past_every_clock(&self) -> Duration {
        match self.mutation.is(Mutation::NoSkew) {
            true => Duration::ZERO,
            false => self.policy.past_every_clock(),
        }
    }

    /// Whether `version` is refused everywhere at `now`, and if not, where it may be accepted still.
    /// That it was revoked here does not mean that they heard it.
    pub fn revocation(&self, version: SecretVersion, now: Timestamp) -> RevocationStatus {
        let now = self.moment(now);
        let (ended, drop_at) = match (self.ended(version), self.slots.get(&version)) {
            (Some(ended), _) => (Some(ended.mark), ended.drop_at),
            (None, Some(slot)) => (None, slot.drop_at),
            // Long dead, or never there; every member that acts now was admitted or heard since.
            (None, None) => {
                return RevocationStatus {
                    waiting: Vec::new(),
                };
            }
        };
        if self.mutation.is(Mutation::ClaimAtPublish) && (ended.is_some() || drop_at.is_some()) {
            return RevocationStatus {
                waiting: Vec::new(),
            };
        }
        let waiting = self
            .live_verifiers()
            .filter_map(|(name, party)| self.may_accept(name, party, ended, drop_at, now))
            .collect();
        RevocationStatus { waiting }
    }

    fn may_accept(
        &self,
        name: &MemberName,
        party: &Party,
        ended: Option<Mark>,
        drop_at: Option<(Timestamp, Mark)>,
        now: Timestamp,
    ) -> Option<Blocker> {
        let member = name.clone();
        let has = |mark: Mark| match party.reach {
            Reach::Acknowledges => party.acknowledged >= mark.epoch,
            Reach::TimeBound(time) => now >= self.given_until(time, mark.at, party),
        };
        let dropped = |(at, mark): (Timestamp, Mark)| {
            has(mark) && now >= at.saturating_add(self.past_every_clock())
        };
        let fenced = party.reach == Reach::Acknowledges && now >= self.may_act_until(party);
        if ended.is_some_and(has) || drop_at.is_some_and(dropped) || fenced {
            return None;
        }
        let mark = ended.or(drop_at.map(|(_, mark)| mark));
        Some(match (mark, party.reach) {
            (Some(mark), Reach::Acknowledges) => Blocker::NotAccepting {
                member,
                acknowledged: party.acknowledged,
                needed: mark.epoch,
            },
            (Some(mark), Reach::TimeBound(time)) => Blocker::TimeBound {
                member,
                until: self.given_until(time, mark.at, party),
            },
            (None, _) => Blocker::InUse {
                member,
                idle: Duration::ZERO,
            },
        })
    }
}

impl EmergencyPlan {
    /// The compromised version.
    pub fn version(&self) -> SecretVersion {
        self.version
    }

    /// The version that signs instead. None if the compromised one does not sign any more.
    pub fn successor(&self) -> Option<SecretVersion> {
        self.successor
    }

    /// T: how long after the confirmation the compromised version is dropped, by each verifier's own
    /// clock.
    pub fn bound(&self) -> Duration {
        self.bound
    }

    /// How long after the confirmation it is refused everywhere, by whatever clock.
    pub fn refused_everywhere_after(&self) -> Duration {
        self.bound + self.past_every_clock
    }

    /// Who cannot acknowledge and needs longer than the bound: their calls may be refused, and what they
    /// verify may be forged, until they have heard.
    pub fn late(&self) -> &[MemberName] {
        &self.late
    }
}

/// What the operator reads before confirming.
impl fmt::Display for EmergencyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, secret) = (self.version, &self.secret);
        match self.successor {
            Some(successor) => write!(
                f,
                "signers of {secret} move from version {version} to version {successor}, which every verifier accepts already; no call is refused"
            )?,
            None => write!(f, "version {version} of {secret} signs nothing any more")?,
        }
        write!(
            f,
            "; version {version} is refused everywhere at most {:?} after the confirmation, sooner if all signers acknowledge",
            self.refused_everywhere_after()
        )?;
        for member in &self.late {
            write!(f, "\n  {member} cannot acknowledge and may need longer")?;
        }
        Ok(())
    }
}

impl RevocationStatus {
    /// Whether no live verifier accepts the version any more.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who may still accept it.
    pub fn waiting(&self) -> &[Blocker] {
        &self.waiting
    }
}
