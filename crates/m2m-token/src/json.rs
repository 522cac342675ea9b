//! A strict scanner for the two JSON objects in a token: it finds the members of the outer object and
//! refuses what RFC 8259 forbids or leaves open: duplicate members at any depth, lone surrogates,
//! deep nesting. It neither allocates nor copies.

mod error;
mod strings;

pub use error::JsonError;
use strings::StringEnds;
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
pub(crate) const MAX_TEXT: usize = strings::MAX_TEXT;

/// The text that `bytes` are.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(bytes).map_err(|error| JsonError::Utf8 {
        at: error.valid_up_to(),
    })
}

/// What kind of value a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    EscapedString,
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
    span: Span,
    escaped: bool,
    /// Equal names have equal tags.
    tag: u32,
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
            span: Span { start: 0, end: 0 },
            escaped: false,
            tag: 0,
        },
        value: Span { start: 0, end: 0 },
        kind: Kind::Null,
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
        if self.name.escaped {
            Unescaped::new(written).eq(name.iter().copied())
        } else {
            written == name
        }
    }

    /// The name, with its escapes undone.
    #[cfg(test)]
    pub(crate) fn name<'a>(&self, bytes: &'a [u8]) -> Unescaped<'a> {
        Unescaped::new(self.name.span.of(bytes))
    }
}

/// The members of an object, in the order in which they are written, and room to find them.
/// Made once and used again: finding a value's members needs no fresh memory.
pub(crate) struct Members {
    list: [Member; MAX_MEMBERS],
    len: usize,
    nested: [Name; MAX_NESTED_NAMES],
    strings: StringEnds,
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self {
            list: [Member::EMPTY; MAX_MEMBERS],
            len: 0,
            nested: [Member::EMPTY.name; MAX_NESTED_NAMES],
            strings: StringEnds::new(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Member] {
        self.list.get(..self.len).unwrap_or_default()
    }

    /// Scans `text`, which must be one JSON object and nothing else.
    pub(crate) fn scan(&mut self, text: &str) -> Result<(), JsonError> {
        self.len = 0;
        if text.len() > MAX_TEXT {
            return Err(JsonError::TooLong);
        }
        let text = text.as_bytes();
        self.strings.look_at(text);
        let mut scanner = Scanner {
            text,
            strings: &self.strings,
            nested: &mut self.nested,
            nested_len: 0,
        };
        self.len = scanner.outer_object(&mut self.list)?;
        Ok(())
    }
}

/// Goes through a text once. Positions are passed along rather than kept, so that the processor keeps
/// them where it works.
struct Scanner<'t, 'm> {
    text: &'t [u8],
    strings: &'m StringEnds,
    nested: &'m mut [Name; MAX_NESTED_NAMES],
    nested_len: usize,
}

/// Something found, and the position behind it.
type Found<T> = Result<(T, usize), JsonError>;

impl Scanner<'_, '_> {
    fn outer_object(&mut self, list: &mut [Member; MAX_MEMBERS]) -> Result<usize, JsonError> {
        let (first, mut at) = self.token(0);
        if first != b'{' {
            return Err(JsonError::NotAnObject);
        }
        let mut len = 0;
        let mut seen = 0_u64;
        if let (b'}', end) = self.token(at) {
            at = end;
        } else {
            let mut start = self.expect(b'"', at)?;
            loop {
                let (name, value, kind, next) = match self.string_member(start) {
                    Some((name, value, next)) => (name, value, Kind::String, next),
                    None => self.any_member(start)?,
                };
                // Most names fall on a bit of their own, so that nothing needs to be compared.
                let bit = name.bit();
                if seen & bit != 0 {
                    let earlier = list.get(..len).unwrap_or_default();
                    self.refuse_repeated(name, earlier.iter().map(|member| &member.name))?;
                }
                seen |= bit;
                let slot = list.get_mut(len).ok_or(JsonError::TooManyMembers)?;
                *slot = Member { name, value, kind };
                len += 1;
                // Most members stand close together: `","` and the next name.
                start = match self.three(next - 1) {
                    QUOTE_COMMA_QUOTE => next + 2,
                    _ => match self.comma_or(b'}', next)? {
                        (true, next) => self.expect(b'"', next)?,
                        (false, next) => {
                            at = next;
                            break;
                        }
                    },
                };
            }
        }
        match self.token(at) {
            (END, _) if self.is_behind(at) => Ok(len),
            (_, next) => Err(JsonError::Trailing { at: next - 1 }),
        }
    }

