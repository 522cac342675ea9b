//! The keys that HTTP message signatures are verified with, each for one algorithm.

use std::fmt;

use m2m_crypto::{Algorithm, KeyError, MacKey, VerifyingKey};
use m2m_types::Timestamp;

use crate::{Ring, RingVerifyError, SharedSecret};

/// The most keys of one set.
pub const MAX_HTTP_SIGNATURE_KEYS: usize = 128;
/// The longest key id.
const MAX_KEY_ID_BYTES: usize = 256;

/// An algorithm of RFC 9421 §3.3. RSA is not among them: nothing that is new needs it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpSignatureAlgorithm {
    /// `hmac-sha256` (§3.3.3).
    HmacSha256,
    /// `ecdsa-p256-sha256` (§3.3.4).
    EcdsaP256Sha256,
    /// `ed25519` (§3.3.6).
    Ed25519,
}

impl HttpSignatureAlgorithm {
    /// Its name in the HTTP signature algorithms registry: the parameter `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// What a key of that kind signs with.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Hs256 => Some(Self::HmacSha256),
            Algorithm::Es256 => Some(Self::EcdsaP256Sha256),
            Algorithm::Ed25519 | Algorithm::EdDsa => Some(Self::Ed25519),
            _ => None,
        }
    }
}

impl fmt::Display for HttpSignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A key to verify with: a shared secret or a public key.
pub struct HttpSignatureKey {
    key: Key,
    algorithm: HttpSignatureAlgorithm,
}

enum Key {
    Secret(MacKey),
    Public(VerifyingKey),
}

impl HttpSignatureKey {
    /// `secret`, for `hmac-sha256`.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the secret is something public.
    pub fn secret(secret: &SharedSecret) -> Result<Self, KeyError> {
        Ok(Self {
            key: Key::Secret(mac_key(secret)?),
            algorithm: HttpSignatureAlgorithm::HmacSha256,
        })
    }

    /// A public key; `None` unless it is of Ed25519 or P-256.
    pub fn public(key: VerifyingKey) -> Option<Self> {
        Some(Self {
            algorithm: HttpSignatureAlgorithm::of(key.algorithm())?,
            key: Key::Public(key),
        })
    }
}

/// HMAC-SHA256 over the secret itself, as peers of other make expect it.
pub(super) fn mac_key(secret: &SharedSecret) -> Result<MacKey, KeyError> {
    let secret = secret.expose_secret().duplicate_secret_in_memory();
    MacKey::new(Algorithm::Hs256, secret)
}

impl fmt::Debug for HttpSignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpSignatureKey({}, [redacted])", self.algorithm)
    }
}

/// Whose signatures are accepted: a [`Ring`] of a secret that rotates, or a fixed [`HttpSignatureKeys`].
pub trait HttpVerifyingKeys {
    /// Checks that `signature` is that of `base` under the key that is called `key_id`. `algorithm` is
    /// what the signature says of itself, if anything: it must be the key's own, and never chooses.
    ///
    /// # Errors
    ///
    /// [`HttpKeyError`].
    fn verify(
        &self,
        key_id: &str,
        algorithm: Option<&str>,
        base: &[u8],
        signature: &[u8],
        now: Timestamp,
    ) -> Result<(), HttpKeyError>;
}

/// Keys by their ids; fixed. Replaced whole, in a [`Live`](m2m_types::Live), when they change.
#[derive(Debug, Default)]
pub struct HttpSignatureKeys {
    entries: Vec<(Box<str>, HttpSignatureKey)>,
}

