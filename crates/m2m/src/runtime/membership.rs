//! `Membership`: our own certificate, kept and renewed; whom we trust and what is revoked, followed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use m2m_crypto::SecureRandom;
use m2m_guard::Freshness;
use m2m_pki::tls::{Identity, LiveTls, Material};
use m2m_pki::{
    Certificate, CrlSet, PublicKey, RenewalPlan, RevocationRule, TrustBundle, TrustBundles,
    UnverifiedCsr,
};
use m2m_store::{Reason, Revision};
use m2m_token::KeySet;
use m2m_types::{Clock, Live, ServiceId, Timestamp};
use tokio::sync::{Mutex, watch};

use super::authority::{KeyAndChain, PublishedCrl, new_request};
use super::error::RuntimeError;
use super::issuer::Issuer;
use super::log::{Log, LogEvent};
use super::records::{Records, RecordsError};
use super::remote::{self, RemoteIssuer};

const SPACE: &str = "runtime-identity";
/// A certificate with less than this left of its life is not begun with.
const LEAST_LEFT: Duration = Duration::from_secs(60);

/// Where the issuer is.
pub(super) enum Link {
    /// In this process.
    Here(Arc<Issuer>),
    /// In another one.
    There(Box<RemoteIssuer>),
}

/// How we belong to a trust domain.
pub(super) struct Membership {
    service: ServiceId,
    link: Link,
    records: Records,
    clock: Arc<dyn Clock>,
    tls: LiveTls,
    /// The version of the record of our identity; who renews it holds this.
    kept: Mutex<Revision>,
    /// Tokens that an issuer elsewhere gave us, by audience, and until when they are used.
    tokens: std::sync::Mutex<HashMap<ServiceId, (Arc<str>, Timestamp)>>,
}

/// How many audiences are remembered. Whoever calls more asks more often.
const MAX_TOKENS: usize = 1024;

impl Link {
    pub(super) fn iss(&self) -> &str {
        match self {
            Self::Here(issuer) => issuer.url(),
            Self::There(issuer) => issuer.iss(),
        }
    }

    pub(super) fn service_id(&self) -> &ServiceId {
        match self {
            Self::Here(issuer) => issuer.service_id(),
            Self::There(issuer) => issuer.service_id(),
        }
    }

    fn root(&self) -> &Certificate {
        match self {
            Self::Here(issuer) => issuer.authority().certificate(),
            Self::There(issuer) => issuer.root(),
        }
    }

    fn bundle(&self) -> TrustBundle {
        match self {
            Self::Here(issuer) => issuer.authority().bundle(),
            Self::There(issuer) => issuer.bundle(),
        }
    }

    fn crl(&self) -> PublishedCrl {
        match self {
            Self::Here(issuer) => issuer.authority().crl(),
            Self::There(issuer) => issuer.crl().borrow().clone(),
        }
    }

    pub(super) fn follow_crl(&self) -> watch::Receiver<PublishedCrl> {
        match self {
            Self::Here(issuer) => issuer.authority().follow_crl(),
            Self::There(issuer) => issuer.crl().subscribe(),
        }
    }

    /// How old the CRL may be, besides what it says of itself.
    pub(super) fn crl_freshness(&self) -> Freshness {
        match self {
            Self::Here(_) => Freshness::in_process(),
            Self::There(issuer) => {
                Freshness::confirmed_within(remote::UNCONFIRMED, issuer.crl_confirmed())
            }
        }
    }

    /// The keys that tokens are signed with.
    pub(super) fn keys(&self) -> Arc<Live<KeySet>> {
        match self {
            Self::Here(issuer) => issuer.signing_keys().verifying_keys(),
            Self::There(issuer) => issuer.keys(),
        }
    }

    /// How old they may be.
    pub(super) fn keys_freshness(&self) -> Freshness {
        match self {
            Self::Here(_) => Freshness::in_process(),
            Self::There(issuer) => {
                Freshness::confirmed_within(remote::UNCONFIRMED, issuer.keys_confirmed())
            }
        }
    }
}

impl Membership {
    /// Where our own key and chain are kept.
    pub(super) fn place() -> Result<m2m_store::Key, RecordsError> {
        Records::key(SPACE, b"own")
    }

