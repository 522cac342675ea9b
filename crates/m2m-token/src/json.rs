//! A strict scanner for the two JSON objects in a token: it finds the members of the outer object and
//! refuses what RFC 8259 forbids or leaves open: duplicate members at any depth, lone surrogates,
//! deep nesting. It neither allocates nor copies.

mod error;
mod strings;

pub use error::JsonError;
use strings::scan_string;
pub(crate) use strings::{Unescaped, unescape_into};

/// The deepest nesting of arrays and objects, the outer object included. Tokens in use have 2 or 3;
/// recursion to this depth needs little stack.
pub(crate) const MAX_DEPTH: usize = 16;
/// The most members of one object. Bounds the search for duplicates, which compares pairs.
pub(crate) const MAX_MEMBERS: usize = 64;
/// The most member names of nested objects that are open at the same time.
const MAX_NESTED_NAMES: usize = 128;
/// The longest text that can be scanned: positions are kept in 16 bits.
pub(crate) const MAX_TEXT: usize = u16::MAX as usize;

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
    pub(crate) fn json<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let quotes = match self.kind {
            Kind::String | Kind::EscapedString => 1,
            _ => 0,
        };
        let start = usize::from(self.value.start).saturating_sub(quotes);
        bytes
            .get(start..usize::from(self.value.end) + quotes)
            .unwrap_or_default()
    }

    /// The name as it is written, if no part of it is written as an escape.
    #[inline]
    pub(crate) fn plain_name<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        (!self.name.escaped).then(|| self.name.span.of(bytes))
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
}

impl Members {
    pub(crate) const fn new() -> Self {
        Self {
            list: [Member::EMPTY; MAX_MEMBERS],
            len: 0,
            nested: [Member::EMPTY.name; MAX_NESTED_NAMES],
        }
    }

    pub(crate) fn as_slice(&self) -> &[Member] {
        self.list.get(..self.len).unwrap_or_default()
    }

    /// Scans `text`, which must be one JSON object and nothing else.
    pub(crate) fn scan(&mut self, text: &[u8]) -> Result<(), JsonError> {
        self.len = 0;
        if text.len() > MAX_TEXT {
            return Err(JsonError::TooLong);
        }
        let text = std::str::from_utf8(text)
            .map_err(|error| JsonError::Utf8 {
                at: error.valid_up_to(),
            })?
            .as_bytes();
        let mut scanner = Scanner {
            text,
            at: 0,
            nested: &mut self.nested,
            nested_len: 0,
        };
        self.len = scanner.outer_object(&mut self.list)?;
        Ok(())
    }
}

struct Scanner<'t, 'm> {
    text: &'t [u8],
    at: usize,
    nested: &'m mut [Name; MAX_NESTED_NAMES],
    nested_len: usize,
}

impl Scanner<'_, '_> {
    fn outer_object(&mut self, list: &mut [Member; MAX_MEMBERS]) -> Result<usize, JsonError> {
        if self.next_token() != Some(b'{') {
            return Err(JsonError::NotAnObject);
        }
        let mut len = 0;
        let mut seen = 0_u64;
        if !self.skip_if(b'}') {
            loop {
                let name = self.name()?;
                // Most names fall on a bit of their own, so that nothing needs to be compared.
                if seen & name.bit() != 0 {
                    let earlier = list.get(..len).unwrap_or_default();
                    self.refuse_repeated(name, earlier.iter().map(|member| &member.name))?;
                }
                seen |= name.bit();
                let (value, kind) = self.value(1)?;
                let slot = list.get_mut(len).ok_or(JsonError::TooManyMembers)?;
                *slot = Member { name, value, kind };
                len += 1;
                if self.object_ends()? {
                    break;
                }
            }
        }
        match self.next_token() {
            None => Ok(len),
            Some(_) => Err(JsonError::Trailing { at: self.at - 1 }),
        }
    }

