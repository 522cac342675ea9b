//! `Certificate`: a certificate and what it says, read once.

mod common_name;
mod error;
mod read;
mod svid;
mod usage;

pub use error::CertificateError;
pub use svid::SvidError;
pub use usage::{ExtendedKeyUsage, KeyUsage};

pub(crate) use read::{dns_name, shorten};

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use m2m_crypto::{CertificateThumbprint, KeyError};
use m2m_types::Timestamp;
use rustls_pki_types::{AlgorithmIdentifier, CertificateDer, alg_id};

use crate::crl::IssuerId;
use crate::key::Scheme;
use crate::strict::Part;
use crate::{PublicKey, Serial, pem, strict};

/// A certificate (RFC 5280 §4) in DER, with its facts read and its form checked. **Not** whether
/// anybody trustworthy signed it.
///
/// Strict: exactly one element of DER in its shortest form, version 3, at most
/// [`Certificate::MAX_BYTES`] ([`Certificate::MAX_LEAF_BYTES`] unless it is a CA's), at most
/// [`Certificate::MAX_EXTENSIONS`] extensions, none twice, none critical that is not understood, one
/// signature algorithm inside and outside. Cloning copies a pointer.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
}

struct Inner {
    der: CertificateDer<'static>,
    /// Hashed when they are first asked for, which is never for most of what strangers send.
    thumbprint: OnceLock<CertificateThumbprint>,
    issuer_id: OnceLock<IssuerId>,
    facts: Facts,
}

/// What a certificate says.
pub(crate) struct Facts {
    serial: Serial,
    issuer: Part,
    subject: Part,
    spki: Part,
    not_before: Timestamp,
    not_after: Timestamp,
    tbs: Part,
    scheme: Option<Scheme>,
    signature: Part,
    extensions: Extensions,
}

/// What its extensions say.
#[derive(Default)]
pub(crate) struct Extensions {
    pub(crate) has_basic_constraints: bool,
    pub(crate) has_critical_constraints: bool,
    pub(crate) is_ca: bool,
    pub(crate) path_len: Option<u32>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(crate) uris: Vec<Box<str>>,
    pub(crate) dns_names: Vec<Box<str>>,
    pub(crate) ip_addresses: Vec<IpAddr>,
    pub(crate) other_names: usize,
    pub(crate) has_critical_names: bool,
    pub(crate) subject_key_id: Option<Box<[u8]>>,
    pub(crate) authority_key_id: Option<Box<[u8]>>,
    pub(crate) crl_distribution_points: Vec<Box<str>>,
    pub(crate) has_no_rev_avail: bool,
    /// The whole value.
    pub(crate) name_constraints: Option<Box<[u8]>>,
    /// Those that are not looked at.
    pub(crate) others: Vec<Box<str>>,
}

impl Certificate {
    /// The largest certificate of a CA that is read, in bytes: post-quantum keys and signatures, and
    /// name constraints by the hundred, fit.
    pub const MAX_BYTES: usize = 64 << 10;
    /// The largest certificate of anything else: hundreds of names fit.
    pub const MAX_LEAF_BYTES: usize = 16 << 10;
    /// The most extensions. RFC 5280 knows sixteen.
    pub const MAX_EXTENSIONS: usize = 64;

