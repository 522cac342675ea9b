//! What operators see: metrics, events and spans, each by a feature; and that none of it can do harm.
//!
//! The names are in `docs/OBSERVABILITY.md`, which a test compares with what is here.

#[cfg(feature = "tracing")]
mod events;
#[cfg(feature = "metrics")]
mod metrics;
mod sampler;
mod task;

#[cfg(feature = "metrics")]
pub use self::metrics::{MetricInfo, MetricKind, Metrics, StoreMetrics};
pub use task::{Task, TaskReporter};

#[cfg(feature = "tracing")]
pub(crate) use self::events::{Kept, refused as tell_refused};
#[cfg(all(feature = "tls", feature = "tracing"))]
pub(crate) use self::events::{handshake, not_accepted, shaken};
#[cfg(all(feature = "tls", feature = "metrics"))]
pub(crate) use self::metrics::HandshakeMetrics;
pub(crate) use sampler::Sampler;

use std::panic::{AssertUnwindSafe, catch_unwind};

use m2m_guard::Caller;
use m2m_types::Timestamp;

use crate::refused::{Refused, Watcher};

/// Runs what others wrote: an observer, a recorder, a subscriber. What it does wrong is neither the
/// request's fault nor the connection's.
#[inline]
pub(crate) fn quietly<T>(tell: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(tell)).ok()
}

/// Tells of each request what became of it. Without the features it tells the observer of refusals, and there
/// is nothing else in it.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) watcher: Watcher,
    #[cfg(feature = "metrics")]
    metrics: Option<metrics::Watched>,
    #[cfg(feature = "tracing")]
    traces: bool,
}

/// What was begun for one request.
pub(crate) struct Begun {
    #[cfg(feature = "tracing")]
    span: Option<Kept>,
}

impl Observed {
    pub(crate) fn new() -> Self {
        Self {
            watcher: Watcher::new(),
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(feature = "tracing")]
            traces: false,
        }
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn measure(&mut self, metrics: &Metrics) {
        self.metrics = Some(metrics::Watched::new(metrics));
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn trace(&mut self) {
        self.traces = true;
        self.watcher.trace();
    }

    #[inline]
    pub(crate) fn begin(&self) -> Begun {
        Begun {
            #[cfg(feature = "tracing")]
            span: self.traces.then(events::admission).flatten(),
        }
    }

    #[inline]
    pub(crate) fn admitted(&self, begun: &Begun, caller: &Caller, now: Option<Timestamp>) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.admitted(caller.ages(), now);
        }
        #[cfg(feature = "tracing")]
        if let Some(span) = &begun.span {
            events::admitted(span, caller);
        }
        let _ = (begun, caller, now);
    }

    /// `is_let_through` says that the layer only annotates.
    #[cold]
    pub(crate) fn refused(
        &self,
        begun: &Begun,
        refused: &Refused,
        is_let_through: bool,
        now: Option<Timestamp>,
    ) {
        #[cfg(feature = "tracing")]
        if let Some(span) = &begun.span {
            events::not_admitted(span, refused);
        }
        let told = self.watcher.tell(
            refused,
            is_let_through,
            now,
            #[cfg(feature = "tracing")]
            begun.span.as_ref(),
        );
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.refused(refused, is_let_through, told, now);
        }
        let _ = (begun, is_let_through, told);
    }
}
