//! What is counted of handshakes and of connections.

use std::time::Duration;

use m2m_pki::PeerRole;
use m2m_pki::tls::TlsEvent;
use metrics::{Counter, Histogram, Label};

use super::super::quietly;
use super::{Metrics, Source, names};
use crate::refused::{peer_reason, peer_reasons};
use crate::tls::Shaken;

/// How handshakes end.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeMetrics {
    outcomes: [(Shaken, Counter); 4],
    took: Histogram,
}

impl HandshakeMetrics {
    pub(crate) fn count(&self, outcome: Shaken, took: Duration) {
        quietly(|| {
            for (of, counter) in &self.outcomes {
                if *of == outcome {
                    counter.increment(1);
                }
            }
            if outcome == Shaken::Accepted {
                self.took.record(took);
            }
        });
    }
}

impl Metrics {
    /// Those of an acceptor.
    pub(crate) fn handshakes(&self) -> HandshakeMetrics {
        let source = &self.inner.source;
        HandshakeMetrics {
            outcomes: Shaken::ALL.map(|outcome| {
                let labels = vec![Label::new("outcome", outcome.code())];
                (outcome, source.counter(&names::HANDSHAKES, labels))
            }),
            took: source.histogram(&names::HANDSHAKE),
        }
    }

    /// Counts what happens to peers, sessions, material and connections of a
    /// [`LiveTls`](m2m_pki::tls::LiveTls):
    ///
    /// ```
    /// # use m2m_pki::tls::LiveTlsBuilder;
    /// # fn example(builder: LiveTlsBuilder, metrics: &m2m_tower::Metrics) -> LiveTlsBuilder {
    /// builder.with_observer(metrics.tls_observer())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the recorder does; what this gives does not.
    pub fn tls_observer(&self) -> impl Fn(&TlsEvent<'_>) + Send + Sync + 'static {
        let observer = TlsObserver::new(&self.inner.source);
        move |event| {
            quietly(|| observer.count(event));
        }
    }
}

struct TlsObserver {
    refused: Box<[(&'static str, &'static str, Counter)]>,
    not_resumed: [(&'static str, Counter); 2],
    updates_refused: Counter,
    closed: Counter,
}

impl TlsObserver {
    fn new(source: &Source) -> Self {
        let refused = ROLES.iter().flat_map(|role| {
            let reason = |reason: &&'static str| {
                let labels = vec![Label::new("role", *role), Label::new("reason", *reason)];
                (
                    *role,
                    *reason,
                    source.counter(&names::PEERS_REFUSED, labels),
                )
            };
            peer_reasons().map(|word| reason(&word)).collect::<Vec<_>>()
        });
        Self {
            refused: refused.collect(),
            not_resumed: ROLES.map(|role| {
                let labels = vec![Label::new("role", role)];
                (role, source.counter(&names::NOT_RESUMED, labels))
            }),
            updates_refused: source.counter(&names::UPDATES_REFUSED, vec![]),
            closed: source.counter(&names::CLOSED, vec![]),
        }
    }

    fn count(&self, event: &TlsEvent<'_>) {
        match event {
            TlsEvent::PeerRefused { role, error } => {
                let pair = (word(*role), peer_reason(error));
                for (role, reason, counter) in &self.refused {
                    if pair == (*role, *reason) {
                        counter.increment(1);
                    }
                }
            }
            TlsEvent::NotResumed { role, .. } => {
                for (of, counter) in &self.not_resumed {
                    if *of == word(*role) {
                        counter.increment(1);
                    }
                }
            }
            TlsEvent::UpdateRefused { .. } => self.updates_refused.increment(1),
            TlsEvent::Closed { connections } => self.closed.increment(*connections as u64),
            _ => (),
        }
    }
}

const ROLES: [&str; 2] = ["client", "server"];

fn word(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Client => "client",
        PeerRole::Server => "server",
    }
}
