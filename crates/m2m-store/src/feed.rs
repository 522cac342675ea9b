//! `Cursor`, `Change` and `Changes`: what became different since a revision.

use crate::{Key, Record, Revision};

/// A place in the feed: up to which revision of which incarnation of a store one has seen.
///
/// An incarnation ends when a store is deliberately set back, by restoring an older copy; cursors
/// of it are answered with [`Changes::TooOld`], because their revisions mean something else now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    incarnation: Incarnation,
    revision: Revision,
}

/// Which life of a store: 16 random bytes, new when it is created and when an older copy of it is
/// restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation([u8; 16]);

/// What became of one record.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was written, and is this now.
    Put(Record),
    /// It was removed.
    Deleted {
        /// Which.
        key: Key,
        /// When.
        revision: Revision,
    },
}

/// The answer of [`Store::changes`](crate::Store::changes).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// What is new, oldest first.
    Some(ChangePage),
    /// The store no longer knows all that happened since that cursor: drop what was derived from
    /// the feed and begin at [`Cursor::START`].
    TooOld,
}

/// Part of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangePage {
    changes: Vec<Change>,
    next: Cursor,
    more: bool,
}

impl Incarnation {
    /// The one with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Cursor {
    /// Before everything. Never too old: whoever begins here has derived nothing yet, and gets
    /// each record that is there.
    pub const START: Self = Self {
        incarnation: Incarnation([0; 16]),
        revision: Revision::ZERO,
    };
    /// Bytes of a cursor.
    pub const BYTES: usize = 24;

    /// The place behind `revision` of `incarnation`. For those who write a backend.
    pub const fn new(incarnation: Incarnation, revision: Revision) -> Self {
        Self {
            incarnation,
            revision,
        }
    }

    /// Which life of the store.
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Up to which revision.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// To keep it beside what was derived from the feed.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (incarnation, revision) = bytes.split_at_mut(16);
        incarnation.copy_from_slice(&self.incarnation.0);
        revision.copy_from_slice(&self.revision.number().to_be_bytes());
        bytes
    }

    /// What [`Cursor::to_bytes`] gave. [`None`] if those bytes are no cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (incarnation, revision) = bytes.split_first_chunk::<16>()?;
        let revision = u64::from_be_bytes(revision.try_into().ok()?);
        Some(Self {
            incarnation: Incarnation(*incarnation),
            revision: Revision::new(revision)?,
        })
    }
}

impl Change {
    /// Of which record.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(record) => record.key(),
            Self::Deleted { key, .. } => key,
        }
    }

    /// When.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(record) => record.version(),
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

impl ChangePage {
    /// Puts a page together. For those who write a backend: `changes` in the order of their
    /// revisions, all those of a revision or none; `next` is where to go on.
    pub fn new(changes: Vec<Change>, next: Cursor, more: bool) -> Self {
        Self {
            changes,
            next,
            more,
        }
    }

    /// What is new. Each record once, in its newest state, in the order of the revisions; what one
    /// commit wrote is never spread over two pages.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Takes the changes out.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Where to go on.
    pub fn next(&self) -> Cursor {
        self.next
    }

    /// Whether more was there already when this page was read.
    pub fn has_more(&self) -> bool {
        self.more
    }
}
