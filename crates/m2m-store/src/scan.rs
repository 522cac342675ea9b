//! `Scan` and `Page`: reading a space in order, some records at a time.

use crate::{Cursor, Key, Record, Space};

/// The most records of one page.
pub const MAX_PAGE_RECORDS: usize = 1_000;
/// A page ends with the record that takes its values beyond this many bytes.
pub const MAX_PAGE_BYTES: usize = 8 << 20;

/// Which records to read: those of a space whose ids begin with a prefix and lie behind a key.
///
/// ```
/// use m2m_store::{Scan, Space};
///
/// let scan = Scan::new(Space::new("certificate")?).with_prefix(b"reports/").with_limit(100);
/// # Ok::<(), m2m_store::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    space: Space,
    prefix: Vec<u8>,
    after: Option<Key>,
    limit: usize,
}

/// Records in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    records: Vec<Record>,
    next: Option<Key>,
    as_of: Cursor,
}

impl Scan {
    /// All of `space`, [`MAX_PAGE_RECORDS`] at a time.
    pub fn new(space: Space) -> Self {
        Self {
            space,
            prefix: Vec::new(),
            after: None,
            limit: MAX_PAGE_RECORDS,
        }
    }

    /// Only ids that begin with `prefix`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &[u8]) -> Self {
        self.prefix = prefix.to_vec();
        self
    }

    /// Only keys behind `key`: [`Page::next`] of the page before.
    #[must_use]
    pub fn after(mut self, key: Key) -> Self {
        self.after = Some(key);
        self
    }

    /// At most `limit` records a page; at least 1 and at most [`MAX_PAGE_RECORDS`] count.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, MAX_PAGE_RECORDS);
        self
    }

    /// Which space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// With what the ids begin.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Behind which key.
    pub fn behind(&self) -> Option<&Key> {
        self.after.as_ref()
    }

    /// How many records a page has at most.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// With what the sorted bytes of each key that is meant begin. For those who write a backend.
    pub fn sorted_prefix(&self) -> Vec<u8> {
        [self.space.as_str().as_bytes(), &[0], &self.prefix].concat()
    }
}

impl Page {
    /// Puts a page together. For those who write a backend.
    pub fn new(records: Vec<Record>, next: Option<Key>, as_of: Cursor) -> Self {
        Self {
            records,
            next,
            as_of,
        }
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Takes the records out.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// Where to go on with [`Scan::after`]; [`None`] when nothing is left.
    pub fn next(&self) -> Option<&Key> {
        self.next.as_ref()
    }

    /// The state that this page shows. Each page shows one state whole; two pages may show two.
    /// Whoever reads all pages and then follows the feed from the **first** page's place misses
    /// nothing.
    pub fn as_of(&self) -> Cursor {
        self.as_of
    }
}
