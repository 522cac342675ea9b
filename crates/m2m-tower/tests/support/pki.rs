//! An authority and its machines.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::tls::{Identity, LiveTls, Material};
use m2m_pki::{
    Authority, Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlNumber, CrlNumbers, CrlSet,
    CrlSigner, CsrBuilder, Ledger, ListedRevocation, Profile, RevocationList, RevocationReason,
    RevocationRule, Scope, Subject, TrustBundle, TrustBundles, UnverifiedCrl, UpdateTimes,
};
use m2m_types::ManualClock;

use super::{now, service};

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, whose certificates are short-lived and need no CRL.
pub(crate) struct Pki {
    ledger: Ledger,
    authority: Authority,
    key: SigningKey,
    clock: Arc<ManualClock>,
}

pub(crate) fn rule() -> RevocationRule {
    RevocationRule::strict().with_no_revocation_below(2 * DAY)
}

impl Pki {
    pub(crate) fn new(clock: &Arc<ManualClock>) -> Self {
        let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
        let domain = "example.org".parse().unwrap();
        let root =
            Profile::root("root", domain, Subject::new("Root").unwrap(), 3650 * DAY).unwrap();
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let der = key.to_pkcs8_der();
        let ca = service("spiffe://example.org/ca");
        let issued =
            Authority::create_root(&root, &ca, &key, 3650 * DAY, now(), &SystemRandom).unwrap();
        let certificate = pollster::block_on(ledger.record(issued)).unwrap();
        Self {
            authority: Authority::load(certificate, key).unwrap(),
            ledger,
            key: SigningKey::from_pkcs8_der(Algorithm::Es256, der.expose_secret()).unwrap(),
            clock: Arc::clone(clock),
        }
    }

    pub(crate) fn bundles(&self) -> TrustBundles {
        let anchor = self.authority.certificate().clone();
        TrustBundles::new().with(TrustBundle::new("example.org".parse().unwrap(), [anchor]))
    }

    pub(crate) fn leaf(&self, name: &str) -> (Certificate, SigningKey) {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let profile = Profile::workload("workload", "example.org".parse().unwrap(), DAY).unwrap();
        let profile = profile.with_no_revocation_below(2 * DAY);
        let approved = profile.approve(csr, &service(name), DAY).unwrap();
        let issued = self
            .authority
            .issue(approved, now(), &SystemRandom)
            .unwrap();
        (pollster::block_on(self.ledger.record(issued)).unwrap(), key)
    }

    /// A machine of that name, and its certificate.
    pub(crate) fn machine(&self, name: &str) -> (LiveTls, Certificate) {
        self.machine_that_speaks(name, &[])
    }

    /// The same, which speaks `protocols`.
    pub(crate) fn machine_that_speaks(
        &self,
        name: &str,
        protocols: &[&[u8]],
    ) -> (LiveTls, Certificate) {
        let (leaf, key) = self.leaf(name);
        let identity = Identity::new(vec![leaf.clone()], key).unwrap();
        let material = Material::new(identity, self.bundles(), CrlSet::new());
        let clock = Arc::<ManualClock>::clone(&self.clock);
        let builder = LiveTls::builder(material, rule(), clock).with_alpn(protocols);
        (builder.build().unwrap(), leaf)
    }

    pub(crate) fn crl(&self, revoked: &Certificate) -> Arc<CrlIndex> {
        let issuer = CrlIssuer::from_certificate(self.authority.certificate()).unwrap();
        let signer = CrlSigner::new(issuer.clone(), self.key.verifying_key()).unwrap();
        let mut list = RevocationList::new(Scope::everything());
        let reason = RevocationReason::KeyCompromise;
        let entry = ListedRevocation::new(revoked.serial().clone(), now(), reason);
        list.revoke(&entry).unwrap();
        let number = CrlNumbers::first()
            .claim_exactly(CrlNumber::from(1))
            .unwrap();
        let later = now().saturating_add(DAY);
        let times = UpdateTimes::new(now(), later).unwrap();
        let der = list
            .prepare(&signer, number, times)
            .unwrap()
            .sign(&self.key)
            .unwrap()
            .into_der();
        let crl = UnverifiedCrl::parse(&der, &CrlLimits::default()).unwrap();
        Arc::new(CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap())
    }
}
