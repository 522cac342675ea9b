//! Serial numbers of certificates, in whatever way they are written.

/// The longest text that can be one: 20 octets in decimal have 49 digits, and in pairs with colons 59
/// characters.
const MAX_TEXT: usize = 64;
/// RFC 5280 §4.1.2.2.
const MAX_OCTETS: usize = 20;

/// How digits are meant where nothing else tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digits {
    /// `10` is ten.
    Decimal,
    /// `10` is sixteen.
    Hexadecimal,
}

/// The content of the INTEGER that `text` writes: with `0x` in front, in pairs with colons or spaces
/// between, or with a letter it is hexadecimal, and else as `digits` says. `None` if it is no serial
/// number.
pub(super) fn der_content(text: &str, digits: Digits) -> Option<Box<[u8]>> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return None;
    }
    let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let is_marked = bare.is_some();
    let bare = bare.unwrap_or(text);
    let is_paired = bare.contains([':', ' ', '-']);
    let plain: String = match is_paired {
        true => {
            let mut pairs = bare.split([':', ' ', '-']);
            let is_pair = |pair: &str| (1..=2).contains(&pair.len());
            pairs.clone().all(is_pair).then_some(())?;
            pairs.by_ref().map(|pair| format!("{pair:0>2}")).collect()
        }
        false => bare.to_owned(),
    };
    if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let has_letter = plain.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_hexadecimal = is_marked || is_paired || has_letter || digits == Digits::Hexadecimal;
    let base = if is_hexadecimal { 16 } else { 10 };
    let octets = number(&plain, base)?;
    // An INTEGER is positive, and as short as it can be.
    let sign = octets.first().is_none_or(|first| first & 0x80 != 0);
    let padding: &[u8] = if sign { &[0] } else { &[] };
    let content = [padding, &octets].concat();
    (octets.len() <= MAX_OCTETS).then(|| content.into_boxed_slice())
}

/// The big-endian octets of a number, without leading zeroes.
fn number(digits: &str, base: u32) -> Option<Vec<u8>> {
    // Little-endian while it is counted up.
    let mut octets: Vec<u8> = Vec::new();
    for digit in digits.chars() {
        let mut carry = digit.to_digit(base)?;
        for octet in &mut octets {
            let sum = u32::from(*octet) * base + carry;
            *octet = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
        if carry > 0 {
            // Less than the base.
            octets.push(carry as u8);
        }
    }
    octets.reverse();
    Some(octets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn content(text: &str) -> Option<Vec<u8>> {
        der_content(text, Digits::Decimal).map(Vec::from)
    }

    #[test]
    fn one_serial_number_is_the_same_however_it_is_written() {
        for text in [
            "0x1A2b3C",
            "1a2b3c",
            "00:1A:2B:3C",
            "1a 2b 3c",
            "01a2b3c",
            "1715004",
        ] {
            assert_eq!(content(text).unwrap(), [0x1a, 0x2b, 0x3c], "{text}");
        }
        assert_eq!(content("0xff").unwrap(), [0, 0xff], "positive");
        assert_eq!(content("255").unwrap(), [0, 0xff]);
        assert_eq!(content("0").unwrap(), [0]);
        assert_eq!(content("a:b").unwrap(), [0x0a, 0x0b]);
        let largest = format!("{}", u128::MAX);
        assert_eq!(content(&largest).unwrap(), [&[0][..], &[0xff; 16]].concat());
    }

    #[test]
    fn digits_alone_are_what_the_transmitter_is_known_to_mean() {
        assert_eq!(content("10").unwrap(), [10]);
        assert_eq!(*der_content("10", Digits::Hexadecimal).unwrap(), [16]);
        assert_eq!(*der_content("1f", Digits::Decimal).unwrap(), [0x1f]);
    }

    #[test]
    fn what_is_no_serial_number_is_none() {
        for text in [
            "",
            "0x",
            "-1",
            "1g",
            "1::2",
            "123:45",
            "1.5",
            "٣",
            &"1".repeat(65),
        ] {
            assert_eq!(content(text), None, "{text:?}");
        }
        assert!(content(&"f".repeat(40)).is_some());
        assert!(content(&"f".repeat(41)).is_none(), "more than 20 octets");
    }
}
