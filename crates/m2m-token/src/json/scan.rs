//! The scanner: one pass over a text whose quotes have been found.

use super::strings::{Marks, StringEnds};
use super::{
    JsonError, Kind, MAX_DEPTH, MAX_MEMBERS, MAX_NESTED_NAMES, Member, Name, Span, Unescaped,
    are_digits, tag_of, tag_of_slowly,
};

/// Goes through a text once. Positions are passed along rather than kept, so that the processor keeps
/// them where it works.
pub(super) struct Scanner<'t, 'm> {
    text: &'t [u8],
    strings: &'m StringEnds,
    nested: &'m mut [Name; MAX_NESTED_NAMES],
    nested_len: usize,
}

/// The members of the outer object that were found so far.
struct FoundMembers<'m> {
    list: &'m mut [Member; MAX_MEMBERS],
    len: usize,
    /// The [`Name::bit`]s of their names. Most names have one of their own, so that nothing needs to
    /// be compared.
    seen: u64,
}

impl FoundMembers<'_> {
    /// `None` if there are too many.
    fn push(&mut self, member: Member) -> Option<()> {
        *self.list.get_mut(self.len)? = member;
        self.len += 1;
        self.seen |= member.name.bit();
        Some(())
    }
}

/// Something found, and the position behind it.
type Found<T> = Result<(T, usize), JsonError>;

impl<'t, 'm> Scanner<'t, 'm> {
    /// For `text`, at which `strings` looked before.
    #[inline]
    pub(super) fn new(
        text: &'t [u8],
        strings: &'m StringEnds,
        nested: &'m mut [Name; MAX_NESTED_NAMES],
    ) -> Self {
        Self {
            text,
            strings,
            nested,
            nested_len: 0,
        }
    }

    /// Puts the members of the object that the text is into `list`, and gives their number.
    pub(super) fn outer_object(
        &mut self,
        list: &mut [Member; MAX_MEMBERS],
    ) -> Result<usize, JsonError> {
        let (first, at) = self.token(0);
        if first != b'{' {
            return Err(JsonError::NotAnObject);
        }
        if let (b'}', end) = self.token(at) {
            return self.nothing_from(end).map(|()| 0);
        }
        let mut found = FoundMembers {
            list,
            len: 0,
            seen: 0,
        };
        let mut start = self.expect(b'"', at)?;
        loop {
            start = self.usual_members(start, &mut found);
            let (member, next) = self.any_member(start)?;
            if found.seen & member.name.bit() != 0 {
                let earlier = found.list.get(..found.len).unwrap_or_default();
                self.refuse_repeated(member.name, earlier.iter().map(|member| &member.name))?;
            }
            found.push(member).ok_or(JsonError::TooManyMembers)?;
            match next {
                Some(next) => start = next,
                None => return Ok(found.len),
            }
        }
    }

    /// Takes members as long as they are what most are, from the one whose name begins at `start`:
    /// strings, arrays of strings and dates, without escapes and white space, not the last and surely not repeated.
    /// Gives the position of the first other one. A loop of its own, so that the processor keeps all
    /// of it where it works.
    #[inline(never)]
    fn usual_members(&self, start: usize, found: &mut FoundMembers<'_>) -> usize {
        let mut marks = self.strings.marks_from(start);
        let FoundMembers { list, len, seen } = found;
        let (mut start, mut count, mut bits) = (start as u32, *len, *seen);
        while let Some(slot) = list.get_mut(count) {
            let Some((member, next)) = self.usual_member(start, &mut marks) else {
                break;
            };
            let bit = member.name.bit();
            if bits & bit != 0 {
                break;
            }
            *slot = member;
            count += 1;
            bits |= bit;
            start = next;
        }
        (*len, *seen) = (count, bits);
        start as usize
    }

    /// The member whose name begins at `start`, if it is a usual one. `marks` stands behind the
    /// opening quote of the name, and is taken behind that of the next, whose position is given with
    /// the member. Positions are of 32 bits, so that adding to one cannot leave a `usize`.
    #[inline(always)]
    fn usual_member(&self, start: u32, marks: &mut Marks<'_>) -> Option<(Member, u32)> {
        let name_end = marks.next();
        let between = self.four(name_end)?;
        let (value, kind, next) = if between & THREE_BYTES == QUOTE_COLON_QUOTE {
            marks.next(); // the quote that opens the value
            let end = marks.next();
            if self.four(end)? & THREE_BYTES != QUOTE_COMMA_QUOTE {
                return None;
            }
            ((name_end + 3, end), Kind::String, end + 3)
        } else if between == QUOTE_COLON_BRACKET_QUOTE {
            marks.next(); // the quote that opens the first string
            let end = self.end_of_usual_strings(marks)?;
            ((name_end + 2, end), Kind::Array, end + 2)
        } else {
            if between & TWO_BYTES != QUOTE_COLON || !self.is_usual_date(name_end + 2) {
                return None;
            }
            let (start, end) = (name_end + 2, name_end + 12);
            ((start, end), Kind::Digits, end + 2)
        };
        marks.next(); // the quote that opens the next name
        let length = name_end.wrapping_sub(start);
        if !(1..255).contains(&length) {
            return None;
        }
        let name = Name {
            // A quote and a colon follow, so that this is what `tag_of` says, even if the name has
            // fewer than three bytes.
            tag: self.four(start)? & THREE_BYTES | length << 24,
            span: Span::new(start as usize, name_end as usize),
        };
        let value = Span::new(value.0 as usize, value.1 as usize);
        Some((Member { name, value, kind }, next))
    }

