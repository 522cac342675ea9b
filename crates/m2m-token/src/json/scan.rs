//! The scanner: one pass over a text whose quotes have been found.

use super::strings::StringEnds;
use super::{
    JsonError, Kind, MAX_DEPTH, MAX_MEMBERS, Member, Name, Span, Unescaped, tag_of, tag_of_slowly,
};

/// Goes through a text once. Positions are passed along rather than kept, so that the processor keeps
/// them where it works.
pub(super) struct Scanner<'t, 'm, const BLOCKS: usize> {
    pub(super) text: &'t [u8],
    pub(super) strings: &'m StringEnds<BLOCKS>,
    nested: &'m mut [Name],
    nested_len: usize,
}

/// The members of the outer object that were found so far.
pub(super) struct FoundMembers<'m> {
    pub(super) list: &'m mut [Member],
    pub(super) len: usize,
    /// The [`Name::bit`]s of their names. Most names have one of their own, so that nothing needs to
    /// be compared.
    pub(super) seen: u64,
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

impl<'t, 'm, const BLOCKS: usize> Scanner<'t, 'm, BLOCKS> {
    /// For `text`, at which `strings` looked before.
    #[inline]
    pub(super) fn new(
        text: &'t [u8],
        strings: &'m StringEnds<BLOCKS>,
        nested: &'m mut [Name],
    ) -> Self {
        Self {
            text,
            strings,
            nested,
            nested_len: 0,
        }
    }

    /// Puts the members of the object that the text is into `list`, and gives their number.
    pub(super) fn outer_object(&mut self, list: &mut [Member]) -> Result<usize, JsonError> {
        let mut found = FoundMembers {
            list,
            len: 0,
            seen: 0,
        };
        let mut start = match self.text {
            [b'{', b'"', ..] => 2,
            _ => match self.first_name()? {
                Some(start) => start,
                None => return Ok(0),
            },
        };
        loop {
            let Some(unusual) = self.usual_members(start, &mut found) else {
                return Ok(found.len);
            };
            let (member, next) = self.any_member(unusual)?;
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

    /// Where the first member's name begins, if there is one.
    #[inline(never)]
    fn first_name(&self) -> Result<Option<usize>, JsonError> {
        let (first, at) = self.token(0);
        if first != b'{' {
            return Err(JsonError::NotAnObject);
        }
        if let (b'}', end) = self.token(at) {
            return self.nothing_from(end).map(|()| None);
        }
        self.expect(b'"', at).map(Some)
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

/// What is read behind the end of a text.
const END: u8 = 0;
