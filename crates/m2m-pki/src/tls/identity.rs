//! `Identity`: who we are in a handshake, certificates and key, never apart.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{Algorithm, KeyError};
use m2m_types::ServiceId;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::signer::OwnKey;
use crate::{
    Certificate, CertificateError, ChainError, KeyAlgorithm, PeerRole, PublicKey, SvidError,
};

/// A machine's certificate, what leads from it to an authority, and its key.
///
/// Holding one is the proof that the key is the certificate's. Whether the certificate is good *now*,
/// and leads to an authority of its own trust domain, is asked when [`LiveTls`](super::LiveTls) takes
/// it. Cloning copies pointers.
#[derive(Clone)]
pub struct Identity {
    service: ServiceId,
    leaf: Certificate,
    chain: Arc<[Certificate]>,
    certified: Arc<CertifiedKey>,
    /// A key that is elsewhere has to show that it signs, which takes the algorithms of a provider.
    probe: Option<Arc<dyn SigningKey>>,
}

/// Why something is no identity. The one that is in use stays.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("there is no certificate")]
    Empty,
    /// There are more than [`Identity::MAX_CERTIFICATES`].
    #[error("more than {limit} certificates")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// The text is not PEM to its end: half of a file, perhaps.
    #[error("after {complete} certificates comes something that is not PEM")]
    Pem {
        /// How many certificates were read before.
        complete: usize,
    },
    /// A certificate is not one.
    #[error("certificate {position}: {error}")]
    Certificate {
        /// Which, counted from 0.
        position: usize,
        /// What is wrong with it.
        error: CertificateError,
    },
    /// The first certificate names no machine.
    #[error("the certificate names no machine: {0}")]
    NotService(SvidError),
    /// The key cannot be read, or that of the certificate cannot.
    #[error("the key cannot be used: {0}")]
    Key(KeyError),
    /// The key is not that of the first certificate.
    #[error("the key is not that of the certificate")]
    OtherKey,
    /// TLS 1.3 does not sign with such a key (RFC 8446 §4.2.3).
    #[error("TLS 1.3 does not sign with {algorithm}")]
    Algorithm {
        /// What the key signs with.
        algorithm: Algorithm,
    },
    /// The key that is elsewhere did not sign, or not with the key of the certificate.
    #[error("the signer did not sign with the key of the certificate")]
    Signer,
    /// The chain does not hold: expired, not yet valid, revoked, or without a way to an authority of
    /// its own trust domain.
    #[error("as a {role}, others would refuse it: {error}")]
    Chain {
        /// As what it was looked at.
        role: PeerRole,
        /// What is wrong.
        error: ChainError,
    },
}

/// What TLS 1.3 signs handshakes with.
const SCHEMES: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

impl Identity {
    /// The most certificates: what peers read of a chain by default.
    pub const MAX_CERTIFICATES: usize = 10;
    /// The longest PEM that is read, in bytes.
    pub const MAX_PEM_BYTES: usize = 256 << 10;

