//! `SigningKeyRing`: the keys an issuer signs with, and the order in which they come and go, so that
//! no verifier ever meets a token whose key it could not have known.

mod error;
mod signer;

pub use error::SigningKeyError;
pub(crate) use signer::Signer;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use m2m_crypto::{MacKey, SigningKey, VerifyingKey};
use m2m_types::{Live, Timestamp};

use crate::jwk_set::JwkSet;
use crate::key_set::KeySet;

/// The keys of one issuer. Each goes one way: *published* (verifiers can know it) → *active* (tokens
/// are signed with it) → *retiring* (its tokens are still accepted) → gone.
///
/// Publishing comes before use by at least the time that verifiers need to notice
/// ([`SigningKeyRing::with_propagation`]), and a key that was active stays published until the last
/// token signed with it has expired. Everything that is minted therefore names a key that is in
/// [`SigningKeyRing::jwk_set`].
///
/// Minting and verifying read snapshots and never wait for a change.
///
/// ```
/// use std::time::Duration;
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_token::SigningKeyRing;
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let minute = Duration::from_secs(60);
/// let first = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let ring = SigningKeyRing::new(first, 5 * minute)?.with_propagation(10 * minute);
///
/// let next = ring.publish(SigningKey::generate(Algorithm::Es256, &SystemRandom)?, now)?;
/// assert!(ring.activate(&next, now).is_err(), "nobody has seen it yet");
/// ring.activate(&next, now.saturating_add(10 * minute))?;
/// assert_eq!(ring.jwk_set().len(), 2, "the old key's tokens still verify");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A public key alone signs nothing:
///
/// ```compile_fail,E0308
/// # // jwt_015
/// # use std::time::Duration;
/// # use m2m_crypto::VerifyingKey;
/// # use m2m_token::SigningKeyRing;
/// fn careless(public: VerifyingKey) {
///     let _ = SigningKeyRing::new(public, Duration::from_secs(300)); // expected `SigningKey`
/// }
/// ```
pub struct SigningKeyRing {
    max_lifetime: Duration,
    propagation: Duration,
    leeway: Duration,
    /// What writers agree on; never held while a token is signed or verified.
    keys: Mutex<Vec<Arc<RingKey>>>,
    active: Live<ActiveKey>,
    verifying: Arc<Live<KeySet>>,
}

/// A key and how far it has come.
#[derive(Clone)]
struct RingKey {
    kid: Arc<str>,
    signer: Arc<Signer>,
    state: SigningKeyState,
}

/// The key that tokens are signed with.
pub(crate) struct ActiveKey {
    pub(crate) kid: Arc<str>,
    pub(crate) signer: Arc<Signer>,
}

/// How far a key of a [`SigningKeyRing`] has come.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKeyState {
    /// Verifiers can know it; nothing is signed with it yet.
    Published {
        /// Since when.
        since: Timestamp,
    },
    /// Tokens are signed with it.
    Active,
    /// Nothing is signed with it any more; its tokens are accepted until they have all expired.
    Retiring {
        /// The first second in which none of its tokens is accepted.
        until: Timestamp,
    },
}

impl SigningKeyRing {
    /// A ring whose first key is active at once: there is nothing yet that it could surprise.
    /// `max_lifetime` is the longest that a token may live, and so how long a key retires.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Set`] never for a first key; stated so that callers handle one error.
    pub fn new(first: SigningKey, max_lifetime: Duration) -> Result<Self, SigningKeyError> {
        let kid = Arc::from(first.verifying_key().thumbprint().to_string());
        Self::with_first(kid, Signer::Local(first), max_lifetime)
    }

    /// A ring whose first key is held elsewhere: tokens are prepared here and signed there. See
    /// [`crate::Minter::prepare`].
    ///
    /// # Errors
    ///
    /// See [`SigningKeyRing::new`].
    pub fn external(first: VerifyingKey, max_lifetime: Duration) -> Result<Self, SigningKeyError> {
        let kid = Arc::from(first.thumbprint().to_string());
        Self::with_first(kid, Signer::External(first), max_lifetime)
    }

