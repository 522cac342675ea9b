//! The issuer hears an acknowledgement.

use std::time::Duration;

use m2m_types::Timestamp;

use super::acknowledge::{Acknowledgement, LeaseGrant, LeaseGrantBody};
use super::engine::{Reach, Rotation};
use super::event::{Event, EventKind};
use super::keyring::Keyring;
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretName, SecretVersion};

/// What [`Rotation::hear`] made of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Heard {
    grant: Option<LeaseGrant>,
    events: Vec<Event>,
    record: Record,
}

/// Whether a change must be durable before its consequence is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Record {
    /// Yes: record the rotation before the lease is sent.
    First,
    /// No: if it is lost, the member is asked again.
    Later,
}

/// Why an acknowledgement counts for nothing. Nothing was changed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HearError {
    /// It is of another secret.
    #[error("an acknowledgement of {found} came to the issuer of another secret")]
    OtherSecret {
        /// Of which.
        found: SecretName,
    },
    /// Nobody declared such a member.
    #[error("{member} is not declared; register it first")]
    UnknownMember {
        /// Who.
        member: MemberName,
    },
    /// The member was declared as one that cannot acknowledge.
    #[error("{member} was declared as bound by time; remove it and register it anew")]
    TimeBound {
        /// Who.
        member: MemberName,
    },
    /// It is of a ring that this issuer has not made: another issuer has, or this one was set back.
    #[error("{member} holds ring {epoch}, which this issuer has not made; it has {current}")]
    NotOurs {
        /// Who.
        member: MemberName,
        /// Of which ring.
        epoch: Epoch,
        /// The newest there is.
        current: Epoch,
    },
    /// It names versions that it should not, or lacks some.
    #[error("{member} does not hold what ring {epoch} gives it")]
    NotHeld {
        /// Who.
        member: MemberName,
        /// Which ring.
        epoch: Epoch,
    },
    /// It was not made with the secrets it names, or those are not there to check it.
    #[error("the acknowledgement of {member} proves nothing")]
    NotProven {
        /// Who.
        member: MemberName,
    },
}

impl Rotation {
    /// Takes in that a member holds a ring, after checking the proof with `keyring`. Repeated, late and
    /// old acknowledgements do no harm. If it is of the newest ring, the member gets a lease, and if it
    /// was not live before it is from now on (R7).
    ///
    /// # Errors
    ///
    /// [`HearError`].
    pub fn hear(
        &mut self,
        acknowledgement: &Acknowledgement,
        keyring: &Keyring,
        now: Timestamp,
    ) -> Result<Heard, HearError> {
        self.check(acknowledgement, keyring)?;
        let body = &acknowledgement.body;
        let unknown = || HearError::UnknownMember {
            member: body.member.clone(),
        };
        let now = self.moment(now);
        let newest = body.epoch == self.ring.epoch();
        let lease = self.policy.lease();
        let quiet = self.policy.quiet().as_secs();
        let given = newest || self.mutation.is(Mutation::LeaseForOldRing);
        let party = self.members.get_mut(&body.member).ok_or_else(unknown)?;
        let mut heard = Heard {
            grant: None,
            events: Vec::new(),
            record: Record::Later,
        };
        if (body.epoch, body.sent_at) < (party.acknowledged, party.sent_at) {
            return Ok(heard);
        }
        self.latest = now;
        party.acknowledged = body.epoch;
        party.sent_at = body.sent_at;
        if party.role.verifies() {
            party.reported_at = now;
            // More than matters is not kept.
            let capped = |(version, idle): &(SecretVersion, u64)| (*version, (*idle).min(quiet));
            party.idle = body.idle.iter().map(capped).collect();
        }
        let admitted = newest && !party.live;
        if given && (party.live || newest) {
            party.live = true;
            if party.lease_until < now.saturating_add(lease) {
                // Ahead, so that not every lease has to be recorded before it is given.
                party.lease_until = now.saturating_add(lease * 2);
                heard.record = Record::First;
            }
            heard.grant = self.grant(acknowledgement, keyring, lease);
        }
        if admitted {
            heard.record = Record::First;
            let admitted = EventKind::Admitted(body.member.clone());
            heard.events.push(self.event(admitted));
        }
        self.note_who_left();
        Ok(heard)
    }

    fn grant(
        &self,
        acknowledgement: &Acknowledgement,
        keyring: &Keyring,
        lease: Duration,
    ) -> Option<LeaseGrant> {
        let body = &acknowledgement.body;
        LeaseGrantBody {
            secret: body.secret.clone(),
            member: body.member.clone(),
            epoch: body.epoch,
            sent_at: body.sent_at,
            lease,
            held: body.held.clone(),
        }
        .prove(keyring)
    }

    fn check(&self, acknowledgement: &Acknowledgement, keyring: &Keyring) -> Result<(), HearError> {
        let body = &acknowledgement.body;
        if body.secret != *self.secret() {
            let found = body.secret.clone();
            return Err(HearError::OtherSecret { found });
        }
        let member = body.member.clone();
        let Some(party) = self.members.get(&body.member) else {
            return Err(HearError::UnknownMember { member });
        };
        if party.reach != Reach::Acknowledges {
            return Err(HearError::TimeBound { member });
        }
        let (epoch, current) = (body.epoch, self.ring.epoch());
        let ours = match epoch == current {
            true => body.ring == *self.ring.hash(),
            false => epoch < current,
        };
        if !ours && self.mutation == Mutation::None {
            return Err(HearError::NotOurs {
                member,
                epoch,
                current,
            });
        }
        let published = |version: &SecretVersion| {
            let slot = self.slots.get(version);
            slot.is_some_and(|slot| slot.accepted_from.epoch <= epoch)
        };
        let mut needed = match epoch == current {
            true => self.ring.held_by(party.role),
            false if party.role.verifies() => self.slots.keys().copied().collect(),
            false => Vec::new(),
        };
        needed.retain(published);
        let held = needed.iter().all(|version| body.held.contains(version));
        if !held && self.mutation == Mutation::None {
            return Err(HearError::NotHeld { member, epoch });
        }
        let bytes = body.to_bytes();
        match keyring.is_proof(&body.held, &bytes, &acknowledgement.tag) {
            true => Ok(()),
            false => Err(HearError::NotProven { member }),
        }
    }
}

impl Heard {
    /// The lease to send back. None for an acknowledgement of an older ring: send the newest instead.
    pub fn grant(&self) -> Option<&LeaseGrant> {
        self.grant.as_ref()
    }

    /// For the audit log.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether the rotation must be recorded before the lease is sent.
    pub fn record(&self) -> Record {
        self.record
    }
}
