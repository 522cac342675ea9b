//! HKDF (RFC 5869): one good secret into many, each for one purpose.

use std::fmt;

use ring::hkdf;

use crate::SecretBytes;
#[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
use crate::backend::rust_crypto::{self, Root};
use crate::memory::{Wiped, with_scrubbed_stack};

/// The hash under HKDF.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HkdfHash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A pseudorandom key (RFC 5869 §2.2) that expands into secrets for named purposes. Wiped on drop.
///
/// ```
/// use m2m_crypto::{Hkdf, HkdfHash, SecretBytes};
///
/// let secret = SecretBytes::from(&[7; 32][..]);
/// let hkdf = Hkdf::extract(HkdfHash::Sha256, b"salt", &secret);
/// let webhook = hkdf.expand(&[b"webhook", b" v1"], 32)?;
/// let cookie = hkdf.expand(&[b"cookie"], 32)?;
/// assert!(!webhook.ct_eq(cookie.expose_secret()));
/// # Ok::<(), m2m_crypto::HkdfError>(())
/// ```
pub struct Hkdf {
    key: Wiped<hkdf::Prk>,
    hash: HkdfHash,
    /// The same key once more, where the processor has instructions for SHA-256.
    #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
    quick: Option<Root>,
}

/// More bytes were asked for than HKDF may give: 255 times the hash (RFC 5869 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} bytes are more than the {limit} HKDF may give")]
pub struct HkdfError {
    asked: usize,
    limit: usize,
}

impl Hkdf {
    /// HKDF-Extract: concentrates `secret`, whose entropy may be spread thin, under `salt`, which
    /// may be public and may be empty.
    pub fn extract(hash: HkdfHash, salt: &[u8], secret: &SecretBytes) -> Self {
        let key =
            Wiped::new(|| hkdf::Salt::new(hash.algorithm(), salt).extract(secret.expose_secret()));
        Self {
            key,
            hash,
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            quick: hash.quick(|| Some(Root::extract(salt, secret.expose_secret()))),
        }
    }

    /// Takes a key that is already uniformly random, such as one from
    /// [`SecretBytes::random`] of the hash's length, and skips HKDF-Extract (RFC 5869 §3.3).
    pub fn from_uniform_key(hash: HkdfHash, key: &SecretBytes) -> Self {
        let key = key.expose_secret();
        Self {
            #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
            quick: hash.quick(|| Root::from_uniform_key(key)),
            key: Wiped::new(|| hkdf::Prk::new_less_safe(hash.algorithm(), key)),
            hash,
        }
    }

    /// HKDF-Expand: `length` bytes for the purpose `info`, whose parts are simply joined. Where a
    /// part has no fixed length, make the boundary unmistakable yourself.
    ///
    /// # Errors
    ///
    /// [`HkdfError`] for more than 255 times the hash length.
    pub fn expand(&self, info: &[&[u8]], length: usize) -> Result<SecretBytes, HkdfError> {
        let error = HkdfError {
            asked: length,
            limit: 255 * self.hash.output_bytes(),
        };
        let mut bytes = zeroize::Zeroizing::new(vec![0; length]);
        let filled = with_scrubbed_stack(|| {
            let material = self.key.expand(info, Length(length))?;
            material.fill(&mut bytes)
        });
        filled.map_err(|_| error)?;
        Ok(SecretBytes::from(bytes.as_slice()))
    }

    pub(crate) fn key(&self) -> &hkdf::Prk {
        &self.key
    }

    #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
    #[inline]
    pub(crate) fn quick(&self) -> Option<&Root> {
        self.quick.as_ref()
    }
}

impl fmt::Debug for Hkdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hkdf({:?}, [redacted])", self.hash)
    }
}

impl HkdfHash {
    fn algorithm(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
            Self::Sha512 => hkdf::HKDF_SHA512,
        }
    }

    #[cfg(all(feature = "rust-crypto", target_arch = "x86_64"))]
    fn quick(self, make: impl FnOnce() -> Option<Root>) -> Option<Root> {
        let quicker = self == Self::Sha256 && rust_crypto::is_quicker();
        quicker.then(make).flatten()
    }

    const fn output_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
