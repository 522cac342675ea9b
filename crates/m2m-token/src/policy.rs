//! What a verifier is for: whose tokens it takes, meant for whom, of which type.

use std::sync::Arc;

use m2m_crypto::{CertificateThumbprint, Thumbprint};
use m2m_types::Live;

use crate::error::VerifyError;
use crate::excerpt::Excerpt;
use crate::key_set::KeySet;

/// The issuers that a verifier trusts, each with its own keys: a key answers only for its issuer.
///
/// The keys are a [`Live`] set, so that they can be replaced while tokens are verified; a
/// [`crate::RemoteKeySet`] or a [`crate::SigningKeyRing`] keeps one up to date, a plain [`KeySet`]
/// stays as it is.
#[derive(Clone, Debug)]
pub struct Issuers {
    pub(crate) list: Vec<Issuer>,
    pub(crate) checked: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) name: Arc<str>,
    pub(crate) keys: Arc<Live<KeySet>>,
}

impl Issuers {
    /// One issuer. `name` is compared with `iss` byte by byte (RFC 7519 §4.1.1).
    pub fn one(name: &str, keys: impl Into<Arc<Live<KeySet>>>) -> Self {
        Self {
            list: Vec::new(),
            checked: true,
        }
        .and(name, keys)
    }

    /// One more issuer.
    #[must_use]
    pub fn and(mut self, name: &str, keys: impl Into<Arc<Live<KeySet>>>) -> Self {
        self.list.push(Issuer {
            name: Arc::from(name),
            keys: keys.into(),
        });
        self
    }

    /// Whoever holds one of `keys`, whatever `iss` says or does not say.
    ///
    /// For tokens without `iss` only: with more than one issuer this lets each speak for the others.
    pub fn danger_ignored(keys: impl Into<Arc<Live<KeySet>>>) -> Self {
        let mut issuers = Self::one("", keys);
        issuers.checked = false;
        issuers
    }
}

/// For whom a token must be meant: its `aud` (RFC 7519 §4.1.3), compared byte by byte.
#[derive(Clone, Debug)]
pub struct Audience {
    pub(crate) names: Vec<Box<str>>,
    pub(crate) others: bool,
}

impl Audience {
    /// Tokens for `name` and nobody else.
    pub fn exactly(name: &str) -> Self {
        Self {
            names: vec![Box::from(name)],
            others: false,
        }
    }

    /// The service has a further name.
    #[must_use]
    pub fn or(mut self, name: &str) -> Self {
        self.names.push(Box::from(name));
        self
    }

    /// Takes tokens that are meant for others as well. Each of those others can then present the
    /// token here, so this is for tokens whose audiences trust each other.
    #[must_use]
    pub fn allowing_others(mut self) -> Self {
        self.others = true;
        self
    }

    /// Takes tokens whoever they are meant for, and those that do not say.
    pub fn danger_ignored() -> Self {
        Self {
            names: Vec::new(),
            others: true,
        }
    }

    pub(crate) fn is_ignored(&self) -> bool {
        self.names.is_empty()
    }
}

/// What kind of token a verifier takes: the header's `typ` (RFC 8725 §3.11), so that a token that
/// was made for one purpose is not taken for another.
///
/// Names are compared as media types are: whatever the case, with or without `application/` in
/// front (RFC 7515 §4.1.9). Parameters (`;x=y`) are never taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenType {
    pub(crate) rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Named(Box<str>),
    JwtOrAbsent,
    Ignored,
}

impl TokenType {
    /// OAuth 2.0 access tokens, `at+jwt` (RFC 9068). `sub` is required as well.
    pub fn access_token() -> Self {
        Self::named(ACCESS_TOKEN)
    }

    /// Tokens that say `JWT` (RFC 7519 §5.1).
    pub fn jwt() -> Self {
        Self::named("JWT")
    }

    /// Tokens that say `JWT` or nothing, as many older issuers' do. Anything else is refused.
    pub fn jwt_or_absent() -> Self {
        Self {
            rule: Rule::JwtOrAbsent,
        }
    }

    /// Tokens that say `name`, for example `secevent+jwt`.
    pub fn named(name: &str) -> Self {
        Self {
            rule: Rule::Named(Box::from(name)),
        }
    }

