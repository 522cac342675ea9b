//! Little-endian numbers in and out of bytes, without indexing.

/// Reads fields from the front of a slice.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}

/// The number in the first eight bytes of `bytes`, zero if there are fewer.
#[inline]
pub(crate) fn first_word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk::<8>()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// The bytes of `bytes` that its whole words leave over, seven at most; the rest is zero.
#[inline]
pub(crate) fn last_word(bytes: &[u8]) -> u64 {
    let left = bytes.len() % 8;
    match bytes.last_chunk::<8>() {
        // They are the upper ones of the last eight. In two shifts, for there may be none, and
        // nothing can be shifted by 64.
        Some(last) => (u64::from_le_bytes(*last) >> 1) >> (63 - 8 * left),
        None => (bytes.iter().rev()).fold(0, |word, byte| (word << 8) | u64::from(*byte)),
    }
}
