//! `SigningKey`: a private key, checked against its public key and prepared once.

use std::fmt;

#[cfg(feature = "aws-lc-rs")]
use crate::backend::aws_lc_rs;
use crate::backend::ring;
use crate::memory::with_scrubbed_stack;
use crate::pem::{self, PrivatePem};
use crate::private_key::{Parsed, PrivateKey};
use crate::public_key::PublicKey;
use crate::verifying_key::{algorithm_of, check_algorithm, check_kind};
use crate::{Algorithm, Backend, KeyError, SecretBytes, SecureRandom, SignError, VerifyingKey};

/// A private key and the one algorithm it signs with. Not `Clone`; wiped on drop.
///
/// Loading one checks that its private part belongs to its public part.
///
/// ```
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
///
/// let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let mut signature = [0; 64];
/// assert_eq!(key.sign(b"message", &mut signature)?, 64);
/// key.verifying_key().verify(b"message", &signature)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is not wiped: *ring* keeps the numbers of an RSA key in heap blocks of its own and frees
/// them as they are. An RSA key that must leave nothing behind is loaded by
/// [`Self::from_pem_with_backend`] and its like with `Backend::AwsLcRs`, which cleanses what it frees.
pub struct SigningKey {
    prepared: Prepared,
    private: PrivateKey,
    verifying_key: VerifyingKey,
}

enum Prepared {
    Ring(ring::SignKey),
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(aws_lc_rs::SignKey),
}

/// The size of a new RSA key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RsaModulus {
    /// 112 bits of security (SP 800-57 part 1, table 2): what RFC 7518 §3.3 demands at least.
    Bits2048,
    /// 128 bits of security.
    Bits3072,
    /// About 140 bits of security.
    Bits4096,
}

