//! `VerifyError`: why a token was refused, for operators; and `Rejection`, what its bearer may learn.

use std::fmt;
use std::time::Duration;

use m2m_crypto::Algorithm;
use m2m_revoke::Revoked;
use m2m_types::{ServiceIdError, Timestamp};

use crate::excerpt::Excerpt;
use crate::json::JsonError;

/// Why a token was refused: for logs and operators. The peer gets [`VerifyError::rejection`].
///
/// It says which part or claim is at fault and what was expected of it, never what a token, a
/// signature or a claim contains, but for escaped and shortened names ([`Excerpt`]). It is small,
/// `Copy` and made without allocating. [`VerifyError::code`] is a stable word for metrics.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The token is longer than [`crate::MAX_TOKEN_BYTES`]. Nothing of it was looked at.
    #[error("the token has {length} bytes, more than the {limit} that are read")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// [`crate::MAX_TOKEN_BYTES`].
        limit: usize,
    },
    /// The token does not have three parts, or one of them is empty (RFC 7515 §7.1).
    #[error("not a compact JWS: expected three parts with a dot between them")]
    Parts,
    /// A part is not strict base64url (RFC 7515 §2): padding, white space, unused bits that are set.
    #[error("the {part} is not strict base64url")]
    Base64 {
        /// Which part.
        part: Part,
    },
    /// A part is not one JSON object of the strict kind.
    #[error("the {part} is not acceptable JSON: {problem}")]
    Json {
        /// Which part.
        part: Part,
        /// What is wrong with it.
        problem: JsonError,
    },
    /// A header parameter is missing, has the wrong type or a value that is never taken.
    #[error("header parameter `{name}` {problem}")]
    Header {
        /// Its name (RFC 7515 §4.1).
        name: &'static str,
        /// What is wrong with it.
        problem: HeaderProblem,
    },
    /// `alg` names nothing that we verify; `none` is such a name.
    #[error("header parameter `alg` names no supported signature algorithm")]
    AlgorithmUnknown,
    /// `alg` is not what the key is for. The algorithm comes from the key (RFC 8725 §3.1).
    #[error("header says {header}, but the key is for {key}")]
    AlgorithmMismatch {
        /// What the header says.
        header: Algorithm,
        /// What the key is for.
        key: Algorithm,
    },
    /// `alg` is not among those the verifier was told to allow.
    #[error("{algorithm} is not among the algorithms that this verifier allows")]
    AlgorithmNotAllowed {
        /// What the header says.
        algorithm: Algorithm,
    },
    /// `typ` is not what this verifier is for (RFC 8725 §3.11).
    #[error("token type {found}, expected {expected}")]
    Type {
        /// What the verifier is for.
        expected: Excerpt,
        /// What the header says; `None` if it says nothing.
        found: Found<Excerpt>,
    },
    /// A claim that must be there is not.
    #[error("claim `{name}` is missing")]
    ClaimMissing {
        /// Its name.
        name: ClaimName,
    },
    /// A claim does not have the JSON type that its standard gives it.
    #[error("claim `{name}` is not {expected}")]
    ClaimType {
        /// Its name.
        name: ClaimName,
        /// What it should be.
        expected: &'static str,
    },
    /// A claim has the right type, but a value that is never taken.
    #[error("claim `{name}` {problem}")]
    ClaimValue {
        /// Its name.
        name: ClaimName,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `iss` is none of the issuers that the verifier trusts.
    #[error("issuer {found} is not trusted by this verifier")]
    IssuerUnknown {
        /// What `iss` says.
        found: Excerpt,
    },
    /// The issuer has no such key (any more, or yet). The only refusal after which it makes sense to
    /// fetch the issuer's keys anew: see [`crate::RemoteKeySet::handle_unknown_key`].
    #[error("the issuer has no key for {algorithm} with `kid` {kid}")]
    KeyUnknown {
        /// The header's `kid`, if it has one.
        kid: Found<Excerpt>,
        /// The header's `alg`.
        algorithm: Algorithm,
    },
    /// The header has no `kid`, and more of the issuer's keys would fit than are tried.
    #[error(
        "header has no `kid`, and {candidates} keys would fit, more than the {limit} that are tried"
    )]
    KeyAmbiguous {
        /// How many would fit.
        candidates: usize,
        /// [`crate::MAX_KEYS_TRIED`].
        limit: usize,
    },
    /// The issuer's keys have not been confirmed for longer than they may be used.
    #[error(
        "the issuer's keys were usable until {until} and have not been refreshed; now is {now}"
    )]
    KeysStale {
        /// Until when they were usable.
        until: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// The signature is not one that the key's owner made over this token.
    #[error("the signature does not verify")]
    Signature,
    /// `aud` does not name this service (RFC 7519 §4.1.3).
    #[error("`aud` does not name this service, {expected}")]
    Audience {
        /// The first of the names that would have been right.
        expected: Excerpt,
    },
    /// `aud` names this service and others, and the verifier was not told to allow that.
    #[error(
        "`aud` names {count} audiences; allow that with `Audience::allowing_others` if it is meant"
    )]
    OtherAudiences {
        /// How many it names.
        count: usize,
    },
    /// `exp` has passed (RFC 7519 §4.1.4).
    #[error("token expired at {expires}; now is {now}, leeway {leeway:?}")]
    Expired {
        /// The token's `exp`.
        expires: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
        /// The clock skew allowed for.
        leeway: Duration,
    },
    /// `nbf` lies ahead (RFC 7519 §4.1.5).
    #[error("token is not valid before {not_before}; now is {now}, leeway {leeway:?}")]
    NotYetValid {
        /// The token's `nbf`.
        not_before: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
        /// The clock skew allowed for.
        leeway: Duration,
    },
    /// `iat` lies ahead (RFC 7519 §4.1.6).
    #[error("token was issued in the future, at {issued}; now is {now}, leeway {leeway:?}")]
    IssuedInFuture {
        /// The token's `iat`.
        issued: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
        /// The clock skew allowed for.
        leeway: Duration,
    },
    /// `exp` is not after `iat` or `nbf`, so there is no moment at which the token is valid.
    #[error("token expires at {expires}, not after the {from} from which it holds")]
    Lifetime {
        /// `iat` or `nbf`, the later one.
        from: Timestamp,
        /// `exp`.
        expires: Timestamp,
    },
    /// From `iat` to `exp` is longer than the verifier allows.
    #[error("token lives for {lifetime:?}, more than the {limit:?} that this verifier allows")]
    LifetimeTooLong {
        /// `exp` - `iat`.
        lifetime: Duration,
        /// The verifier's limit.
        limit: Duration,
    },
    /// `sub` is not a SPIFFE ID, and the verifier wants one.
    #[error("claim `sub` is not a SPIFFE ID: {problem}")]
    SubjectNotSpiffe {
        /// What is wrong with it.
        problem: ServiceIdError,
    },
    /// `sub` is a SPIFFE ID of another trust domain.
    #[error("claim `sub` belongs to another trust domain than {expected}")]
    TrustDomain {
        /// The verifier's trust domain.
        expected: Excerpt,
    },
    /// The token is bound to a key or a certificate (`cnf`), and the caller has shown none, or not
    /// of this kind (RFC 7800 §3, RFC 8705 §3).
    #[error("token is bound by `{method}`, but the presenter has shown no such proof")]
    BindingMissing {
        /// The confirmation method, `x5t#S256`, `jkt` or `jwk`.
        method: &'static str,
    },
    /// The token is bound to another key or certificate than the caller's.
    #[error("token is bound by `{method}` to somebody else than its presenter")]
    BindingMismatch {
        /// The confirmation method.
        method: &'static str,
    },
    /// The verifier wants tokens that are bound, and this one is not.
    #[error("token is not bound to its presenter, and this verifier takes no bearer tokens")]
    BindingRequired,
    /// The token, its subject, its session or its key has been revoked.
    #[error("{0}")]
    Revoked(Revoked),
}

