//! The first 128 bytes of the transfer form.
//!
//! | bytes | what, numbers little-endian |
//! |---|---|
//! | 0..8 | `M2MRVK` and the version of the form, 3, as two bytes |
//! | 8..16 | checksum of everything after it |
//! | 16..32 | the key of the fingerprints |
//! | 32..40 | revision |
//! | 40..48 | the set's own time, in seconds since 1970 (see `Revocations::compact`) |
//! | 48..56 | homes: the range fingerprints are scaled to |
//! | 56..64 | groups: how many there are, those behind the last home included |
//! | 64..128 | how many entries there are of each of the eight kinds |

use m2m_types::Timestamp;

use crate::bits::Fields;
use crate::error::SnapshotError;
use crate::table::{GROUP_BYTES, PROBE_LIMIT};
use crate::target::Kind;

pub(crate) const HEADER_BYTES: usize = 128;
/// What the checksum does not cover: the magic and itself.
pub(crate) const UNSUMMED_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"M2MRVK\x03\x00";
/// No revision reaches this, so that counting on from any that was read cannot overflow.
pub(crate) const REVISION_LIMIT: u64 = 1 << 63;

/// What a set says about itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: [u8; 16],
    pub(crate) revision: u64,
    pub(crate) horizon: Timestamp,
    pub(crate) homes: u64,
    pub(crate) groups: u64,
    pub(crate) counts: Counts,
}

/// How many entries there are of each kind, in the order of their tags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; Kind::ALL.len()]);

impl Header {
    /// Reads the header of `bytes` and checks all that can be checked without the entries; returns
    /// it with the checksum it states.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, u64), SnapshotError> {
        let truncated = SnapshotError::Truncated {
            length: bytes.len(),
            needed: HEADER_BYTES,
        };
        if bytes.len() < HEADER_BYTES {
            return Err(truncated);
        }
        let mut fields = Fields::new(bytes);
        let magic = fields.bytes().ok_or(truncated.clone())?;
        if magic != MAGIC {
            return Err(SnapshotError::Format { magic });
        }
        let sum = fields.number().ok_or(truncated.clone())?;
        let header = Self::parse_fields(&mut fields).ok_or(truncated)??;
        header.check_length(bytes.len())?;
        Ok((header, sum))
    }

    fn parse_fields(fields: &mut Fields<'_>) -> Option<Result<Self, SnapshotError>> {
        let key = fields.bytes()?;
        let revision = fields.number()?;
        let seconds = fields.number()?;
        let (homes, groups) = (fields.number()?, fields.number()?);
        let mut counts = Counts::default();
        for count in &mut counts.0 {
            *count = fields.number()?;
        }
        if revision >= REVISION_LIMIT {
            return Some(Err(SnapshotError::Revision { revision }));
        }
        let Ok(horizon) = Timestamp::from_unix_seconds(seconds) else {
            return Some(Err(SnapshotError::Time { seconds }));
        };
        // A table has a group for each home, and more only for what its last homes could not take.
        if homes == 0 || groups < homes || groups - homes > PROBE_LIMIT as u64 {
            return Some(Err(SnapshotError::Shape { homes, groups }));
        }
        Some(Ok(Self {
            key,
            revision,
            horizon,
            homes,
            groups,
            counts,
        }))
    }

    fn check_length(&self, length: usize) -> Result<(), SnapshotError> {
        let expected = self.length();
        if expected == Some(length as u64) {
            return Ok(());
        }
        Err(SnapshotError::Length {
            length,
            groups: self.groups,
        })
    }

    /// The length of the whole form in bytes; `None` if no memory could hold it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.groups
            .checked_mul(GROUP_BYTES as u64)?
            .checked_add(HEADER_BYTES as u64)
    }

    /// The header as it stands before the entries, with the checksum `sum`.
    pub(crate) fn to_bytes(self, sum: u64) -> [u8; HEADER_BYTES] {
        let numbers = [
            self.revision,
            self.horizon.unix_seconds(),
            self.homes,
            self.groups,
        ];
        let fields = [MAGIC, sum.to_le_bytes()]
            .into_iter()
            .flatten()
            .chain(self.key)
            .chain(numbers.into_iter().flat_map(u64::to_le_bytes))
            .chain(self.counts.0.into_iter().flat_map(u64::to_le_bytes));
        let mut bytes = [0; HEADER_BYTES];
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }
}

impl Counts {
    /// Counts one entry; `false` if no kind has this tag.
    #[must_use]
    pub(crate) fn add(&mut self, tag: u8) -> bool {
        let count = usize::from(tag)
            .checked_sub(1)
            .and_then(|at| self.0.get_mut(at));
        match count {
            Some(count) => {
                *count += 1;
                true
            }
            None => false,
        }
    }

    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0
            .get(usize::from(kind.tag()) - 1)
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().copied().fold(0, u64::saturating_add)
    }

    /// The kinds that have entries, as [`kind_bit`]s.
    pub(crate) fn present(&self) -> u32 {
        Kind::ALL
            .into_iter()
            .filter(|kind| self.of(*kind) > 0)
            .fold(0, |bits, kind| bits | kind_bit(kind.tag()))
    }

    /// The first kind of which the two do not have as many.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| self.of(*kind) != other.of(*kind))
    }
}

/// The bit that stands for a kind in a word of kinds.
pub(crate) const fn kind_bit(tag: u8) -> u32 {
    1 << tag
}
