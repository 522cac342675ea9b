//! A machine that shares the secret: it adopts rings, proves that it holds them, and signs or verifies.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use m2m_crypto::{AeadAlgorithm, AeadKey, SystemRandom};
use m2m_secrets::{
    LeaseGrant, Member, MemberName, Membership, Ring, RingDelivery, Role, SecretName,
};
use m2m_types::{Clock, Live, SystemClock, Timestamp};

use crate::Outcome;
use crate::hex::{from_hex, to_hex};

pub(crate) struct Machine {
    pub(crate) name: MemberName,
    pub(crate) role: Role,
    /// Shared with the issuer for the delivery of rings.
    pub(crate) key: AeadKey,
    clock: SystemClock,
    record: PathBuf,
    member: Mutex<Member>,
    ring: Live<Option<Ring>>,
}

impl Machine {
    pub(crate) fn new(
        name: &str,
        secret: &SecretName,
        role: Role,
        directory: &std::path::Path,
    ) -> Outcome<Self> {
        let record = directory.join(name.replace('/', "-"));
        let name = MemberName::new(name)?;
        let membership = Membership::new(name.clone(), secret.clone(), role);
        Ok(Self {
            name,
            role,
            key: AeadKey::generate(AeadAlgorithm::Aes256Gcm, &SystemRandom)?,
            clock: SystemClock::new(),
            record,
            member: Mutex::new(Member::new(membership, Vec::new())?),
            ring: Live::new(None),
        })
    }

    pub(crate) fn now(&self) -> Outcome<Timestamp> {
        Ok(self.clock.now()?)
    }

    /// A ring arrives: it is recorded, as it came sealed, before it is used.
    pub(crate) fn receive(&self, sealed: &[u8]) -> Outcome<()> {
        let delivery = RingDelivery::open(sealed, &self.name, &self.key);
        let delivery = delivery.ok_or("a ring that is not for this machine")?;
        let now = self.now()?;
        let mut member = self.member();
        let adoption = member.consider(delivery, now)?;
        let next = self.record.with_extension("next");
        std::fs::write(&next, sealed)?;
        std::fs::File::open(&next)?.sync_all()?;
        std::fs::rename(&next, &self.record)?;
        member.adopt(adoption, now)?;
        self.ring.store(Some(member.ring()?));
        Ok(())
    }

    /// What this machine puts beside its ordinary traffic.
    pub(crate) fn acknowledgement(&self) -> Outcome<String> {
        let acknowledgement = self.member().acknowledge(self.now()?);
        Ok(to_hex(&acknowledgement.ok_or("no ring yet")?.to_bytes()))
    }

    pub(crate) fn granted(&self, grant: &LeaseGrant) -> Outcome<()> {
        Ok(self.member().granted(grant)?)
    }

    /// Key id, time and tag for a request with this body.
    pub(crate) fn sign(&self, body: &[u8]) -> Outcome<[String; 3]> {
        let now = self.now()?;
        let ring = self.ring.load();
        let ring = ring.as_ref().ok_or("no ring yet")?;
        let sent = now.unix_seconds().to_string();
        let mut tag = [0; 32];
        let signed = ring.sign(&message(&sent, body), &mut tag, now)?;
        Ok([signed.key_id().to_string(), sent, to_hex(&tag)])
    }

    /// Whether a request is authentic and young enough.
    pub(crate) fn verify(&self, [key_id, sent, tag]: [&str; 3], body: &[u8]) -> Outcome<()> {
        let now = self.now()?;
        let ring = self.ring.load();
        let ring = ring.as_ref().ok_or("no ring yet")?;
        let tag = from_hex(tag).ok_or("no tag")?;
        ring.verify(key_id, &message(sent, body), &tag, now)?;
        let sent = Timestamp::from_unix_seconds(sent.parse()?)?;
        let age = now.checked_since(sent).unwrap_or_default();
        match age <= crate::MAX_MESSAGE_AGE {
            true => Ok(()),
            false => Err(format!("the request is {age:?} old").into()),
        }
    }

    fn member(&self) -> MutexGuard<'_, Member> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time has digits only, so where it ends is plain.
fn message(sent: &str, body: &[u8]) -> Vec<u8> {
    [sent.as_bytes(), b"\n", body].concat()
}
