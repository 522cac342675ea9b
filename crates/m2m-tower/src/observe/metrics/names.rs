//! The names of the metrics, with what they count. None is ever renamed.

use metrics::Unit;

/// What a metric is called, and what it says.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name, as a recorder is given it.
    pub name: &'static str,
    /// Of which kind it is.
    pub kind: MetricKind,
    /// Its unit by UCUM: `s` for seconds, `By` for bytes, `1` for a number.
    pub unit: &'static str,
    /// Its labels, each of which has few values, known beforehand.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// What can be done with a metric.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How values are spread.
    Histogram,
}

impl MetricInfo {
    pub(super) fn unit(&self) -> Unit {
        match self.unit {
            "s" => Unit::Seconds,
            "By" => Unit::Bytes,
            _ => Unit::Count,
        }
    }
}

macro_rules! metrics_named {
    ($($(#[$condition:meta])* $kind:ident $constant:ident = $name:literal [$unit:literal] $labels:tt $help:literal;)+) => {
        $(
            $(#[$condition])*
            pub(super) const $constant: MetricInfo = MetricInfo {
                name: $name,
                kind: MetricKind::$kind,
                unit: $unit,
                labels: &$labels,
                help: $help,
            };
        )+

        pub(super) const ALL: &[MetricInfo] = &[$($(#[$condition])* $constant,)+];
    };
}

metrics_named! {
    Counter ADMITTED = "m2m_admitted_total" ["1"] [] "requests that were admitted";
    Counter REFUSED = "m2m_refused_total" ["1"] ["reason", "detail"] "requests that were refused";
    Counter LET_THROUGH = "m2m_let_through_total" ["1"] []
        "refused requests that went on, since the layer only annotates";
    Counter LEFT_OUT = "m2m_refusals_left_out_total" ["1"] []
        "refusals that neither the observer nor an event told of";
    Gauge AGE = "m2m_age_seconds" ["s"] ["basis"]
        "how old keys, CRLs and revocations are by which is decided";

    #[cfg(feature = "tls")]
    Counter HANDSHAKES = "m2m_handshakes_total" ["1"] ["outcome"] "TLS handshakes of clients";
    #[cfg(feature = "tls")]
    Histogram HANDSHAKE = "m2m_handshake_seconds" ["s"] [] "how long a handshake took that ended well";
    #[cfg(feature = "tls")]
    Counter PEERS_REFUSED = "m2m_peers_refused_total" ["1"] ["role", "reason"]
        "peers that were refused in the handshake or behind it";
    #[cfg(feature = "tls")]
    Counter NOT_RESUMED = "m2m_sessions_not_resumed_total" ["1"] ["role"]
        "TLS sessions that were not resumed; a full handshake followed";
    #[cfg(feature = "tls")]
    Counter UPDATES_REFUSED = "m2m_tls_updates_refused_total" ["1"] []
        "new certificates, bundles or CRLs that were not taken";
    #[cfg(feature = "tls")]
    Counter CLOSED = "m2m_connections_closed_total" ["1"] []
        "open connections that were closed because trust in their peer ended";

    Counter TASK_RUNS = "m2m_task_runs_total" ["1"] ["task", "outcome"]
        "runs of tasks in the background";
    Gauge TASK_LAST = "m2m_task_last_success_timestamp_seconds" ["s"] ["task"]
        "when a task was last done, in seconds since 1970";

    Gauge CERTIFICATE = "m2m_certificate_expires_timestamp_seconds" ["s"] ["certificate"]
        "the end of a certificate's life, in seconds since 1970";

    Gauge CACHE_PLACES = "m2m_token_cache_places" ["1"] [] "verified tokens that there is room for";
    Gauge CACHE_TAKEN = "m2m_token_cache_taken" ["1"] [] "verified tokens that are remembered";
    Counter CACHE_EVICTIONS = "m2m_token_cache_evictions_total" ["1"] []
        "remembered tokens that gave way to others before they had expired";

    Gauge REVOCATIONS = "m2m_revocations" ["1"] ["kind"] "what is revoked";
    Gauge REVOCATIONS_CAPACITY = "m2m_revocations_capacity" ["1"] [] "how much can be revoked";
    Gauge REVOCATIONS_BYTES = "m2m_revocations_bytes" ["By"] [] "memory of the set of what is revoked";
    Gauge REVOCATIONS_COMPACTED = "m2m_revocations_compacted_timestamp_seconds" ["s"] []
        "until when what has expired was let go of, in seconds since 1970";

    Gauge STORE_RECORDS = "m2m_store_records" ["1"] ["store"] "records in a store";
    Gauge STORE_TOMBSTONES = "m2m_store_tombstones" ["1"] ["store"]
        "deleted records that the feed still tells of";
    Gauge STORE_BYTES = "m2m_store_bytes" ["By"] ["store"] "bytes of a store";
    Gauge STORE_WAITING_BATCHES = "m2m_store_waiting_batches" ["1"] ["store"]
        "batches that wait for their commit";
    Gauge STORE_WAITING_BYTES = "m2m_store_waiting_bytes" ["By"] ["store"] "bytes of these batches";
    Counter STORE_COMMITS = "m2m_store_commits_total" ["1"] ["store"] "batches that were committed";
    Counter STORE_CONFLICTS = "m2m_store_conflicts_total" ["1"] ["store"]
        "batches that expected something else";
    Counter STORE_FAILURES = "m2m_store_failures_total" ["1"] ["store"] "batches that failed";
    Gauge STORE_LAST_COMMIT = "m2m_store_last_commit_seconds" ["s"] ["store"]
        "how long the last commit took";
    Gauge STORE_LAG = "m2m_store_lag_seconds" ["s"] ["store"]
        "how long ago the store was last heard of";
}
