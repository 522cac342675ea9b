//! `Refusal`: why a call was not admitted, for operators; and `Rejection`, what the caller may learn.

mod words;

pub use words::Check;

use std::fmt;
use std::time::Duration;

use m2m_revoke::Revoked;
use m2m_token::VerifyError;
use m2m_types::{ServiceId, ServiceIdError};

use crate::decision::{Denial, Remedy};
use crate::freshness::{Age, Ages, Basis};
use crate::presented::Credential;

/// Why a call was not admitted: for logs and operators. The caller gets [`Refusal::rejection`].
///
/// It says which credential or check is at fault and what was expected, never what a credential contains,
/// and how old what was asked was. [`Refusal::code`] is a stable word for metrics, [`Refusal::detail`] a
/// second one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    // A refusal is rare, and an answer that is not one should be small.
    facts: Box<Facts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    reason: RefusalReason,
    ages: Ages,
    caller: Option<ServiceId>,
}

/// What was wrong.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The call came with no credential.
    #[error("no credential was presented")]
    NothingPresented,
    /// The call came with a credential that this guard was not told to take.
    #[error("a {credential} was presented, and this guard takes none")]
    NotTaken {
        /// Which.
        credential: Credential,
    },
    /// The call lacks a credential that this guard requires.
    #[error("this guard requires a {credential}, and none was presented")]
    Required {
        /// Which.
        credential: Credential,
    },
    /// What a check goes by is older than it may be.
    #[error("{basis} were {age}; at most {limit:?} is allowed")]
    Stale {
        /// What is old.
        basis: Basis,
        /// How old.
        age: Age,
        /// How old it may be.
        limit: Duration,
    },
    /// The token was refused.
    #[error("token: {0}")]
    Token(VerifyError),
    /// The peer is not trusted, or no longer.
    #[cfg(feature = "pki")]
    #[error("certificate: {0}")]
    Peer(m2m_pki::ChainError),
    /// The peer's chain was verified as that of a server, and it calls.
    #[cfg(feature = "pki")]
    #[error("certificate: its chain was verified as that of a server, not of a client")]
    PeerRole,
    /// The API key was refused.
    #[cfg(feature = "secrets")]
    #[error("API key: {0}")]
    ApiKey(m2m_secrets::KeyRefusal),
    /// The signature names no caller that is known, or cannot be read.
    #[cfg(feature = "secrets")]
    #[error("signature: it names no key of a caller that is known")]
    SignatureUnknown,
    /// The signature, in the compact form, was refused.
    #[cfg(feature = "secrets")]
    #[error("signature: {0}")]
    Signature(m2m_secrets::RequestError),
    /// The signature of RFC 9421 was refused.
    #[cfg(feature = "secrets")]
    #[error("signature: {0}")]
    HttpSignature(m2m_secrets::HttpSignatureError),
    /// A credential holds, and names no machine.
    #[error("{credential}: it holds, but names no service: {problem}")]
    NotService {
        /// Which.
        credential: Credential,
        /// What is wrong with the name.
        problem: ServiceIdError,
    },
    /// Two credentials hold and are of different machines.
    #[error("{0}")]
    Disagree(Disagreement),
    /// A credential holds, and it or its owner has been revoked.
    #[error("{credential}: {revoked}")]
    Revoked {
        /// Which.
        credential: Credential,
        /// By what.
        revoked: Revoked,
    },
    /// All held, and the caller may not do what it asks for.
    #[error("denied: {}", Escaped(.0.reason()))]
    Denied(Denial),
    /// Code of the application panicked while it was asked.
    #[error("{hook} panicked")]
    Panicked {
        /// What was asked.
        hook: &'static str,
    },
}

/// Which two credentials name different machines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disagreement {
    /// The one that counts first.
    pub first: Credential,
    /// Whom it names.
    pub first_names: ServiceId,
    /// The other one.
    pub second: Credential,
    /// Whom that names.
    pub second_names: ServiceId,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} is of {}, the {} of {}",
            self.first,
            short(&self.first_names),
            self.second,
            short(&self.second_names)
        )
    }
}

/// A name, cut so that a message stays short. It is ASCII.
fn short(name: &ServiceId) -> &str {
    const LONGEST: usize = 160;
    let name = name.as_str();
    name.get(..name.len().min(LONGEST)).unwrap_or_default()
}

/// An application's own words, which may quote a stranger's: escaped, and cut.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 100;
        let bytes = self.0.as_bytes();
        let shown = bytes.get(..bytes.len().min(MOST)).unwrap_or_default();
        write!(f, "{}", shown.escape_ascii())
    }
}

