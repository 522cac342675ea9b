//! The authorities of one trust domain, which are replaced while their certificates are in use.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::{Identity, Material};
use m2m_pki::*;
use m2m_store::MemoryStore;
use m2m_types::{Clock, ServiceId, SystemClock, TrustDomain};

use crate::Outcome;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Who issues, who did before, and what is revoked.
pub(crate) struct Authorities {
    domain: TrustDomain,
    ledger: Ledger,
    clock: Arc<SystemClock>,
    root: Ca,
    issuing: Ca,
    /// Roots that are trusted besides the one in use.
    others: Vec<Certificate>,
    made: usize,
}

/// A CA and the list of what it revoked.
struct Ca {
    authority: Authority,
    key: SigningKey,
    list: RevocationList,
    numbers: CrlNumbers,
}

impl Authorities {
    pub(crate) fn new(clock: Arc<SystemClock>) -> Outcome<Self> {
        let domain: TrustDomain = "example.org".parse()?;
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let root = Ca::root(&domain, &ledger, &clock, "Root 0")?;
        let issuing = root.below(&domain, &ledger, &clock, "Issuing 0")?;
        Ok(Self {
            domain,
            ledger,
            clock,
            root,
            issuing,
            others: Vec::new(),
            made: 0,
        })
    }

    /// A certificate for a machine by the authority in use, and its key.
    pub(crate) fn identity(&self, service: &ServiceId) -> Outcome<Identity> {
        let profile = Profile::workload("workload", self.domain.clone(), HOUR)?;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let csr = CsrBuilder::new().sign(&key)?.verify()?;
        let approved = profile.approve(csr, service, HOUR)?;
        let issued = self
            .issuing
            .authority
            .issue(approved, self.clock.now()?, &SystemRandom)?;
        let leaf = pollster::block_on(self.ledger.record(issued))?;
        let issuing = self.issuing.authority.certificate().clone();
        Ok(Identity::new(vec![leaf, issuing], key)?)
    }

    /// What a machine starts with.
    pub(crate) fn material(&mut self, service: &ServiceId) -> Outcome<Material> {
        let crls = CrlSet::new().with(self.root_crl()?)?.with(self.crl()?)?;
        Ok(Material::new(self.identity(service)?, self.bundles(), crls))
    }

    /// Whom everybody trusts now.
    pub(crate) fn bundles(&self) -> TrustBundles {
        let root = self.root.authority.certificate().clone();
        let authorities = self.others.iter().cloned().chain([root]);
        TrustBundles::new().with(TrustBundle::new(self.domain.clone(), authorities))
    }

    /// The newest CRL about machines.
    pub(crate) fn crl(&mut self) -> Outcome<Arc<CrlIndex>> {
        self.issuing.crl(&self.clock)
    }

    /// The newest CRL about intermediates.
    pub(crate) fn root_crl(&mut self) -> Outcome<Arc<CrlIndex>> {
        self.root.crl(&self.clock)
    }

    /// A machine's certificate is void from now on.
    pub(crate) fn revoke(&mut self, certificate: &Certificate) -> Outcome<()> {
        let reason = RevocationReason::KeyCompromise;
        let serial = certificate.serial().clone();
        let revocation = ListedRevocation::new(serial, self.clock.now()?, reason);
        Ok(self.issuing.list.revoke(&revocation)?)
    }

    /// Issues by another intermediate of the same root from now on.
    pub(crate) fn replace_issuing(&mut self) -> Outcome<()> {
        self.made += 1;
        let name = format!("Issuing {}", self.made);
        self.issuing = self
            .root
            .below(&self.domain, &self.ledger, &self.clock, &name)?;
        Ok(())
    }

    /// Makes another root. It is trusted from now on, and not used.
    pub(crate) fn next_root(&mut self) -> Outcome<Next> {
        self.made += 1;
        let name = format!("Root {}", self.made);
        let root = Ca::root(&self.domain, &self.ledger, &self.clock, &name)?;
        let name = format!("Issuing {}", self.made);
        let issuing = root.below(&self.domain, &self.ledger, &self.clock, &name)?;
        self.others.push(root.authority.certificate().clone());
        Ok(Next { root, issuing })
    }

    /// Issues by the next root from now on. The old one is trusted still.
    pub(crate) fn use_root(&mut self, next: Next) {
        let old = std::mem::replace(&mut self.root, next.root);
        self.issuing = next.issuing;
        self.others = vec![old.authority.certificate().clone()];
    }

    /// Trusts only the root that is in use.
    pub(crate) fn forget_old_roots(&mut self) {
        self.others.clear();
    }
}

/// A root that is not used yet.
pub(crate) struct Next {
    root: Ca,
    issuing: Ca,
}

impl Next {
    /// The CRLs about what it and its intermediate will issue.
    pub(crate) fn crls(&mut self, clock: &SystemClock) -> Outcome<[Arc<CrlIndex>; 2]> {
        Ok([self.root.crl(clock)?, self.issuing.crl(clock)?])
    }
}

impl Ca {
    fn new(certificate: Certificate, key: SigningKey) -> Outcome<Self> {
        // One copy signs certificates, the other CRLs.
        let der = key.to_pkcs8_der();
        let copy = SigningKey::from_pkcs8_der(key.algorithm(), der.expose_secret())?;
        Ok(Self {
            authority: Authority::load(certificate, copy)?,
            key,
            list: RevocationList::new(Scope::everything()),
            numbers: CrlNumbers::first(),
        })
    }

    fn root(
        domain: &TrustDomain,
        ledger: &Ledger,
        clock: &SystemClock,
        name: &str,
    ) -> Outcome<Self> {
        let profile = Profile::root("root", domain.clone(), Subject::new(name)?, 30 * DAY)?;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let holder = format!("spiffe://{domain}/ca").parse()?;
        let now = clock.now()?;
        let issued = Authority::create_root(&profile, &holder, &key, 30 * DAY, now, &SystemRandom)?;
        Self::new(pollster::block_on(ledger.record(issued))?, key)
    }

    fn below(
        &self,
        domain: &TrustDomain,
        ledger: &Ledger,
        clock: &SystemClock,
        name: &str,
    ) -> Outcome<Self> {
        let subject = Subject::new(name)?;
        let profile = Profile::intermediate("issuing", domain.clone(), subject, 0, 7 * DAY)?;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let csr = CsrBuilder::new().sign(&key)?.verify()?;
        let holder = format!("spiffe://{domain}/ca").parse()?;
        let approved = profile.approve(csr, &holder, 7 * DAY)?;
        let issued = self
            .authority
            .issue(approved, clock.now()?, &SystemRandom)?;
        Self::new(pollster::block_on(ledger.record(issued))?, key)
    }

    fn crl(&mut self, clock: &SystemClock) -> Outcome<Arc<CrlIndex>> {
        let issuer = CrlIssuer::from_certificate(self.authority.certificate())?;
        let signer = CrlSigner::new(issuer.clone(), self.key.verifying_key())?;
        let now = clock.now()?;
        let times = UpdateTimes::new(now, now.saturating_add(DAY))?;
        let prepared = self.list.prepare(&signer, self.numbers.claim()?, times)?;
        let der = prepared.sign(&self.key)?.into_der();
        // Read as everybody else would, who gets it from a file server.
        let crl = UnverifiedCrl::parse(&der, &CrlLimits::default())?.verify(&issuer)?;
        Ok(Arc::new(CrlIndex::build(&crl)?))
    }
}
