//! `Metrics`: counters, gauges and histograms through the facade `metrics`, made once and then only touched.

mod names;
mod store;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use m2m_guard::{Age, Ages, Basis, Guard};
use m2m_revoke::Kind;
use m2m_types::Timestamp;
use metrics::{Counter, Gauge, Key, KeyName, Label, Level, Metadata, Recorder};

pub use self::names::{MetricInfo, MetricKind};
pub use self::store::StoreMetrics;
#[cfg(feature = "tls")]
pub(crate) use self::tls::HandshakeMetrics;
use super::quietly;
use super::task::{Outcome, Task};
use crate::refused::Refused;

/// What this crate counts, for a recorder of the facade [`metrics`](https://docs.rs/metrics): Prometheus,
/// StatsD, OpenTelemetry by a bridge. Cloning copies a pointer.
///
/// All that a request touches is made here, once; an admission then neither allocates nor takes a lock, as far
/// as the recorder does not. **Install the recorder first:** what was made before it counts for nobody. The
/// names and what they mean are in `docs/OBSERVABILITY.md`; [`Metrics::ALL`] lists them.
///
/// ```
/// # use std::sync::Arc;
/// # fn example(guard: m2m_guard::Guard, clock: Arc<dyn m2m_types::Clock>) {
/// use m2m_tower::{Authenticate, Metrics, Task, TaskReporter};
///
/// // After `metrics::set_global_recorder`, which an exporter does for you:
/// let metrics = Metrics::new();
/// let layer = Authenticate::new(Arc::new(guard), clock).with_metrics(&metrics);
/// let fetches = TaskReporter::new(Task::CrlFetch).with_metrics(&metrics);
/// # let _ = (layer, fetches);
/// # }
/// ```
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    admitted: Counter,
    let_through: Counter,
    left_out: Counter,
    /// One for each pair of words, in their order.
    refused: Box<[((&'static str, &'static str), Counter)]>,
    ages: [(Basis, Gauge); 3],
}

/// Where handles come from.
enum Source {
    Global,
    Given(Arc<dyn Recorder + Send + Sync>),
}

impl Metrics {
    /// All metrics that this crate knows, whether or not they are used.
    pub const ALL: &'static [MetricInfo] = names::ALL;

    /// For the recorder that is installed now.
    ///
    /// # Panics
    ///
    /// If the recorder does.
    pub fn new() -> Self {
        Self::of(Source::Global)
    }

    /// For `recorder`, whichever is installed.
    ///
    /// # Panics
    ///
    /// If the recorder does.
    pub fn recording_to(recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        Self::of(Source::Given(recorder))
    }

