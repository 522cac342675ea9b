//! `Ring`: the versions a process accepts and the one it signs with, ready for the hot path.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{Algorithm, KeyError, MacKey, SignError};
use m2m_types::Timestamp;

use super::name::{Epoch, KeyId, SecretName, SecretVersion};
use super::uses::{Fence, Uses};
use crate::SharedSecret;

/// The most versions in a ring: the active one, its standby, one that retires, and room for an
/// emergency. Bounds what a message without a key id can cost.
pub const MAX_RING_VERSIONS: usize = 8;

/// The versions of one secret at one epoch: which are accepted, and which one signs. It never changes;
/// keep it in a [`Live`](m2m_types::Live) and replace it whole.
///
/// `K` is what each secret was prepared into: a [`MacKey`] unless something else is asked for, such as
/// keys derived for one purpose.
///
/// Verifying takes no lock, allocates nothing, and counts the use in memory that holds no secret.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{Ring, SecretName, SecretVersion, SharedSecret};
/// use m2m_types::{Live, Timestamp};
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let secret = SharedSecret::generate(&SystemRandom)?;
/// let name = SecretName::new("billing")?;
/// let ring = Ring::fixed(&name, [(SecretVersion::FIRST, &secret)], SecretVersion::FIRST, now)?;
/// let live = Live::new(ring);
///
/// let ring = live.load();
/// let mut tag = [0; 32];
/// let signed = ring.sign(b"message", &mut tag, now)?;
/// let accepted = ring.verify(signed.key_id().as_str(), b"message", &tag, now)?;
/// assert_eq!(accepted.version(), SecretVersion::FIRST);
/// assert_eq!(accepted.uses().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring<K = MacKey> {
    secret: SecretName,
    epoch: Epoch,
    /// The one that signs first, then from the newest to the oldest.
    versions: Box<[RingVersion<K>]>,
    sign: Option<SecretVersion>,
    fence: Arc<Fence>,
}

/// One version in a [`Ring`].
pub struct RingVersion<K = MacKey> {
    version: SecretVersion,
    key_id: KeyId,
    key: K,
    drop_at: Timestamp,
    uses: Arc<Uses>,
}

/// Why a message was not accepted: for logs and operators. The peer gets
/// [`RingVerifyError::rejection`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingVerifyError {
    /// No version that is accepted now has this key id.
    #[error("no accepted version of the secret has this key id; the ring is of epoch {epoch}")]
    UnknownKey {
        /// Of the ring that was asked.
        epoch: Epoch,
    },
    /// The tag is not that of the message.
    #[error("the message was not made with version {version} of the secret")]
    WrongTag {
        /// Of which version the key id was.
        version: SecretVersion,
    },
    /// This process has not heard from its issuer for as long as its lease lasts.
    #[error("the lease ended at {until}; ask the issuer for a new one")]
    Fenced {
        /// When it ended.
        until: Timestamp,
    },
}

/// Why nothing was signed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingSignError {
    /// This process holds no version to sign with: it only verifies.
    #[error("this process only verifies; it holds no version that signs")]
    NoSigner,
    /// The version that signs has been dropped everywhere.
    #[error("version {version} was to be dropped at {at}; ask the issuer for a new ring")]
    Dropped {
        /// Which.
        version: SecretVersion,
        /// From when on.
        at: Timestamp,
    },
    /// This process has not heard from its issuer for as long as its lease lasts.
    #[error("the lease ended at {until}; ask the issuer for a new one")]
    Fenced {
        /// When it ended.
        until: Timestamp,
    },
    /// There is no room for the tag.
    #[error("{0}")]
    Sign(SignError),
}

/// Why no ring could be made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Nothing is accepted.
    #[error("a ring accepts at least one version")]
    Empty,
    /// More than [`MAX_RING_VERSIONS`].
    #[error("{found} versions; a ring has at most {MAX_RING_VERSIONS}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// The same version twice.
    #[error("version {version} is there twice")]
    Twice {
        /// Which.
        version: SecretVersion,
    },
    /// The version that signs is not accepted: whoever receives would refuse.
    #[error("version {version} would sign and is not accepted")]
    SignerNotAccepted {
        /// Which.
        version: SecretVersion,
    },
    /// A secret is of no use as a key.
    #[error("version {version} is of no use: {error}")]
    Key {
        /// Which.
        version: SecretVersion,
        /// Why.
        error: KeyError,
    },
}

