//! The old root signs a certificate for the new one's key: whoever still trusts only the old one takes
//! what the new one issues.

mod support;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, ChainVerifier, CrlSet, ExpectedPeer, PeerRole, Profile, RecordError,
    RevocationRule, Subject, TrustBundle, TrustBundles,
};
use support::{DAY, csr_of, domain, key, leaf, ledger, now, record, root_of, service};

fn is_taken(chain: &[&Certificate], authority: &Certificate) -> bool {
    let trust = TrustBundles::new().with(TrustBundle::new(domain(), [authority.clone()]));
    let chain: Vec<_> = chain.iter().map(|one| one.der().clone()).collect();
    let expected = ExpectedPeer::service(service("billing"));
    let rule = RevocationRule::danger_accept_unknown();
    let verifier = ChainVerifier::new(expected, rule);
    let verdict = verifier.verify(&chain, PeerRole::Client, &trust, &CrlSet::new(), now());
    verdict.is_ok()
}

#[test]
fn who_trusts_only_the_old_root_takes_what_the_new_one_issues() {
    let (_, ledger) = ledger();
    let old = root_of(&ledger, Algorithm::Es256);
    let new_key = key(Algorithm::Es256);
    let again =
        SigningKey::from_pkcs8_der(Algorithm::Es256, new_key.to_pkcs8_der().expose_secret());
    let holder = service("ca/new");
    let subject = || Subject::new("New Root").unwrap();
    let profile = Profile::root("new-root", domain(), subject(), 3650 * DAY).unwrap();
    let new = Authority::create_root(
        &profile,
        &holder,
        &new_key,
        3650 * DAY,
        now(),
        &SystemRandom,
    );
    let new = Authority::load(record(&ledger, new.unwrap()), again.unwrap()).unwrap();

    // For the same key, holder and name, from the other root.
    let profile = Profile::intermediate("cross", domain(), subject(), 1, 365 * DAY).unwrap();
    let approved = profile
        .approve(csr_of(&new_key), &holder, 365 * DAY)
        .unwrap();
    let cross = old.issue(approved, now(), &SystemRandom).unwrap();
    let cross = record(&ledger, cross);
    assert_eq!(cross.subject_key_id(), new.certificate().subject_key_id());

    let leaf = leaf(&ledger, &new, "billing");
    assert!(is_taken(&[&leaf], new.certificate()));
    assert!(!is_taken(&[&leaf], old.certificate()));
    assert!(is_taken(&[&leaf, &cross], old.certificate()));
    // Those who trust the new one are not led astray.
    assert!(is_taken(&[&leaf, &cross], new.certificate()));

    // Nobody else gets a certificate for the new root's key.
    let approved = profile
        .approve(csr_of(&new_key), &service("ca/thief"), DAY)
        .unwrap();
    let issued = old.issue(approved, now(), &SystemRandom).unwrap();
    let refused = pollster::block_on(ledger.record(issued)).unwrap_err();
    assert!(matches!(refused, RecordError::KeyBound { .. }), "{refused}");
}