    /// A ring whose first key is a shared secret called `kid`. Secrets are never in the JWK set:
    /// give verifiers [`SigningKeyRing::verifying_keys`], or the secret itself.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Set`] if `kid` is empty or too long.
    pub fn secret(
        kid: &str,
        first: MacKey,
        max_lifetime: Duration,
    ) -> Result<Self, SigningKeyError> {
        Self::with_first(
            Arc::from(kid),
            Signer::Secret(Arc::new(first)),
            max_lifetime,
        )
    }

    fn with_first(
        kid: Arc<str>,
        signer: Signer,
        max_lifetime: Duration,
    ) -> Result<Self, SigningKeyError> {
        let signer = Arc::new(signer);
        let keys = vec![Arc::new(RingKey {
            kid: Arc::clone(&kid),
            signer: Arc::clone(&signer),
            state: SigningKeyState::Active,
        })];
        Ok(Self {
            max_lifetime,
            propagation: Duration::ZERO,
            leeway: Duration::ZERO,
            verifying: Arc::new(Live::new(verifying(&keys)?)),
            active: Live::new(ActiveKey { kid, signer }),
            keys: Mutex::new(keys),
        })
    }

    /// For how long a key must have been published before it is used: as long as the verifiers that
    /// fetch the JWK set may keep an older one. By default nothing, which fits verifiers in the same
    /// process.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Duration) -> Self {
        self.propagation = propagation;
        self
    }

    /// How much leeway the verifiers allow ([`crate::VerifierBuilder::with_leeway`]): keys retire
    /// that much later. By default nothing, as there.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Adds a key that nothing is signed with yet, and gives its `kid`: its RFC 7638 thumbprint.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Set`] if the key is there already or the ring is full.
    pub fn publish(&self, key: SigningKey, now: Timestamp) -> Result<Box<str>, SigningKeyError> {
        let kid = key.verifying_key().thumbprint().to_string();
        self.add(kid.into(), Signer::Local(key), now)
    }

    /// [`SigningKeyRing::publish`] for a key that is held elsewhere.
    ///
    /// # Errors
    ///
    /// See [`SigningKeyRing::publish`].
    pub fn publish_external(
        &self,
        key: VerifyingKey,
        now: Timestamp,
    ) -> Result<Box<str>, SigningKeyError> {
        let kid = key.thumbprint().to_string();
        self.add(kid.into(), Signer::External(key), now)
    }

    /// [`SigningKeyRing::publish`] for a shared secret, which has no name of its own.
    ///
    /// # Errors
    ///
    /// See [`SigningKeyRing::publish`].
    pub fn publish_secret(
        &self,
        kid: &str,
        key: MacKey,
        now: Timestamp,
    ) -> Result<Box<str>, SigningKeyError> {
        self.add(kid.into(), Signer::Secret(Arc::new(key)), now)
    }

    fn add(
        &self,
        kid: Box<str>,
        signer: Signer,
        now: Timestamp,
    ) -> Result<Box<str>, SigningKeyError> {
        self.change(now, |keys| {
            keys.push(Arc::new(RingKey {
                kid: Arc::from(&*kid),
                signer: Arc::new(signer),
                state: SigningKeyState::Published { since: now },
            }));
            Ok(None)
        })?;
        Ok(kid)
    }

    /// Signs with `kid` from now on. The key that was active until now retires: its tokens are
    /// accepted until the last of them has expired.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::TooEarly`] before every verifier can know the key;
    /// [`SigningKeyError::Retiring`] if it was active before; [`SigningKeyError::Unknown`].
    pub fn activate(&self, kid: &str, now: Timestamp) -> Result<(), SigningKeyError> {
        self.change(now, |keys| {
            let at = position(keys, kid)?;
            let key = keys.get(at).ok_or_else(|| unknown(kid))?;
            match key.state {
                SigningKeyState::Active => return Ok(None),
                SigningKeyState::Retiring { .. } => {
                    return Err(SigningKeyError::Retiring { kid: kid.into() });
                }
                SigningKeyState::Published { since } => {
                    let from = since.saturating_add(self.propagation);
                    if now < from {
                        return Err(SigningKeyError::TooEarly {
                            kid: kid.into(),
                            from,
                        });
                    }
                }
            }
            let until = now
                .saturating_add(self.max_lifetime)
                .saturating_add(self.leeway);
            for key in keys.iter_mut() {
                let state = match key.state {
                    _ if *key.kid == *kid => SigningKeyState::Active,
                    SigningKeyState::Active => SigningKeyState::Retiring { until },
                    _ => continue,
                };
                *key = Arc::new(RingKey {
                    state,
                    ..RingKey::clone(key)
                });
            }
            Ok(keys.get(at).cloned())
        })
    }

    /// Takes a key away at once, with all its tokens: it leaked, or was published by mistake.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::InUse`] for the active key: [`SigningKeyRing::activate`] another one
    /// first; [`SigningKeyError::Unknown`].
    pub fn remove(&self, kid: &str, now: Timestamp) -> Result<(), SigningKeyError> {
        self.change(now, |keys| {
            let at = position(keys, kid)?;
            if keys
                .get(at)
                .is_some_and(|key| key.state == SigningKeyState::Active)
            {
                return Err(SigningKeyError::InUse { kid: kid.into() });
            }
            keys.remove(at);
            Ok(None)
        })
    }

    /// Forgets keys that have finished retiring. Their tokens are refused from that second on whether
    /// this is called or not; it takes them out of the JWK set and wipes them.
    pub fn tidy(&self, now: Timestamp) {
        // Taking away what no longer counts cannot fail.
        let _ = self.change(now, |_| Ok(None));
    }

    /// Each key's name and how far it has come.
    pub fn states(&self) -> Vec<(Box<str>, SigningKeyState)> {
        let keys = self.lock();
        keys.iter()
            .map(|key| (Box::from(&*key.kid), key.state))
            .collect()
    }

    /// The public keys to publish (RFC 7517): those in use, those to come and those retiring.
    pub fn jwk_set(&self) -> JwkSet {
        JwkSet::of(&self.verifying.load())
    }

    /// The same keys, kept up to date, for verifiers in this process; shared secrets included.
    pub fn verifying_keys(&self) -> Arc<Live<KeySet>> {
        Arc::clone(&self.verifying)
    }

    /// The longest that a token may live.
    pub fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    pub(crate) fn active(&self) -> m2m_types::Snapshot<ActiveKey> {
        self.active.load()
    }

    /// Changes a copy of the keys and publishes it: first to verifiers, then to the minter, so that
    /// no token can be signed with a key that is not published. Nothing changes if `change` fails.
    fn change(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut Vec<Arc<RingKey>>) -> Result<Option<Arc<RingKey>>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let mut keys = self.lock();
        let mut next: Vec<_> = keys
            .iter()
            .filter(|key| !matches!(key.state, SigningKeyState::Retiring { until } if until <= now))
            .cloned()
            .collect();
        let activated = change(&mut next)?;
        let set = verifying(&next)?;
        if !self.verifying.load().has_same_keys(&set) {
            self.verifying.store(set);
        }
        if let Some(key) = activated {
            self.active.store(ActiveKey {
                kid: Arc::clone(&key.kid),
                signer: Arc::clone(&key.signer),
            });
        }
        *keys = next;
        Ok(())
    }

    /// A panic while the lock was held left the old keys in place, which are sound.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<RingKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn verifying(keys: &[Arc<RingKey>]) -> Result<KeySet, SigningKeyError> {
    keys.iter().try_fold(KeySet::new(), |set, key| {
        let until = match key.state {
            SigningKeyState::Retiring { until } => Some(until),
            _ => None,
        };
        set.with(Some(&key.kid), key.signer.verifier(), until)
            .map_err(SigningKeyError::Set)
    })
}

fn position(keys: &[Arc<RingKey>], kid: &str) -> Result<usize, SigningKeyError> {
    keys.iter()
        .position(|key| *key.kid == *kid)
        .ok_or_else(|| unknown(kid))
}

fn unknown(kid: &str) -> SigningKeyError {
    SigningKeyError::Unknown {
        kid: kid.chars().take(64).collect::<String>().into(),
    }
}

impl fmt::Debug for SigningKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyRing")
            .field("states", &self.states())
            .finish_non_exhaustive()
    }
}
