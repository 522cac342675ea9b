//! HMAC-SHA256 (RFC 2104) for processors that have instructions for SHA-256.
//!
//! There a block takes 45 ns, and what *ring* does around the blocks (contexts that are cloned, an
//! algorithm that is looked up) takes half as long as the blocks themselves. Here an HMAC is its blocks
//! and little else, and a prepared key is one cache line. The blocks are hashed by `sha2`. Where the
//! instructions are missing, *ring*'s code for SHA-256 is far quicker than that of `sha2`, and this is
//! not used.

use sha2::block_api::compress256;
use zeroize::Zeroize;

use crate::memory::blocks_of;

const BLOCK_BYTES: usize = 64;
const HASH_BYTES: usize = 32;
/// What follows the message in its last block: a one, and the length in bits (FIPS 180-4 §5.1.1).
const END: u8 = 0x80;
const LENGTH_BYTES: usize = 8;
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;
/// FIPS 180-4 §5.3.3.
const INITIAL: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 between two blocks.
type State = [u32; 8];
type Block = [u8; BLOCK_BYTES];

/// A key for HMAC-SHA256: the states after the padded key. As good as the key for whoever forges; on the
/// heap only inside [`Wiped`](crate::memory::Wiped), on the stack only for a moment.
#[repr(align(64))]
pub(crate) struct Midstates {
    inner: State,
    outer: State,
}

/// Whether this processor has the instructions.
pub(crate) fn are_quicker() -> bool {
    std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1")
}

impl Midstates {
    /// Prepares `key`; one that is longer than a block is hashed first.
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut padded = [0; BLOCK_BYTES];
        match padded.get_mut(..key.len()) {
            Some(start) => start.copy_from_slice(key),
            None => {
                let mut hashing = Hashing::new(&INITIAL, 0);
                hashing.update(key);
                copy_hash(&mut padded, &hashing.finish());
            }
        }
        for byte in &mut padded {
            *byte ^= INNER_PAD;
        }
        let mut inner = INITIAL;
        compress256(&mut inner, &[padded]);
        for byte in &mut padded {
            *byte ^= INNER_PAD ^ OUTER_PAD;
        }
        let mut outer = INITIAL;
        compress256(&mut outer, &[padded]);
        padded.zeroize();
        Self { inner, outer }
    }

    /// The MAC of `message`.
    #[inline]
    pub(crate) fn mac(&self, message: &[u8]) -> [u8; HASH_BYTES] {
        let (blocks, rest) = blocks_of(message);
        let mut state = self.inner;
        if !blocks.is_empty() {
            compress256(&mut state, blocks);
        }
        let mut last = [[0; BLOCK_BYTES]; 2];
        let flat = last.as_flattened_mut();
        if let Some(start) = flat.get_mut(..rest.len()) {
            start.copy_from_slice(rest);
        }
        finish(&mut state, &mut last, rest.len(), message.len());
        self.outer(&state)
    }

    /// The MAC of what the parts are when joined.
    #[inline]
    pub(crate) fn mac_parts(&self, parts: &[&[u8]]) -> [u8; HASH_BYTES] {
        let mut hashing = Hashing::new(&self.inner, BLOCK_BYTES);
        for part in parts {
            hashing.update(part);
        }
        self.outer(&hashing.finish())
    }

    /// [`Self::mac_parts`] with one byte behind them.
    #[inline]
    pub(crate) fn mac_joined(&self, parts: &[&[u8]], last: u8) -> [u8; HASH_BYTES] {
        let mut hashing = Hashing::new(&self.inner, BLOCK_BYTES);
        for part in parts {
            hashing.update(part);
        }
        hashing.update(&[last]);
        self.outer(&hashing.finish())
    }

    #[inline]
    fn outer(&self, inner: &State) -> [u8; HASH_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        copy_hash(&mut block, inner);
        let [.., high, low] = &mut block;
        let bits = 8 * (BLOCK_BYTES + HASH_BYTES) as u16;
        [*high, *low] = bits.to_be_bytes();
        if let Some(end) = block.get_mut(HASH_BYTES) {
            *end = END;
        }
        let mut state = self.outer;
        compress256(&mut state, &[block]);
        copy_hash(&mut block, &state);
        let (mac, _) = block.split_first_chunk().expect("a hash is half a block");
        *mac
    }
}

