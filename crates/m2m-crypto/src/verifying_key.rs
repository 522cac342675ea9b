//! `VerifyingKey`: a public key, parsed and checked once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls_pki_types::SubjectPublicKeyInfoDer;

#[cfg(feature = "aws-lc-rs")]
use crate::backend::aws_lc_rs;
use crate::backend::ring;
use crate::public_key::{PublicKey, jwk_kind};
use crate::{Algorithm, Backend, Jwk, KeyError, KeyKind, SignatureError, Thumbprint, pem};

/// A public key that was checked when it was loaded, and the one algorithm it verifies.
///
/// RSA moduli have 2048 to 8192 bits and an odd exponent of 3 or more; ECDSA points lie on their
/// curve; Ed25519 keys are canonical and not of small order. Cloning copies a pointer.
///
/// It cannot sign, and it does not accept a shared secret:
///
/// ```compile_fail,E0599
/// # fn jwt_015(key: &m2m_crypto::VerifyingKey) {
/// key.sign(b"message", &mut [0; 64]); // no method named `sign`
/// # }
/// ```
///
/// ```
/// use m2m_crypto::{Jwk, VerifyingKey};
///
/// let jwk = Jwk::from_json(br#"{"kty":"OKP","crv":"Ed25519",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// let key = VerifyingKey::from_jwk(&jwk)?;
/// // RFC 8037 appendix A.3
/// assert_eq!(key.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// assert!(key.verify(b"message", &[0; 64]).is_err());
/// # Ok::<(), m2m_crypto::KeyError>(())
/// ```
#[derive(Clone)]
pub struct VerifyingKey {
    inner: Arc<Inner>,
}

struct Inner {
    signature_bytes: usize,
    prepared: Prepared,
    algorithm: Algorithm,
    public: PublicKey,
    thumbprint: OnceLock<Thumbprint>,
}

enum Prepared {
    Ring(ring::VerifyKey),
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(aws_lc_rs::VerifyKey),
}

