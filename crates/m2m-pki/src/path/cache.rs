//! `VerifiedIntermediates`: signatures of intermediates that were found good.

use std::fmt;

use m2m_types::{Live, Snapshot};

/// SHA-256 over an issuer's key, what it signed, the signature and the algorithm.
pub(super) type Fingerprint = [u8; 32];

/// Remembers which signatures on intermediates were found good, so that the second leaf of the same
/// intermediate costs one signature and not two.
///
/// What is remembered is that *this key made this signature of these bytes*, which stays true for
/// ever, and nothing else. Each verification builds its path to an authority of the bundle it is given,
/// and asks again for validity, constraints, purposes and revocation of every certificate. So there is
/// nothing to forget when a bundle changes, an intermediate expires or is revoked.
///
/// An entry is made only after a whole chain was accepted, so strangers cannot fill it; when it is full
/// the oldest entry goes. Readers take no lock.
pub struct VerifiedIntermediates {
    capacity: usize,
    known: Live<Known>,
}

/// The fingerprints, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Vec<Fingerprint>);

impl VerifiedIntermediates {
    /// The most that can be held: what fits into 32 KiB, and a look-up still takes far less time than
    /// a signature.
    pub const MAX_CAPACITY: usize = 1024;

    /// Holds up to `capacity` signatures, at most [`VerifiedIntermediates::MAX_CAPACITY`]. There is
    /// one for each intermediate of the authorities in use.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(Self::MAX_CAPACITY),
            known: Live::new(Known::default()),
        }
    }

    /// How many signatures it holds.
    pub fn len(&self) -> usize {
        self.known.load().0.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn snapshot(&self) -> Snapshot<Known> {
        self.known.load()
    }

    /// Two who do this at once may lose an entry, which costs a signature later.
    pub(super) fn remember(&self, fresh: Vec<Fingerprint>) {
        let known = self.known.load();
        let new = fresh.into_iter().filter(|one| !known.contains(one));
        let mut all = known.0.clone();
        all.extend(new);
        if all.len() > known.0.len() {
            let oldest = all.len().saturating_sub(self.capacity);
            all.drain(..oldest);
            self.known.store(Known(all));
        }
    }
}

impl Known {
    pub(super) fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.0.contains(fingerprint)
    }
}

impl fmt::Debug for VerifiedIntermediates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedIntermediates")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}