    /// The member whose name begins at `start`, if it is what most are: `name":"value"`, without
    /// white space and escapes. Its name, its value, and the position behind it.
    #[inline(always)]
    fn string_member(&self, start: usize) -> Option<(Name, Span, usize)> {
        let name_end = self.strings.next_special(start);
        if self.three(name_end) != QUOTE_COLON_QUOTE {
            return None;
        }
        let value_start = name_end + 3;
        let value_end = self.strings.next_special(value_start);
        if self.byte(value_end) != b'"' {
            return None;
        }
        let tag = match self.text.get(start..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => tag_of_first(*bytes, name_end - start),
            None => return None,
        };
        let name = Name {
            span: Span::new(start, name_end),
            escaped: false,
            tag,
        };
        Some((name, Span::new(value_start, value_end), value_end + 1))
    }

    /// [`Self::string_member`] for a member of any kind.
    #[inline(never)]
    fn any_member(&mut self, start: usize) -> Result<(Name, Span, Kind, usize), JsonError> {
        let (name, value_at) = self.name(start)?;
        let ((value, kind), next) = self.value(value_at, 1)?;
        Ok((name, value, kind, next))
    }

    /// Three bytes from `at` on, in the lower part of a number; 0 if there is no fourth.
    #[inline(always)]
    fn three(&self, at: usize) -> u32 {
        match self.text.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u32::from_le_bytes(*bytes) & 0x00ff_ffff,
            None => 0,
        }
    }

    /// An object inside of the outer one, of which only the form matters, behind its `{`.
    fn nested_object(&mut self, mut at: usize, depth: usize) -> Result<usize, JsonError> {
        let first = self.nested_len;
        let mut seen = 0_u64;
        if let (b'}', end) = self.token(at) {
            return Ok(end);
        }
        loop {
            let start = self.expect(b'"', at)?;
            let (name, value_at) = self.name(start)?;
            if seen & name.bit() != 0 {
                let earlier = self.nested.get(first..self.nested_len).unwrap_or_default();
                self.refuse_repeated(name, earlier.iter())?;
            }
            seen |= name.bit();
            if self.nested_len - first >= MAX_MEMBERS {
                return Err(JsonError::TooManyMembers);
            }
            let slot = self.nested.get_mut(self.nested_len);
            *slot.ok_or(JsonError::TooManyMembers)? = name;
            self.nested_len += 1;
            let (_, end) = self.value(value_at, depth)?;
            let (more, next) = self.comma_or(b'}', end)?;
            if !more {
                self.nested_len = first;
                return Ok(next);
            }
            at = next;
        }
    }

    fn array(&mut self, mut at: usize, depth: usize) -> Result<usize, JsonError> {
        if let (b']', end) = self.token(at) {
            return Ok(end);
        }
        loop {
            let (_, end) = self.value(at, depth)?;
            let (more, next) = self.comma_or(b']', end)?;
            if !more {
                return Ok(next);
            }
            at = next;
        }
    }

