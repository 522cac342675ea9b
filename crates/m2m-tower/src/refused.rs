//! `Refused`: why a request was not let through, for operators; and who is told, and how often.

use std::fmt;
use std::sync::Arc;

use m2m_guard::{Ages, Check, Credential, Refusal, Rejection, Remedy};
use m2m_types::{ClockError, ServiceId, Timestamp};

use crate::credentials::RequestProblem;
use crate::observe::{Sampler, quietly};

/// Why a request was not let through: for logs and operators. The client gets a status and a word.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a request that is taken, whoever sent it.
    #[error("request: {0}")]
    Request(RequestProblem),
    /// The guard did not admit it.
    #[error("{0}")]
    Guard(Refusal),
    /// The connection is not trusted any more.
    #[cfg(feature = "tls")]
    #[error("connection: {0}")]
    Connection(m2m_pki::tls::PeerError),
    /// A proxy forwarded a certificate that does not hold.
    #[cfg(feature = "tls")]
    #[error("forwarded certificate: {0}")]
    Forwarded(m2m_pki::ChainError),
    /// The signature of the request holds, and leaves out a part of it that anybody could then change.
    #[cfg(feature = "secrets")]
    #[error("signature: it does not cover {part}")]
    Unsigned {
        /// What.
        part: crate::UnsignedPart,
    },
    /// The content of a signed request is not the one that was signed.
    #[cfg(feature = "secrets")]
    #[error("signed content: {0}")]
    Content(m2m_secrets::ContentDigestError),
    /// As much content of signed requests is being read as may be.
    #[cfg(feature = "secrets")]
    #[error("content of signed requests: all of the {total} bytes are taken")]
    ContentRoom {
        /// How much there may be.
        total: usize,
    },
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
    /// The caller's name could not be kept.
    #[error("the caller has no name that can be kept")]
    Name,
}

impl Refused {
    /// What the client may learn; [`None`] if its request is not one.
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Request(_) => None,
            Self::Guard(refusal) => Some(refusal.rejection()),
            #[cfg(feature = "tls")]
            Self::Connection(_) | Self::Forwarded(_) => Some(Rejection::Unauthenticated),
            #[cfg(feature = "secrets")]
            Self::Unsigned { .. } | Self::Content(_) => Some(Rejection::Unauthenticated),
            #[cfg(feature = "secrets")]
            Self::ContentRoom { .. } => Some(Rejection::Unavailable),
            Self::Clock(_) | Self::Name => Some(Rejection::Unavailable),
        }
    }

    /// What the client is told to do.
    pub fn remedy(&self) -> &Remedy {
        match self {
            Self::Guard(refusal) => refusal.remedy(),
            _ => &Remedy::Nothing,
        }
    }

    /// A stable word for metrics and alerts: one of [`Refused::codes`], never renamed.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request(problem) => problem.code(),
            Self::Guard(refusal) => refusal.code(),
            #[cfg(feature = "tls")]
            Self::Connection(_) => "connection",
            #[cfg(feature = "tls")]
            Self::Forwarded(_) => "forwarded_certificate",
            #[cfg(feature = "secrets")]
            Self::Unsigned { .. } => "unsigned",
            #[cfg(feature = "secrets")]
            Self::Content(_) => "content",
            #[cfg(feature = "secrets")]
            Self::ContentRoom { .. } => "content_room",
            Self::Clock(_) => "clock",
            Self::Name => "name",
        }
    }

    /// A second stable word where the first leaves much open; see [`Refusal::detail`]. Empty where there is
    /// nothing to add.
    pub fn detail(&self) -> &'static str {
        match self {
            Self::Guard(refusal) => refusal.detail(),
            #[cfg(feature = "tls")]
            Self::Connection(error) => peer_reason(error),
            #[cfg(feature = "tls")]
            Self::Forwarded(error) => error.code(),
            #[cfg(feature = "secrets")]
            Self::Unsigned { .. } | Self::Content(_) | Self::ContentRoom { .. } => "",
            Self::Request(_) | Self::Clock(_) | Self::Name => "",
        }
    }

    /// All pairs that [`Refused::code`] and [`Refused::detail`] can give.
    pub fn codes() -> impl Iterator<Item = (&'static str, &'static str)> {
        let alone = RequestProblem::CODES.iter().chain(&["clock", "name"]);
        #[cfg(feature = "secrets")]
        let alone = alone.chain(&["unsigned", "content", "content_room"]);
        let pairs = Refusal::codes().chain(alone.map(|code| (*code, "")));
        #[cfg(feature = "tls")]
        let pairs = pairs
            .chain(peer_reasons().map(|detail| ("connection", detail)))
            .chain(
                m2m_pki::ChainError::CODES
                    .iter()
                    .map(|detail| ("forwarded_certificate", *detail)),
            );
        pairs
    }

    /// The check of the guard that said no, if it came to that.
    pub fn check(&self) -> Option<Check> {
        match self {
            Self::Guard(refusal) => Some(refusal.check()),
            _ => None,
        }
    }

    /// The kind of credential at fault, if it is one.
    pub fn credential(&self) -> Option<Credential> {
        match self {
            Self::Guard(refusal) => refusal.credential(),
            #[cfg(feature = "tls")]
            Self::Connection(_) | Self::Forwarded(_) => Some(Credential::Certificate),
            #[cfg(feature = "secrets")]
            Self::Unsigned { .. } | Self::Content(_) => Some(Credential::Signature),
            _ => None,
        }
    }

    /// Who called, as far as that was proven; see [`Refusal::caller`].
    pub fn caller(&self) -> Option<&ServiceId> {
        match self {
            Self::Guard(refusal) => refusal.caller(),
            _ => None,
        }
    }

    /// How old what was asked was, if it came to that.
    pub fn ages(&self) -> Option<&Ages> {
        match self {
            Self::Guard(refusal) => Some(refusal.ages()),
            _ => None,
        }
    }
}

