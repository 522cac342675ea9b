//! What the tests of issuing share: a fixed time, a trust domain, an authority made in a moment.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{Authority, Certificate, CsrBuilder, Issued, Ledger, Profile, Subject, VerifiedCsr};
use m2m_store::MemoryStore;
use m2m_types::{ServiceId, Timestamp, TrustDomain};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// 2026-01-01T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_767_225_600).unwrap()
}

pub(crate) fn after(duration: Duration) -> Timestamp {
    now().checked_add(duration).unwrap()
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

pub(crate) fn service(path: &str) -> ServiceId {
    format!("spiffe://example.org/{path}").parse().unwrap()
}

pub(crate) fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm, &SystemRandom).unwrap()
}

pub(crate) fn csr_of(key: &SigningKey) -> VerifiedCsr {
    CsrBuilder::new().sign(key).unwrap().verify().unwrap()
}

/// A request for a key that was just made.
pub(crate) fn csr() -> VerifiedCsr {
    csr_of(&key(Algorithm::Es256))
}

pub(crate) fn workload() -> Profile {
    Profile::workload("workload", domain(), DAY).unwrap()
}

pub(crate) fn root_profile() -> Profile {
    let subject = Subject::new("Example Root")
        .unwrap()
        .with_organization("Example")
        .unwrap();
    Profile::root("root", domain(), subject, 3650 * DAY).unwrap()
}

pub(crate) fn intermediate_profile(path_len: u8) -> Profile {
    let subject = Subject::new("Example Issuing").unwrap();
    Profile::intermediate("issuing", domain(), subject, path_len, 365 * DAY).unwrap()
}

/// Somewhere to record, and what records there.
pub(crate) fn ledger() -> (Arc<MemoryStore>, Ledger) {
    let store = Arc::new(MemoryStore::new());
    (store.clone(), Ledger::new(store))
}

pub(crate) fn record(ledger: &Ledger, issued: Issued) -> Certificate {
    pollster::block_on(ledger.record(issued)).unwrap()
}

pub(crate) fn root_of(ledger: &Ledger, algorithm: Algorithm) -> Authority {
    let (holder, key) = (service("ca/root"), key(algorithm));
    let root = root_profile();
    let issued =
        Authority::create_root(&root, &holder, &key, 3650 * DAY, now(), &SystemRandom).unwrap();
    Authority::load(record(ledger, issued), key).unwrap()
}

pub(crate) fn intermediate_of(
    ledger: &Ledger,
    root: &Authority,
    algorithm: Algorithm,
) -> Authority {
    let key = key(algorithm);
    let holder = service("ca/issuing");
    let approved = intermediate_profile(0)
        .approve(csr_of(&key), &holder, 365 * DAY)
        .unwrap();
    let issued = root.issue(approved, now(), &SystemRandom).unwrap();
    Authority::load(record(ledger, issued), key).unwrap()
}

pub(crate) fn leaf(ledger: &Ledger, authority: &Authority, path: &str) -> Certificate {
    let approved = workload().approve(csr(), &service(path), HOUR).unwrap();
    record(
        ledger,
        authority.issue(approved, now(), &SystemRandom).unwrap(),
    )
}

/// A key as rcgen wants it, to make requests and certificates that the crate itself would not.
pub(crate) struct Shim<'a> {
    key: &'a SigningKey,
    bits: Vec<u8>,
}

impl<'a> Shim<'a> {
    /// Keys on P-256 only: their points are the last 65 bytes of the SPKI.
    pub(crate) fn new(key: &'a SigningKey) -> Self {
        let spki = key.verifying_key().to_spki_der();
        let bits = spki[spki.len() - 65..].to_vec();
        Self { key, bits }
    }
}

impl rcgen::PublicKeyData for Shim<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Shim<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut fixed = [0; 64];
        self.key.sign(message, &mut fixed).unwrap();
        Ok(m2m_crypto::ecdsa_fixed_to_der(Algorithm::Es256, &fixed).unwrap())
    }
}

/// Nothing at all, where rcgen has a name and two thousand years.
pub(crate) fn blank() -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x42]));
    params
}

/// A request for whatever `params` say.
pub(crate) fn request(params: rcgen::CertificateParams) -> Vec<u8> {
    let mut params = params;
    params.serial_number = None;
    let key = key(Algorithm::Es256);
    params
        .serialize_request(&Shim::new(&key))
        .unwrap()
        .der()
        .to_vec()
}

/// A certificate that says whatever `params` say, signed with its own key.
pub(crate) fn odd_certificate(params: &rcgen::CertificateParams) -> Vec<u8> {
    let key = key(Algorithm::Es256);
    params.self_signed(&Shim::new(&key)).unwrap().der().to_vec()
}
