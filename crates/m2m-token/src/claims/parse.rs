//! Finds the registered claims in a payload and refuses those of the wrong type, required or not:
//! what is malformed must never pass for absent.

use m2m_types::Timestamp;

use super::{Confirmation, is_string};
use crate::error::{ClaimName, Part, VerifyError};
use crate::json::{Kind, Member, Members, Span, unescape_into};

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

/// What was found in a payload. Positions count from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    texts: [Span; TEXTS],
    present: u8,
    pub(crate) payload_len: u16,
    /// How much is used of the buffer that begins with the payload: escapes undone stand behind it.
    pub(crate) used_len: u16,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) issued: Option<Timestamp>,
    /// Which member `aud` is, and how many values it has.
    pub(crate) audience: Option<usize>,
    pub(crate) audiences: usize,
    pub(crate) confirmation: Option<Confirmation>,
}

impl Facts {
    pub(crate) const EMPTY: Self = Self {
        texts: [Span { start: 0, end: 0 }; TEXTS],
        present: 0,
        payload_len: 0,
        used_len: 0,
        expires: None,
        not_before: None,
        issued: None,
        audience: None,
        audiences: 0,
        confirmation: None,
    };

    #[inline]
    pub(crate) fn text(&self, text: Text) -> Option<Span> {
        if self.present & 1 << text as u8 == 0 {
            return None;
        }
        self.texts.get(text as usize).copied()
    }

    fn set_text(&mut self, text: Text, span: Span) {
        if let Some(slot) = self.texts.get_mut(text as usize) {
            *slot = span;
            self.present |= 1 << text as u8;
        }
    }
}

/// Scans the payload that stands in the first `len` bytes of `buffer`, whose rest is room for texts
/// with their escapes undone.
pub(crate) fn parse(
    buffer: &mut [u8],
    len: usize,
    members: &mut Members,
    facts: &mut Facts,
) -> Result<(), VerifyError> {
    let (payload, room) = buffer.split_at_mut(len);
    let payload = &*payload;
    members.scan(payload).map_err(|problem| VerifyError::Json {
        part: Part::Claims,
        problem,
    })?;
    *facts = Facts::EMPTY;
    let mut parser = Parser {
        payload,
        room,
        used: 0,
        facts,
    };
    for (at, member) in members.as_slice().iter().enumerate() {
        match member.plain_name(payload) {
            Some(name) => parser.claim(name, at, member)?,
            None => {
                // A name that is written with escapes is still that name. No registered one is long.
                let mut name = [0; 16];
                let mut bytes = member.name(payload);
                let filled = name.iter_mut().map_while(|slot| {
                    *slot = bytes.next()?;
                    Some(())
                });
                let length = filled.count();
                if bytes.next().is_none() {
                    parser.claim(name.get(..length).unwrap_or_default(), at, member)?;
                }
            }
        }
    }
    // `MAX_TOKEN_BYTES` keeps both well below 65,536.
    let used = len + parser.used;
    facts.payload_len = len as u16;
    facts.used_len = used as u16;
    Ok(())
}

struct Parser<'p> {
    payload: &'p [u8],
    room: &'p mut [u8],
    used: usize,
    facts: &'p mut Facts,
}