/// What a peer was refused for: what is wrong with its chain, if that is it.
#[cfg(feature = "tls")]
pub(crate) fn peer_reason(error: &m2m_pki::tls::PeerError) -> &'static str {
    match error {
        m2m_pki::tls::PeerError::Chain(error) => error.code(),
        error => error.code(),
    }
}

/// All that [`peer_reason`] says, each once.
#[cfg(feature = "tls")]
pub(crate) fn peer_reasons() -> impl Iterator<Item = &'static str> {
    let of_chains = m2m_pki::ChainError::CODES;
    let others = m2m_pki::tls::PeerError::CODES
        .iter()
        .filter(|code| **code != "chain" && !of_chains.contains(code));
    of_chains.iter().chain(others).copied()
}

impl From<RequestProblem> for Refused {
    fn from(problem: RequestProblem) -> Self {
        Self::Request(problem)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Guard(refusal)
    }
}

/// Tells of refusals: of some in each second, and of how many there were besides ([`Sampler`]). A flood of
/// refusals is not to become a flood of log lines.
#[derive(Clone)]
pub(crate) struct Watcher {
    observe: Option<Observe>,
    #[cfg(feature = "tracing")]
    traces: bool,
    sampler: Sampler,
}

type Observe = Arc<dyn Fn(&Refused, u64) + Send + Sync>;

impl Watcher {
    pub(crate) fn new() -> Self {
        Self {
            observe: None,
            #[cfg(feature = "tracing")]
            traces: false,
            sampler: Sampler::default(),
        }
    }

    pub(crate) fn observe(&mut self, observe: Observe) {
        self.observe = Some(observe);
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn trace(&mut self) {
        self.traces = true;
    }

    /// Returns whether somebody was told who wanted to be, if anybody did.
    pub(crate) fn tell(
        &self,
        refused: &Refused,
        is_let_through: bool,
        now: Option<Timestamp>,
        #[cfg(feature = "tracing")] span: Option<&crate::observe::Kept>,
    ) -> bool {
        let is_watched = self.observe.is_some();
        #[cfg(feature = "tracing")]
        let is_watched = is_watched || self.traces;
        if !is_watched {
            return true;
        }
        let Some(left_out) = self.sampler.take(now.map_or(0, Timestamp::unix_seconds)) else {
            return false;
        };
        if let Some(observe) = &self.observe {
            quietly(|| observe(refused, left_out));
        }
        #[cfg(feature = "tracing")]
        if self.traces {
            quietly(|| crate::observe::tell_refused(refused, is_let_through, left_out, span));
        }
        let _ = is_let_through;
        true
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
