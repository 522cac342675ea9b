//! An issuer, a signer and a verifier that all hear each other.
#![allow(dead_code)] // each test uses a part

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    Advice, Applied, Command, CommandError, CommandId, FencingToken, Keyring, Member, MemberName,
    Membership, Order, Overlap, Policy, Reach, Ring, RingDelivery, RingSignError, Role, Rotation,
    SecretName, SecretVersion, SharedSecret, Stage,
};
use m2m_types::{Live, Timestamp};

pub(crate) struct Fleet {
    pub(crate) rotation: Rotation,
    pub(crate) keyring: Keyring,
    pub(crate) signer: Member,
    pub(crate) verifier: Member,
    pub(crate) now: Timestamp,
    orders: u128,
}

pub(crate) fn name() -> SecretName {
    SecretName::new("billing").unwrap()
}

pub(crate) fn member(name: &str) -> MemberName {
    MemberName::new(name).unwrap()
}

pub(crate) fn version(number: u64) -> SecretVersion {
    SecretVersion::new(number).unwrap()
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::with_policy(Policy::builder().build().unwrap())
    }

    pub(crate) fn with_policy(policy: Policy) -> Self {
        let now = Timestamp::from_unix_seconds(1_700_000_000).unwrap();
        let of = |who: &str, role| {
            Member::new(Membership::new(member(who), name(), role), Vec::new()).unwrap()
        };
        let mut fleet = Self {
            rotation: Rotation::begin(name(), policy, FencingToken::FIRST, now),
            keyring: Keyring::new(name()),
            signer: of("prod/signer", Role::Signer),
            verifier: of("prod/verifier", Role::Verifier),
            now,
            orders: 0,
        };
        fleet.draw(SecretVersion::FIRST);
        for (who, role) in [
            ("prod/signer", Role::Signer),
            ("prod/verifier", Role::Verifier),
        ] {
            let register = Command::Register {
                member: member(who),
                role,
                reach: Reach::Acknowledges,
            };
            fleet.order(register).unwrap();
        }
        fleet.distribute();
        fleet
    }

    fn draw(&mut self, version: SecretVersion) {
        let secret = SharedSecret::generate(&SystemRandom).unwrap();
        self.keyring.insert(version, secret).unwrap();
    }

    pub(crate) fn next_order(&mut self) -> Order {
        self.orders += 1;
        Order {
            id: CommandId::from_bytes(self.orders.to_be_bytes()),
            token: self.rotation.token(),
            now: self.now,
        }
    }

    pub(crate) fn order(&mut self, command: Command) -> Result<Applied, CommandError> {
        let order = self.next_order();
        self.rotation.apply(&order, command)
    }

    /// Everybody gets the newest ring, and acknowledges it.
    pub(crate) fn distribute(&mut self) {
        for member in [&mut self.signer, &mut self.verifier] {
            let role = member.membership().role();
            let ring = self.rotation.ring();
            let delivery = RingDelivery::new(ring, &self.keyring, role).unwrap();
            if let Ok(adoption) = member.consider(delivery, self.now) {
                member.adopt(adoption, self.now).unwrap();
            }
        }
        self.talk();
    }

    pub(crate) fn talk(&mut self) {
        for member in [&mut self.signer, &mut self.verifier] {
            let acknowledgement = member.acknowledge(self.now).unwrap();
            let heard = self
                .rotation
                .hear(&acknowledgement, &self.keyring, self.now);
            if let Some(grant) = heard.unwrap().grant() {
                member.granted(grant).unwrap();
            }
        }
    }

    /// A new version that everybody accepts.
    pub(crate) fn stage(&mut self) {
        if self.order(Command::Draft).is_err() {
            return;
        }
        let version = self.rotation.draft().unwrap();
        self.draw(version);
        match self.order(Command::Stage { version }) {
            Ok(_) => self.distribute(),
            Err(_) => drop(self.order(Command::Abort { version }).unwrap()),
        }
    }

    pub(crate) fn activate(&mut self, overlap: Overlap) {
        let Some(version) = self.rotation.standby(self.now) else {
            return;
        };
        let _ = self.order(Command::Activate { version, overlap });
        self.distribute();
    }

    pub(crate) fn retire_what_can_be(&mut self) {
        for advice in self.rotation.advice(self.now) {
            if let Advice::Retire(version) = advice {
                let certificate = self.rotation.can_retire(version, self.now).unwrap();
                let _ = self.order(Command::Retire(certificate)).unwrap();
                self.distribute();
            }
        }
    }

    /// A call from the signer that the verifier's `ring` must accept.
    pub(crate) fn call(&self, ring: &Live<Ring>) -> Result<(), RingSignError> {
        let mut tag = [0; 32];
        let signer = self.signer.ring().unwrap();
        let signed = signer.sign(b"message", &mut tag, self.now)?;
        let key_id = signed.key_id().as_str();
        ring.load()
            .verify(key_id, b"message", &tag, self.now)
            .unwrap();
        Ok(())
    }

    pub(crate) fn accepted(&self) -> Vec<u64> {
        let ring = self.verifier.ring().unwrap();
        let accepted = ring.accepted(self.now).unwrap();
        let mut numbers: Vec<u64> = accepted.map(|held| held.version().number()).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn stage_of(&self, number: u64) -> Option<Stage> {
        self.rotation.stage(version(number), self.now)
    }
}
