//! `Membership`: what a machine that shares a secret knows, and the rules by which it goes forward.

use std::time::Duration;

use m2m_types::Timestamp;

use super::acknowledge::{Acknowledgement, AcknowledgementBody, LeaseGrant};
use super::encoding::{Reader, Writer};
use super::keyring::Keyring;
use super::mutation::Mutation;
use super::name::{Epoch, MemberName, SecretName, SecretVersion};
use super::snapshot::{Role, Snapshot};

const RECORD: &[u8] = b"m2m-secrets member 1\0";

/// The state of one member: a plain value without secrets. A change gives a new value, which is
/// recorded before it replaces the old one.
///
/// ```text
/// let adoption = membership.consider(&snapshot, now)?;   // is it newer, and of my issuer?
/// write adoption.record() and wait until it is durable;
/// membership = adoption.recorded();                      // only now it is used …
/// membership.acknowledge(&keyring, &idle, now)           // … and acknowledged
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Membership {
    member: MemberName,
    secret: SecretName,
    role: Role,
    ring: Option<Snapshot>,
    lease_until: Timestamp,
    latest: Timestamp,
    mutation: Mutation,
}

/// A newer ring that a member may adopt, once [`Adoption::record`] is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Adoption {
    next: Membership,
}

/// Why a member does not adopt a ring. It goes on with the one it has.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// It is of another secret.
    #[error("a ring of {found} was offered to a member of {expected}")]
    OtherSecret {
        /// Of which.
        found: SecretName,
        /// Of which it should be.
        expected: SecretName,
    },
    /// It is not newer. Rings only go forward, so this is harmless: late, repeated, or replayed.
    #[error("a ring of epoch {found} was offered to a member that has {held}")]
    Stale {
        /// What was offered.
        found: Epoch,
        /// What is there.
        held: Epoch,
    },
    /// Two issuers gave out different rings under one number. Find out which of them is the issuer.
    #[error(
        "two different rings have the epoch {epoch}: there are two issuers, or one was set back"
    )]
    Forked {
        /// Which.
        epoch: Epoch,
    },
    /// It offers a version that was retired or revoked: the issuer was set back. Dead is dead.
    #[error("the ring of epoch {epoch} offers {version:?} again, which is dead")]
    Dead {
        /// Which.
        version: SecretVersion,
        /// In which ring.
        epoch: Epoch,
    },
    /// It came without the secret of a version that this member is to hold.
    #[error("the ring of epoch {epoch} came without the secret of version {version}")]
    Incomplete {
        /// Which.
        version: SecretVersion,
        /// In which ring.
        epoch: Epoch,
    },
}

/// Why a lease was not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It is for somebody else, or for another secret.
    #[error("the lease is for another member or another secret")]
    NotMine,
    /// It was not made by who holds the ring's secrets.
    #[error("the lease is not authentic")]
    NotAuthentic,
}

impl Membership {
    /// Of `member`, which shares `secret` in this role. Holds no ring yet.
    pub fn new(member: MemberName, secret: SecretName, role: Role) -> Self {
        Self {
            member,
            secret,
            role,
            ring: None,
            lease_until: Timestamp::MIN,
            latest: Timestamp::MIN,
            mutation: Mutation::None,
        }
    }

