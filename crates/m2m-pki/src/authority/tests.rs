//! What is issued says what it should, before any ledger comes into it.

use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_types::Timestamp;

use crate::{Authority, CsrBuilder, Profile, Subject};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_leaf_says_what_was_approved() {
    let now = Timestamp::from_unix_seconds(1_767_225_600).unwrap();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let domain: m2m_types::TrustDomain = "example.org".parse().unwrap();
        let holder = "spiffe://example.org/ca".parse().unwrap();
        let subject = Subject::new("Root").unwrap();
        let root = Profile::root("root", domain.clone(), subject, 100 * HOUR).unwrap();
        let root =
            Authority::create_root(&root, &holder, &key, 100 * HOUR, now, &SystemRandom).unwrap();
        let root = Authority::load(root.certificate, key).unwrap();
        let certificate = root.certificate();
        assert!(certificate.is_ca() && certificate.is_signed_by(root.public_key()));
        assert_eq!(certificate.issuer_der(), certificate.subject_der());
        assert_eq!(certificate.authority_key_id(), certificate.subject_key_id());

        let leaf_key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let id = "spiffe://example.org/billing".parse().unwrap();
        let csr = CsrBuilder::new().sign(&leaf_key).unwrap().verify().unwrap();
        let profile = Profile::workload("workload", domain, HOUR).unwrap();
        let approved = profile.approve(csr, &id, HOUR).unwrap();
        let leaf = root
            .issue(approved, now, &SystemRandom)
            .unwrap()
            .certificate;
        assert_eq!(leaf.service_id().unwrap(), id);
        assert!(leaf.is_signed_by(root.public_key()));
        assert_eq!(leaf.issuer_der(), root.certificate().subject_der());
        assert_eq!(leaf.authority_key_id(), Some(root.key_id()));
        assert_eq!(leaf.spki_der(), &*leaf_key.verifying_key().to_spki_der());
        assert_eq!(leaf.not_after(), now.checked_add(HOUR).unwrap());
        assert_eq!(
            leaf.not_before(),
            now.checked_sub(Authority::BACKDATE).unwrap()
        );
    }
}
