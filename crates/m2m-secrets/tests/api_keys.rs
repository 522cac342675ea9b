//! API keys as text: what is made, what is read, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use m2m_crypto::{RandomError, SecureRandom, SystemRandom};
use m2m_secrets::{ApiKey, ApiKeyId, KeyFormat, KeyFormatError, MalformedKey};
use proptest::prelude::*;

fn format() -> KeyFormat {
    KeyFormat::new("acme", "live").unwrap()
}

fn key() -> ApiKey {
    format().generate(&SystemRandom).unwrap()
}

fn refusal(text: &[u8]) -> MalformedKey {
    format().parse(text).unwrap_err()
}

/// The CRC-32 of zlib and gzip, as ISO 3309 describes it.
fn crc32(bytes: &[u8]) -> u32 {
    let mut state = u32::MAX;
    for byte in bytes {
        state ^= u32::from(*byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0xedb8_8320 * (state & 1));
        }
    }
    !state
}

fn base62(mut number: u32) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for character in text.iter_mut().rev() {
        *character = DIGITS[number as usize % 62];
        number /= 62;
    }
    String::from_utf8(text.to_vec()).unwrap()
}

#[test]
fn a_key_says_what_it_is_and_carries_a_crc_that_anybody_can_compute() {
    let key = key();
    let text = key.expose_secret();
    let parts: Vec<&str> = text.split('_').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [4, 4, 11, 32, 6]);
    assert_eq!((parts[0], parts[1]), ("acme", "live"));
    assert_eq!(parts[2], key.id().as_str());
    let (before, sum) = text.rsplit_once('_').unwrap();
    assert_eq!(sum, base62(crc32(before.as_bytes())));
    assert_eq!(text.len(), format().key_bytes());
}

#[test]
fn a_key_of_known_parts_is_read_by_whatever_made_it() {
    // zlib says 0x8ee0_1894.
    let text = b"acme_live_0123456789A_abcdefghijklmnopqrstuvwxyzABCDEF_2cDmTM";
    let presented = format().parse(text).unwrap();
    assert_eq!(presented.id(), "0123456789A".parse::<ApiKeyId>().unwrap());
}

#[test]
fn two_keys_share_neither_id_nor_secret() {
    let (one, other) = (key(), key());
    assert_ne!(one.id(), other.id());
    assert_ne!(one.expose_secret()[22..54], other.expose_secret()[22..54]);
}

#[test]
fn characters_are_drawn_evenly() {
    let mut counts = [0_u32; 256];
    for _ in 0..1_000 {
        for byte in key().expose_secret()[22..54].bytes() {
            counts[usize::from(byte)] += 1;
        }
    }
    // 32,000 draws over 62: 516 each, with a deviation of 22.5. Eight of them do not happen.
    let drawn: Vec<u32> = counts.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(drawn.len(), 62);
    assert!(
        drawn.iter().all(|count| (336..=696).contains(count)),
        "{drawn:?}"
    );
}

#[test]
fn sec_015_one_encoding_is_accepted() {
    let key = key();
    let text = key.expose_secret().as_bytes();
    assert!(format().parse(text).is_ok());
    let expected = text.len();
    let with = |before: &[u8], after: &[u8]| [before, text, after].concat();
    for after in [b"\n".as_slice(), b" ", b"\r\n", b"=", b"_", b"0", b"\0"] {
        let found = expected + after.len();
        assert_eq!(
            refusal(&with(b"", after)),
            MalformedKey::Length { found, expected }
        );
    }
    for before in [b" ".as_slice(), b"\n", b"Bearer ", b"\xef\xbb\xbf", b"\""] {
        assert_eq!(refusal(&with(before, b"")), MalformedKey::Prefix);
    }
    assert_eq!(refusal(&text.to_ascii_uppercase()), MalformedKey::Prefix);
    for length in 0..expected {
        assert!(format().parse(&text[..length]).is_err(), "{length} bytes");
    }
    // Other characters where base62 stands: those of base64 and base64url, and what looks alike.
    for at in (10..21).chain(22..54).chain(55..61) {
        for other in *b"+/-=_. \0\x7f\x80\xff" {
            let mut changed = text.to_vec();
            changed[at] = other;
            assert_eq!(refusal(&changed), MalformedKey::Character { at });
        }
    }
    for at in [21, 54] {
        for other in *b"-0aZ " {
            let mut changed = text.to_vec();
            changed[at] = other;
            assert_eq!(refusal(&changed), MalformedKey::Character { at });
        }
    }
}