    /// Begins with the certificate that is kept, if it is good for a while, or with a new one, which only an
    /// issuer of this process gives at once.
    pub(super) async fn open(
        service: ServiceId,
        link: Link,
        records: Records,
        clock: Arc<dyn Clock>,
        log: Log,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let now = clock.now()?;
        let record = records.read(SPACE, b"own").await?;
        let kept = record.as_ref().map(decode).transpose()?;
        let version = record.map(|record| record.version());
        let (own, version) = match (kept, version, &link) {
            (Some(own), Some(version), _) if is_good(&own, &service, &link, now) => (own, version),
            (_, version, Link::Here(issuer)) => {
                let own = issue(issuer, &service, now, random).await?;
                let value = own.to_value();
                (
                    own,
                    records.write(SPACE, b"own", version, value, random).await?,
                )
            }
            _ => {
                return Err(RuntimeError::Tls {
                    reason: Reason::new(
                        "our certificate has expired or is revoked; another invitation is needed",
                    ),
                });
            }
        };
        let bundles = TrustBundles::new().with(link.bundle());
        let crls = CrlSet::new().with(link.crl().index);
        let crls = crls.map_err(RuntimeError::tls)?;
        let material = Material::new(identity(own)?, bundles, crls);
        let tls = LiveTls::builder(material, RevocationRule::strict(), Arc::clone(&clock))
            .with_alpn(&[b"h2", b"http/1.1"])
            .with_observer(move |event| log.tell(&LogEvent::Tls(event)))
            .build();
        Ok(Self {
            service,
            link,
            records,
            clock,
            tls: tls.map_err(RuntimeError::tls)?,
            kept: Mutex::new(version),
            tokens: std::sync::Mutex::default(),
        })
    }

    /// Whether what is kept is good for a while, by an issuer that was joined.
    pub(super) async fn is_kept(
        records: &Records,
        service: &ServiceId,
        issuer: &RemoteIssuer,
        now: Timestamp,
    ) -> Result<bool, RuntimeError> {
        let kept = records.read(SPACE, b"own").await?;
        let kept = kept.as_ref().map(decode).transpose()?;
        let (root, crl) = (issuer.root(), issuer.crl().borrow().clone());
        Ok(kept.is_some_and(|own| is_good_by(&own, service, (root, &crl), now)))
    }

    pub(super) fn tls(&self) -> &LiveTls {
        &self.tls
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The issuer, if it is in this process.
    pub(super) fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &self.link {
            Link::Here(issuer) => Some(issuer),
            Link::There(_) => None,
        }
    }

