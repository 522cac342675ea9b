//! Why a key was refused, and why a signature was.

use crate::{Algorithm, Backend, JwkError, KeyKind, RandomError};

/// Why a key was not loaded, generated or prepared: for logs and operators.
///
/// Says facts (which member, what was expected, what was found) and never a byte of the key.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are not what the format demands, or something follows them.
    #[error("not a well-formed {format}")]
    Malformed {
        /// The format they were read as.
        format: KeyFormat,
    },
    /// The JSON is not a well-formed JWK.
    #[error("not a well-formed JWK: {0}")]
    Jwk(JwkError),
    /// No algorithm was said and the kind of key does not decide it (RSA, ML-DSA).
    #[error("a JWK of this kind ({kind}) must say its alg")]
    AlgorithmMissing {
        /// What the key is.
        kind: KeyKind,
    },
    /// The JWK's `alg` is none of the signature algorithms of this crate.
    #[error("the JWK's alg is not a signature algorithm known here")]
    AlgorithmUnknown,
    /// The algorithm takes another kind of key.
    #[error("{algorithm} does not take a key of kind {kind}")]
    AlgorithmMismatch {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// What the key is.
        kind: KeyKind,
    },
    /// The key says one algorithm and the caller another.
    #[error("the key is for {key}, not for {asked}")]
    AlgorithmContradicts {
        /// What the key says.
        key: Algorithm,
        /// What the caller said.
        asked: Algorithm,
    },
    /// The library cannot do that.
    #[error("{backend} has no {algorithm} for this; the crate feature `aws-lc-rs` adds it")]
    Unsupported {
        /// The algorithm.
        algorithm: Algorithm,
        /// The library.
        backend: Backend,
    },
    /// The JWK is not for signatures: `use` or `key_ops` say so (RFC 7517 §4.2, §4.3).
    #[error("the JWK's use or key_ops do not allow this")]
    UsageForbidden,
    /// A member that this kind of key must have is not there.
    #[error("{member} is missing")]
    MemberMissing {
        /// Its JWK name.
        member: &'static str,
    },
    /// A number or coordinate has the wrong width.
    #[error("{member} has {found} bytes, not {expected}")]
    MemberLength {
        /// Its JWK name.
        member: &'static str,
        /// The width it must have.
        expected: usize,
        /// The width it has.
        found: usize,
    },
    /// An integer is empty or has leading zeroes (RFC 7518 §2, "Base64urlUInt").
    #[error("{member} is not a minimal integer")]
    MemberNotMinimal {
        /// Its JWK name.
        member: &'static str,
    },
    /// The public key is no point that may be used: off the curve, at infinity, of small order, or
    /// not canonically encoded.
    #[error("the public key is not a usable point of {kind}")]
    PointInvalid {
        /// The curve.
        kind: KeyKind,
    },
    /// The RSA modulus is too short or too long.
    #[error("an RSA modulus of {bits} bits is not within {min} to {max}")]
    ModulusSize {
        /// Its length.
        bits: usize,
        /// The shortest allowed.
        min: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The RSA modulus is even.
    #[error("the RSA modulus is even")]
    ModulusEven,
    /// The RSA modulus was made by a chip whose moduli everyone can factor (ROCA, CVE-2017-15361).
    #[error("the RSA modulus has the form that anyone can factor (CVE-2017-15361)")]
    ModulusFactorable,
    /// The RSA public exponent is even, below 3, or longer than 33 bits.
    #[error("the RSA public exponent is even, below 3 or longer than 33 bits")]
    ExponentInvalid,
    /// The RSA key has more than two primes (`oth`).
    #[error("RSA keys of more than two primes are not taken")]
    MultiPrime,
    /// The private part does not belong to the public part, or the parts of the private key do not
    /// belong together.
    #[error("the parts of the key do not belong together")]
    PartsMismatch,
    /// The private key comes without its public key, which this library cannot derive.
    #[error("the public key is missing beside the private key, and {backend} cannot derive it")]
    PublicPartMissing {
        /// The library.
        backend: Backend,
    },
    /// The library refused the key for a reason it does not say.
    #[error("{backend} refused the key")]
    Rejected {
        /// The library.
        backend: Backend,
    },
    /// The shared secret is shorter than the algorithm's hash (RFC 7518 §3.2), or not of the one
    /// length an AEAD takes.
    #[error("{found} bytes are too few for the secret: {needed} are needed")]
    SecretLength {
        /// The number of bytes needed.
        needed: usize,
        /// The number of bytes found.
        found: usize,
    },
    /// The shared secret is nothing but zeroes.
    #[error("the secret is all zero")]
    SecretZero,
    /// The shared secret is a public key in some form: anyone could forge with it.
    #[error("the secret is a public key or certificate ({form}), which everyone knows")]
    SecretIsPublic {
        /// The form it was recognised as.
        form: PublicForm,
    },
    /// No randomness, so no key.
    #[error("{0}")]
    Random(RandomError),
}

/// A format that keys are read from.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    Spki,
    /// PKCS#8 `OneAsymmetricKey` in DER (RFC 5958).
    Pkcs8,
    /// PKCS#1 `RSAPublicKey` or `RSAPrivateKey` in DER (RFC 8017 appendix A.1).
    Pkcs1,
    /// SEC 1 `ECPrivateKey` in DER (RFC 5915).
    Sec1,
    /// PEM text with exactly one key in it (RFC 7468).
    Pem,
    /// An ECDSA signature in DER (RFC 3279 §2.2.3).
    EcdsaSignature,
}

/// A public thing that was offered as a shared secret.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicForm {
    /// PEM text of any kind.
    Pem,
    /// A public key in DER, or its base64.
    Der,
    /// An X.509 certificate in DER, or its base64.
    Certificate,
    /// A JWK or a JWK set.
    Jwk,
    /// A line of OpenSSH's `authorized_keys`.
    OpenSsh,
    /// An uncompressed point of P-256, P-384 or P-521.
    EcPoint,
}

/// The signature or tag is not valid. Deliberately says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid")]
pub struct SignatureError;

/// Why nothing was signed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The buffer does not hold a signature.
    #[error("a buffer of {found} bytes is too short for a signature of {needed}")]
    BufferTooShort {
        /// The bytes a signature of this key has.
        needed: usize,
        /// The bytes the buffer has.
        found: usize,
    },
    /// The library failed: no randomness, or RSA parts that do not fit together.
    #[error("{backend} could not sign")]
    Failed {
        /// The library.
        backend: Backend,
    },
}

impl From<JwkError> for KeyError {
    fn from(error: JwkError) -> Self {
        Self::Jwk(error)
    }
}

impl From<RandomError> for KeyError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl std::fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Spki => "SubjectPublicKeyInfo",
            Self::Pkcs8 => "PKCS#8 private key",
            Self::Pkcs1 => "PKCS#1 key",
            Self::Sec1 => "SEC 1 private key",
            Self::Pem => "PEM text with exactly one key",
            Self::EcdsaSignature => "ECDSA signature",
        })
    }
}

impl std::fmt::Display for PublicForm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pem => "PEM",
            Self::Der => "DER",
            Self::Certificate => "X.509",
            Self::Jwk => "JWK",
            Self::OpenSsh => "OpenSSH",
            Self::EcPoint => "elliptic curve point",
        })
    }
}
