//! `RuntimeError` and `StartError`: why a runtime did not start, or did not do what it was asked.

use std::fmt::Write as _;

use m2m_crypto::RandomError;
use m2m_guard::ResourcesError;
use m2m_store::Reason;
use m2m_types::{ClockError, ServiceIdError};

use super::records::RecordsError;
use super::state::StateError;

/// Why a runtime did not start. Nothing of it runs then, and its state directory is free again.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A name is none: the service's own, or one that something was allowed to.
    #[error("{name:?} is not the name of a service: {problem}")]
    Name {
        /// Its first characters.
        name: Box<str>,
        /// What is wrong.
        problem: ServiceIdError,
    },
    /// Nobody said who issues certificates and tokens.
    #[error("say who issues: `as_issuer`, `joining`, or `joining_by` with an invitation")]
    IssuerUnsaid,
    /// What was said contradicts itself.
    #[error("{what}")]
    Contradiction {
        /// How.
        what: &'static str,
    },
    /// A resource that was allowed cannot be.
    #[error("{0}")]
    Resources(ResourcesError),
    /// The state directory was not opened.
    #[error("{0}")]
    State(StateError),
    /// Something that is kept could not be read, or what is new could not be made.
    #[error("{0}")]
    Runtime(RuntimeError),
}

/// Why a runtime did not do what it was asked to. For operators.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
    /// No randomness.
    #[error("{0}")]
    Random(RandomError),
    /// A record of the runtime.
    #[error("{0}")]
    Records(RecordsError),
    /// The authority did not sign, record or revoke.
    #[error("the authority: {reason}")]
    Authority {
        /// What was wrong.
        reason: Reason,
    },
    /// The issuer cannot be reached, or does not answer as one.
    #[error("the issuer: {reason}")]
    Issuer {
        /// What was wrong.
        reason: Reason,
    },
    /// A text is no invitation.
    #[error("this is not an invitation; copy it whole, from `m2m-invitation-1.` to its end")]
    Invitation,
    /// The issuer said no. It says why in its own log.
    #[error("the issuer refuses with {status}; its log says why")]
    Refused {
        /// The status of its answer.
        status: u16,
    },
    /// Our own certificate, or what it is used with.
    #[error("TLS: {reason}")]
    Tls {
        /// What was wrong.
        reason: Reason,
    },
    /// Tokens.
    #[error("tokens: {reason}")]
    Tokens {
        /// What was wrong.
        reason: Reason,
    },
    /// Revocations.
    #[error("revocations: {reason}")]
    Revocations {
        /// What was wrong.
        reason: Reason,
    },
    /// API keys.
    #[error("API keys: {reason}")]
    ApiKeys {
        /// What was wrong.
        reason: Reason,
    },
    /// Events.
    #[error("events: {reason}")]
    Events {
        /// What was wrong.
        reason: Reason,
    },
    /// The guard was not built.
    #[error("guard: {reason}")]
    Guard {
        /// What was wrong.
        reason: Reason,
    },
    /// A file was not written.
    #[error("files: {reason}")]
    Files {
        /// What was wrong.
        reason: Reason,
    },
}

macro_rules! from_reasons {
    ($($name:ident $variant:ident),* $(,)?) => {
        impl RuntimeError {
            $(pub(super) fn $name(error: impl std::error::Error) -> Self {
                Self::$variant { reason: reason(&error) }
            })*
        }
    };
}

from_reasons! {
    authority Authority,
    issuer Issuer,
    tls Tls,
    tokens Tokens,
    revocations Revocations,
    api_keys ApiKeys,
    events Events,
    guard Guard,
    files Files,
}

/// What an error says, and what the errors behind it say that it does not.
fn reason(error: &dyn std::error::Error) -> Reason {
    let mut text = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}"); // never fails
        }
        behind = error.source();
    }
    Reason::new(text)
}

impl From<RecordsError> for RuntimeError {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl From<ClockError> for RuntimeError {
    fn from(error: ClockError) -> Self {
        Self::Clock(error)
    }
}

impl From<RandomError> for RuntimeError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl From<StateError> for StartError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<RuntimeError> for StartError {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}

impl From<RecordsError> for StartError {
    fn from(error: RecordsError) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<ClockError> for StartError {
    fn from(error: ClockError) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<RandomError> for StartError {
    fn from(error: RandomError) -> Self {
        Self::Runtime(error.into())
    }
}
