//! `Uses` and `Fence`: what the hot path counts, and the two times it goes by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2m_types::Timestamp;

/// How often a version was accepted, and when last. In an allocation of its own, apart from every
/// secret: whoever writes counters cannot write secrets. On a cache line of its own, so that two
/// versions in use do not slow each other down.
#[derive(Debug)]
#[repr(align(64))]
pub struct Uses {
    count: AtomicU64,
    /// Seconds since 1970; [`NEVER`] until there was one.
    last: AtomicU64,
    /// Since when uses are counted.
    since: Timestamp,
}

const NEVER: u64 = u64::MAX;

impl Uses {
    /// None yet; counted from `now` on.
    pub fn new(now: Timestamp) -> Self {
        Self {
            count: AtomicU64::new(0),
            last: AtomicU64::new(NEVER),
            since: now,
        }
    }

    /// One more, at `now`. Relaxed: it orders nothing, and costs no lock.
    #[inline]
    pub fn record(&self, now: Timestamp) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let seconds = now.unix_seconds();
        let last = self.last.load(Ordering::Relaxed);
        // One shared write a second; a thread that read the clock earlier does not move it back.
        if last == NEVER || seconds > last {
            self.last.store(seconds, Ordering::Relaxed);
        }
    }

    /// How many since this process began to count.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// When it was last accepted by this process.
    pub fn last(&self) -> Option<Timestamp> {
        match self.last.load(Ordering::Relaxed) {
            NEVER => None,
            seconds => Timestamp::from_unix_seconds(seconds).ok(),
        }
    }

    /// How long, at `now`, no use has been seen: since the last one, and since the count began if there
    /// was none, because nothing is known of before. Zero if the clock was set back.
    pub fn idle(&self, now: Timestamp) -> Duration {
        let since = self.last().unwrap_or(self.since);
        now.checked_since(since).unwrap_or_default()
    }
}

/// The latest time this process has seen, and until when it may act. Shared by all rings that one
/// process adopts one after the other.
#[derive(Debug)]
pub(crate) struct Fence {
    latest: AtomicU64,
    lease_until: AtomicU64,
}

impl Fence {
    pub(crate) fn new(latest: Timestamp, lease_until: Timestamp) -> Self {
        Self {
            latest: AtomicU64::new(latest.unix_seconds()),
            lease_until: AtomicU64::new(lease_until.unix_seconds()),
        }
    }

    /// `now`, or the latest time ever passed in if the clock was set back since: what ended by the
    /// later reading does not come back by the earlier one.
    #[inline]
    pub(crate) fn moment(&self, now: Timestamp) -> Timestamp {
        let latest = self.latest.load(Ordering::Relaxed);
        if now.unix_seconds() > latest {
            self.latest.fetch_max(now.unix_seconds(), Ordering::Relaxed);
            return now;
        }
        Timestamp::from_unix_seconds(latest).unwrap_or(Timestamp::MAX)
    }

    /// When the lease ends; from that second on nothing is accepted or signed.
    #[inline]
    pub(crate) fn lease_until(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.lease_until.load(Ordering::Relaxed))
            .unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn set_lease(&self, until: Timestamp) {
        self.lease_until
            .store(until.unix_seconds(), Ordering::Relaxed);
    }
}
