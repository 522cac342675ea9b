//! Which numbers make no usable public key.

use crate::KeyError;

/// The shortest RSA modulus (RFC 7518 §3.3).
const MIN_MODULUS_BITS: usize = 2048;
/// The longest: both libraries stop here, and verification grows with the square.
const MAX_MODULUS_BITS: usize = 8192;
/// The longest RSA exponent both libraries take.
const MAX_EXPONENT_BITS: usize = 33;

/// Refuses a modulus of the wrong length, an even one, and one that ROCA made.
pub(super) fn check_modulus(n: &[u8]) -> Result<(), KeyError> {
    let bits = minimal_bits("n", n)?;
    if !(MIN_MODULUS_BITS..=MAX_MODULUS_BITS).contains(&bits) {
        return Err(KeyError::ModulusSize {
            bits,
            min: MIN_MODULUS_BITS,
            max: MAX_MODULUS_BITS,
        });
    }
    if n.last().is_some_and(|byte| byte & 1 == 0) {
        return Err(KeyError::ModulusEven);
    }
    if is_from_roca(n) {
        return Err(KeyError::ModulusFactorable);
    }
    Ok(())
}

pub(super) fn check_exponent(e: &[u8]) -> Result<(), KeyError> {
    let bits = minimal_bits("e", e)?;
    let odd = e.last().is_some_and(|byte| byte & 1 == 1);
    if bits > MAX_EXPONENT_BITS || !odd || e == [1] {
        return Err(KeyError::ExponentInvalid);
    }
    Ok(())
}

/// The bit length of a big-endian integer without leading zeroes.
fn minimal_bits(member: &'static str, bytes: &[u8]) -> Result<usize, KeyError> {
    match bytes.first() {
        None | Some(0) => Err(KeyError::MemberNotMinimal { member }),
        Some(first) => Ok(bytes.len() * 8 - first.leading_zeros() as usize),
    }
}

/// Whether the modulus has the fingerprint of CVE-2017-15361: chips that chose primes of a form
/// that lets everyone factor their product. Such a modulus is a power of 65537 modulo each of these
/// primes, which one of honest make is with a probability below 2⁻¹⁵⁰.
fn is_from_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|&prime| {
        let residue = n
            .iter()
            .fold(0, |residue, &byte| (residue << 8 | u32::from(byte)) % prime);
        let mut power = 1;
        loop {
            if power == residue {
                return true;
            }
            power = power * 65537 % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

/// Whether `y`, the encoding without its sign bit, is below 2^255 − 19 (RFC 8032 §5.1.3).
pub(super) fn ed25519_is_canonical(encoded: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = encoded;
    let at_least_p =
        *first >= 0xed && middle.iter().all(|byte| *byte == 0xff) && last & 0x7f == 0x7f;
    !at_least_p
}

/// Whether it is one of the eight points whose order divides eight: with such a key, signatures
/// that verify under any message are easy to make. The sign bit does not matter.
pub(super) fn ed25519_has_small_order(encoded: &[u8; 32]) -> bool {
    // The y coordinates of the 8-torsion points: 0, 1, −1 and the two of order eight.
    const SMALL: [[u8; 32]; 5] = [
        [0; 32],
        small([1, 0, 0, 0, 0, 0, 0, 0], 0, 0),
        small([0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0xff, 0x7f),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *encoded;
    let [.., last] = &mut y;
    *last &= 0x7f;
    SMALL.contains(&y)
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn small(first: [u8; 8], middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let mut at = 0;
    while at < 8 {
        bytes[at] = first[at];
        at += 1;
    }
    bytes[31] = last;
    bytes
}
