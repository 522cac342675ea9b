//! Writes a token's header and claims as JSON into memory that is there already.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_types::Timestamp;
use serde::Serialize;

use super::MintError;
use crate::MAX_TOKEN_BYTES;
use crate::claims::MAX_NAME_BYTES;
use crate::json::{Member, tag_of};
use crate::request::TokenRequest;

/// Claims that callers do not write themselves: they have a method for each, or the minter does it.
/// With the tags of their names, no two of which are alike.
const RESERVED: [(&str, u32); 11] = [
    tagged("iss"),
    tagged("sub"),
    tagged("aud"),
    tagged("exp"),
    tagged("nbf"),
    tagged("iat"),
    tagged("jti"),
    tagged("cnf"),
    tagged("client_id"),
    tagged("sid"),
    tagged("scope"),
];

const fn tagged(name: &'static str) -> (&'static str, u32) {
    (name, tag_of(name.as_bytes()))
}

/// Which of the reserved names `member` has, if it has one.
pub(super) fn reserved_name(member: &Member, text: &[u8]) -> Option<&'static str> {
    let (name, _) = RESERVED.iter().find(|(_, tag)| *tag == member.tag())?;
    member.is_named(text, name.as_bytes()).then_some(name)
}

/// What the minter adds to a request.
pub(super) struct Registered<'a> {
    /// See [`opening`].
    pub(super) opening: &'a [u8],
    pub(super) token_id: &'a str,
    pub(super) dates: Dates,
}

/// `iat` and `exp`.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
}

/// How much memory is kept ready: the claims of usual tokens are shorter as JSON, and so are the
/// signatures of all but the rarest.
const USUAL_BYTES: usize = 1536;

/// Memory to write in before it is encoded. What is usual needs none that is not there already.
pub(super) struct Room<const USUAL: usize = USUAL_BYTES> {
    usual: [u8; USUAL],
    more: Vec<u8>,
}

impl<const USUAL: usize> Room<USUAL> {
    pub(super) const fn new() -> Self {
        Self {
            usual: [0; USUAL],
            more: Vec::new(),
        }
    }

    /// So many bytes, the same ones each time.
    pub(super) fn bytes(&mut self, length: usize) -> &mut [u8] {
        if length <= USUAL {
            return self.usual.get_mut(..length).unwrap_or_default();
        }
        self.more.resize(length, 0);
        &mut self.more
    }

    /// What `write` writes. If it is longer than usual then it is written again, where there is room.
    fn written<T>(
        &mut self,
        write: impl Fn(&mut Writer<'_>) -> Result<T, MintError>,
    ) -> Result<(&mut [u8], T), MintError> {
        let mut writer = Writer::to(&mut self.usual);
        let mut told = write(&mut writer)?;
        let length = writer.length;
        if length > USUAL {
            // Longer than a token may be: no need to write it down.
            if length > MAX_TOKEN_BYTES {
                return Err(MintError::too_long(length));
            }
            let mut writer = Writer::to(self.bytes(length));
            told = write(&mut writer)?;
            if writer.length != length {
                return Err(MintError::Serialize);
            }
        }
        Ok((self.bytes(length), told))
    }
}

/// A SHA-256 in base64url.
const HASH_CHARS: usize = 43;

/// Where JSON goes: into a buffer, and beyond its end nowhere but counted.
struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    fn to(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.buffer.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        }
        self.length = end;
    }

    #[inline(always)]
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), MintError> {
        serde_json::to_writer(self, value).map_err(|_| MintError::Serialize)
    }

    /// A JSON string of whatever text.
    fn string(&mut self, text: &str) -> Result<(), MintError> {
        if is_unusual(text) {
            return self.json(text);
        }
        self.quoted(text);
        Ok(())
    }

    /// A JSON string of a text in which there is nothing to escape.
    #[inline(always)]
    fn quoted(&mut self, text: &str) {
        let end = self.length + text.len() + 2;
        if let Some([open, inside @ .., close]) = self.buffer.get_mut(self.length..end) {
            (*open, *close) = (b'"', b'"');
            inside.copy_from_slice(text.as_bytes());
        }
        self.length = end;
    }

    /// A JSON string of a claim's text, which verifiers take: without control characters.
    fn claim(&mut self, name: &'static str, text: &str) -> Result<(), MintError> {
        if is_unusual(text) {
            if text.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(MintError::Text { name });
            }
            return self.json(text);
        }
        self.quoted(text);
        Ok(())
    }

    /// [`Self::claim`] of a name: not empty, and no longer than verifiers read.
    fn name(&mut self, name: &'static str, text: &str) -> Result<(), MintError> {
        if !(1..=usize::from(MAX_NAME_BYTES)).contains(&text.len()) {
            return Err(MintError::Text { name });
        }
        self.claim(name, text)
    }

    /// A further member that is a date; `name` begins with the comma and ends with the colon.
    fn date_member(&mut self, name: &str, value: Timestamp) -> Result<(), MintError> {
        self.text(name);
        match value.unix_seconds() {
            // From 2001 to 2286.
            seconds @ 1_000_000_000..10_000_000_000 => {
                self.bytes(&ten_digits(seconds));
                Ok(())
            }
            seconds => self.json(&seconds),
        }
    }
}

