//! `ChainLimits`: how much work a stranger's chain may be.

/// How much of what a peer presents is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainLimits {
    pub(super) certificates: usize,
    pub(super) signatures: usize,
    pub(super) intermediates: usize,
}

impl ChainLimits {
    /// How many intermediates a path may have: the path builder's bound. Private authorities have one
    /// or two.
    pub const MAX_INTERMEDIATES: usize = 6;
    /// The most certificates that can be allowed: more than a TLS message of 64 KiB holds.
    pub const MAX_CERTIFICATES: usize = 128;
    /// The most signature checks that can be allowed: the path builder's own budget.
    pub const MAX_SIGNATURES: usize = 100;

    /// At most `certificates` are read and at most `signatures` are checked, each within the bound
    /// above.
    #[must_use]
    pub fn new(certificates: usize, signatures: usize) -> Self {
        Self {
            certificates: certificates.min(Self::MAX_CERTIFICATES),
            signatures: signatures.min(Self::MAX_SIGNATURES),
            intermediates: Self::MAX_INTERMEDIATES,
        }
    }

    /// At most `intermediates` stand between the leaf and the authority. Certificates that a CA
    /// issued to itself do not count.
    #[must_use]
    pub fn with_intermediates(self, intermediates: usize) -> Self {
        Self {
            intermediates: intermediates.min(Self::MAX_INTERMEDIATES),
            ..self
        }
    }
}

impl Default for ChainLimits {
    /// 10 certificates: a leaf, the deepest path, and a few cross-signed ones. 32 signatures: the
    /// deepest path four times over, which takes a server two milliseconds on P-256.
    fn default() -> Self {
        Self::new(10, 32)
    }
}
