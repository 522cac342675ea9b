//! `Policy`: the times a rotation goes by, and what follows from them.

use std::fmt;
use std::time::Duration;

use super::ring::MAX_RING_VERSIONS;

/// No time of a policy is longer: ten years, so that sums of them cannot overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Times are whole seconds, so a reading may be almost one second behind.
const ROUNDING: Duration = Duration::from_secs(1);

/// The times and limits of one secret's rotation, checked against each other. See [`Policy::builder`].
///
/// `Display` prints what follows from them, for the operator who sets them.
///
/// ```
/// use std::time::Duration;
/// use m2m_secrets::Policy;
///
/// let minute = Duration::from_secs(60);
/// let policy = Policy::builder().with_max_message_age(5 * minute).with_skew(minute).build()?;
/// assert_eq!(policy.quiet(), Duration::from_secs(7 * 60 + 1));
/// # Ok::<(), m2m_secrets::PolicyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    max_message_age: Duration,
    skew: Duration,
    lease: Duration,
    emergency: Duration,
    overlap: Option<Duration>,
    versions: usize,
    standby: Standby,
}

/// Whether a version that is accepted everywhere and signs nothing is kept ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Standby {
    /// Always: an emergency then refuses no call.
    Kept,
    /// Only from staging to activation: an emergency has to stage one first, and waits for it.
    OnDemand,
}

/// A [`Policy`] that has not been checked yet.
#[derive(Clone, Debug)]
#[must_use]
pub struct PolicyBuilder {
    policy: Policy,
}

/// Why times do not fit together.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A time is longer than ten years, or is a lease of less than a second.
    #[error("{found:?} is no usable time; a lease lasts a second at least, and nothing ten years")]
    Time {
        /// What was given.
        found: Duration,
    },
    /// In an emergency the version would be dropped while a silent signer may still use it.
    #[error(
        "an emergency bound of {found:?} would refuse calls: lease, message age and clock skew need {needed:?}"
    )]
    EmergencyTooShort {
        /// What was given.
        found: Duration,
        /// The least there is.
        needed: Duration,
    },
    /// An overlap would end while a silent signer may still use the old version.
    #[error(
        "an overlap of {found:?} would refuse calls: lease, message age and clock skew need {needed:?}"
    )]
    OverlapTooShort {
        /// What was given.
        found: Duration,
        /// The least there is.
        needed: Duration,
    },
    /// Too few versions for active, retiring and standby, or more than a ring holds.
    #[error("{found} versions at once; 3 to {MAX_RING_VERSIONS} are possible")]
    Versions {
        /// What was given.
        found: usize,
    },
}

impl Policy {
    /// Begins with: messages 5 minutes old at most, clocks 60 seconds apart at most, leases of 10
    /// minutes, an emergency bound of 20 minutes, no end to an overlap but proof, 4 versions at once, a
    /// standby always.
    pub fn builder() -> PolicyBuilder {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        PolicyBuilder {
            policy: Self {
                max_message_age: minutes(5),
                skew: minutes(1),
                lease: minutes(10),
                emergency: minutes(20),
                overlap: None,
                versions: 4,
                standby: Standby::Kept,
            },
        }
    }

    /// How old a message may be when it arrives, queues and retries included.
    pub fn max_message_age(&self) -> Duration {
        self.max_message_age
    }

    /// How far apart two clocks may be.
    pub fn skew(&self) -> Duration {
        self.skew
    }

    /// How long a member acts without hearing from the issuer.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// T: how long after an emergency swap the compromised version is dropped by all verifiers.
    pub fn emergency(&self) -> Duration {
        self.emergency
    }

    /// After how long a version that was replaced is dropped, proof or not.
    pub fn overlap(&self) -> Option<Duration> {
        self.overlap
    }

    /// How many versions there are at once, at most.
    pub fn versions(&self) -> usize {
        self.versions
    }

    /// Whether a standby is kept.
    pub fn standby(&self) -> Standby {
        self.standby
    }

    /// After the last signer moved on, how long messages made with the old version may still arrive:
    /// message age, twice the skew, and a second because times are whole seconds.
    pub fn quiet(&self) -> Duration {
        self.max_message_age + self.skew * 2 + ROUNDING
    }

    /// How long after a deadline by the issuer's clock it has passed by every clock.
    pub fn past_every_clock(&self) -> Duration {
        self.skew + ROUNDING
    }

    /// The least time after which a version may be dropped without proof: by then a signer that heard
    /// nothing has stopped by its lease, and its last messages have arrived.
    pub fn least_deadline(&self) -> Duration {
        self.lease + self.quiet()
    }
}

impl PolicyBuilder {
    /// How old a message may be when it arrives. Verifiers must refuse older ones by their own check.
    pub const fn with_max_message_age(mut self, age: Duration) -> Self {
        self.policy.max_message_age = age;
        self
    }

    /// How far apart two clocks may be.
    pub const fn with_skew(mut self, skew: Duration) -> Self {
        self.policy.skew = skew;
        self
    }

    /// How long a member acts without hearing from the issuer: whole seconds, at least one.
    pub const fn with_lease(mut self, lease: Duration) -> Self {
        self.policy.lease = lease;
        self
    }

    /// T, see [`Policy::emergency`].
    pub const fn with_emergency(mut self, bound: Duration) -> Self {
        self.policy.emergency = bound;
        self
    }

    /// Drops a version that was replaced after `overlap`, proof or not. Signers that hear nothing are
    /// stopped by their lease before.
    pub const fn with_overlap_at_most(mut self, overlap: Duration) -> Self {
        self.policy.overlap = Some(overlap);
        self
    }

    /// How many versions there are at once, at most: 3 to [`MAX_RING_VERSIONS`].
    pub const fn with_versions_at_most(mut self, versions: usize) -> Self {
        self.policy.versions = versions;
        self
    }

    /// Whether a standby is kept.
    pub const fn with_standby(mut self, standby: Standby) -> Self {
        self.policy.standby = standby;
        self
    }

    /// Checks that all fits together.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn build(self) -> Result<Policy, PolicyError> {
        let policy = self.policy;
        let times = [
            Some(policy.max_message_age),
            Some(policy.skew),
            Some(policy.lease),
            Some(policy.emergency),
            policy.overlap,
        ];
        if let Some(found) = times.into_iter().flatten().find(|time| *time > LONGEST) {
            return Err(PolicyError::Time { found });
        }
        if policy.lease < ROUNDING {
            let found = policy.lease;
            return Err(PolicyError::Time { found });
        }
        if !(3..=MAX_RING_VERSIONS).contains(&policy.versions) {
            let found = policy.versions;
            return Err(PolicyError::Versions { found });
        }
        let needed = policy.least_deadline();
        if policy.emergency < needed {
            let found = policy.emergency;
            return Err(PolicyError::EmergencyTooShort { found, needed });
        }
        match policy.overlap {
            Some(found) if found < needed => Err(PolicyError::OverlapTooShort { found, needed }),
            _ => Ok(policy),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "messages up to {:?} old, clocks up to {:?} apart; a replaced version is retired {:?} after \
             the last signer moved; a silent member stops after {:?}; a compromised version is refused \
             everywhere after {:?}",
            self.max_message_age,
            self.skew,
            self.quiet(),
            self.lease,
            self.emergency + self.past_every_clock(),
        )
    }
}
