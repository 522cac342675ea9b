//! `LogEvent`: what operators read and callers do not, for the application's own log.

use std::fmt;
use std::sync::Arc;

use m2m_pki::tls::TlsEvent;
use m2m_tower::Refused;

use super::tasks::TaskName;

/// Something that belongs in a log. Its text is one line without anything that is secret: what strangers
/// chose is cut and escaped in it.
#[non_exhaustive]
#[derive(Debug)]
pub enum LogEvent<'a> {
    /// A call was refused.
    Refused {
        /// Why.
        refused: &'a Refused,
        /// How many more were refused since, of which nobody is told.
        unseen: u64,
    },
    /// A TLS peer was refused, or connections were closed.
    Tls(&'a TlsEvent<'a>),
    /// An issuer did not let somebody join, renew or have a token.
    IssuerRefused {
        /// The last segment of the path that was asked.
        path: &'a str,
        /// Why.
        why: &'a str,
    },
    /// Background work failed; it is tried again.
    TaskFailed {
        /// Which.
        task: TaskName,
        /// Why.
        why: &'a str,
    },
}

impl fmt::Display for LogEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { refused, unseen } => {
                write!(f, "refused ({}): {refused}", refused.code())?;
                match unseen {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more before"),
                }
            }
            Self::Tls(TlsEvent::PeerRefused { role, error }) => {
                write!(f, "TLS: a {role} was refused: {error}")
            }
            Self::Tls(TlsEvent::NotResumed { role, error }) => {
                write!(f, "TLS: the session of a {role} was not resumed: {error}")
            }
            Self::Tls(TlsEvent::UpdateRefused { error }) => {
                write!(f, "TLS: new material was refused: {error}")
            }
            Self::Tls(TlsEvent::Closed { connections }) => {
                write!(
                    f,
                    "TLS: {connections} connections closed, since nobody trusts their peers any more"
                )
            }
            Self::Tls(event) => write!(f, "TLS: {event:?}"),
            Self::IssuerRefused { path, why } => write!(f, "issuer: {path} refused: {why}"),
            Self::TaskFailed { task, why } => write!(f, "{task} failed: {why}"),
        }
    }
}

/// Who is told.
#[derive(Clone, Default)]
pub(super) struct Log(Option<Arc<Observe>>);

type Observe = dyn Fn(&LogEvent<'_>) + Send + Sync;

impl Log {
    pub(super) fn new(observe: impl Fn(&LogEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    /// What it does wrong is not to be the fault of whoever tells.
    pub(super) fn tell(&self, event: &LogEvent<'_>) {
        if let Some(observe) = &self.0 {
            let told = std::panic::AssertUnwindSafe(|| observe(event));
            let _ = std::panic::catch_unwind(told);
        }
    }
}
