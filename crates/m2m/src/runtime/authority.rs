//! `CertificateAuthority`: one root, kept in the store, and everything it signs on record: certificates
//! before they are released, numbers of CRLs before anything is signed under them.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SecureRandom, SigningKey};
use m2m_pki::{
    Authority, Certificate, CertificateId, CrlIndex, CrlIssuer, CrlLimits, CrlPublisher, CrlSigner,
    CsrBuilder, Ledger, Operator, Profile, RenewalRequest, Revocation, RevocationReason, Revoker,
    Subject, TrustBundle, UnverifiedCrl, VerifiedCsr,
};
use m2m_revoke::Revocations;
use m2m_types::{ServiceId, Timestamp, TrustDomain};
use tokio::sync::{Mutex, watch};

use super::error::RuntimeError;
use super::records::{Records, RecordsError};

const SPACE: &str = "runtime-authority";
const DAY: Duration = Duration::from_secs(86_400);
/// The root's life. It is rolled over with `m2m_pki::Rollover`, which takes operators.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);
/// A CRL is made anew after half of this, so the authority may be away for the other half.
const CRL_LIFETIME: Duration = DAY;

/// A certificate authority whose state outlives its process.
pub struct CertificateAuthority {
    ledger: Ledger,
    authority: Authority,
    /// The same key once more: `authority` keeps its own to itself.
    crl_key: SigningKey,
    crl_issuer: CrlIssuer,
    domain: TrustDomain,
    lifetime: Duration,
    publisher: Mutex<CrlPublisher>,
    crl: watch::Sender<PublishedCrl>,
}

/// A CRL as it is published, and as it is asked.
#[derive(Clone)]
pub(super) struct PublishedCrl {
    pub(super) der: Arc<[u8]>,
    pub(super) index: Arc<CrlIndex>,
}

impl CertificateAuthority {
    /// Opens the authority of `domain`, or makes it, and publishes its first CRL of this life.
    pub(super) async fn open(
        records: &Records,
        domain: TrustDomain,
        lifetime: Duration,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let ledger = Ledger::new(Arc::clone(records.store()));
        let damaged = || RuntimeError::from(RecordsError::damaged(SPACE, "root"));
        let (certificate, key) = match records.read(SPACE, b"root").await? {
            Some(record) => KeyAndChain::decode(record.value().as_bytes())
                .and_then(KeyAndChain::into_one)
                .ok_or_else(damaged)?,
            None => create_root(records, &ledger, &domain, now, random).await?,
        };
        let crl_issuer =
            CrlIssuer::from_certificate(&certificate).map_err(RuntimeError::authority)?;
        let signer = CrlSigner::new(crl_issuer.clone(), key.verifying_key());
        let signer = signer.map_err(RuntimeError::authority)?;
        let crl_key = copy_of(&key)?;
        let authority = Authority::load(certificate, key).map_err(RuntimeError::authority)?;
        let publisher = CrlPublisher::open(ledger.clone(), signer, None, CRL_LIFETIME).await;
        let mut publisher = publisher.map_err(RuntimeError::authority)?;
        let first = publish(&mut publisher, &crl_key, &crl_issuer, now, random).await?;
        Ok(Self {
            ledger,
            authority,
            crl_key,
            crl_issuer,
            domain,
            lifetime,
            publisher: Mutex::new(publisher),
            crl: watch::Sender::new(first),
        })
    }