impl Parser<'_> {
    #[inline]
    fn claim(&mut self, name: &[u8], at: usize, member: &Member) -> Result<(), VerifyError> {
        match name {
            b"iss" => self.string("iss", Text::Issuer, member),
            b"sub" => self.string("sub", Text::Subject, member),
            b"jti" => self.string("jti", Text::TokenId, member),
            b"sid" => self.string("sid", Text::SessionId, member),
            b"client_id" => self.string("client_id", Text::ClientId, member),
            b"scope" => self.string("scope", Text::Scope, member),
            b"exp" => {
                self.facts.expires = Some(date("exp", self.payload, member)?);
                Ok(())
            }
            b"nbf" => {
                self.facts.not_before = Some(date("nbf", self.payload, member)?);
                Ok(())
            }
            b"iat" => {
                self.facts.issued = Some(date("iat", self.payload, member)?);
                Ok(())
            }
            b"aud" => {
                self.facts.audiences = audience(self.payload, member)?;
                self.facts.audience = Some(at);
                Ok(())
            }
            b"cnf" => {
                self.facts.confirmation = Some(Confirmation::parse(self.payload, member)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn string(
        &mut self,
        name: &'static str,
        text: Text,
        member: &Member,
    ) -> Result<(), VerifyError> {
        let span = match member.kind() {
            Kind::String => member.value(),
            Kind::EscapedString => self.unescape(name, member.value())?,
            _ => return Err(wrong_type(name, "a string")),
        };
        let length = span.end - span.start;
        let problem = match (text, length) {
            (Text::Scope, _) | (_, 1..=MAX_NAME_BYTES) => {
                self.facts.set_text(text, span);
                return Ok(());
            }
            (_, 0) => "is empty",
            _ => "is longer than 2048 bytes",
        };
        Err(VerifyError::ClaimValue {
            name: ClaimName::new(name),
            problem,
        })
    }

    fn unescape(&mut self, name: &'static str, written: Span) -> Result<Span, VerifyError> {
        let refused = |problem| VerifyError::ClaimValue {
            name: ClaimName::new(name),
            problem,
        };
        let room = self.room.get_mut(self.used..).unwrap_or_default();
        let length = unescape_into(written.of(self.payload), room)
            .ok_or(refused("does not fit once its escapes are undone"))?;
        let text = room.get(..length).unwrap_or_default();
        // Names end up in logs, in headers and in other people's parsers.
        if text.iter().any(u8::is_ascii_control) {
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

fn wrong_type(name: &'static str, expected: &'static str) -> VerifyError {
    VerifyError::ClaimType {
        name: ClaimName::new(name),
        expected,
    }
}

/// A `NumericDate` (RFC 7519 §2): here, whole seconds from 1970 to 9999, written in digits alone.
/// Fractions and exponents are allowed there but written by nobody careful, and refused.
fn date(name: &'static str, payload: &[u8], member: &Member) -> Result<Timestamp, VerifyError> {
    const EXPECTED: &str = "a whole number of seconds from 1970 to 9999";
    if member.kind() != Kind::Number {
        return Err(wrong_type(name, EXPECTED));
    }
    let digits = member.value().of(payload);
    // No time before the year 10,000 has more digits, so this cannot overflow.
    if digits.len() > 12 {
        return Err(wrong_type(name, EXPECTED));
    }
    let mut seconds = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(wrong_type(name, EXPECTED));
        }
        seconds = seconds * 10 + u64::from(digit);
    }
    Timestamp::from_unix_seconds(seconds).map_err(|_| wrong_type(name, EXPECTED))
}

/// How many values `aud` has: it is a string, or an array of strings (RFC 7519 §4.1.3).
fn audience(payload: &[u8], member: &Member) -> Result<usize, VerifyError> {
    const EXPECTED: &str = "a string or a short array of strings, none of them empty";
    let wrong = wrong_type("aud", EXPECTED);
    if is_string(member) {
        return match member.value() {
            span if span.start == span.end => Err(wrong),
            _ => Ok(1),
        };
    }
    if member.kind() != Kind::Array {
        return Err(wrong);
    }
    // The array was scanned before: what stands in it is sound JSON.
    let mut rest = trim(member.value().of(payload));
    rest = rest.get(1..).unwrap_or_default();
    let mut count = 0;
    loop {
        rest = trim(rest);
        let Some((b'"', text)) = rest.split_first() else {
            return Err(wrong);
        };
        let mut end = 0;
        loop {
            match text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(wrong),
            }
        }
        count += 1;
        if end == 0 || count > MAX_AUDIENCES {
            return Err(wrong);
        }
        rest = trim(text.get(end + 1..).unwrap_or_default());
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            Some((b']', _)) => return Ok(count),
            _ => return Err(wrong),
        }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}
