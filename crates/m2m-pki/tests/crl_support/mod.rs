//! A CA of a moment, made by rcgen with our keys, and certificates of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]

use m2m_crypto::{Algorithm, SigningKey, SystemRandom, ecdsa_fixed_to_der};
use m2m_pki::RevocationReason;
use m2m_pki::*;
use m2m_types::Timestamp;
use rcgen::*;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const DAY: u64 = 86_400;
/// The serial of [`certificate`].
pub(crate) const SERIAL: u64 = 0x4242;

pub(crate) struct Ca {
    pub(crate) key: SigningKey,
    pub(crate) certificate: m2m_pki::Certificate,
    pub(crate) issuer: CrlIssuer,
    pub(crate) signer: CrlSigner,
}

struct Key<'a>(&'a SigningKey, Vec<u8>);

impl PublicKeyData for Key<'_> {
    fn der_bytes(&self) -> &[u8] {
        // What follows the header of a P-256 SubjectPublicKeyInfo.
        &self.1[self.1.len() - 65..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let mut fixed = [0; 64];
        self.0.sign(message, &mut fixed).unwrap();
        Ok(ecdsa_fixed_to_der(Algorithm::Es256, &fixed).unwrap())
    }
}

pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

pub(crate) fn times() -> UpdateTimes {
    UpdateTimes::new(time(NOW), time(NOW + DAY)).unwrap()
}

pub(crate) fn serial(number: u64) -> Serial {
    Serial::from_bytes(&number.max(1).to_be_bytes()).unwrap()
}

pub(crate) fn revocation(number: u64) -> ListedRevocation {
    revocation_of(serial(number))
}

pub(crate) fn revocation_of(serial: Serial) -> ListedRevocation {
    ListedRevocation::new(serial, time(NOW), RevocationReason::KeyCompromise)
}

pub(crate) fn parse(der: &[u8]) -> Result<UnverifiedCrl<'_>, CrlError> {
    UnverifiedCrl::parse(der, &CrlLimits::default())
}

/// A certificate of nobody's key, by names alone.
pub(crate) fn certificate(
    issuer: &str,
    subject: &str,
    points: &[&str],
    is_ca: bool,
    crl_sign: bool,
) -> m2m_pki::Certificate {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    make(&key, &key, issuer, subject, points, is_ca, crl_sign)
}

#[allow(clippy::too_many_arguments, reason = "facts of one certificate")]
fn make(
    key: &SigningKey,
    issuer_key: &SigningKey,
    issuer: &str,
    subject: &str,
    points: &[&str],
    is_ca: bool,
    crl_sign: bool,
) -> m2m_pki::Certificate {
    let with_spki = |key| Key(key, SigningKey::verifying_key(key).to_spki_der().to_vec());
    let (key, issuer_key) = (with_spki(key), with_spki(issuer_key));
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(SERIAL));
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2035, 1, 1);
        params
    };
    let mut own = params(subject);
    own.is_ca = if is_ca {
        IsCa::Ca(BasicConstraints::Unconstrained)
    } else {
        IsCa::ExplicitNoCa
    };
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if is_ca {
        own.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    if crl_sign {
        own.key_usages.push(KeyUsagePurpose::CrlSign);
    }
    let points = points.iter().map(|uri| CrlDistributionPoint {
        uris: vec![(*uri).into()],
    });
    own.crl_distribution_points = points.collect();
    let der = own
        .signed_by(&key, &Issuer::new(params(issuer), issuer_key))
        .unwrap();
    m2m_pki::Certificate::from_der(der.der()).unwrap()
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let certificate = make(&key, &key, name, name, &[], true, true);
        let issuer = CrlIssuer::from_certificate(&certificate).unwrap();
        let signer = CrlSigner::new(issuer.clone(), key.verifying_key()).unwrap();
        Self {
            key,
            certificate,
            issuer,
            signer,
        }
    }

    /// A leaf that this CA named CA signed.
    pub(crate) fn leaf(&self, points: &[&str]) -> m2m_pki::Certificate {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        make(&key, &self.key, "CA", "leaf", points, false, false)
    }

    pub(crate) fn number(&self, number: u64) -> FreshCrlNumber {
        CrlNumbers::first()
            .claim_exactly(CrlNumber::from(number))
            .unwrap()
    }

    pub(crate) fn sign(&self, prepared: PreparedCrl) -> Vec<u8> {
        prepared.sign(&self.key).unwrap().into_der()
    }

    pub(crate) fn crl_of(&self, mut list: RevocationList, serials: &[u64], number: u64) -> Vec<u8> {
        for serial in serials {
            list.revoke(&revocation(*serial)).unwrap();
        }
        let prepared = list.prepare(&self.signer, self.number(number), times());
        self.sign(prepared.unwrap())
    }

    pub(crate) fn crl(&self, serials: &[u64], number: u64) -> Vec<u8> {
        self.crl_of(RevocationList::new(Scope::everything()), serials, number)
    }

    pub(crate) fn index_of(&self, der: &[u8]) -> CrlIndex {
        let crl = parse(der).unwrap().verify(&self.issuer).unwrap();
        CrlIndex::build(&crl).unwrap()
    }

    pub(crate) fn index(&self, serials: &[u64], number: u64) -> CrlIndex {
        self.index_of(&self.crl(serials, number))
    }
}
