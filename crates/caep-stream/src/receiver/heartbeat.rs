//! The heartbeat of a stream: whether it still tells us what happens, asked for by verifications
//! (SSF 1.0 §8.1.4).

use std::time::Duration;

use caep_set::{Event, Format, SecurityEventToken, StreamStatus};
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

/// How many verifications that were asked for may be unanswered. Of more, the oldest is forgotten.
const MAX_ASKED: usize = 4;
/// The longest pause after a transmitter said that it was asked too often.
const MAX_PAUSE: u64 = 3600;

/// How often a stream is asked whether it is still there, and when it counts as silent.
///
/// The default asks every five minutes, and takes a stream for stale that was last known to work a
/// quarter of an hour ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatPolicy {
    pub(crate) interval: Duration,
    pub(crate) tolerance: Duration,
}

/// Whether a stream tells us what happens. For a policy that fails closed: refuse, or believe only young
/// tokens, while it is not [`Freshness::Fresh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a policy must say what it does with each"
)]
pub enum Freshness {
    /// It worked at that time, and that is not long ago.
    Fresh {
        /// When it is known to have worked.
        as_of: Timestamp,
    },
    /// It is silent: it may be cut off, or somebody keeps its events from us.
    Stale {
        /// When it is last known to have worked; [`Timestamp::MIN`] if never.
        since: Timestamp,
    },
    /// The transmitter said that it has stopped ([`StreamStatus::Paused`] or
    /// [`StreamStatus::Disabled`]).
    Stopped {
        /// Since when.
        since: Timestamp,
    },
    /// It had stopped and goes on: what happened meanwhile may be lost. Reconcile what is alive here with
    /// the transmitter's other interfaces, or end it, and call
    /// [`crate::receiver::Receiver::reconciled`].
    Gap {
        /// When it had stopped.
        since: Timestamp,
        /// When it went on.
        until: Timestamp,
    },
}

/// What is known of a stream, as it is kept. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    /// Verifications that were asked for: their state and when.
    asked: Vec<(Box<str>, u64)>,
    /// When the next may be asked for.
    next: u64,
    /// When it is last known to have worked.
    as_of: u64,
    /// Since when it has stopped.
    stopped: Option<u64>,
    /// Between when and when something may be lost.
    gap: Option<(u64, u64)>,
    /// When the transmitter said last what the state is.
    status_at: u64,
    /// `min_verification_interval`; not kept.
    #[serde(skip)]
    pub(crate) min_interval: u32,
}

/// What an event about the stream itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Verified { was_asked_for: bool },
    Updated(StreamStatus),
}

/// Why an event about the stream itself is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotHeard {
    /// `state` is not one that was asked for.
    State,
    /// It is about another stream.
    Stream,
}

impl HeartbeatPolicy {
    /// Asks every `interval`, or as often as the transmitter allows if that is less often; without an
    /// answer for `tolerance` the stream is stale. The tolerance is at least the interval.
    pub fn new(interval: Duration, tolerance: Duration) -> Self {
        Self {
            interval: interval.max(Duration::from_secs(1)),
            tolerance: tolerance.max(interval),
        }
    }
}

impl Default for HeartbeatPolicy {
    fn default() -> Self {
        Self::new(Duration::from_secs(300), Duration::from_secs(900))
    }
}

impl Freshness {
    /// Whether it is fresh.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh { .. })
    }
}

impl Beat {
    pub(crate) fn freshness(&self, policy: &HeartbeatPolicy, now: Timestamp) -> Freshness {
        if let Some(since) = self.stopped {
            return Freshness::Stopped { since: time(since) };
        }
        if let Some((since, until)) = self.gap {
            return Freshness::Gap {
                since: time(since),
                until: time(until),
            };
        }
        let (as_of, now) = (self.as_of, now.unix_seconds());
        let tolerance = policy.tolerance.as_secs();
        let is_recent = as_of > 0 && now.saturating_sub(as_of) <= tolerance;
        match is_recent {
            true => Freshness::Fresh { as_of: time(as_of) },
            false => Freshness::Stale { since: time(as_of) },
        }
    }