impl VerifyingKey {
    /// Loads a JWK (RFC 7517). Its `alg` decides the algorithm; without one the curve does
    /// (Ed25519 keys then answer for both names). Private members were already dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError::UsageForbidden`] if `use` or `key_ops` forbid verifying;
    /// [`KeyError::AlgorithmMissing`] for RSA without `alg`, see [`Self::from_jwk_as`];
    /// [`KeyError::AlgorithmUnknown`] and [`KeyError::AlgorithmMismatch`] if `alg`, `kty` and `crv`
    /// do not fit together; the others for members that are missing or invalid.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let algorithm = algorithm_of(jwk)?;
        Self::from_usable_jwk(jwk, algorithm)
    }

    /// [`Self::from_jwk`] for keys that do not say their algorithm, as many RSA keys.
    ///
    /// # Errors
    ///
    /// As [`Self::from_jwk`]; also [`KeyError::AlgorithmContradicts`] if the JWK says another one.
    pub fn from_jwk_as(jwk: &Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        check_algorithm(jwk, algorithm)?;
        Self::from_usable_jwk(jwk, algorithm)
    }

    fn from_usable_jwk(jwk: &Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !jwk.can_verify() {
            return Err(KeyError::UsageForbidden);
        }
        Self::new(algorithm, PublicKey::from_jwk(jwk)?)
    }

    /// Loads a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) as the key of `algorithm`.
    ///
    /// Takes `rsaEncryption`, `id-ecPublicKey` with a named curve and an uncompressed point,
    /// `id-Ed25519` and `id-ml-dsa-*`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`], [`KeyError::AlgorithmUnknown`] for other kinds of keys,
    /// [`KeyError::AlgorithmMismatch`], and the others for invalid numbers.
    pub fn from_spki_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        Self::new(algorithm, PublicKey::from_spki(der)?)
    }

    /// Loads `-----BEGIN PUBLIC KEY-----` (RFC 7468 §13) as the key of `algorithm`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] unless there is exactly one such section; else as
    /// [`Self::from_spki_der`].
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki_der(algorithm, &pem::decode_public(pem)?)
    }

    /// The same key, prepared by `backend`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unsupported`] if that library does not know the algorithm.
    pub fn with_backend(&self, backend: Backend) -> Result<Self, KeyError> {
        Self::prepare(self.algorithm(), self.inner.public.clone(), backend)
    }

    fn new(algorithm: Algorithm, public: PublicKey) -> Result<Self, KeyError> {
        Self::prepare(algorithm, public, Backend::default_for(algorithm)?)
    }

    pub(crate) fn prepare(
        algorithm: Algorithm,
        public: PublicKey,
        backend: Backend,
    ) -> Result<Self, KeyError> {
        check_kind(algorithm, public.kind())?;
        let prepared = match backend {
            Backend::Ring => Prepared::Ring(ring::VerifyKey::prepare(algorithm, &public)?),
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => {
                Prepared::AwsLcRs(aws_lc_rs::VerifyKey::prepare(algorithm, &public)?)
            }
        };
        let key = Self::with_prepared(algorithm, public, prepared);
        // Now, so that nothing is computed or allocated while tokens are verified.
        key.thumbprint();
        Ok(key)
    }

    /// A key that is not given out before it has verified something: *ring* looks at the point then. Most are
    /// never asked for their thumbprint, so that it waits until they are.
    pub(crate) fn prepare_unproven(
        algorithm: Algorithm,
        public: PublicKey,
    ) -> Result<Self, KeyError> {
        check_kind(algorithm, public.kind())?;
        match Backend::default_for(algorithm)? {
            Backend::Ring => {
                let prepared = ring::VerifyKey::prepare_unproven(algorithm, &public)?;
                Ok(Self::with_prepared(
                    algorithm,
                    public,
                    Prepared::Ring(prepared),
                ))
            }
            #[cfg(feature = "aws-lc-rs")]
            other @ Backend::AwsLcRs => Self::prepare(algorithm, public, other),
        }
    }

    fn with_prepared(algorithm: Algorithm, public: PublicKey, prepared: Prepared) -> Self {
        Self {
            inner: Arc::new(Inner {
                signature_bytes: public.signature_bytes(),
                prepared,
                algorithm,
                thumbprint: OnceLock::new(),
                public,
            }),
        }
    }

    /// Checks that `signature`, in the form JOSE gives it (RFC 7518 §3.3–3.5, RFC 8037 §3.1), is
    /// this key's signature of `message`.
    ///
    /// The length is looked at first. Allocates nothing of its own and takes no lock.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], whatever was wrong.
    #[inline]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let inner = &*self.inner;
        if signature.len() != inner.signature_bytes {
            return Err(SignatureError);
        }
        match &inner.prepared {
            Prepared::Ring(key) => key.verify(message, signature),
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(key) => key.verify(message, signature),
        }
    }

    /// The algorithm this key verifies.
    #[inline]
    pub fn algorithm(&self) -> Algorithm {
        self.inner.algorithm
    }

    /// The library that prepared this key.
    pub fn backend(&self) -> Backend {
        match self.inner.prepared {
            Prepared::Ring(_) => Backend::Ring,
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(_) => Backend::AwsLcRs,
        }
    }

    /// How many bytes every signature of this key has.
    #[inline]
    pub fn signature_bytes(&self) -> usize {
        self.inner.signature_bytes
    }

    /// The key as a JWK with `use` "sig" and its `alg`, without `kid`; see [`Jwk::with_kid`].
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            usage: Some("sig".into()),
            alg: Some(self.algorithm().name().into()),
            ..self.inner.public.to_jwk()
        }
    }

    /// The key as a `SubjectPublicKeyInfo`.
    pub fn to_spki_der(&self) -> SubjectPublicKeyInfoDer<'static> {
        self.inner.public.to_spki()
    }

    /// The key as `-----BEGIN PUBLIC KEY-----`.
    pub fn to_pem(&self) -> String {
        let pem = pem::encode("PUBLIC KEY", &self.to_spki_der());
        String::from_utf8_lossy(pem.expose_secret()).into_owned()
    }

    /// The RFC 7638 thumbprint, computed once: when the key was loaded, or if it came in a request
    /// ([`UnprovenKey`](crate::UnprovenKey)), when it is first asked for.
    pub fn thumbprint(&self) -> Thumbprint {
        let compute = || self.inner.public.thumbprint();
        *self.inner.thumbprint.get_or_init(compute)
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.inner.public
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("algorithm", &self.algorithm())
            .field("thumbprint", &self.thumbprint())
            .field("backend", &self.backend())
            .finish()
    }
}

/// The algorithm a JWK is for: its `alg`, or what its curve can only mean.
pub(crate) fn algorithm_of(jwk: &Jwk) -> Result<Algorithm, KeyError> {
    let kind = jwk_kind(jwk)?;
    let algorithm = match (jwk.alg(), kind) {
        (Some(name), _) => Algorithm::from_name(name).ok_or(KeyError::AlgorithmUnknown)?,
        (None, KeyKind::P256) => Algorithm::Es256,
        (None, KeyKind::P384) => Algorithm::Es384,
        (None, KeyKind::P521) => Algorithm::Es512,
        (None, KeyKind::Ed25519) => Algorithm::Ed25519,
        (None, kind) => return Err(KeyError::AlgorithmMissing { kind }),
    };
    check_kind(algorithm, kind)?;
    Ok(algorithm)
}

/// Whether a JWK may be used for `algorithm`.
pub(crate) fn check_algorithm(jwk: &Jwk, algorithm: Algorithm) -> Result<(), KeyError> {
    let Some(name) = jwk.alg() else {
        return Ok(());
    };
    let key = Algorithm::from_name(name).ok_or(KeyError::AlgorithmUnknown)?;
    if key.accepts(algorithm) {
        return Ok(());
    }
    Err(KeyError::AlgorithmContradicts {
        key,
        asked: algorithm,
    })
}

pub(crate) fn check_kind(algorithm: Algorithm, kind: KeyKind) -> Result<(), KeyError> {
    if algorithm.key_kind() == kind {
        return Ok(());
    }
    Err(KeyError::AlgorithmMismatch { algorithm, kind })
}
