//! `PublicKey`: the key that a certificate or a request is about, and signatures as X.509 has them.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{
    Algorithm, KeyError, SigningKey, UnprovenKey, VerifyingKey, ecdsa_der_to_fixed,
    ecdsa_fixed_to_der, sha256,
};
use x509_parser::asn1_rs::{Oid, Tag, oid};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::crl::signature;
use crate::strict;

/// The kinds of keys that certificates are issued for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256; signs with SHA-256.
    P256,
    /// ECDSA on P-384; signs with SHA-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44 (RFC 9881), with the feature `aws-lc-rs`.
    MlDsa44,
    /// ML-DSA-65, likewise.
    MlDsa65,
    /// ML-DSA-87, likewise.
    MlDsa87,
    /// RSA with PKCS#1 v1.5, at least 2048 bits; signs with SHA-256, SHA-384 or SHA-512. Authorities
    /// of this crate do not sign with it.
    Rsa,
}

/// A public key that was checked when it was read: on its curve, long enough, of a kind we know.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    // What ECDSA and Ed25519 signatures are checked with; RSA keys get one for each hash.
    verifying_key: VerifyingKey,
    spki: Arc<[u8]>,
}

/// How a signature in X.509 was made, by its `AlgorithmIdentifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    key: KeyAlgorithm,
    algorithm: Algorithm,
}

const RSA_ENCRYPTION: Oid<'static> = oid!(1.2.840.113549.1.1.1);
const EC_PUBLIC_KEY: Oid<'static> = oid!(1.2.840.10045.2.1);
const ED25519: Oid<'static> = oid!(1.3.101.112);
const ML_DSA_44: Oid<'static> = oid!(2.16.840.1.101.3.4.3.17);
const ML_DSA_65: Oid<'static> = oid!(2.16.840.1.101.3.4.3.18);
const ML_DSA_87: Oid<'static> = oid!(2.16.840.1.101.3.4.3.19);
const P256: Oid<'static> = oid!(1.2.840.10045.3.1.7);
const P384: Oid<'static> = oid!(1.3.132.0.34);

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7). Its own algorithm says what the key is.
    ///
    /// # Errors
    ///
    /// [`KeyError::AlgorithmUnknown`] for other kinds of keys, and what
    /// [`VerifyingKey::from_spki_der`] refuses: RSA below 2048 bits, points off the curve, …
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let algorithm = KeyAlgorithm::of_spki(der)?;
        let key = VerifyingKey::from_spki_der(algorithm.usual(), der)?;
        Ok(Self::new(algorithm, key))
    }

    /// The public half of a key that signs.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is of none of the kinds in [`KeyAlgorithm`].
    pub fn of(key: &SigningKey) -> Result<Self, KeyError> {
        Self::from_spki_der(&key.verifying_key().to_spki_der())
    }

    fn new(algorithm: KeyAlgorithm, verifying_key: VerifyingKey) -> Self {
        let spki = verifying_key.to_spki_der().as_ref().into();
        Self {
            algorithm,
            verifying_key,
            spki,
        }
    }

    /// What kind of key it is.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The key as a `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of [`PublicKey::spki_der`]: by this the ledger knows whose key it is.
    pub fn thumbprint(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// The key as it verifies signatures of its usual kind.
    pub(crate) fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// The bits of the key alone, the content of `subjectPublicKey`.
    pub(crate) fn bits(&self) -> &[u8] {
        let bits = strict::split(&self.spki)
            .and_then(|info| strict::split(info.content))
            .and_then(|algorithm| strict::split(algorithm.rest))
            .and_then(|bits| bits.content.split_first());
        bits.map(|(_, bits)| bits).unwrap_or_default()
    }

    /// `subjectKeyIdentifier`: the leftmost 160 bits of the key's SHA-256 (RFC 7093 §2 method 1).
    pub(crate) fn key_identifier(&self) -> [u8; 20] {
        let mut identifier = [0; 20];
        identifier
            .iter_mut()
            .zip(sha256(self.bits()))
            .for_each(|(to, from)| *to = from);
        identifier
    }

    /// Whether `signature`, as X.509 has it, is this key's signature of `message` under `scheme`.
    pub(crate) fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        // The key decides; the scheme is compared with it.
        if scheme.key != self.algorithm {
            return false;
        }
        let key = match scheme.algorithm == self.verifying_key.algorithm() {
            true => Ok(self.verifying_key.clone()),
            false => VerifyingKey::from_spki_der(scheme.algorithm, &self.spki),
        };
        let Ok(key) = key else { return false };
        let mut fixed = [0; 96];
        fixed_form(scheme, signature, &mut fixed)
            .is_some_and(|signature| key.verify(message, signature).is_ok())
    }
}

