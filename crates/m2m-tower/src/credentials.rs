//! What a request carries: exactly one token, or none, in the one place where it belongs.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use m2m_guard::PathProblem;

/// What is wrong with a request before anybody asks who sent it. For operators; the sender is told that
/// the request is not one that is taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestProblem {
    /// `Authorization` stands more than once: proxies and servers differ on which counts.
    #[error("`authorization` stands {count} times")]
    AuthorizationRepeated {
        /// How often.
        count: usize,
    },
    /// `Authorization` is not a scheme, one space and a token (RFC 6750 §2.1).
    #[error("`authorization` is not `Bearer`, one space and a token")]
    AuthorizationForm,
    /// `Authorization` has a scheme that is not understood here.
    #[error("`authorization` has a scheme that is not `Bearer`")]
    AuthorizationScheme,
    /// A token stands in the URL, where it is logged and passed on (RFC 9700 §4.3.2).
    #[error("the query has a parameter `access_token`")]
    TokenInQuery,
    /// The header of the API key stands more than once.
    #[error("the header of the API key stands {count} times")]
    ApiKeyRepeated {
        /// How often.
        count: usize,
    },
    /// The path could be read in more than one way.
    #[error("path: {0}")]
    Path(PathProblem),
    /// A proxy that may forward identities forwards none that can be read.
    #[error("forwarded identity: {0}")]
    Forwarded(&'static str),
    /// The header of the compact signature stands more than once.
    #[cfg(feature = "secrets")]
    #[error("`m2m-signature` stands {count} times")]
    SignatureRepeated {
        /// How often.
        count: usize,
    },
    /// The request is signed in two ways, of which one alone would be looked at.
    #[cfg(feature = "secrets")]
    #[error("the request is signed by RFC 9421 and in the compact form")]
    SignatureForms,
    /// A signed request names no host, two, or one that is not this service.
    #[cfg(feature = "secrets")]
    #[error("the request is signed for another service, or does not say for which")]
    SignatureAuthority,
    /// The content of a signed request is longer than what is read.
    #[cfg(feature = "secrets")]
    #[error("the content of a signed request is longer than {limit} bytes")]
    ContentTooLong {
        /// How much is read.
        limit: usize,
    },
    /// The content of a signed request did not come in time.
    #[cfg(feature = "secrets")]
    #[error("the content of a signed request took longer than {limit:?}")]
    ContentSlow {
        /// How long it may take.
        limit: std::time::Duration,
    },
    /// The content of a signed request did not come whole, or has trailers, which nobody signed.
    #[cfg(feature = "secrets")]
    #[error("the content of a signed request broke off, or has trailers")]
    ContentBroken,
}

impl RequestProblem {
    m2m_types::codes! {
        pub fn code;
        Self::AuthorizationRepeated { .. } => "authorization_repeated",
        Self::AuthorizationForm => "authorization_form",
        Self::AuthorizationScheme => "authorization_scheme",
        Self::TokenInQuery => "token_in_query",
        Self::ApiKeyRepeated { .. } => "api_key_repeated",
        Self::Path(_) => "path",
        Self::Forwarded(_) => "forwarded",
        #[cfg(feature = "secrets")]
        Self::SignatureRepeated { .. } => "signature_repeated",
        #[cfg(feature = "secrets")]
        Self::SignatureForms => "signature_forms",
        #[cfg(feature = "secrets")]
        Self::SignatureAuthority => "signature_authority",
        #[cfg(feature = "secrets")]
        Self::ContentTooLong { .. } => "content_too_long",
        #[cfg(feature = "secrets")]
        Self::ContentSlow { .. } => "content_slow",
        #[cfg(feature = "secrets")]
        Self::ContentBroken => "content_broken",
    }

    /// What its sender is answered (RFC 9110 §15.5).
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            #[cfg(feature = "secrets")]
            Self::ContentTooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            #[cfg(feature = "secrets")]
            Self::ContentSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The token of the request, if it has one (RFC 6750 §2.1). Bodies are not read: a token in a form is none.
pub(crate) fn bearer_token(parts: &Parts) -> Result<Option<&str>, RequestProblem> {
    if parts.uri.query().is_some_and(has_token) {
        return Err(RequestProblem::TokenInQuery);
    }
    let repeated = |count| RequestProblem::AuthorizationRepeated { count };
    let Some(value) = only(&parts.headers, &AUTHORIZATION, repeated)? else {
        return Ok(None);
    };
    let (scheme, token) = match value.iter().position(|byte| *byte == b' ') {
        Some(at) => value.split_at(at),
        None => (value, &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(match scheme.iter().all(|byte| is_token_character(*byte)) {
            true => RequestProblem::AuthorizationScheme,
            false => RequestProblem::AuthorizationForm,
        });
    }
    let token = token.strip_prefix(b" ").unwrap_or_default();
    if token.is_empty() || !token.iter().all(|byte| is_token68(*byte)) {
        return Err(RequestProblem::AuthorizationForm);
    }
    std::str::from_utf8(token)
        .map(Some)
        .map_err(|_| RequestProblem::AuthorizationForm)
}

/// The value of a header that may stand once.
pub(crate) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    repeated: impl FnOnce(usize) -> RequestProblem,
) -> Result<Option<&'h [u8]>, RequestProblem> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.count() {
        0 => Ok(first.map(|value| value.as_bytes())),
        more => Err(repeated(more + 1)),
    }
}

/// `token68` (RFC 9110 §11.2), of which `b64token` is another name.
pub(crate) fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a query names `access_token`, escaped or not.
fn has_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        decoded(name.as_bytes()).eq(b"access_token".iter().copied())
    })
}

/// The bytes that a part of a query stands for; a broken escape stands for itself.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, behind) = rest.split_first()?;
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => hexadecimal(*high).zip(hexadecimal(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                rest = behind.get(2..).unwrap_or_default();
                Some(high << 4 | low)
            }
            None => {
                rest = behind;
                Some(*first)
            }
        }
    })
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}
