//! `KeySet`: the keys of one issuer, each found by its `kid` and good for one algorithm.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{Algorithm, Backend, KeyError, MacKey, SignatureError, Thumbprint, VerifyingKey};
use m2m_types::{Live, Timestamp};

use crate::header::MAX_KID_BYTES;

/// The most keys one set may have.
pub const MAX_KEYS: usize = 128;

/// The keys of one issuer. Immutable: what changes is the [`Live`] that holds it.
///
/// A key is for one algorithm, and a token's header has no say in that (RFC 8725 §3.1).
///
/// ```
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::KeySet;
///
/// let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let keys = KeySet::new().with_key("2026-11", key.verifying_key().clone())?;
/// assert_eq!(keys.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A shared secret is no public key, whatever a token's header says:
///
/// ```compile_fail,E0308
/// # // jwt_015
/// # use m2m_crypto::MacKey;
/// # use m2m_token::KeySet;
/// fn careless(secret: MacKey) {
///     let _ = KeySet::new().with_key("2026-11", secret); // expected `VerifyingKey`
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// Sorted by `kid`; those without one come first.
    entries: Vec<Entry>,
    usable_until: Option<Timestamp>,
}

/// Why a key was not added to a set.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// A key id is empty or longer than 256 bytes.
    #[error("a key id of {length} bytes; 1 to {MAX_KID_BYTES} are taken")]
    KeyId {
        /// Its length.
        length: usize,
    },
    /// The set has a key of that name.
    #[error("two keys have the same `kid`; a token would not say which one is meant")]
    DuplicateKeyId,
    /// The set has as many keys as a set may have.
    #[error("more than {MAX_KEYS} keys in a set")]
    TooManyKeys,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    kid: Option<Arc<str>>,
    pub(crate) key: Key,
    /// The first second in which nothing is verified with it any more.
    pub(crate) until: Option<Timestamp>,
}

#[derive(Clone)]
pub(crate) enum Key {
    Public(VerifyingKey),
    Secret(Arc<MacKey>),
}

impl KeySet {
    /// A set without keys, which verifies nothing.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            usable_until: None,
        }
    }

    /// Adds a public key that tokens call `kid`: 1 to 256 bytes.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] if the name is taken or unfit, or the set is full.
    pub fn with_key(self, kid: &str, key: VerifyingKey) -> Result<Self, KeySetError> {
        self.with(Some(kid), Key::Public(key), None)
    }

    /// Adds a shared secret that tokens call `kid`. Whoever can verify with it can also mint.
    ///
    /// # Errors
    ///
    /// See [`KeySet::with_key`].
    pub fn with_secret(self, kid: &str, key: impl Into<Arc<MacKey>>) -> Result<Self, KeySetError> {
        self.with(Some(kid), Key::Secret(key.into()), None)
    }

    /// Adds a public key without a name, for issuers whose tokens have no `kid`. A token that has
    /// one is not verified with it.
    ///
    /// # Errors
    ///
    /// [`KeySetError::TooManyKeys`].
    pub fn with_unnamed_key(self, key: VerifyingKey) -> Result<Self, KeySetError> {
        self.with(None, Key::Public(key), None)
    }

    /// Adds a shared secret without a name; see [`KeySet::with_unnamed_key`].
    ///
    /// # Errors
    ///
    /// [`KeySetError::TooManyKeys`].
    pub fn with_unnamed_secret(self, key: impl Into<Arc<MacKey>>) -> Result<Self, KeySetError> {
        self.with(None, Key::Secret(key.into()), None)
    }

    /// From `until` on, nothing is verified with this set: it was not confirmed for too long.
    #[must_use]
    pub fn usable_until(mut self, until: Timestamp) -> Self {
        self.usable_until = Some(until);
        self
    }

    /// The same keys, the public ones prepared by another library.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if that library cannot do one of the algorithms.
    pub fn with_backend(mut self, backend: Backend) -> Result<Self, KeyError> {
        for entry in &mut self.entries {
            if let Key::Public(key) = &mut entry.key {
                *key = key.with_backend(backend)?;
            }
        }
        Ok(self)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The public keys with their names.
    pub fn public_keys(&self) -> impl Iterator<Item = (Option<&str>, &VerifyingKey)> {
        self.entries.iter().filter_map(|entry| match &entry.key {
            Key::Public(key) => Some((entry.kid.as_deref(), key)),
            Key::Secret(_) => None,
        })
    }

    pub(crate) fn usable_until_time(&self) -> Option<Timestamp> {
        self.usable_until
    }

    pub(crate) fn with(
        mut self,
        kid: Option<&str>,
        key: Key,
        until: Option<Timestamp>,
    ) -> Result<Self, KeySetError> {
        if let Some(kid) = kid {
            if kid.is_empty() || kid.len() > MAX_KID_BYTES {
                return Err(KeySetError::KeyId { length: kid.len() });
            }
            if self.find(kid).is_some() {
                return Err(KeySetError::DuplicateKeyId);
            }
        }
        if self.entries.len() >= MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let at = self
            .entries
            .partition_point(|entry| entry.kid.as_deref() < kid);
        let kid = kid.map(Arc::from);
        self.entries.insert(at, Entry { kid, key, until });
        Ok(self)
    }

    /// The key called `kid`. Costs at most seven comparisons.
    #[inline]
    pub(crate) fn find(&self, kid: &str) -> Option<&Entry> {
        let at = self
            .entries
            .binary_search_by(|entry| entry.kid.as_deref().cmp(&Some(kid)))
            .ok()?;
        self.entries.get(at)
    }

    /// The keys that a token without `kid` could be signed with.
    pub(crate) fn candidates(&self, algorithm: Algorithm) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.key.algorithm().accepts(algorithm))
    }

    /// Whether the other set would answer every question in the same way.
    pub(crate) fn has_same_keys(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(a, b)| {
                a.kid == b.kid
                    && a.until == b.until
                    && match (&a.key, &b.key) {
                        (Key::Public(a), Key::Public(b)) => {
                            a.algorithm() == b.algorithm()
                                && a.backend() == b.backend()
                                && a.thumbprint() == b.thumbprint()
                        }
                        (Key::Secret(a), Key::Secret(b)) => Arc::ptr_eq(a, b),
                        _ => false,
                    }
            })
    }
}

impl Key {
    #[inline]
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Public(key) => key.algorithm(),
            Self::Secret(key) => key.algorithm(),
        }
    }

    #[inline]
    pub(crate) fn signature_bytes(&self) -> usize {
        match self {
            Self::Public(key) => key.signature_bytes(),
            Self::Secret(key) => key.signature_bytes(),
        }
    }

    #[inline]
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        match self {
            Self::Public(key) => key.verify(message, signature),
            Self::Secret(key) => key.verify(message, signature),
        }
    }

    /// By what name a key is revoked; a shared secret has none that could be published.
    pub(crate) fn thumbprint(&self) -> Option<Thumbprint> {
        match self {
            Self::Public(key) => Some(key.thumbprint()),
            Self::Secret(_) => None,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Public(_) => "public",
            Self::Secret(_) => "secret",
        };
        write!(f, "{kind} key for {}", self.algorithm().name())
    }
}

impl From<KeySet> for Arc<Live<KeySet>> {
    fn from(keys: KeySet) -> Self {
        Self::new(Live::new(keys))
    }
}
