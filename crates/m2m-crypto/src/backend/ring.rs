//! Keys prepared by *ring*.

use ring::agreement::{self, EphemeralPrivateKey};
use ring::rand::SystemRandom;
use ring::rsa::KeyPairComponents;
use ring::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{hmac, pkcs8};

use crate::memory::{Wiped, with_scrubbed_stack, with_stack_scrubbed};
use crate::private_key::{Parsed, PrivateKey, RsaNumbers};
use crate::public_key::PublicKey;
use crate::{Algorithm, Backend, KeyError, KeyKind, RandomError, SignError, SignatureError};

/// A public key. *ring* keeps no parsed form, so these are the bytes it parses at each use.
pub(crate) enum VerifyKey {
    Rsa {
        parameters: &'static RsaParameters,
        components: RsaPublicKeyComponents<Box<[u8]>>,
    },
    P256([u8; 65]),
    P384([u8; 97]),
    Ed25519([u8; 32]),
}

pub(crate) enum SignKey {
    /// *ring* keeps the numbers of an RSA key in heap blocks of its own and does not wipe them:
    /// only what lies inline is reached here.
    Rsa {
        encoding: &'static dyn RsaEncoding,
        key: Wiped<RsaKeyPair>,
    },
    P256(Wiped<EcdsaKeyPair>),
    P384(Wiped<EcdsaKeyPair>),
    Ed25519(Wiped<Ed25519KeyPair>),
}

pub(crate) struct MacKey(Wiped<hmac::Key>);

const BACKEND: Backend = Backend::Ring;
const FAILED: SignError = SignError::Failed { backend: BACKEND };

impl VerifyKey {
    pub(crate) fn prepare(algorithm: Algorithm, public: &PublicKey) -> Result<Self, KeyError> {
        if let PublicKey::Ec { kind, point } = public {
            check_point(algorithm, *kind, point)?;
        }
        Self::prepare_unproven(algorithm, public)
    }

    /// Without asking whether a point lies on its curve, which is the first thing that
    /// [`VerifyKey::verify`] does.
    pub(crate) fn prepare_unproven(
        algorithm: Algorithm,
        public: &PublicKey,
    ) -> Result<Self, KeyError> {
        match public {
            PublicKey::Rsa { n, e } => Ok(Self::Rsa {
                parameters: rsa_parameters(algorithm)?,
                components: RsaPublicKeyComponents {
                    n: n.clone(),
                    e: e.clone(),
                },
            }),
            PublicKey::Ec { kind, point } => {
                let invalid = |_| KeyError::PointInvalid { kind: *kind };
                match kind {
                    KeyKind::P256 => Ok(Self::P256((**point).try_into().map_err(invalid)?)),
                    KeyKind::P384 => Ok(Self::P384((**point).try_into().map_err(invalid)?)),
                    _ => Err(unsupported(algorithm)),
                }
            }
            PublicKey::Ed25519(x) => Ok(Self::Ed25519(*x)),
            PublicKey::MlDsa { .. } => Err(unsupported(algorithm)),
        }
    }

