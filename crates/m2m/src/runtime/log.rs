//! `LogEvent`: what operators read and callers do not, for the application's own log.

use std::fmt;
use std::sync::Arc;

use caep_stream::receiver::{Acted, Outcome};
use m2m_pki::tls::TlsEvent;
use m2m_tower::Refused;
use m2m_tower::ssf::NotDelivered;

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
    /// An event that was received was acted upon, or not.
    Signal(&'a Acted),
    /// An event was not delivered; it is tried again, or is a dead letter.
    NotDelivered {
        /// Why.
        why: &'a NotDelivered,
        /// Whether it was given up.
        is_dead: bool,
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
            Self::Signal(acted) => {
                f.write_str("event received: ")?;
                f.write_str(match acted.outcome() {
                    Outcome::Voided(_) => "what it names is void",
                    Outcome::NoMatch => "it takes away what nobody here knows",
                    Outcome::Moot => "all that it takes away has expired",
                    Outcome::Told => "it takes nothing away",
                    Outcome::Superseded => "something newer was said before",
                    Outcome::Advised => "its transmitter may advise alone",
                    Outcome::Ignored => "its transmitter is not believed this",
                    Outcome::Held => "HELD: its transmitter has reached its ceiling; look at it",
                    Outcome::Before => "somebody else has acted upon it",
                    _ => "acted upon",
                })
            }
            Self::NotDelivered { why, is_dead } => match is_dead {
                true => write!(f, "event given up: {why}"),
                false => write!(f, "event not delivered yet: {why}"),
            },
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
