//! Finds the registered claims in a payload and refuses those of the wrong type, required or not:
//! what is malformed must never pass for absent.

use m2m_types::Timestamp;

use super::{Bound, is_string};
use crate::error::{ClaimName, Part, VerifyError};
use crate::json::{self, Kind, Member, Members, Span, tag_of, unescape_into};

/// The longest name (`iss`, `sub`, `jti`, …) that is taken, in bytes: as long as a SPIFFE ID may be.
pub(crate) const MAX_NAME_BYTES: u16 = 2048;
/// The most values `aud` may have.
const MAX_AUDIENCES: usize = 16;

/// The claims that are single strings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Issuer,
    Subject,
    TokenId,
    SessionId,
    ClientId,
    Scope,
}

const TEXTS: usize = 6;

impl Text {
    fn name(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Subject => "sub",
            Self::TokenId => "jti",
            Self::SessionId => "sid",
            Self::ClientId => "client_id",
            Self::Scope => "scope",
        }
    }
}

/// What was found in a payload. Positions count from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// A text that is absent ends at 0; none that is present does.
    texts: [Span; TEXTS],
    pub(crate) expires: Option<Timestamp>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
    /// Which member `aud` is, and how many values it has.
    pub(crate) audience: Option<usize>,
    pub(crate) audiences: usize,
    pub(crate) confirmation: Option<Bound>,
}

impl Facts {
    pub(crate) const EMPTY: Self = Self {
        texts: [Span { start: 0, end: 0 }; TEXTS],
        expires: None,
        not_before: None,
        issued: None,
        audience: None,
        audiences: 0,
        confirmation: None,
    };

    #[inline]
    pub(crate) fn has(&self, text: Text) -> bool {
        self.text(text).is_some()
    }

    #[inline]
    pub(crate) fn text(&self, text: Text) -> Option<Span> {
        let span = self.texts.get(text as usize).copied();
        span.filter(|span| span.end != 0)
    }

    /// Makes it [`Facts::EMPTY`] again, as far as anybody can see. Field by field: copying all of them
    /// would cost more.
    #[inline]
    fn clear(&mut self) {
        let Self {
            texts,
            expires,
            not_before,
            issued,
            audience,
            audiences,
            confirmation,
        } = self;
        *texts = [Span::default(); TEXTS];
        (*expires, *not_before, *issued) = (None, None, None);
        (*audience, *audiences) = (None, 0);
        *confirmation = None;
    }

    #[inline(always)]
    fn set_text(&mut self, text: Text, span: Span) {
        if let Some(slot) = self.texts.get_mut(text as usize) {
            *slot = span;
        }
    }
}

/// Scans `payload`; `room`, which is as long at least, is for texts with their escapes undone. Gives
/// the payload and those texts.
pub(crate) fn parse<'b>(
    payload: &'b [u8],
    room: &'b mut [u8],
    members: &mut Members,
    facts: &mut Facts,
) -> Result<(&'b str, &'b str), VerifyError> {
    let refused = |problem| VerifyError::Json {
        part: Part::Claims,
        problem,
    };
    let payload = json::text(payload).map_err(refused)?;
    members.scan(payload).map_err(refused)?;
    facts.clear();
    let mut parser = Parser {
        payload,
        room,
        used: 0,
        facts,
    };
    for (at, member) in members.as_slice().iter().enumerate() {
        parser.claim(at, member)?;
    }
    let Parser { room, used, .. } = parser;
    let unescaped = match used {
        0 => "",
        _ => json::text(room.get(..used).unwrap_or_default()).map_err(refused)?,
    };
    Ok((payload, unescaped))
}

struct Parser<'b, 'p> {
    payload: &'b str,
    room: &'b mut [u8],
    used: usize,
    facts: &'p mut Facts,
}

impl Parser<'_, '_> {
    /// Takes a member for what its name says, however it is spelled: the tags of short names are the
    /// whole of them, the two longer ones are compared.
    #[inline]
    fn claim(&mut self, at: usize, member: &Member) -> Result<(), VerifyError> {
        const ISS: u32 = tag_of(b"iss");
        const SUB: u32 = tag_of(b"sub");
        const AUD: u32 = tag_of(b"aud");
        const EXP: u32 = tag_of(b"exp");
        const NBF: u32 = tag_of(b"nbf");
        const IAT: u32 = tag_of(b"iat");
        const JTI: u32 = tag_of(b"jti");
        const SID: u32 = tag_of(b"sid");
        const CNF: u32 = tag_of(b"cnf");
        const CLIENT_ID: u32 = tag_of(b"client_id");
        const SCOPE: u32 = tag_of(b"scope");
        match member.tag() {
            ISS => self.string(Text::Issuer, member)?,
            SUB => self.string(Text::Subject, member)?,
            JTI => self.string(Text::TokenId, member)?,
            SID => self.string(Text::SessionId, member)?,
            CLIENT_ID if member.is_named(self.payload.as_bytes(), b"client_id") => {
                self.string(Text::ClientId, member)?;
            }
            SCOPE if member.is_named(self.payload.as_bytes(), b"scope") => {
                self.string(Text::Scope, member)?;
            }
            EXP => date("exp", self.payload, member, &mut self.facts.expires)?,
            NBF => date("nbf", self.payload, member, &mut self.facts.not_before)?,
            IAT => date("iat", self.payload, member, &mut self.facts.issued)?,
            AUD => {
                self.facts.audiences = audience(self.payload, member)?;
                self.facts.audience = Some(at);
            }
            CNF => {
                self.facts.confirmation = Some(Bound::parse(self.payload, member)?);
            }
            _ => {}
        }
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self, text: Text, member: &Member) -> Result<(), VerifyError> {
        let span = match member.kind() {
            Kind::String => member.value(),
            _ => self.unusual_string(text.name(), member)?,
        };
        let length = span.end - span.start;
        if matches!(length, 1..=MAX_NAME_BYTES) || matches!(text, Text::Scope) {
            self.facts.set_text(text, span);
            return Ok(());
        }
        Err(wrong_length(text, length))
    }