impl SigningKey {
    /// Makes a new key. RSA keys get a modulus of 2048 bits; see [`Self::generate_rsa`].
    ///
    /// Ed25519 and ML-DSA keys are made from `random` alone. For ECDSA and RSA the libraries insist
    /// on their own generators, seeded by the operating system: there `random` is only asked for 32
    /// bytes that are thrown away, so that a source that fails still means no key.
    ///
    /// # Errors
    ///
    /// [`KeyError::Random`]; [`KeyError::Unsupported`] for RSA, ES512 and ML-DSA without the
    /// `aws-lc-rs` feature; [`KeyError::AlgorithmMismatch`] for HMAC, which
    /// [`MacKey`](crate::MacKey) makes.
    pub fn generate(algorithm: Algorithm, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| Self::make(algorithm, random))
    }

    fn make(algorithm: Algorithm, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        let seed = SecretBytes::random(32, random)?;
        let parsed = match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => ring::generate_ecdsa(algorithm)?,
            Algorithm::Ed25519 | Algorithm::EdDsa => Parsed {
                private: PrivateKey::Ed25519 { seed },
                public: None,
            },
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => Parsed {
                private: PrivateKey::MlDsa {
                    kind: algorithm.key_kind(),
                    seed,
                    expanded: None,
                },
                public: None,
            },
            Algorithm::Es512 => generate_es512()?,
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                return Err(KeyError::AlgorithmMismatch {
                    algorithm,
                    kind: algorithm.key_kind(),
                });
            }
            _ => return Self::generate_rsa(algorithm, RsaModulus::Bits2048, random),
        };
        Self::new(algorithm, parsed)
    }

    /// Makes a new RSA key of the given size, prepared by `aws-lc-rs`, for an RS or PS algorithm.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unsupported`] without the `aws-lc-rs` feature; else as [`Self::generate`].
    pub fn generate_rsa(
        algorithm: Algorithm,
        modulus: RsaModulus,
        random: &dyn SecureRandom,
    ) -> Result<Self, KeyError> {
        check_kind(algorithm, crate::KeyKind::Rsa)?;
        SecretBytes::random(32, random)?;
        let backend = Backend::beyond_ring(algorithm)?;
        let parsed = generate_rsa(algorithm, modulus)?;
        Self::assemble(algorithm, parsed, backend)
    }

    /// Loads an unencrypted PKCS#8 key (RFC 5958) as the key of `algorithm`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`]; [`KeyError::PartsMismatch`] if private and public part disagree;
    /// [`KeyError::PublicPartMissing`] for an EC key without its public key where the library cannot
    /// derive it (*ring* cannot); [`KeyError::AlgorithmMismatch`]; and the others for invalid
    /// numbers.
    pub fn from_pkcs8_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| Self::new(algorithm, Parsed::from_pkcs8(der)?))
    }

    /// [`Self::from_pkcs8_der`], prepared by `backend` from the start: no other library ever sees the
    /// key.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pkcs8_der`] and [`Self::with_backend`].
    pub fn from_pkcs8_der_with_backend(
        algorithm: Algorithm,
        der: &[u8],
        backend: Backend,
    ) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| Self::assemble(algorithm, Parsed::from_pkcs8(der)?, backend))
    }

    /// Loads the one private key in `pem` as the key of `algorithm`: `PRIVATE KEY` (PKCS#8),
    /// `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC 1). Encrypted keys are refused.
    ///
    /// `pem` stays the caller's to wipe; nothing else of it is left.
    ///
    /// # Errors
    ///
    /// [`KeyError::Malformed`] unless there is exactly one such section; else as
    /// [`Self::from_pkcs8_der`].
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| Self::new(algorithm, from_pem(pem)?))
    }

    /// [`Self::from_pem`], prepared by `backend` from the start: no other library ever sees the key.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem`] and [`Self::with_backend`].
    pub fn from_pem_with_backend(
        algorithm: Algorithm,
        pem: &[u8],
        backend: Backend,
    ) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| Self::assemble(algorithm, from_pem(pem)?, backend))
    }

    /// Loads a private JWK (RFC 7517, RFC 7518 §6, RFC 8037 §2, RFC 9964 §3), public members
    /// included; RSA needs its CRT members too.
    ///
    /// # Errors
    ///
    /// [`KeyError::UsageForbidden`] if `use` or `key_ops` forbid signing;
    /// [`KeyError::AlgorithmMissing`] for RSA without `alg`, see [`Self::from_jwk_as`];
    /// [`KeyError::PartsMismatch`] if private and public members disagree; the others as for
    /// [`VerifyingKey::from_jwk`].
    pub fn from_jwk(json: &SecretBytes) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| {
            let (parsed, jwk) = Parsed::from_jwk(json)?;
            Self::new(algorithm_of(&jwk)?, parsed)
        })
    }

    /// [`Self::from_jwk`] for keys that do not say their algorithm.
    ///
    /// # Errors
    ///
    /// As [`Self::from_jwk`]; also [`KeyError::AlgorithmContradicts`] if the JWK says another one.
    pub fn from_jwk_as(json: &SecretBytes, algorithm: Algorithm) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| {
            let (parsed, jwk) = Parsed::from_jwk(json)?;
            check_algorithm(&jwk, algorithm)?;
            Self::new(algorithm, parsed)
        })
    }

    /// [`Self::from_jwk_as`], prepared by `backend` from the start: no other library ever sees the
    /// key.
    ///
    /// # Errors
    ///
    /// As [`Self::from_jwk_as`] and [`Self::with_backend`].
    pub fn from_jwk_with_backend(
        json: &SecretBytes,
        algorithm: Algorithm,
        backend: Backend,
    ) -> Result<Self, KeyError> {
        with_scrubbed_stack(|| {
            let (parsed, jwk) = Parsed::from_jwk(json)?;
            check_algorithm(&jwk, algorithm)?;
            Self::assemble(algorithm, parsed, backend)
        })
    }

    /// The same key, prepared by `backend`: a second copy of it in memory.
    ///
    /// # Errors
    ///
    /// [`KeyError::Unsupported`] if that library does not know the algorithm;
    /// [`KeyError::Rejected`] if it does not take this key (*ring* signs with RSA moduli of at most
    /// 4096 bits).
    pub fn with_backend(&self, backend: Backend) -> Result<Self, KeyError> {
        let parsed = Parsed {
            private: self.private.duplicate(),
            public: Some(self.verifying_key.public().clone()),
        };
        Self::assemble(self.algorithm(), parsed, backend)
    }

    fn new(algorithm: Algorithm, parsed: Parsed) -> Result<Self, KeyError> {
        check_kind(algorithm, parsed.private.kind())?;
        let backend = default_backend(algorithm, &parsed)?;
        Self::assemble(algorithm, parsed, backend)
    }

    fn assemble(algorithm: Algorithm, parsed: Parsed, backend: Backend) -> Result<Self, KeyError> {
        let Parsed { private, public } = parsed;
        check_kind(algorithm, private.kind())?;
        let public = match (public, backend) {
            (Some(public), _) => public,
            (None, Backend::Ring) => ring::SignKey::derive_public(&private)?,
            #[cfg(feature = "aws-lc-rs")]
            (None, Backend::AwsLcRs) => aws_lc_rs::SignKey::derive_public(&private)?,
        };
        // The public key first: its refusals say more.
        let verifying_key = VerifyingKey::prepare(algorithm, public, backend)?;
        let public = verifying_key.public();
        let prepared = match backend {
            Backend::Ring => Prepared::Ring(ring::SignKey::prepare(algorithm, &private, public)?),
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => {
                Prepared::AwsLcRs(aws_lc_rs::SignKey::prepare(algorithm, &private, public)?)
            }
        };
        Ok(Self {
            prepared,
            private,
            verifying_key,
        })
    }

    /// The key as PKCS#8 in DER (RFC 5958 version 1): EC keys include their public key, Ed25519 is
    /// the bare seed (RFC 8410 §7), ML-DSA the seed (RFC 9881 §6).
    pub fn to_pkcs8_der(&self) -> SecretBytes {
        with_scrubbed_stack(|| self.private.to_pkcs8(self.verifying_key.public()))
    }

    /// [`Self::to_pkcs8_der`] as PEM text, `-----BEGIN PRIVATE KEY-----`.
    pub fn to_pkcs8_pem(&self) -> SecretBytes {
        pem::encode("PRIVATE KEY", self.to_pkcs8_der().expose_secret())
    }

    /// Signs `message`: writes the signature in the form JOSE gives it (r and s side by side for
    /// ECDSA, RFC 7518 §3.4) to the front of `signature` and returns its length.
    ///
    /// Takes 25 µs to a millisecond of processor time and allocates nothing of its own. ECDSA
    /// nonces, PSS salts and blinding come from the library's own generator.
    ///
    /// # Errors
    ///
    /// [`SignError::BufferTooShort`] below [`Self::signature_bytes`]; [`SignError::Failed`].
    pub fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<usize, SignError> {
        let needed = self.signature_bytes();
        if signature.len() < needed {
            return Err(SignError::BufferTooShort {
                needed,
                found: signature.len(),
            });
        }
        match &self.prepared {
            Prepared::Ring(key) => key.sign(message, signature),
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(key) => key.sign(message, signature),
        }
    }

    /// The algorithm this key signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.verifying_key.algorithm()
    }

    /// The library that prepared this key.
    pub fn backend(&self) -> Backend {
        self.verifying_key.backend()
    }

    /// The public key, for whoever verifies.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// How many bytes every signature of this key has.
    pub fn signature_bytes(&self) -> usize {
        self.verifying_key.signature_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifying_key", &self.verifying_key)
            .finish_non_exhaustive()
    }
}