/// A part of a token.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The JOSE header.
    Header,
    /// The payload: the claims.
    Claims,
    /// The signature.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Claims => "claims part",
            Self::Signature => "signature",
        })
    }
}

/// What is wrong with a header parameter.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProblem {
    /// It must be there and is not.
    Missing,
    /// It must be a string and is not.
    NotAString,
    /// It is empty or longer than is taken.
    Length,
    /// It is understood by nobody here, and ignoring it would be wrong (`crit`, `b64`, `zip`, `enc`).
    NotUnderstood,
}

impl fmt::Display for HeaderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::NotAString => "is not a string",
            Self::Length => "is empty or too long",
            Self::NotUnderstood => {
                "asks for something that is not supported and must not be ignored"
            }
        })
    }
}

/// The name of a claim in an error: a registered one, or one the verifier was told to require.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClaimName(Excerpt);

impl ClaimName {
    pub(crate) fn new(name: &str) -> Self {
        Self(Excerpt::new(name))
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = self.0.to_string();
        f.write_str(quoted.trim_matches('"'))
    }
}

impl fmt::Debug for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A value that was found, or that nothing was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Found<T> {
    /// It was not there.
    Nothing,
    /// This was there.
    Value(T),
}

impl<T: fmt::Display> fmt::Display for Found<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("(none)"),
            Self::Value(value) => fmt::Display::fmt(value, f),
        }
    }
}

