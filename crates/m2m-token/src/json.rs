//! A strict scanner for the two JSON objects in a token: it finds the members of the outer object and
//! refuses what RFC 8259 forbids or leaves open: duplicate members at any depth, lone surrogates,
//! deep nesting. It neither allocates nor copies.

mod error;
mod scan;
mod strings;
mod usual;

pub use error::JsonError;
use scan::Scanner;
use strings::{MAX_BLOCKS, StringEnds};
pub(crate) use strings::{Unescaped, unescape_into};

/// The deepest nesting of arrays and objects, the outer object included. Tokens in use have 2 or 3;
/// recursion to this depth needs little stack.
pub(crate) const MAX_DEPTH: usize = 16;
/// The most members of one object. Bounds the search for duplicates, which compares pairs.
pub(crate) const MAX_MEMBERS: usize = 64;
/// The most member names of nested objects that are open at the same time.
const MAX_NESTED_NAMES: usize = 128;
/// The longest text that is scanned, in bytes: a JWK with certificates in it. Positions are kept in
/// 16 bits.
pub(crate) const MAX_TEXT: usize = StringEnds::<MAX_BLOCKS>::MAX_TEXT;
/// Room for a short object with few members, which is soon made.
pub(crate) type FewMembers = Members<16, 16, 16>;

/// The text that `bytes` are.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| not_utf8(bytes))
}

/// Says where, which the fast check does not.
#[cold]
#[inline(never)]
fn not_utf8(bytes: &[u8]) -> JsonError {
    let at = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    JsonError::Utf8 { at }
}

/// What kind of value a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    EscapedString,
    /// Digits alone: no sign, no fraction, no exponent.
    Digits,
    Number,
    True,
    False,
    Null,
    Array,
    Object,
}

/// A range of the scanned text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Span {
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }

    fn new(start: usize, end: usize) -> Self {
        // `scan` has refused texts of more than `MAX_TEXT` bytes.
        Self {
            start: start as u16,
            end: end as u16,
        }
    }
}

/// The name of a member: the span between its quotes.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    /// Equal names have equal tags.
    tag: u32,
    span: Span,
}

/// A member of the outer object. The value of a string is the span between its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    name: Name,
    value: Span,
    kind: Kind,
}

impl Member {
    const EMPTY: Self = Self {
        name: Name {
            tag: 0,
            span: Span { start: 0, end: 0 },
        },
        value: Span { start: 0, end: 0 },
        // Never read. All zero, so that making room for many is one `memset`.
        kind: Kind::String,
    };

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The value; of a string what stands between the quotes, still escaped.
    pub(crate) fn value(&self) -> Span {
        self.value
    }

    /// The value as JSON text, quotes included.
    pub(crate) fn json<'a>(&self, text: &'a str) -> &'a str {
        let quotes = match self.kind {
            Kind::String | Kind::EscapedString => 1,
            _ => 0,
        };
        let start = usize::from(self.value.start).saturating_sub(quotes);
        text.get(start..usize::from(self.value.end) + quotes)
            .unwrap_or_default()
    }

    /// [`tag_of`] the name, with its escapes undone.
    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        self.name.tag
    }

    /// Whether the name, with its escapes undone, is `name`.
    pub(crate) fn is_named(&self, bytes: &[u8], name: &[u8]) -> bool {
        let written = self.name.span.of(bytes);
        // Written without escapes it is what it stands for, else it is longer than that.
        match written.len() > name.len() {
            true => Unescaped::new(written).eq(name.iter().copied()),
            false => written == name && !name.contains(&b'\\'),
        }
    }

    /// The name, with its escapes undone.
    #[cfg(test)]
    pub(crate) fn name<'a>(&self, bytes: &'a [u8]) -> Unescaped<'a> {
        Unescaped::new(self.name.span.of(bytes))
    }

    /// The name as JSON text, between its quotes.
    pub(crate) fn written_name<'a>(&self, text: &'a str) -> &'a str {
        let Span { start, end } = self.name.span;
        text.get(usize::from(start)..usize::from(end))
            .unwrap_or_default()
    }
}

/// The members of an object, in the order in which they are written, and room to find them.
/// Made once and used again: finding a value's members needs no fresh memory.
pub(crate) struct Members<
    const BLOCKS: usize = MAX_BLOCKS,
    const MEMBERS: usize = MAX_MEMBERS,
    const NESTED: usize = MAX_NESTED_NAMES,
> {
    list: [Member; MEMBERS],
    len: usize,
    nested: [Name; NESTED],
    strings: StringEnds<BLOCKS>,
}

impl<const BLOCKS: usize, const MEMBERS: usize, const NESTED: usize>
    Members<BLOCKS, MEMBERS, NESTED>
{
    pub(crate) const fn new() -> Self {
        Self {
            list: [Member::EMPTY; MEMBERS],
            len: 0,
            nested: [Member::EMPTY.name; NESTED],
            strings: StringEnds::new(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Member] {
        self.list.get(..self.len).unwrap_or_default()
    }

    /// Scans `text`, which must be one JSON object and nothing else.
    pub(crate) fn scan(&mut self, text: &str) -> Result<(), JsonError> {
        self.len = 0;
        if text.len() > StringEnds::<BLOCKS>::MAX_TEXT {
            return Err(JsonError::TooLong);
        }
        let text = text.as_bytes();
        self.strings.look_at(text);
        let mut scanner = Scanner::new(text, &self.strings, &mut self.nested);
        self.len = scanner.outer_object(&mut self.list)?;
        Ok(())
    }
}

impl Name {
    /// One of 64 bits; equal names have the same. With this factor the usual claims (RFC 9068, OpenID
    /// Connect) have a bit of their own each.
    #[inline(always)]
    fn bit(self) -> u64 {
        1 << (self.tag.wrapping_mul(0x2b4a_b0f9) >> 26)
    }
}

/// Whether all of these bytes are decimal digits.
#[inline(always)]
const fn are_digits(first: u64, last: u64) -> bool {
    let (first, last) = (first ^ 0x3030_3030_3030_3030, last ^ 0x3030_3030_3030_3030);
    let above_nine = first.wrapping_add(0x7676_7676_7676_7676) | first;
    let above_nine = above_nine | last.wrapping_add(0x7676_7676_7676_7676) | last;
    above_nine & 0x8080_8080_8080_8080 == 0
}

/// A short value that equal names share: the length and the first three bytes. Of names of up to
/// three bytes it is the whole name. What a shorter one lacks is filled with what stands behind it
/// in a text, a quote and a colon, so that whoever reads it there need not take them away.
pub(crate) const fn tag_of(name: &[u8]) -> u32 {
    let first = match name {
        [] => *b"\":\0",
        [a] => [*a, b'"', b':'],
        [a, b] => [*a, *b, b'"'],
        [a, b, c, ..] => [*a, *b, *c],
    };
    // A long name must not pass for a short one.
    let length = if name.len() < 255 { name.len() } else { 255 };
    u32::from_le_bytes([length as u8, first[0], first[1], first[2]])
}

/// [`tag_of`] a name whose escapes are being undone.
#[cold]
#[inline(never)]
fn tag_of_slowly(name: Unescaped<'_>) -> u32 {
    // `tag_of` looks at three bytes and asks whether there are 255.
    let (mut start, mut length) = ([0; 255], 0);
    for (slot, byte) in start.iter_mut().zip(name) {
        *slot = byte;
        length += 1;
    }
    tag_of(start.get(..length).unwrap_or_default())
}

#[cfg(test)]
mod tests;