    /// The holder of `key`, whose certificate is the first of `chain`; each of the others issued the
    /// one before. The authority itself is left out.
    ///
    /// The key stays in m2m-crypto: rustls gets its signatures.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], see there.
    pub fn new(
        chain: Vec<Certificate>,
        key: m2m_crypto::SigningKey,
    ) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Empty)?;
        let public_key = PublicKey::of(&key).map_err(IdentityError::Key)?;
        if leaf.public_key().map_err(IdentityError::Key)? != public_key {
            return Err(IdentityError::OtherKey);
        }
        let algorithm = key.algorithm();
        let key = OwnKey::new(key).ok_or(IdentityError::Algorithm { algorithm })?;
        Self::assemble(chain, Arc::new(key))
    }

    /// [`Identity::new`] for a key that is elsewhere, in an HSM or a KMS, or for one of a provider's
    /// own. When [`LiveTls`](super::LiveTls) takes the identity the signer has to sign something, and
    /// the certificate's key to verify it.
    ///
    /// Signing blocks the handshake, and the thread it runs on.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], see there.
    pub fn with_signer(
        chain: Vec<Certificate>,
        signer: Arc<dyn SigningKey>,
    ) -> Result<Self, IdentityError> {
        let mut identity = Self::assemble(chain, Arc::clone(&signer))?;
        identity.probe = Some(signer);
        Ok(identity)
    }

    /// Reads the certificates in `chain`, the machine's own first, and its private key in `key`.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]; [`IdentityError::Pem`] if either is only half there.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = certificates(chain)?;
        let leaf = chain.first().ok_or(IdentityError::Empty)?;
        let algorithm = match leaf.public_key().map_err(IdentityError::Key)?.algorithm() {
            KeyAlgorithm::P256 => Algorithm::Es256,
            KeyAlgorithm::P384 => Algorithm::Es384,
            KeyAlgorithm::Ed25519 => Algorithm::Ed25519,
            KeyAlgorithm::Rsa => Algorithm::Ps256,
            // Loaded, and then refused: TLS has no signature scheme for it here.
            KeyAlgorithm::MlDsa44 => Algorithm::MlDsa44,
            KeyAlgorithm::MlDsa65 => Algorithm::MlDsa65,
            KeyAlgorithm::MlDsa87 => Algorithm::MlDsa87,
        };
        let key =
            m2m_crypto::SigningKey::from_pem(algorithm, key).map_err(|error| match error {
                // The key is fine and another certificate's.
                KeyError::AlgorithmMismatch { .. } => IdentityError::OtherKey,
                error => IdentityError::Key(error),
            })?;
        Self::new(chain, key)
    }

    fn assemble(chain: Vec<Certificate>, key: Arc<dyn SigningKey>) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Empty)?;
        if chain.len() > Self::MAX_CERTIFICATES {
            let limit = Self::MAX_CERTIFICATES;
            return Err(IdentityError::TooMany { limit });
        }
        let service = leaf.service_id().map_err(IdentityError::NotService)?;
        let ders = chain.iter().map(|one| one.der().clone()).collect();
        Ok(Self {
            service,
            leaf: leaf.clone(),
            chain: chain.into(),
            certified: Arc::new(CertifiedKey::new(ders, key)),
            probe: None,
        })
    }

    /// Who it is.
    pub fn service_id(&self) -> &ServiceId {
        &self.service
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.leaf
    }

    /// Its certificate and those that lead to an authority.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Whether it is this very one, key included.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certified, &other.certified)
    }

    pub(super) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Has a key that is elsewhere show that it is the certificate's, and that it is there.
    pub(super) fn prove(
        &self,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), IdentityError> {
        const MESSAGE: &[u8] = b"m2m: does this key belong to that certificate?";
        let Some(key) = &self.probe else {
            return Ok(());
        };
        let public_key = self
            .certificate()
            .public_key()
            .map_err(IdentityError::Key)?;
        let signer = key.choose_scheme(&SCHEMES).ok_or(IdentityError::Signer)?;
        let signature = signer.sign(MESSAGE).map_err(|_| IdentityError::Signer)?;
        let scheme = signer.scheme();
        let is_genuine = algorithms
            .mapping
            .iter()
            .filter(|(known, _)| *known == scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| {
                algorithm
                    .verify_signature(public_key.bits(), MESSAGE, &signature)
                    .is_ok()
            });
        match is_genuine {
            true => Ok(()),
            false => Err(IdentityError::Signer),
        }
    }
}

/// All certificates in `pem`, which is PEM to its end.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, IdentityError> {
    if pem.len() > Identity::MAX_PEM_BYTES {
        return Err(IdentityError::Pem { complete: 0 });
    }
    let mut chain = Vec::new();
    for section in CertificateDer::pem_slice_iter(pem) {
        let position = chain.len();
        let der = section.map_err(|_| IdentityError::Pem { complete: position })?;
        if position >= Identity::MAX_CERTIFICATES {
            let limit = Identity::MAX_CERTIFICATES;
            return Err(IdentityError::TooMany { limit });
        }
        let certificate = Certificate::from_der(&der)
            .map_err(|error| IdentityError::Certificate { position, error })?;
        chain.push(certificate);
    }
    Ok(chain)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("service", &self.service)
            .field("certificate", self.certificate())
            .finish_non_exhaustive()
    }
}
