//! base64url without padding (RFC 7515 §2), strict: one text for each sequence of bytes.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use zeroize::Zeroize;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Inner = base64::engine::simd::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Inner = base64::engine::GeneralPurpose;

/// Encodes and decodes. Made once (it looks at what the processor can do) and kept.
#[derive(Clone)]
pub(crate) struct Base64Url {
    engine: Inner,
}

impl Base64Url {
    pub(crate) fn new() -> Self {
        let config = GeneralPurposeConfig::new()
            .with_encode_padding(false)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(false);
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        let engine = Inner::url_safe(config);
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let engine = Inner::new(&base64::alphabet::URL_SAFE, config);
        Self { engine }
    }

    /// Decodes `text` to the start of `out`; gives the length. `None` if `text` has padding, white
    /// space, other characters, an impossible length or unused bits that are not zero, or if `out`
    /// is too short.
    pub(crate) fn decode(&self, text: &[u8], out: &mut [u8]) -> Option<usize> {
        self.engine.decode_slice(text, out).ok()
    }

    /// Decodes `first` and `second` together, which costs little more than the longer of them alone:
    /// the ends of a text, which the library takes one character at a time, are filled up so that
    /// there is but one. `None` if one of them is not strict; which one is then found with
    /// [`Self::decode`].
    pub(crate) fn decode_both(
        &self,
        first: &[u8],
        second: &[u8],
        room: &mut Filled,
        out: &mut [u8],
    ) -> Option<Both> {
        let (first_len, second_len) = (decoded_len(first.len())?, decoded_len(second.len())?);
        let second_at = first.len().next_multiple_of(4);
        let end = second_at + second.len();
        // Whole blocks, and the least that must be left over behind them.
        let filled = end.next_multiple_of(BLOCK) + LEFT_OVER;
        room.write(0, first)?;
        room.write(first.len(), b"AAA")?;
        room.write(second_at, second)?;
        room.write(end, &[b'A'; BLOCK + LEFT_OVER])?;
        let text = room.characters.get(..filled)?;
        self.engine.decode_slice(text, out).ok()?;
        // `A` is six zero bits. So what the unused bits of a last character were is now in the byte
        // behind what is meant, and a text is the canonical one if that is zero.
        let both = Both {
            first_len,
            second_at: second_at / 4 * 3,
            second_len,
        };
        let is_zero = |at: usize| out.get(at).is_some_and(|byte| *byte == 0);
        let canonical = (first.len() % 4 == 0 || is_zero(first_len))
            && (second.len() % 4 == 0 || is_zero(both.second_at + second_len));
        canonical.then_some(both)
    }

    /// Encodes `bytes` to the start of `out`; `None` if that is too short.
    pub(crate) fn encode(&self, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        self.engine.encode_slice(bytes, out).ok()
    }

    /// Encodes `bytes` to the end of `text`.
    pub(crate) fn append(&self, bytes: &[u8], text: &mut String) -> Option<()> {
        let (mut few, mut many) = ([0; encoded_len(MANY)], Vec::new());
        let room = match bytes.len() < MANY {
            true => few.as_mut_slice(),
            false => {
                many.resize(encoded_len(bytes.len()), 0);
                many.as_mut_slice()
            }
        };
        let length = self.encode_short(bytes, room)?;
        text.push_str(std::str::from_utf8(room.get(..length)?).ok()?);
        Some(())
    }

    /// [`Self::encode`] for what is short, as most signatures are: too short for the library's fastest code.
    /// Zeroes behind it make it long enough, and what they add to its last character is what is there
    /// without them.
    pub(crate) fn encode_short(&self, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        if bytes.len() >= MANY {
            return self.encode(bytes, out);
        }
        let (mut filled, mut text) = ([0; MANY], [0; encoded_len(MANY)]);
        filled.get_mut(..bytes.len())?.copy_from_slice(bytes);
        self.engine.encode_slice(filled, &mut text).ok()?;
        let length = encoded_len(bytes.len());
        out.get_mut(..length)?.copy_from_slice(text.get(..length)?);
        Some(length)
    }
}

/// How many bytes the library must be given so that it encodes with its fastest code.
const MANY: usize = 128;

/// How many characters the library's fastest code takes at once.
const BLOCK: usize = 32;
/// Behind the last block it leaves some to slower code; so few are the least, and make one byte.
const LEFT_OVER: usize = 2;

/// Room for [`Base64Url::decode_both`] to put texts side by side, as long as a token at most.
pub(crate) struct Filled {
    characters: Box<[u8]>,
}

impl Filled {
    /// Room for two texts of together `characters` characters.
    pub(crate) fn new(characters: usize) -> Self {
        Self {
            characters: vec![0; characters + 2 * BLOCK].into_boxed_slice(),
        }
    }

    #[inline]
    fn write(&mut self, at: usize, text: &[u8]) -> Option<()> {
        let room = self.characters.get_mut(at..)?.get_mut(..text.len())?;
        room.copy_from_slice(text);
        Some(())
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.characters.zeroize();
    }
}

