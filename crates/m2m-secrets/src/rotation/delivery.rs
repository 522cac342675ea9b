//! `RingDelivery`: a ring and the secrets that belong to it, on the way to one member.

use std::fmt;

use m2m_crypto::{AeadError, AeadKey, SecretBytes, SecureRandom};
use zeroize::Zeroizing;

use super::encoding::Reader;
use super::keyring::Keyring;
use super::name::{MemberName, SecretVersion};
use super::ring::MAX_RING_VERSIONS;
use super::snapshot::{Role, Snapshot};
use crate::SharedSecret;

const KIND: &[u8] = b"m2m-secrets delivery 1\0";

/// A ring with the secrets that a member of some role is given: all that are accepted for a verifier,
/// the one that signs for a signer.
pub struct RingDelivery {
    snapshot: Snapshot,
    secrets: Vec<(SecretVersion, SharedSecret)>,
}

impl RingDelivery {
    /// What a member with this role is given of `snapshot`; [`None`] if `keyring` lacks a secret.
    pub fn new(snapshot: &Snapshot, keyring: &Keyring, role: Role) -> Option<Self> {
        let copy = |version: SecretVersion| {
            let bytes = keyring.get(version)?.expose_secret();
            let secret = SharedSecret::new(bytes.duplicate_secret_in_memory()).ok()?;
            Some((version, secret))
        };
        let held = snapshot.held_by(role).into_iter();
        Some(Self {
            snapshot: snapshot.clone(),
            secrets: held.map(copy).collect::<Option<_>>()?,
        })
    }

    /// The ring.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(crate) fn secrets(&self) -> &[(SecretVersion, SharedSecret)] {
        &self.secrets
    }

    pub(crate) fn into_secrets(self) -> Vec<(SecretVersion, SharedSecret)> {
        self.secrets
    }

    /// Encrypts and authenticates it for `member`, under a key that issuer and member share for this
    /// alone. It opens for no other member and of no other secret.
    ///
    /// # Errors
    ///
    /// [`AeadError`].
    pub fn seal(
        &self,
        member: &MemberName,
        key: &AeadKey,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, AeadError> {
        key.seal(&self.to_bytes(), &associated(member), random)
    }

    /// What [`RingDelivery::seal`] made for `member`. [`None`] if it was not made so.
    pub fn open(sealed: &[u8], member: &MemberName, key: &AeadKey) -> Option<Self> {
        let opened = key.open(sealed, &associated(member)).ok()?;
        Self::from_bytes(&opened)
    }

    /// With the secrets in the clear, in one block that is wiped.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let snapshot = self.snapshot.to_bytes();
        let secrets = self.secrets.iter();
        let room: usize = secrets
            .map(|(_, held)| 10 + held.expose_secret().len())
            .sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(KIND.len() + snapshot.len() + room + 16));
        bytes.extend_from_slice(KIND);
        extend(&mut bytes, &snapshot);
        for (version, secret) in &self.secrets {
            bytes.extend_from_slice(&version.number().to_be_bytes());
            extend(&mut bytes, secret.expose_secret().expose_secret());
        }
        bytes
    }

    fn from_bytes(bytes: &SecretBytes) -> Option<Self> {
        let mut from = Reader::of(KIND, bytes.expose_secret())?;
        let snapshot = Snapshot::from_bytes(from.bytes()?)?;
        let mut secrets = Vec::new();
        while !from.is_empty() {
            let (version, secret) = (from.version()?, from.bytes()?);
            secrets.push((version, SharedSecret::new(SecretBytes::from(secret)).ok()?));
            if secrets.len() > MAX_RING_VERSIONS {
                return None;
            }
        }
        Some(Self { snapshot, secrets })
    }
}

fn extend(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).expect("rings and secrets are bounded far below");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
}

fn associated(member: &MemberName) -> Vec<u8> {
    [KIND, member.as_str().as_bytes()].concat()
}

impl fmt::Debug for RingDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingDelivery")
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}
