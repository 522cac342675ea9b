//! `ServeCounts`: what a server took, refused and ended.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a server did since it was made, and what is open. Each number only grows, but for the first two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServeCounts {
    /// Connections that are open.
    pub open: usize,
    /// Of those, the ones whose handshake is not complete, or that have said nothing yet.
    pub opening: usize,
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that were reset since there were too many.
    pub refused_connections: u64,
    /// Connections that were reset since too many were opening.
    pub refused_openings: u64,
    /// Connections that were reset since too many came from one address.
    pub refused_by_address: u64,
    /// Times that the system gave no connection: no descriptor, no memory.
    pub accept_errors: u64,
    /// Handshakes that failed: see the observer of `LiveTls` for why.
    pub handshakes_failed: u64,
    /// Connections that were dropped since the handshake, or the first byte, took too long.
    pub slow_openings: u64,
    /// Connections that were dropped since a head took too long.
    pub slow_heads: u64,
    /// Bodies that came too slowly.
    pub slow_bodies: u64,
    /// Connections that were dropped since the client did not read.
    pub slow_readers: u64,
    /// Connections that were closed since nothing was asked.
    pub idle: u64,
    /// Connections that were dropped since the client took back too many requests.
    pub cancelling: u64,
    /// Connections that were cut since they had been asked to end, and did not in time.
    pub overdue: u64,
    /// Connections that ended with an error of HTTP: no request, too long, reset by the client.
    pub broken: u64,
    /// Connections that were closed with the trust in their peers.
    pub distrusted: u64,
    /// Connections whose service panicked.
    pub panicked: u64,
    /// Requests that reached the service.
    pub requests: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: Count,
    pub(super) refused_connections: Count,
    pub(super) refused_openings: Count,
    pub(super) refused_by_address: Count,
    pub(super) accept_errors: Count,
    pub(super) handshakes_failed: Count,
    pub(super) slow_openings: Count,
    pub(super) slow_heads: Count,
    pub(super) slow_bodies: Count,
    pub(super) slow_readers: Count,
    pub(super) idle: Count,
    pub(super) cancelling: Count,
    pub(super) overdue: Count,
    pub(super) broken: Count,
    pub(super) distrusted: Count,
    pub(super) panicked: Count,
    pub(super) requests: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.many(1);
    }

    pub(super) fn many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    pub(super) fn read(&self, open: usize, opening: usize) -> ServeCounts {
        ServeCounts {
            open,
            opening,
            accepted: self.accepted.now(),
            refused_connections: self.refused_connections.now(),
            refused_openings: self.refused_openings.now(),
            refused_by_address: self.refused_by_address.now(),
            accept_errors: self.accept_errors.now(),
            handshakes_failed: self.handshakes_failed.now(),
            slow_openings: self.slow_openings.now(),
            slow_heads: self.slow_heads.now(),
            slow_bodies: self.slow_bodies.now(),
            slow_readers: self.slow_readers.now(),
            idle: self.idle.now(),
            cancelling: self.cancelling.now(),
            overdue: self.overdue.now(),
            broken: self.broken.now(),
            distrusted: self.distrusted.now(),
            panicked: self.panicked.now(),
            requests: self.requests.now(),
        }
    }
}