#[test]
fn a_checksum_beyond_32_bits_is_no_second_spelling() {
    // 2^32 added to the checksum is still six digits; it must not be read modulo 2^32.
    let key = key();
    let (before, sum) = key.expose_secret().rsplit_once('_').unwrap();
    let digit = |c: u8| match c {
        b'0'..=b'9' => c - b'0',
        b'A'..=b'Z' => c - b'A' + 10,
        _ => c - b'a' + 36,
    };
    let number = sum.bytes().fold(0, |n, c| n * 62 + u64::from(digit(c)));
    let mut larger = number + (1 << 32);
    let mut digits = [0_u8; 6];
    for place in digits.iter_mut().rev() {
        *place = (larger % 62) as u8;
        larger /= 62;
    }
    assert_eq!(larger, 0);
    let text = digits.map(|d| match d {
        0..=9 => b'0' + d,
        10..=35 => b'A' + d - 10,
        _ => b'a' + d - 36,
    });
    let forged = [before.as_bytes(), b"_", &text].concat();
    assert_eq!(refusal(&forged), MalformedKey::Checksum);
}

#[test]
fn keys_of_other_products_and_environments_are_told_apart() {
    let key = key();
    let other = |prefix, environment| KeyFormat::new(prefix, environment).unwrap();
    let text = key.expose_secret().as_bytes();
    let refused = |format: KeyFormat| format.parse(text).unwrap_err();
    assert_eq!(refused(other("acme", "test")), MalformedKey::Environment);
    assert_eq!(refused(other("acme", "live2")), MalformedKey::Environment);
    assert_eq!(refused(other("acm", "live")), MalformedKey::Prefix);
    assert_eq!(refused(other("acmea", "live")), MalformedKey::Prefix);
    // The environment is under the checksum too.
    let moved = key.expose_secret().replace("live", "test");
    let refused = other("acme", "test").parse(moved.as_bytes()).unwrap_err();
    assert_eq!(refused, MalformedKey::Checksum);
}

#[test]
fn what_is_no_label_is_refused() {
    let long = "a".repeat(13);
    for label in [
        "", "a", &long, "Acme", "1acme", "ac_me", "ac-me", "acmé", "ac me",
    ] {
        let length = label.len();
        assert_eq!(
            KeyFormat::new(label, "live"),
            Err(KeyFormatError::Prefix { length })
        );
        assert_eq!(
            KeyFormat::new("acme", label),
            Err(KeyFormatError::Environment { length })
        );
    }
    let longest = KeyFormat::new(&long[1..], &long[1..]).unwrap();
    assert_eq!(
        longest
            .generate(&SystemRandom)
            .unwrap()
            .expose_secret()
            .len(),
        77
    );
    assert_eq!(
        (longest.prefix(), longest.environment()),
        (&long[1..], &long[1..])
    );
    for id in [
        "",
        "0123456789",
        "0123456789AB",
        "0123456789_",
        "0123456789é",
    ] {
        assert!(id.parse::<ApiKeyId>().is_err(), "{id:?}");
    }
}

/// Writes what it is told to, and fails if it has nothing to write.
struct Source(Option<u8>);

impl SecureRandom for Source {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill(self.0.ok_or(RandomError)?);
        Ok(())
    }
}

#[test]
fn sec_024_a_broken_source_gives_no_key() {
    for source in [None, Some(0), Some(7), Some(u8::MAX)] {
        assert_eq!(format().generate(&Source(source)).unwrap_err(), RandomError);
    }
}

proptest! {
    #[test]
    fn each_key_is_read_and_each_typo_is_one(at in 0_usize..61, by in 1_u8..=255) {
        let key = key();
        let mut text = key.expose_secret().as_bytes().to_vec();
        prop_assert_eq!(format().parse(&text).unwrap().id(), key.id());
        text[at] ^= by;
        prop_assert!(format().parse(&text).is_err());
    }

    #[test]
    fn two_swapped_characters_are_a_typo(at in 10_usize..60) {
        let key = key();
        let mut text = key.expose_secret().as_bytes().to_vec();
        text.swap(at, at + 1);
        prop_assert_eq!(format().parse(&text).is_ok(), text == key.expose_secret().as_bytes());
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(format().parse(&bytes).is_err());
    }
}
