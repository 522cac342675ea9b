//! JSON strings: finding their ends, checking and undoing their escapes (RFC 8259 §7).

use super::JsonError;

/// How many bytes are looked at together.
const BLOCK: usize = 64;

/// How many bytes are marked in one go: most payloads are shorter.
const PIECE: usize = 8 * BLOCK;

/// How many blocks there is room for; a power of two, so that no index can leave it.
const BLOCKS: usize = 512;
/// The longest text there is room for; the last block is a sentinel.
pub(super) const MAX_TEXT: usize = (BLOCKS - 1) * BLOCK;

/// Where strings can end: a bit for each byte of a text that is a quote, a backslash or a control
/// character.
pub(super) struct StringEnds {
    special: [u64; BLOCKS],
    /// Room to find them in.
    marks: [u8; PIECE],
}

impl StringEnds {
    pub(super) const fn new() -> Self {
        Self {
            special: [0; BLOCKS],
            marks: [0; PIECE],
        }
    }

    /// Looks at all of `text`, which is not longer than [`MAX_TEXT`].
    pub(super) fn look_at(&mut self, text: &[u8]) {
        let Self { special, marks } = self;
        let mut words = special.iter_mut();
        let blocks = text.len() / BLOCK * BLOCK;
        for piece in text.get(..blocks).unwrap_or_default().chunks(PIECE) {
            mark_special_bytes(piece, marks);
            let marks = marks.get(..piece.len()).unwrap_or_default();
            for (block, word) in marks.chunks_exact(BLOCK).zip(words.by_ref()) {
                *word = gather(block);
            }
        }
        // What is left is not special, and behind it everything is.
        let rest = text.len() - blocks;
        let last = match text.last_chunk::<BLOCK>() {
            // The last block overlaps the one before it.
            Some(block) if rest > 0 => special_bytes(block, marks) >> (BLOCK - rest),
            Some(_) => 0,
            None => {
                let mut padded = [b' '; BLOCK];
                if let Some(start) = padded.get_mut(..rest) {
                    start.copy_from_slice(text);
                }
                special_bytes(&padded, marks)
            }
        };
        for word in [last, u64::MAX] {
            if let Some(slot) = words.next() {
                *slot = word;
            }
        }
    }

    /// Where the closing quote stands of the string whose first byte after the opening one is at
    /// `start`, and whether there are escapes in it.
    #[inline(always)]
    pub(super) fn end_of(&self, text: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
        let at = self.marks_from(start).next() as usize;
        match text.get(at) {
            Some(b'"') => Ok((at, false)),
            _ => scan_slowly(text, at),
        }
    }

    /// The special bytes from `start` on, one by one.
    #[inline(always)]
    pub(super) fn marks_from(&self, start: usize) -> Marks<'_> {
        let block = start / BLOCK;
        Marks {
            strings: self,
            block,
            left: self.word(block) & (u64::MAX << (start % BLOCK)),
        }
    }

    #[inline(always)]
    fn word(&self, block: usize) -> u64 {
        self.special
            .get(block % BLOCKS)
            .copied()
            .unwrap_or(u64::MAX)
    }
}

/// Goes from one special byte to the next.
pub(super) struct Marks<'a> {
    strings: &'a StringEnds,
    block: usize,
    /// Those of the block that are still to come.
    left: u64,
}

impl Marks<'_> {
    /// Where the next one is, or a position behind the text.
    #[inline(always)]
    pub(super) fn next(&mut self) -> u32 {
        while self.left == 0 {
            self.block += 1;
            self.left = self.strings.word(self.block);
        }
        let at = (self.block * BLOCK) as u32 + self.left.trailing_zeros();
        self.left &= self.left - 1;
        at
    }
}

/// A bit for each byte that is a quote, a backslash or a control character.
#[inline]
fn special_bytes(bytes: &[u8; BLOCK], marks: &mut [u8; PIECE]) -> u64 {
    mark_special_bytes(bytes, marks);
    gather(marks.get(..BLOCK).unwrap_or_default())
}

/// The top bits of the marks of a block.
#[inline]
fn gather(marks: &[u8]) -> u64 {
    let mut special = 0;
    for word in marks.rchunks_exact(8) {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        // Gathers the top bits of eight bytes in the top byte.
        special = special << 8 | word.wrapping_mul(0x0002_0408_1020_4081) >> 56;
    }
    special
}

/// Sets the top bit of each mark whose byte is special. On its own, so that it becomes a few vector
/// instructions; together with what reads the marks, the compiler takes them apart byte by byte.
#[inline(never)]
fn mark_special_bytes(bytes: &[u8], marks: &mut [u8; PIECE]) {
    for (mark, byte) in marks.iter_mut().zip(bytes) {
        // With this bit turned over, a quote follows right behind the control characters.
        *mark = u8::from(*byte ^ 0x02 <= 0x20 || *byte == b'\\') << 7;
    }
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
