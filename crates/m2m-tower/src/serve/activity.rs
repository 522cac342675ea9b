//! `Activity`: what goes on on one connection, as far as its limits need to know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::server::Shared;

/// What goes on on one connection. Written by what reads, answers and sends on it, read by what ends it.
pub(super) struct Activity {
    pub(super) shared: Arc<Shared>,
    opened: Instant,
    /// Requests whose response was not sent yet, or handed over to be.
    in_flight: AtomicU32,
    /// Whether anything was asked yet.
    asked: AtomicBool,
    /// When the last request ended, in milliseconds from `opened`.
    idle_since: AtomicU64,
    /// When the first byte came since, in milliseconds from `opened` and one; 0 if none did.
    head_since: AtomicU64,
    /// Responses of which a piece was taken and no further one asked for, by the generation in which that
    /// was.
    handed: [AtomicU32; GENERATIONS as usize],
    generation: AtomicU32,
    /// Requests that the client took back before they were answered.
    cancelled: AtomicU32,
    answered: AtomicU32,
}

/// A generation lasts half of a pause. What was handed over in one is too old three later.
const GENERATIONS: u32 = 4;

impl Activity {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            opened: Instant::now(),
            in_flight: AtomicU32::new(0),
            asked: AtomicBool::new(false),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
            handed: Default::default(),
            generation: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            answered: AtomicU32::new(0),
        }
    }

    pub(super) const fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) > 0
    }

    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// When the last request ended.
    pub(super) fn idle_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.idle_since.load(Ordering::Relaxed))
    }

    /// When the first byte of a head came that is not complete.
    pub(super) fn head_since(&self) -> Option<Instant> {
        let since = self.head_since.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_millis(since))
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        if self.is_busy() || self.head_since.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.head_since.store(self.elapsed() + 1, Ordering::Relaxed);
    }

    /// Whether the client takes back more than it has answered, and more than it may.
    pub(super) fn is_cancelling(&self, allowed: u32) -> bool {
        let cancelled = self.cancelled.load(Ordering::Relaxed);
        let answered = self.answered.load(Ordering::Relaxed);
        cancelled > allowed.saturating_add(answered)
    }

    /// Half a pause is over. Whether a response was handed over longer than a whole one ago, and was not
    /// taken.
    pub(super) fn turn(&self) -> bool {
        let generation = self.generation.load(Ordering::Relaxed).wrapping_add(1);
        self.generation.store(generation, Ordering::Relaxed);
        self.handed_in(generation.wrapping_sub(GENERATIONS - 1))
            .is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn handed_in(&self, generation: u32) -> Option<&AtomicU32> {
        self.handed.get((generation % GENERATIONS) as usize)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

/// A request that is under way, until this is dropped.
pub(super) struct InFlight {
    activity: Arc<Activity>,
    is_answered: bool,
    /// The generation in which a piece was handed over, if none was asked for since.
    handed: Option<u32>,
}

impl InFlight {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::AcqRel);
        activity.asked.store(true, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        Self {
            activity,
            is_answered: false,
            handed: None,
        }
    }

    /// There is a response.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
        self.activity.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// A piece of the response was taken, to be sent.
    pub(super) fn hand_over(&mut self) {
        let generation = self.activity.generation.load(Ordering::Relaxed);
        if let Some(count) = self.activity.handed_in(generation) {
            count.fetch_add(1, Ordering::Relaxed);
            self.handed = Some(generation);
        }
    }

    /// The next piece is asked for: there is room to send it.
    pub(super) fn ask(&mut self) {
        let handed = self.handed.take();
        if let Some(count) = handed.and_then(|handed| self.activity.handed_in(handed)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.ask();
        let activity = &self.activity;
        if !self.is_answered {
            activity.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        activity
            .idle_since
            .store(activity.elapsed(), Ordering::Relaxed);
        // After the time: who sees that nothing is under way sees since when.
        activity.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
