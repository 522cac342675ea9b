//! `HttpMessage`: what a signature can cover of a request or a response, as bytes.

/// A request or a response, as it went or will go over the wire.
///
/// What belongs to the other kind is `None`; a signature that covers it is refused.
pub trait HttpMessage {
    /// The method, in the case it was sent in. `None` for a response.
    fn method(&self) -> Option<&[u8]>;
    /// `http` or `https`: how the client reached us, which behind a proxy is not how the proxy did.
    fn scheme(&self) -> Option<&[u8]>;
    /// `Host` or `:authority`.
    fn authority(&self) -> Option<&[u8]>;
    /// The request target as it was sent (RFC 9112 §3.2).
    fn target(&self) -> Option<&[u8]>;
    /// The path, percent-encoded as it was sent; may be empty.
    fn path(&self) -> Option<&[u8]>;
    /// What follows the first `?`, percent-encoded as it was sent. `None` if there is no `?`.
    fn query(&self) -> Option<&[u8]>;
    /// The status code. `None` for a request.
    fn status(&self) -> Option<u16>;
    /// The values of each line of the field `name` (which is in lower case), in their order; names are
    /// compared without regard to case.
    fn field_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]>;
    /// The same of the trailers. There are none unless this is overridden.
    fn trailer_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        let _ = name;
        std::iter::empty()
    }
}

/// A request whose parts lie somewhere else.
///
/// ```
/// use m2m_secrets::{HttpMessage, HttpRequest};
///
/// let request = HttpRequest {
///     method: b"POST",
///     scheme: b"https",
///     authority: b"example.com",
///     target: b"/foo?a=b",
///     fields: &[("Content-Type", b"application/json")],
/// };
/// assert_eq!(request.query(), Some(&b"a=b"[..]));
/// assert_eq!(request.field_lines(b"content-type").count(), 1);
/// ```
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a request line and its fields")]
pub struct HttpRequest<'a> {
    /// In the case it was sent in.
    pub method: &'a [u8],
    /// `http` or `https`.
    pub scheme: &'a [u8],
    /// `Host` or `:authority`.
    pub authority: &'a [u8],
    /// Path and query, as they were sent. An absolute form is not understood.
    pub target: &'a [u8],
    /// Names and values of all lines, in their order.
    pub fields: &'a [(&'a str, &'a [u8])],
}

/// A response whose parts lie somewhere else.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "a status line and its fields")]
pub struct HttpResponse<'a> {
    /// Three digits.
    pub status: u16,
    /// Names and values of all lines, in their order.
    pub fields: &'a [(&'a str, &'a [u8])],
}

impl HttpMessage for HttpRequest<'_> {
    fn method(&self) -> Option<&[u8]> {
        Some(self.method)
    }

    fn scheme(&self) -> Option<&[u8]> {
        Some(self.scheme)
    }

    fn authority(&self) -> Option<&[u8]> {
        Some(self.authority)
    }

    fn target(&self) -> Option<&[u8]> {
        Some(self.target)
    }

    fn path(&self) -> Option<&[u8]> {
        self.target.split(|byte| *byte == b'?').next()
    }

    fn query(&self) -> Option<&[u8]> {
        self.target.splitn(2, |byte| *byte == b'?').nth(1)
    }

    fn status(&self) -> Option<u16> {
        None
    }

    #[inline]
    fn field_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        lines(self.fields, name)
    }
}

impl HttpMessage for HttpResponse<'_> {
    fn method(&self) -> Option<&[u8]> {
        None
    }

    fn scheme(&self) -> Option<&[u8]> {
        None
    }

    fn authority(&self) -> Option<&[u8]> {
        None
    }

    fn target(&self) -> Option<&[u8]> {
        None
    }

    fn path(&self) -> Option<&[u8]> {
        None
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn status(&self) -> Option<u16> {
        Some(self.status)
    }

    fn field_lines<'m>(&'m self, name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
        lines(self.fields, name)
    }
}

#[inline]
fn lines<'m>(fields: &'m [(&'m str, &'m [u8])], name: &'m [u8]) -> impl Iterator<Item = &'m [u8]> {
    fields
        .iter()
        .filter(move |(found, _)| found.as_bytes().eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}
