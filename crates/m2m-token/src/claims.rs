//! The claims of a token: found once while it is checked, then borrowed from it.

mod confirmation;
mod parse;

pub use confirmation::Confirmation;
pub(crate) use confirmation::{Bound, not_one};
pub(crate) use parse::{Facts, MAX_NAME_BYTES, Text, parse};

use std::borrow::Cow;
use std::fmt;

use m2m_crypto::VerifyingKey;
use m2m_types::{ServiceIdError, ServiceIdRef, Timestamp};
use serde::Deserialize;

use crate::json::{Kind, Member, Unescaped, tag_of};

/// The claims of a token, borrowed from where they were decoded.
///
/// The registered claims have methods of their own; any other is read by name, or all of them at
/// once into a type of the caller's ([`Claims::deserialize`]). Reading costs nothing that was not
/// paid when the token was checked, and allocates nothing, but for what serde does.
///
/// The registered claims that are names have no control characters below U+0020: JSON says those with
/// escapes alone (RFC 8259 §7), and tokens that do are refused. DEL and the controls from U+0080 on stand
/// in JSON as they are, and so they do here, escaped or not. Whoever puts names into a header field or on
/// a terminal looks for those; [`crate::Minter`] writes no DEL.
#[derive(Clone, Copy)]
pub struct Claims<'a> {
    pub(crate) json: &'a str,
    /// Texts whose escapes were undone. They are counted as if they stood behind the payload.
    pub(crate) unescaped: &'a str,
    pub(crate) members: &'a [Member],
    pub(crate) facts: &'a Facts,
}