/// The key of a request: sound as far as can be told before its signature is checked.
pub(crate) enum ClaimedKey {
    /// Checking the signature says whether the point is on its curve, so that is not asked twice.
    Unproven(KeyAlgorithm, UnprovenKey),
    /// Its signatures may be of another kind than its usual one.
    Rsa(PublicKey),
}

impl ClaimedKey {
    /// As [`PublicKey::from_spki_der`], but for points off their curve.
    pub(crate) fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        Ok(match KeyAlgorithm::of_spki(der)? {
            KeyAlgorithm::Rsa => Self::Rsa(PublicKey::from_spki_der(der)?),
            algorithm => Self::Unproven(
                algorithm,
                UnprovenKey::from_spki_der(algorithm.usual(), der)?,
            ),
        })
    }

    /// What kind of key it is.
    pub(crate) fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Unproven(algorithm, _) => *algorithm,
            Self::Rsa(key) => key.algorithm(),
        }
    }

    /// The key, if `signature`, as X.509 has it, is its signature of `message` under `scheme`.
    pub(crate) fn prove(
        self,
        scheme: Scheme,
        message: &[u8],
        signature: &[u8],
    ) -> Option<PublicKey> {
        match self {
            Self::Rsa(key) => key.verifies(scheme, message, signature).then_some(key),
            // The key decides; the scheme is compared with it.
            Self::Unproven(algorithm, key) if scheme == algorithm.scheme() => {
                let mut fixed = [0; 96];
                let signature = fixed_form(scheme, signature, &mut fixed)?;
                let key = key.prove(message, signature).ok()?;
                Some(PublicKey::new(algorithm, key))
            }
            Self::Unproven(..) => None,
        }
    }
}

/// A signature of X.509 in the form of JOSE.
fn fixed_form<'a>(
    scheme: Scheme,
    signature: &'a [u8],
    fixed: &'a mut [u8; 96],
) -> Option<&'a [u8]> {
    match scheme.key {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
            let length = ecdsa_der_to_fixed(scheme.algorithm, signature, fixed).ok()?;
            fixed.get(..length)
        }
        _ => Some(signature),
    }
}

/// Signs `message` as X.509 wants it.
pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> Option<Vec<u8>> {
    let mut signature = vec![0; key.signature_bytes()];
    let length = key.sign(message, &mut signature).ok()?;
    signature.truncate(length);
    match key.algorithm() {
        algorithm @ (Algorithm::Es256 | Algorithm::Es384) => {
            ecdsa_fixed_to_der(algorithm, &signature).ok()
        }
        _ => Some(signature),
    }
}

