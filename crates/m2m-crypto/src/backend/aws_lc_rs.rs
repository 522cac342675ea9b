//! Keys prepared by *aws-lc-rs*, which cleanses every block it frees.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, AsRawBytes};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, ParsedPublicKey,
    PqdsaKeyPair, PqdsaSigningAlgorithm, RsaEncoding, VerificationAlgorithm,
};

use crate::memory::Wiped;
use crate::private_key::{Parsed, PrivateKey};
use crate::public_key::PublicKey;
use crate::{
    Algorithm, Backend, KeyError, KeyKind, RandomError, RsaModulus, SecretBytes, SignError,
    SignatureError,
};

pub(crate) struct VerifyKey(ParsedPublicKey);

pub(crate) enum SignKey {
    Rsa {
        encoding: &'static dyn RsaEncoding,
        key: Wiped<RsaKeyPair>,
    },
    Ecdsa(Wiped<EcdsaKeyPair>),
    Ed25519(Wiped<Ed25519KeyPair>),
    MlDsa(Wiped<PqdsaKeyPair>),
}

pub(crate) struct MacKey(Wiped<hmac::Key>);

const BACKEND: Backend = Backend::AwsLcRs;
const FAILED: SignError = SignError::Failed { backend: BACKEND };
const REJECTED: KeyError = KeyError::Rejected { backend: BACKEND };

impl VerifyKey {
    pub(crate) fn prepare(algorithm: Algorithm, public: &PublicKey) -> Result<Self, KeyError> {
        ParsedPublicKey::new(verification(algorithm)?, public.to_spki())
            .map(Self)
            .map_err(|_| match public {
                PublicKey::Ec { kind, .. } => KeyError::PointInvalid { kind: *kind },
                _ => REJECTED,
            })
    }

    #[inline]
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.0
            .verify_sig(message, signature)
            .map_err(|_| SignatureError)
    }
}

fn verification(algorithm: Algorithm) -> Result<&'static dyn VerificationAlgorithm, KeyError> {
    Ok(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::Ed25519 | Algorithm::EdDsa => &signature::ED25519,
        Algorithm::MlDsa44 => &signature::ML_DSA_44,
        Algorithm::MlDsa65 => &signature::ML_DSA_65,
        Algorithm::MlDsa87 => &signature::ML_DSA_87,
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
            return Err(unsupported(algorithm));
        }
    })
}

fn unsupported(algorithm: Algorithm) -> KeyError {
    KeyError::Unsupported {
        algorithm,
        backend: BACKEND,
    }
}

impl SignKey {
    /// Prepares `private` and checks that it belongs to `public`.
    pub(crate) fn prepare(
        algorithm: Algorithm,
        private: &PrivateKey,
        public: &PublicKey,
    ) -> Result<Self, KeyError> {
        let mismatch = |_| KeyError::PartsMismatch;
        match (private, public) {
            (PrivateKey::Rsa(_), PublicKey::Rsa { .. }) => {
                let encoding = rsa(algorithm)?;
                let der = private.to_pkcs1(public).map_err(|_| REJECTED)?;
                let key = Wiped::try_new(|| RsaKeyPair::from_der(der.expose_secret()))
                    .map_err(mismatch)?;
                Ok(Self::Rsa { encoding, key })
            }
            (PrivateKey::Ec { scalar, .. }, PublicKey::Ec { point, .. }) => {
                let curve = ecdsa(algorithm)?;
                Wiped::try_new(|| {
                    let scalar = scalar.expose_secret();
                    EcdsaKeyPair::from_private_key_and_public_key(curve, scalar, point)
                })
                .map(Self::Ecdsa)
                .map_err(mismatch)
            }
            (PrivateKey::Ed25519 { seed }, PublicKey::Ed25519(x)) => {
                Wiped::try_new(|| Ed25519KeyPair::from_seed_and_public_key(seed.expose_secret(), x))
                    .map(Self::Ed25519)
                    .map_err(mismatch)
            }
            (
                PrivateKey::MlDsa {
                    kind,
                    seed,
                    expanded,
                },
                PublicKey::MlDsa { bytes, .. },
            ) => {
                let key = ml_dsa(*kind, seed)?;
                if key.public_key().as_ref() != &**bytes {
                    return Err(KeyError::PartsMismatch);
                }
                if let Some(expanded) = expanded {
                    let derived = key.private_key().as_raw_bytes().map_err(|_| REJECTED)?;
                    if !expanded.ct_eq(derived.as_ref()) {
                        return Err(KeyError::PartsMismatch);
                    }
                }
                Ok(Self::MlDsa(key))
            }
            _ => Err(KeyError::PartsMismatch),
        }
    }

    /// The public key of `private`.
    pub(crate) fn derive_public(private: &PrivateKey) -> Result<PublicKey, KeyError> {
        match private {
            PrivateKey::Rsa(_) => Err(KeyError::PublicPartMissing { backend: BACKEND }),
            PrivateKey::Ec { kind, .. } => {
                let der = private.to_sec1(None, true).map_err(|_| REJECTED)?;
                let curve = ecdsa(ecdsa_algorithm(*kind))?;
                let pair = Wiped::try_new(|| {
                    EcdsaKeyPair::from_private_key_der(curve, der.expose_secret())
                })
                .map_err(|_| REJECTED)?;
                PublicKey::ec_point(*kind, pair.public_key().as_ref())
            }
            PrivateKey::Ed25519 { seed } => {
                let pair =
                    Wiped::try_new(|| Ed25519KeyPair::from_seed_unchecked(seed.expose_secret()))
                        .map_err(|_| REJECTED)?;
                PublicKey::ed25519(pair.public_key().as_ref())
            }
            PrivateKey::MlDsa { kind, seed, .. } => {
                PublicKey::ml_dsa(*kind, ml_dsa(*kind, seed)?.public_key().as_ref())
            }
        }
    }