impl Ring {
    /// A ring that no issuer rotates: for a secret that two parties configured by hand. `versions` are
    /// accepted for ever, and `sign` is one of them.
    ///
    /// # Errors
    ///
    /// [`RingError`].
    pub fn fixed<'a>(
        secret: &SecretName,
        versions: impl IntoIterator<Item = (SecretVersion, &'a SharedSecret)>,
        sign: SecretVersion,
        now: Timestamp,
    ) -> Result<Self, RingError> {
        Self::fixed_with(secret, versions, sign, now, mac_key)
    }

    /// Checks that `tag` is the HMAC-SHA256 of `message` under the version that `key_id` names, and
    /// counts the use.
    ///
    /// # Errors
    ///
    /// [`RingVerifyError`].
    #[inline]
    pub fn verify(
        &self,
        key_id: &str,
        message: &[u8],
        tag: &[u8],
        now: Timestamp,
    ) -> Result<&RingVersion, RingVerifyError> {
        let version = self.by_key_id(key_id, now)?;
        match version.key.verify(message, tag) {
            Ok(()) => {
                version.uses.record(now);
                Ok(version)
            }
            Err(_) => Err(RingVerifyError::WrongTag {
                version: version.version,
            }),
        }
    }

    /// [`Ring::verify`] for a message that does not say which version it was made with: tries the one
    /// that signs, then the others from the newest to the oldest. At most [`MAX_RING_VERSIONS`] tries.
    ///
    /// # Errors
    ///
    /// [`RingVerifyError`].
    pub fn verify_any(
        &self,
        message: &[u8],
        tag: &[u8],
        now: Timestamp,
    ) -> Result<&RingVersion, RingVerifyError> {
        let matching = |version: &&RingVersion| version.key.verify(message, tag).is_ok();
        let found = self.accepted(now)?.find(matching);
        let version = found.ok_or(RingVerifyError::UnknownKey { epoch: self.epoch })?;
        version.uses.record(now);
        Ok(version)
    }

    /// Writes the HMAC-SHA256 of `message` to the front of `tag`, which has room for 32 bytes, and
    /// returns the version it was made with: send its key id along.
    ///
    /// # Errors
    ///
    /// [`RingSignError`].
    pub fn sign(
        &self,
        message: &[u8],
        tag: &mut [u8],
        now: Timestamp,
    ) -> Result<&RingVersion, RingSignError> {
        let version = self.signing(now)?;
        let written = version.key.sign(message, tag);
        written.map_err(RingSignError::Sign)?;
        Ok(version)
    }
}

impl<K> Ring<K> {
    /// [`Ring::fixed`] with keys that `prepare` makes.
    ///
    /// # Errors
    ///
    /// [`RingError`].
    pub fn fixed_with<'a>(
        secret: &SecretName,
        versions: impl IntoIterator<Item = (SecretVersion, &'a SharedSecret)>,
        sign: SecretVersion,
        now: Timestamp,
        prepare: impl Fn(&SharedSecret) -> Result<K, KeyError>,
    ) -> Result<Self, RingError> {
        let fence = Fence::new(now, Timestamp::MAX);
        let version = |(version, held): (SecretVersion, &SharedSecret)| {
            let key = prepare(held).map_err(|error| RingError::Key { version, error })?;
            let uses = Arc::new(Uses::new(now));
            Ok(RingVersion::new(secret, version, key, None, uses))
        };
        let versions: Result<Vec<_>, RingError> = versions
            .into_iter()
            .take(MAX_RING_VERSIONS + 1)
            .map(version)
            .collect();
        Self::new(
            secret.clone(),
            Epoch::ZERO,
            versions?,
            Some(sign),
            Arc::new(fence),
        )
    }

    pub(crate) fn new(
        secret: SecretName,
        epoch: Epoch,
        mut versions: Vec<RingVersion<K>>,
        sign: Option<SecretVersion>,
        fence: Arc<Fence>,
    ) -> Result<Self, RingError> {
        let found = versions.len();
        if found == 0 {
            return Err(RingError::Empty);
        }
        if found > MAX_RING_VERSIONS {
            return Err(RingError::TooMany { found });
        }
        if let Some(version) = sign {
            if !versions.iter().any(|held| held.version == version) {
                return Err(RingError::SignerNotAccepted { version });
            }
        }
        versions.sort_by_key(|held| (Some(held.version) != sign, std::cmp::Reverse(held.version)));
        let twice = |pair: &&[RingVersion<K>]| match pair {
            [one, other] => one.version == other.version,
            _ => false,
        };
        if let Some([RingVersion { version, .. }, ..]) = versions.windows(2).find(twice) {
            return Err(RingError::Twice { version: *version });
        }
        Ok(Self {
            secret,
            epoch,
            versions: versions.into(),
            sign,
            fence,
        })
    }

    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// Of which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version that `key_id` names, if it is accepted at `now`. Does not count a use: call
    /// [`RingVersion::record_use`] when the message proved to be made with it.
    ///
    /// # Errors
    ///
    /// [`RingVerifyError::UnknownKey`], [`RingVerifyError::Fenced`].
    #[inline]
    pub fn by_key_id(
        &self,
        key_id: &str,
        now: Timestamp,
    ) -> Result<&RingVersion<K>, RingVerifyError> {
        let moment = self.unfenced(now)?;
        let named = |held: &&RingVersion<K>| {
            *held.key_id.as_str() == *key_id && held.is_accepted_at(moment)
        };
        let found = self.versions.iter().find(named);
        found.ok_or(RingVerifyError::UnknownKey { epoch: self.epoch })
    }

