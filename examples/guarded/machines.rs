//! The machines: an authority, and what joins under it.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::{Identity, LiveTls, Material};
use m2m_pki::{
    Authority, Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlNumbers, CrlSet, CrlSigner,
    CsrBuilder, Ledger, ListedRevocation, Profile, RevocationList, RevocationReason,
    RevocationRule, Scope, Subject, TrustBundle, TrustBundles, UnverifiedCrl, UpdateTimes,
};
use m2m_store::MemoryStore;
use m2m_types::{Clock, SystemClock, TrustDomain};

use crate::Outcome;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) struct Machines {
    clock: Arc<SystemClock>,
    ledger: Ledger,
    authority: Authority,
    /// Signs revocation lists.
    key: SigningKey,
    domain: TrustDomain,
}

impl Machines {
    pub(crate) async fn new(clock: Arc<SystemClock>) -> Outcome<Self> {
        let domain: TrustDomain = "example.org".parse()?;
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let root = Profile::root(
            "root",
            domain.clone(),
            Subject::new("Example Root")?,
            3650 * DAY,
        )?;
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let copy =
            SigningKey::from_pkcs8_der(Algorithm::Es256, key.to_pkcs8_der().expose_secret())?;
        let operator = "spiffe://example.org/ca".parse()?;
        let issued = Authority::create_root(
            &root,
            &operator,
            &key,
            3650 * DAY,
            clock.now()?,
            &SystemRandom,
        )?;
        let authority = Authority::load(ledger.record(issued).await?, key)?;
        Ok(Self {
            clock,
            ledger,
            authority,
            key: copy,
            domain,
        })
    }

    /// A machine asks for a certificate by a request of its own, and trusts the authority.
    pub(crate) async fn join(&self, name: &str) -> Outcome<(LiveTls, Certificate)> {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let csr = CsrBuilder::new().sign(&key)?.verify()?;
        // So short a life needs no revocation list (RFC 9608).
        let profile = Profile::workload("workload", self.domain.clone(), DAY)?;
        let profile = profile.with_no_revocation_below(2 * DAY);
        let approved = profile.approve(csr, &name.parse()?, DAY)?;
        let issued = self
            .authority
            .issue(approved, self.clock.now()?, &SystemRandom)?;
        let certificate = self.ledger.record(issued).await?;
        let anchor = self.authority.certificate().clone();
        let bundles = TrustBundles::new().with(TrustBundle::new(self.domain.clone(), [anchor]));
        let identity = Identity::new(vec![certificate.clone()], key)?;
        let material = Material::new(identity, bundles, CrlSet::new());
        let rule = RevocationRule::strict().with_no_revocation_below(2 * DAY);
        let clock = Arc::<SystemClock>::clone(&self.clock);
        let tls = LiveTls::builder(material, rule, clock).build()?;
        Ok((tls, certificate))
    }

    /// A list that says that `certificate` is revoked.
    pub(crate) fn revoke(&self, certificate: &Certificate) -> Arc<CrlIndex> {
        self.try_revoke(certificate).expect("a list of one entry")
    }

    fn try_revoke(&self, certificate: &Certificate) -> Outcome<Arc<CrlIndex>> {
        let now = self.clock.now()?;
        let issuer = CrlIssuer::from_certificate(self.authority.certificate())?;
        let signer = CrlSigner::new(issuer.clone(), self.key.verifying_key())?;
        let mut list = RevocationList::new(Scope::everything());
        let serial = certificate.serial().clone();
        list.revoke(&ListedRevocation::new(
            serial,
            now,
            RevocationReason::KeyCompromise,
        ))?;
        let number = CrlNumbers::first().claim_exactly(1.into())?;
        let times = UpdateTimes::new(now, now.saturating_add(DAY))?;
        let der = list
            .prepare(&signer, number, times)?
            .sign(&self.key)?
            .into_der();
        let crl = UnverifiedCrl::parse(&der, &CrlLimits::default())?;
        Ok(Arc::new(CrlIndex::build(&crl.verify(&issuer)?)?))
    }
}
