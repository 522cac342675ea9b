//! How large the world is, and what may happen in it how often.

use std::time::Duration;

use m2m_crypto::SecretBytes;
use m2m_secrets::{
    Keyring, MemberName, Mutation, Policy, Role, SecretName, SecretVersion, SharedSecret,
};
use m2m_types::Timestamp;

/// When the world begins.
const BEGINNING: u64 = 1_000;

/// One machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) role: Role,
    /// How far its clock is off, in seconds.
    pub(crate) off_by: i64,
    /// Whether it is there from the beginning or joins later.
    pub(crate) joins_later: bool,
}

/// How often something may happen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Members that crash and recover from what they recorded.
    pub(crate) crashes: u8,
    /// The issuer crashes between recording and publishing.
    pub(crate) issuer_crashes: u8,
    /// Acknowledgements that come later than others.
    pub(crate) letters: u8,
    /// Messages made with the secret.
    pub(crate) messages: u8,
    pub(crate) emergencies: u8,
    pub(crate) removals: u8,
    /// Rotations past members that are silent.
    pub(crate) repairs: u8,
    /// Rotations that end an overlap.
    pub(crate) forced: u8,
    pub(crate) aborts: u8,
    /// Versions after the first.
    pub(crate) versions: u8,
    /// Seconds.
    pub(crate) ticks: u8,
}

/// One world to explore.
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    pub(crate) seats: Vec<Seat>,
    pub(crate) budget: Budget,
    pub(crate) policy: Policy,
    pub(crate) mutation: Mutation,
    /// Whether publishing is a step of its own.
    pub(crate) publishing_takes_time: bool,
    /// Whether leases are renewed; else those of the beginning last for ever.
    pub(crate) leases_end: bool,
    pub(crate) keyring: Keyring,
}

impl Seat {
    pub(crate) fn signer() -> Self {
        Self {
            role: Role::Signer,
            off_by: 0,
            joins_later: false,
        }
    }

    pub(crate) fn verifier() -> Self {
        Self {
            role: Role::Verifier,
            ..Self::signer()
        }
    }

    pub(crate) fn later(self) -> Self {
        Self {
            joins_later: true,
            ..self
        }
    }

    pub(crate) fn off_by(self, off_by: i64) -> Self {
        Self { off_by, ..self }
    }
}

impl Scope {
    /// Messages live `age` seconds, clocks differ by up to `skew`, leases last `lease`.
    pub(crate) fn new(
        name: &'static str,
        seats: Vec<Seat>,
        budget: Budget,
        times: [u64; 3],
    ) -> Self {
        let [age, skew, lease] = times.map(Duration::from_secs);
        let deadline = lease + age + skew * 2 + Duration::from_secs(1);
        let policy = Policy::builder()
            .with_max_message_age(age)
            .with_skew(skew)
            .with_lease(lease)
            .with_emergency(deadline)
            .build()
            .unwrap();
        let mut keyring = Keyring::new(secret_name());
        for number in 1..=budget.versions + 1 {
            let bytes: Vec<u8> = (0..32_u8).map(|byte| byte * 7 + number).collect();
            let secret = SharedSecret::new(SecretBytes::new(bytes)).unwrap();
            let version = SecretVersion::new(number.into()).unwrap();
            keyring.insert(version, secret).unwrap();
        }
        Self {
            name,
            seats,
            budget,
            policy,
            mutation: Mutation::None,
            publishing_takes_time: false,
            leases_end: lease < Duration::from_secs(100),
            keyring,
        }
    }

    pub(crate) fn with_mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = mutation;
        self
    }

    pub(crate) fn with_slow_publishing(mut self) -> Self {
        self.publishing_takes_time = true;
        self
    }

    /// What the issuer's clock says after `ticks` seconds.
    pub(crate) fn time(&self, ticks: u8) -> Timestamp {
        Timestamp::from_unix_seconds(BEGINNING + u64::from(ticks)).unwrap()
    }

    /// What the clock of a seat says then.
    pub(crate) fn time_at(&self, seat: usize, ticks: u8) -> Timestamp {
        let seconds = self.time(ticks).unix_seconds();
        let shifted = seconds.saturating_add_signed(self.seats[seat].off_by);
        Timestamp::from_unix_seconds(shifted).unwrap()
    }
}

pub(crate) fn secret_name() -> SecretName {
    SecretName::new("billing").unwrap()
}

pub(crate) fn member_name(seat: usize) -> MemberName {
    MemberName::new(&format!("prod/{seat}")).unwrap()
}
