//! `Membership`: our own certificate, kept and renewed; whom we trust and what is revoked, followed.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::SecureRandom;
use m2m_pki::tls::{Identity, LiveTls, Material};
use m2m_pki::{Certificate, CrlSet, RenewalPlan, RevocationRule, TrustBundles, UnverifiedCsr};
use m2m_store::Revision;
use m2m_types::{Clock, ServiceId, Timestamp};
use tokio::sync::Mutex;

use super::authority::{KeyAndChain, PublishedCrl, new_request};
use super::error::RuntimeError;
use super::issuer::Issuer;
use super::log::{Log, LogEvent};
use super::records::{Records, RecordsError};

const SPACE: &str = "runtime-identity";
/// A certificate with less than this left of its life is not begun with.
const LEAST_LEFT: Duration = Duration::from_secs(60);

/// How we belong to a trust domain.
pub(super) struct Membership {
    service: ServiceId,
    issuer: Arc<Issuer>,
    records: Records,
    tls: LiveTls,
    /// The version of the record of our identity; who renews it holds this.
    kept: Mutex<Option<Revision>>,
}

impl Membership {
    /// Begins with the certificate that is kept, if it is good for a while, or with a new one.
    pub(super) async fn open(
        (service, issuer): (ServiceId, Arc<Issuer>),
        records: Records,
        clock: Arc<dyn Clock>,
        log: Log,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let now = clock.now()?;
        let (identity, version) = match kept(&records).await? {
            Some((kept, version)) => match is_good(&kept, &service, &issuer, now) {
                true => (identity(kept)?, Some(version)),
                false => renew(&records, &issuer, &service, Some(version), now, random).await?,
            },
            None => renew(&records, &issuer, &service, None, now, random).await?,
        };
        let authority = issuer.authority();
        let bundles = TrustBundles::new().with(authority.bundle());
        let crls = CrlSet::new().with(authority.crl().index);
        let material = Material::new(identity, bundles, crls.map_err(RuntimeError::tls)?);
        let tls = LiveTls::builder(material, RevocationRule::strict(), clock)
            .with_alpn(&[b"h2", b"http/1.1"])
            .with_observer(move |event| log.tell(&LogEvent::Tls(event)))
            .build();
        Ok(Self {
            service,
            issuer,
            records,
            tls: tls.map_err(RuntimeError::tls)?,
            kept: Mutex::new(version),
        })
    }

    pub(super) fn tls(&self) -> &LiveTls {
        &self.tls
    }

    pub(super) fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
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

    /// Gets another certificate now, with another key. Connections that are open stay.
    pub(super) async fn renew(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RuntimeError> {
        let mut kept = self.kept.lock().await;
        let (records, issuer, service) = (&self.records, &self.issuer, &self.service);
        let (identity, version) = renew(records, issuer, service, *kept, now, random).await?;
        *kept = version;
        let updated = self.tls.update(|material| {
            material.set_identity(identity);
            Ok(())
        });
        updated.map_err(RuntimeError::tls)?;
        Ok(())
    }

    fn renew_at(&self) -> Timestamp {
        let material = self.tls.material();
        RenewalPlan::of(material.identity().certificate(), "").moment()
    }

    /// Goes by this CRL from now on. Connections of who is on it are closed when this returns.
    pub(super) fn adopt(&self, crl: &PublishedCrl) -> Result<(), RuntimeError> {
        let held = self.tls.material();
        if held.crls().crls().any(|one| Arc::ptr_eq(one, &crl.index)) {
            return Ok(());
        }
        let index = Arc::clone(&crl.index);
        let updated = self.tls.update(move |material| material.set_crl(index));
        updated.map(drop).map_err(RuntimeError::tls)
    }
}

async fn kept(records: &Records) -> Result<Option<(KeyAndChain, Revision)>, RuntimeError> {
    let Some(record) = records.read(SPACE, b"own").await? else {
        return Ok(None);
    };
    let decoded = KeyAndChain::decode(record.value().as_bytes());
    let damaged = || RecordsError::damaged(SPACE, "own");
    Ok(Some((decoded.ok_or_else(damaged)?, record.version())))
}

/// Whether a kept certificate is ours, of this issuer, good for a while, and not revoked.
fn is_good(kept: &KeyAndChain, service: &ServiceId, issuer: &Issuer, now: Timestamp) -> bool {
    let Some(leaf) = kept.chain.first() else {
        return false;
    };
    let authority = issuer.authority();
    let is_listed = authority.crl().index.find(leaf.serial().as_bytes());
    leaf.service_id().is_ok_and(|name| name == *service)
        && leaf.issuer_der() == authority.certificate().subject_der()
        && leaf.is_valid_at(now)
        && leaf.is_valid_at(now.saturating_add(LEAST_LEFT))
        && matches!(is_listed, Ok(None))
}

/// A new key and a certificate for it: kept, and only then used.
async fn renew(
    records: &Records,
    issuer: &Issuer,
    service: &ServiceId,
    version: Option<Revision>,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(Identity, Option<Revision>), RuntimeError> {
    let (key, csr) = new_request(random)?;
    let csr = UnverifiedCsr::from_der(&csr).and_then(UnverifiedCsr::verify);
    let csr = csr.map_err(RuntimeError::authority)?;
    let authority = issuer.authority();
    let leaf = authority.issue(csr, service, now, random).await?;
    let chain: Vec<Certificate> = vec![leaf];
    let value = KeyAndChain::encode(&key, &chain);
    let written = records.write(SPACE, b"own", version, value, random).await?;
    Ok((identity(KeyAndChain { key, chain })?, Some(written)))
}

fn identity(kept: KeyAndChain) -> Result<Identity, RuntimeError> {
    Identity::new(kept.chain, kept.key).map_err(RuntimeError::tls)
}
