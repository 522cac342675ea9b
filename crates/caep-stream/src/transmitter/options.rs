//! `TransmitterOptions`: bounds and times of a transmitter, each with a default that is safe.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use caep_set::{Matching, SecurityEvent};

use super::{Caller, PushTargets};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Whether a receiver may be told of an event.
pub(crate) type Gate = Arc<dyn Fn(&Caller, &SecurityEvent) -> bool + Send + Sync>;

/// Bounds and times of a [`Transmitter`](super::Transmitter).
///
/// ```
/// use std::time::Duration;
/// use caep_stream::transmitter::TransmitterOptions;
///
/// let options = TransmitterOptions::default()
///     .with_streams_per_receiver(2)
///     .with_min_verification_interval(Duration::from_secs(60));
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct TransmitterOptions {
    pub(crate) streams_per_receiver: u32,
    pub(crate) min_verification_interval: Option<Duration>,
    pub(crate) inactivity_timeout: Option<Duration>,
    pub(crate) queue_limit: usize,
    pub(crate) subject_limit: usize,
    pub(crate) removal_grace: Duration,
    pub(crate) matching: Matching,
    pub(crate) targets: PushTargets,
    pub(crate) page: usize,
    pub(crate) long_poll: Duration,
    pub(crate) in_flight: usize,
    pub(crate) answer_within: Duration,
    pub(crate) first_retry: Duration,
    pub(crate) last_retry: Duration,
    pub(crate) give_up_after: Duration,
    pub(crate) retention: Duration,
    pub(crate) gate: Option<Gate>,
}

impl Default for TransmitterOptions {
    fn default() -> Self {
        Self {
            streams_per_receiver: 1,
            min_verification_interval: Some(Duration::from_secs(30)),
            inactivity_timeout: None,
            queue_limit: 10_000,
            subject_limit: 10_000,
            removal_grace: HOUR,
            matching: Matching::ssf(),
            targets: PushTargets::public(),
            page: 1_000,
            long_poll: Duration::from_secs(25),
            in_flight: 1,
            answer_within: Duration::from_secs(30),
            first_retry: Duration::from_secs(1),
            last_retry: HOUR,
            give_up_after: DAY * 3,
            retention: DAY * 7,
            gate: None,
        }
    }
}

impl TransmitterOptions {
    /// How many streams a receiver may have: 1, unless this is said. To one more, the answer is 409.
    #[must_use]
    pub fn with_streams_per_receiver(mut self, count: u32) -> Self {
        self.streams_per_receiver = count.clamp(1, 64);
        self
    }

    /// How long a receiver has to wait between two verifications (`min_verification_interval`): half a
    /// minute, unless this is said. To whoever does not, the answer is 429.
    #[must_use]
    pub fn with_min_verification_interval(mut self, interval: Duration) -> Self {
        self.min_verification_interval = Some(interval);
        self
    }

    /// After how long without a word from its receiver a stream is paused (`inactivity_timeout`). Never,
    /// unless this is said.
    #[must_use]
    pub fn with_inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.inactivity_timeout = Some(timeout);
        self
    }

    /// How many SETs are held for a stream before it is paused: 10,000, unless this is said. As many again
    /// are held of revocations, and of the newest states.
    #[must_use]
    pub fn with_queue_limit(mut self, count: usize) -> Self {
        self.queue_limit = count.max(1);
        self
    }

    /// How many subjects a receiver may add to a stream, or remove: 10,000, unless this is said. They are
    /// kept in memory.
    #[must_use]
    pub fn with_subject_limit(mut self, count: usize) -> Self {
        self.subject_limit = count;
        self
    }

    /// For how long a subject that was removed is still told of: an hour, unless this is said. Whoever got
    /// hold of the receiver's credentials cannot make it deaf at once (SSF 1.0 §9.3).
    #[must_use]
    pub fn with_removal_grace(mut self, grace: Duration) -> Self {
        self.removal_grace = grace;
        self
    }

    /// How subjects are matched: [`Matching::ssf`], unless this is said.
    #[must_use]
    pub fn with_matching(mut self, matching: Matching) -> Self {
        self.matching = matching;
        self
    }

    /// Where SETs are pushed to: [`PushTargets::public`], unless this is said.
    #[must_use]
    pub fn with_push_targets(mut self, targets: PushTargets) -> Self {
        self.targets = targets;
        self
    }

    /// How many SETs an answer to a poll has at most: 1,000, unless this is said, and never more.
    #[must_use]
    pub fn with_page(mut self, count: usize) -> Self {
        self.page = count.clamp(1, 1_000);
        self
    }

    /// How long a poll waits for a SET: 25 s, unless this is said. Nothing, and no poll waits.
    #[must_use]
    pub fn with_long_poll(mut self, longest: Duration) -> Self {
        self.long_poll = longest;
        self
    }

    /// How many pushes of one stream are under way at a time: 1, unless this is said. With more, SETs may
    /// arrive in another order than they were published.
    #[must_use]
    pub fn with_in_flight(mut self, count: usize) -> Self {
        self.in_flight = count.clamp(1, 64);
        self
    }

    /// How long a push may take before it counts as failed: 30 s, unless this is said.
    #[must_use]
    pub fn with_answer_within(mut self, time: Duration) -> Self {
        self.answer_within = time;
        self
    }

    /// How long to wait before a push is tried again: first one second, then twice as long each time, at
    /// most an hour, unless this is said.
    #[must_use]
    pub fn with_retries(mut self, first: Duration, longest: Duration) -> Self {
        self.first_retry = first.max(Duration::from_secs(1));
        self.last_retry = longest.max(self.first_retry);
        self
    }

    /// When a SET that cannot be delivered becomes a dead letter: three days after it was published,
    /// unless this is said.
    #[must_use]
    pub fn with_give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = time;
        self
    }

    /// For how long events are kept for replay, and dead letters for whoever looks: seven days, unless
    /// this is said.
    #[must_use]
    pub fn with_retention(mut self, time: Duration) -> Self {
        self.retention = time;
        self
    }

    /// Whether a receiver may be told of an event, asked when it is about to be. To add a subject is a
    /// statement of interest and gives no right to it (SSF 1.0 §9.2).
    #[must_use]
    pub fn with_gate(
        mut self,
        gate: impl Fn(&Caller, &SecurityEvent) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.gate = Some(Arc::new(gate));
        self
    }
}

impl fmt::Debug for TransmitterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransmitterOptions")
            .field("streams_per_receiver", &self.streams_per_receiver)
            .field("queue_limit", &self.queue_limit)
            .field("subject_limit", &self.subject_limit)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}