    /// Writes a signature to `signature`, which is long enough.
    pub(crate) fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<usize, SignError> {
        let made = match self {
            Self::Rsa { encoding, key } => {
                let length = key.public_modulus_len();
                let signature = signature.get_mut(..length).ok_or(FAILED)?;
                key.sign(*encoding, &SystemRandom::new(), message, signature)
                    .map_err(|_| FAILED)?;
                return Ok(length);
            }
            Self::MlDsa(key) => return key.sign(message, signature).map_err(|_| FAILED),
            Self::Ecdsa(key) => key.sign(&SystemRandom::new(), message),
            Self::Ed25519(key) => key.try_sign(message),
        }
        .map_err(|_| FAILED)?;
        let made = made.as_ref();
        signature
            .get_mut(..made.len())
            .ok_or(FAILED)?
            .copy_from_slice(made);
        Ok(made.len())
    }
}

fn rsa(algorithm: Algorithm) -> Result<&'static dyn RsaEncoding, KeyError> {
    Ok(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => return Err(unsupported(algorithm)),
    })
}

fn ecdsa(algorithm: Algorithm) -> Result<&'static EcdsaSigningAlgorithm, KeyError> {
    match algorithm {
        Algorithm::Es256 => Ok(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Ok(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => Ok(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        _ => Err(unsupported(algorithm)),
    }
}

fn ecdsa_algorithm(kind: KeyKind) -> Algorithm {
    match kind {
        KeyKind::P256 => Algorithm::Es256,
        KeyKind::P384 => Algorithm::Es384,
        _ => Algorithm::Es512,
    }
}

fn ml_dsa(kind: KeyKind, seed: &SecretBytes) -> Result<Wiped<PqdsaKeyPair>, KeyError> {
    let algorithm: &'static PqdsaSigningAlgorithm = match kind {
        KeyKind::MlDsa44 => &signature::ML_DSA_44_SIGNING,
        KeyKind::MlDsa65 => &signature::ML_DSA_65_SIGNING,
        _ => &signature::ML_DSA_87_SIGNING,
    };
    Wiped::try_new(|| PqdsaKeyPair::from_seed(algorithm, seed.expose_secret()))
        .map_err(|_| REJECTED)
}

/// A new ECDSA key; *aws-lc-rs* takes randomness from its own generator alone.
pub(crate) fn generate_ecdsa(algorithm: Algorithm) -> Result<Parsed, KeyError> {
    let curve = ecdsa(algorithm)?;
    let pair = Wiped::try_new(|| EcdsaKeyPair::generate(curve))
        .map_err(|_| KeyError::Random(RandomError))?;
    let kind = algorithm.key_kind();
    let scalar = pair.private_key().as_be_bytes().map_err(|_| REJECTED)?;
    Ok(Parsed {
        private: PrivateKey::Ec {
            kind,
            scalar: SecretBytes::from(scalar.as_ref()),
        },
        public: Some(PublicKey::ec_point(kind, pair.public_key().as_ref())?),
    })
}

/// A new RSA key, as [`generate_ecdsa`].
pub(crate) fn generate_rsa(modulus: RsaModulus) -> Result<Parsed, KeyError> {
    let size = match modulus {
        RsaModulus::Bits2048 => KeySize::Rsa2048,
        RsaModulus::Bits3072 => KeySize::Rsa3072,
        RsaModulus::Bits4096 => KeySize::Rsa4096,
    };
    let pair =
        Wiped::try_new(|| RsaKeyPair::generate(size)).map_err(|_| KeyError::Random(RandomError))?;
    let der = pair.as_der().map_err(|_| REJECTED)?;
    Parsed::from_pkcs8(der.as_ref())
}

impl MacKey {
    pub(crate) fn prepare(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let algorithm = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => return Err(unsupported(algorithm)),
        };
        Ok(Self(Wiped::new(|| hmac::Key::new(algorithm, secret))))
    }

    #[inline]
    pub(crate) fn verify(&self, message: &[u8], tag: &[u8]) -> Result<(), SignatureError> {
        hmac::verify(&self.0, message, tag).map_err(|_| SignatureError)
    }

    pub(crate) fn sign(&self, message: &[u8], tag: &mut [u8]) -> Result<usize, SignError> {
        copy_tag(&hmac::sign(&self.0, message), tag)
    }

    pub(crate) fn sign_parts(&self, parts: &[&[u8]], tag: &mut [u8]) -> Result<usize, SignError> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        copy_tag(&context.sign(), tag)
    }
}

fn copy_tag(made: &hmac::Tag, tag: &mut [u8]) -> Result<usize, SignError> {
    let made = made.as_ref();
    tag.get_mut(..made.len())
        .ok_or(FAILED)?
        .copy_from_slice(made);
    Ok(made.len())
}
