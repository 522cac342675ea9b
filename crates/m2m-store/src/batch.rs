//! `Batch`: what is to be written, all or nothing, and under which conditions.

use std::fmt;

use m2m_crypto::{RandomError, SecureRandom};

use crate::{Key, MAX_SUMMARY_BYTES, MAX_VALUE_BYTES, Revision, Value};

/// The most writes and checks in a [`Batch`].
pub const MAX_BATCH_OPERATIONS: usize = 256;
/// The most bytes of keys, values and summaries in a [`Batch`].
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Names one intention to write, so that doing it again does nothing: 16 bytes, drawn at random or
/// derived from what causes the write (the digest of a request, say).
///
/// A store remembers the keys of at least the last [`IdempotencyKey::REMEMBERED`] commits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey([u8; 16]);

/// What must be true of a record for a batch to be committed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// Nothing: never written, or deleted.
    Absent,
    /// Something, in whatever version.
    Present,
    /// Exactly this version.
    Version(Revision),
}

/// What a batch does to one record.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes it.
    Put {
        /// The new value.
        value: Value,
        /// What operators may read of it, in the clear.
        summary: Option<Box<str>>,
    },
    /// Removes it. The feed says so until its tombstone is pruned.
    Delete,
    /// Only checks it.
    Check,
}

/// One record's part in a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    key: Key,
    expected: Expected,
    action: Action,
}

/// Writes that happen together or not at all, each with what it expects to find.
///
/// Each key at most once, at most [`MAX_BATCH_OPERATIONS`] operations and [`MAX_BATCH_BYTES`];
/// whether that holds is said by [`Batch::check_limits`], which each store calls first.
///
/// ```
/// use m2m_store::{Batch, Expected, IdempotencyKey, Key, Space};
///
/// let serial = Key::new(&Space::new("serial")?, b"\x2a")?;
/// let batch = Batch::new(IdempotencyKey::from_bytes([7; 16]))
///     .put(serial, Expected::Absent, b"issued to reports".as_slice());
/// assert!(batch.check_limits().is_ok());
/// # Ok::<(), m2m_store::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    idempotency_key: IdempotencyKey,
    operations: Vec<Operation>,
}

/// Why a batch can be committed by no store.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It does nothing.
    #[error("a batch without operations")]
    Empty,
    /// It has too many operations.
    #[error("{found} operations; a batch has at most {MAX_BATCH_OPERATIONS}")]
    TooManyOperations {
        /// How many.
        found: usize,
    },
    /// It is too large altogether.
    #[error("{found} bytes; a batch has at most {MAX_BATCH_BYTES}")]
    TooManyBytes {
        /// How many.
        found: usize,
    },
    /// A value is too large.
    #[error(
        "the value of {key} has {found} bytes; at most {MAX_VALUE_BYTES} are kept in one record"
    )]
    ValueTooLarge {
        /// Whose.
        key: Key,
        /// How many.
        found: usize,
    },
    /// A summary is too long, or holds a NUL, which PostgreSQL does not store in a text.
    #[error(
        "the summary of {key} has {found} bytes or a NUL; at most {MAX_SUMMARY_BYTES} without one are kept"
    )]
    Summary {
        /// Whose.
        key: Key,
        /// How many.
        found: usize,
    },
    /// Two operations are about the same record.
    #[error("two operations on {key} in one batch")]
    SameKeyTwice {
        /// Which.
        key: Key,
    },
}

/// A batch is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    revision: Revision,
    repeated: bool,
}

impl IdempotencyKey {
    /// How many commits a store remembers the keys of, at least.
    pub const REMEMBERED: u64 = 100_000;

    /// A new one.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        let mut bytes = [0; 16];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The one with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Expected {
    /// Whether a record that is `found` in this version, or not there, is what was expected.
    pub fn is_met_by(self, found: Option<Revision>) -> bool {
        match (self, found) {
            (Self::Anything, _) | (Self::Absent, None) | (Self::Present, Some(_)) => true,
            (Self::Version(version), Some(found)) => version == found,
            (Self::Absent, Some(_)) | (Self::Present | Self::Version(_), None) => false,
        }
    }
}

impl Operation {
    /// Which record.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What must be true of it.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// What is done to it.
    pub fn action(&self) -> &Action {
        &self.action
    }