    /// All versions that are accepted at `now`: the one that signs, then from the newest to the oldest.
    /// For messages that carry no key id.
    ///
    /// # Errors
    ///
    /// [`RingVerifyError::Fenced`].
    #[inline]
    pub fn accepted(
        &self,
        now: Timestamp,
    ) -> Result<impl Iterator<Item = &RingVersion<K>>, RingVerifyError> {
        let moment = self.unfenced(now)?;
        let accepted = move |held: &&RingVersion<K>| held.is_accepted_at(moment);
        Ok(self.versions.iter().filter(accepted))
    }

    /// The version to sign with at `now`.
    ///
    /// # Errors
    ///
    /// [`RingSignError`], but not [`RingSignError::Sign`].
    pub fn signing(&self, now: Timestamp) -> Result<&RingVersion<K>, RingSignError> {
        let moment = self.fence.moment(now);
        let until = self.fence.lease_until();
        if moment >= until {
            return Err(RingSignError::Fenced { until });
        }
        let signing = |held: &&RingVersion<K>| Some(held.version) == self.sign;
        let held = self.versions.iter().find(signing);
        let held = held.ok_or(RingSignError::NoSigner)?;
        match held.is_accepted_at(moment) {
            true => Ok(held),
            false => Err(RingSignError::Dropped {
                version: held.version,
                at: held.drop_at,
            }),
        }
    }

    #[inline]
    fn unfenced(&self, now: Timestamp) -> Result<Timestamp, RingVerifyError> {
        let moment = self.fence.moment(now);
        let until = self.fence.lease_until();
        match moment < until {
            true => Ok(moment),
            false => Err(RingVerifyError::Fenced { until }),
        }
    }
}

impl<K> RingVersion<K> {
    pub(crate) fn new(
        secret: &SecretName,
        version: SecretVersion,
        key: K,
        drop_at: Option<Timestamp>,
        uses: Arc<Uses>,
    ) -> Self {
        Self {
            version,
            key_id: KeyId::new(secret, version),
            key,
            drop_at: drop_at.unwrap_or(Timestamp::MAX),
            uses,
        }
    }

    /// Which.
    pub fn version(&self) -> SecretVersion {
        self.version
    }

    /// What messages made with it carry.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// What its secret was prepared into.
    #[inline]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// From when on it is no longer accepted, if that is known.
    pub fn drop_at(&self) -> Option<Timestamp> {
        Some(self.drop_at).filter(|at| *at < Timestamp::MAX)
    }

    /// How often this process accepted it.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Counts a use at `now`. Call it when a message proved to be made with this version, and only then:
    /// a version that is in use is not retired.
    #[inline]
    pub fn record_use(&self, now: Timestamp) {
        self.uses.record(now);
    }

    #[inline]
    fn is_accepted_at(&self, moment: Timestamp) -> bool {
        moment < self.drop_at
    }
}

impl RingVerifyError {
    /// What the peer may learn: the same word whatever the cause (RFC 6750 §3.1).
    pub const fn rejection(&self) -> &'static str {
        "invalid_request_signature"
    }
}

/// The key of HMAC-SHA256 over the secret itself, as peers of other make expect it.
pub(crate) fn mac_key(secret: &SharedSecret) -> Result<MacKey, KeyError> {
    let bytes = secret.expose_secret().duplicate_secret_in_memory();
    MacKey::new(Algorithm::Hs256, bytes)
}

impl<K> fmt::Debug for Ring<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("secret", &self.secret)
            .field("epoch", &self.epoch)
            .field("sign", &self.sign)
            .field("versions", &self.versions)
            .finish()
    }
}

impl<K> fmt::Debug for RingVersion<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingVersion")
            .field("version", &self.version)
            .field("drop_at", &self.drop_at())
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}
