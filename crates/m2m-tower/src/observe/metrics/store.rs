//! `StoreMetrics`: how large a store is, and how it keeps up.

use std::time::Duration;

use metrics::{Counter, Gauge, Label};

use super::super::quietly;
use super::{MetricInfo, Source, names};

/// The metrics of one store. A task of the application reads the store's own figures now and then, and sets
/// these:
///
/// ```
/// # fn example(store: &m2m_store::EmbeddedStore, metrics: &m2m_tower::Metrics) -> Result<(), m2m_store::StoreError> {
/// let state = metrics.store("state"); // once
/// let figures = store.stats()?; // every few seconds
/// state.records(figures.records).bytes(figures.file_bytes);
/// state.waiting_batches(figures.waiting_batches).failures(figures.failures);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    records: Gauge,
    tombstones: Gauge,
    bytes: Gauge,
    waiting_batches: Gauge,
    waiting_bytes: Gauge,
    commits: Counter,
    conflicts: Counter,
    failures: Counter,
    last_commit: Gauge,
    lag: Gauge,
}

impl StoreMetrics {
    pub(super) fn new(source: &Source, name: &'static str) -> Self {
        let labels = || vec![Label::new("store", name)];
        let gauge = |info: &MetricInfo| source.gauge(info, labels());
        let counter = |info: &MetricInfo| source.counter(info, labels());
        Self {
            records: gauge(&names::STORE_RECORDS),
            tombstones: gauge(&names::STORE_TOMBSTONES),
            bytes: gauge(&names::STORE_BYTES),
            waiting_batches: gauge(&names::STORE_WAITING_BATCHES),
            waiting_bytes: gauge(&names::STORE_WAITING_BYTES),
            commits: counter(&names::STORE_COMMITS),
            conflicts: counter(&names::STORE_CONFLICTS),
            failures: counter(&names::STORE_FAILURES),
            last_commit: gauge(&names::STORE_LAST_COMMIT),
            lag: gauge(&names::STORE_LAG),
        }
    }

    /// Records that are there.
    pub fn records(&self, records: u64) -> &Self {
        self.set(&self.records, records as f64)
    }

    /// Deleted records that the feed still tells of.
    pub fn tombstones(&self, tombstones: u64) -> &Self {
        self.set(&self.tombstones, tombstones as f64)
    }

    /// Bytes of the file, or of sealed values.
    pub fn bytes(&self, bytes: u64) -> &Self {
        self.set(&self.bytes, bytes as f64)
    }

    /// Batches that wait for their commit.
    pub fn waiting_batches(&self, batches: u64) -> &Self {
        self.set(&self.waiting_batches, batches as f64)
    }

    /// Bytes of batches that wait for their commit.
    pub fn waiting_bytes(&self, bytes: u64) -> &Self {
        self.set(&self.waiting_bytes, bytes as f64)
    }

    /// Batches committed since the store was opened.
    pub fn commits(&self, commits: u64) -> &Self {
        self.reach(&self.commits, commits)
    }

    /// Batches refused since then because of what they expected.
    pub fn conflicts(&self, conflicts: u64) -> &Self {
        self.reach(&self.conflicts, conflicts)
    }

    /// Batches refused since then for another reason.
    pub fn failures(&self, failures: u64) -> &Self {
        self.reach(&self.failures, failures)
    }

    /// How long the last commit took.
    pub fn last_commit(&self, took: Duration) -> &Self {
        self.set(&self.last_commit, took.as_secs_f64())
    }

    /// How long ago the store was last heard of, or caught up with.
    pub fn lag(&self, lag: Duration) -> &Self {
        self.set(&self.lag, lag.as_secs_f64())
    }

    fn set(&self, gauge: &Gauge, value: f64) -> &Self {
        quietly(|| gauge.set(value));
        self
    }

    fn reach(&self, counter: &Counter, value: u64) -> &Self {
        quietly(|| counter.absolute(value));
        self
    }
}