impl io::Write for Writer<'_> {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes(bytes);
        Ok(bytes.len())
    }

    #[inline(always)]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether there is anything in `text` that JSON escapes or that verifiers do not take: quotes,
/// backslashes and control characters, which nearly no name has.
#[inline]
fn is_unusual(text: &str) -> bool {
    let text = text.as_bytes();
    let Some(last) = text.last_chunk::<16>() else {
        return text.iter().any(|byte| usualness(*byte) == 0);
    };
    // Sixteen side by side, and the last sixteen again: the compiler takes them all at once.
    let mut least = [u8::MAX; 16];
    let mut look_at = |bytes: &[u8]| {
        for (least, byte) in least.iter_mut().zip(bytes) {
            *least = usualness(*byte).min(*least);
        }
    };
    for bytes in text.chunks_exact(16) {
        look_at(bytes);
    }
    look_at(last);
    least.iter().fold(false, |found, byte| found | (*byte == 0))
}

/// 0 for a quote, a backslash and control characters.
#[inline(always)]
fn usualness(byte: u8) -> u8 {
    // With this bit turned over, a quote follows right behind the first control characters.
    let behind_quote = (byte ^ 0x02).saturating_sub(0x20);
    behind_quote.min(byte ^ b'\\').min(byte ^ 0x7f)
}

