//! JSON strings: finding their end, checking and undoing their escapes (RFC 8259 §7).

use super::JsonError;

const WORD: usize = size_of::<u64>();
const ONES: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; WORD]);

/// Finds the end of the string whose first byte after the quote is at `start`: where its closing
/// quote stands, and whether there are escapes in it. The text is known to be UTF-8.
#[inline]
pub(super) fn scan_string(text: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
    let mut at = start;
    // Eight bytes at a time until one of them ends the string or is special.
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            at += (special.trailing_zeros() / 8) as usize;
            return match text.get(at) {
                Some(b'"') => Ok((at, false)),
                _ => scan_slowly(text, at),
            };
        }
        at += WORD;
    }
    scan_slowly(text, at)
}

/// The high bit of each byte that is a quote, a backslash or a control character. Bytes above the
/// first one found may be marked wrongly, which the caller never looks at.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    let quote = zero_bytes(word ^ (ONES * b'"' as u64));
    let backslash = zero_bytes(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH_BITS
}

/// Marks bytes that are zero (and perhaps some above the first one).
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// One byte at a time from `at` on.
fn scan_slowly(text: &[u8], mut at: usize) -> Result<(usize, bool), JsonError> {
    let mut escaped = false;
    loop {
        match text.get(at) {
            Some(b'"') => return Ok((at, escaped)),
            Some(b'\\') => {
                escaped = true;
                let rest = text.get(at..).unwrap_or_default();
                let (_, length) = escape(rest).ok_or(JsonError::String { at })?;
                at += length;
            }
            Some(0..0x20) => return Err(JsonError::String { at }),
            Some(_) => at += 1,
            None => return Err(JsonError::Syntax { at }),
        }
    }
}

/// The character that the escape at the start of `text` stands for, and how many bytes it takes.
/// `None` if it is no escape, or half of a surrogate pair, which is no character at all.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let simple = |character| Some((character, 2));
    match text.get(1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'u' => {
            let first = hex4(text.get(2..6)?)?;
            if !(0xd800..0xe000).contains(&first) {
                return Some((char::from_u32(first)?, 6));
            }
            if first >= 0xdc00 || text.get(6..8)? != b"\\u" {
                return None;
            }
            let second = hex4(text.get(8..12)?)?;
            if !(0xdc00..0xe000).contains(&second) {
                return None;
            }
            let character = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            Some((char::from_u32(character)?, 12))
        }
        _ => None,
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| {
        Some(value << 4 | char::from(digit).to_digit(16)?)
    })
}

/// Undoes the escapes of `written`, which was scanned before, at the start of `out`; gives how many
/// bytes that makes. `None` if `out` is too short, which it is not if it is as long as `written`.
pub(crate) fn unescape_into(written: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    for byte in Unescaped::new(written) {
        *out.get_mut(length)? = byte;
        length += 1;
    }
    Some(length)
}

/// The bytes of a string that was scanned before, with its escapes undone.
#[derive(Clone)]
pub(crate) struct Unescaped<'a> {
    rest: &'a [u8],
    /// The bytes of an escaped character that are still to come.
    pending: [u8; 4],
    pending_at: usize,
    pending_len: usize,
}

impl<'a> Unescaped<'a> {
    pub(crate) fn new(written: &'a [u8]) -> Self {
        Self {
            rest: written,
            pending: [0; 4],
            pending_at: 0,
            pending_len: 0,
        }
    }
}

impl Iterator for Unescaped<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.pending_at < self.pending_len {
            let byte = self.pending.get(self.pending_at).copied();
            self.pending_at += 1;
            return byte;
        }
        let (&first, rest) = self.rest.split_first()?;
        if first != b'\\' {
            self.rest = rest;
            return Some(first);
        }
        let (character, length) = escape(self.rest)?;
        self.rest = self.rest.get(length..)?;
        self.pending_len = character.encode_utf8(&mut self.pending).len();
        self.pending_at = 1;
        self.pending.first().copied()
    }
}
