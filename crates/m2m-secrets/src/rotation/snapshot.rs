//! `Snapshot`: what a ring says, without the secrets themselves.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use m2m_crypto::sha256;
use m2m_types::Timestamp;

use super::encoding::{Reader, Writer};
use super::name::{Epoch, SecretName, SecretVersion};
use super::ring::MAX_RING_VERSIONS;

const KIND: &[u8] = b"m2m-secrets ring 1\0";

/// What a member does with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there is no third role")]
pub enum Role {
    /// Signs. It is given the version that signs and no other, so that a leak at a client never
    /// exposes the standby.
    Signer,
    /// Verifies, and so holds every version that is accepted.
    Verifier,
    /// Both.
    SignerAndVerifier,
}

/// The public part of one ring: which versions are accepted and until when, which one signs, and of
/// which epoch it is. Always the whole ring, never a difference to another.
///
/// A snapshot that accepts nothing, or signs with what is not accepted, cannot be made.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    secret: SecretName,
    epoch: Epoch,
    horizon: SecretVersion,
    versions: Vec<Offered>,
    sign: SecretVersion,
    lease: Duration,
    previous: [u8; 32],
    hash: [u8; 32],
}

/// One accepted version in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offered {
    pub(crate) version: SecretVersion,
    pub(crate) drop_at: Option<Timestamp>,
}

/// What a snapshot is made of.
pub(crate) struct SnapshotParts {
    pub(crate) secret: SecretName,
    pub(crate) epoch: Epoch,
    pub(crate) horizon: SecretVersion,
    pub(crate) versions: Vec<Offered>,
    pub(crate) sign: SecretVersion,
    pub(crate) lease: Duration,
    pub(crate) previous: [u8; 32],
}

impl Role {
    /// Whether it signs.
    pub const fn signs(self) -> bool {
        matches!(self, Self::Signer | Self::SignerAndVerifier)
    }

    /// Whether it verifies.
    pub const fn verifies(self) -> bool {
        matches!(self, Self::Verifier | Self::SignerAndVerifier)
    }

    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Signer => 1,
            Self::Verifier => 2,
            Self::SignerAndVerifier => 3,
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Signer),
            2 => Some(Self::Verifier),
            3 => Some(Self::SignerAndVerifier),
            _ => None,
        }
    }
}

impl Snapshot {
    /// [`None`] for a ring that would accept nothing, sign with what it does not accept, or hold more
    /// than fits (R6).
    pub(crate) fn new(parts: SnapshotParts) -> Option<Self> {
        let SnapshotParts {
            secret,
            epoch,
            horizon,
            versions,
            sign,
            lease,
            previous,
        } = parts;
        let ascending = versions.is_sorted_by(|one, next| one.version < next.version);
        let within = versions.iter().all(|offered| offered.version <= horizon);
        let signer = versions.iter().find(|offered| offered.version == sign)?;
        let usable = signer.drop_at.is_none();
        if !ascending || !within || !usable || versions.len() > MAX_RING_VERSIONS {
            return None;
        }
        let mut snapshot = Self {
            secret,
            epoch,
            horizon,
            versions,
            sign,
            lease,
            previous,
            hash: [0; 32],
        };
        snapshot.hash = sha256(&snapshot.to_bytes());
        Some(snapshot)
    }

    /// Of which secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// Of which epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version that signs.
    pub fn sign(&self) -> SecretVersion {
        self.sign
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The versions that are accepted, from the oldest to the newest, and until when.
    pub fn accepted(&self) -> impl Iterator<Item = (SecretVersion, Option<Timestamp>)> {
        self.versions
            .iter()
            .map(|offered| (offered.version, offered.drop_at))
    }

    /// SHA-256 over all of it. Two issuers that both believe to be the only one give the same epoch
    /// different hashes, and members notice.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The versions whose secrets a member with this role is given.
    pub fn held_by(&self, role: Role) -> Vec<SecretVersion> {
        match role.verifies() {
            true => self.versions.iter().map(|held| held.version).collect(),
            false => vec![self.sign],
        }
    }

    pub(crate) fn horizon(&self) -> SecretVersion {
        self.horizon
    }

    pub(crate) fn previous(&self) -> &[u8; 32] {
        &self.previous
    }

    pub(crate) fn offered(&self, version: SecretVersion) -> Option<&Offered> {
        self.versions.iter().find(|held| held.version == version)
    }

    /// Whether `version` was published once and is no longer accepted: it never will be again.
    pub(crate) fn is_dead(&self, version: SecretVersion) -> bool {
        version <= self.horizon && self.offered(version).is_none()
    }

    pub(crate) fn is_newest(&self, version: SecretVersion) -> bool {
        self.versions.iter().all(|held| held.version <= version)
    }

    /// What only a mistaken member does, see [`Mutation::Union`](super::mutation::Mutation::Union).
    pub(crate) fn united_with(&self, older: &Self) -> Self {
        let mut united = self.clone();
        let missing = |held: &&Offered| self.offered(held.version).is_none();
        united
            .versions
            .extend(older.versions.iter().filter(missing));
        united.versions.sort_by_key(|held| held.version);
        united
    }

    /// To send or to keep. It holds no secret; [`RingDelivery`](crate::RingDelivery) authenticates it on
    /// the way.
    pub fn to_bytes(&self) -> Vec<u8> {
        Writer::of(KIND)
            .bytes(self.secret.as_str().as_bytes())
            .number(self.epoch.number())
            .number(self.horizon.number())
            .number(self.sign.number())
            .number(self.lease.as_secs())
            .fixed(&self.previous)
            .each(self.versions.iter(), |to, held| {
                to.number(held.version.number()).optional_time(held.drop_at)
            })
            .done()
    }

    /// What [`Snapshot::to_bytes`] gave; [`None`] if these bytes are no ring.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of(KIND, bytes)?;
        let secret = from.secret_name()?;
        let (epoch, horizon, sign) = (from.epoch()?, from.version()?, from.version()?);
        let lease = from.seconds()?;
        let previous = from.fixed()?;
        let versions = from.each(MAX_RING_VERSIONS, |from| {
            Some(Offered {
                version: from.version()?,
                drop_at: from.optional_time()?,
            })
        })?;
        from.end()?;
        Self::new(SnapshotParts {
            secret,
            epoch,
            horizon,
            versions,
            sign,
            lease,
            previous,
        })
    }
}

/// By what it says, not by how it came to say it.
impl Hash for Snapshot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.epoch, self.horizon, self.sign, &self.versions).hash(state);
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} epoch {}:", self.secret, self.epoch)?;
        for held in &self.versions {
            write!(f, " {:?}", held.version)?;
            if held.version == self.sign {
                f.write_str(" signs")?;
            }
            if let Some(at) = held.drop_at {
                write!(f, " until {at}")?;
            }
        }
        f.write_str(")")
    }
}
