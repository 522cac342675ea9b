//! Writes a token's header and claims as JSON into memory that is there already.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_types::Timestamp;
use serde::Serialize;

use super::MintError;
use crate::MAX_TOKEN_BYTES;
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
    pub(super) issuer: &'a str,
    pub(super) token_id: &'a str,
    pub(super) dates: Dates,
}

/// `iat` and `exp`.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    pub(super) issued: Timestamp,
    pub(super) expires: Timestamp,
}

/// Whether any text must be written with escapes: JSON needs them for quotes, backslashes and control
/// characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// None: texts were looked at, and are written as they are.
    None,
    Some,
}

/// How long the registered claims of a request are at most: to the byte, if no text in them has
/// control characters and no date is far off.
pub(super) fn registered_room<C: ?Sized>(
    registered: &Registered<'_>,
    request: &TokenRequest<'_, C>,
) -> (usize, Escapes) {
    /// `{"iss":,"sub":,"aud":,"exp":,"iat":,"jti":}` and two dates.
    const ALWAYS: usize = 43 + 2 * DATE;
    const DATE: usize = 12;
    let always = [
        registered.issuer,
        request.subject,
        request.audience,
        registered.token_id,
    ];
    let sometimes = [
        (",\"client_id\":", request.client_id),
        (",\"sid\":", request.session_id),
        (",\"scope\":", request.scope),
    ];
    let mut room = Room::default();
    for text in always {
        room.add(text);
    }
    for (name, text) in sometimes {
        if let Some(text) = text {
            room.bytes += name.len();
            room.add(text);
        }
    }
    let not_before = request.not_before.map_or(0, |_| ",\"nbf\":".len() + DATE);
    let binding = request.binding.as_ref();
    let binding = binding.map_or(0, |binding| {
        ",\"cnf\":{\"\":\"\"}".len() + binding.method().len() + HASH_CHARS
    });
    room.bytes += ALWAYS + not_before + binding;
    room.needed()
}

/// How long the header is at most.
pub(super) fn header_room(typ: &str, alg: &str, kid: &str) -> (usize, Escapes) {
    let mut room = Room::default();
    for text in [typ, alg, kid] {
        room.add(text);
    }
    room.bytes += "{\"typ\":,\"alg\":,\"kid\":}".len();
    room.needed()
}

/// How much room JSON takes at most.
#[derive(Default)]
struct Room {
    bytes: usize,
    escapes: usize,
}

impl Room {
    /// A string.
    fn add(&mut self, text: &str) {
        self.bytes += text.len() + 2;
        if !is_plain(text) {
            let escapes = text.bytes().map(|byte| match byte {
                b'"' | b'\\' => 1,
                0..0x20 => 5,
                _ => 0,
            });
            self.escapes += escapes.sum::<usize>();
        }
    }

    fn needed(self) -> (usize, Escapes) {
        let escapes = match self.escapes {
            0 => Escapes::None,
            _ => Escapes::Some,
        };
        (self.bytes + self.escapes, escapes)
    }
}

/// Whether JSON needs no escape in this text, as in nearly all names.
fn is_plain(text: &str) -> bool {
    !any_byte(text, |byte| byte < 0x20 || byte == b'"' || byte == b'\\')
}

/// Whether `is` holds for any byte of `text`. Asks it of all rather than stop early: then the compiler
/// asks it of sixteen at once.
#[inline(always)]
pub(super) fn any_byte(text: &str, is: impl Fn(u8) -> bool) -> bool {
    let any = |bytes: &[u8]| bytes.iter().fold(false, |found, byte| found | is(*byte));
    let text = text.as_bytes();
    match text.last_chunk::<16>() {
        // The last sixteen overlap those before them.
        Some(last) => {
            let mut found = any(last);
            for bytes in text.chunks_exact(16) {
                found |= any(bytes);
            }
            found
        }
        None => any(text),
    }
}

/// A SHA-256 in base64url.
const HASH_CHARS: usize = 43;

/// Where JSON goes: into a buffer, and beyond its end nowhere but counted.
pub(super) struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
    escapes: Escapes,
}

impl Writer<'_> {
    /// What `write` writes, at the front of `buffer`, which must be long enough.
    pub(super) fn fill(
        buffer: &mut [u8],
        escapes: Escapes,
        write: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
    ) -> Result<&[u8], MintError> {
        let mut writer = Writer {
            buffer: &mut *buffer,
            length: 0,
            escapes,
        };
        write(&mut writer).map_err(|_| MintError::Serialize)?;
        let length = writer.length;
        buffer.get(..length).ok_or(MintError::Serialize)
    }

    #[inline]
    fn text(&mut self, text: &str) -> io::Result<()> {
        io::Write::write_all(self, text.as_bytes())
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut *self, value).map_err(io::Error::from)
    }

    /// A JSON string.
    fn string(&mut self, text: &str) -> io::Result<()> {
        if self.escapes == Escapes::Some {
            return self.json(text);
        }
        let end = self.length + text.len() + 2;
        if let Some([open, inside @ .., close]) = self.buffer.get_mut(self.length..end) {
            (*open, *close) = (b'"', b'"');
            inside.copy_from_slice(text.as_bytes());
        }
        self.length = end;
        Ok(())
    }

    /// A further member that is a string; `name` begins with the comma and ends with the colon.
    fn string_member(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.text(name)?;
        self.string(value)
    }

    /// A further member that is a date.
    fn date_member(&mut self, name: &str, value: Timestamp) -> io::Result<()> {
        self.text(name)?;
        self.json(&value.unix_seconds())
    }
}

impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.length + bytes.len();
        if let Some(place) = self.buffer.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        }
        self.length = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JOSE header.
pub(super) fn header(writer: &mut Writer<'_>, typ: &str, alg: &str, kid: &str) -> io::Result<()> {
    writer.text("{\"typ\":")?;
    writer.string(typ)?;
    writer.string_member(",\"alg\":", alg)?;
    writer.string_member(",\"kid\":", kid)?;
    writer.text("}")
}

/// The caller's own claims as JSON. Usual ones fit into a buffer that is there already; then `room` is
/// not needed, and else they are written there, once it is known how long they are.
pub(super) fn further<'b, C: Serialize + ?Sized>(
    claims: &C,
    small: &'b mut [u8],
    room: &'b mut Vec<u8>,
) -> Result<&'b mut [u8], MintError> {
    let write = |buffer: &mut [u8]| {
        let mut writer = Writer {
            buffer,
            length: 0,
            escapes: Escapes::Some,
        };
        writer.json(claims).map_err(|_| MintError::Serialize)?;
        Ok(writer.length)
    };
    let length = write(small)?;
    if length <= small.len() {
        return small.get_mut(..length).ok_or(MintError::Serialize);
    }
    // Longer than a token may be: no need to write them down.
    if length > MAX_TOKEN_BYTES {
        return Err(MintError::too_long(length));
    }
    room.resize(length, 0);
    if write(room)? != length {
        return Err(MintError::Serialize);
    }
    Ok(room)
}

/// The claims: registered ones first, then the caller's own, of which the first byte joins them.
pub(super) fn payload<C: ?Sized>(
    writer: &mut Writer<'_>,
    registered: &Registered<'_>,
    request: &TokenRequest<'_, C>,
    further: Option<&[u8]>,
) -> io::Result<()> {
    writer.text("{\"iss\":")?;
    writer.string(registered.issuer)?;
    writer.string_member(",\"sub\":", request.subject)?;
    writer.string_member(",\"aud\":", request.audience)?;
    writer.date_member(",\"exp\":", registered.dates.expires)?;
    writer.date_member(",\"iat\":", registered.dates.issued)?;
    writer.string_member(",\"jti\":", registered.token_id)?;
    if let Some(not_before) = request.not_before {
        writer.date_member(",\"nbf\":", not_before)?;
    }
    if let Some(client_id) = request.client_id {
        writer.string_member(",\"client_id\":", client_id)?;
    }
    if let Some(session_id) = request.session_id {
        writer.string_member(",\"sid\":", session_id)?;
    }
    if let Some(scope) = request.scope {
        writer.string_member(",\"scope\":", scope)?;
    }
    if let Some(binding) = &request.binding {
        let mut text = [0; HASH_CHARS];
        URL_SAFE_NO_PAD
            .encode_slice(binding.hash(), &mut text)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let hash = std::str::from_utf8(&text).unwrap_or_default();
        writer.text(",\"cnf\":{\"")?;
        writer.text(binding.method())?;
        writer.text("\":\"")?;
        writer.text(hash)?;
        writer.text("\"}")?;
    }
    match further {
        Some(further) => io::Write::write_all(writer, further),
        None => writer.text("}"),
    }
}

/// What statements have in common: who makes them and when, then `claims`, which begin with the comma
/// that joins them.
pub(super) fn statement(
    writer: &mut Writer<'_>,
    issuer: &str,
    issued: Timestamp,
    claims: &[u8],
) -> io::Result<()> {
    writer.text("{\"iss\":")?;
    writer.string(issuer)?;
    writer.date_member(",\"iat\":", issued)?;
    io::Write::write_all(writer, claims)
}

/// How long what [`address`] writes behind `rest` is at most.
pub(super) fn address_room(audience: &str, token_id: &str) -> (usize, Escapes) {
    let mut room = Room::default();
    room.add(audience);
    room.add(token_id);
    room.bytes += ",\"aud\":,\"jti\":}".len();
    room.needed()
}

/// The end of a statement: for whom it is, and what it is called.
pub(super) fn address(
    writer: &mut Writer<'_>,
    rest: &[u8],
    audience: &str,
    token_id: &str,
) -> io::Result<()> {
    io::Write::write_all(writer, rest)?;
    writer.string_member(",\"aud\":", audience)?;
    writer.string_member(",\"jti\":", token_id)?;
    writer.text("}")
}
