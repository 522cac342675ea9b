//! The certificate authority: machines join by request, certificates are renewed and revoked, and one root
//! takes the place of another.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::Identity;
use m2m_pki::{
    Approved, Authority, Certificate, CrlIssuer, CrlPublisher, CrlSigner, CsrBuilder, Ledger,
    Living, Operator, Profile, RenewalRequest, RevocationReason, Revoker, Rollover, RolloverError,
    RolloverStoreError, SignedCrl, StoredRollover, Subject, TrustBundle, UnverifiedCsr,
    VerifiedCsr,
};
use m2m_store::Store;
use m2m_types::{Clock, ServiceId, SystemClock, TrustDomain};

use crate::Outcome;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// How long a peer counts that has told which bundle it goes by.
const LEASE: Duration = HOUR;

pub(crate) struct Authorities {
    domain: TrustDomain,
    clock: Arc<SystemClock>,
    ledger: Ledger,
    rollover: StoredRollover,
    /// What certificates of machines may be like.
    profile: Profile,
    /// Who revokes by order of the story.
    operator: Operator,
    /// The newest last. All but the last have signed before, or the last is to sign next.
    roots: Vec<Root>,
    made: u8,
    /// How many certificates of machines were issued.
    pub(crate) issued: u64,
}

struct Root {
    name: String,
    authority: Authority,
    /// Signs CRLs.
    key: SigningKey,
    publisher: CrlPublisher,
    crl: SignedCrl,
}

/// How a step of the rollover went.
pub(crate) enum Step {
    Taken,
    /// Not yet, and why.
    Blocked(String),
}

impl Authorities {
    /// The first root, with its CRL, in `store`.
    pub(crate) async fn create(
        store: Arc<dyn Store>,
        domain: &TrustDomain,
        clock: Arc<SystemClock>,
    ) -> Outcome<Self> {
        let mut authorities = Self {
            ledger: Ledger::new(Arc::clone(&store)),
            rollover: StoredRollover::new(store, domain)?,
            profile: Profile::workload("workload", domain.clone(), HOUR)?,
            operator: Operator::danger_vouched_for("quickstart")?,
            domain: domain.clone(),
            clock,
            roots: Vec::new(),
            made: 0,
            issued: 0,
        };
        let root = authorities.make_root().await?;
        let first = Rollover::new(domain.clone(), root.authority.certificate().clone(), 1)
            // Nobody but this task signs, so that nobody is still about to sign with the old root.
            .with_handover(Duration::ZERO);
        authorities.rollover.begin(&first, &SystemRandom).await?;
        authorities.roots.push(root);
        Ok(authorities)
    }

    /// `Root A`, `Root B`, …: made, recorded, and used for nothing yet.
    async fn make_root(&mut self) -> Outcome<Root> {
        let name = format!("Root {}", char::from(b'A' + self.made % 26));
        self.made += 1;
        let profile = Profile::root("root", self.domain.clone(), Subject::new(&name)?, 30 * DAY)?;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let holder = format!("spiffe://{}/ca", self.domain).parse()?;
        let now = self.clock.now()?;
        let issued = Authority::create_root(&profile, &holder, &key, 30 * DAY, now, &SystemRandom)?;
        let certificate = self.ledger.record(issued).await?;
        // One copy signs certificates, the other CRLs.
        let der = key.to_pkcs8_der();
        let copy = SigningKey::from_pkcs8_der(key.algorithm(), der.expose_secret())?;
        let signer = CrlSigner::new(
            CrlIssuer::from_certificate(&certificate)?,
            key.verifying_key(),
        )?;
        let mut publisher = CrlPublisher::open(self.ledger.clone(), signer, None, DAY).await?;
        let crl = publisher.publish(0, &key, now, &SystemRandom).await?;
        Ok(Root {
            name,
            authority: Authority::load(certificate, copy)?,
            key,
            publisher,
            crl,
        })
    }

    /// Somebody who is known to be `service` joins, with the request `csr` in PEM.
    pub(crate) async fn join(&mut self, service: &ServiceId, csr: &str) -> Outcome<Certificate> {
        let csr = proven(csr)?;
        let approved = self.profile.approve(csr, service, HOUR)?;
        self.issue(approved).await
    }

    /// Whoever has shown `presented` in a handshake wants another.
    pub(crate) async fn renew(
        &mut self,
        presented: &Certificate,
        caller: &ServiceId,
        csr: &str,
    ) -> Outcome<Certificate> {
        let request = RenewalRequest::new(presented, caller, proven(csr)?, HOUR);
        let now = self.clock.now()?;
        let approved = self.ledger.renew(request, &self.profile, now).await?;
        self.issue(approved).await
    }

    /// Signed, recorded, and only then released.
    async fn issue(&mut self, approved: Approved) -> Outcome<Certificate> {
        let now = self.clock.now()?;
        let signer = self.rollover().await?.signer().clone();
        let mut roots = self.roots.iter();
        let root = roots.find(|root| *root.authority.certificate() == signer);
        let root = root.ok_or("the root that signs is not here")?;
        let issued = root.authority.issue(approved, now, &SystemRandom)?;
        self.issued += 1;
        Ok(self.ledger.record(issued).await?)
    }

