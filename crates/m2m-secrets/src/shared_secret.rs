//! `SharedSecret`: what two machines both know, and nobody else can guess.

use std::fmt;

use m2m_crypto::{RandomError, SecretBytes, SecureRandom};

/// The fewest bytes of a [`SharedSecret`]: as many as HMAC-SHA256 puts out (RFC 2104 §3).
pub const MIN_SECRET_BYTES: usize = 32;

/// The most bytes of a [`SharedSecret`]. More than a hash's block adds no strength (RFC 2104 §3).
const MAX_SECRET_BYTES: usize = 1024;

/// What people leave in configurations when they mean to come back. Looked for in lower case, and by
/// their first letters: see [`is_placeholder`].
const PLACEHOLDERS: [&[u8]; 8] = [
    b"changeme",
    b"change-me",
    b"change_me",
    b"replaceme",
    b"replace-me",
    b"password",
    b"your-secret",
    b"placeholder",
];

/// A secret that several machines share: at least [`MIN_SECRET_BYTES`], wiped on drop, never shown.
///
/// There is no `Clone`, `PartialEq`, `Display`, `Deref` or `Serialize`: none can leave by accident.
pub struct SharedSecret(SecretBytes);

impl SharedSecret {
    /// Takes over bytes that somebody else drew.
    ///
    /// # Errors
    ///
    /// [`WeakSecret`], if these bytes can be guessed.
    pub fn new(bytes: SecretBytes) -> Result<Self, WeakSecret> {
        let secret = bytes.expose_secret();
        let found = secret.len();
        if found < MIN_SECRET_BYTES {
            return Err(WeakSecret::Short { found });
        }
        if found > MAX_SECRET_BYTES {
            return Err(WeakSecret::Long { found });
        }
        if repeats(secret) {
            return Err(WeakSecret::Repeats);
        }
        if is_placeholder(secret) {
            return Err(WeakSecret::Placeholder);
        }
        Ok(Self(bytes))
    }

    /// A new secret of [`MIN_SECRET_BYTES`] from `random`.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if `random` fails or gives what can be guessed: a source that is broken.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        Self::new(SecretBytes::random(MIN_SECRET_BYTES, random)?).map_err(|_| RandomError)
    }

    /// The bytes, to prepare a key from. Searching for this name is the audit.
    pub fn expose_secret(&self) -> &SecretBytes {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSecret({} bytes, [redacted])", self.0.len())
    }
}

/// Why bytes are no secret. Tells nothing of the bytes but how many there are.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Fewer than [`MIN_SECRET_BYTES`].
    #[error("a secret has at least {MIN_SECRET_BYTES} bytes; this has {found}; draw a new one")]
    Short {
        /// How many it has.
        found: usize,
    },
    /// More than 1,024 bytes: this is a file, not a secret.
    #[error("a secret has at most {MAX_SECRET_BYTES} bytes; this has {found}")]
    Long {
        /// How many it has.
        found: usize,
    },
    /// One byte, or one short pattern, over and over; all zeroes among them.
    #[error("the secret is one pattern of at most 4 bytes, repeated; draw a new one")]
    Repeats,
    /// A word like `changeme`, left by whoever wrote the configuration.
    #[error("the secret is a placeholder that was never replaced; draw a new one")]
    Placeholder,
}

/// Whether `secret` is one pattern of up to four bytes. A random secret is with a chance of 2⁻²²⁴.
pub(crate) fn repeats(secret: &[u8]) -> bool {
    (1..=4).any(|period| {
        let shifted = secret.iter().skip(period);
        secret.iter().zip(shifted).all(|(one, other)| one == other)
    })
}

pub(crate) fn is_placeholder(secret: &[u8]) -> bool {
    // One pass: few bytes of a random secret are the first letter of one of them.
    let is_there = |at: usize| {
        let rest = secret.get(at..).unwrap_or_default();
        let begins = |word: &&[u8]| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        };
        PLACEHOLDERS.iter().any(begins)
    };
    let mut bytes = secret.iter().enumerate();
    bytes.any(|(at, byte)| matches!(byte | 0x20, b'c' | b'r' | b'p' | b'y') && is_there(at))
}