    /// Signs a certificate for `holder`, whom the caller has **authenticated**, and records it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Authority`]; nobody has a certificate then.
    pub async fn issue(
        &self,
        csr: VerifiedCsr,
        holder: &ServiceId,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Certificate, RuntimeError> {
        let profile = self.profile()?;
        let approved = profile.approve(csr, holder, self.lifetime);
        self.release(approved.map_err(RuntimeError::authority)?, now, random)
            .await
    }

    /// Signs another certificate for the holder of `presented`, by which the connection has
    /// authenticated `caller`.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Authority`].
    pub async fn renew(
        &self,
        presented: &Certificate,
        caller: &ServiceId,
        csr: VerifiedCsr,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Certificate, RuntimeError> {
        let request = RenewalRequest::new(presented, caller, csr, self.lifetime);
        let profile = self.profile()?;
        let approved = self.ledger.renew(request, &profile, now).await;
        self.release(approved.map_err(RuntimeError::authority)?, now, random)
            .await
    }

    async fn release(
        &self,
        approved: m2m_pki::Approved,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Certificate, RuntimeError> {
        let issued = self.authority.issue(approved, now, random);
        let recorded = self
            .ledger
            .record(issued.map_err(RuntimeError::authority)?)
            .await;
        recorded.map_err(RuntimeError::authority)
    }

    fn profile(&self) -> Result<Profile, RuntimeError> {
        Profile::workload("workload", self.domain.clone(), self.lifetime)
            .map_err(RuntimeError::authority)
    }

    /// Revokes a certificate for `by`, durably, and puts it on the CRL, before this returns.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Authority`]: **ask again**, it may not be revoked.
    pub async fn revoke(
        &self,
        id: &CertificateId,
        reason: RevocationReason,
        by: &Operator,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Revocation, RuntimeError> {
        let revoker = Revoker::Operator(by);
        let revoked = self.ledger.revoke(id, reason, revoker, now).await;
        let revoked = revoked.map_err(RuntimeError::authority)?;
        self.publish_due(now, random).await?;
        Ok(revoked)
    }

    /// Revokes here what `set` says is void, so that the CRL lists it; and publishes a CRL if one is due.
    /// Says when to come again.
    pub(super) async fn step(
        &self,
        set: &Revocations,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RuntimeError> {
        let by = Operator::danger_vouched_for("runtime").map_err(RuntimeError::authority)?;
        let heard = self.ledger.hear(set, self.key_id(), &by, now).await;
        heard.map_err(RuntimeError::authority)?;
        let told = self.ledger.tell(set, self.key_id()).await;
        told.map_err(RuntimeError::authority)?;
        self.publish_due(now, random).await
    }

    async fn publish_due(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RuntimeError> {
        let mut publisher = self.publisher.lock().await;
        let followed = publisher.follow().await;
        followed.map_err(RuntimeError::authority)?;
        if !publisher.due(now).is_empty() {
            let (key, issuer) = (&self.crl_key, &self.crl_issuer);
            let crl = publish(&mut publisher, key, issuer, now, random).await?;
            self.crl.send_replace(crl);
        }
        Ok(publisher.next_deadline())
    }

    /// The newest CRL.
    pub(super) fn crl(&self) -> PublishedCrl {
        self.crl.borrow().clone()
    }

    /// Tells of each CRL that is newer than one that was looked at.
    pub(super) fn follow_crl(&self) -> watch::Receiver<PublishedCrl> {
        self.crl.subscribe()
    }

    /// The newest CRL in DER, for whoever fetches it.
    pub fn crl_der(&self) -> Arc<[u8]> {
        Arc::clone(&self.crl.borrow().der)
    }

    /// Whom members of the trust domain trust.
    pub fn bundle(&self) -> TrustBundle {
        TrustBundle::new(self.domain.clone(), [self.certificate().clone()])
    }

    /// The root's certificate.
    pub fn certificate(&self) -> &Certificate {
        self.authority.certificate()
    }

    /// The record of all that was signed.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn key_id(&self) -> &[u8] {
        self.authority.key_id()
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

async fn create_root(
    records: &Records,
    ledger: &Ledger,
    domain: &TrustDomain,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(Certificate, SigningKey), RuntimeError> {
    let key = SigningKey::generate(Algorithm::Es256, random).map_err(RuntimeError::authority)?;
    let subject = Subject::new(&name_of(domain)).map_err(RuntimeError::authority)?;
    let profile = Profile::root("root", domain.clone(), subject, ROOT_LIFETIME);
    let profile = profile.map_err(RuntimeError::authority)?;
    let holder = format!("spiffe://{domain}/ca").parse::<ServiceId>();
    let holder = holder.map_err(RuntimeError::authority)?;
    let issued = Authority::create_root(&profile, &holder, &key, ROOT_LIFETIME, now, random);
    let recorded = ledger
        .record(issued.map_err(RuntimeError::authority)?)
        .await;
    let certificate = recorded.map_err(RuntimeError::authority)?;
    // A process that dies before this has a root that signed nothing, and makes another one.
    let value = KeyAndChain::encode(&key, std::slice::from_ref(&certificate));
    records.write(SPACE, b"root", None, value, random).await?;
    Ok((certificate, key))
}

/// A common name has at most 64 characters (RFC 5280, `ub-common-name`).
fn name_of(domain: &TrustDomain) -> String {
    let mut name = format!("{domain} root");
    name.truncate(64);
    name
}

async fn publish(
    publisher: &mut CrlPublisher,
    key: &SigningKey,
    issuer: &CrlIssuer,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<PublishedCrl, RuntimeError> {
    let signed = publisher.publish(0, key, now, random).await;
    let der: Arc<[u8]> = signed.map_err(RuntimeError::authority)?.into_der().into();
    Ok(PublishedCrl {
        index: read_crl(&der, issuer)?,
        der,
    })
}

/// Reads a CRL as everybody else does, who gets it from anywhere.
pub(super) fn read_crl(der: &[u8], issuer: &CrlIssuer) -> Result<Arc<CrlIndex>, RuntimeError> {
    let crl = UnverifiedCrl::parse(der, &CrlLimits::default()).map_err(RuntimeError::authority)?;
    let crl = crl.verify(issuer).map_err(RuntimeError::authority)?;
    let index = CrlIndex::build(&crl).map_err(RuntimeError::authority)?;
    Ok(Arc::new(index))
}

/// A request for a certificate, and the key that is in it.
pub(super) fn new_request(
    random: &dyn SecureRandom,
) -> Result<(SigningKey, Vec<u8>), RuntimeError> {
    let key = SigningKey::generate(Algorithm::Es256, random).map_err(RuntimeError::authority)?;
    let csr = CsrBuilder::new()
        .sign(&key)
        .map_err(RuntimeError::authority)?;
    Ok((key, csr.der().to_vec()))
}

fn copy_of(key: &SigningKey) -> Result<SigningKey, RuntimeError> {
    let der = key.to_pkcs8_der();
    SigningKey::from_pkcs8_der(key.algorithm(), der.expose_secret())
        .map_err(RuntimeError::authority)
}

/// A key on P-256 and the certificates that go with it, as they are kept: `1`, and then each part behind
/// its length in four bytes, the key as PKCS #8 first.
pub(super) struct KeyAndChain {
    pub(super) key: SigningKey,
    pub(super) chain: Vec<Certificate>,
}

impl KeyAndChain {
    const FORMAT: u8 = 1;

    pub(super) fn encode(key: &SigningKey, chain: &[Certificate]) -> m2m_store::Value {
        let key = key.to_pkcs8_der();
        let ders = chain.iter().map(|one| &one.der()[..]);
        let parts = || std::iter::once(key.expose_secret()).chain(ders.clone());
        let length: usize = parts().map(|part| 4 + part.len()).sum();
        // As long as it will be: what grows leaves copies of secrets behind.
        let mut bytes = Vec::with_capacity(1 + length);
        bytes.push(Self::FORMAT);
        for part in parts() {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.into()
    }

    pub(super) fn to_value(&self) -> m2m_store::Value {
        Self::encode(&self.key, &self.chain)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        if *format != Self::FORMAT {
            return None;
        }
        let (key, mut rest) = part(rest)?;
        let key = SigningKey::from_pkcs8_der(Algorithm::Es256, key).ok()?;
        let mut chain = Vec::new();
        while !rest.is_empty() {
            let (der, behind) = part(rest)?;
            chain.push(Certificate::from_der(der).ok()?);
            rest = behind;
        }
        Some(Self { key, chain })
    }

    fn into_one(self) -> Option<(Certificate, SigningKey)> {
        let [certificate]: [Certificate; 1] = self.chain.try_into().ok()?;
        Some((certificate, self.key))
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}
