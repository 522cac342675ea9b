//! An authority that is the same every time but for its signatures, so that chains in `seeds/` end in it.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SigningKey, SystemRandom};
use m2m_pki::{Authority, Certificate, CsrBuilder, Issued, Ledger, Profile, Subject};
use m2m_store::MemoryStore;
use m2m_types::{ServiceId, Timestamp, TrustDomain};

use crate::{BILLING, EDDSA, ES256, at, signing_key};

const DAY: Duration = Duration::from_secs(86_400);

/// 2026-01-01T00:00:00Z.
pub fn issued_at() -> Timestamp {
    at(1_767_225_600)
}

/// The trust domain of the authority and of the leaf.
pub fn domain() -> TrustDomain {
    "example.org".parse().expect("a trust domain")
}

/// The authority, with the key of RFC 7515 §A.3.
pub fn root() -> Authority {
    let (key, subject) = (signing_key(ES256), Subject::new("Root").expect("a name"));
    let profile = Profile::root("root", domain(), subject, 3650 * DAY).expect("a profile");
    let holder = service("spiffe://example.org/ca");
    let issued = Authority::create_root(
        &profile,
        &holder,
        &key,
        3650 * DAY,
        issued_at(),
        &SystemRandom,
    );
    let certificate = record(issued.expect("a root of an RFC's key"));
    Authority::load(certificate, key).expect("its own key")
}

/// A leaf of [`BILLING`] with the key of RFC 8037, and the intermediate below [`root`] that issued it.
pub fn chain() -> [Certificate; 2] {
    let issuing = SigningKey::generate(m2m_crypto::Algorithm::Es256, &SystemRandom);
    let issuing = issuing.expect("a key");
    let subject = Subject::new("Issuing").expect("a name");
    let profile = Profile::intermediate("issuing", domain(), subject, 0, 3650 * DAY);
    let holder = service("spiffe://example.org/ca/issuing");
    let certificate = issue(&root(), &profile.expect("a profile"), (&issuing, &holder));
    let authority = Authority::load(certificate.clone(), issuing).expect("its own key");
    let profile = Profile::workload("workload", domain(), 3000 * DAY).expect("a profile");
    let leaf = issue(
        &authority,
        &profile,
        (&signing_key(EDDSA), &service(BILLING)),
    );
    [leaf, certificate]
}

fn issue(
    authority: &Authority,
    profile: &Profile,
    (key, holder): (&SigningKey, &ServiceId),
) -> Certificate {
    let csr = CsrBuilder::new().sign(key).and_then(|csr| csr.verify());
    let approved = profile.approve(csr.expect("its own request"), holder, 3000 * DAY);
    let issued = authority.issue(approved.expect("approved"), issued_at(), &SystemRandom);
    record(issued.expect("issued"))
}

fn record(issued: Issued) -> Certificate {
    let ledger = Ledger::new(Arc::new(MemoryStore::new()));
    pollster::block_on(ledger.record(issued)).expect("room for one")
}

fn service(text: &str) -> ServiceId {
    text.parse().expect("a service")
}
