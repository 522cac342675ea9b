//! A MAC of 32 bytes as base64: read all at once, in one encoding, without a table.

/// Bytes of an HMAC-SHA256.
pub(crate) const TAG_BYTES: usize = 32;
/// Of 32 bytes in padded base64 (RFC 4648 §4).
pub(crate) const TAG_CHARACTERS: usize = 44;

/// The tag that `text` says; [`None`] unless it is exactly what an encoder writes: the usual alphabet,
/// one `=` behind it, unused bits zero.
///
/// As quick whatever the characters: each is looked at by arithmetic, many at a time.
#[inline]
pub(crate) fn decode(text: &[u8; TAG_CHARACTERS]) -> Option<[u8; TAG_BYTES]> {
    // Filled up with zeroes, in place of the padding too, so that all are looked at in whole registers.
    let mut digits = [b'A'; ROOM];
    if let Some([front @ .., last]) = digits.first_chunk_mut::<TAG_CHARACTERS>() {
        let [characters @ .., padding] = text;
        *front = *characters;
        // What is no `=` becomes what is no digit.
        *last = mask(*padding != b'=') | b'A';
    }
    let (mut values, mut known) = ([0; ROOM], [0; ROOM]);
    for ((value, is_digit), digit) in values.iter_mut().zip(&mut known).zip(digits) {
        (*value, *is_digit) = value_of(digit);
    }
    let known = known.iter().fold(u8::MAX, |all, one| all & one);
    let mut bytes = [0; ROOM / 4 * 3];
    for (six, eight) in bytes.chunks_exact_mut(6).zip(values.chunks_exact(8)) {
        let [joined @ .., _, _] = join(eight).to_be_bytes();
        six.copy_from_slice(&joined);
    }
    // Behind the tag is what the padding stands for, with two bits that an encoder leaves zero.
    let (tag, rest) = bytes.split_first_chunk::<TAG_BYTES>()?;
    (known == u8::MAX && rest.first() == Some(&0)).then_some(*tag)
}

/// [`TAG_CHARACTERS`], and what fills up three registers of 16 bytes.
const ROOM: usize = 48;

/// Eight values of six bits as the upper six bytes of a word.
#[inline]
fn join(values: &[u8]) -> u64 {
    let word = values
        .first_chunk()
        .map_or(0, |eight| u64::from_be_bytes(*eight));
    let word = (word & 0x003f_003f_003f_003f) | (word & 0x3f00_3f00_3f00_3f00) >> 2;
    let word = (word & 0x0000_0fff_0000_0fff) | (word & 0x0fff_0000_0fff_0000) >> 4;
    let word = (word & 0x00ff_ffff) | (word >> 32) << 24;
    word << 16
}

/// The value of a digit of base64, and whether it is one: all ones or zero.
#[inline(always)]
const fn value_of(character: u8) -> (u8, u8) {
    let upper = mask(character.wrapping_sub(b'A') < 26);
    let lower = mask(character.wrapping_sub(b'a') < 26);
    let number = mask(character.wrapping_sub(b'0') < 10);
    let plus = mask(character == b'+');
    let slash = mask(character == b'/');
    let value = upper & character.wrapping_sub(b'A')
        | lower & character.wrapping_sub(b'a' - 26)
        | number & character.wrapping_sub(b'0').wrapping_add(52)
        | plus & 62
        | slash & 63;
    (value, upper | lower | number | plus | slash)
}

#[inline(always)]
const fn mask(condition: bool) -> u8 {
    0_u8.wrapping_sub(condition as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test that panics has failed")]

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// What the library says of the same text.
    fn by_library(text: &[u8; TAG_CHARACTERS]) -> Option<[u8; TAG_BYTES]> {
        STANDARD.decode(text).ok()?.try_into().ok()
    }

    #[test]
    fn sec_015_it_agrees_with_the_library_on_every_character_at_every_place() {
        let tag: [u8; TAG_BYTES] = std::array::from_fn(|at| (at * 37 + 5) as u8);
        let text = STANDARD.encode(tag);
        let mut text: [u8; TAG_CHARACTERS] = text.as_bytes().try_into().expect("44 characters");
        assert_eq!(decode(&text), Some(tag));
        for at in 0..TAG_CHARACTERS {
            let kept = text[at];
            for character in 0..=u8::MAX {
                text[at] = character;
                assert_eq!(decode(&text), by_library(&text), "{character} at {at}");
            }
            text[at] = kept;
        }
    }

    #[test]
    fn every_byte_at_every_place_comes_back() {
        for at in 0..TAG_BYTES {
            for byte in 0..=u8::MAX {
                let mut tag = [0xa5; TAG_BYTES];
                tag[at] = byte;
                let text = STANDARD.encode(tag);
                assert_eq!(text.as_bytes().first_chunk().and_then(decode), Some(tag));
            }
        }
    }
}
