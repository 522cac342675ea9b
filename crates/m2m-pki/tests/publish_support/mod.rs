//! An authority whose CRLs are published from its ledger.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlNumber, CrlPublishError,
    CrlPublisher, CrlSet, CrlSigner, Ledger, Operator, RevocationReason, RevocationStatus,
    RevocationSubject, Revoker, ShardPlan, SignedCrl, UnverifiedCrl,
};
use m2m_store::MemoryStore;
use m2m_types::Timestamp;
use pollster::block_on;

use crate::support::{DAY, key, leaf, ledger, now, record, root_profile, service};

/// An authority with a ledger.
pub(crate) struct Issuer {
    pub(crate) key: SigningKey,
    pub(crate) authority: Authority,
    pub(crate) ledger: Ledger,
    pub(crate) store: Arc<MemoryStore>,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let (store, ledger) = ledger();
        // Once as the authority's and once to sign CRLs.
        let key = key(Algorithm::Es256);
        let again =
            SigningKey::from_pkcs8_der(Algorithm::Es256, key.to_pkcs8_der().expose_secret());
        let holder = service("ca/root");
        let profile = root_profile();
        let issued =
            Authority::create_root(&profile, &holder, &key, 3650 * DAY, now(), &SystemRandom);
        let certificate = record(&ledger, issued.unwrap());
        Self {
            authority: Authority::load(certificate, again.unwrap()).unwrap(),
            key,
            ledger,
            store,
        }
    }

    pub(crate) fn id(&self) -> CrlIssuer {
        CrlIssuer::from_certificate(self.authority.certificate()).unwrap()
    }

    pub(crate) fn open(&self, shards: Option<ShardPlan>) -> CrlPublisher {
        let signer = CrlSigner::new(self.id(), self.key.verifying_key()).unwrap();
        block_on(CrlPublisher::open(self.ledger.clone(), signer, shards, DAY)).unwrap()
    }

    pub(crate) fn leaf(&self, path: &str) -> Certificate {
        leaf(&self.ledger, &self.authority, path)
    }

    pub(crate) fn revoke(&self, certificate: &Certificate, reason: RevocationReason) {
        self.revoke_at(certificate, reason, now());
    }

    pub(crate) fn revoke_at(
        &self,
        certificate: &Certificate,
        reason: RevocationReason,
        at: Timestamp,
    ) {
        let by = Operator::danger_vouched_for("alice").unwrap();
        let id = certificate.id().unwrap();
        block_on(self.ledger.revoke(&id, reason, Revoker::Operator(&by), at)).unwrap();
    }

    pub(crate) fn publish(
        &self,
        publisher: &mut CrlPublisher,
        list: u32,
        at: Timestamp,
    ) -> Result<SignedCrl, CrlPublishError> {
        block_on(publisher.publish(list, &self.key, at, &SystemRandom))
    }

    pub(crate) fn index(&self, crl: &SignedCrl) -> Arc<CrlIndex> {
        let crl = UnverifiedCrl::parse(crl.der(), &CrlLimits::default()).unwrap();
        Arc::new(CrlIndex::build(&crl.verify(&self.id()).unwrap()).unwrap())
    }

    pub(crate) fn publish_delta(
        &self,
        publisher: &mut CrlPublisher,
        list: u32,
        at: Timestamp,
    ) -> Result<SignedCrl, CrlPublishError> {
        block_on(publisher.publish_delta(list, &self.key, at, &SystemRandom))
    }

    pub(crate) fn status(&self, set: &CrlSet, certificate: &Certificate) -> RevocationStatus {
        let issuer = self.id();
        set.check(
            &RevocationSubject::new(certificate, &issuer).unwrap(),
            now(),
        )
    }
}

pub(crate) fn number(crl: &SignedCrl) -> CrlNumber {
    crl.number()
}