    #[cold]
    #[inline(never)]
    fn unusual_string(&mut self, name: &'static str, member: &Member) -> Result<Span, VerifyError> {
        match member.kind() {
            Kind::String => Ok(member.value()),
            Kind::EscapedString => self.unescape(name, member.value()),
            _ => Err(wrong_type(name, "a string")),
        }
    }

    fn unescape(&mut self, name: &'static str, written: Span) -> Result<Span, VerifyError> {
        let refused = |problem| VerifyError::ClaimValue {
            name: ClaimName::new(name),
            problem,
        };
        let room = self.room.get_mut(self.used..).unwrap_or_default();
        let length = unescape_into(written.of(self.payload.as_bytes()), room)
            .ok_or(refused("does not fit once its escapes are undone"))?;
        let text = room.get(..length).unwrap_or_default();
        // Names end up in logs, in headers and in other people's parsers. What JSON cannot say without
        // escapes is refused; DEL it can, so that one is the same however it is written.
        if text.iter().any(|byte| *byte < 0x20) {
            return Err(refused("has control characters"));
        }
        let start = self.payload.len() + self.used;
        self.used += length;
        Ok(Span {
            start: start as u16,
            end: (start + length) as u16,
        })
    }
}

#[cold]
#[inline(never)]
fn wrong_type(name: &'static str, expected: &'static str) -> VerifyError {
    VerifyError::ClaimType {
        name: ClaimName::new(name),
        expected,
    }
}

#[cold]
#[inline(never)]
fn wrong_length(text: Text, length: u16) -> VerifyError {
    VerifyError::ClaimValue {
        name: ClaimName::new(text.name()),
        problem: match length {
            0 => "is empty",
            _ => "is longer than 2048 bytes",
        },
    }
}

/// A `NumericDate` (RFC 7519 §2): here, whole seconds from 1970 to 9999, written in digits alone.
/// Fractions and exponents are allowed there but written by nobody careful, and refused.
#[inline]
fn date(
    name: &'static str,
    payload: &str,
    member: &Member,
    into: &mut Option<Timestamp>,
) -> Result<(), VerifyError> {
    let written = match member.kind() {
        Kind::Digits => member.value().of(payload.as_bytes()),
        _ => &[],
    };
    let date = decimal(written).and_then(|seconds| Timestamp::from_unix_seconds(seconds).ok());
    if date.is_none() {
        return Err(wrong_type(
            name,
            "a whole number of seconds from 1970 to 9999",
        ));
    }
    *into = date;
    Ok(())
}

/// The number that one to twelve digits mean; no time before the year 10,000 has more.
#[inline]
fn decimal(digits: &[u8]) -> Option<u64> {
    let (high, low) = match digits.split_last_chunk() {
        // Dates have ten digits until the year 2286.
        Some(([a, b], low)) => (decimal_few(&[*a, *b]), decimal_8(*low)),
        Some((high, low)) if high.len() <= 4 => (decimal_few(high), decimal_8(*low)),
        Some(_) => return None,
        None if digits.is_empty() => return None,
        None => (0, decimal_few(digits)),
    };
    Some(high * 100_000_000 + low)
}

/// Eight digits at once: their values, then pairs of them, then fours, then all eight.
#[inline]
fn decimal_8(digits: [u8; 8]) -> u64 {
    let values = u64::from_le_bytes(digits) ^ 0x3030_3030_3030_3030;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    (fours & 0xffff) * 10_000 + (fours >> 32)
}

#[inline(always)]
fn decimal_few(digits: &[u8]) -> u64 {
    digits
        .iter()
        .fold(0, |number, byte| number * 10 + u64::from(byte ^ b'0'))
}

/// How many values `aud` has: it is a string, or an array of strings (RFC 7519 §4.1.3).
fn audience(payload: &str, member: &Member) -> Result<usize, VerifyError> {
    const EXPECTED: &str = "a string or a short array of strings, none of them empty";
    if is_string(member) && member.value().start < member.value().end {
        return Ok(1);
    }
    let wrong = || wrong_type("aud", EXPECTED);
    if member.kind() != Kind::Array {
        return Err(wrong());
    }
    // The array was scanned before: what stands in it is sound JSON.
    let mut rest = trim(member.value().of(payload.as_bytes()));
    rest = rest.get(1..).unwrap_or_default();
    let mut count = 0;
    loop {
        rest = trim(rest);
        let Some((b'"', text)) = rest.split_first() else {
            return Err(wrong());
        };
        let mut end = 0;
        loop {
            match text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(wrong()),
            }
        }
        count += 1;
        if end == 0 || count > MAX_AUDIENCES {
            return Err(wrong());
        }
        rest = trim(text.get(end + 1..).unwrap_or_default());
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            Some((b']', _)) => return Ok(count),
            _ => return Err(wrong()),
        }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_mean_what_the_standard_library_says() {
        let mut number = 1_u64;
        for i in 0..200_000_u64 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(i);
            let text = (number >> (24 + i % 40)).to_string();
            let expected = (text.len() <= 12).then(|| text.parse().unwrap());
            assert_eq!(decimal(text.as_bytes()), expected, "{text}");
        }
    }
}
