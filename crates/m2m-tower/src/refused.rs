//! `Refused`: why a request was not let through, for operators; and who is told, and how often.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use m2m_guard::{Refusal, Rejection, Remedy};
use m2m_types::{ClockError, Timestamp};

use crate::credentials::RequestProblem;

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

    /// A stable word for metrics; never renamed.
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

/// Tells of refusals: of the first [`Watcher::A_SECOND`] of each second, and of how many there were
/// besides. A flood of refusals is not to become a flood of log lines.
#[derive(Clone)]
pub(crate) struct Watcher {
    observe: Option<Observe>,
    /// The second that is counted, and how many there were in it.
    counted: Arc<AtomicU64>,
    unseen: Arc<AtomicU64>,
}

type Observe = Arc<dyn Fn(&Refused, u64) + Send + Sync>;

impl Watcher {
    /// How many a second are told of.
    pub(crate) const A_SECOND: u64 = 100;
    const COUNT_BITS: u32 = 16;

    pub(crate) fn new(observe: Option<Observe>) -> Self {
        Self {
            observe,
            counted: Arc::default(),
            unseen: Arc::default(),
        }
    }

    pub(crate) fn tell(&self, refused: &Refused, now: Option<Timestamp>) {
        let Some(observe) = &self.observe else {
            return;
        };
        if !self.counts(now.map_or(0, Timestamp::unix_seconds)) {
            self.unseen.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let unseen = self.unseen.swap(0, Ordering::Relaxed);
        // What it does wrong is not to be the request's fault, nor the connection's.
        let told = std::panic::AssertUnwindSafe(|| observe(refused, unseen));
        let _ = std::panic::catch_unwind(told);
    }

    /// Whether one more is told of in this second.
    fn counts(&self, second: u64) -> bool {
        let count = |before: u64| match before >> Self::COUNT_BITS == second {
            true if before & ((1 << Self::COUNT_BITS) - 1) >= Self::A_SECOND => None,
            true => Some(before + 1),
            false => Some(second << Self::COUNT_BITS | 1),
        };
        self.counted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .is_ok()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