    /// Tokens of every type: one made for another purpose is taken too.
    pub fn danger_ignored() -> Self {
        Self {
            rule: Rule::Ignored,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.rule, Rule::Named(name) if name.is_empty())
    }

    pub(crate) fn is_access_token(&self) -> bool {
        matches!(&self.rule, Rule::Named(name) if same_media_type(name, ACCESS_TOKEN))
    }

    pub(crate) fn check(&self, typ: Option<&str>) -> Result<(), VerifyError> {
        let (taken, expected) = match &self.rule {
            Rule::Ignored => return Ok(()),
            Rule::JwtOrAbsent => (typ.is_none_or(|typ| same_media_type(typ, "JWT")), "JWT"),
            Rule::Named(name) => (typ.is_some_and(|typ| same_media_type(typ, name)), &**name),
        };
        if taken {
            return Ok(());
        }
        Err(VerifyError::Type {
            expected: Excerpt::new(expected),
            found: typ.map(Excerpt::new).into(),
        })
    }
}

const ACCESS_TOKEN: &str = "at+jwt";

/// Whether two values of `typ` mean the same (RFC 7515 §4.1.9).
fn same_media_type(a: &str, b: &str) -> bool {
    fn subtype(name: &str) -> &str {
        const PREFIX: &str = "application/";
        match name.split_at_checked(PREFIX.len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => {
                rest
            }
            _ => name,
        }
    }
    subtype(a).eq_ignore_ascii_case(subtype(b))
}

/// What the caller of a verifier knows about who presents a token: proof that its own transport
/// checked, never anything that was read from the request.
///
/// A token that is bound (`cnf`, RFC 7800) is taken only with the proof it is bound to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presenter {
    pub(crate) certificate: Option<CertificateThumbprint>,
    pub(crate) key: Option<Thumbprint>,
    /// See [`crate::Unproven`].
    pub(crate) proves_later: bool,
}

impl Presenter {
    /// Nothing is known: bearer tokens are taken, bound ones are refused.
    pub const fn unknown() -> Self {
        Self {
            certificate: None,
            key: None,
            proves_later: false,
        }
    }

    /// Whoever it is will prove it.
    pub(crate) const fn later() -> Self {
        Self {
            certificate: None,
            key: None,
            proves_later: true,
        }
    }

    /// The presenter proved in the TLS handshake that it holds the key of this certificate
    /// (`x5t#S256`, RFC 8705 §3.1). A bare hash is that of the certificate's DER.
    #[must_use]
    pub fn with_certificate(mut self, thumbprint: impl Into<CertificateThumbprint>) -> Self {
        self.certificate = Some(thumbprint.into());
        self
    }

    /// The presenter proved that it holds this key (`jkt`, RFC 9449 §6.1, or `jwk`, RFC 7800 §3.2). A
    /// bare hash is the key's RFC 7638 thumbprint.
    #[must_use]
    pub fn with_key(mut self, thumbprint: impl Into<Thumbprint>) -> Self {
        self.key = Some(thumbprint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jwt_065_each_profile_takes_only_its_own_type() {
        let all = [
            None,
            Some("JWT"),
            Some("jwt"),
            Some("at+jwt"),
            Some("AT+JWT"),
            Some("application/at+jwt"),
            Some("Application/AT+JWT"),
            Some("application/application/at+jwt"),
            Some("text/at+jwt"),
            Some("at+jwt;x=y"),
            Some("at+jwt "),
            Some("secevent+jwt"),
            Some("dpop+jwt"),
            Some(""),
            Some("application/"),
        ];
        let matrix = [
            (TokenType::access_token(), "...xxxx........"),
            (TokenType::jwt(), ".xx............"),
            (TokenType::jwt_or_absent(), "xxx............"),
            (TokenType::named("secevent+jwt"), "...........x..."),
            (TokenType::danger_ignored(), "xxxxxxxxxxxxxxx"),
        ];
        for (profile, taken) in matrix {
            let row: String = all
                .iter()
                .map(|typ| {
                    if profile.check(*typ).is_ok() {
                        'x'
                    } else {
                        '.'
                    }
                })
                .collect();
            assert_eq!(row, taken, "{profile:?}");
        }
    }
}
