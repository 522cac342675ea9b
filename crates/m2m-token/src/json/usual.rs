//! The scanner's fast path: members that look as most do.

use super::scan::{FoundMembers, Scanner};
use super::strings::Walk;
use super::{Kind, Member, Name, Span, are_digits};

/// A value of a usual kind, and what stands behind it.
struct UsualValue {
    kind: Kind,
    start: u32,
    end: u32,
    next: Next,
}

/// The member behind another one.
struct Next {
    /// Where its name begins, or 0 if there is none and the text ends.
    start: u32,
    /// The quote before it and its first three bytes.
    first: u32,
}

impl<const BLOCKS: usize> Scanner<'_, '_, BLOCKS> {
    /// Takes members as long as they are what most are, from the one whose name begins at `start`:
    /// strings, arrays of strings and dates, without escapes and white space, and surely not repeated.
    /// Gives the position of the first other one; `None` if there is none and the text ends. A loop
    /// of its own, so that the processor keeps all of it where it works.
    #[inline(never)]
    pub(super) fn usual_members(
        &self,
        start: usize,
        found: &mut FoundMembers<'_>,
    ) -> Option<usize> {
        let FoundMembers { list, len, seen } = found;
        let mut walk = self.strings.walk_from(start as u32);
        let (mut count, mut bits) = (*len, *seen);
        let mut next = Next {
            start: start as u32,
            first: self
                .four((start as u32).wrapping_sub(1))
                .unwrap_or_default(),
        };
        for slot in list.get_mut(*len..).unwrap_or_default() {
            let start = next.start;
            let end = walk.next();
            let Some(value) = self.usual_value(end, &mut walk) else {
                break;
            };
            let length = end.wrapping_sub(start);
            if !(1..255).contains(&length) {
                break;
            }
            let name = Name {
                // With the length in place of the quote. A quote and a colon follow, so that this is
                // what `tag_of` says, even if the name has fewer than three bytes.
                tag: next
                    .first
                    .wrapping_add(length.wrapping_sub(u32::from(b'"'))),
                span: Span::new(start as usize, end as usize),
            };
            let bit = name.bit();
            if bits & bit != 0 {
                break;
            }
            *slot = Member {
                name,
                value: Span::new(value.start as usize, value.end as usize),
                kind: value.kind,
            };
            count += 1;
            bits |= bit;
            next = value.next;
            if next.start == 0 {
                break;
            }
        }
        (*len, *seen) = (count, bits);
        (next.start != 0).then_some(next.start as usize)
    }

    /// The value behind the name that ends at `name_end`, if it is a usual one. Positions are of 32
    /// bits, so that adding to one cannot leave a `usize`. `walk` is behind `name_end`, and is taken
    /// behind the quote before the next name: each quote that is found by what stands around it is the
    /// next special byte, because between it and the one before is none.
    #[inline(always)]
    fn usual_value(&self, name_end: u32, walk: &mut Walk<'_, BLOCKS>) -> Option<UsualValue> {
        let between = self.four(name_end)?;
        if between & THREE_BYTES == QUOTE_COLON_QUOTE {
            let start = name_end + 3;
            walk.next();
            let end = walk.next();
            let next = match self.eight(end) {
                Some(behind) if behind as u32 & THREE_BYTES == QUOTE_COMMA_QUOTE => {
                    walk.next();
                    Next {
                        start: end + 3,
                        first: (behind >> 16) as u32,
                    }
                }
                _ => self.last(end, b"\"}")?,
            };
            let kind = Kind::String;
            Some(UsualValue {
                kind,
                start,
                end,
                next,
            })
        } else if between == QUOTE_COLON_BRACKET_QUOTE {
            let (end, next) = loop {
                // Behind the quote that begins a string, to the one that ends it.
                walk.next();
                let end = walk.next();
                match self.eight(end) {
                    Some(behind) if behind as u32 == QUOTE_BRACKET_COMMA_QUOTE => {
                        walk.next();
                        let next = Next {
                            start: end + 4,
                            first: (behind >> 24) as u32,
                        };
                        break (end, next);
                    }
                    Some(behind) if behind as u32 & THREE_BYTES == QUOTE_COMMA_QUOTE => {}
                    _ => break (end, self.last(end, b"\"]}")?),
                }
            };
            Some(UsualValue {
                kind: Kind::Array,
                start: name_end + 2,
                end: end + 2,
                next,
            })
        } else if between & TWO_BYTES == QUOTE_COLON {
            self.usual_date(name_end + 2, walk)
        } else {
            None
        }
    }

    /// Ten digits that begin at `start`: a date until the year 2286.
    #[inline(always)]
    fn usual_date(&self, start: u32, walk: &mut Walk<'_, BLOCKS>) -> Option<UsualValue> {
        let end = start + 10;
        let (first, last) = (self.eight(start)?, self.eight(start + 2)?);
        if first as u8 == b'0' || !are_digits(first, last) {
            return None;
        }
        let next = match self.eight(end) {
            Some(behind) if behind as u32 & TWO_BYTES == COMMA_QUOTE => {
                walk.next();
                Next {
                    start: end + 2,
                    first: (behind >> 8) as u32,
                }
            }
            _ => self.last(end, b"}")?,
        };
        Some(UsualValue {
            kind: Kind::Digits,
            start,
            end,
            next,
        })
    }

    /// That no member follows, if from `at` on the text is `end` and nothing else.
    #[inline(always)]
    fn last(&self, at: u32, end: &[u8]) -> Option<Next> {
        let rest = self.text.get(at as usize..)?;
        (rest == end).then_some(Next { start: 0, first: 0 })
    }

    /// The bytes from `at` on; `None` at the end of the text.
    #[inline(always)]
    fn four(&self, at: u32) -> Option<u32> {
        let at = at as usize;
        let bytes = self.text.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Twice as many as [`Self::four`].
    #[inline(always)]
    fn eight(&self, at: u32) -> Option<u64> {
        let at = at as usize;
        let bytes = self.text.get(at..at + 8)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
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
/// What stands between a date and the next name.
const COMMA_QUOTE: u32 = u32::from_le_bytes(*b",\"\0\0");
/// What stands between a name and an array of strings.
const QUOTE_COLON_BRACKET_QUOTE: u32 = u32::from_le_bytes(*b"\":[\"");
/// What stands between an array of strings and the next name.
const QUOTE_BRACKET_COMMA_QUOTE: u32 = u32::from_le_bytes(*b"\"],\"");