/// Where [`Base64Url::decode_both`] has put what: the first at the start, the second at `second_at`.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    pub(crate) first_len: usize,
    pub(crate) second_at: usize,
    pub(crate) second_len: usize,
}

/// How many characters `bytes` bytes make; never asked of more than a token has.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// How many bytes `characters` characters make, if that many characters can be base64url.
pub(crate) const fn decoded_len(characters: usize) -> Option<usize> {
    match characters % 4 {
        1 => None,
        rest => Some(characters / 4 * 3 + rest * 3 / 4),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn jwt_030_only_the_one_canonical_text_is_decoded() {
        let codec = Base64Url::new();
        let mut out = [0; 128];
        for length in 0..96_usize {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 41 + length) as u8).collect();
            let mut text = [0; 128];
            let end = codec.encode(&bytes, &mut text).unwrap();
            assert_eq!(end, encoded_len(length));
            assert_eq!(decoded_len(end), Some(length));
            let text = &text[..end];
            assert_eq!(codec.decode(text, &mut out), Some(length));
            assert_eq!(&out[..length], bytes);
            // No other character may stand anywhere, and no other last character means the same.
            for at in 0..end {
                for byte in 0..=255 {
                    let mut changed = text.to_vec();
                    changed[at] = byte;
                    if changed == text {
                        continue;
                    }
                    if let Some(length) = codec.decode(&changed, &mut out) {
                        assert!(byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
                        assert_ne!(&out[..length], bytes, "two texts for the same bytes");
                    }
                }
            }
            for tail in ["=", "==", "A", " ", "\n", "."] {
                let longer = [text, tail.as_bytes()].concat();
                let decoded = codec.decode(&longer, &mut out);
                assert!(decoded.is_none() || tail == "A", "{tail:?}");
            }
        }
        for text in [
            "A", "AAAAA", "AA==", "AAA=", "A A", "A+A/", "AB", "AAB", "\0\0\0\0",
        ] {
            assert_eq!(codec.decode(text.as_bytes(), &mut out), None, "{text:?}");
        }
    }

    #[test]
    fn few_and_many_bytes_are_encoded_as_the_library_does() {
        let codec = Base64Url::new();
        for length in 0..200_usize {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 41 + length) as u8).collect();
            let (mut expected, mut found) = ([0; 300], [0; 300]);
            let end = codec.encode(&bytes, &mut expected);
            assert_eq!(codec.encode_short(&bytes, &mut found), end);
            assert_eq!(found, expected, "{length}");
            let mut text = String::from("front");
            codec.append(&bytes, &mut text).unwrap();
            assert_eq!(&text.as_bytes()[5..], &expected[..encoded_len(length)]);
            let room = &mut found[..encoded_len(length).saturating_sub(1)];
            assert!(length == 0 || codec.encode_short(&bytes, room).is_none());
        }
    }

    /// Decodes both texts together, and says what the library's own strict decoder says of each.
    fn decode_both_as_one_by_one(first: &[u8], second: &[u8]) {
        let mut out = vec![0x55; first.len() + second.len() + 100];
        let mut room = Filled::new(first.len() + second.len());
        let both = Base64Url::new().decode_both(first, second, &mut room, &mut out);
        let expected = URL_SAFE_NO_PAD.decode(first).ok();
        let expected = expected.zip(URL_SAFE_NO_PAD.decode(second).ok());
        let found = both.map(|both| {
            let second = &out[both.second_at..][..both.second_len];
            (out[..both.first_len].to_vec(), second.to_vec())
        });
        assert_eq!(found, expected, "{first:?} {second:?}");
    }

    #[test]
    fn jwt_030_two_texts_together_are_decoded_as_strictly_as_one() {
        for length in (0..70).chain([591]) {
            for other in [0, 1, 2, 3, 4, 43, 86, 342] {
                let text = |length: usize| vec![b'x'; length];
                decode_both_as_one_by_one(&text(length), &text(other));
                // Any byte at any of the last places: each character there has unused bits.
                for byte in 0..=255 {
                    for from_end in 1..=4 {
                        let mut changed = vec![b'A'; length];
                        if let Some(at) = length.checked_sub(from_end) {
                            changed[at] = byte;
                            decode_both_as_one_by_one(&changed, &vec![b'A'; other]);
                            decode_both_as_one_by_one(&vec![b'A'; other], &changed);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn jwt_030_two_texts_with_a_change_are_decoded_as_strictly_as_one(
            first in "[A-Za-z0-9_-]{0,200}",
            second in "[A-Za-z0-9_-]{0,100}",
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let (mut first, mut second) = (first.into_bytes(), second.into_bytes());
            decode_both_as_one_by_one(&first, &second);
            let changed = match at.index(2) {
                0 => &mut first,
                _ => &mut second,
            };
            if !changed.is_empty() {
                let at = at.index(changed.len());
                changed[at] = byte;
            }
            decode_both_as_one_by_one(&first, &second);
        }
    }
}
