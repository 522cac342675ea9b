//! `StoreError`: why something was not read or written, and what is known of it.

use std::fmt;

use crate::{BatchError, Expected, IdempotencyKey, Key, Revision};

/// Why a store did not do what was asked. Not for peers: to them it is an internal error, and a
/// refusal.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record is not what the batch expected. **Nothing was written.** Read it again and decide
    /// anew.
    #[error("{key} was expected to be {expected:?} and is {found:?}; nothing was written")]
    Conflict {
        /// Which.
        key: Key,
        /// What the batch expected.
        expected: Expected,
        /// Its version, if it is there.
        found: Option<Revision>,
    },
    /// The idempotency key belongs to another batch, committed before. **Nothing was written.**
    #[error(
        "{key:?} named another batch, which was committed as revision {revision}; nothing was written"
    )]
    IdempotencyKeyReused {
        /// Which.
        key: IdempotencyKey,
        /// What the other batch became.
        revision: Revision,
    },
    /// No store takes such a batch. **Nothing was written.**
    #[error("{0}; nothing was written")]
    Batch(BatchError),
    /// No more than this fits: the disk is full, or a quota. **Nothing was written**; reads go on,
    /// and writes will when there is space again.
    #[error("no space: {reason}; nothing was written, free some and write again")]
    Full {
        /// What the system said.
        reason: Reason,
    },
    /// Too many are waiting already, or waited too long for their turn. **Nothing was written.**
    #[error("the store is overloaded: {reason}; nothing was written, try again later")]
    Overloaded {
        /// What is exhausted.
        reason: Reason,
    },
    /// The store cannot be reached, or did not answer in time. **Nothing was written.**
    #[error("the store is not available: {reason}; nothing was written, try again later")]
    Unavailable {
        /// What was seen.
        reason: Reason,
    },
    /// The batch may have been written and may not. Commit the same batch again, with the same
    /// idempotency key, until the answer is another.
    #[error("it is not known whether the batch was written: {reason}; commit the same batch again")]
    OutcomeUnknown {
        /// What was seen.
        reason: Reason,
    },
    /// Writing failed in a way after which the operating system may say "written" of what is not.
    /// This handle does nothing more; open the store anew.
    #[error("the store is closed after a failed write ({reason}); open it anew")]
    Poisoned {
        /// What was seen.
        reason: Reason,
    },
    /// What is stored is not what was written: damaged, or moved, or of another key.
    #[error("the store is damaged: {reason}; restore a backup")]
    Corrupt {
        /// What was seen.
        reason: Reason,
    },
    /// No revision is left ([`Revision::MAX`]). **Nothing was written.**
    #[error("no revision is left; nothing was written")]
    Exhausted,
    /// No randomness for sealing. **Nothing was written.**
    #[error("the source of randomness failed; nothing was written")]
    Random,
}

/// What an operating system or a database said, for operators: one line of at most 200 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason(Box<str>);

impl StoreError {
    /// Whether the same batch may be tried again as it is.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::Overloaded { .. }
                | Self::Unavailable { .. }
                | Self::OutcomeUnknown { .. }
                | Self::Random
        )
    }
}

impl Reason {
    const LIMIT: usize = 200;

    /// Takes what `said` displays: escaped, and cut to 200 bytes.
    pub fn new(said: impl fmt::Display) -> Self {
        let escaped: String = said
            .to_string()
            .chars()
            .flat_map(|c| match c.is_control() || !c.is_ascii() {
                true => c.escape_unicode().collect::<Vec<char>>(),
                false => vec![c],
            })
            .take(Self::LIMIT)
            .collect();
        Self(escaped.into())
    }
}

impl From<BatchError> for StoreError {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
