//! `MacKey`: a shared secret for HS256, HS384 and HS512.

use std::fmt;

#[cfg(feature = "aws-lc-rs")]
use crate::backend::aws_lc_rs;
use crate::backend::ring;
#[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
use crate::backend::rust_crypto;
use crate::mac_secret::refuse_public;
use crate::memory::with_scrubbed_stack;
use crate::private_key::secret_member;
use crate::verifying_key::{check_algorithm, check_kind};
use crate::{
    Algorithm, Backend, KeyError, KeyKind, SecretBytes, SecureRandom, SignError, SignatureError,
    constant_time_eq, jwk,
};

/// The longest tag: that of HS512.
const MAX_TAG_BYTES: usize = 64;

/// A shared secret for HMAC, prepared once. Not `Clone`; wiped on drop, prepared state included.
///
/// Public keys in any usual form are refused as secrets: whoever verifies with HMAC under text that
/// was meant for RSA or ECDSA accepts forgeries from everyone (CVE-2022-29217).
///
/// ```
/// use m2m_crypto::{Algorithm, MacKey, SystemRandom};
///
/// let key = MacKey::generate(Algorithm::Hs256, &SystemRandom)?;
/// let mut tag = [0; 32];
/// key.sign(b"message", &mut tag)?;
/// key.verify(b"message", &tag)?;
/// assert!(key.verify(b"message", &tag[..31]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is no key for signatures that others can check:
///
/// ```compile_fail,E0308
/// fn jwt_015(key: m2m_crypto::MacKey) -> m2m_crypto::VerifyingKey {
///     key // mismatched types
/// }
/// ```
pub struct MacKey {
    prepared: Prepared,
    algorithm: Algorithm,
}

enum Prepared {
    Ring(ring::MacKey),
    /// HS256 where the processor has instructions for it.
    #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
    RustCrypto(rust_crypto::MacKey),
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(aws_lc_rs::MacKey),
}