    fn of(source: Source) -> Self {
        for info in names::ALL {
            source.describe(info);
        }
        let refused = |pair: (&'static str, &'static str)| {
            let counter = source.counter(
                &names::REFUSED,
                vec![Label::new("reason", pair.0), Label::new("detail", pair.1)],
            );
            (pair, counter)
        };
        let mut refused: Box<[_]> = Refused::codes().map(refused).collect();
        refused.sort_by_key(|(pair, _)| *pair);
        let inner = Inner {
            admitted: source.counter(&names::ADMITTED, vec![]),
            let_through: source.counter(&names::LET_THROUGH, vec![]),
            left_out: source.counter(&names::LEFT_OUT, vec![]),
            refused,
            ages: Basis::ALL.map(|basis| {
                let labels = vec![Label::new("basis", basis.code())];
                (basis, source.gauge(&names::AGE, labels))
            }),
            source,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Sets the gauges of ages and of the cache of verified tokens to what they are at `now`. A layer sets those
    /// of ages once a second while requests come; whoever wants them without, or the cache's, calls this from a
    /// task of its own. It looks at every place of the cache.
    pub fn record_guard(&self, guard: &Guard, now: Timestamp) {
        quietly(|| {
            self.set_ages(&guard.ages(now));
            let Some(figures) = guard.cache_figures() else {
                return;
            };
            let source = &self.inner.source;
            let gauge = |info| source.gauge(info, vec![]);
            gauge(&names::CACHE_PLACES).set(figures.places as f64);
            gauge(&names::CACHE_TAKEN).set(figures.taken as f64);
            source
                .counter(&names::CACHE_EVICTIONS, vec![])
                .absolute(figures.evictions);
        });
    }

    /// Sets the gauges of what is revoked. Call it from a task of its own, now and then.
    pub fn record_revocations(&self, stats: &m2m_revoke::Stats) {
        quietly(|| {
            let gauge = |info| self.inner.source.gauge(info, vec![]);
            for kind in Kind::ALL {
                let labels = vec![Label::new("kind", kind.code())];
                let gauge = self.inner.source.gauge(&names::REVOCATIONS, labels);
                gauge.set(stats.count(kind) as f64);
            }
            gauge(&names::REVOCATIONS_CAPACITY).set(stats.capacity_limit() as f64);
            gauge(&names::REVOCATIONS_BYTES).set(stats.bytes() as f64);
            let until = stats.compacted_until().unix_seconds();
            gauge(&names::REVOCATIONS_COMPACTED).set(until as f64);
        });
    }

    /// Sets the gauge of when a certificate of one's own expires; `name` tells it from the others: `identity`,
    /// `issuing_ca`.
    pub fn record_certificate(&self, name: &'static str, not_after: Timestamp) {
        quietly(|| {
            let labels = vec![Label::new("certificate", name)];
            let gauge = self.inner.source.gauge(&names::CERTIFICATE, labels);
            gauge.set(not_after.unix_seconds() as f64);
        });
    }

    /// The metrics of a store; `name` tells it from the others.
    ///
    /// # Panics
    ///
    /// If the recorder does.
    pub fn store(&self, name: &'static str) -> StoreMetrics {
        StoreMetrics::new(&self.inner.source, name)
    }

    /// Those of a task. Only what runs somewhere is made, so that nothing is awaited that nobody does.
    pub(super) fn task(&self, task: Task) -> TaskMetrics {
        let source = &self.inner.source;
        let count = |outcome: Outcome| {
            let labels = vec![
                Label::new("task", task.code()),
                Label::new("outcome", outcome.code()),
            ];
            source.counter(&names::TASK_RUNS, labels)
        };
        TaskMetrics {
            done: count(Outcome::Done),
            failed: count(Outcome::Failed),
            refused: count(Outcome::Refused),
            last: source.gauge(&names::TASK_LAST, vec![Label::new("task", task.code())]),
        }
    }

    fn set_ages(&self, ages: &Ages) {
        for (basis, gauge) in &self.inner.ages {
            match ages.of(*basis) {
                Age::Confirmed(age) => gauge.set(age.as_secs() as f64),
                // Older than any limit, so that an alert sees it.
                Age::Never => gauge.set(f64::INFINITY),
                // It has none, or nobody looked.
                _ => (),
            }
        }
    }

    fn count_refused(&self, refused: &Refused) {
        let pair = (refused.code(), refused.detail());
        let known = &self.inner.refused;
        if let Some((_, counter)) = known
            .binary_search_by_key(&pair, |(pair, _)| *pair)
            .ok()
            .and_then(|at| known.get(at))
        {
            counter.increment(1);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Source {
    fn with<T>(&self, use_it: impl FnOnce(&dyn Recorder) -> T) -> T {
        match self {
            Self::Global => metrics::with_recorder(use_it),
            Self::Given(recorder) => use_it(recorder.as_ref()),
        }
    }

    fn describe(&self, info: &MetricInfo) {
        let (name, unit) = (KeyName::from_const_str(info.name), Some(info.unit()));
        self.with(|recorder| match info.kind {
            MetricKind::Counter => recorder.describe_counter(name, unit, info.help.into()),
            MetricKind::Gauge => recorder.describe_gauge(name, unit, info.help.into()),
            MetricKind::Histogram => recorder.describe_histogram(name, unit, info.help.into()),
        });
    }

    fn counter(&self, info: &MetricInfo, labels: Vec<Label>) -> Counter {
        let key = Key::from_parts(info.name, labels);
        self.with(|recorder| recorder.register_counter(&key, &METADATA))
    }

    fn gauge(&self, info: &MetricInfo, labels: Vec<Label>) -> Gauge {
        let key = Key::from_parts(info.name, labels);
        self.with(|recorder| recorder.register_gauge(&key, &METADATA))
    }

    #[cfg(feature = "tls")]
    fn histogram(&self, info: &MetricInfo) -> metrics::Histogram {
        let key = Key::from_name(info.name);
        self.with(|recorder| recorder.register_histogram(&key, &METADATA))
    }
}

const METADATA: Metadata<'static> = Metadata::new("m2m", Level::INFO, Some(module_path!()));

/// Those of one task.
#[derive(Clone, Debug)]
pub(super) struct TaskMetrics {
    done: Counter,
    failed: Counter,
    refused: Counter,
    last: Gauge,
}

impl TaskMetrics {
    pub(super) fn count(&self, outcome: Outcome, now: Option<Timestamp>) {
        match outcome {
            Outcome::Done => self.done.increment(1),
            Outcome::Failed => self.failed.increment(1),
            Outcome::Refused => self.refused.increment(1),
        }
        if let Some(now) = now {
            self.last.set(now.unix_seconds() as f64);
        }
    }
}

/// The metrics of one layer, and when it last looked at ages.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    metrics: Metrics,
    looked: Arc<AtomicU64>,
}

impl Watched {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.clone(),
            looked: Arc::default(),
        }
    }

    #[inline]
    pub(super) fn admitted(&self, ages: &Ages, now: Option<Timestamp>) {
        quietly(|| {
            self.metrics.inner.admitted.increment(1);
            self.look(ages, now);
        });
    }

    pub(super) fn refused(
        &self,
        refused: &Refused,
        is_let_through: bool,
        told: bool,
        now: Option<Timestamp>,
    ) {
        quietly(|| {
            self.metrics.count_refused(refused);
            if is_let_through {
                self.metrics.inner.let_through.increment(1);
            }
            if !told {
                self.metrics.inner.left_out.increment(1);
            }
            if let Some(ages) = refused.ages() {
                self.look(ages, now);
            }
        });
    }

    /// Once a second, by whoever comes first.
    #[inline]
    fn look(&self, ages: &Ages, now: Option<Timestamp>) {
        let second = now.map_or(0, Timestamp::unix_seconds);
        let before = self.looked.load(Ordering::Relaxed);
        if before == second {
            return;
        }
        let is_first = self
            .looked
            .compare_exchange(before, second, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if is_first {
            self.metrics.set_ages(ages);
        }
    }
}
