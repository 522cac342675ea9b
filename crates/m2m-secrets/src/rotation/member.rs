//! `Member`: a machine that shares a secret, with its secrets, its counters and its lease.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{KeyError, MacKey};
use m2m_types::Timestamp;

use super::acknowledge::{Acknowledgement, LeaseGrant};
use super::delivery::RingDelivery;
use super::keyring::Keyring;
use super::membership::{AdoptError, Adoption, GrantError, Membership};
use super::name::SecretVersion;
use super::ring::{Ring, RingError, RingVersion, mac_key};
use super::uses::{Fence, Uses};
use crate::SharedSecret;

/// A member with all it needs: its [`Membership`], the secrets of its ring, and what its hot path counts.
/// Owned by the task that talks to the issuer; the hot path has a [`Ring`] of it.
pub struct Member {
    membership: Membership,
    keyring: Keyring,
    uses: BTreeMap<SecretVersion, Arc<Uses>>,
    fence: Arc<Fence>,
}

/// A newer ring with its secrets, that [`Member::adopt`] takes once its record is durable.
#[derive(Debug)]
#[must_use]
pub struct MemberAdoption {
    adoption: Adoption,
    delivery: RingDelivery,
}

impl Member {
    /// Begins with `membership`: new, or recovered. If it was recovered, give the secrets of its ring.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a secret is of no use as a key.
    pub fn new(
        membership: Membership,
        secrets: Vec<(SecretVersion, SharedSecret)>,
    ) -> Result<Self, KeyError> {
        let mut keyring = Keyring::new(membership.secret().clone());
        for (version, secret) in secrets {
            keyring.insert(version, secret)?;
        }
        let fence = Fence::new(membership.latest(), membership.lease_until());
        let mut member = Self {
            membership,
            keyring,
            uses: BTreeMap::new(),
            fence: Arc::new(fence),
        };
        member.keep_what_is_offered(member.membership.latest());
        Ok(member)
    }

    /// What it knows.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether `delivery` is to be adopted; see [`Membership::consider`].
    ///
    /// # Errors
    ///
    /// [`AdoptError`]; [`AdoptError::Incomplete`] if a secret is missing.
    pub fn consider(
        &self,
        delivery: RingDelivery,
        now: Timestamp,
    ) -> Result<MemberAdoption, AdoptError> {
        let snapshot = delivery.snapshot();
        let adoption = self.membership.consider(snapshot, now)?;
        let held = snapshot.held_by(self.membership.role());
        let there = |version: &SecretVersion| {
            let mut secrets = delivery.secrets().iter();
            secrets.any(|(held, _)| held == version)
        };
        if let Some(version) = held.into_iter().find(|version| !there(version)) {
            let epoch = snapshot.epoch();
            return Err(AdoptError::Incomplete { version, epoch });
        }
        Ok(MemberAdoption { adoption, delivery })
    }

    /// Uses the ring whose record is durable now.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a secret is of no use as a key; the ring before stays in use then.
    pub fn adopt(&mut self, adoption: MemberAdoption, now: Timestamp) -> Result<(), KeyError> {
        for (version, secret) in adoption.delivery.into_secrets() {
            self.keyring.insert(version, secret)?;
        }
        let lease_until = self.membership.lease_until();
        self.membership = adoption.adoption.recorded();
        self.membership.keep_lease(lease_until);
        self.keep_what_is_offered(now);
        Ok(())
    }

    /// Proves that the ring is held, and reports which versions were not used for how long.
    pub fn acknowledge(&mut self, now: Timestamp) -> Option<Acknowledgement> {
        let moment = self.fence.moment(now);
        self.membership.observe(moment);
        let idle = |(version, uses): (&SecretVersion, &Arc<Uses>)| (*version, uses.idle(moment));
        let idle: Vec<(SecretVersion, Duration)> = self.uses.iter().map(idle).collect();
        self.membership.acknowledge(&self.keyring, &idle, moment)
    }

    /// Takes a lease. Rings that are in use already go by it at once.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    pub fn granted(&mut self, grant: &LeaseGrant) -> Result<(), GrantError> {
        self.membership.granted(grant, &self.keyring)?;
        self.fence.set_lease(self.membership.lease_until());
        Ok(())
    }

    /// How often, and when last, this process accepted `version`.
    pub fn uses(&self, version: SecretVersion) -> Option<&Uses> {
        self.uses.get(&version).map(AsRef::as_ref)
    }

    /// The ring for the hot path, to be put into a [`Live`](m2m_types::Live) after each adoption. It
    /// shares its counters and its lease with the rings before it.
    ///
    /// # Errors
    ///
    /// [`RingError::Empty`] before the first adoption.
    pub fn ring(&self) -> Result<Ring<MacKey>, RingError> {
        self.ring_with(mac_key)
    }

    /// [`Member::ring`] with keys that `prepare` makes.
    ///
    /// # Errors
    ///
    /// As [`Member::ring`], and [`RingError::Key`].
    pub fn ring_with<K>(
        &self,
        prepare: impl Fn(&SharedSecret) -> Result<K, KeyError>,
    ) -> Result<Ring<K>, RingError> {
        let ring = self.membership.ring().ok_or(RingError::Empty)?;
        let mut versions = Vec::new();
        for (version, drop_at) in ring.accepted() {
            let (Some(secret), Some(uses)) = (self.keyring.get(version), self.uses.get(&version))
            else {
                continue;
            };
            let key = prepare(secret).map_err(|error| RingError::Key { version, error })?;
            let uses = Arc::clone(uses);
            versions.push(RingVersion::new(ring.secret(), version, key, drop_at, uses));
        }
        let sign = self.membership.role().signs().then_some(ring.sign());
        let fence = Arc::clone(&self.fence);
        Ring::new(ring.secret().clone(), ring.epoch(), versions, sign, fence)
    }

    fn keep_what_is_offered(&mut self, now: Timestamp) {
        let Some(ring) = self.membership.ring() else {
            return;
        };
        let held = ring.held_by(self.membership.role());
        self.keyring.retain(|version| held.contains(&version));
        self.uses.retain(|version, _| held.contains(version));
        for version in held {
            let fresh = || Arc::new(Uses::new(now));
            self.uses.entry(version).or_insert_with(fresh);
        }
    }
}

impl MemberAdoption {
    /// What must be durable before [`Member::adopt`] is called: this, and the secrets of
    /// [`MemberAdoption::delivery`], sealed.
    pub fn record(&self) -> Vec<u8> {
        self.adoption.record()
    }

    /// The ring with its secrets.
    pub fn delivery(&self) -> &RingDelivery {
        &self.delivery
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("membership", &self.membership)
            .finish_non_exhaustive()
    }
}
