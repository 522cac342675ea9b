//! `Segment`: how revocations are written into a record, and read from it.
//!
//! | bytes of the value | what, numbers big-endian |
//! |---|---|
//! | 0 | the version of this form, 1 |
//! | 1.. | one group or more |
//!
//! A group is of one kind and one first field, which usually is the issuer:
//!
//! | bytes of a group | what |
//! |---|---|
//! | 0 | the kind, 1 to 8 |
//! | 1..3 | the length of the first field |
//! | 3..7 | the length of all its items, at least one |
//! | 7.. | the first field, empty for kinds that have only one, then the items |
//!
//! | bytes of an item | what |
//! |---|---|
//! | 5 | `expires`, in seconds since 1970; the highest bit says that `issued_until` follows |
//! | 5, or none | `issued_until`, in seconds since 1970; if it is not there, whenever it was issued |
//! | 2 | the length of the second field |
//! | … | the second field; a number is little-endian |
//!
//! So a token takes seven bytes and its `jti`. A target may be there several times, in one segment
//! or in many: all of it counts, see [`unite`](super::item::unite).
//!
//! Stores seal values; ids they do not, so an id is a number that was drawn, behind a byte that says
//! how large the segment is: whoever reads the disk learns how much is revoked, and of nothing what.

use std::borrow::Cow;
use std::ops::Range;

use m2m_store::{Key, Space};
use m2m_types::Timestamp;

use super::item::{self, Item, MAX_FIELD_BYTES};
use crate::target::Kind;

/// The space of the segments.
const SPACE: &str = "revocation";
/// A segment ends before it is larger than this, which is a page of a quarter of a megabyte, what
/// stores write around it included. There is room for the longest target.
pub(super) const SEGMENT_BYTES: usize = 252 << 10;
/// The level of segments that are as large as they get.
pub(super) const LAST_LEVEL: u8 = 3;
const FORMAT: u8 = 1;
const GROUP_HEAD_BYTES: usize = 7;
const TIME_BYTES: usize = 5;
/// Behind all times there are.
const HAS_LIMIT: u64 = 1 << (TIME_BYTES * 8 - 1);

const _: () = assert!(2 * MAX_FIELD_BYTES + 64 < SEGMENT_BYTES);
const _: () = assert!(Timestamp::MAX.unix_seconds() < HAS_LIMIT);

/// Why the value of a record is not what this code understands.
///
/// Nobody may go on without it: what it revokes would be accepted.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early, or holds nothing.
    #[error("{length} bytes are too few")]
    Truncated {
        /// How many it has.
        length: usize,
    },
    /// It is in a form that a later version of this crate writes.
    #[error("it is of form {found}, and this program knows form {FORMAT}; use a newer one")]
    Format {
        /// Which form.
        found: u8,
    },
    /// It revokes something of a kind that this version of the crate does not know.
    #[error("it is of kind {found}, which this program does not know; use a newer one")]
    Kind {
        /// Which kind.
        found: u8,
    },
    /// A time is after the year 9999.
    #[error("{seconds} s since 1970 is not a time")]
    Time {
        /// What is there.
        seconds: u64,
    },
    /// A field does not have the form that its kind has.
    #[error("a field of a {kind:?} is malformed")]
    Field {
        /// Of which kind it is.
        kind: Kind,
    },
}

/// Revocations on their way into a record.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// By kind.
    counts: [u64; Kind::ALL.len()],
    group: Option<OpenGroup>,
}

/// The group at the end of a segment, which still takes items.
#[derive(Clone, Debug)]
struct OpenGroup {
    kind: Kind,
    first: Range<usize>,
    /// Where the length of the items stands.
    length_at: usize,
}

/// Items of one kind and one first field, in a record that was read.
pub(super) struct Group<'a> {
    pub(super) kind: Kind,
    pub(super) first: &'a [u8],
    items: &'a [u8],
    /// Of the whole value, for errors.
    length: usize,
}

/// An item as it was written, not yet checked.
struct Written<'a> {
    expires: u64,
    issued_until: Option<u64>,
    second: &'a [u8],
}

/// [`SPACE`].
pub(super) fn space() -> Space {
    Space::new(SPACE).expect("a name of small letters")
}

