//! The checksum of the transfer form: against accidents, not against people.

use crate::bits::first_word;

/// Odd, without structure: the fraction of the golden ratio in 64 bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: usize = 8;
const WORD: usize = 8;

/// A 64-bit sum over `bytes`.
///
/// Eight lanes take every eighth word each. They do not wait for each other, so that memory is the
/// limit and not the multiplier. A lane's step can be undone, so one changed word always changes
/// the sum. Whoever can choose the bytes can also make the sum fit: authenticate what carries them.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut lanes: [u64; LANES] = [1, 2, 3, 4, 5, 6, 7, 8];
    let mut blocks = bytes.chunks_exact(LANES * WORD);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(WORD)) {
            *lane = step(*lane, first_word(word));
        }
    }
    for (lane, word) in lanes.iter_mut().zip(blocks.remainder().chunks(WORD)) {
        *lane = step(*lane, padded(word));
    }
    let length = bytes.len() as u64;
    let sum = lanes.into_iter().fold(length, step);
    step(sum ^ (sum >> 32), 0)
}

const fn step(lane: u64, word: u64) -> u64 {
    (lane ^ word).wrapping_mul(MULTIPLIER).rotate_left(29)
}

fn padded(word: &[u8]) -> u64 {
    let mut bytes = [0; WORD];
    for (to, from) in bytes.iter_mut().zip(word) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_changes_the_sum() {
        let bytes: Vec<u8> = (0..203_u8).collect();
        let sum = checksum(&bytes);
        for at in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert_ne!(checksum(&damaged), sum, "bit {at}");
        }
        for length in 0..bytes.len() {
            assert_ne!(checksum(&bytes[..length]), sum, "{length} bytes");
        }
    }

    #[test]
    fn two_flipped_top_bits_of_one_lane_do_not_cancel() {
        let bytes = vec![0_u8; 4096];
        let mut damaged = bytes.clone();
        damaged[7] ^= 0x80;
        damaged[71] ^= 0x80;
        assert_ne!(checksum(&damaged), checksum(&bytes));
    }
}