/// What a caller who is refused may learn: one word, whichever credential was wrong and why, so that
/// nobody finds out by trying how far a forgery came.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// It came without a credential, or without the token that is required, which it knows.
    CredentialRequired,
    /// What it came with is not accepted.
    Unauthenticated,
    /// It is known, and may not.
    Forbidden,
    /// Not now: something here does not work, or is too old to go by.
    Unavailable,
}

impl Rejection {
    m2m_types::codes! {
        pub fn code;
        Self::CredentialRequired => "credential_required",
        Self::Unauthenticated => "unauthenticated",
        Self::Forbidden => "forbidden",
        Self::Unavailable => "unavailable",
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Refusal {
    pub(crate) fn with_ages(mut self, ages: Ages) -> Self {
        self.facts.ages = ages;
        self
    }

    /// What was wrong.
    pub fn reason(&self) -> &RefusalReason {
        &self.facts.reason
    }

    /// How old what was asked was.
    pub fn ages(&self) -> &Ages {
        &self.facts.ages
    }

    /// What the caller may learn.
    pub fn rejection(&self) -> Rejection {
        match self.reason() {
            // Who shows a certificate and no token shows no wrong token (RFC 6750 §3.1).
            RefusalReason::NothingPresented
            | RefusalReason::Required {
                credential: Credential::Token,
            } => Rejection::CredentialRequired,
            RefusalReason::Denied(_) => Rejection::Forbidden,
            RefusalReason::Stale { .. }
            | RefusalReason::Panicked { .. }
            | RefusalReason::Token(VerifyError::KeysStale { .. }) => Rejection::Unavailable,
            #[cfg(feature = "pki")]
            RefusalReason::Peer(m2m_pki::ChainError::Revocation {
                error: m2m_pki::RevocationError::Unknown(_),
                ..
            }) => Rejection::Unavailable,
            #[cfg(feature = "secrets")]
            RefusalReason::Signature(error) => of_request(error.rejection()),
            #[cfg(feature = "secrets")]
            RefusalReason::HttpSignature(error) => of_request(error.rejection()),
            _ => Rejection::Unauthenticated,
        }
    }

    /// What the caller is told to do, if it was denied and something can be done.
    pub fn remedy(&self) -> &Remedy {
        match self.reason() {
            RefusalReason::Denied(denial) => denial.remedy(),
            _ => &Remedy::Nothing,
        }
    }

    /// A stable word for metrics and alerts: one of [`Refusal::codes`], never renamed.
    pub fn code(&self) -> &'static str {
        self.reason().code()
    }

    /// A second stable word where the first leaves much open: what a token was refused for
    /// ([`VerifyError::code`]), which credential is missing, what is stale. Empty where there is nothing to
    /// add. Like the first it is one of few, whatever strangers send.
    pub fn detail(&self) -> &'static str {
        self.reason().detail()
    }

    /// The check that said no.
    pub fn check(&self) -> Check {
        self.reason().check()
    }

    /// The kind of credential at fault, if it is one.
    pub fn credential(&self) -> Option<Credential> {
        self.reason().credential()
    }

    /// Who called, as far as that was proven when the call was refused: by a certificate that held, or by all
    /// credentials. What a credential says that did not hold is nobody's name.
    pub fn caller(&self) -> Option<&ServiceId> {
        self.facts.caller.as_ref()
    }

    /// All pairs that [`Refusal::code`] and [`Refusal::detail`] can give, so that metrics can be made of them
    /// beforehand.
    ///
    /// ```
    /// use m2m_guard::Refusal;
    ///
    /// assert!(Refusal::codes().any(|pair| pair == ("token", "expired")));
    /// assert!(Refusal::codes().any(|pair| pair == ("denied", "")));
    /// ```
    pub fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
        words::codes()
    }

    #[cold]
    pub(crate) fn of_caller(mut self, caller: Option<ServiceId>) -> Self {
        self.facts.caller = self.facts.caller.or(caller);
        self
    }
}

#[cfg(feature = "secrets")]
fn of_request(rejection: m2m_secrets::RequestRejection) -> Rejection {
    match rejection {
        m2m_secrets::RequestRejection::Unavailable => Rejection::Unavailable,
        _ => Rejection::Unauthenticated,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.facts.reason, self.facts.ages)
    }
}

impl std::error::Error for Refusal {}

impl From<RefusalReason> for Refusal {
    #[cold]
    #[inline(never)]
    fn from(reason: RefusalReason) -> Self {
        Self {
            facts: Box::new(Facts {
                reason,
                ages: Ages::default(),
                caller: None,
            }),
        }
    }
}

impl From<VerifyError> for Refusal {
    #[cold]
    #[inline(never)]
    fn from(error: VerifyError) -> Self {
        RefusalReason::Token(error).into()
    }
}
