//! The hash of names: 128 bits, keyed, at a third of SipHash's instructions.
//!
//! A name of at most [`SHORT`] bytes is read as little-endian words `w₁, w₂, …`, followed by one with
//! what is left over and the length, `w₀`. Each half of the hash is
//!
//! ```text
//! (s + k₀·w₀ + k₁·w₁ + k₂·w₂ + …  mod 2¹²⁸) div 2⁶⁴
//! ```
//!
//! under keys of 128 bits, other ones for each half. This is the family *Multilinear* of D. Lemire and
//! O. Kaser, "Strongly universal string hashing is fast" (The Computer Journal 57, 2014), theorem 3.1:
//! whatever two names are chosen by somebody who does not know the keys, a half is the same for both
//! with probability 2⁻⁶⁴, and both halves are with 2⁻¹²⁸. That is proven, not conjectured, but it is
//! all that is: the hash is no secret's guard. Whoever saw two of them could work out keys, so nobody
//! does who does not know the set's key anyway.
//!
//! Names that are longer are hashed by SipHash.

use crate::bits::{first_word, last_word};
use crate::siphash::SipHash;

/// The longest name that is hashed by words: UUIDs, thumbprints and most SPIFFE IDs are shorter.
const SHORT: usize = 64;
const WORD: usize = 8;

/// The keys of one set, drawn from its one key by SipHash.
#[derive(Clone)]
pub(crate) struct NameKeys {
    start: [u128; 2],
    last: [u128; 2],
    words: [[u128; 2]; SHORT / WORD],
    long: (u64, u64),
}

/// The first words that keys are drawn by. Scopes are drawn by the tags of kinds, which are less.
const FIRST_LABEL: u64 = 1 << 32;

impl NameKeys {
    pub(crate) fn new(key: (u64, u64)) -> Self {
        let mut labels = FIRST_LABEL..;
        let mut half = || {
            let label = labels.next().unwrap_or(FIRST_LABEL);
            SipHash::new(key).word(label).hash(&[])
        };
        let mut wide = || {
            let (low, high) = half();
            (u128::from(high) << 64) | u128::from(low)
        };
        let start = [wide(), wide()];
        let last = [wide(), wide()];
        let words = [(); SHORT / WORD].map(|()| [wide(), wide()]);
        Self {
            start,
            last,
            words,
            long: half(),
        }
    }

    #[inline(always)] // where it is called a look-up passes by
    pub(crate) fn hash(&self, name: &[u8]) -> (u64, u64) {
        if name.len() > SHORT {
            return self.hash_long(name);
        }
        let [mut low, mut high] = self.start;
        let mut add = |key: &[u128; 2], word: u64| {
            low = low.wrapping_add(key[0].wrapping_mul(u128::from(word)));
            high = high.wrapping_add(key[1].wrapping_mul(u128::from(word)));
        };
        for (word, key) in name.chunks_exact(WORD).zip(&self.words) {
            add(key, first_word(word));
        }
        // At most seven bytes, and the length above them: no two names have the same words.
        add(&self.last, last_word(name) | ((name.len() as u64) << 56));
        ((low >> 64) as u64, (high >> 64) as u64)
    }

    #[cold]
    #[inline(never)]
    fn hash_long(&self, name: &[u8]) -> (u64, u64) {
        SipHash::new(self.long).hash(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use siphasher::sip128::SipHasher13;

    use super::*;

    #[test]
    fn it_is_what_the_paper_and_the_transfer_form_say() {
        let keys = NameKeys::new((1, 2));
        // Drawn one after the other, by SipHash of a number.
        let drawn = |n: u64| {
            let label = ((1_u64 << 32) + n).to_le_bytes();
            SipHasher13::new_with_keys(1, 2).hash(&label).as_u128()
        };
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().skip(200).take(300).collect();
        for length in 0..bytes.len() {
            let name = &bytes[..length];
            let (low, high) = keys.hash(name);
            if length > 64 {
                let long = drawn(20);
                let (k0, k1) = (long as u64, (long >> 64) as u64);
                let expected = SipHasher13::new_with_keys(k0, k1).hash(name);
                assert_eq!((low, high), (expected.h1, expected.h2), "{length}");
                continue;
            }
            let half = |which: u64| {
                let mut sum = drawn(which);
                let mut padded = name.to_vec();
                padded.resize(length / 8 * 8 + 8, 0);
                *padded.last_mut().unwrap() = length as u8;
                for (at, word) in (0_u64..).zip(padded.chunks(8)) {
                    let is_last = at == length as u64 / 8;
                    let key = drawn(which + if is_last { 2 } else { 4 + 2 * at });
                    let word = u128::from(u64::from_le_bytes(word.try_into().unwrap()));
                    sum = sum.wrapping_add(key.wrapping_mul(word));
                }
                (sum >> 64) as u64
            };
            assert_eq!((low, high), (half(0), half(1)), "{length}");
        }
    }

    #[test]
    fn names_that_differ_in_one_bit_or_by_zeros_are_told_apart_in_either_half() {
        let keys = NameKeys::new((3, 4));
        let mut names = vec![Vec::new()];
        for length in 1..80 {
            names.push(vec![0; length]);
            for bit in 0..8 * length {
                let mut name = vec![0; length];
                name[bit / 8] = 1 << (bit % 8);
                names.push(name);
            }
        }
        let hashes: Vec<(u64, u64)> = names.iter().map(|name| keys.hash(name)).collect();
        let lows: HashSet<u64> = hashes.iter().map(|hash| hash.0).collect();
        let highs: HashSet<u64> = hashes.iter().map(|hash| hash.1).collect();
        assert_eq!((lows.len(), highs.len()), (names.len(), names.len()));
    }
}
