//! `MalformedKey`: why a text is no key.

/// Why a text is no key of the format. Says where, and never what stands there.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKey {
    /// It does not begin with the product's prefix: something else, or a key of somebody else's.
    #[error("this does not begin as a key of this product does")]
    Prefix,
    /// It is a key of this product for another environment.
    #[error("this is of another environment")]
    Environment,
    /// All keys of a format are equally long.
    #[error("a key has {expected} bytes; this has {found}: it was cut, or something is around it")]
    Length {
        /// How many it has.
        found: usize,
        /// How many a key has.
        expected: usize,
    },
    /// A character that no key has at that place.
    #[error("byte {at} is none that may stand there")]
    Character {
        /// Which byte, counted from 0.
        at: usize,
    },
    /// A typo: everything looks right, and the checksum does not fit.
    #[error("the checksum does not fit: a typo, or made up")]
    Checksum,
}

impl MalformedKey {
    /// The same, where `bytes` more stand in front.
    #[cold]
    pub(super) fn behind(self, bytes: usize) -> Self {
        match self {
            Self::Character { at } => Self::Character { at: at + bytes },
            other => other,
        }
    }
}
