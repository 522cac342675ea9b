//! The CRC-32 of keys of one format, without a table that secrets would be looked up in.
//!
//! The usual ways to compute a CRC read a table at an address made of the input, which is a secret
//! here. But all bodies are equally long, so each of their bits either toggles the same bits of the sum
//! or does not, wherever else ones stand: the sum is gathered bit by bit over twelve lanes at once. That
//! takes twice as long as the quickest table.

use super::BODY_BYTES;

/// The polynomial of zlib, gzip, PNG and Ethernet (ISO 3309), least significant bit first.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// Words of four bytes: eleven, and one of zeroes to fill up the vectors.
const LANES: usize = BODY_BYTES.div_ceil(4).next_multiple_of(4);
/// What each bit of each lane toggles.
const TOGGLES: [[u32; LANES]; 32] = toggles();

const _: () = assert!(BODY_BYTES % 4 == 0);

/// What precedes all bodies has been seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum {
    /// The sum if all the bits of the body were zero.
    of_zeroes: u32,
}

impl Checksum {
    /// For bodies that follow `head`, which is public.
    pub(super) fn after(head: &[u8]) -> Self {
        let state = head
            .iter()
            .fold(u32::MAX, |state, byte| shifted(state ^ u32::from(*byte), 8));
        Self {
            of_zeroes: !shifted(state, 8 * BODY_BYTES),
        }
    }

    /// The sum of head and `body`.
    #[inline]
    pub(super) fn of(self, body: &[u8; BODY_BYTES]) -> u32 {
        let mut lanes = [0; LANES];
        for (lane, bytes) in lanes.iter_mut().zip(body.chunks_exact(4)) {
            *lane = bytes
                .iter()
                .rev()
                .fold(0_u32, |lane, byte| lane << 8 | u32::from(*byte));
        }
        let mut sums = [0; LANES];
        // From the highest bit, which is tested as a sign, to the lowest.
        for toggles in TOGGLES.iter().rev() {
            for ((sum, lane), toggled) in sums.iter_mut().zip(&mut lanes).zip(toggles) {
                let mask = (*lane as i32 >> 31) as u32; // its sign, in all bits
                *sum ^= toggled & mask;
                *lane = lane.wrapping_add(*lane);
            }
        }
        sums.iter().fold(self.of_zeroes, |sum, lane| sum ^ lane)
    }
}

const fn toggles() -> [[u32; LANES]; 32] {
    let mut toggles = [[0; LANES]; 32];
    let mut bit = 0;
    while bit < 32 {
        let mut lane = 0;
        while lane < BODY_BYTES / 4 {
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                toggles[bit][lane] = shifted(1 << bit, 8 * (BODY_BYTES - 4 * lane));
            }
            lane += 1;
        }
        bit += 1;
    }
    toggles
}

/// The state after so many more bits, all zero. For what is public.
const fn shifted(mut state: u32, bits: usize) -> u32 {
    let mut done = 0;
    while done < bits {
        state = (state >> 1) ^ (POLYNOMIAL * (state & 1));
        done += 1;
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the standard has it.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes
            .iter()
            .fold(u32::MAX, |state, byte| shifted(state ^ u32::from(*byte), 8))
    }

    #[test]
    fn it_is_the_usual_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "its check value");
        let mut body = [b'0'; BODY_BYTES];
        for (at, head) in [b"".as_slice(), b"a", b"acme_live_", &[0xff; 40]]
            .into_iter()
            .cycle()
            .enumerate()
            .take(400)
        {
            body[at % BODY_BYTES] = (at * 37 % 256) as u8;
            let whole = [head, &body].concat();
            assert_eq!(Checksum::after(head).of(&body), crc32(&whole));
        }
    }
}
