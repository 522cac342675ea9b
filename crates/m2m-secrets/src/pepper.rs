//! `KeyHasher`: API keys are kept as HMACs under a pepper, which is kept elsewhere.

use std::fmt;
use std::num::NonZeroU32;

use m2m_crypto::{
    Algorithm, Hkdf, HkdfHash, KeyError, MacKey, RandomError, SecureRandom, SignatureError,
};

use crate::{ApiKey, KeyFormat, PresentedKey, SharedSecret};

/// The most peppers of a [`KeyHasher`], the current one among them. A pepper that is still needed after
/// seven others is one under which nobody has used his key for years.
pub const MAX_PEPPERS: usize = 8;

/// What keys of this form are hashed for. Another form needs another one.
const PURPOSE: &[u8] = b"m2m-secrets api key 1";
const HASH_BYTES: usize = 32;

/// Which pepper: counted by whoever draws them, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PepperVersion(NonZeroU32);

/// What is kept of an API key: its HMAC-SHA256, and under which pepper.
///
/// To whoever stole it without the pepper it says nothing, not even about a key that is easily guessed.
/// It is bound to the key's id, product and environment, and of no use beside another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    pepper: PepperVersion,
    hash: [u8; HASH_BYTES],
}

/// Hashes the keys of one format under the current pepper, and knows former ones.
///
/// A secret that a machine drew cannot be guessed whatever the hash, so a slow one (argon2, bcrypt)
/// would add nothing but a lever for those who wish the service to be busy. What a slow hash is meant
/// for, a stolen table, the pepper does: keep it in the program's configuration, never in the database
/// that holds the hashes.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{KeyFormat, KeyHasher, PepperVersion, SharedSecret};
///
/// let pepper = SharedSecret::generate(&SystemRandom)?;
/// let first = PepperVersion::new(1).expect("it is not zero");
/// let hasher = KeyHasher::new(KeyFormat::new("acme", "live")?, first, &pepper)?;
///
/// let key = hasher.format().generate(&SystemRandom)?;
/// assert_eq!(hasher.hash(&key).pepper(), first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyHasher {
    format: KeyFormat,
    /// The current one first.
    peppers: Vec<(PepperVersion, MacKey)>,
}

/// Why a pepper was not taken.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PepperError {
    /// There are two of this version.
    #[error("there are two peppers of version {version}")]
    Repeated {
        /// Which version.
        version: PepperVersion,
    },
    /// More than [`MAX_PEPPERS`].
    #[error("a hasher takes at most {MAX_PEPPERS} peppers")]
    TooMany,
    /// No key could be made of it.
    #[error("no key could be made of the pepper: {0}")]
    Key(KeyError),
}

impl PepperVersion {
    /// The version with this number, unless it is 0.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl KeyHash {
    /// How many bytes [`KeyHash::as_bytes`] has.
    pub const BYTES: usize = HASH_BYTES;

    /// A hash that was kept.
    pub const fn from_parts(pepper: PepperVersion, hash: [u8; HASH_BYTES]) -> Self {
        Self { pepper, hash }
    }

    /// Under which pepper.
    pub const fn pepper(&self) -> PepperVersion {
        self.pepper
    }

    /// The HMAC, to be kept.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.hash
    }
}

impl KeyHasher {
    /// Hashes keys of `format` under `pepper`.
    ///
    /// # Errors
    ///
    /// [`PepperError::Key`].
    pub fn new(
        format: KeyFormat,
        version: PepperVersion,
        pepper: &SharedSecret,
    ) -> Result<Self, PepperError> {
        let hasher = Self {
            format,
            peppers: Vec::with_capacity(MAX_PEPPERS),
        };
        hasher.with_former(version, pepper)
    }

    /// Knows the keys that were hashed under an earlier pepper, too. When such a key is used, its hash
    /// under the current one is given to be kept; see [`VerifiedKey::rehash`](crate::VerifiedKey::rehash).
    ///
    /// # Errors
    ///
    /// [`PepperError`].
    pub fn with_former(
        mut self,
        version: PepperVersion,
        pepper: &SharedSecret,
    ) -> Result<Self, PepperError> {
        if self.peppers.iter().any(|(known, _)| *known == version) {
            return Err(PepperError::Repeated { version });
        }
        if self.peppers.len() == MAX_PEPPERS {
            return Err(PepperError::TooMany);
        }
        let key = self.prepare(pepper).map_err(PepperError::Key)?;
        self.peppers.push((version, key));
        Ok(self)
    }

