//! Authenticated encryption: AES-256-GCM and ChaCha20-Poly1305.

use std::fmt;

use ring::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::memory::Wiped;
use crate::{Backend, KeyError, RandomError, SecretBytes, SecureRandom};

/// A cipher that also authenticates.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    /// AES-256 in Galois/Counter Mode (SP 800-38D): fastest where the CPU has AES instructions.
    Aes256Gcm,
    /// ChaCha20 and Poly1305 (RFC 8439): constant time everywhere.
    ChaCha20Poly1305,
}

/// A key for authenticated encryption. Wiped on drop, expanded schedule included.
///
/// Each message gets a random nonce of 96 bits, so one key must not seal more than 2³² messages
/// (SP 800-38D §8.3): derive a fresh one with [`Hkdf`](crate::Hkdf) long before.
///
/// ```
/// use m2m_crypto::{AeadAlgorithm, AeadKey, SystemRandom};
///
/// let key = AeadKey::generate(AeadAlgorithm::Aes256Gcm, &SystemRandom)?;
/// let sealed = key.seal(b"secret", b"record 7", &SystemRandom)?;
/// assert!(key.open(&sealed, b"record 7")?.ct_eq(b"secret"));
/// assert!(key.open(&sealed, b"record 8").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AeadKey {
    key: Wiped<LessSafeKey>,
    algorithm: AeadAlgorithm,
}

/// Why nothing was sealed or opened.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AeadError {
    /// No randomness for the nonce.
    #[error("{0}")]
    Random(RandomError),
    /// The message is longer than the cipher may take.
    #[error("a message of {length} bytes is more than the cipher takes")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It was not sealed with this key and this associated data, or was changed since.
    #[error("the sealed message is not authentic")]
    NotAuthentic,
}

impl AeadKey {
    /// Bytes of a key.
    pub const KEY_BYTES: usize = 32;
    /// How many bytes longer a sealed message is: nonce before, tag behind.
    pub const OVERHEAD_BYTES: usize = NONCE_LEN + TAG_BYTES;

    /// Prepares `key`, which must be uniformly random.
    ///
    /// # Errors
    ///
    /// [`KeyError::SecretLength`] unless it has [`Self::KEY_BYTES`]; [`KeyError::SecretZero`].
    pub fn new(algorithm: AeadAlgorithm, key: SecretBytes) -> Result<Self, KeyError> {
        if key.len() != Self::KEY_BYTES {
            return Err(KeyError::SecretLength {
                needed: Self::KEY_BYTES,
                found: key.len(),
            });
        }
        if key.is_zero() {
            return Err(KeyError::SecretZero);
        }
        let prepared = Wiped::try_new(|| {
            UnboundKey::new(algorithm.ring(), key.expose_secret()).map(LessSafeKey::new)
        })
        .map_err(|_| KeyError::Rejected {
            backend: Backend::Ring,
        })?;
        Ok(Self {
            key: prepared,
            algorithm,
        })
    }

    /// A new key from `random`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Random`].
    pub fn generate(algorithm: AeadAlgorithm, random: &dyn SecureRandom) -> Result<Self, KeyError> {
        Self::new(algorithm, SecretBytes::random(Self::KEY_BYTES, random)?)
    }

    /// Encrypts `plaintext` and authenticates it together with `associated`, which stays outside.
    /// Returns nonce, ciphertext and tag in one piece.
    ///
    /// # Errors
    ///
    /// [`AeadError::Random`], [`AeadError::TooLong`].
    pub fn seal(
        &self,
        plaintext: &[u8],
        associated: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, AeadError> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce).map_err(AeadError::Random)?;
        if crate::secret::is_zero(&nonce) {
            return Err(AeadError::Random(RandomError));
        }
        let length = plaintext.len();
        let mut sealed = Vec::with_capacity(length + Self::OVERHEAD_BYTES);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let body = sealed.get_mut(NONCE_LEN..).unwrap_or_default();
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated),
                body,
            )
            .map_err(|_| AeadError::TooLong { length })?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`Self::seal`] made, if it and `associated` are what they were.
    ///
    /// # Errors
    ///
    /// [`AeadError::NotAuthentic`], whatever was wrong.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<SecretBytes, AeadError> {
        let (nonce, body) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(AeadError::NotAuthentic)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plaintext = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated),
                &mut body,
            )
            .map_err(|_| AeadError::NotAuthentic)?;
        Ok(SecretBytes::from(&*plaintext))
    }

    /// Which cipher this key is for.
    pub fn algorithm(&self) -> AeadAlgorithm {
        self.algorithm
    }
}

const TAG_BYTES: usize = 16;

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({:?}, [redacted])", self.algorithm)
    }
}

impl AeadAlgorithm {
    fn ring(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}
