//! `Task`: the names of what runs in the background; and `TaskReporter`, which tells how its runs end.

use std::fmt;
#[cfg(feature = "tracing")]
use std::time::Instant;

use m2m_types::Timestamp;

/// What runs in the background, here and in the crates beside: each has one name, for metrics and events.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Fetching an issuer's keys.
    KeyFetch,
    /// Fetching CRLs.
    CrlFetch,
    /// Fetching trust bundles.
    BundleFetch,
    /// Fetching metadata of issuers and transmitters.
    MetadataFetch,
    /// Getting the next token before the one in use expires.
    TokenRefresh,
    /// Pushing Security Event Tokens to a receiver (RFC 8935).
    SetDelivery,
    /// Polling for Security Event Tokens (RFC 8936).
    SetPoll,
    /// Asking whether a stream still speaks (SSF 1.0 §8.1.4).
    StreamVerification,
    /// Following the revocations in a store.
    RevocationFollow,
    /// Letting go of revocations that nobody needs any more.
    RevocationCompaction,
    /// Renewing a certificate.
    CertificateRenewal,
    /// Issuing the next CRL.
    CrlIssue,
    /// The next step in the life of signing keys.
    KeyRotation,
    /// The next step in the rotation of a shared secret.
    SecretRotation,
    /// Forgetting what was deleted from a store.
    StorePrune,
    /// Backing a store up.
    StoreBackup,
    /// Letting go of tokens that were remembered and have expired.
    CachePurge,
}

impl Task {
    m2m_types::codes! {
        pub fn code;
        Self::KeyFetch => "key_fetch",
        Self::CrlFetch => "crl_fetch",
        Self::BundleFetch => "bundle_fetch",
        Self::MetadataFetch => "metadata_fetch",
        Self::TokenRefresh => "token_refresh",
        Self::SetDelivery => "set_delivery",
        Self::SetPoll => "set_poll",
        Self::StreamVerification => "stream_verification",
        Self::RevocationFollow => "revocation_follow",
        Self::RevocationCompaction => "revocation_compaction",
        Self::CertificateRenewal => "certificate_renewal",
        Self::CrlIssue => "crl_issue",
        Self::KeyRotation => "key_rotation",
        Self::SecretRotation => "secret_rotation",
        Self::StorePrune => "store_prune",
        Self::StoreBackup => "store_backup",
        Self::CachePurge => "cache_purge",
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Tells how the runs of one task in the background end: as metrics with the feature `metrics`, as events with
/// `tracing`, and to nobody without them. Whoever is told and panics does not stop the task.
///
/// ```
/// use m2m_tower::{Task, TaskReporter};
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let reporter = TaskReporter::new(Task::CrlFetch); // `.with_metrics(&metrics).with_tracing()`
/// reporter.done(now);
/// reporter.failed(&"nobody answers");
/// # Ok::<(), m2m_types::TimestampError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TaskReporter {
    task: Task,
    #[cfg(feature = "metrics")]
    metrics: Option<super::metrics::TaskMetrics>,
    #[cfg(feature = "tracing")]
    traces: Option<Traced>,
}

#[cfg(feature = "tracing")]
#[derive(Clone, Debug)]
struct Traced {
    since: Instant,
    good: super::Sampler,
    bad: super::Sampler,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    Refused,
}

impl Outcome {
    m2m_types::codes! {
        pub(super) fn code;
        Self::Done => "done",
        Self::Failed => "failed",
        Self::Refused => "refused",
    }
}

impl TaskReporter {
    /// For `task`; tells nobody yet.
    pub const fn new(task: Task) -> Self {
        Self {
            task,
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(feature = "tracing")]
            traces: None,
        }
    }

    /// Counts runs in `metrics`, and keeps the time of the last that was done.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(mut self, metrics: &super::Metrics) -> Self {
        self.metrics = Some(metrics.task(self.task));
        self
    }

    /// Emits an event `m2m.task` for each run: at `DEBUG` if it was done, else at `WARN`, and of each of these
    /// at most a hundred a second.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn with_tracing(mut self) -> Self {
        self.traces = Some(Traced {
            since: Instant::now(),
            good: super::Sampler::default(),
            bad: super::Sampler::default(),
        });
        self
    }

    /// Which task it tells of.
    pub const fn task(&self) -> Task {
        self.task
    }

    /// A run did at `now` what it was for, also if there was nothing to do.
    pub fn done(&self, now: Timestamp) {
        self.tell(Outcome::Done, Some(now), None);
    }

    /// A run failed, and will be tried again. `error` must not have a secret in it: it becomes part of an event.
    pub fn failed(&self, error: &dyn fmt::Display) {
        self.tell(Outcome::Failed, None, Some(error));
    }

    /// What came was not taken: an answer that is none, a change that is not allowed. As
    /// [`TaskReporter::failed`] otherwise.
    pub fn refused(&self, error: &dyn fmt::Display) {
        self.tell(Outcome::Refused, None, Some(error));
    }

    fn tell(&self, outcome: Outcome, now: Option<Timestamp>, error: Option<&dyn fmt::Display>) {
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            super::quietly(|| metrics.count(outcome, now));
        }
        #[cfg(feature = "tracing")]
        if let Some(traced) = &self.traces {
            let sampler = match outcome {
                Outcome::Done => &traced.good,
                Outcome::Failed | Outcome::Refused => &traced.bad,
            };
            if let Some(left_out) = sampler.take(traced.since.elapsed().as_secs()) {
                super::quietly(|| super::events::task(self.task, outcome, error, left_out));
            }
        }
        let _ = (outcome, now, error);
    }
}