    /// The end of an array of strings without escapes and white space, behind which comes another
    /// member. `marks` stands behind the quote that opens the first string.
    #[inline(always)]
    fn end_of_usual_strings(&self, marks: &mut Marks<'_>) -> Option<u32> {
        loop {
            let end = marks.next();
            match self.four(end)? {
                QUOTE_BRACKET_COMMA_QUOTE => return Some(end + 2),
                behind if behind & THREE_BYTES == QUOTE_COMMA_QUOTE => {
                    marks.next(); // the quote that opens the next string
                }
                _ => return None,
            }
        }
    }

    /// Whether ten digits and the quote of the next name follow: a date until the year 2286.
    #[inline(always)]
    fn is_usual_date(&self, at: u32) -> bool {
        let at = at as usize;
        let Some([first, .., b',', b'"']) = self.text.get(at..at + 12) else {
            return false;
        };
        let digits = |at: usize| {
            let eight = self.text.get(at..at + 8)?.first_chunk()?;
            Some(are_digits(*eight))
        };
        *first != b'0' && digits(at) == Some(true) && digits(at + 2) == Some(true)
    }

    /// The bytes from `at` on; `None` at the end of the text.
    #[inline(always)]
    fn four(&self, at: u32) -> Option<u32> {
        let at = at as usize;
        let bytes = self.text.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// A member of any kind, and where the name of the next begins. There is no next one behind the last.
    #[inline(never)]
    fn any_member(&mut self, start: usize) -> Result<(Member, Option<usize>), JsonError> {
        let (name, value_at) = self.name(start)?;
        let ((value, kind), end) = self.value(value_at, 1)?;
        let next = match self.comma_or(b'}', end)? {
            (true, next) => Some(self.expect(b'"', next)?),
            (false, next) => {
                self.nothing_from(next)?;
                None
            }
        };
        Ok((Member { name, value, kind }, next))
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
        let tag = match escaped {
            false => tag_of(span.of(self.text)),
            true => tag_of_slowly(Unescaped::new(span.of(self.text))),
        };
        Ok((Name { tag, span }, value_at))
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
            b'-' | b'0'..=b'9' => self.number(start)?,
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
    fn number(&self, start: usize) -> Found<Kind> {
        let minus = usize::from(self.byte(start) == b'-');
        let whole = match self.byte(start + minus) {
            b'0' => start + minus + 1,
            _ => self.digits(start + minus)?,
        };
        let mut at = whole;
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at += 1;
            at = self.digits(at + usize::from(matches!(self.byte(at), b'+' | b'-')))?;
        }
        match minus == 0 && at == whole {
            true => Ok((Kind::Digits, at)),
            false => Ok((Kind::Number, at)),
        }
    }

    /// One digit or more.
    fn digits(&self, start: usize) -> Result<usize, JsonError> {
        let mut at = start;
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

    /// Refuses what is not white space from `at` on.
    fn nothing_from(&self, at: usize) -> Result<(), JsonError> {
        match self.token(at) {
            (END, next) if next > self.text.len() => Ok(()),
            (_, next) => Err(JsonError::Trailing { at: next - 1 }),
        }
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

const TWO_BYTES: u32 = 0xffff;
const THREE_BYTES: u32 = 0x00ff_ffff;
/// What stands between a name and its value.
const QUOTE_COLON: u32 = u32::from_le_bytes(*b"\":\0\0");
/// What stands between a name and a value that is a string.
const QUOTE_COLON_QUOTE: u32 = u32::from_le_bytes(*b"\":\"\0");
/// What stands between a string and the next name, or the next string.
const QUOTE_COMMA_QUOTE: u32 = u32::from_le_bytes(*b"\",\"\0");
/// What stands between a name and an array of strings.
const QUOTE_COLON_BRACKET_QUOTE: u32 = u32::from_le_bytes(*b"\":[\"");
/// What stands between an array of strings and the next name.
const QUOTE_BRACKET_COMMA_QUOTE: u32 = u32::from_le_bytes(*b"\"],\"");
/// What is read behind the end of a text.
const END: u8 = 0;