    /// Reads `der`, all of it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], see there.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let facts = read::read(der)?;
        Ok(Self {
            inner: Arc::new(Inner {
                der: CertificateDer::from(der.to_vec()),
                thumbprint: OnceLock::new(),
                issuer_id: OnceLock::new(),
                facts,
            }),
        })
    }

    /// Reads the one `-----BEGIN CERTIFICATE-----` in `pem` (RFC 7468 §5).
    ///
    /// # Errors
    ///
    /// [`CertificateError::Pem`] unless there is exactly one; else as [`Certificate::from_der`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let der: CertificateDer<'_> =
            pem::only(pem, Self::MAX_BYTES).map_err(|found| CertificateError::Pem { found })?;
        Self::from_der(&der)
    }

    /// The certificate in DER, as TLS wants it.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.inner.der
    }

    /// The certificate in PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.inner.der)
    }

    /// `serialNumber`.
    pub fn serial(&self) -> &Serial {
        &self.inner.facts.serial
    }

    /// `issuer`, the whole name in DER.
    pub fn issuer_der(&self) -> &[u8] {
        self.inner.facts.issuer.in_whole(&self.inner.der)
    }

    /// `subject`, the whole name in DER. Empty names are `30 00`.
    pub fn subject_der(&self) -> &[u8] {
        self.inner.facts.subject.in_whole(&self.inner.der)
    }

    /// `subjectPublicKeyInfo` in DER, as it stands there.
    pub fn spki_der(&self) -> &[u8] {
        self.inner.facts.spki.in_whole(&self.inner.der)
    }

    /// The public key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is of a kind we do not know, or weak.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki_der(self.spki_der())
    }

    /// `notBefore`: valid from this second on.
    pub fn not_before(&self) -> Timestamp {
        self.inner.facts.not_before
    }

    /// `notAfter`: valid to this second, and in it (RFC 5280 §4.1.2.5).
    pub fn not_after(&self) -> Timestamp {
        self.inner.facts.not_after
    }

    /// Whether `now` is within its life.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before() <= now && now <= self.not_after()
    }

    /// Whether `basicConstraints` says that its key signs certificates.
    pub fn is_ca(&self) -> bool {
        self.extensions().is_ca
    }

    /// `pathLenConstraint`: how many intermediates may stand below it.
    pub fn path_len(&self) -> Option<u32> {
        self.extensions().path_len
    }

    /// `keyUsage`, if it is there.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions().key_usage
    }

    /// `extKeyUsage`, if it is there.
    pub fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        self.extensions().extended_key_usage
    }

    /// URIs among the `subjectAltName`s.
    pub fn uris(&self) -> impl ExactSizeIterator<Item = &str> {
        self.extensions().uris.iter().map(|uri| &**uri)
    }

    /// DNS names among the `subjectAltName`s.
    pub fn dns_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.extensions().dns_names.iter().map(|name| &**name)
    }

    /// IP addresses among the `subjectAltName`s.
    pub fn ip_addresses(&self) -> &[IpAddr] {
        &self.extensions().ip_addresses
    }

    /// How many `subjectAltName`s are neither URI nor DNS name nor IP address.
    pub fn other_names(&self) -> usize {
        self.extensions().other_names
    }

    /// `subjectKeyIdentifier`, if it is there.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions().subject_key_id.as_deref()
    }

    /// The key identifier in `authorityKeyIdentifier`, if it is there.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.extensions().authority_key_id.as_deref()
    }

    /// The URIs under which CRLs that cover it are to be had.
    pub fn crl_distribution_points(&self) -> impl ExactSizeIterator<Item = &str> {
        let points = &self.extensions().crl_distribution_points;
        points.iter().map(|uri| &**uri)
    }

    /// Whether it says that its issuer publishes no revocation for it (RFC 9608).
    pub fn has_no_rev_avail(&self) -> bool {
        self.extensions().has_no_rev_avail
    }

    /// Whether it constrains the names below it (RFC 5280 §4.2.1.10).
    pub fn has_name_constraints(&self) -> bool {
        self.extensions().name_constraints.is_some()
    }

    /// The `nameConstraints` in DER.
    pub(crate) fn name_constraints(&self) -> Option<&[u8]> {
        self.extensions().name_constraints.as_deref()
    }

    /// Whether `subjectAltName` is critical.
    pub(crate) fn has_critical_names(&self) -> bool {
        self.extensions().has_critical_names
    }

    /// Whether `basicConstraints` is critical.
    pub(crate) fn has_critical_constraints(&self) -> bool {
        self.extensions().has_critical_constraints
    }

    /// Whether `subject` says anything.
    pub(crate) fn has_subject(&self) -> bool {
        self.subject_der() != [0x30, 0]
    }

    /// How long an RSA key is (RFC 8017 A.1.1); [`None`] for other keys.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        let (algorithm, key) = self.key_parts()?;
        if algorithm != alg_id::RSA_ENCRYPTION.as_ref() {
            return None;
        }
        let modulus = strict::split(strict::split(key)?.content)?.content;
        let digits = modulus.iter().skip_while(|byte| **byte == 0);
        let top = *digits.clone().next()?;
        Some(digits.count() * 8 - top.leading_zeros() as usize)
    }

    /// Whether its key is one of ML-DSA.
    pub(crate) fn has_ml_dsa_key(&self) -> bool {
        let names = [alg_id::ML_DSA_44, alg_id::ML_DSA_65, alg_id::ML_DSA_87];
        self.key_parts()
            .is_some_and(|(algorithm, _)| names.iter().any(|name| name.as_ref() == algorithm))
    }

    /// Whether its key has the form of one on P-256 or P-384, of Ed25519, or of ML-DSA if that is known.
    pub(crate) fn has_known_key(&self) -> bool {
        self.key_parts().is_some_and(|(algorithm, key)| {
            let is = |known: AlgorithmIdentifier| algorithm == known.as_ref();
            match key {
                [4, point @ ..] if is(alg_id::ECDSA_P256) => point.len() == 64,
                [4, point @ ..] if is(alg_id::ECDSA_P384) => point.len() == 96,
                key if is(alg_id::ED25519) => key.len() == 32,
                _ if cfg!(not(feature = "aws-lc-rs")) => false,
                key if is(alg_id::ML_DSA_44) => key.len() == 1312,
                key if is(alg_id::ML_DSA_65) => key.len() == 1952,
                key => is(alg_id::ML_DSA_87) && key.len() == 2592,
            }
        })
    }

    /// The content of the algorithm identifier, and the bits of the key.
    fn key_parts(&self) -> Option<(&[u8], &[u8])> {
        let [algorithm, key] = strict::fields(self.spki_der(), 0x30)?;
        let (&0, key) = strict::split(key)?.content.split_first()? else {
            return None;
        };
        Some((strict::split(algorithm)?.content, key))
    }

    /// Which issuer its holder is, if it is a CA.
    pub(crate) fn issuer_id(&self) -> IssuerId {
        let id = &self.inner.issuer_id;
        *id.get_or_init(|| IssuerId::new(self.subject_der(), self.spki_der()))
    }

    /// What its issuer signed.
    pub(crate) fn tbs(&self) -> &[u8] {
        self.inner.facts.tbs.in_whole(&self.inner.der)
    }

    /// SHA-256 of the DER: what a token that is bound to this certificate names (RFC 8705 §3.1).
    pub fn thumbprint(&self) -> &CertificateThumbprint {
        let thumbprint = &self.inner.thumbprint;
        thumbprint.get_or_init(|| CertificateThumbprint::of_der(&self.inner.der))
    }

    /// [`Certificate::thumbprint`] in base64url: what a bound token says as `x5t#S256`
    /// (RFC 8705 §3.1).
    pub fn x5t_s256(&self) -> String {
        self.thumbprint().to_string()
    }

    /// Whether `key` made its signature. One rule of many: not that the key's holder may issue.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Inner { facts, der, .. } = &*self.inner;
        let signature = facts.signature.in_whole(der);
        let verifies = |scheme| key.verifies(scheme, self.tbs(), signature);
        facts.scheme.is_some_and(verifies)
    }

    fn extensions(&self) -> &Extensions {
        &self.inner.facts.extensions
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.inner.der == other.inner.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", self.serial())
            .field("x5t_s256", &self.x5t_s256())
            .field("not_after", &self.not_after())
            .finish_non_exhaustive()
    }
}
