//! `AlgorithmSet`: which signature algorithms a verifier allows.

use m2m_crypto::Algorithm;

/// A set of algorithms, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlgorithmSet(u32);

impl AlgorithmSet {
    pub(crate) const ALL: Self = Self(u32::MAX);

    pub(crate) fn of(algorithms: &[Algorithm]) -> Self {
        Self(
            algorithms
                .iter()
                .fold(0, |set, algorithm| set | bit(*algorithm)),
        )
    }

    #[inline]
    pub(crate) fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & bit(algorithm) != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The two names of Ed25519 are one algorithm, so they share a bit.
#[inline]
fn bit(algorithm: Algorithm) -> u32 {
    let algorithm = match algorithm {
        Algorithm::EdDsa => Algorithm::Ed25519,
        other => other,
    };
    1 << (algorithm as u32 % u32::BITS)
}