impl<T> From<Option<T>> for Found<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Self::Value)
    }
}

/// What the bearer of a refused token is told (RFC 6750 §3.1): one word, the same for every cause,
/// so that it learns nothing about keys, claims or revocations.
///
/// ```
/// use m2m_token::{Rejection, VerifyError};
///
/// let rejection = VerifyError::Signature.rejection();
/// assert_eq!(rejection.status(), 401);
/// assert_eq!(rejection.www_authenticate(), r#"Bearer error="invalid_token""#);
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The token is expired, revoked, malformed or otherwise not valid.
    InvalidToken,
}

impl Rejection {
    /// The error code of RFC 6750 §3.1.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidToken => 401,
        }
    }

    /// The value of the `WWW-Authenticate` header field (RFC 6750 §3).
    pub const fn www_authenticate(self) -> &'static str {
        match self {
            Self::InvalidToken => r#"Bearer error="invalid_token""#,
        }
    }
}

impl VerifyError {
    /// What the peer may learn: the same word whatever the cause (RFC 6750 §3.1).
    pub const fn rejection(&self) -> Rejection {
        Rejection::InvalidToken
    }

    m2m_types::codes! {
        pub fn code;
        Self::TooLong { .. } => "too_long",
        Self::Parts => "parts",
        Self::Base64 { .. } => "base64",
        Self::Json { .. } => "json",
        Self::Header { .. } => "header",
        Self::AlgorithmUnknown => "algorithm_unknown",
        Self::AlgorithmMismatch { .. } => "algorithm_mismatch",
        Self::AlgorithmNotAllowed { .. } => "algorithm_not_allowed",
        Self::Type { .. } => "type",
        Self::ClaimMissing { .. } => "claim_missing",
        Self::ClaimType { .. } => "claim_type",
        Self::ClaimValue { .. } => "claim_value",
        Self::IssuerUnknown { .. } => "issuer_unknown",
        Self::KeyUnknown { .. } => "key_unknown",
        Self::KeyAmbiguous { .. } => "key_ambiguous",
        Self::KeysStale { .. } => "keys_stale",
        Self::Signature => "signature",
        Self::Audience { .. } => "audience",
        Self::OtherAudiences { .. } => "other_audiences",
        Self::Expired { .. } => "expired",
        Self::NotYetValid { .. } => "not_yet_valid",
        Self::IssuedInFuture { .. } => "issued_in_future",
        Self::Lifetime { .. } => "lifetime",
        Self::LifetimeTooLong { .. } => "lifetime_too_long",
        Self::SubjectNotSpiffe { .. } => "subject_not_spiffe",
        Self::TrustDomain { .. } => "trust_domain",
        Self::BindingMissing { .. } => "binding_missing",
        Self::BindingMismatch { .. } => "binding_mismatch",
        Self::BindingRequired => "binding_required",
        Self::Revoked(_) => "revoked",
    }
}
