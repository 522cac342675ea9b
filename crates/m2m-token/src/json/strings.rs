//! JSON strings: finding their ends, checking and undoing their escapes (RFC 8259 §7).

use super::JsonError;

/// How many bytes are looked at together.
const BLOCK: usize = 64;

/// How many blocks there is room for in the largest.
pub(crate) const MAX_BLOCKS: usize = 512;

/// Where strings can end: a bit for each byte of a text that is a quote, a backslash or a control
/// character. How many blocks there is room for is a power of two, so that no index can leave it.
pub(super) struct StringEnds<const BLOCKS: usize> {
    special: [u64; BLOCKS],
}

impl<const BLOCKS: usize> StringEnds<BLOCKS> {
    /// The longest text there is room for; the last block is a sentinel.
    pub(super) const MAX_TEXT: usize = (BLOCKS - 1) * BLOCK;

    pub(super) const fn new() -> Self {
        Self {
            special: [0; BLOCKS],
        }
    }

    /// Looks at all of `text`, which is not longer than [`Self::MAX_TEXT`].
    #[inline]
    pub(super) fn look_at(&mut self, text: &[u8]) {
        let blocks = text.chunks_exact(BLOCK);
        let (whole, rest) = (blocks.len(), blocks.remainder().len());
        for (word, block) in self.special.iter_mut().zip(blocks) {
            *word = block.first_chunk().map_or(0, special_bytes);
        }
        // The last block overlaps the one before it.
        let mut padded = [b' '; BLOCK];
        let (last, seen_before) = match text.last_chunk::<BLOCK>() {
            Some(last) => (last, BLOCK - rest),
            None => {
                if let Some(start) = padded.get_mut(..rest) {
                    start.copy_from_slice(text);
                }
                (&padded, 0)
            }
        };
        if let Some(word) = self.special.get_mut(whole) {
            *word = special_bytes(last);
        }
        // Afterwards, so that several are turned at once; in pairs, so that none is left over.
        for word in self.special.get_mut(..=whole | 1).unwrap_or_default() {
            *word = transposed(*word);
        }
        if let Some(word) = self.special.get_mut(whole) {
            // Nothing is left of a block that was seen before.
            *word = word.checked_shr(seen_before as u32).unwrap_or(0);
        }
        if let Some(word) = self.special.get_mut(whole + 1) {
            // Behind the text all is special.
            *word = u64::MAX;
        }
    }

    /// Where the closing quote stands of the string whose first byte after the opening one is at
    /// `start`, and whether there are escapes in it.
    #[inline(always)]
    pub(super) fn end_of(&self, text: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
        let at = self.next_from(start as u32) as usize;
        match text.get(at) {
            Some(b'"') => Ok((at, false)),
            _ => scan_slowly(text, at),
        }
    }

    /// Where the first special byte is from `at` on, or a position behind the text.
    #[inline(always)]
    pub(super) fn next_from(&self, mut at: u32) -> u32 {
        loop {
            let left = self.word(at) >> (at % BLOCK as u32);
            if left != 0 {
                return at + left.trailing_zeros();
            }
            at = (at | (BLOCK as u32 - 1)) + 1;
        }
    }

    /// Goes through the special bytes from `at` on.
    #[inline(always)]
    pub(super) fn walk_from(&self, at: u32) -> Walk<'_, BLOCKS> {
        let left = self.word(at) >> (at % BLOCK as u32) << (at % BLOCK as u32);
        Walk {
            strings: self,
            left,
            block_at: at - at % BLOCK as u32,
        }
    }

    /// The bits of the block in which `at` lies; all of them behind the last one.
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let block = at as usize / BLOCK;
        self.special
            .get(block % BLOCKS)
            .copied()
            .unwrap_or(u64::MAX)
    }
}

/// Special bytes in their order. Where the next one is depends on where the last one was, and not on what
/// was read there: so the processor can be at the next ones before it has looked at this one.
pub(super) struct Walk<'s, const BLOCKS: usize> {
    strings: &'s StringEnds<BLOCKS>,
    /// Those of the block that are still to come.
    left: u64,
    block_at: u32,
}

impl<const BLOCKS: usize> Walk<'_, BLOCKS> {
    /// The position of the next one, or one behind the text.
    #[inline(always)]
    pub(super) fn next(&mut self) -> u32 {
        while self.left == 0 {
            self.block_at += BLOCK as u32;
            self.left = self.strings.word(self.block_at);
        }
        let at = self.block_at + self.left.trailing_zeros();
        self.left &= self.left - 1;
        at
    }
}

/// A bit for each byte that is special: of byte 8 *i* + *j*, bit *i* of byte *j*. In this order it takes
/// few vector instructions, and the compiler makes them of a loop over sixteen bytes at a time.
#[inline(always)]
fn special_bytes(block: &[u8; BLOCK]) -> u64 {
    let mut rows = [0; 16];
    let (front, back) = block.split_at(32);
    let (front, back) = (front.split_at(16), back.split_at(16));
    let quarters = (front.0.iter().zip(front.1)).zip(back.0.iter().zip(back.1));
    for (at, (row, ((a, b), (c, d)))) in rows.iter_mut().zip(quarters).enumerate() {
        let bit = 1 + at as u8 / 8;
        *row = mark(*a, bit) | mark(*b, bit << 2) | mark(*c, bit << 4) | mark(*d, bit << 6);
    }
    let rows = u128::from_le_bytes(rows);
    (rows >> 64) as u64 | rows as u64
}

/// `bit`, if `byte` is special.
#[inline(always)]
fn mark(byte: u8, bit: u8) -> u8 {
    // With this bit turned over, a quote follows right behind the control characters.
    let behind_quote = (byte ^ 0x02).saturating_sub(0x20);
    match behind_quote.min(byte ^ b'\\') {
        0 => bit,
        _ => 0,
    }
}

/// Swaps bit *i* of byte *j* with bit *j* of byte *i*, for all of them (Hacker's Delight §7-3).
#[inline(always)]
fn transposed(bits: u64) -> u64 {
    let swap = |bits: u64, distance: u32, which: u64| {
        let differ = (bits ^ bits >> distance) & which;
        bits ^ differ ^ differ << distance
    };
    let bits = swap(bits, 7, 0x00aa_00aa_00aa_00aa);
    let bits = swap(bits, 14, 0x0000_cccc_0000_cccc);
    swap(bits, 28, 0x0000_0000_f0f0_f0f0)
}

/// One byte at a time from `at` on.
#[cold]
#[inline(never)]
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