/// The id of a segment of this level, by a number that nobody else has.
pub(super) fn key(level: u8, number: u128) -> Key {
    let mut id = [level; 17];
    let (_, rest) = id.split_at_mut(1);
    rest.copy_from_slice(&number.to_be_bytes());
    Key::new(&space(), &id).expect("an id may have 17 bytes")
}

/// How large segments at `key` are, roughly: see [`Segment::level`].
pub(super) fn level_of(key: &Key) -> u8 {
    key.id().first().copied().unwrap_or_default()
}

impl Segment {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![FORMAT],
            counts: [0; Kind::ALL.len()],
            group: None,
        }
    }

    /// A segment with the first of `items`, as many as go into `limit` bytes, at least one. Also
    /// gives the others.
    pub(super) fn fill<'i, 'a>(
        items: &'i [Item<'a>],
        limit: usize,
    ) -> (Self, &'i [Item<'a>], &'i [Item<'a>]) {
        let mut segment = Self::new();
        let mut count = 0;
        for item in items {
            if count > 0 && segment.len() + segment.growth(item) > limit {
                break;
            }
            segment.push(item);
            count += 1;
        }
        let (taken, rest) = items.split_at(count);
        (segment, taken, rest)
    }

    pub(super) fn push(&mut self, item: &Item<'_>) {
        let length_at = match &self.group {
            Some(group) if self.is_of(group, item) => group.length_at,
            _ => self.begin_group(item),
        };
        let before = self.bytes.len();
        let limit_flag = item.issued_until.map_or(0, |_| HAS_LIMIT);
        self.push_time(item.expires.unix_seconds() | limit_flag);
        if let Some(until) = item.issued_until {
            self.push_time(until.unix_seconds());
        }
        self.push_length(item.second.len());
        self.bytes.extend_from_slice(&item.second);
        let more = (self.bytes.len() - before) as u32;
        if let Some(length) = self.bytes.get_mut(length_at..)
            && let Some(length) = length.first_chunk_mut::<4>()
        {
            *length = (u32::from_be_bytes(*length) + more).to_be_bytes();
        }
        if let Some(count) = self.counts.get_mut(usize::from(item.kind.tag()) - 1) {
            *count += 1;
        }
    }

    /// By how much [`Segment::push`] would make it longer.
    pub(super) fn growth(&self, item: &Item<'_>) -> usize {
        let head = match &self.group {
            Some(group) if self.is_of(group, item) => 0,
            _ => GROUP_HEAD_BYTES + item.first.len(),
        };
        let times = TIME_BYTES * (1 + usize::from(item.issued_until.is_some()));
        head + times + 2 + item.second.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.bytes
    }

    /// What ids of segments of about this size begin with, so that the small ones, which want to be
    /// merged, lie together: a level is eight times as large as the one before, and those of the
    /// last are as large as they get.
    pub(super) fn level(&self) -> u8 {
        match self.len() {
            ..0x1000 => 0,
            0x1000..0x8000 => 1,
            bytes if bytes < SEGMENT_BYTES / 4 * 3 => 2,
            _ => LAST_LEVEL,
        }
    }

    /// What operators may read of it: how many of which kind. It lies in the clear, so it names
    /// nobody.
    pub(super) fn summary(&self) -> String {
        let entries: u64 = self.counts.iter().sum();
        let kinds = Kind::ALL.iter().zip(&self.counts);
        let kinds = kinds.filter(|(_, count)| **count > 0);
        let kinds = kinds.map(|(kind, count)| format!(r#""{}":{count}"#, name(*kind)));
        let kinds = kinds.collect::<Vec<_>>().join(",");
        format!(r#"{{"entries":{entries},"kinds":{{{kinds}}}}}"#)
    }

    fn is_of(&self, group: &OpenGroup, item: &Item<'_>) -> bool {
        group.kind == item.kind && self.bytes.get(group.first.clone()) == Some(item.first)
    }

    fn begin_group(&mut self, item: &Item<'_>) -> usize {
        self.bytes.push(item.kind.tag());
        self.push_length(item.first.len());
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let first = self.bytes.len()..self.bytes.len() + item.first.len();
        self.bytes.extend_from_slice(item.first);
        self.group = Some(OpenGroup {
            kind: item.kind,
            first,
            length_at,
        });
        length_at
    }

    fn push_time(&mut self, seconds: u64) {
        let [_, _, _, low @ ..] = seconds.to_be_bytes();
        self.bytes.extend_from_slice(&low);
    }

    fn push_length(&mut self, length: usize) {
        // `Item::of` let no longer field through.
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }
}

/// The groups in the value of a record, each checked when its turn comes; nothing is behind an error.
pub(super) fn groups(value: &[u8]) -> impl Iterator<Item = Result<Group<'_>, RecordError>> {
    let length = value.len();
    // The form first: of another one nothing else is known.
    let mut rest = match value {
        [FORMAT, rest @ ..] if !rest.is_empty() => Ok(rest),
        [] | [FORMAT] => Err(RecordError::Truncated { length }),
        [found, ..] => Err(RecordError::Format { found: *found }),
    };
    std::iter::from_fn(move || match std::mem::replace(&mut rest, Ok(&[])) {
        Ok([]) => None,
        Ok(bytes) => Some(Group::split(bytes, length).map(|(group, behind)| {
            rest = Ok(behind);
            group
        })),
        Err(error) => Some(Err(error)),
    })
}

impl<'a> Group<'a> {
    fn split(bytes: &'a [u8], length: usize) -> Result<(Self, &'a [u8]), RecordError> {
        let truncated = || RecordError::Truncated { length };
        let (head, rest) = bytes
            .split_first_chunk::<GROUP_HEAD_BYTES>()
            .ok_or_else(truncated)?;
        let [tag, first @ .., a, b, c, d] = head;
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.tag() == *tag);
        let kind = kind.ok_or(RecordError::Kind { found: *tag })?;
        let first_length = usize::from(u16::from_be_bytes(*first));
        let items_length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (first, rest) = rest.split_at_checked(first_length).ok_or_else(truncated)?;
        let (items, rest) = rest.split_at_checked(items_length).ok_or_else(truncated)?;
        if items.is_empty() {
            return Err(truncated());
        }
        if !item::is_first(kind, first) {
            return Err(RecordError::Field { kind });
        }
        let group = Self {
            kind,
            first,
            items,
            length,
        };
        Ok((group, rest))
    }

    /// Its items, each checked when its turn comes; nothing is behind an error.
    pub(super) fn items(&self) -> impl Iterator<Item = Result<Item<'a>, RecordError>> + use<'a> {
        let (kind, first, length) = (self.kind, self.first, self.length);
        let mut rest = self.items;
        std::iter::from_fn(move || {
            let bytes = std::mem::take(&mut rest);
            if bytes.is_empty() {
                return None;
            }
            let read = Written::split(bytes).ok_or(RecordError::Truncated { length });
            let read = read.and_then(|(written, behind)| {
                rest = behind;
                written.item(kind, first)
            });
            if read.is_err() {
                rest = &[];
            }
            Some(read)
        })
    }
}

