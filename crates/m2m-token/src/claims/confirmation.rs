//! `cnf`: the key that the token's presenter must prove to hold (RFC 7800).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::{CertificateThumbprint, Jwk, Thumbprint, VerifyingKey};

use super::is_string;
use crate::error::{ClaimName, VerifyError};
use crate::json::{Kind, Member, Members};
use crate::policy::Presenter;

/// What a token is bound to: only who proves to hold it may present the token (RFC 7800).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// `x5t#S256`: the presenter's TLS certificate (RFC 8705 §3.1).
    Certificate(CertificateThumbprint),
    /// `jkt`: a key, by its RFC 7638 thumbprint (RFC 9449 §6.1).
    Key(Thumbprint),
    /// `jwk`: a key that the token itself contains (RFC 7800 §3.2), as workload identity tokens do. This
    /// is its RFC 7638 thumbprint; [`crate::Claims::embedded_key`] is the key.
    EmbeddedKey(Thumbprint),
}

/// What was found in `cnf`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    To(Confirmation),
    /// To a key in the token, at which nobody has looked yet: that takes memory and cryptography, which
    /// strangers do not get.
    EmbeddedKey,
}

/// Room for `cnf` with a key in it.
type ConfirmationMembers = Members<128, 16, 32>;

const EMBEDDED_KEY: &str = "jwk";

impl Confirmation {
    /// The name of its member of `cnf`.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "x5t#S256",
            Self::Key(_) => "jkt",
            Self::EmbeddedKey(_) => EMBEDDED_KEY,
        }
    }

    /// The hash that the member is, in base64url; of a key, its thumbprint.
    pub(crate) const fn hash(&self) -> &[u8; 32] {
        match self {
            Self::Certificate(thumbprint) => thumbprint.as_bytes(),
            Self::Key(thumbprint) | Self::EmbeddedKey(thumbprint) => thumbprint.as_bytes(),
        }
    }

    /// Whether `presenter` is who the token is bound to.
    pub(crate) fn check(&self, presenter: &Presenter) -> Result<(), VerifyError> {
        let method = self.method();
        // Public values all: a plain comparison tells nobody anything.
        let same = match self {
            Self::Certificate(bound) => presenter.certificate.map(|shown| shown == *bound),
            Self::Key(bound) | Self::EmbeddedKey(bound) => {
                presenter.key.map(|shown| shown == *bound)
            }
        };
        match same {
            None => Err(VerifyError::BindingMissing { method }),
            Some(true) => Ok(()),
            Some(false) => Err(VerifyError::BindingMismatch { method }),
        }
    }
}

impl Bound {
    /// Reads `cnf`, which must be an object with one member that we know how to check.
    // Not inlined: few tokens have it, and all would pay for the memory it takes on the stack.
    #[inline(never)]
    pub(super) fn parse(payload: &str, member: &Member) -> Result<Self, VerifyError> {
        if member.kind() != Kind::Object {
            return Err(VerifyError::ClaimType {
                name: ClaimName::new("cnf"),
                expected: "an object",
            });
        }
        let object = member.json(payload);
        let mut members = ConfirmationMembers::new();
        members.scan(object).map_err(|_| not_one())?;
        let object = object.as_bytes();
        let [method] = members.as_slice() else {
            return Err(not_one());
        };
        if method.kind() == Kind::Object && method.is_named(object, EMBEDDED_KEY.as_bytes()) {
            return Ok(Self::EmbeddedKey);
        }
        if !is_string(method) || method.kind() == Kind::EscapedString {
            return Err(not_one());
        }
        let mut hash = [0; 32];
        let text = method.value().of(object);
        if URL_SAFE_NO_PAD.decode_slice(text, &mut hash) != Ok(hash.len()) {
            return Err(not_one());
        }
        if method.is_named(object, b"x5t#S256") {
            Ok(Self::To(Confirmation::Certificate(hash.into())))
        } else if method.is_named(object, b"jkt") {
            Ok(Self::To(Confirmation::Key(hash.into())))
        } else {
            Err(not_one())
        }
    }

    /// Whether `presenter` is who the token is bound to, if that is not to be asked later.
    pub(crate) fn check(&self, presenter: &Presenter) -> Result<(), VerifyError> {
        match self {
            Self::To(_) if presenter.proves_later => Ok(()),
            Self::To(confirmation) => confirmation.check(presenter),
            // A verifier looks at the key before it comes here.
            Self::EmbeddedKey => Err(VerifyError::BindingMissing {
                method: EMBEDDED_KEY,
            }),
        }
    }
}

/// `cnf` says something that is not understood here.
#[cold]
pub(crate) fn not_one() -> VerifyError {
    VerifyError::ClaimValue {
        name: ClaimName::new("cnf"),
        problem: "does not have exactly one of `x5t#S256` and `jkt`, a SHA-256 in base64url",
    }
}

/// The key in `cnf`, if there is one, and it is a public key alone.
pub(super) fn embedded_key(payload: &str, member: &Member) -> Option<VerifyingKey> {
    let object = member.json(payload);
    let mut members = ConfirmationMembers::new();
    members.scan(object).ok()?;
    let [method] = members.as_slice() else {
        return None;
    };
    if !method.is_named(object.as_bytes(), EMBEDDED_KEY.as_bytes()) {
        return None;
    }
    let jwk = Jwk::from_json(method.json(object).as_bytes()).ok()?;
    // Everybody who sees such a token could prove to hold a key that is not private.
    if jwk.has_private_members() {
        return None;
    }
    VerifyingKey::from_jwk(&jwk).ok()
}
