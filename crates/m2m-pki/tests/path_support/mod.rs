//! Certificates that nobody would issue, for chains that nobody should take: made by rcgen, with our
//! keys, whatever they say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom, ecdsa_fixed_to_der};
use m2m_pki::{
    Certificate, ChainError, ChainVerifier, CrlIndex, CrlIssuer, CrlLimits, CrlNumber, CrlNumbers,
    CrlSet, CrlSigner, ExpectedPeer, ListedRevocation, PeerRole, RevocationList, RevocationReason,
    RevocationRule, Scope, TrustBundle, TrustBundles, UnverifiedCrl, UpdateTimes, VerifiedPeer,
};
use m2m_types::{ServiceId, Timestamp, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;

/// 2026-01-01T12:00:00Z: within the life of what is made here if nothing else is said.
pub(crate) const NOW: u64 = 1_767_268_800;
pub(crate) const HOUR: u64 = 3600;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(NOW).unwrap()
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

pub(crate) fn billing() -> ServiceId {
    "spiffe://example.org/billing".parse().unwrap()
}

/// A certificate and the key it is about.
pub(crate) struct Made {
    pub(crate) key: SigningKey,
    pub(crate) params: CertificateParams,
    pub(crate) der: CertificateDer<'static>,
}

struct Shim<'a>(&'a SigningKey, Vec<u8>);

impl<'a> Shim<'a> {
    fn new(key: &'a SigningKey) -> Self {
        Self(key, key.verifying_key().to_spki_der().to_vec())
    }
}

impl PublicKeyData for Shim<'_> {
    fn der_bytes(&self) -> &[u8] {
        // What follows the header of a P-256 SubjectPublicKeyInfo.
        &self.1[self.1.len() - 65..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Shim<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut fixed = [0; 64];
        self.0.sign(message, &mut fixed).unwrap();
        Ok(ecdsa_fixed_to_der(Algorithm::Es256, &fixed).unwrap())
    }
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    params.use_authority_key_identifier_extension = true;
    let mut serial = [0; 9];
    m2m_crypto::SecureRandom::fill(&SystemRandom, &mut serial).unwrap();
    serial[0] = 1;
    params.key_identifier_method = KeyIdMethod::PreSpecified(serial.to_vec());
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params
}

/// What a CA says of itself.
pub(crate) fn ca(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What the machine `billing` says of itself.
pub(crate) fn leaf() -> CertificateParams {
    let mut params = params("billing");
    params.subject_alt_names = vec![uri("spiffe://example.org/billing")];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params
}

/// A server with this DNS name and no other.
pub(crate) fn server(name: &str) -> CertificateParams {
    let mut params = leaf();
    params.subject_alt_names = vec![dns(name)];
    params
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

pub(crate) fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

pub(crate) fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}

/// An element of DER.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match length {
        0..=127 => element.push(length as u8),
        128..=255 => element.extend([0x81, length as u8]),
        256..=0xffff => element.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => element.extend([
            0x83,
            (length >> 16) as u8,
            (length >> 8) as u8,
            length as u8,
        ]),
    }
    element.extend_from_slice(content);
    element
}

pub(crate) fn extension(oid: &[u64], critical: bool, content: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content);
    extension.set_criticality(critical);
    extension
}

/// Names that rcgen would not write: tag and content of each.
pub(crate) fn raw_names(names: &[(u8, &[u8])]) -> CustomExtension {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|(tag, content)| element(*tag, content))
        .collect();
    extension(&[2, 5, 29, 17], false, element(0x30, &names))
}

impl Made {
    /// Signed by its own key.
    pub(crate) fn own(params: CertificateParams) -> Self {
        let key = key();
        let certificate = params.self_signed(&Shim::new(&key)).unwrap();
        let der = certificate.der().clone();
        Self { key, params, der }
    }

    pub(crate) fn root() -> Self {
        Self::own(with(ca("Root"), |root| {
            root.not_after = rcgen::date_time_ymd(2036, 1, 1);
        }))
    }