impl<'a> Claims<'a> {
    /// `iss`: who made the token (RFC 7519 §4.1.1).
    pub fn issuer(&self) -> Option<&'a str> {
        self.text(Text::Issuer)
    }

    /// `sub`: whom it is about (RFC 7519 §4.1.2).
    pub fn subject(&self) -> Option<&'a str> {
        self.text(Text::Subject)
    }

    /// `sub` as the name of a machine.
    ///
    /// # Errors
    ///
    /// [`ServiceIdError`] if it is not a SPIFFE ID; a missing `sub` is an empty one.
    pub fn service_id(&self) -> Result<ServiceIdRef<'a>, ServiceIdError> {
        ServiceIdRef::parse(self.subject().unwrap_or_default())
    }

    /// `jti`: the token's own name (RFC 7519 §4.1.7).
    pub fn token_id(&self) -> Option<&'a str> {
        self.text(Text::TokenId)
    }

    /// `sid`: the session it belongs to (OpenID Connect Front-Channel Logout §3).
    pub fn session_id(&self) -> Option<&'a str> {
        self.text(Text::SessionId)
    }

    /// `client_id`: the OAuth client it was issued to (RFC 8693 §4.3).
    pub fn client_id(&self) -> Option<&'a str> {
        self.text(Text::ClientId)
    }

    /// `scope`: what it allows, as the issuer wrote it (RFC 8693 §4.2).
    pub fn scope(&self) -> Option<&'a str> {
        self.text(Text::Scope)
    }

    /// Whether `wanted` is one of the values in `scope`, which are separated by single spaces and
    /// compared byte by byte (RFC 6749 §3.3). An empty `wanted` never is.
    pub fn has_scope(&self, wanted: &str) -> bool {
        let mut values = self.scope().unwrap_or_default().split(' ');
        !wanted.is_empty() && values.any(|value| value == wanted)
    }

    /// Whether `aud` names `audience`, alone or among others.
    pub fn has_audience(&self, audience: &str) -> bool {
        let member = self.facts.audience.and_then(|at| self.members.get(at));
        if let Some(member) = member.filter(|member| member.kind() == Kind::String) {
            return member.value().of(self.json.as_bytes()) == audience.as_bytes();
        }
        self.audiences().any(|name| {
            // Written without escapes it is what it stands for, else it is longer than that.
            match name.len() > audience.len() {
                true => Unescaped::new(name).eq(audience.bytes()),
                false => name == audience.as_bytes() && !name.contains(&b'\\'),
            }
        })
    }

    /// `exp`: the first second in which it no longer holds (RFC 7519 §4.1.4).
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.facts.expires
    }

    /// `iat`: when it was issued (RFC 7519 §4.1.6).
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.facts.issued
    }

    /// `nbf`: the first second in which it holds (RFC 7519 §4.1.5).
    pub fn not_before(&self) -> Option<Timestamp> {
        self.facts.not_before
    }

    /// `cnf`: what the token is bound to (RFC 7800). To know is not to have checked: that is
    /// [`crate::Verifier::verify_presented`]. A key in a token that nobody verified is not looked at.
    pub fn confirmation(&self) -> Option<Confirmation> {
        match self.facts.confirmation {
            Some(Bound::To(confirmation)) => Some(confirmation),
            Some(Bound::EmbeddedKey) | None => None,
        }
    }

    /// The key that the token itself contains (`cnf.jwk`, RFC 7800 §3.2), to check proofs with. Allocates.
    ///
    /// `None` if there is none, or none that is a public key for signatures and nothing else: a verifier
    /// refuses such a token.
    pub fn embedded_key(&self) -> Option<VerifyingKey> {
        confirmation::embedded_key(self.json, self.member("cnf")?)
    }

    /// The whole payload as JSON, as the issuer wrote it.
    pub fn json(&self) -> &'a str {
        self.json
    }

    /// All claims, in a type of the caller's. That text was found to be strict JSON without repeated
    /// members before.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] if the claims do not fit the type.
    ///
    /// ```
    /// # use m2m_token::{Claims, ClaimError};
    /// #[derive(serde::Deserialize)]
    /// struct Tenant<'a> {
    ///     tenant: &'a str,
    ///     roles: Vec<&'a str>,
    /// }
    /// fn tenant<'a>(claims: Claims<'a>) -> Result<&'a str, ClaimError> {
    ///     Ok(claims.deserialize::<Tenant<'_>>()?.tenant)
    /// }
    /// ```
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, ClaimError> {
        serde_json::from_str(self.json).map_err(|error| ClaimError::new(&error))
    }

    /// The claim called `name`, if there is one.
    ///
    /// # Errors
    ///
    /// [`ClaimError`] if it is there but does not fit the type: malformed is never absent.
    pub fn claim<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, ClaimError> {
        let Some(member) = self.member(name) else {
            return Ok(None);
        };
        serde_json::from_str(member.json(self.json))
            .map(Some)
            .map_err(|error| ClaimError::new(&error))
    }

    /// All claims in their order: the name of each, and its value as JSON text, as the issuer wrote it. No
    /// name comes twice. Allocates for names that are written with escapes.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, &'a str)> + use<'a> {
        let (json, members) = (self.json, self.members);
        members.iter().map(move |member| {
            let written = member.written_name(json);
            let name = match written.contains('\\') {
                false => Cow::Borrowed(written),
                true => {
                    let bytes = Unescaped::new(written.as_bytes()).collect();
                    // It was scanned before, so that its escapes mean characters.
                    Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
                }
            };
            (name, member.json(json))
        })
    }

    /// Whether there is a claim called `name`, of whatever type.
    pub fn contains(&self, name: &str) -> bool {
        // What was looked for before is not looked for again.
        match name {
            "iss" => self.facts.has(Text::Issuer),
            "sub" => self.facts.has(Text::Subject),
            "exp" => self.facts.expires.is_some(),
            "nbf" => self.facts.not_before.is_some(),
            "iat" => self.facts.issued.is_some(),
            "jti" => self.facts.has(Text::TokenId),
            _ => self.member(name).is_some(),
        }
    }

    fn member(&self, name: &str) -> Option<&'a Member> {
        let tag = tag_of(name.as_bytes());
        self.members.iter().find(|member| {
            member.tag() == tag && member.is_named(self.json.as_bytes(), name.as_bytes())
        })
    }

    pub(crate) fn text(&self, text: Text) -> Option<&'a str> {
        let span = self.facts.text(text)?;
        let (start, end) = (usize::from(span.start), usize::from(span.end));
        match start.checked_sub(self.json.len()) {
            None => self.json.get(start..end),
            Some(start) => self.unescaped.get(start..end - self.json.len()),
        }
    }

    /// The values of `aud`, as they are written.
    pub(crate) fn audiences(&self) -> Audiences<'a> {
        let member = self.facts.audience.and_then(|at| self.members.get(at));
        let rest = match member {
            Some(member) => member.json(self.json).as_bytes(),
            None => &[],
        };
        Audiences { rest }
    }
}

/// Shows which claims there are, never what they say.
impl fmt::Debug for Claims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("members", &self.members.len())
            .field("expires_at", &self.facts.expires)
            .finish_non_exhaustive()
    }
}

/// The strings in the JSON text of `aud`, which is one string or an array of strings; that it is was
/// seen to before.
pub(crate) struct Audiences<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Audiences<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let quote = memchr::memchr(b'"', self.rest)?;
        let text = self.rest.get(quote + 1..)?;
        let mut end = 0;
        loop {
            match text.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.rest = text.get(end + 1..)?;
        text.get(..end)
    }
}

/// Claims that do not fit the type they were asked for in. Says where, not what they contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("claims do not fit the type asked for, at line {line}, column {column} of the payload")]
pub struct ClaimError {
    line: usize,
    column: usize,
}

impl ClaimError {
    // serde's own message quotes what it found, and that may be anybody's data.
    fn new(error: &serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// Whether a member is a string, escaped or not.
fn is_string(member: &Member) -> bool {
    matches!(member.kind(), Kind::String | Kind::EscapedString)
}
