//! The scanner's fast path: members that look as most do.

use super::scan::{FoundMembers, Scanner};
use super::strings::Marks;
use super::{Kind, Member, Name, Span, are_digits};

impl Scanner<'_, '_> {
    /// Takes members as long as they are what most are, from the one whose name begins at `start`:
    /// strings, arrays of strings and dates, without escapes and white space, not the last and surely not repeated.
    /// Gives the position of the first other one. A loop of its own, so that the processor keeps all
    /// of it where it works.
    #[inline(never)]
    pub(super) fn usual_members(&self, start: usize, found: &mut FoundMembers<'_>) -> usize {
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