impl KeyAlgorithm {
    fn of_spki(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed {
            format: m2m_crypto::KeyFormat::Spki,
        };
        if !strict::is_one_element(der) {
            return Err(malformed);
        }
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed)?;
        Self::of(&info.algorithm).ok_or(KeyError::AlgorithmUnknown)
    }

    fn of(identifier: &AlgorithmIdentifier<'_>) -> Option<Self> {
        if identifier.algorithm == RSA_ENCRYPTION {
            return Some(Self::Rsa);
        }
        if identifier.algorithm == ED25519 {
            return Some(Self::Ed25519);
        }
        // Parameters are absent (RFC 9881 §2), which m2m-crypto sees to.
        let post_quantum = [
            (ML_DSA_44, Self::MlDsa44),
            (ML_DSA_65, Self::MlDsa65),
            (ML_DSA_87, Self::MlDsa87),
        ];
        let found = post_quantum
            .into_iter()
            .find(|(name, _)| *name == identifier.algorithm);
        if let Some((_, algorithm)) = found {
            return Some(algorithm);
        }
        // Only named curves (RFC 5480 §2.1.1): explicit parameters name no point of ours.
        let curve = identifier.parameters.as_ref()?.as_oid().ok()?;
        match identifier.algorithm == EC_PUBLIC_KEY {
            true if curve == P256 => Some(Self::P256),
            true if curve == P384 => Some(Self::P384),
            _ => None,
        }
    }

    /// What it signs with if nothing else is said.
    fn usual(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::Ed25519 => Algorithm::Ed25519,
            Self::MlDsa44 => Algorithm::MlDsa44,
            Self::MlDsa65 => Algorithm::MlDsa65,
            Self::MlDsa87 => Algorithm::MlDsa87,
            Self::Rsa => Algorithm::Rs256,
        }
    }

    /// How an authority's key of this kind signs.
    pub(crate) fn scheme(self) -> Scheme {
        Scheme {
            key: self,
            algorithm: self.usual(),
        }
    }
}

impl Scheme {
    /// The scheme of `identifier`; [`None`] for those that are not taken: SHA-1, PSS, other curves.
    pub(crate) fn of(identifier: &AlgorithmIdentifier<'_>) -> Option<Self> {
        let known = [
            (ML_DSA_44, KeyAlgorithm::MlDsa44, Algorithm::MlDsa44),
            (ML_DSA_65, KeyAlgorithm::MlDsa65, Algorithm::MlDsa65),
            (ML_DSA_87, KeyAlgorithm::MlDsa87, Algorithm::MlDsa87),
            (
                oid!(1.2.840.10045.4.3.2),
                KeyAlgorithm::P256,
                Algorithm::Es256,
            ),
            (
                oid!(1.2.840.10045.4.3.3),
                KeyAlgorithm::P384,
                Algorithm::Es384,
            ),
            (ED25519, KeyAlgorithm::Ed25519, Algorithm::Ed25519),
            (
                oid!(1.2.840.113549.1.1.11),
                KeyAlgorithm::Rsa,
                Algorithm::Rs256,
            ),
            (
                oid!(1.2.840.113549.1.1.12),
                KeyAlgorithm::Rsa,
                Algorithm::Rs384,
            ),
            (
                oid!(1.2.840.113549.1.1.13),
                KeyAlgorithm::Rsa,
                Algorithm::Rs512,
            ),
        ];
        let (_, key, algorithm) = known
            .into_iter()
            .find(|(name, _, _)| *name == identifier.algorithm)?;
        // RSA says NULL or nothing (RFC 4055 §5), the others nothing (RFC 5758 §3.2, RFC 8410 §3).
        let parameters = match &identifier.parameters {
            None => true,
            Some(any) => key == KeyAlgorithm::Rsa && any.tag() == Tag::Null,
        };
        parameters.then_some(Self { key, algorithm })
    }

    /// The `AlgorithmIdentifier` of a scheme that authorities sign with.
    pub(crate) fn identifier(self) -> Vec<u8> {
        signature::identifier(self.algorithm).unwrap_or_default()
    }

    pub(crate) fn algorithm(self) -> Algorithm {
        self.algorithm
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("algorithm", &self.algorithm)
            .field("thumbprint", &self.verifying_key.thumbprint())
            .finish()
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
            Self::Rsa => "RSA",
        })
    }
}