/// The ten digits of a number that has so many.
#[inline(always)]
fn ten_digits(number: u64) -> [u8; 10] {
    let (high, low) = (number / 100_000_000, number % 100_000_000);
    // Four digits side by side, then pairs, then single ones. The factors are reciprocals: of 100 for
    // what is below 10,000 and of 10 for what is below 100.
    let fours = (low / 10_000) | (low % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (pairs - tens * 10) << 8;
    let mut digits = [b'0'; 10];
    let [first, second, rest @ ..] = &mut digits;
    *first += (high / 10) as u8;
    *second += (high % 10) as u8;
    rest.copy_from_slice(&(ones | 0x3030_3030_3030_3030).to_le_bytes());
    digits
}

/// The JOSE header.
pub(super) fn header(typ: &str, alg: &str, kid: &str) -> Result<Vec<u8>, MintError> {
    let mut room = <Room>::new();
    let (json, ()) = room.written(|writer| {
        writer.text("{\"typ\":");
        writer.string(typ)?;
        writer.text(",\"alg\":");
        writer.string(alg)?;
        writer.text(",\"kid\":");
        writer.string(kid)?;
        writer.text("}");
        Ok(())
    })?;
    Ok(json.to_vec())
}

/// What the claims of all tokens of an issuer begin with: its name, and that of the next member.
pub(super) fn opening(issuer: &str) -> Result<Box<[u8]>, MintError> {
    let mut room = <Room>::new();
    let (json, ()) = room.written(|writer| {
        writer.text("{\"iss\":");
        writer.name("iss", issuer)?;
        writer.text(",\"sub\":");
        Ok(())
    })?;
    Ok(Box::from(&*json))
}

/// The claims, and where among them the caller's own begin: they are an object of their own, behind
/// the members of the one that is not closed.
pub(super) fn payload<'r, C: Serialize + ?Sized>(
    room: &'r mut Room,
    registered: &Registered<'_>,
    request: &TokenRequest<'_, C>,
) -> Result<(&'r mut [u8], Option<usize>), MintError> {
    room.written(|writer| {
        writer.bytes(registered.opening);
        writer.name("sub", request.subject)?;
        writer.text(",\"aud\":");
        writer.name("aud", request.audience)?;
        writer.date_member(",\"exp\":", registered.dates.expires)?;
        writer.date_member(",\"iat\":", registered.dates.issued)?;
        writer.text(",\"jti\":");
        writer.name("jti", registered.token_id)?;
        if let Some(not_before) = request.not_before {
            writer.date_member(",\"nbf\":", not_before)?;
        }
        if let Some(client_id) = request.client_id {
            writer.text(",\"client_id\":");
            writer.name("client_id", client_id)?;
        }
        if let Some(session_id) = request.session_id {
            writer.text(",\"sid\":");
            writer.name("sid", session_id)?;
        }
        if let Some(scope) = request.scope {
            writer.text(",\"scope\":");
            writer.claim("scope", scope)?;
        }
        if let Some(binding) = &request.binding {
            let mut text = [0; HASH_CHARS];
            URL_SAFE_NO_PAD
                .encode_slice(binding.hash(), &mut text)
                .map_err(|_| MintError::Serialize)?;
            writer.text(",\"cnf\":{\"");
            writer.text(binding.method());
            writer.text("\":\"");
            writer.bytes(&text);
            writer.text("\"}");
        }
        let Some(claims) = request.claims else {
            writer.text("}");
            return Ok(None);
        };
        let further_at = writer.length;
        writer.json(claims)?;
        Ok(Some(further_at))
    })
}

/// What statements have in common: who makes them and when, then `claims`; and where those begin.
pub(super) fn statement<'r, C: Serialize + ?Sized>(
    room: &'r mut Room,
    issuer: &str,
    issued: Timestamp,
    claims: &C,
) -> Result<(&'r mut [u8], usize), MintError> {
    room.written(|writer| {
        writer.text("{\"iss\":");
        writer.name("iss", issuer)?;
        writer.date_member(",\"iat\":", issued)?;
        let claims_at = writer.length;
        writer.json(claims)?;
        Ok(claims_at)
    })
}

/// The end of a statement, behind `rest`: for whom it is, and what it is called.
pub(super) fn address<'r, const USUAL: usize>(
    room: &'r mut Room<USUAL>,
    rest: &[u8],
    audience: &str,
    token_id: &str,
) -> Result<&'r [u8], MintError> {
    let (json, ()) = room.written(|writer| {
        writer.bytes(rest);
        writer.text(",\"aud\":");
        writer.name("aud", audience)?;
        writer.text(",\"jti\":");
        writer.name("jti", token_id)?;
        writer.text("}");
        Ok(())
    })?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_digits_are_what_the_standard_library_says() {
        let check = |number: u64| {
            assert_eq!(
                ten_digits(number),
                *number.to_string().as_bytes(),
                "{number}"
            );
        };
        // All fours of digits, in both places.
        for few in 0..10_000 {
            check(1_700_000_000 + few);
            check(1_700_000_000 + few * 10_000);
        }
        for number in [1_000_000_000, 9_999_999_999, 1_234_567_890] {
            check(number);
        }
        for high in 10..100 {
            check(high * 100_000_000 + 98_765_432);
        }
    }

    #[test]
    fn any_unusual_byte_is_found_wherever_it_is() {
        for length in 0..70 {
            let plain = vec![b'x'; length];
            assert!(!is_unusual(std::str::from_utf8(&plain).unwrap()));
            for at in 0..length {
                for byte in 0..128_u8 {
                    let mut text = plain.clone();
                    text[at] = byte;
                    let unusual = byte.is_ascii_control() || byte == b'"' || byte == b'\\';
                    let text = String::from_utf8(text).unwrap();
                    assert_eq!(is_unusual(&text), unusual, "{text:?}");
                }
            }
        }
        assert!(!is_unusual("ü".repeat(20).as_str()));
    }
}