    /// Signed by this one, whatever that is.
    pub(crate) fn issue(&self, params: CertificateParams) -> Self {
        self.issue_to(params, key())
    }

    pub(crate) fn issue_to(&self, params: CertificateParams, key: SigningKey) -> Self {
        let issuer = Issuer::new(self.params.clone(), Shim::new(&self.key));
        let certificate = params.signed_by(&Shim::new(&key), &issuer).unwrap();
        let der = certificate.der().clone();
        Self { key, params, der }
    }

    pub(crate) fn read(&self) -> Certificate {
        Certificate::from_der(&self.der).unwrap()
    }

    /// A CRL of this CA that lists these certificates.
    pub(crate) fn crl(&self, revoked: &[&Self], number: u64) -> Arc<CrlIndex> {
        let issuer = CrlIssuer::from_certificate(&self.read()).unwrap();
        let signer = CrlSigner::new(issuer.clone(), self.key.verifying_key()).unwrap();
        let mut list = RevocationList::new(Scope::everything());
        for one in revoked {
            let serial = one.read().serial().clone();
            let reason = RevocationReason::KeyCompromise;
            list.revoke(&ListedRevocation::new(serial, now(), reason))
                .unwrap();
        }
        let number = CrlNumbers::first()
            .claim_exactly(CrlNumber::from(number))
            .unwrap();
        let times = UpdateTimes::new(at(NOW - HOUR), at(NOW + HOUR)).unwrap();
        let prepared = list.prepare(&signer, number, times).unwrap();
        let der = prepared.sign(&self.key).unwrap().into_der();
        let crl = UnverifiedCrl::parse(&der, &CrlLimits::default()).unwrap();
        Arc::new(CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap())
    }
}

/// Another key identifier.
pub(crate) fn key_id(bytes: [u8; 4]) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(bytes.to_vec())
}

pub(crate) fn chain(made: &[&Made]) -> Vec<CertificateDer<'static>> {
    made.iter().map(|one| one.der.clone()).collect()
}

/// A bundle of what can be read of these.
pub(crate) fn trust(authorities: &[&Made]) -> TrustBundles {
    let authorities = authorities
        .iter()
        .filter_map(|one| Certificate::from_der(&one.der).ok());
    TrustBundles::new().with(TrustBundle::new(domain(), authorities))
}

/// Of the one machine, without CRLs.
pub(crate) fn verifier() -> ChainVerifier {
    of(ExpectedPeer::service(billing()))
}

pub(crate) fn of(expected: ExpectedPeer) -> ChainVerifier {
    ChainVerifier::new(expected, RevocationRule::danger_accept_unknown())
}

pub(crate) fn of_name(name: &str) -> ChainVerifier {
    of(ExpectedPeer::dns_name(name, domain()).unwrap())
}

/// Verifies and explains, which must agree.
pub(crate) fn judge(
    verifier: &ChainVerifier,
    chain: &[CertificateDer<'_>],
    trust: &TrustBundles,
) -> Result<VerifiedPeer, ChainError> {
    judge_at(verifier, chain, trust, &CrlSet::new(), now())
}

pub(crate) fn judge_at(
    verifier: &ChainVerifier,
    chain: &[CertificateDer<'_>],
    trust: &TrustBundles,
    crls: &CrlSet,
    now: Timestamp,
) -> Result<VerifiedPeer, ChainError> {
    let result = verifier.verify(chain, PeerRole::Client, trust, crls, now);
    let report = verifier.explain(chain, PeerRole::Client, trust, crls, now);
    assert_eq!(result.as_ref().err(), report.verdict().err());
    let drawn = report.to_string();
    assert_eq!(result.is_err(), drawn.contains('✗'), "{drawn}");
    if let Err(error) = &result {
        let text = error.to_string();
        assert!(
            text.len() <= 512 && !text.contains(char::is_control),
            "{text}"
        );
    }
    result
}
