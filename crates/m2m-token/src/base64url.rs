//! base64url without padding (RFC 7515 §2), strict: one text for each sequence of bytes.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

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

    /// Encodes `bytes` to the start of `out`; `None` if that is too short.
    pub(crate) fn encode(&self, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        self.engine.encode_slice(bytes, out).ok()
    }
}

/// How many characters `bytes` bytes make.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    bytes / 3 * 4
        + match bytes % 3 {
            0 => 0,
            1 => 2,
            _ => 3,
        }
}

/// How many bytes `characters` characters make, if that many characters can be base64url.
pub(crate) const fn decoded_len(characters: usize) -> Option<usize> {
    let rest = match characters % 4 {
        0 => 0,
        1 => return None,
        2 => 1,
        _ => 2,
    };
    Some(characters / 4 * 3 + rest)
}

#[cfg(test)]
mod tests {
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
}
