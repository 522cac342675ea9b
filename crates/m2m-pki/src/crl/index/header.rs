//! The header of an index: all that opening looks at.

use m2m_types::Timestamp;

use super::CrlIndexError;
use super::blocks::{self, BLOCK_BYTES, SUM_BYTES};
use super::key::Record;
use crate::crl::issuer::IssuerId;
use crate::crl::number::CrlNumber;
use crate::crl::read::CrlLimits;
use crate::crl::scope::Scope;

const MAGIC: &[u8; 8] = b"m2m-crl\0";
pub(super) const VERSION: u32 = 2;
/// Bytes of a bucket's start.
pub(super) const START_BYTES: usize = 4;
/// Before what is of variable length.
const FIXED_BYTES: usize = 128;
/// More than any issuer's distribution point and key identifier take.
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_BITS: u32 = 26;
const NO_TIME: u64 = u64::MAX;

/// What it says, and what follows from it.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) issuer: IssuerId,
    pub(super) number: CrlNumber,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Option<Timestamp>,
    /// From which dates are counted.
    pub(super) epoch: Timestamp,
    pub(super) count: usize,
    /// There are 2 to the power of this many buckets.
    pub(super) bits: u32,
    /// Whether a serial has more than 16 octets.
    pub(super) is_wide: bool,
    /// Bytes of the key that the bucket says.
    pub(super) stripped: usize,
    /// Bytes of an entry.
    pub(super) width: usize,
    pub(super) header_bytes: usize,
    pub(super) sum: u64,
    scope_bytes: usize,
    key_id_bytes: usize,
}

/// What a header is made of.
pub(super) struct Facts<'a> {
    pub(super) issuer: IssuerId,
    pub(super) number: CrlNumber,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Option<Timestamp>,
    pub(super) epoch: Timestamp,
    pub(super) count: usize,
    pub(super) is_wide: bool,
    pub(super) scope_der: &'a [u8],
    pub(super) key_id: &'a [u8],
}

impl Header {
    /// Four to eight entries a bucket.
    fn bits_for(count: usize) -> u32 {
        (count / 4).checked_ilog2().unwrap_or(0).min(MAX_BITS)
    }

    /// The header and its bytes.
    pub(super) fn write(facts: &Facts<'_>) -> Result<(Self, Vec<u8>), CrlIndexError> {
        if facts.count > CrlLimits::MAX_ENTRIES {
            return Err(CrlIndexError::TooManyEntries);
        }
        let bits = Self::bits_for(facts.count);
        let variable = facts.scope_der.len() + facts.key_id.len();
        let header_bytes = (FIXED_BYTES + variable).next_multiple_of(8);
        if header_bytes > MAX_HEADER_BYTES {
            return Err(CrlIndexError::Header);
        }
        let mut out = Vec::with_capacity(header_bytes);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(header_bytes as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(facts.count as u64).to_le_bytes());
        out.extend_from_slice(&facts.epoch.unix_seconds().to_le_bytes());
        out.extend_from_slice(&facts.this_update.unix_seconds().to_le_bytes());
        let next = facts.next_update.map_or(NO_TIME, Timestamp::unix_seconds);
        out.extend_from_slice(&next.to_le_bytes());
        out.extend_from_slice(&facts.number.to_be_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&facts.issuer.0);
        out.extend_from_slice(&u32::from(facts.is_wide).to_le_bytes());
        out.extend_from_slice(&(facts.scope_der.len() as u32).to_le_bytes());
        out.extend_from_slice(&(facts.key_id.len() as u32).to_le_bytes());
        out.resize(FIXED_BYTES, 0);
        out.extend_from_slice(facts.scope_der);
        out.extend_from_slice(facts.key_id);
        out.resize(header_bytes, 0);
        let sum = sum_of(&out).ok_or(CrlIndexError::Header)?;
        if let Some(place) = out.get_mut(16..24) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        let (header, _) = Self::parse(&out)?;
        Ok((header, out))
    }