    /// A member's name, behind its quote, and its colon.
    #[inline(always)]
    fn name(&mut self, start: usize) -> Found<Name> {
        let (end, escaped) = self.strings.end_of(self.text, start)?;
        let value_at = self.expect(b':', end + 1)?;
        let span = Span::new(start, end);
        let tag = match self.text.get(start..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) if !escaped => tag_of_first(*bytes, end - start),
            _ => tag_of_slowly(Unescaped::new(span.of(self.text))),
        };
        Ok((Name { span, escaped, tag }, value_at))
    }

    /// A value of any kind, `depth` levels down.
    #[inline(always)]
    fn value(&mut self, at: usize, depth: usize) -> Found<(Span, Kind)> {
        let (first, start) = self.token(at);
        if first != b'"' {
            return self.other_value(first, start - 1, depth);
        }
        let (end, escaped) = self.strings.end_of(self.text, start)?;
        let kind = match escaped {
            true => Kind::EscapedString,
            false => Kind::String,
        };
        Ok(((Span::new(start, end), kind), end + 1))
    }

    /// A value that is no string, whose first byte is at `start`.
    fn other_value(&mut self, first: u8, start: usize, depth: usize) -> Found<(Span, Kind)> {
        let (kind, end) = match first {
            b'{' | b'[' if depth >= MAX_DEPTH => return Err(JsonError::TooDeep { at: start }),
            b'{' => (Kind::Object, self.nested_object(start + 1, depth + 1)?),
            b'[' => (Kind::Array, self.array(start + 1, depth + 1)?),
            b'-' | b'0'..=b'9' => (Kind::Number, self.number(start)?),
            b't' => (Kind::True, self.literal(b"true", start)?),
            b'f' => (Kind::False, self.literal(b"false", start)?),
            b'n' => (Kind::Null, self.literal(b"null", start)?),
            _ => return Err(JsonError::Syntax { at: start }),
        };
        Ok(((Span::new(start, end), kind), end))
    }

    fn literal(&self, literal: &[u8], at: usize) -> Result<usize, JsonError> {
        let end = at + literal.len();
        match self.text.get(at..end) == Some(literal) {
            true => Ok(end),
            false => Err(JsonError::Syntax { at }),
        }
    }

    /// RFC 8259 §6: `-`, then `0` or digits without a leading zero, then a fraction, an exponent.
    fn number(&self, start: usize) -> Result<usize, JsonError> {
        let mut at = start + usize::from(self.byte(start) == b'-');
        at = match self.byte(at) {
            b'0' => at + 1,
            _ => self.digits(at)?,
        };
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at += 1;
            at = self.digits(at + usize::from(matches!(self.byte(at), b'+' | b'-')))?;
        }
        Ok(at)
    }

    /// One digit or more.
    #[inline]
    fn digits(&self, start: usize) -> Result<usize, JsonError> {
        let mut at = start;
        // Dates have ten digits: eight at once, and then one by one.
        if let Some(bytes) = self.text.get(at..).and_then(|rest| rest.first_chunk()) {
            at += 8 * usize::from(are_digits(*bytes));
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        match at == start {
            true => Err(JsonError::Syntax { at }),
            false => Ok(at),
        }
    }

    /// After a value: a comma, and something must follow, or the end of what it is in.
    #[inline(always)]
    fn comma_or(&self, end: u8, at: usize) -> Found<bool> {
        let (byte, next) = self.token(at);
        if byte == b',' {
            Ok((true, next))
        } else if byte == end {
            Ok((false, next))
        } else {
            Err(JsonError::Syntax { at: next - 1 })
        }
    }

    #[inline(always)]
    fn expect(&self, wanted: u8, at: usize) -> Result<usize, JsonError> {
        match self.token(at) {
            (byte, next) if byte == wanted => Ok(next),
            (_, next) => Err(JsonError::Syntax { at: next - 1 }),
        }
    }

    /// The next byte that is not white space, and the position behind it.
    #[inline(always)]
    fn token(&self, mut at: usize) -> (u8, usize) {
        loop {
            let byte = self.byte(at);
            at += 1;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return (byte, at);
            }
        }
    }

    /// The byte at a position, or [`END`], which no JSON has.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(END)
    }

    /// Whether nothing but white space stands from `at` on.
    fn is_behind(&self, at: usize) -> bool {
        let (_, next) = self.token(at);
        next > self.text.len()
    }

    #[inline(never)]
    fn refuse_repeated<'n>(
        &self,
        name: Name,
        mut earlier: impl Iterator<Item = &'n Name>,
    ) -> Result<(), JsonError> {
        let same = |other: &Name| {
            other.tag == name.tag
                && Unescaped::new(other.span.of(self.text))
                    .eq(Unescaped::new(name.span.of(self.text)))
        };
        match earlier.any(same) {
            true => Err(JsonError::DuplicateMember {
                at: usize::from(name.span.start),
            }),
            false => Ok(()),
        }
    }
}

/// What stands between a name and a value that is a string.
const QUOTE_COLON_QUOTE: u32 = u32::from_le_bytes(*b"\":\"\0");
/// What stands between a value that is a string and the next name.
const QUOTE_COMMA_QUOTE: u32 = u32::from_le_bytes(*b"\",\"\0");
/// What is read behind the end of a text.
const END: u8 = 0;

impl Name {
    /// One of 64 bits; equal names have the same.
    #[inline]
    fn bit(self) -> u64 {
        1 << (self.tag.wrapping_mul(0x9e37_79b1) >> 26)
    }
}

/// Whether all of these are decimal digits.
#[inline]
pub(crate) const fn are_digits(bytes: [u8; 8]) -> bool {
    let values = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    let above_nine = values.wrapping_add(0x7676_7676_7676_7676) | values;
    above_nine & 0x8080_8080_8080_8080 == 0
}

/// A short value that equal names share: the length and the first three bytes. Of names of up to
/// three bytes it is the whole name.
pub(crate) const fn tag_of(name: &[u8]) -> u32 {
    let first = match name {
        [] => [0, 0, 0, 0],
        [a] => [*a, 0, 0, 0],
        [a, b] => [*a, *b, 0, 0],
        [a, b, c, ..] => [*a, *b, *c, 0],
    };
    tag_of_first(first, name.len())
}

/// [`tag_of`] a name of `length` bytes that begins with `bytes`, of which those behind it do not
/// count.
#[inline(always)]
const fn tag_of_first(bytes: [u8; 4], length: usize) -> u32 {
    // A long name must not pass for a short one.
    let length = if length < 255 { length as u32 } else { 255 };
    let kept = if length < 3 { 8 * length } else { 24 };
    u32::from_le_bytes(bytes) & ((1 << kept) - 1) | length << 24
}

/// [`tag_of`] a name whose escapes are being undone.
#[cold]
#[inline(never)]
fn tag_of_slowly(name: Unescaped<'_>) -> u32 {
    let (mut first, mut length) = ([0; 4], 0);
    for byte in name {
        if let (0..3, Some(slot)) = (length, first.get_mut(length)) {
            *slot = byte;
        }
        length += 1;
    }
    tag_of_first(first, length)
}

#[cfg(test)]
mod tests;
