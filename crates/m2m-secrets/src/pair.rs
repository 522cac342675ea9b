//! `PairRoot`: one secret from which the keys of all pairs and trios are derived when they are needed.

mod floors;
mod parties;

use std::fmt;

use m2m_crypto::{Algorithm, Hkdf, HkdfHash, MacKey, SecretBytes, SignatureError};
use m2m_types::ServiceId;

use crate::{RequestRejection, SharedSecret};
pub use floors::{FloorsFull, MAX_PEER_FLOORS, PeerFloors};
pub use parties::{Parties, PartiesError};

/// What keys are derived for. Another layout of names needs another one.
const PURPOSE: &[u8] = b"m2m-secrets pair 1";
/// What roots of single verifiers are derived for.
const VERIFIER: &[u8] = b"verifier";
const KEY_BYTES: usize = 32;

/// Which root: counted by whoever draws them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootVersion(pub u32);

/// Which key of those that the same parties may have had: raised to take one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u32);

/// The secret of a group of verifiers, from which the key of each pair or trio is derived: nothing is
/// kept for a peer, however many there are.
///
/// Whoever hands out keys gives each signer [`PairRoot::secret`] of its own pairs; verifiers hold the
/// root and derive the key of whoever calls, each time. To take a peer's keys back its [`Generation`] is
/// raised in [`PeerFloors`], which is public.
///
/// **Whoever holds the root can speak for every peer.** Where verifiers must not do so to each other,
/// give each the root [`PairRoot::for_verifier`] of its own; where nobody may, use signatures.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{Generation, PairRoot, Parties, PeerFloors, RootVersion, SharedSecret};
/// use m2m_types::ServiceId;
///
/// let root = PairRoot::new(&SharedSecret::generate(&SystemRandom)?, RootVersion(1));
/// let billing: ServiceId = "spiffe://example.org/billing".parse()?;
/// let ledger: ServiceId = "spiffe://example.org/ledger".parse()?;
/// let pair = Parties::pair(&billing, &ledger)?;
///
/// // Billing got this when it was set up.
/// let signer = root.key(&pair, Generation::FIRST);
/// let mut tag = [0; 32];
/// signer.sign(b"pay 10", &mut tag)?;
///
/// // The ledger derives it, and forgets it again.
/// let mut floors = PeerFloors::new(&SystemRandom)?;
/// root.verify(&pair, Generation::FIRST, &floors, b"pay 10", &tag)?;
///
/// // Billing was broken into.
/// floors.raise(&billing, Generation::FIRST.next())?;
/// assert!(root.verify(&pair, Generation::FIRST, &floors, b"pay 10", &tag).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PairRoot {
    hkdf: Hkdf,
    version: RootVersion,
}

/// Why a message was refused: for logs and operators. The peer gets [`PairRefusal::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairRefusal {
    /// One of the parties has no keys of that generation any more.
    #[error("{peer} has keys from generation {floor} on, and this is of {generation}")]
    Revoked {
        /// Whose keys were taken back.
        peer: ServiceId,
        /// Its first generation that is accepted.
        floor: Generation,
        /// The generation of this key.
        generation: Generation,
    },
    /// The tag is not of this message under the key of these parties.
    #[error("the tag is not of this message under the key of these parties")]
    Wrong,
}

impl Generation {
    /// The first one.
    pub const FIRST: Self = Self(1);
    /// Of this one there are no keys: a peer whose floor it is has none for ever.
    pub const NEVER: Self = Self(u32::MAX);

    /// The generation with this number, 1 or higher.
    pub const fn new(number: u32) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self(number)),
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The one after it; [`Self::NEVER`] has none and stays.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl PairRoot {
    /// The root that is drawn from `secret`.
    pub fn new(secret: &SharedSecret, version: RootVersion) -> Self {
        Self {
            hkdf: extract(secret.expose_secret(), version),
            version,
        }
    }

    /// The root for one verifier, which can speak for nobody to the others. Its keys are others than
    /// those of this root.
    pub fn for_verifier(&self, verifier: &ServiceId) -> Self {
        let info = [VERIFIER, verifier.as_str().as_bytes()];
        let root = expand(&self.hkdf, &info);
        Self {
            hkdf: extract(&root, self.version),
            version: self.version,
        }
    }

    /// The key of `parties`, prepared: for whoever talks to few and keeps theirs.
    pub fn key(&self, parties: &Parties<'_>, generation: Generation) -> MacKey {
        prepare(self.secret(parties, generation))
    }

    /// The bytes of the key of `parties`, to be handed to one of them.
    pub fn secret(&self, parties: &Parties<'_>, generation: Generation) -> SecretBytes {
        parties.with_info(generation, |info| expand(&self.hkdf, info))
    }

    /// The HMAC-SHA256 of `message` under the key of `parties`, which is derived and forgotten.
    pub fn sign(
        &self,
        parties: &Parties<'_>,
        generation: Generation,
        message: &[u8],
    ) -> [u8; KEY_BYTES] {
        parties.with_info(generation, |info| self.hkdf.sign_derived(info, message))
    }

    /// Checks that `tag` is the HMAC-SHA256 of `message` under the key of `parties`, which is derived and
    /// forgotten: nothing is kept and nothing allocated. `generation` is what the message says of itself.
    ///
    /// # Errors
    ///
    /// [`PairRefusal`].
    pub fn verify(
        &self,
        parties: &Parties<'_>,
        generation: Generation,
        floors: &PeerFloors,
        message: &[u8],
        tag: &[u8],
    ) -> Result<(), PairRefusal> {
        for peer in parties.names() {
            let floor = floors.floor_of(peer);
            if generation < floor || generation == Generation::NEVER {
                return Err(PairRefusal::Revoked {
                    peer: peer.clone(),
                    floor,
                    generation,
                });
            }
        }
        parties.with_info(generation, |info| {
            let verdict = self.hkdf.verify_derived(info, message, tag);
            verdict.map_err(|SignatureError| PairRefusal::Wrong)
        })
    }

    /// Which root this is.
    pub fn version(&self) -> RootVersion {
        self.version
    }
}

/// The version is in the salt, and so in no message: what is hashed for each then fits into one block
/// more often.
fn extract(secret: &SecretBytes, version: RootVersion) -> Hkdf {
    let salt = [PURPOSE, &version.0.to_be_bytes()].concat();
    Hkdf::extract(HkdfHash::Sha256, &salt, secret)
}

fn expand(hkdf: &Hkdf, info: &[&[u8]]) -> SecretBytes {
    let secret = hkdf.expand(info, KEY_BYTES);
    secret.expect("HKDF gives 32 bytes")
}

fn prepare(secret: SecretBytes) -> MacKey {
    let key = MacKey::new(Algorithm::Hs256, secret);
    key.expect("it is as long as a key, and no public key is so short")
}

impl PairRefusal {
    /// What the peer may learn.
    pub const fn rejection(&self) -> RequestRejection {
        RequestRejection::Unauthenticated
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PairRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairRoot(version {}, [redacted])", self.version.0)
    }
}