    /// Reads the header of a whole index, whose length has to be what follows from it.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, Scope), CrlIndexError> {
        let (header, scope) = Self::parse(bytes)?;
        if header.total_bytes() != Some(bytes.len()) {
            return Err(CrlIndexError::Header);
        }
        Ok((header, scope))
    }

    fn parse(bytes: &[u8]) -> Result<(Self, Scope), CrlIndexError> {
        let mut reader = Fields(bytes);
        if reader.take::<8>() != Some(*MAGIC) {
            return Err(CrlIndexError::NotAnIndex);
        }
        let version = reader.u32().ok_or(CrlIndexError::NotAnIndex)?;
        if version != VERSION {
            return Err(CrlIndexError::Version {
                found: version,
                known: VERSION,
            });
        }
        let header = Self::parse_fields(&mut reader).ok_or(CrlIndexError::Header)?;
        let own = bytes.get(..header.header_bytes);
        if own.and_then(sum_of) != Some(header.sum) {
            return Err(CrlIndexError::Header);
        }
        let scope = match header.scope_der(bytes) {
            [] => Scope::everything(),
            der => Scope::from_der(der).map_err(|_| CrlIndexError::Header)?,
        };
        Ok((header, scope))
    }

    fn parse_fields(reader: &mut Fields<'_>) -> Option<Self> {
        let time = |seconds| Timestamp::from_unix_seconds(seconds).ok();
        let header_bytes = reader.u32()? as usize;
        let sum = reader.u64()?;
        let count = usize::try_from(reader.u64()?).ok()?;
        let epoch = time(reader.u64()?)?;
        let this_update = time(reader.u64()?)?;
        let next_update = match reader.u64()? {
            NO_TIME => None,
            seconds => Some(time(seconds)?),
        };
        let number = CrlNumber::from_be_bytes(reader.take()?)?;
        let bits = reader.u32()?;
        let issuer = IssuerId(reader.take()?);
        let is_wide = match reader.u32()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let (scope_bytes, key_id_bytes) = (reader.u32()? as usize, reader.u32()? as usize);
        let variable = FIXED_BYTES
            .checked_add(scope_bytes)?
            .checked_add(key_id_bytes)?;
        let is_sound = header_bytes <= MAX_HEADER_BYTES
            && variable <= header_bytes
            && count <= CrlLimits::MAX_ENTRIES
            && bits == Self::bits_for(count);
        // Before anything is computed of fields that no checksum has confirmed yet.
        if !is_sound {
            return None;
        }
        let stripped = bits as usize / 8;
        Some(Self {
            issuer,
            number,
            this_update,
            next_update,
            epoch,
            count,
            bits,
            is_wide,
            stripped,
            width: Record::width(stripped, is_wide),
            header_bytes,
            sum,
            scope_bytes,
            key_id_bytes,
        })
    }

    pub(super) fn scope_der<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let end = FIXED_BYTES + self.scope_bytes;
        bytes.get(FIXED_BYTES..end).unwrap_or_default()
    }

    pub(super) fn key_id<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = FIXED_BYTES + self.scope_bytes;
        bytes
            .get(start..start + self.key_id_bytes)
            .unwrap_or_default()
    }

    /// Bytes of the starts of all buckets, and of where the last one ends.
    #[inline]
    pub(super) const fn starts_bytes(&self) -> usize {
        ((1 << self.bits) + 1) * START_BYTES
    }

    /// Bytes of starts and tags: where entries begin.
    #[inline]
    pub(super) const fn front_bytes(&self) -> usize {
        self.starts_bytes() + self.count
    }

    /// Bytes of starts, tags and entries. Cannot overflow: there are at most 2²⁷ entries of 20 bytes.
    #[inline]
    pub(super) const fn payload_bytes(&self) -> usize {
        self.front_bytes() + self.count * self.width
    }

    #[inline]
    pub(super) const fn blocks(&self) -> usize {
        self.payload_bytes().div_ceil(BLOCK_BYTES)
    }

    fn total_bytes(&self) -> Option<usize> {
        let sums = self.blocks() * SUM_BYTES;
        self.payload_bytes().checked_add(self.header_bytes + sums)
    }

    /// Some bytes of the payload.
    #[inline]
    pub(super) fn payload<'a>(
        &self,
        bytes: &'a [u8],
        start: usize,
        length: usize,
    ) -> Option<&'a [u8]> {
        let start = self.header_bytes + self.blocks() * SUM_BYTES + start;
        bytes.get(start..start + length)
    }
}

/// The checksum of a header, but for the place where it stands.
fn sum_of(header: &[u8]) -> Option<u64> {
    let (before, rest) = header.split_at_checked(16)?;
    let (_, after) = rest.split_at_checked(8)?;
    Some(blocks::sum(after, blocks::sum(before, 0)))
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
