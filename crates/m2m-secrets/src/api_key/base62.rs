//! Base62: `0-9A-Za-z`. None of it looks at a table or branches by what may be secret.

use m2m_crypto::{RandomError, SecureRandom};
use zeroize::Zeroizing;

use super::CHECKSUM_CHARACTERS;

/// How many characters there are.
const CHARACTERS: u8 = 62;
/// Bytes from here on are thrown away, so that each character is equally likely.
const EVEN: u8 = CHARACTERS * (u8::MAX / CHARACTERS);
/// Of 64 bytes 62 are of use on average; that ten times 64 are not enough does not happen.
const DRAWN_BYTES: usize = 64;
const DRAWS: usize = 10;

/// Fills `characters` with evenly drawn ones.
pub(super) fn draw(characters: &mut [u8], random: &dyn SecureRandom) -> Result<(), RandomError> {
    let mut drawn = Zeroizing::new([0; DRAWN_BYTES]);
    let mut missing = characters.iter_mut();
    for _ in 0..DRAWS {
        random.fill(&mut *drawn)?;
        let first = drawn.first().copied().unwrap_or_default();
        if drawn.iter().all(|byte| *byte == first) {
            // It does not write, or writes always the same.
            return Err(RandomError);
        }
        for byte in drawn.iter().filter(|byte| **byte < EVEN) {
            match missing.next() {
                Some(character) => *character = character_of(byte % CHARACTERS),
                None => return Ok(()),
            }
        }
    }
    Err(RandomError)
}

/// A checksum as six characters, the highest digit first.
pub(super) fn encode(mut sum: u32) -> [u8; CHECKSUM_CHARACTERS] {
    let mut characters = [0; CHECKSUM_CHARACTERS];
    for character in characters.iter_mut().rev() {
        // Below 62.
        *character = character_of((sum % u32::from(CHARACTERS)) as u8);
        sum /= u32::from(CHARACTERS);
    }
    characters
}

/// The number that six characters say; whatever, if they are not all of base62.
#[inline]
pub(super) fn decode(characters: &[u8; CHECKSUM_CHARACTERS]) -> u64 {
    characters.iter().fold(0, |number, character| {
        number * u64::from(CHARACTERS) + u64::from(digit_of(*character))
    })
}

/// Whether all of them are characters of base62. As quick whatever they are.
#[inline]
pub(super) fn is_base62<const N: usize>(characters: &[u8; N]) -> bool {
    characters
        .iter()
        .fold(true, |all, character| all & is_one(*character))
}

/// Whether this is a character of base62.
#[inline]
pub(super) fn is_one(character: u8) -> bool {
    let digit = character.wrapping_sub(b'0') < 10;
    let letter = (character | 0x20).wrapping_sub(b'a') < 26;
    digit | letter
}

/// The character of a digit below 62.
const fn character_of(digit: u8) -> u8 {
    // From `9` to `A` are 7 steps more than from digit to digit, from `Z` to `a` 6.
    b'0' + digit + 7 * (digit >= 10) as u8 + 6 * (digit >= 36) as u8
}

#[inline]
const fn digit_of(character: u8) -> u8 {
    let upper = (character >= b'A') as u8;
    let lower = (character >= b'a') as u8;
    character.wrapping_sub(b'0' + 7 * upper + 6 * lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    #[test]
    fn digits_and_characters_are_each_others_inverse() {
        for (digit, character) in ALPHABET.iter().enumerate() {
            assert_eq!(character_of(digit as u8), *character);
            assert_eq!(usize::from(digit_of(*character)), digit);
        }
        for byte in 0..=u8::MAX {
            assert_eq!(is_one(byte), ALPHABET.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn checksums_survive_the_round_trip() {
        for sum in [0, 1, 61, 62, 916_132_831, 916_132_832, u32::MAX] {
            let characters = encode(sum);
            assert!(is_base62(&characters));
            assert_eq!(decode(&characters), u64::from(sum));
        }
        assert_eq!(decode(b"zzzzzz"), 62_u64.pow(6) - 1);
    }
}
