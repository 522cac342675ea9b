//! Serials as keys that are spread evenly, and the entries they stand in.

use m2m_types::Timestamp;

use super::Listing;
use super::header::Header;
use crate::reason::RevocationReason;
use crate::serial::Serial;

/// A serial, permuted. Ordered by what names the bucket first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    low: u128,
    high: u32,
}

/// Odd, without structure: fractions of the golden ratio and of the square root of 2.
const FIRST: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const SECOND: u128 = 0x6a09_e667_f3bc_c908_b2fb_1366_ea95_7d3f;

impl Key {
    /// The key of a big-endian serial; `None` if it has over 20 octets without leading zeroes.
    #[inline]
    pub(super) fn of(serial: &[u8]) -> Option<Self> {
        let mut padded = [0; 4 + 16];
        let surplus = serial.len().saturating_sub(padded.len());
        let (zeroes, serial) = serial.split_at(surplus);
        if zeroes.iter().any(|octet| *octet != 0) {
            return None;
        }
        const { assert!(Serial::MAX_BYTES == 20) };
        let start = padded.len() - serial.len();
        padded.get_mut(start..)?.copy_from_slice(serial);
        let (high, low) = padded.split_first_chunk::<4>()?;
        let high = u32::from_be_bytes(*high);
        let low = u128::from_be_bytes(*low.first_chunk::<16>()?);
        Some(Self {
            low: spread(low ^ u128::from(high).wrapping_mul(FIRST)),
            high,
        })
    }

    /// Whether the serial has more than 16 octets.
    #[inline]
    pub(super) const fn is_wide(self) -> bool {
        self.high != 0
    }

    /// The bucket, of 2 to the power of `bits`; there are at most 2³¹.
    #[inline]
    pub(super) const fn bucket(self, bits: u32) -> usize {
        // In two steps: with no bits the shift is one too far for one.
        ((self.low >> 1) >> (u128::BITS - 1 - bits)) as usize
    }

    /// The last byte, which is stored apart from the others: in 255 of 256 cases it says that an entry is
    /// another one.
    #[inline]
    pub(super) const fn tag(self) -> u8 {
        self.low as u8
    }

    /// What is stored: without the first `stripped` bytes, which the bucket says.
    #[inline]
    pub(super) const fn within_bucket(self, stripped: usize) -> Self {
        Self {
            low: self.low & (u128::MAX >> (8 * stripped)),
            high: self.high,
        }
    }

    /// The inverse.
    pub(super) const fn with_bucket(self, bucket: usize, bits: u32, stripped: usize) -> Self {
        let kept = u128::MAX >> (8 * stripped);
        let bucket = ((bucket as u128) << 1) << (u128::BITS - 1 - bits);
        Self {
            low: (self.low & kept) | (bucket & !kept),
            high: self.high,
        }
    }
}

/// A permutation of all numbers of 128 bits: each step can be undone.
#[inline]
const fn spread(number: u128) -> u128 {
    let number = (number ^ (number >> 64)).wrapping_mul(FIRST);
    let number = (number ^ (number >> 67)).wrapping_mul(SECOND);
    number ^ (number >> 64)
}

/// Seconds after the earliest date of the list, in 28 bits: eight and a half years.
const LATEST: u64 = (1 << 28) - 2;
/// A date that is not known.
const NO_DATE: u32 = (1 << 28) - 1;

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    /// The reason's code in four bits, above it the seconds since the header's date.
    pub(super) fact: u32,
}

impl Record {
    pub(super) fn new(
        key: Key,
        reason: RevocationReason,
        at: Option<Timestamp>,
        epoch: Timestamp,
    ) -> Self {
        let offset = at.and_then(|at| at.unix_seconds().checked_sub(epoch.unix_seconds()));
        let offset = offset
            .filter(|offset| *offset <= LATEST)
            .map_or(NO_DATE, |offset| offset as u32);
        Self {
            key,
            fact: (offset << 4) | u32::from(reason.code()),
        }
    }

    /// The bytes of an entry: the key's but for its tag, then four of facts, or one where serials are
    /// wide.
    pub(super) fn write(&self, header: &Header, out: &mut Vec<u8>) {
        let low = self.key.low.to_be_bytes();
        out.extend_from_slice(low.get(header.stripped..15).unwrap_or_default());
        if header.is_wide {
            out.extend_from_slice(&self.key.high.to_be_bytes());
            out.push((self.fact & 15) as u8);
        } else {
            out.extend_from_slice(&self.fact.to_le_bytes());
        }
    }

    pub(super) const fn width(stripped: usize, is_wide: bool) -> usize {
        15 - stripped + if is_wide { 5 } else { 4 }
    }

    #[inline]
    pub(super) fn read(slot: &[u8], tag: u8, header: &Header) -> Option<Self> {
        let (low, rest) = slot.split_at_checked(15 - header.stripped)?;
        let first = low.first_chunk::<8>()?;
        let last = low.last_chunk::<8>()?;
        // Two reads that overlap by the tag and what is stripped.
        let first = u128::from(u64::from_be_bytes(*first)) << (56 - 8 * header.stripped);
        let low = first | u128::from(u64::from_be_bytes(*last));
        let low = low << 8 | u128::from(tag);
        if header.is_wide {
            let (high, code) = rest.split_first_chunk::<4>()?;
            let high = u32::from_be_bytes(*high);
            let fact = (NO_DATE << 4) | u32::from(*code.first()?);
            return Some(Self {
                key: Key { low, high },
                fact,
            });
        }
        let fact = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        Some(Self {
            key: Key { low, high: 0 },
            fact,
        })
    }

    pub(super) fn at(&self, epoch: Timestamp) -> Option<Timestamp> {
        let offset = self.fact >> 4;
        let seconds = epoch.unix_seconds() + u64::from(offset);
        (offset != NO_DATE)
            .then(|| Timestamp::from_unix_seconds(seconds).ok())
            .flatten()
    }

    pub(super) fn listing(&self, header: &Header) -> Listing {
        let code = (self.fact & 15) as u8;
        Listing {
            at: self.at(header.epoch),
            // Other codes are not written; a revocation it is all the same.
            reason: RevocationReason::from_code(code).unwrap_or(RevocationReason::Unspecified),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pki_059_leading_zeroes_say_nothing() {
        let key = Key::of(&[0x80, 1]);
        assert_eq!(Key::of(&[0, 0x80, 1]), key);
        assert_eq!(Key::of(&[&[0; 40][..], &[0x80, 1]].concat()), key);
        assert_ne!(Key::of(&[1]), Key::of(&[1, 0]));
        assert_eq!(Key::of(&[1; 21]), None);
        assert!(Key::of(&[1; 20]).unwrap().is_wide());
        assert!(!Key::of(&[1; 16]).unwrap().is_wide());
    }

    #[test]
    fn a_key_is_whole_again_from_its_bucket_and_what_is_stored() {
        for number in 0..1000_u64 {
            let key = Key::of(&number.to_be_bytes()).unwrap();
            for bits in [0, 1, 7, 8, 17, 24] {
                let stripped = bits as usize / 8;
                let stored = key.within_bucket(stripped);
                assert_eq!(stored.with_bucket(key.bucket(bits), bits, stripped), key);
            }
        }
    }
}
