//! Keys of m2m-crypto as rustls wants them.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::Algorithm;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::SubjectPublicKeyInfoDer;

use crate::key;

/// A key that stays in m2m-crypto: rustls gets signatures, never the key.
pub(super) struct OwnKey {
    key: Arc<m2m_crypto::SigningKey>,
    spki: Box<[u8]>,
    scheme: SignatureScheme,
    algorithm: SignatureAlgorithm,
}

impl OwnKey {
    /// [`None`] for keys that TLS 1.3 does not sign with (RFC 8446 §4.2.3): RSA is for PSS only.
    pub(super) fn new(key: m2m_crypto::SigningKey) -> Option<Self> {
        let (scheme, algorithm) = match key.algorithm() {
            Algorithm::Es256 => (
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureAlgorithm::ECDSA,
            ),
            Algorithm::Es384 => (
                SignatureScheme::ECDSA_NISTP384_SHA384,
                SignatureAlgorithm::ECDSA,
            ),
            Algorithm::Ed25519 | Algorithm::EdDsa => {
                (SignatureScheme::ED25519, SignatureAlgorithm::ED25519)
            }
            Algorithm::Ps256 => (SignatureScheme::RSA_PSS_SHA256, SignatureAlgorithm::RSA),
            Algorithm::Ps384 => (SignatureScheme::RSA_PSS_SHA384, SignatureAlgorithm::RSA),
            Algorithm::Ps512 => (SignatureScheme::RSA_PSS_SHA512, SignatureAlgorithm::RSA),
            _ => return None,
        };
        Some(Self {
            spki: key.verifying_key().to_spki_der().as_ref().into(),
            key: Arc::new(key),
            scheme,
            algorithm,
        })
    }
}

impl SigningKey for OwnKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme).then(|| {
            Box::new(OwnSigner {
                key: Arc::clone(&self.key),
                scheme: self.scheme,
            }) as Box<dyn Signer>
        })
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&*self.spki))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnKey({:?})", self.scheme)
    }
}

struct OwnSigner {
    key: Arc<m2m_crypto::SigningKey>,
    scheme: SignatureScheme,
}

impl Signer for OwnSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        // The form of X.509 is that of TLS too (RFC 8446 §4.2.3).
        key::sign(&self.key, message).ok_or_else(|| Error::General("the key did not sign".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for OwnSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnSigner({:?})", self.scheme)
    }
}
