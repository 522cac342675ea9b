//! An authority that is the same every time but for its signatures, so that chains in `seeds/` end in it.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, CrlIndex, CrlIssuer, CrlLimits, CrlNumbers, CrlSigner, CsrBuilder,
    Issued, Ledger, ListedRevocation, Profile, RevocationList, RevocationReason, Scope, Serial,
    Subject, UnverifiedCrl, UpdateTimes,
};
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

/// How many certificates [`index`] lists: enough for several blocks.
pub const LISTED: u64 = 600;

/// A serial of 16 octets. [`index`] lists those of even numbers.
pub fn serial(number: u64) -> Serial {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bytes = [spread.to_be_bytes(), number.to_be_bytes()].concat();
    Serial::from_bytes(&[&[1], bytes.get(1..).unwrap_or_default()].concat()).expect("positive")
}

/// The index of a CRL of [`root`] that lists so many certificates.
pub fn index(listed: u64) -> CrlIndex {
    let authority = root();
    let key = signing_key(ES256);
    let issuer = CrlIssuer::from_certificate(authority.certificate()).expect("a CA");
    let signer = CrlSigner::new(issuer.clone(), key.verifying_key()).expect("its own key");
    let mut list = RevocationList::new(Scope::everything());
    for number in 0..listed {
        let reason = RevocationReason::KeyCompromise;
        let listed = ListedRevocation::new(serial(2 * number), issued_at(), reason);
        list.revoke(&listed).expect("listed once");
    }
    let next = issued_at().saturating_add(DAY);
    let times = UpdateTimes::new(issued_at(), next).expect("a day later");
    let number = CrlNumbers::first().claim().expect("the first");
    let prepared = list.prepare(&signer, number, times).expect("a number");
    let der = prepared.sign(&key).expect("its own key").into_der();
    let crl = UnverifiedCrl::parse(&der, &CrlLimits::default()).expect("a CRL");
    CrlIndex::build(&crl.verify(&issuer).expect("signed")).expect("complete")
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
