//! `PublicKey`: the key that a certificate or a request is about, and signatures as X.509 has them.

use std::fmt;

use m2m_crypto::{
    Algorithm, KeyError, SigningKey, VerifyingKey, ecdsa_der_to_fixed, ecdsa_fixed_to_der, sha256,
};
use x509_parser::asn1_rs::{Oid, Tag, oid};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

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
    spki: Box<[u8]>,
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
        let malformed = KeyError::Malformed {
            format: m2m_crypto::KeyFormat::Spki,
        };
        if !strict::is_one_element(der) {
            return Err(malformed);
        }
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed)?;
        let algorithm = KeyAlgorithm::of(&info.algorithm).ok_or(KeyError::AlgorithmUnknown)?;
        Self::new(
            algorithm,
            VerifyingKey::from_spki_der(algorithm.usual(), der)?,
        )
    }

    /// The public half of a key that signs.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if it is of none of the kinds in [`KeyAlgorithm`].
    pub fn of(key: &SigningKey) -> Result<Self, KeyError> {
        Self::from_spki_der(&key.verifying_key().to_spki_der())
    }

    fn new(algorithm: KeyAlgorithm, verifying_key: VerifyingKey) -> Result<Self, KeyError> {
        let spki = verifying_key.to_spki_der().as_ref().into();
        Ok(Self {
            algorithm,
            verifying_key,
            spki,
        })
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
        match self.algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
                let mut fixed = [0; 96];
                ecdsa_der_to_fixed(scheme.algorithm, signature, &mut fixed)
                    .ok()
                    .and_then(|length| fixed.get(..length))
                    .is_some_and(|fixed| key.verify(message, fixed).is_ok())
            }
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Rsa => key.verify(message, signature).is_ok(),
        }
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
    fn of(identifier: &AlgorithmIdentifier<'_>) -> Option<Self> {
        if identifier.algorithm == RSA_ENCRYPTION {
            return Some(Self::Rsa);
        }
        if identifier.algorithm == ED25519 {
            return Some(Self::Ed25519);
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
            Self::Rsa => Algorithm::Rs256,
        }
    }

    /// How the encoder names it. For RSA the hash is not part of the key.
    pub(crate) fn encoder(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
            Self::Rsa => &rcgen::PKCS_RSA_SHA256,
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
        let oid: &[u8] = match self.algorithm {
            Algorithm::Es256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
            Algorithm::Es384 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
            _ => &[6, 3, 0x2b, 0x65, 0x70],
        };
        strict::sequence(oid)
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
            Self::Rsa => "RSA",
        })
    }
}
