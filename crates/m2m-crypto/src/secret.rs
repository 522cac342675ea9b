//! `SecretBytes`: bytes that are wiped when dropped and never shown.

use std::fmt;

use zeroize::Zeroizing;

use crate::{RandomError, SecureRandom, constant_time_eq};

/// A secret, wiped on drop. Not `Clone`, `PartialEq`, `Display`, `Deref` or `Serialize`, so a secret
/// cannot leave by accident.
///
/// [`SecretBytes::expose_secret`] is the only way to the bytes: searching for that name is the
/// audit. The bytes live in one heap block that is never reallocated.
///
/// ```
/// use m2m_crypto::SecretBytes;
///
/// let secret = SecretBytes::from(&b"correct horse battery staple"[..]);
/// assert_eq!(format!("{secret:?}"), "SecretBytes([redacted])");
/// assert!(secret.ct_eq(b"correct horse battery staple"));
/// ```
pub struct SecretBytes {
    bytes: Zeroizing<Box<[u8]>>,
}

impl SecretBytes {
    /// Takes `bytes` over. Its block is kept where it has no spare room, and otherwise copied and
    /// wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self {
                bytes: Zeroizing::new(bytes.into_boxed_slice()),
            };
        }
        Self::from(Zeroizing::new(bytes).as_slice())
    }

    /// `length` bytes from `random`.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if `random` fails, or if it gives nothing but zeroes for 16 bytes or more: a
    /// source that forgets to write.
    pub fn random(length: usize, random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut bytes = Zeroizing::new(vec![0; length].into_boxed_slice());
        random.fill(&mut bytes)?;
        if length >= 16 && is_zero(&bytes) {
            return Err(RandomError);
        }
        Ok(Self { bytes })
    }

    /// The secret itself.
    pub fn expose_secret(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes it has. The length of a secret is public.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Compares in constant time; see [`constant_time_eq`].
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        constant_time_eq(&self.bytes, other)
    }

    /// A second copy of the secret in memory. The long name is the point.
    #[must_use]
    pub fn duplicate_secret_in_memory(&self) -> Self {
        Self::from(self.expose_secret())
    }

    /// Whether every byte is zero; the time depends on the length alone.
    pub(crate) fn is_zero(&self) -> bool {
        is_zero(&self.bytes)
    }
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    std::hint::black_box(bytes.iter().fold(0, |all, byte| all | byte)) == 0
}

impl From<&[u8]> for SecretBytes {
    /// Copies `bytes`; the original stays the caller's to wipe.
    fn from(bytes: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new(Box::from(bytes)),
        }
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes([redacted])")
    }
}