    // Each arm names its algorithm, so that the compiler calls it directly.
    #[inline]
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match self {
            Self::Rsa {
                parameters,
                components,
            } => components.verify(parameters, message, signature),
            Self::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature),
            Self::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                .verify(message, signature),
            Self::Ed25519(x) => {
                UnparsedPublicKey::new(&signature::ED25519, x).verify(message, signature)
            }
        }
        .map_err(|_| SignatureError)
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Result<&'static RsaParameters, KeyError> {
    match algorithm {
        Algorithm::Rs256 => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Ok(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Ok(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Ok(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Ok(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Ok(&signature::RSA_PSS_2048_8192_SHA512),
        _ => Err(unsupported(algorithm)),
    }
}

/// Whether `point` is on its curve (SP 800-56A §5.6.2.3.4). *ring* shows that check only as the
/// first step of a key agreement, so one is begun with a key that is thrown away.
fn check_point(algorithm: Algorithm, kind: KeyKind, point: &[u8]) -> Result<(), KeyError> {
    let curve = match kind {
        KeyKind::P256 => &agreement::ECDH_P256,
        KeyKind::P384 => &agreement::ECDH_P384,
        _ => return Err(unsupported(algorithm)),
    };
    if is_on_curve(curve, point)? {
        return Ok(());
    }
    Err(KeyError::PointInvalid { kind })
}

fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> Result<bool, RandomError> {
    let throw_away =
        EphemeralPrivateKey::generate(curve, &SystemRandom::new()).map_err(|_| RandomError)?;
    let peer = agreement::UnparsedPublicKey::new(curve, point);
    Ok(agreement::agree_ephemeral(throw_away, &peer, |_| ()).is_ok())
}

/// Whether `bytes` are an uncompressed point of P-256 or P-384.
pub(crate) fn is_point(bytes: &[u8]) -> Result<bool, RandomError> {
    match bytes.len() {
        65 => is_on_curve(&agreement::ECDH_P256, bytes),
        97 => is_on_curve(&agreement::ECDH_P384, bytes),
        _ => Ok(false),
    }
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
        match (private, public) {
            (PrivateKey::Rsa(numbers), PublicKey::Rsa { n, e }) => {
                prepare_rsa(algorithm, numbers, n, e)
            }
            (PrivateKey::Ec { scalar, .. }, PublicKey::Ec { point, .. }) => {
                let curve = ecdsa(algorithm)?;
                Wiped::try_new(|| {
                    EcdsaKeyPair::from_private_key_and_public_key(
                        curve,
                        scalar.expose_secret(),
                        point,
                        &SystemRandom::new(),
                    )
                })
                .map(match algorithm {
                    Algorithm::Es256 => Self::P256,
                    _ => Self::P384,
                })
                .map_err(|_| KeyError::PartsMismatch)
            }
            (PrivateKey::Ed25519 { seed }, PublicKey::Ed25519(x)) => {
                Wiped::try_new(|| Ed25519KeyPair::from_seed_and_public_key(seed.expose_secret(), x))
                    .map(Self::Ed25519)
                    .map_err(|_| KeyError::PartsMismatch)
            }
            (PrivateKey::MlDsa { .. }, PublicKey::MlDsa { .. }) => Err(unsupported(algorithm)),
            _ => Err(KeyError::PartsMismatch),
        }
    }

    /// The public key of `private`, where *ring* can tell.
    pub(crate) fn derive_public(private: &PrivateKey) -> Result<PublicKey, KeyError> {
        let PrivateKey::Ed25519 { seed } = private else {
            return Err(KeyError::PublicPartMissing { backend: BACKEND });
        };
        let pair = Wiped::try_new(|| Ed25519KeyPair::from_seed_unchecked(seed.expose_secret()))
            .map_err(|_| KeyError::Rejected { backend: BACKEND })?;
        PublicKey::ed25519(pair.public_key().as_ref())
    }

    /// Writes a signature to `signature`, which is long enough. *ring* leaves nonces and the like on
    /// the stack: 2.6 KiB with P-256, 4.6 KiB with Ed25519, 6.3 KiB with P-384 and 12.2 KiB with RSA on
    /// x86-64, and without optimisation 6.1, 5.4, 7.6 and 24.5 KiB.
    pub(crate) fn sign(&self, message: &[u8], signature: &mut [u8]) -> Result<usize, SignError> {
        const KIB: usize = 1024;
        // Its signatures are so quick that wiping twice as much is noticed.
        const P256: usize = match cfg!(debug_assertions) {
            true => 8 * KIB,
            false => 4 * KIB,
        };
        let sign = || self.sign_and_litter(message, signature);
        match self {
            Self::P256(_) => with_stack_scrubbed::<P256, _>(sign),
            Self::Ed25519(_) => with_stack_scrubbed::<{ 8 * KIB }, _>(sign),
            Self::P384(_) => with_scrubbed_stack(sign),
            Self::Rsa { .. } => with_stack_scrubbed::<{ 32 * KIB }, _>(sign),
        }
    }

    fn sign_and_litter(&self, message: &[u8], signature: &mut [u8]) -> Result<usize, SignError> {
        let made = match self {
            Self::Rsa { encoding, key } => {
                let length = key.public().modulus_len();
                let signature = signature.get_mut(..length).ok_or(FAILED)?;
                key.sign(*encoding, &SystemRandom::new(), message, signature)
                    .map_err(|_| FAILED)?;
                return Ok(length);
            }
            Self::P256(key) | Self::P384(key) => key.sign(&SystemRandom::new(), message),
            Self::Ed25519(key) => Ok(key.sign(message)),
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

fn prepare_rsa(
    algorithm: Algorithm,
    numbers: &RsaNumbers,
    n: &[u8],
    e: &[u8],
) -> Result<SignKey, KeyError> {
    let encoding: &'static dyn RsaEncoding = match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
        _ => return Err(unsupported(algorithm)),
    };
    let components = KeyPairComponents {
        public_key: RsaPublicKeyComponents { n, e },
        d: numbers.d.expose_secret(),
        p: numbers.p.expose_secret(),
        q: numbers.q.expose_secret(),
        dP: numbers.dp.expose_secret(),
        dQ: numbers.dq.expose_secret(),
        qInv: numbers.qi.expose_secret(),
    };
    let key = Wiped::try_new(|| RsaKeyPair::from_components(&components))
        .map_err(|_| KeyError::Rejected { backend: BACKEND })?;
    let key = SignKey::Rsa { encoding, key };
    // *ring* checks dP and dQ only by verifying what it signed.
    key.sign(&[], &mut vec![0; n.len()])
        .map_err(|_| KeyError::PartsMismatch)?;
    Ok(key)
}

fn ecdsa(algorithm: Algorithm) -> Result<&'static EcdsaSigningAlgorithm, KeyError> {
    match algorithm {
        Algorithm::Es256 => Ok(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Ok(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => Err(unsupported(algorithm)),
    }
}

/// A new ECDSA key; *ring* takes randomness from the operating system alone.
pub(crate) fn generate_ecdsa(algorithm: Algorithm) -> Result<Parsed, KeyError> {
    let curve = ecdsa(algorithm)?;
    let document: Wiped<pkcs8::Document> =
        Wiped::try_new(|| EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new()))
            .map_err(|_| KeyError::Random(RandomError))?;
    Parsed::from_pkcs8((*document).as_ref())
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