impl<'a> Written<'a> {
    /// The first item of `bytes`, and what is behind it.
    #[inline]
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (expires, mut rest) = split_time(bytes)?;
        let mut issued_until = None;
        if expires & HAS_LIMIT != 0 {
            let (limit, behind) = split_time(rest)?;
            (issued_until, rest) = (Some(limit), behind);
        }
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (second, rest) = rest.split_at_checked(length)?;
        let written = Self {
            expires: expires & !HAS_LIMIT,
            issued_until,
            second,
        };
        Some((written, rest))
    }

    #[inline]
    fn item(self, kind: Kind, first: &'a [u8]) -> Result<Item<'a>, RecordError> {
        if !item::is_second(kind, self.second) {
            return Err(RecordError::Field { kind });
        }
        Ok(Item {
            kind,
            first,
            second: Cow::Borrowed(self.second),
            expires: time(self.expires)?,
            issued_until: self.issued_until.map(time).transpose()?,
        })
    }
}

#[inline]
fn split_time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let ([a, b, c, d, e], rest) = bytes.split_first_chunk::<TIME_BYTES>()?;
    Some((u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]), rest))
}

#[inline]
fn time(seconds: u64) -> Result<Timestamp, RecordError> {
    Timestamp::from_unix_seconds(seconds).map_err(|_| RecordError::Time { seconds })
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Token => "token",
        Kind::Subject => "subject",
        Kind::Service => "service",
        Kind::Session => "session",
        Kind::Certificate => "certificate",
        Kind::CertificateThumbprint => "certificate_thumbprint",
        Kind::Key => "key",
        Kind::SecretVersion => "secret_version",
    }
}

#[cfg(test)]
mod tests;
