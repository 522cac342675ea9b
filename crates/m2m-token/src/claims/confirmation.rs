//! `cnf`: the key that the token's presenter must prove to hold (RFC 7800).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{CertificateThumbprint, Thumbprint};

use super::is_string;
use crate::error::{ClaimName, VerifyError};
use crate::json::{FewMembers, Kind, Member};
use crate::policy::Presenter;

/// What a token is bound to: only who proves to hold it may present the token (RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// `x5t#S256`: the presenter's TLS certificate (RFC 8705 §3.1).
    Certificate(CertificateThumbprint),
    /// `jkt`: a key, by its RFC 7638 thumbprint (RFC 9449 §6.1).
    Key(Thumbprint),
}

impl Confirmation {
    /// The name of its member of `cnf`.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "x5t#S256",
            Self::Key(_) => "jkt",
        }
    }

    /// The hash that the member is, in base64url.
    pub(crate) const fn hash(&self) -> &[u8; 32] {
        match self {
            Self::Certificate(thumbprint) => thumbprint.as_bytes(),
            Self::Key(thumbprint) => thumbprint.as_bytes(),
        }
    }

    /// Reads `cnf`, which must be an object with one member that we know how to check.
    // Not inlined: few tokens have it, and all would pay for the memory it takes on the stack.
    #[inline(never)]
    pub(super) fn parse(payload: &str, member: &Member) -> Result<Self, VerifyError> {
        let refused = VerifyError::ClaimValue {
            name: ClaimName::new("cnf"),
            problem: "does not have exactly one of `x5t#S256` and `jkt`, a SHA-256 in base64url",
        };
        if member.kind() != Kind::Object {
            return Err(VerifyError::ClaimType {
                name: ClaimName::new("cnf"),
                expected: "an object",
            });
        }
        let object = member.json(payload);
        let mut members = FewMembers::new();
        members.scan(object).map_err(|_| refused)?;
        let object = object.as_bytes();
        let [method] = members.as_slice() else {
            return Err(refused);
        };
        if !is_string(method) || method.kind() == Kind::EscapedString {
            return Err(refused);
        }
        let mut hash = [0; 32];
        let text = method.value().of(object);
        if URL_SAFE_NO_PAD.decode_slice(text, &mut hash) != Ok(hash.len()) {
            return Err(refused);
        }
        if method.is_named(object, b"x5t#S256") {
            Ok(Self::Certificate(hash.into()))
        } else if method.is_named(object, b"jkt") {
            Ok(Self::Key(hash.into()))
        } else {
            Err(refused)
        }
    }

    /// Whether `presenter` is who the token is bound to.
    pub(crate) fn check(&self, presenter: &Presenter) -> Result<(), VerifyError> {
        let method = self.method();
        // Public values all: a plain comparison tells nobody anything.
        let same = match self {
            Self::Certificate(bound) => presenter.certificate.map(|shown| shown == *bound),
            Self::Key(bound) => presenter.key.map(|shown| shown == *bound),
        };
        match same {
            None => Err(VerifyError::BindingMissing { method }),
            Some(true) => Ok(()),
            Some(false) => Err(VerifyError::BindingMismatch { method }),
        }
    }
}