    /// Renews our certificate if it is time to, and says when to come again.
    pub(super) async fn step(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RuntimeError> {
        let due = self.renew_at();
        if now < due {
            return Ok(due);
        }
        self.renew(now, random).await?;
        Ok(self.renew_at())
    }

    /// Gets another certificate, with another key: kept, and only then used. Connections that are open stay.
    async fn renew(&self, now: Timestamp, random: &dyn SecureRandom) -> Result<(), RuntimeError> {
        let mut kept = self.kept.lock().await;
        let own = match &self.link {
            Link::Here(issuer) => issue(issuer, &self.service, now, random).await?,
            Link::There(issuer) => issuer.renew(&self.tls, random).await?,
        };
        if !is_good(&own, &self.service, &self.link, now) {
            return Err(RuntimeError::Tls {
                reason: Reason::new("the new certificate is not ours, or not good"),
            });
        }
        let value = own.to_value();
        *kept = self
            .records
            .write(SPACE, b"own", Some(*kept), value, random)
            .await?;
        let identity = identity(own)?;
        let updated = self.tls.update(|material| {
            material.set_identity(identity);
            Ok(())
        });
        updated.map_err(RuntimeError::tls)?;
        // They are bound to the old one.
        self.lock_tokens().clear();
        Ok(())
    }

    fn renew_at(&self) -> Timestamp {
        let material = self.tls.material();
        RenewalPlan::of(material.identity().certificate(), "").moment()
    }

    /// Fetches the newest CRL where the issuer is elsewhere, and goes by the newest that there is.
    pub(super) async fn step_crl(&self, random: &dyn SecureRandom) -> Result<(), RuntimeError> {
        let fetched = match &self.link {
            Link::Here(_) => Ok(()),
            Link::There(issuer) => issuer.fetch_crl(&self.tls, &*self.clock, random).await,
        };
        // Also if there should be a newer one.
        self.adopt(&self.link.crl())?;
        fetched
    }

    /// Fetches the keys of an issuer elsewhere if it is time to, and says when the next time is.
    pub(super) async fn step_keys(&self, now: Timestamp) -> Result<Timestamp, RuntimeError> {
        match &self.link {
            Link::Here(_) => Ok(now.saturating_add(Duration::from_secs(3600))),
            Link::There(issuer) => issuer.fetch_keys(&self.tls, &*self.clock).await,
        }
    }

    /// Goes by this CRL from now on. Connections of who is on it are closed when this returns.
    fn adopt(&self, crl: &PublishedCrl) -> Result<(), RuntimeError> {
        let held = self.tls.material();
        if held.crls().crls().any(|one| Arc::ptr_eq(one, &crl.index)) {
            return Ok(());
        }
        let index = Arc::clone(&crl.index);
        let updated = self.tls.update(move |material| material.set_crl(index));
        updated.map(drop).map_err(RuntimeError::tls)
    }

    /// A token for `audience`, bound to our certificate. Those of an issuer elsewhere are used for two
    /// thirds of their lives.
    pub(super) async fn token(
        &self,
        audience: &ServiceId,
        random: &dyn SecureRandom,
    ) -> Result<Arc<str>, RuntimeError> {
        let now = self.clock.now()?;
        let issuer = match &self.link {
            Link::Here(issuer) => {
                let material = self.tls.material();
                let bound = *material.identity().certificate().thumbprint();
                let token = issuer.token(&self.service, audience, bound, now, random)?;
                return Ok(token.into());
            }
            Link::There(issuer) => issuer,
        };
        if let Some((token, until)) = self.lock_tokens().get(audience)
            && now < *until
        {
            return Ok(Arc::clone(token));
        }
        let (token, lifetime) = issuer.token(&self.tls, audience).await?;
        let token: Arc<str> = token.into();
        let until = now.saturating_add(lifetime / 3 * 2);
        let mut tokens = self.lock_tokens();
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(audience.clone(), (Arc::clone(&token), until));
        Ok(token)
    }

    fn lock_tokens(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceId, (Arc<str>, Timestamp)>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode(record: &m2m_store::Record) -> Result<KeyAndChain, RecordsError> {
    let decoded = KeyAndChain::decode(record.value().as_bytes());
    decoded.ok_or_else(|| RecordsError::damaged(SPACE, "own"))
}

/// Whether a certificate is ours, of this issuer, good for a while, and not revoked. Asked before one is
/// kept, so that what is kept can be used.
fn is_good(own: &KeyAndChain, service: &ServiceId, link: &Link, now: Timestamp) -> bool {
    is_good_by(own, service, (link.root(), &link.crl()), now)
}

pub(super) fn is_good_by(
    own: &KeyAndChain,
    service: &ServiceId,
    (root, crl): (&Certificate, &PublishedCrl),
    now: Timestamp,
) -> bool {
    let Some(leaf) = own.chain.first() else {
        return false;
    };
    let is_listed = crl.index.find(leaf.serial().as_bytes());
    leaf.service_id().is_ok_and(|name| name == *service)
        && PublicKey::of(&own.key).is_ok_and(|key| leaf.public_key() == Ok(key))
        && leaf.issuer_der() == root.subject_der()
        && root.public_key().is_ok_and(|key| leaf.is_signed_by(&key))
        && leaf.is_valid_at(now)
        && leaf.is_valid_at(now.saturating_add(LEAST_LEFT))
        && matches!(is_listed, Ok(None))
}

/// A new key, and a certificate for it from the issuer of this process.
async fn issue(
    issuer: &Issuer,
    service: &ServiceId,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<KeyAndChain, RuntimeError> {
    let (key, csr) = new_request(random)?;
    let csr = UnverifiedCsr::from_der(&csr).and_then(UnverifiedCsr::verify);
    let csr = csr.map_err(RuntimeError::authority)?;
    let leaf = issuer.authority().issue(csr, service, now, random).await?;
    Ok(KeyAndChain {
        key,
        chain: vec![leaf],
    })
}

fn identity(own: KeyAndChain) -> Result<Identity, RuntimeError> {
    Identity::new(own.chain, own.key).map_err(RuntimeError::tls)
}
