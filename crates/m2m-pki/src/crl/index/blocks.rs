//! The checksums of blocks, and which blocks were already found to be right.

use std::sync::atomic::{AtomicU64, Ordering};

use super::CrlIndexError;
use super::header::Header;

/// Bytes of a block: a page of memory, whose checksum takes about as long as loading it.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Bytes of a checksum.
pub(super) const SUM_BYTES: usize = 8;

/// One bit for each block that was checked.
pub(super) struct Checked {
    /// `None` for bytes that were built here.
    blocks: Option<Box<[AtomicU64]>>,
}

impl Checked {
    pub(super) const fn all() -> Self {
        Self { blocks: None }
    }

    pub(super) fn none_of(blocks: usize) -> Self {
        let words = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0));
        Self {
            blocks: Some(words.collect()),
        }
    }

    /// Makes sure that the blocks of these bytes of the payload are right.
    #[inline]
    pub(super) fn touch(
        &self,
        bytes: &[u8],
        header: &Header,
        start: usize,
        end: usize,
    ) -> Result<(), CrlIndexError> {
        let Some(words) = &self.blocks else {
            return Ok(());
        };
        for block in start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            let word = words.get(block / 64).ok_or(CrlIndexError::Header)?;
            // Nothing else is published by the bit: the bytes do not change.
            if word.load(Ordering::Relaxed) & (1 << (block % 64)) == 0 {
                check(bytes, header, block)?;
                word.fetch_or(1 << (block % 64), Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

#[cold]
fn check(bytes: &[u8], header: &Header, block: usize) -> Result<(), CrlIndexError> {
    let corrupt = CrlIndexError::Block { block };
    let start = block * BLOCK_BYTES;
    let length = BLOCK_BYTES.min(header.payload_bytes().saturating_sub(start));
    let content = header.payload(bytes, start, length).ok_or(corrupt)?;
    let at = header.header_bytes + block * SUM_BYTES;
    let stated = bytes.get(at..at + SUM_BYTES).ok_or(corrupt)?;
    if stated != sum(content, seed(header.sum, block)).to_le_bytes() {
        return Err(corrupt);
    }
    Ok(())
}

/// The checksums of all blocks of `payload`.
pub(super) fn sums(payload: &[u8], header_sum: u64) -> Vec<u8> {
    let blocks = payload.chunks(BLOCK_BYTES).enumerate();
    blocks
        .flat_map(|(block, content)| sum(content, seed(header_sum, block)).to_le_bytes())
        .collect()
}

/// So that a block of another index, or from another place, does not fit.
const fn seed(header_sum: u64, block: usize) -> u64 {
    step(header_sum, block as u64)
}

/// Odd, without structure: the fraction of the golden ratio in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A 64-bit sum over `bytes`. A step can be undone, so one changed word always changes the sum.
/// Four lanes, so that the multiplier is not what it waits for.
pub(super) fn sum(bytes: &[u8], seed: u64) -> u64 {
    let mut lanes = [seed, seed ^ 1, seed ^ 2, seed ^ 3];
    let mut groups = bytes.chunks_exact(32);
    for group in &mut groups {
        for (lane, word) in lanes.iter_mut().zip(group.chunks_exact(8)) {
            *lane = step(*lane, word_of(word));
        }
    }
    for (lane, word) in lanes.iter_mut().zip(groups.remainder().chunks(8)) {
        *lane = step(*lane, word_of(word));
    }
    let sum = lanes.into_iter().fold(bytes.len() as u64, step);
    step(sum ^ (sum >> 32), 0)
}

const fn step(lane: u64, word: u64) -> u64 {
    (lane ^ word).wrapping_mul(MULTIPLIER).rotate_left(29)
}

#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    if let Some(word) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    let last = bytes.iter().rev();
    last.fold(0, |word, byte| (word << 8) | u64::from(*byte))
}