    /// When the next verification is to be asked for.
    pub(crate) fn next(&self) -> Timestamp {
        time(self.next)
    }

    /// A verification with this state is asked for now.
    pub(crate) fn ask(&mut self, state: &str, policy: &HeartbeatPolicy, now: Timestamp) {
        let now = now.unix_seconds();
        let interval = policy.interval.as_secs().max(u64::from(self.min_interval));
        self.next = now.saturating_add(interval);
        if self.asked.len() == MAX_ASKED {
            self.asked.remove(0);
        }
        self.asked.push((Box::from(state), now));
    }

    /// The transmitter did not take what was asked: not before `after` seconds.
    pub(crate) fn not_taken(&mut self, after: Option<u32>, now: Timestamp) {
        let least = u64::from(self.min_interval).max(1);
        let pause = u64::from(after.unwrap_or(0)).max(2 * least).min(MAX_PAUSE);
        self.next = self.next.max(now.unix_seconds().saturating_add(pause));
        // It may have taken it all the same: an answer is still known.
    }

    /// Takes in what the transmitter says of the stream called `stream_id`. `None` if `token` says
    /// nothing of it.
    pub(crate) fn hear(
        &mut self,
        token: &SecurityEventToken,
        stream_id: Option<&str>,
        now: Timestamp,
    ) -> Option<Result<Heard, NotHeard>> {
        let event = token.event()?;
        let is_its_own =
            |event: &Event| matches!(event, Event::Verification(_) | Event::StreamUpdated(_));
        // One that says something else as well is to be acted upon like any other.
        if !token.events().iter().all(is_its_own) {
            return None;
        }
        let named = match token.subject().map(|subject| subject.format()) {
            Some(Format::Opaque { id }) => Some(&**id),
            _ => None,
        };
        if stream_id.is_some_and(|ours| named != Some(ours)) {
            return Some(Err(NotHeard::Stream));
        }
        let made_at = token.issued_at().min(now).unix_seconds();
        Some(match event {
            Event::Verification(event) => match event.state.as_deref() {
                // It was made at that time, and nobody knows how long it was under way.
                None => {
                    self.as_of = self.as_of.max(made_at);
                    let was_asked_for = false;
                    Ok(Heard::Verified { was_asked_for })
                }
                Some(state) => self.answered(state),
            },
            Event::StreamUpdated(event) => {
                self.updated(&event.status, made_at);
                Ok(Heard::Updated(event.status.clone()))
            }
            _ => return None,
        })
    }

    fn answered(&mut self, state: &str) -> Result<Heard, NotHeard> {
        let found = self.asked.iter().position(|(asked, _)| **asked == *state);
        let at = found.ok_or(NotHeard::State)?;
        // What was asked before this one will not be answered any more, or late.
        let (_, asked_at) = self.asked.remove(at);
        self.as_of = self.as_of.max(asked_at);
        let was_asked_for = true;
        Ok(Heard::Verified { was_asked_for })
    }

    /// An older word on the state does not undo a newer one.
    fn updated(&mut self, status: &StreamStatus, made_at: u64) {
        if made_at < self.status_at {
            return;
        }
        self.status_at = made_at;
        match (status, self.stopped) {
            (StreamStatus::Enabled, Some(since)) => {
                self.stopped = None;
                let since = self.gap.map_or(since, |(first, _)| first.min(since));
                self.gap = Some((since, made_at.max(since)));
                self.as_of = self.as_of.max(made_at);
            }
            (StreamStatus::Enabled, None) => self.as_of = self.as_of.max(made_at),
            (_, None) => self.stopped = Some(made_at),
            (_, Some(_)) => {}
        }
    }

    /// What may have been lost was looked after.
    pub(crate) fn reconciled(&mut self) {
        self.gap = None;
    }
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::MAX)
}
