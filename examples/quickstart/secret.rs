//! The secret that orders and billing share, at the issuer: which version signs, which are taken, and who
//! has proved to hold which.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{AeadKey, SystemRandom};
use m2m_secrets::{
    Acknowledgement, Command, CommandId, FencingToken, MemberName, Order, Overlap, Policy, Reach,
    RetireCertificate, Role, Rotation, SecretName, SecretVersion, StoredRotation,
    StoredRotationError,
};
use m2m_store::Store;
use m2m_types::{Clock, SystemClock};

use crate::Outcome;
use crate::hex::{from_hex, to_hex};

/// How old a signed request may be: much older than one gets, also on a machine that is busy. An old version
/// is retired that long after the last request that it signed, which is what the program waits for longest.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(12);

pub(crate) struct Keeper {
    rotation: StoredRotation,
    clock: Arc<SystemClock>,
    members: Vec<Party>,
    orders: u128,
}

/// Who shares the secret.
struct Party {
    name: MemberName,
    role: Role,
    key: Arc<AeadKey>,
}

/// What a member is sent for its acknowledgement, in hexadecimal digits.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) ring: Option<String>,
    pub(crate) grant: Option<String>,
}

impl Keeper {
    pub(crate) async fn begin(
        store: Arc<dyn Store>,
        secret: &SecretName,
        clock: Arc<SystemClock>,
    ) -> Outcome<Self> {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let policy = Policy::builder()
            .with_max_message_age(MAX_AGE)
            .with_skew(Duration::ZERO) // one machine, one clock
            .with_lease(minutes(10))
            .with_emergency(minutes(20))
            .build()?;
        let (id, now) = (CommandId::from_bytes([0; 16]), clock.now()?);
        let rotation = StoredRotation::begin(store, secret, policy, id, now, &SystemRandom).await?;
        Ok(Self {
            rotation,
            clock,
            members: Vec::new(),
            orders: 0,
        })
    }

    pub(crate) fn state(&self) -> &Rotation {
        self.rotation.rotation()
    }

    /// `name` shares the secret from now on. Its rings are sealed with `key`.
    pub(crate) async fn register(
        &mut self,
        name: &MemberName,
        role: Role,
        key: Arc<AeadKey>,
    ) -> Outcome<()> {
        self.order(Command::Register {
            member: name.clone(),
            role,
            reach: Reach::Acknowledges,
        })
        .await?;
        let name = name.clone();
        self.members.push(Party { name, role, key });
        Ok(())
    }

    /// Gives an order, which is recorded when this returns.
    async fn order(&mut self, command: Command) -> Outcome<()> {
        self.orders += 1;
        let order = Order {
            id: CommandId::from_bytes(self.orders.to_be_bytes()),
            token: FencingToken::FIRST,
            now: self.clock.now()?,
        };
        self.rotation.order(&order, command, &SystemRandom).await?;
        Ok(())
    }

    /// `member` says what it holds, and proves it; or that it holds nothing yet.
    pub(crate) async fn hear(&mut self, member: &str, held: Option<&str>) -> Outcome<Reply> {
        let mut members = self.members.iter();
        let Some(party) = members.find(|party| party.name.as_str() == member) else {
            return Ok(Reply::default());
        };
        let mut grant = None;
        if let Some(held) = held {
            let held = from_hex(held)
                .as_deref()
                .and_then(Acknowledgement::from_bytes);
            let held = held.ok_or("no acknowledgement")?;
            if held.member() != &party.name {
                return Err("an acknowledgement of somebody else".into());
            }
            let now = self.clock.now()?;
            match self.rotation.hear(&held, now, &SystemRandom).await {
                Ok(heard) => grant = heard.grant().map(|grant| to_hex(&grant.to_bytes())),
                // One of an older ring may no longer be checked. The newest is sent below.
                Err(StoredRotationError::Hear(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let newest = self.state().ring().epoch();
        let ring = match held.is_some() && self.state().acknowledged(&party.name) == Some(newest) {
            true => None,
            false => {
                let delivery = self.rotation.delivery(party.role);
                let delivery = delivery.ok_or("a secret is missing")?;
                Some(to_hex(&delivery.seal(
                    &party.name,
                    &party.key,
                    &SystemRandom,
                )?))
            }
        };
        Ok(Reply { ring, grant })
    }

    /// Draws the next version, and has verifiers accept it. [`None`] if one is there already.
    pub(crate) async fn stage(&mut self) -> Outcome<Option<SecretVersion>> {
        if self.standby()?.is_some() {
            return Ok(None);
        }
        self.order(Command::Draft).await?;
        let version = self.state().draft().ok_or("nothing was drafted")?;
        self.order(Command::Stage { version }).await?;
        Ok(Some(version))
    }

    /// A version that every verifier has proved to accept.
    pub(crate) fn standby(&self) -> Outcome<Option<SecretVersion>> {
        Ok(self.state().standby(self.clock.now()?))
    }

    /// Has signers sign with `version`. Gives the one that retires.
    pub(crate) async fn activate(&mut self, version: SecretVersion) -> Outcome<SecretVersion> {
        let old = self.state().ring().sign();
        let overlap = Overlap::Refuse;
        self.order(Command::Activate { version, overlap }).await?;
        Ok(old)
    }

    /// The proof that nobody uses `version` any more, or what is in its way.
    pub(crate) fn certificate(
        &self,
        version: SecretVersion,
    ) -> Outcome<Result<RetireCertificate, String>> {
        let certificate = self.state().can_retire(version, self.clock.now()?);
        Ok(certificate.map_err(|blockers| {
            let first = blockers.first();
            first.map(ToString::to_string).unwrap_or_default()
        }))
    }

    pub(crate) async fn retire(&mut self, certificate: RetireCertificate) -> Outcome<()> {
        self.order(Command::Retire(certificate)).await
    }
}