impl Zeroize for Midstates {
    fn zeroize(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// SHA-256 of what comes in pieces.
struct Hashing {
    state: State,
    /// What is left of the pieces so far.
    pending: Block,
    used: usize,
    /// How many bytes there were, those before `state` included.
    total: usize,
}

impl Hashing {
    #[inline]
    fn new(state: &State, total: usize) -> Self {
        Self {
            state: *state,
            pending: [0; BLOCK_BYTES],
            used: 0,
            total,
        }
    }

    #[inline]
    fn update(&mut self, mut piece: &[u8]) {
        self.total = self.total.wrapping_add(piece.len());
        if self.used > 0 {
            let room = self.pending.get_mut(self.used..).unwrap_or_default();
            let taken = room.len().min(piece.len());
            let (now, later) = piece.split_at(taken);
            if let Some(room) = room.get_mut(..taken) {
                room.copy_from_slice(now);
            }
            self.used += taken;
            piece = later;
            if self.used < BLOCK_BYTES {
                return;
            }
            compress256(&mut self.state, &[self.pending]);
            self.used = 0;
        }
        let (blocks, rest) = blocks_of(piece);
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        if let Some(start) = self.pending.get_mut(..rest.len()) {
            start.copy_from_slice(rest);
        }
        self.used = rest.len();
    }

    #[inline]
    fn finish(mut self) -> State {
        let mut last = [[0; BLOCK_BYTES]; 2];
        if let ([first, _], Some(pending)) = (&mut last, self.pending.get(..self.used)) {
            first.split_at_mut(pending.len()).0.copy_from_slice(pending);
        }
        // `finish` adds the block of the padded key; a hash without a key has none.
        let bytes = self.total.wrapping_sub(BLOCK_BYTES);
        finish(&mut self.state, &mut last, self.used, bytes);
        self.state
    }
}

/// Ends a hash of one block and `bytes` more, of which the last `used` are in `last`.
#[inline]
fn finish(state: &mut State, last: &mut [Block; 2], used: usize, bytes: usize) {
    let bits = (bytes.wrapping_add(BLOCK_BYTES) as u64) << 3;
    let count = match used + 1 + LENGTH_BYTES <= BLOCK_BYTES {
        true => 1,
        false => 2,
    };
    if let Some(end) = last.as_flattened_mut().get_mut(used) {
        *end = END;
    }
    let blocks = last.get_mut(..count).unwrap_or_default();
    if let Some(length) = blocks.last_mut().and_then(|block| block.last_chunk_mut()) {
        *length = bits.to_be_bytes();
    }
    compress256(state, blocks);
}

/// Puts `state` at the front of `block`.
#[inline]
fn copy_hash(block: &mut Block, state: &State) {
    for (bytes, word) in block.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use ring::{digest, hmac};

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 253) as u8).collect()
    }

    fn of_ring(key: &[u8], message: &[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, message).as_ref().to_vec()
    }

    #[test]
    fn it_is_ring_s_hmac_at_every_length_of_message_and_key() {
        for length in 0..=260 {
            let message = bytes(length);
            let key = Midstates::new(&bytes(32));
            assert_eq!(
                key.mac(&message)[..],
                of_ring(&bytes(32), &message),
                "{length}"
            );
            let key = Midstates::new(&message);
            assert_eq!(key.mac(b"text")[..], of_ring(&message, b"text"), "{length}");
        }
        let long = bytes(1 << 20);
        let key = Midstates::new(&long);
        assert_eq!(key.mac(&long)[..], of_ring(&long, &long));
    }

    #[test]
    fn parts_are_joined_wherever_they_are_cut() {
        let key = Midstates::new(&bytes(32));
        for length in [0, 1, 63, 64, 65, 119, 120, 128, 200] {
            let message = bytes(length);
            let whole = key.mac(&message);
            for one in 0..=length {
                for other in one..=length {
                    let (start, rest) = message.split_at(one);
                    let (middle, end) = rest.split_at(other - one);
                    assert_eq!(key.mac_parts(&[start, middle, b"", end]), whole);
                }
            }
        }
        assert_eq!(key.mac_parts(&[]), key.mac(b""));
    }

    #[test]
    fn a_key_is_prepared_by_the_same_hash_as_everywhere() {
        let mut hashing = Hashing::new(&INITIAL, 0);
        hashing.update(&bytes(100));
        let mut block = [0; BLOCK_BYTES];
        copy_hash(&mut block, &hashing.finish());
        let expected = digest::digest(&digest::SHA256, &bytes(100));
        assert_eq!(block[..HASH_BYTES], *expected.as_ref());
    }
}
