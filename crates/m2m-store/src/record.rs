//! `Record`, `Value` and `Revision`: what is kept, and which state of it.

use std::fmt;

use zeroize::Zeroizing;

use crate::Key;

/// The largest [`Value`], in bytes. What is larger is cut into several records by whoever writes it.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The longest summary of a record, in bytes.
pub const MAX_SUMMARY_BYTES: usize = 1 << 10;

/// Which state of the store: the first commit is 1, and each commit has the next number. A record's
/// version is the revision that wrote it, so no two states of a record share one, not even when it
/// was deleted in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

/// The bytes of a record, whose meaning is its domain's. Sealed at rest, wiped on drop, not shown.
///
/// ```
/// use m2m_store::Value;
///
/// let value = Value::from(b"the bytes".as_slice());
/// assert_eq!(value.as_bytes(), b"the bytes");
/// assert_eq!(format!("{value:?}"), "Value(9 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

/// One record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    key: Key,
    version: Revision,
    value: Value,
    summary: Option<Box<str>>,
}

impl Revision {
    /// Before the first commit.
    pub const ZERO: Self = Self(0);
    /// No commit may have a higher one: what a signed 64-bit column holds. At a million commits a
    /// second it lasts for 292,000 years; a store that is there refuses to write and never wraps.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The revision with this number, unless it is beyond [`Revision::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        match number <= Self::MAX.0 {
            true => Some(Self(number)),
            false => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it, unless it is [`Revision::MAX`].
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl Value {
    /// Its bytes. They may be secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Record {
    /// Puts a record together. For those who write a backend.
    pub fn new(key: Key, version: Revision, value: Value, summary: Option<Box<str>>) -> Self {
        Self {
            key,
            version,
            value,
            summary,
        }
    }

    /// Where it is.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The revision that wrote it: what a later commit expects.
    pub fn version(&self) -> Revision {
        self.version
    }

    /// What it holds.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What operators may read of it, if its writer gave something.
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// Takes the value out.
    pub fn into_value(self) -> Value {
        self.value
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
