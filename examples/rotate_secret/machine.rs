//! A machine that shares the secret: it adopts rings, proves that it holds them, and signs or verifies
//! requests.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use m2m_crypto::{AeadAlgorithm, AeadKey, SystemRandom};
use m2m_secrets::{
    LeaseGrant, Member, MemberName, Membership, ReplayMemory, RequestKey, RequestParts, Ring,
    RingDelivery, Role, SecretName, SecretVersion, TimeWindow, sign_request, verify_request,
};
use m2m_types::{Clock, Live, SystemClock, Timestamp};

use crate::hex::to_hex;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many requests are remembered, so that none is taken twice: more than come within the window.
const REMEMBERED: usize = 1 << 20;

pub(crate) struct Machine {
    pub(crate) name: MemberName,
    pub(crate) role: Role,
    /// Shared with the issuer for the delivery of rings.
    pub(crate) key: Arc<AeadKey>,
    clock: SystemClock,
    record: PathBuf,
    member: Mutex<Member>,
    ring: Live<Option<Ring<RequestKey>>>,
    memory: ReplayMemory,
}

impl Machine {
    /// Requests are at most `max_age` old; what it must remember lies in `directory`.
    pub(crate) fn new(
        name: &str,
        secret: &SecretName,
        role: Role,
        max_age: Duration,
        directory: &Path,
    ) -> Outcome<Self> {
        let record = directory.join(name.replace('/', "-"));
        let name = MemberName::new(name)?;
        let membership = Membership::new(name.clone(), secret.clone(), role);
        let window = TimeWindow::new(max_age, max_age)?;
        Ok(Self {
            name,
            role,
            key: Arc::new(AeadKey::generate(AeadAlgorithm::Aes256Gcm, &SystemRandom)?),
            clock: SystemClock::new(),
            record,
            member: Mutex::new(Member::new(membership, Vec::new())?),
            ring: Live::new(None),
            memory: ReplayMemory::new(REMEMBERED, window, &SystemRandom)?,
        })
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
        self.ring.store(Some(member.ring_with(RequestKey::derive)?));
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

    /// The header `m2m-signature` of a request.
    pub(crate) fn sign(&self, request: &RequestParts<'_>) -> Outcome<String> {
        let ring = self.ring.load();
        let ring = ring.as_ref().ok_or("no ring yet")?;
        Ok(sign_request(ring, request, self.now()?, &SystemRandom)?)
    }

    /// Whether a request is authentic, young enough and new; and by which version of the secret.
    pub(crate) fn verify(
        &self,
        header: &[u8],
        request: &RequestParts<'_>,
    ) -> Outcome<SecretVersion> {
        let ring = self.ring.load();
        let ring = ring.as_ref().ok_or("no ring yet")?;
        let verified = verify_request(ring, &self.memory, header, request, self.now()?)?;
        Ok(verified.version())
    }

    fn now(&self) -> Outcome<Timestamp> {
        Ok(self.clock.now()?)
    }

    fn member(&self) -> MutexGuard<'_, Member> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
