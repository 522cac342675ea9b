//! `Caller`: a caller who was admitted, to be kept and passed on within the process.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::CertificateThumbprint;
use m2m_token::Verified;
use m2m_types::{ServiceId, ServiceIdError, Timestamp};

use crate::freshness::Ages;
use crate::presented::{Credential, Kinds};
use crate::proven::{Name, Proven};

/// A caller who was admitted, as a value of its own: for handlers, tasks and extensions of a request.
/// Cloning copies a pointer. Only [`crate::Admitted::to_caller`] makes one.
///
/// It was admitted for one call at one time. What is revoked later it does not know: whoever goes on for
/// long asks again.
#[derive(Clone)]
pub struct Caller {
    inner: Arc<Inner>,
}

struct Inner {
    service: ServiceId,
    kinds: Kinds,
    token: Option<CallerToken>,
    certificate: Option<CertificateThumbprint>,
    ages: Ages,
    at: Timestamp,
}

/// What a caller's token said.
pub struct CallerToken {
    json: Box<str>,
    issuer: Said,
    token_id: Said,
    session_id: Said,
    scope: Said,
    expires_at: Option<Timestamp>,
    is_bound: bool,
}

/// A text among the claims. Most stand in the JSON as they are, and are not copied again for each call.
enum Said {
    Nothing,
    At {
        from: usize,
        to: usize,
    },
    /// It was written with escapes.
    Apart(Box<str>),
}

impl Said {
    fn of(json: &str, text: Option<&str>) -> Self {
        let Some(text) = text else {
            return Self::Nothing;
        };
        let from = text.as_ptr().addr().checked_sub(json.as_ptr().addr());
        let place = from.and_then(|from| Some((from, from.checked_add(text.len())?)));
        match place.filter(|(from, to)| json.get(*from..*to) == Some(text)) {
            Some((from, to)) => Self::At { from, to },
            None => Self::Apart(text.into()),
        }
    }

    fn text<'s>(&'s self, json: &'s str) -> Option<&'s str> {
        match self {
            Self::Nothing => None,
            Self::At { from, to } => json.get(*from..*to),
            Self::Apart(text) => Some(text),
        }
    }
}

impl Caller {
    pub(crate) fn new(proven: &Proven<'_>) -> Result<Self, ServiceIdError> {
        let service = match &proven.name {
            Name::Token => proven.service_id()?.to_owned(),
            Name::Borrowed(service) => ServiceId::clone(service),
            Name::Owned(service) => service.clone(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                service,
                kinds: proven.kinds,
                token: proven.token.as_ref().map(CallerToken::new),
                certificate: proven.certificate,
                ages: proven.ages,
                at: proven.now,
            }),
        })
    }

    /// Who it is.
    pub fn service_id(&self) -> &ServiceId {
        &self.inner.service
    }

    /// Whether it showed a credential of this kind, and it held.
    pub fn has(&self, credential: Credential) -> bool {
        self.inner.kinds.has(credential)
    }

    /// What its token said, if it had one.
    pub fn token(&self) -> Option<&CallerToken> {
        self.inner.token.as_ref()
    }

    /// Whether it has a token whose `scope` contains `wanted`.
    pub fn has_scope(&self, wanted: &str) -> bool {
        self.token().is_some_and(|token| token.has_scope(wanted))
    }

    /// The certificate whose key it showed.
    pub fn certificate(&self) -> Option<&CertificateThumbprint> {
        self.inner.certificate.as_ref()
    }

    /// How old what was asked was.
    pub fn ages(&self) -> &Ages {
        &self.inner.ages
    }

    /// When it was admitted.
    pub fn admitted_at(&self) -> Timestamp {
        self.inner.at
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("service_id", &self.inner.service)
            .field("credentials", &self.inner.kinds)
            .finish_non_exhaustive()
    }
}

impl CallerToken {
    fn new(token: &Verified<'_>) -> Self {
        let claims = token.claims();
        let json = claims.json();
        let said = |text| Said::of(json, text);
        Self {
            json: json.into(),
            issuer: said(claims.issuer()),
            token_id: said(claims.token_id()),
            session_id: said(claims.session_id()),
            scope: said(claims.scope()),
            expires_at: claims.expires_at(),
            is_bound: claims.confirmation().is_some(),
        }
    }

    /// All claims as JSON, as the issuer wrote them: strict, and no member twice.
    pub fn claims_json(&self) -> &str {
        &self.json
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.text(&self.json)
    }

    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.text(&self.json)
    }

    /// `sid`.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.text(&self.json)
    }

    /// `scope`, as the issuer wrote it.
    pub fn scope(&self) -> Option<&str> {
        self.scope.text(&self.json)
    }

    /// Whether `scope` contains `wanted`, compared as [`m2m_token::Claims::has_scope`] does.
    pub fn has_scope(&self, wanted: &str) -> bool {
        let mut values = self.scope().unwrap_or_default().split(' ');
        !wanted.is_empty() && values.any(|value| value == wanted)
    }

    /// `exp`.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether nobody else can use it: the caller gave proof of what it is bound to.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }
}

/// What it says is nobody's business here.
impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerToken")
            .field("expires_at", &self.expires_at)
            .field("is_bound", &self.is_bound)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Said;

    #[test]
    fn a_text_is_found_where_it_stands_and_kept_where_it_does_not() {
        let json = r#"{"iss":"a","jti":""}"#;
        let copy = json.to_owned();
        for (text, is_there) in [(&json[8..9], true), (&json[17..17], true), ("a\"b", false)] {
            let said = Said::of(json, Some(text));
            assert_eq!(matches!(said, Said::At { .. }), is_there);
            assert_eq!(said.text(&copy), Some(text));
        }
        assert_eq!(Said::of(json, None).text(&copy), None);
    }
}