    /// An object inside of the outer one, of which only the form matters, after its `{`.
    fn nested_object(&mut self, depth: usize) -> Result<(), JsonError> {
        let first = self.nested_len;
        let mut seen = 0_u64;
        if self.skip_if(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
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
            self.value(depth)?;
            if self.object_ends()? {
                self.nested_len = first;
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        if self.skip_if(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            match self.next_token() {
                Some(b',') => {}
                Some(b']') => return Ok(()),
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<Name, JsonError> {
        if self.next_token() != Some(b'"') {
            return Err(self.unexpected());
        }
        let start = self.at;
        let (end, escaped) = scan_string(self.text, start)?;
        self.at = end + 1;
        let span = Span::new(start, end);
        if self.next_token() != Some(b':') {
            return Err(self.unexpected());
        }
        let tag = if escaped {
            tag_of(Unescaped::new(span.of(self.text)))
        } else {
            tag_of_plain(span.of(self.text))
        };
        Ok(Name { span, escaped, tag })
    }

    /// A value of any kind, `depth` levels down.
    #[inline]
    fn value(&mut self, depth: usize) -> Result<(Span, Kind), JsonError> {
        let Some(first) = self.next_token() else {
            return Err(self.unexpected());
        };
        let start = self.at - 1;
        let kind = match first {
            b'"' => {
                let (end, escaped) = scan_string(self.text, self.at)?;
                let span = Span::new(self.at, end);
                self.at = end + 1;
                let kind = if escaped {
                    Kind::EscapedString
                } else {
                    Kind::String
                };
                return Ok((span, kind));
            }
            b'{' | b'[' => {
                if depth >= MAX_DEPTH {
                    return Err(JsonError::TooDeep { at: start });
                }
                if first == b'{' {
                    self.nested_object(depth + 1)?;
                    Kind::Object
                } else {
                    self.array(depth + 1)?;
                    Kind::Array
                }
            }
            b'-' | b'0'..=b'9' => {
                self.number(first)?;
                Kind::Number
            }
            b't' => self.literal(b"rue", Kind::True)?,
            b'f' => self.literal(b"alse", Kind::False)?,
            b'n' => self.literal(b"ull", Kind::Null)?,
            _ => return Err(self.unexpected()),
        };
        Ok((Span::new(start, self.at), kind))
    }

    fn literal(&mut self, rest: &[u8], kind: Kind) -> Result<Kind, JsonError> {
        let end = self.at + rest.len();
        if self.text.get(self.at..end) != Some(rest) {
            return Err(JsonError::Syntax { at: self.at });
        }
        self.at = end;
        Ok(kind)
    }

    /// RFC 8259 §6: `-`, then `0` or digits without a leading zero, then a fraction, an exponent.
    fn number(&mut self, first: u8) -> Result<(), JsonError> {
        let lead = if first == b'-' {
            self.take()
        } else {
            Some(first)
        };
        match lead {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(JsonError::Syntax { at: self.at }),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.skip_digits();
        if self.at == start {
            return Err(JsonError::Syntax { at: self.at });
        }
        Ok(())
    }

    fn skip_digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// After a member: `,` (and another one must follow) or `}`.
    #[inline]
    fn object_ends(&mut self) -> Result<bool, JsonError> {
        match self.next_token() {
            Some(b',') => Ok(false),
            Some(b'}') => Ok(true),
            _ => Err(self.unexpected()),
        }
    }

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

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is not white space.
    #[inline]
    fn next_token(&mut self) -> Option<u8> {
        loop {
            let byte = self.take()?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
        }
    }

    fn skip_if(&mut self, wanted: u8) -> bool {
        let before = self.at;
        if self.next_token() == Some(wanted) {
            return true;
        }
        self.at = before;
        false
    }

    /// The byte just taken is not what JSON has there; or the text ended.
    #[cold]
    fn unexpected(&self) -> JsonError {
        JsonError::Syntax {
            at: self.at.saturating_sub(1),
        }
    }
}

impl Name {
    /// One of 64 bits; equal names have the same.
    #[inline]
    fn bit(self) -> u64 {
        1 << (self.tag.wrapping_mul(0x9e37_79b1) >> 26)
    }
}

/// A short check value of a name: its length and the first and last bytes of it.
#[inline]
fn tag_of_plain(name: &[u8]) -> u32 {
    let byte = |at: Option<&u8>| at.copied().map_or(0, u32::from);
    byte(name.first())
        | byte(name.get(1)) << 8
        | byte(name.last()) << 16
        | (name.len() as u32 & 0xff) << 24
}

/// [`tag_of_plain`] of a name whose escapes are being undone.
fn tag_of(name: Unescaped<'_>) -> u32 {
    let (mut tag, mut length, mut last) = (0_u32, 0_u32, 0_u32);
    for byte in name {
        last = u32::from(byte);
        if length < 2 {
            tag |= last << (8 * length);
        }
        length += 1;
    }
    tag | last << 16 | (length & 0xff) << 24
}

#[cfg(test)]
mod tests;