    /// The format of the keys.
    pub fn format(&self) -> &KeyFormat {
        &self.format
    }

    /// The version of the current pepper.
    pub fn current(&self) -> PepperVersion {
        self.current_pepper().0
    }

    /// Hashes a key under the current pepper.
    pub fn hash(&self, key: &ApiKey) -> KeyHash {
        self.hash_presented(key.as_presented())
    }

    /// Draws a key and hashes it.
    pub(crate) fn draw(&self, random: &dyn SecureRandom) -> Result<(ApiKey, KeyHash), RandomError> {
        let key = self.format.generate(random)?;
        let hash = self.hash(&key);
        Ok((key, hash))
    }

    pub(crate) fn hash_presented(&self, key: PresentedKey<'_>) -> KeyHash {
        let (version, pepper) = self.current_pepper();
        let mut hash = [0; HASH_BYTES];
        #[cfg(test)]
        counted::count();
        let made = pepper.sign(key.expose_body(), &mut hash);
        made.expect("32 bytes hold an HMAC-SHA256");
        KeyHash {
            pepper: *version,
            hash,
        }
    }

    /// Whether `hash` is of `key` under the pepper at `place`; takes as long whatever the hash is.
    #[inline]
    pub(crate) fn check(
        &self,
        place: u8,
        key: PresentedKey<'_>,
        hash: &[u8; HASH_BYTES],
    ) -> Result<(), Unproven> {
        // A branch that is foreseen, rather than an address that is waited for: hashing begins while
        // the memory that says the place is still on its way.
        let (_, pepper) = match place {
            0 => self.current_pepper(),
            place => self
                .peppers
                .get(usize::from(place))
                .ok_or(Unproven::PepperUnknown)?,
        };
        #[cfg(test)]
        counted::count();
        let verdict = pepper.verify(key.expose_body(), hash);
        verdict.map_err(|SignatureError| Unproven::Wrong)
    }

    /// Where [`Self::check`] finds a pepper; `u8::MAX` for one that is not known. The current one is
    /// at 0.
    pub(crate) fn place_of(&self, version: PepperVersion) -> u8 {
        let place = self.peppers.iter().position(|(known, _)| *known == version);
        // There are at most `MAX_PEPPERS`.
        place
            .and_then(|place| u8::try_from(place).ok())
            .unwrap_or(u8::MAX)
    }

    /// The version of the pepper at `place`.
    pub(crate) fn version_at(&self, place: u8) -> Option<PepperVersion> {
        self.peppers
            .get(usize::from(place))
            .map(|(version, _)| *version)
    }

    fn current_pepper(&self) -> &(PepperVersion, MacKey) {
        self.peppers.first().expect("it was made with a first one")
    }

    /// A key for this format alone: the same pepper may serve several.
    fn prepare(&self, pepper: &SharedSecret) -> Result<MacKey, KeyError> {
        let hkdf = Hkdf::extract(HkdfHash::Sha256, PURPOSE, pepper.expose_secret());
        let key = hkdf.expand(&[self.format.head().as_bytes()], HASH_BYTES);
        let key = key.expect("HKDF gives 32 bytes");
        MacKey::new(Algorithm::Hs256, key)
    }
}

/// Why a key was not proven to be the one that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unproven {
    Wrong,
    PepperUnknown,
}

impl fmt::Display for PepperVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash(pepper {}, [redacted])", self.pepper)
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions: Vec<u32> = self.peppers.iter().map(|(v, _)| v.number()).collect();
        f.debug_struct("KeyHasher")
            .field("format", &self.format)
            .field("peppers", &versions)
            .finish_non_exhaustive()
    }
}

/// How often something was hashed, for the tests that say when it must not be.
#[cfg(test)]
pub(crate) mod counted {
    use std::cell::Cell;

    thread_local! {
        static HASHES: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        HASHES.set(HASHES.get() + 1);
    }

    /// How often `run` hashes.
    pub(crate) fn hashes(run: impl FnOnce()) -> u32 {
        let before = HASHES.get();
        run();
        HASHES.get() - before
    }
}