    /// A certificate for a machine in this process, and its key.
    pub(crate) async fn identity(&mut self, service: &ServiceId) -> Outcome<Identity> {
        let (key, csr) = key_and_request()?;
        let certificate = self.join(service, &csr).await?;
        Ok(Identity::new(vec![certificate], key)?)
    }

    pub(crate) async fn rollover(&self) -> Outcome<Rollover> {
        let loaded = self.rollover.load().await?;
        loaded.ok_or_else(|| "no rollover was begun".into())
    }

    pub(crate) async fn bundle(&self) -> Outcome<TrustBundle> {
        Ok(self.rollover().await?.bundle())
    }

    /// The newest CRLs, each with its number, by the names of who signed them.
    pub(crate) fn crls(&self) -> impl Iterator<Item = (String, &SignedCrl)> {
        let named = |root: &Root| crate::hex::to_hex(root.authority.key_id());
        self.roots.iter().map(move |root| (named(root), &root.crl))
    }

    /// `peer` goes by bundle `sequence` now.
    pub(crate) async fn acknowledged(&self, peer: &ServiceId, sequence: u64) -> Outcome<()> {
        let now = self.clock.now()?;
        let until = now.saturating_add(LEASE);
        let step = |rollover: &Rollover| rollover.acknowledged(peer, sequence, until, now);
        match self.rollover.step(step, &SystemRandom).await {
            // It says what it has while the next is made: it will say so again.
            Err(RolloverStoreError::Step(RolloverError::Behind { .. })) => Ok(()),
            stepped => Ok(stepped.map(drop)?),
        }
    }

    /// A → A + B: the next root is in the bundles, and signs nothing.
    pub(crate) async fn prepare(&mut self) -> Outcome<Rollover> {
        let root = self.make_root().await?;
        let (new, now) = (root.authority.certificate().clone(), self.clock.now()?);
        let step = |rollover: &Rollover| rollover.prepared(new.clone(), now);
        let rollover = self.rollover.step(step, &SystemRandom).await?;
        self.roots.push(root);
        Ok(rollover)
    }

    /// B signs, if everybody knows it.
    pub(crate) async fn activate(&mut self) -> Outcome<Step> {
        let now = self.clock.now()?;
        let step = |rollover: &Rollover| rollover.activated(now);
        taken(self.rollover.step(step, &SystemRandom).await)
    }

    /// A + B → B, if nothing lives that A has signed.
    pub(crate) async fn drop_old(&mut self) -> Outcome<Step> {
        let now = self.clock.now()?;
        let living = match self.roots.first().filter(|_| self.roots.len() > 1) {
            Some(old) => {
                let old = old.authority.certificate();
                self.ledger.living_under(old, now).await?
            }
            None => Living::default(),
        };
        let step = |rollover: &Rollover| rollover.dropped(&living, now);
        let step = taken(self.rollover.step(step, &SystemRandom).await)?;
        if matches!(step, Step::Taken) {
            self.roots.remove(0);
        }
        Ok(step)
    }

    /// `certificate` is void. The next CRL of its issuer says so.
    pub(crate) async fn revoke(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
    ) -> Outcome<()> {
        let id = certificate.id().ok_or("a certificate without a name")?;
        let by = Revoker::Operator(&self.operator);
        let now = self.clock.now()?;
        self.ledger.revoke(&id, reason, by, now).await?;
        Ok(())
    }

    /// New CRLs of all roots.
    pub(crate) async fn publish_crls(&mut self) -> Outcome<()> {
        let now = self.clock.now()?;
        for root in &mut self.roots {
            let publishing = root.publisher.publish(0, &root.key, now, &SystemRandom);
            root.crl = publishing.await?;
        }
        Ok(())
    }

    /// Who issued `certificate`, as events say it (RFC 4514).
    pub(crate) fn issuer_of(&self, certificate: &Certificate) -> Outcome<String> {
        let mut roots = self.roots.iter();
        let issuer = roots
            .find(|root| root.authority.certificate().subject_der() == certificate.issuer_der());
        let issuer = issuer.ok_or("it is not from one of these roots")?;
        Ok(format!("CN={}", issuer.name))
    }
}

/// A new key, and a request for a certificate for it in PEM.
pub(crate) fn key_and_request() -> Outcome<(SigningKey, String)> {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let csr = CsrBuilder::new().sign(&key)?.to_pem();
    Ok((key, csr))
}

/// A request whose sender holds its key.
fn proven(csr: &str) -> Outcome<VerifiedCsr> {
    Ok(UnverifiedCsr::from_pem(csr.as_bytes())?.verify()?)
}

fn taken(stepped: Result<Rollover, RolloverStoreError>) -> Outcome<Step> {
    match stepped {
        Ok(_) => Ok(Step::Taken),
        Err(RolloverStoreError::Step(RolloverError::Blocked { blockers })) => {
            let first = blockers.first().ok_or("blocked by nothing")?;
            Ok(Step::Blocked(first.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}
