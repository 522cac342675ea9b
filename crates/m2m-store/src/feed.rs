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
    // All that was read on the way here was read at this revision or later. Beyond `revision` on
    // the way from the start, where what is oldest comes first: of what was deleted before, nothing
    // was read.
    as_of: Revision,
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
        as_of: Revision::ZERO,
    };
    /// Bytes of a cursor.
    pub const BYTES: usize = 32;

    /// The place behind `revision` of `incarnation`. For those who write a backend.
    pub const fn new(incarnation: Incarnation, revision: Revision) -> Self {
        Self {
            incarnation,
            revision,
            as_of: revision,
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

    /// Whether a store that is at `head`, and has forgotten what was deleted up to `floor`, can tell
    /// all that happened since. If not, it answers [`Changes::TooOld`]. For those who write a backend.
    pub fn is_known(self, floor: Revision, head: Cursor) -> bool {
        let here = self.incarnation == head.incarnation && self.as_of <= head.revision;
        self == Self::START || (here && floor <= self.as_of)
    }

    /// The place behind `revision`, for whoever comes from here and was answered from the state
    /// `head`. For those who write a backend.
    ///
    /// Whoever walks from [`Cursor::START`] is on the way at places that are older than `head`, and
    /// perhaps than what has been forgotten; and yet has missed nothing, for all was read at `head`
    /// or later. The place that this gives remembers it, so that the walk comes to its end.
    #[must_use]
    pub fn advance(self, revision: Revision, head: Cursor) -> Self {
        let as_of = match self == Self::START {
            true => head.revision,
            false => self.as_of,
        };
        Self {
            incarnation: head.incarnation,
            revision,
            as_of: as_of.max(revision),
        }
    }

    /// To keep it beside what was derived from the feed.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let (incarnation, revisions) = bytes.split_at_mut(16);
        let (revision, as_of) = revisions.split_at_mut(8);
        incarnation.copy_from_slice(&self.incarnation.0);
        revision.copy_from_slice(&self.revision.number().to_be_bytes());
        as_of.copy_from_slice(&self.as_of.number().to_be_bytes());
        bytes
    }

    /// What [`Cursor::to_bytes`] gave. [`None`] if those bytes are no cursor.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (incarnation, revisions) = bytes.split_first_chunk::<16>()?;
        let (revision, as_of) = revisions.split_first_chunk::<8>()?;
        let revision = Revision::new(u64::from_be_bytes(*revision))?;
        let as_of = Revision::new(u64::from_be_bytes(as_of.try_into().ok()?))?;
        (revision <= as_of).then_some(Self {
            incarnation: Incarnation(*incarnation),
            revision,
            as_of,
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Incarnation = Incarnation([1; 16]);

    fn at(revision: u64) -> Revision {
        Revision::new(revision).unwrap()
    }

    fn place(revision: u64) -> Cursor {
        Cursor::new(LIFE, at(revision))
    }

    #[test]
    fn a_place_is_known_from_the_floor_to_the_head_of_its_incarnation() {
        let known = |cursor: Cursor| cursor.is_known(at(3), place(5));
        let expected = [false, false, false, true, true, true, false];
        for (revision, expected) in (0..).zip(expected) {
            assert_eq!(known(place(revision)), expected, "{revision}");
        }
        assert!(known(Cursor::START));
        assert!(!known(Cursor::new(Incarnation([2; 16]), at(4))));
    }

    #[test]
    fn a_place_on_the_way_from_the_start_is_as_new_as_where_the_walk_began() {
        let first = Cursor::START.advance(at(2), place(10));
        assert_eq!((first.revision(), first.incarnation()), (at(2), LIFE));
        assert!(first.is_known(at(10), place(12)));
        assert!(!first.is_known(at(11), place(12)));
        // The walk goes on while the store does; what it read first is no newer for it.
        let second = first.advance(at(7), place(12));
        assert!(second.is_known(at(10), place(12)));
        assert!(!second.is_known(at(11), place(12)));
        // At its end it is a place like any other.
        assert_eq!(second.advance(at(12), place(12)), place(12));
    }

    #[test]
    fn a_place_that_was_kept_is_the_same_place() {
        for cursor in [
            Cursor::START,
            place(7),
            Cursor::START.advance(at(2), place(9)),
        ] {
            assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Some(cursor));
        }
        let bytes = place(7).to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Cursor::from_bytes(&bytes[..length]), None);
        }
        assert_eq!(Cursor::from_bytes(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Cursor::from_bytes(&[0xff; Cursor::BYTES]), None);
        // Read earlier than it was written.
        let mut impossible = bytes;
        impossible[Cursor::BYTES - 1] = 6;
        assert_eq!(Cursor::from_bytes(&impossible), None);
    }
}