    /// Makes a mistake on purpose: only for this crate's own tests.
    #[cfg(feature = "_mutants")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = mutation;
        self
    }

    /// Who this is.
    pub fn member(&self) -> &MemberName {
        &self.member
    }

    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// What it does with the secret.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The ring it has adopted.
    pub fn ring(&self) -> Option<&Snapshot> {
        self.ring.as_ref()
    }

    /// The epoch of the ring it has adopted.
    pub fn epoch(&self) -> Epoch {
        self.ring.as_ref().map_or(Epoch::ZERO, Snapshot::epoch)
    }

    /// From which second on it acts no more, unless it gets a new lease before.
    pub fn lease_until(&self) -> Timestamp {
        self.lease_until
    }

    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Whether `offered` is to be adopted at `now`: it is of this secret, newer than what is there, and
    /// brings nothing back to life (R1, R5).
    ///
    /// # Errors
    ///
    /// [`AdoptError`].
    pub fn consider(&self, offered: &Snapshot, now: Timestamp) -> Result<Adoption, AdoptError> {
        if *offered.secret() != self.secret {
            return Err(AdoptError::OtherSecret {
                found: offered.secret().clone(),
                expected: self.secret.clone(),
            });
        }
        let mut ring = offered.clone();
        if let Some(held) = &self.ring {
            self.compare(held, offered)?;
            if self.mutation.is(Mutation::Union) {
                ring = offered.united_with(held);
            }
        }
        let mut next = self.clone();
        next.ring = Some(ring);
        next.latest = self.moment(now);
        Ok(Adoption { next })
    }

    fn compare(&self, held: &Snapshot, offered: &Snapshot) -> Result<(), AdoptError> {
        let epoch = offered.epoch();
        let forked = match epoch {
            epoch if epoch == held.epoch() => offered.hash() != held.hash(),
            epoch if Some(epoch) == held.epoch().next() => offered.previous() != held.hash(),
            _ => false,
        };
        if forked && self.mutation == Mutation::None {
            return Err(AdoptError::Forked { epoch });
        }
        if epoch <= held.epoch() && !self.mutation.is(Mutation::AdoptOlder) {
            let (found, held) = (epoch, held.epoch());
            return Err(AdoptError::Stale { found, held });
        }
        let dead = |(version, _): &(SecretVersion, _)| held.is_dead(*version);
        let mistaken = self.mutation.is(Mutation::Union) || self.mutation.is(Mutation::AdoptOlder);
        match offered.accepted().find(dead) {
            Some((version, _)) if !mistaken => Err(AdoptError::Dead { version, epoch }),
            _ => Ok(()),
        }
    }

    /// `now`, or the latest time this member ever saw, if the clock was set back.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        now.max(self.latest)
    }

    /// Notes that it is `now`: from then on no earlier time counts.
    pub fn observe(&mut self, now: Timestamp) {
        self.latest = self.moment(now);
    }

    /// Whether it may act at `now`: it has a ring, and its lease has not ended (R8).
    pub fn is_live(&self, now: Timestamp) -> bool {
        let leased = self.moment(now) < self.lease_until;
        self.ring.is_some() && (leased || self.mutation.is(Mutation::JoinFromFile))
    }

    /// Whether it accepts messages made with `version` at `now`.
    pub fn accepts(&self, version: SecretVersion, now: Timestamp) -> bool {
        let offered = self.ring.as_ref().and_then(|ring| ring.offered(version));
        let moment = self.moment(now);
        let in_time = offered.is_some_and(|held| held.drop_at.is_none_or(|at| moment < at));
        self.role.verifies() && in_time && self.is_live(now)
    }

    /// The version it signs with at `now`.
    pub fn signs_with(&self, now: Timestamp) -> Option<SecretVersion> {
        let ring = self.ring.as_ref()?;
        if !self.role.signs() || !self.is_live(now) {
            return None;
        }
        if self.mutation.is(Mutation::SignWithNewest) {
            let newest = |(version, _): &(SecretVersion, _)| ring.is_newest(*version);
            return ring.accepted().find(newest).map(|(version, _)| version);
        }
        Some(ring.sign())
    }

    /// Proves to the issuer that this ring is held and recorded, asks for a lease, and says how long each
    /// version that does not sign was not used, in whole seconds, rounded down.
    ///
    /// [`None`] without a ring, or if `keyring` lacks one of its secrets.
    pub fn acknowledge(
        &self,
        keyring: &Keyring,
        idle: &[(SecretVersion, Duration)],
        now: Timestamp,
    ) -> Option<Acknowledgement> {
        let ring = self.ring.as_ref()?;
        let reported = |(version, _): &&(SecretVersion, Duration)| {
            *version != ring.sign() && ring.offered(*version).is_some()
        };
        let seconds = |(version, idle): &(SecretVersion, Duration)| (*version, idle.as_secs());
        let idle = match self.role.verifies() {
            true => idle.iter().filter(reported).map(seconds).collect(),
            false => Vec::new(),
        };
        let body = AcknowledgementBody {
            secret: self.secret.clone(),
            member: self.member.clone(),
            epoch: ring.epoch(),
            ring: *ring.hash(),
            sent_at: self.moment(now),
            held: ring.held_by(self.role),
            idle,
        };
        body.prove(keyring)
    }

    /// Takes a lease: it lasts from when the acknowledgement was sent, by this member's own clock, so the
    /// clocks of issuer and member need not agree. An older lease never shortens a newer one.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    pub fn granted(&mut self, grant: &LeaseGrant, keyring: &Keyring) -> Result<(), GrantError> {
        let body = &grant.body;
        if body.member != self.member || body.secret != self.secret {
            return Err(GrantError::NotMine);
        }
        if !grant.is_proven_by(keyring) {
            return Err(GrantError::NotAuthentic);
        }
        let until = body.sent_at.saturating_add(body.lease);
        self.lease_until = self.lease_until.max(until);
        Ok(())
    }

    /// A lease that came while a newer ring was being recorded.
    pub(crate) fn keep_lease(&mut self, until: Timestamp) {
        self.lease_until = self.lease_until.max(until);
    }

    /// What to record; it holds no secret. It includes the lease, so that a member that restarts within
    /// it need not wait for the issuer.
    pub fn record(&self) -> Vec<u8> {
        let ring = self.ring.as_ref().map(Snapshot::to_bytes);
        Writer::of(RECORD)
            .bytes(self.member.as_str().as_bytes())
            .bytes(self.secret.as_str().as_bytes())
            .byte(self.role.to_byte())
            .time(self.lease_until)
            .time(self.latest)
            .bytes(ring.as_deref().unwrap_or_default())
            .done()
    }

    /// What [`Membership::record`] gave, after a restart at `now`. [`None`] if these bytes are no record.
    pub fn recover(record: &[u8], now: Timestamp) -> Option<Self> {
        let mut from = Reader::of(RECORD, record)?;
        let (member, secret) = (from.member_name()?, from.secret_name()?);
        let role = Role::from_byte(from.byte()?)?;
        let (lease_until, latest) = (from.time()?, from.time()?);
        let ring = match from.bytes()? {
            [] => None,
            bytes => Some(Snapshot::from_bytes(bytes)?),
        };
        from.end()?;
        if ring.as_ref().is_some_and(|ring| *ring.secret() != secret) {
            return None;
        }
        Some(Self {
            member,
            secret,
            role,
            ring,
            lease_until,
            latest: latest.max(now),
            mutation: Mutation::None,
        })
    }
}

impl Adoption {
    /// What must be durable before [`Adoption::recorded`] is called: the [`Membership::record`] that
    /// follows.
    pub fn record(&self) -> Vec<u8> {
        self.next.record()
    }

    /// The ring is recorded: from now on it is used, and may be acknowledged.
    pub fn recorded(self) -> Membership {
        self.next
    }

    /// What a mistaken member does.
    #[cfg(feature = "_mutants")]
    #[doc(hidden)]
    pub fn unrecorded(&self) -> &Membership {
        &self.next
    }
}