    fn bytes(&self) -> usize {
        let content = match &self.action {
            Action::Put { value, summary } => {
                value.len() + summary.as_ref().map_or(0, |summary| summary.len())
            }
            Action::Delete | Action::Check => 0,
        };
        self.key.as_sorted_bytes().len() + content
    }
}

impl Batch {
    /// Nothing yet, under this name.
    pub fn new(idempotency_key: IdempotencyKey) -> Self {
        Self {
            idempotency_key,
            operations: Vec::new(),
        }
    }

    /// Writes `value` at `key`, if what is there is `expected`.
    #[must_use]
    pub fn put(self, key: Key, expected: Expected, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with(
            key,
            expected,
            Action::Put {
                value,
                summary: None,
            },
        )
    }

    /// [`Batch::put`] with a `summary`: a line for operators, such as a small JSON object. It is
    /// **not secret** and PostgreSQL shows it; at most [`MAX_SUMMARY_BYTES`].
    #[must_use]
    pub fn put_with_summary(
        self,
        key: Key,
        expected: Expected,
        value: impl Into<Value>,
        summary: impl Into<Box<str>>,
    ) -> Self {
        let action = Action::Put {
            value: value.into(),
            summary: Some(summary.into()),
        };
        self.with(key, expected, action)
    }

    /// Removes the record at `key`, if what is there is `expected`.
    #[must_use]
    pub fn delete(self, key: Key, expected: Expected) -> Self {
        self.with(key, expected, Action::Delete)
    }

    /// Writes nothing at `key`, but commits only if what is there is `expected`.
    #[must_use]
    pub fn check(self, key: Key, expected: Expected) -> Self {
        self.with(key, expected, Action::Check)
    }

    /// The name of the intention.
    pub fn idempotency_key(&self) -> IdempotencyKey {
        self.idempotency_key
    }

    /// What it does, in the order in which it was said.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Bytes of keys, values and summaries.
    pub fn bytes(&self) -> usize {
        self.operations.iter().map(Operation::bytes).sum()
    }

    /// Whether a store may take it.
    ///
    /// # Errors
    ///
    /// [`BatchError`], for the first limit it breaks.
    pub fn check_limits(&self) -> Result<(), BatchError> {
        let found = self.operations.len();
        if found == 0 {
            return Err(BatchError::Empty);
        }
        if found > MAX_BATCH_OPERATIONS {
            return Err(BatchError::TooManyOperations { found });
        }
        for operation in &self.operations {
            let Action::Put { value, summary } = &operation.action else {
                continue;
            };
            let key = || operation.key.clone();
            if value.len() > MAX_VALUE_BYTES {
                let found = value.len();
                return Err(BatchError::ValueTooLarge { key: key(), found });
            }
            let refused = |text: &&str| text.len() > MAX_SUMMARY_BYTES || text.contains('\0');
            if let Some(summary) = summary.as_deref().filter(refused) {
                let found = summary.len();
                return Err(BatchError::Summary { key: key(), found });
            }
        }
        let found = self.bytes();
        if found > MAX_BATCH_BYTES {
            return Err(BatchError::TooManyBytes { found });
        }
        self.check_keys()
    }

    fn check_keys(&self) -> Result<(), BatchError> {
        let mut keys: Vec<&Key> = self.operations.iter().map(Operation::key).collect();
        keys.sort_unstable();
        let twice = keys.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some((*one).clone()),
            _ => None,
        });
        match twice {
            Some(key) => Err(BatchError::SameKeyTwice { key }),
            None => Ok(()),
        }
    }

    fn with(mut self, key: Key, expected: Expected, action: Action) -> Self {
        self.operations.push(Operation {
            key,
            expected,
            action,
        });
        self
    }
}

impl Committed {
    /// Says that a batch is durable as `revision`. For those who write a backend.
    pub fn new(revision: Revision) -> Self {
        Self {
            revision,
            repeated: false,
        }
    }

    /// Says that the same batch was durable before. For those who write a backend.
    pub fn repeated(revision: Revision) -> Self {
        Self {
            revision,
            repeated: true,
        }
    }

    /// As which revision: the version of each record it wrote.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether this very batch had been committed before, under the same idempotency key, and
    /// nothing was written now.
    pub fn was_repeated(&self) -> bool {
        self.repeated
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