impl HttpSignatureKeys {
    /// A set without keys, which verifies nothing.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Adds the key that signatures call `key_id`: 1 to 256 bytes of visible ASCII, without quotation
    /// marks and backslashes.
    ///
    /// # Errors
    ///
    /// [`HttpKeySetError`].
    pub fn with_key(
        mut self,
        key_id: &str,
        key: HttpSignatureKey,
    ) -> Result<Self, HttpKeySetError> {
        if !is_word(key_id) {
            return Err(HttpKeySetError::KeyId {
                length: key_id.len(),
            });
        }
        if self.entries.len() >= MAX_HTTP_SIGNATURE_KEYS {
            return Err(HttpKeySetError::Full);
        }
        match self.position(key_id) {
            Ok(_) => return Err(HttpKeySetError::Twice),
            Err(at) => self.entries.insert(at, (key_id.into(), key)),
        }
        Ok(self)
    }

    fn position(&self, key_id: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(found, _)| (**found).cmp(key_id))
    }
}

/// Whether `text` can stand in a quoted string as it is, and is 1 to 256 bytes of visible ASCII.
pub(super) fn is_word(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=MAX_KEY_ID_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

impl HttpVerifyingKeys for HttpSignatureKeys {
    #[inline]
    fn verify(
        &self,
        key_id: &str,
        algorithm: Option<&str>,
        base: &[u8],
        signature: &[u8],
        _: Timestamp,
    ) -> Result<(), HttpKeyError> {
        let found = self.position(key_id).ok();
        let (_, key) = found
            .and_then(|at| self.entries.get(at))
            .ok_or(HttpKeyError::Unknown)?;
        agree(key.algorithm, algorithm)?;
        match &key.key {
            Key::Secret(key) => key.verify(base, signature),
            Key::Public(key) => key.verify(base, signature),
        }
        .map_err(|_| HttpKeyError::Signature)
    }
}

/// `hmac-sha256` under the versions of a secret that rotates; each use is counted.
impl HttpVerifyingKeys for Ring<MacKey> {
    #[inline]
    fn verify(
        &self,
        key_id: &str,
        algorithm: Option<&str>,
        base: &[u8],
        signature: &[u8],
        now: Timestamp,
    ) -> Result<(), HttpKeyError> {
        agree(HttpSignatureAlgorithm::HmacSha256, algorithm)?;
        Ring::verify(self, key_id, base, signature, now)?;
        Ok(())
    }
}

fn agree(ours: HttpSignatureAlgorithm, said: Option<&str>) -> Result<(), HttpKeyError> {
    match said {
        Some(said) if said != ours.name() => Err(HttpKeyError::Algorithm { ours }),
        _ => Ok(()),
    }
}

/// Why a key was not added.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpKeySetError {
    /// A key id is empty, longer than 256 bytes, or has something else than visible ASCII in it.
    #[error("a key id of {length} bytes; 1 to 256 of visible ASCII without \" and \\ are taken")]
    KeyId {
        /// Its length.
        length: usize,
    },
    /// The set has a key of that name.
    #[error("two keys have the same id; a signature would not say which one is meant")]
    Twice,
    /// There are [`MAX_HTTP_SIGNATURE_KEYS`] keys.
    #[error("more than {MAX_HTTP_SIGNATURE_KEYS} keys in a set")]
    Full,
}

/// Why a signature is not that of a key that is accepted.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpKeyError {
    /// There is no key of that id.
    #[error("no key that is accepted has the keyid of the signature")]
    Unknown,
    /// The signature says another algorithm than its key has.
    #[error("the signature's alg is not {ours}, which is its key's")]
    Algorithm {
        /// The key's.
        ours: HttpSignatureAlgorithm,
    },
    /// The signature is not that of the message.
    #[error("the signature is not that of the message under the key it names")]
    Signature,
    /// The ring does not accept it.
    #[error("{0}")]
    Ring(RingVerifyError),
}

impl From<RingVerifyError> for HttpKeyError {
    fn from(error: RingVerifyError) -> Self {
        match error {
            RingVerifyError::WrongTag { .. } => Self::Signature,
            RingVerifyError::UnknownKey { .. } => Self::Unknown,
            error => Self::Ring(error),
        }
    }
}
