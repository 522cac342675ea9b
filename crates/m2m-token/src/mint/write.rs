//! Writes a token's header and claims as JSON into memory that is there already.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_types::Timestamp;
use serde::Serialize;

use super::MintError;
use crate::request::TokenRequest;

/// Claims that callers do not write themselves: they have a method for each, or the minter does it.
pub(super) const RESERVED: [&str; 11] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "cnf",
    "client_id",
    "sid",
    "scope",
];

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

impl Registered<'_> {
    /// How many members [`payload`] writes before the caller's own.
    pub(super) fn count<C: ?Sized>(&self, request: &TokenRequest<'_, C>) -> usize {
        let optional = [
            request.not_before.is_some(),
            request.client_id.is_some(),
            request.session_id.is_some(),
            request.scope.is_some(),
            request.binding.is_some(),
        ];
        6 + optional.iter().filter(|there| **there).count()
    }
}

/// Where JSON goes: into a buffer, or nowhere but counted.
pub(super) struct Writer<'b> {
    buffer: Option<&'b mut [u8]>,
    length: usize,
}

impl Writer<'_> {
    /// How long what `write` writes is.
    pub(super) fn measure(
        write: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
    ) -> Result<usize, MintError> {
        let mut writer = Writer {
            buffer: None,
            length: 0,
        };
        write(&mut writer).map_err(|_| MintError::Serialize)?;
        Ok(writer.length)
    }

    /// What `write` writes, in the first `length` bytes of `buffer`, which it must fill.
    pub(super) fn fill(
        buffer: &mut [u8],
        length: usize,
        write: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
    ) -> Result<&[u8], MintError> {
        let buffer = buffer.get_mut(..length).ok_or(MintError::Serialize)?;
        let mut writer = Writer {
            buffer: Some(&mut *buffer),
            length: 0,
        };
        write(&mut writer).map_err(|_| MintError::Serialize)?;
        if writer.length != length {
            return Err(MintError::Serialize);
        }
        Ok(buffer)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        io::Write::write_all(self, text.as_bytes())
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut *self, value).map_err(io::Error::from)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> io::Result<()> {
        self.text(",\"")?;
        self.text(name)?;
        self.text("\":")?;
        self.json(value)
    }
}

impl io::Write for Writer<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.length + bytes.len();
        if let Some(buffer) = &mut self.buffer {
            buffer
                .get_mut(self.length..end)
                .ok_or(io::ErrorKind::WriteZero)?
                .copy_from_slice(bytes);
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
    writer.json(typ)?;
    writer.member("alg", alg)?;
    writer.member("kid", kid)?;
    writer.text("}")
}

/// The claims: registered ones first, then the caller's own.
pub(super) fn payload<C: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    registered: &Registered<'_>,
    request: &TokenRequest<'_, C>,
) -> io::Result<()> {
    writer.text("{\"iss\":")?;
    writer.json(registered.issuer)?;
    writer.member("sub", request.subject)?;
    writer.member("aud", request.audience)?;
    writer.member("exp", &registered.dates.expires.unix_seconds())?;
    writer.member("iat", &registered.dates.issued.unix_seconds())?;
    writer.member("jti", registered.token_id)?;
    if let Some(not_before) = request.not_before {
        writer.member("nbf", &not_before.unix_seconds())?;
    }
    if let Some(client_id) = request.client_id {
        writer.member("client_id", client_id)?;
    }
    if let Some(session_id) = request.session_id {
        writer.member("sid", session_id)?;
    }
    if let Some(scope) = request.scope {
        writer.member("scope", scope)?;
    }
    if let Some(binding) = &request.binding {
        let mut text = [0; 43];
        URL_SAFE_NO_PAD
            .encode_slice(binding.hash, &mut text)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let hash = std::str::from_utf8(&text).unwrap_or_default();
        writer.text(",\"cnf\":{\"")?;
        writer.text(binding.method)?;
        writer.text("\":\"")?;
        writer.text(hash)?;
        writer.text("\"}")?;
    }
    match request.claims {
        Some(claims) => object_members(writer, claims),
        None => writer.text("}"),
    }
}

/// The members of an object, from the comma before the first one to the closing brace.
fn object_members<C: Serialize + ?Sized>(writer: &mut Writer<'_>, claims: &C) -> io::Result<()> {
    let start = writer.length;
    writer.json(claims)?;
    let Some(buffer) = writer.buffer.as_deref_mut() else {
        return Ok(());
    };
    match buffer.get_mut(start..writer.length) {
        // Nothing follows the registered claims: white space instead of a comma.
        Some([brace @ b'{', b'}']) => *brace = b' ',
        Some([brace @ b'{', .., b'}']) => *brace = b',',
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(())
}