impl MacKey {
    /// Prepares `secret` for `algorithm`. It must have at least as many bytes as the hash gives: 32,
    /// 48 or 64 (RFC 7518 §3.2).
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`], [`KeyError::SecretZero`], [`KeyError::SecretIsPublic`], or
    /// [`KeyError::AlgorithmMismatch`] if `algorithm` is not an HMAC.
    pub fn new(algorithm: Algorithm, secret: SecretBytes) -> Result<Self, KeyError> {
        Self::new_with_backend(algorithm, secret, Backend::Ring)
    }

    /// [`Self::new`], prepared by `backend`.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn new_with_backend(
        algorithm: Algorithm,
        secret: SecretBytes,
        backend: Backend,
    ) -> Result<Self, KeyError> {
        check_kind(algorithm, KeyKind::Symmetric)?;
        let needed = tag_bytes(algorithm);
        if secret.len() < needed {
            return Err(KeyError::SecretLength {
                needed,
                found: secret.len(),
            });
        }
        if secret.is_zero() {
            return Err(KeyError::SecretZero);
        }
        refuse_public(secret.expose_secret())?;
        let secret = secret.expose_secret();
        let prepared = match backend {
            Backend::Ring => Prepared::by_ring(algorithm, secret)?,
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => Prepared::AwsLcRs(aws_lc_rs::MacKey::prepare(algorithm, secret)?),
        };
        Ok(Self {
            prepared,
            algorithm,
        })
    }

    /// A new secret from `random`, as long as the hash.
    ///
    /// # Errors
    ///
    /// [`KeyError::Random`], or [`KeyError::AlgorithmMismatch`] if `algorithm` is not an HMAC.
    pub fn generate(algorithm: Algorithm, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        check_kind(algorithm, KeyKind::Symmetric)?;
        Self::new(
            algorithm,
            SecretBytes::random(tag_bytes(algorithm), random)?,
        )
    }

    /// Loads a JWK of `kty` "oct" (RFC 7518 §6.4) whose `alg` is an HMAC.
    ///
    /// # Errors
    ///
    /// [`KeyError::UsageForbidden`] if `use` or `key_ops` allow neither signing nor verifying;
    /// [`KeyError::AlgorithmMissing`] without `alg`, see [`Self::from_jwk_as`]; else as
    /// [`Self::new`].
    pub fn from_jwk(json: &SecretBytes) -> Result<Self, KeyError> {
        let members = jwk::parse(json.expose_secret())?;
        let name = members.public.alg().ok_or(KeyError::AlgorithmMissing {
            kind: KeyKind::Symmetric,
        })?;
        let algorithm = Algorithm::from_name(name).ok_or(KeyError::AlgorithmUnknown)?;
        Self::from_members(&members, algorithm)
    }

    /// [`Self::from_jwk`] for a JWK that does not say its algorithm.
    ///
    /// # Errors
    ///
    /// As [`Self::from_jwk`]; also [`KeyError::AlgorithmContradicts`] if the JWK says another one.
    pub fn from_jwk_as(json: &SecretBytes, algorithm: Algorithm) -> Result<Self, KeyError> {
        let members = jwk::parse(json.expose_secret())?;
        check_algorithm(&members.public, algorithm)?;
        Self::from_members(&members, algorithm)
    }

    fn from_members(members: &jwk::Members<'_>, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !members.public.allows("verify") && !members.public.allows("sign") {
            return Err(KeyError::UsageForbidden);
        }
        if members.public.kty() != "oct" {
            return Err(KeyError::AlgorithmMismatch {
                algorithm,
                kind: KeyKind::Other,
            });
        }
        with_scrubbed_stack(|| Self::new(algorithm, secret_member(members, "k")?))
    }

    /// Checks that `tag` is the whole tag of `message`; the comparison takes constant time.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], whatever was wrong: another length, or another tag.
    #[inline]
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> Result<(), SignatureError> {
        if tag.len() != self.signature_bytes() {
            return Err(SignatureError);
        }
        match &self.prepared {
            Prepared::Ring(key) => key.verify(message, tag),
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            Prepared::RustCrypto(key) => match constant_time_eq(&key.mac(message), tag) {
                true => Ok(()),
                false => Err(SignatureError),
            },
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(key) => key.verify(message, tag),
        }
    }

    /// Writes the tag of `message` to the front of `tag` and returns its length.
    ///
    /// # Errors
    ///
    /// [`SignError::BufferTooShort`] below [`Self::signature_bytes`].
    pub fn sign(&self, message: &[u8], tag: &mut [u8]) -> Result<usize, SignError> {
        let needed = self.signature_bytes();
        if tag.len() < needed {
            return Err(SignError::BufferTooShort {
                needed,
                found: tag.len(),
            });
        }
        match &self.prepared {
            Prepared::Ring(key) => key.sign(message, tag),
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            Prepared::RustCrypto(key) => Ok(put(&key.mac(message), tag)),
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(key) => key.sign(message, tag),
        }
    }

    /// [`Self::verify`] for a message that lies in several places. The parts are simply joined: where
    /// one has no fixed length, make the boundary unmistakable yourself.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`].
    pub fn verify_parts(&self, parts: &[&[u8]], tag: &[u8]) -> Result<(), SignatureError> {
        let mut expected = [0; MAX_TAG_BYTES];
        let length = self
            .sign_parts(parts, &mut expected)
            .map_err(|_| SignatureError)?;
        match expected.get(..length) {
            Some(expected) if constant_time_eq(expected, tag) => Ok(()),
            _ => Err(SignatureError),
        }
    }

    /// [`Self::sign`] for a message that lies in several places; see [`Self::verify_parts`].
    ///
    /// ```
    /// # use m2m_crypto::{Algorithm, MacKey, SystemRandom};
    /// let key = MacKey::generate(Algorithm::Hs256, &SystemRandom)?;
    /// let (mut whole, mut parts) = ([0; 32], [0; 32]);
    /// key.sign(b"header.payload", &mut whole)?;
    /// key.sign_parts(&[b"header", b".", b"payload"], &mut parts)?;
    /// assert_eq!(whole, parts);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::sign`].
    #[inline]
    pub fn sign_parts(&self, parts: &[&[u8]], tag: &mut [u8]) -> Result<usize, SignError> {
        let needed = self.signature_bytes();
        if tag.len() < needed {
            return Err(SignError::BufferTooShort {
                needed,
                found: tag.len(),
            });
        }
        match &self.prepared {
            Prepared::Ring(key) => key.sign_parts(parts, tag),
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            Prepared::RustCrypto(key) => Ok(put(&key.mac_parts(parts), tag)),
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(key) => key.sign_parts(parts, tag),
        }
    }

    /// HS256, HS384 or HS512.
    #[inline]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The library that prepared this key.
    pub fn backend(&self) -> Backend {
        match self.prepared {
            Prepared::Ring(_) => Backend::Ring,
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            Prepared::RustCrypto(_) => Backend::Ring,
            #[cfg(feature = "aws-lc-rs")]
            Prepared::AwsLcRs(_) => Backend::AwsLcRs,
        }
    }

    /// How many bytes every tag has: 32, 48 or 64.
    #[inline]
    pub fn signature_bytes(&self) -> usize {
        tag_bytes(self.algorithm)
    }
}

impl Prepared {
    fn by_ring(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
        if algorithm == Algorithm::Hs256 && rust_crypto::is_quicker() {
            return Ok(Self::RustCrypto(rust_crypto::MacKey::prepare(secret)));
        }
        ring::MacKey::prepare(algorithm, secret).map(Self::Ring)
    }
}

/// Puts `made` at the front of `tag`, which is long enough.
#[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
#[inline]
fn put<const N: usize>(made: &[u8; N], tag: &mut [u8]) -> usize {
    if let Some(front) = tag.first_chunk_mut() {
        *front = *made;
    }
    N
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey")
            .field("algorithm", &self.algorithm)
            .field("secret", &"[redacted]")
            .finish_non_exhaustive()
    }
}

#[inline]
const fn tag_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs256 => 32,
        Algorithm::Hs384 => 48,
        _ => 64,
    }
}