fn from_pem(pem: &[u8]) -> Result<Parsed, KeyError> {
    match pem::decode_private(pem)? {
        PrivatePem::Pkcs8(der) => Parsed::from_pkcs8(der.expose_secret()),
        PrivatePem::Pkcs1(der) => Parsed::from_pkcs1(der.expose_secret()),
        PrivatePem::Sec1(der) => Parsed::from_sec1(der.expose_secret(), None),
    }
}

/// *ring*, unless it cannot: other algorithms, or RSA keys outside its narrower limits for signing.
fn default_backend(algorithm: Algorithm, parsed: &Parsed) -> Result<Backend, KeyError> {
    match &parsed.public {
        Some(PublicKey::Rsa { n, e }) if n.len() > 512 || e.len() < 3 => {
            Backend::beyond_ring(algorithm)
        }
        None if matches!(parsed.private, PrivateKey::Ec { .. }) => Backend::beyond_ring(algorithm)
            .map_err(|_| KeyError::PublicPartMissing {
                backend: Backend::Ring,
            }),
        _ => Backend::default_for(algorithm),
    }
}

#[cfg(feature = "aws-lc-rs")]
fn generate_es512() -> Result<Parsed, KeyError> {
    aws_lc_rs::generate_ecdsa(Algorithm::Es512)
}

#[cfg(not(feature = "aws-lc-rs"))]
fn generate_es512() -> Result<Parsed, KeyError> {
    Err(KeyError::Unsupported {
        algorithm: Algorithm::Es512,
        backend: Backend::Ring,
    })
}

#[cfg(feature = "aws-lc-rs")]
fn generate_rsa(_: Algorithm, modulus: RsaModulus) -> Result<Parsed, KeyError> {
    aws_lc_rs::generate_rsa(modulus)
}

#[cfg(not(feature = "aws-lc-rs"))]
fn generate_rsa(algorithm: Algorithm, _: RsaModulus) -> Result<Parsed, KeyError> {
    Err(KeyError::Unsupported {
        algorithm,
        backend: Backend::Ring,
    })
}
