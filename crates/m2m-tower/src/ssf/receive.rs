//! `SignalReceiver`: SETs that came are acted upon, before they are acknowledged.

use std::fmt;
use std::sync::Arc;

use caep_stream::PendingSet;
use caep_stream::receiver::{ActReport, Acted, Outcome, PollReport, Postponed, Received, Receiver};
use m2m_crypto::SystemRandom;
use m2m_revoke::StoredRevocations;
use m2m_store::Batch;
use m2m_types::{Clock, ClockError, Timestamp};
use tokio::sync::{Mutex, Notify};

use super::PushService;
use crate::fetch::{FetchFailure, HttpSender};

/// What an application writes in the commit that finishes a SET.
type Effects = Arc<dyn Fn(&PendingSet, &Outcome, Batch) -> Batch + Send + Sync>;

/// A [`Receiver`] and what its SETs void: what [`PushService`], [`super::PollFollower`] and
/// [`super::StreamKeeper`] share. Cloning copies a pointer.
///
/// What a SET voids is void in this process and in the store **before** the SET is acknowledged: when the
/// transmitter hears that it was taken, the next call is refused.
#[derive(Clone)]
pub struct SignalReceiver {
    inner: Arc<Inner>,
}

struct Inner {
    receiver: Arc<Receiver>,
    revocations: Arc<StoredRevocations>,
    clock: Arc<dyn Clock>,
    effects: Effects,
    acted: Arc<dyn Fn(&Acted) + Send + Sync>,
    /// One acts at a time, for all whose SETs are there by then.
    acting: Mutex<()>,
    keys_wanted: Notify,
}

impl SignalReceiver {
    /// How many SETs are acted upon in one step.
    const STEP: usize = 100;

    /// SETs that `receiver` takes void entries of `revocations`, which guards and verifiers look at.
    pub fn new(
        receiver: Arc<Receiver>,
        revocations: Arc<StoredRevocations>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                receiver,
                revocations,
                clock,
                effects: Arc::new(|_, _, batch| batch),
                acted: Arc::new(|_| ()),
                acting: Mutex::default(),
                keys_wanted: Notify::new(),
            }),
        }
    }

    /// Adds to the commit that finishes each SET what `effects` says: it is written exactly once, in the
    /// receiver's store. It may be asked again for the same SET, so it must do nothing else. For the
    /// beginning: clones that are there already do not get it.
    #[must_use]
    pub fn with_effects(
        self,
        effects: impl Fn(&PendingSet, &Outcome, Batch) -> Batch + Send + Sync + 'static,
    ) -> Self {
        self.with(|inner| inner.effects = Arc::new(effects))
    }

    /// Tells `observe` of each SET that was acted upon, before it is acknowledged. It should not block. For
    /// the beginning, as [`SignalReceiver::with_effects`].
    #[must_use]
    pub fn with_observer(self, observe: impl Fn(&Acted) + Send + Sync + 'static) -> Self {
        self.with(|inner| inner.acted = Arc::new(observe))
    }

    /// The endpoint that SETs are pushed to.
    pub fn push_service(&self) -> PushService {
        PushService::new(self.clone())
    }

    /// The receiver.
    pub fn receiver(&self) -> &Arc<Receiver> {
        &self.inner.receiver
    }

    /// Acts upon all SETs that wait for it: at the beginning, what a process that died has left. Services
    /// and followers do so by themselves.
    ///
    /// Returns how many SETs were acted upon, and what went wrong first. What was not acted upon waits.
    pub async fn act(&self) -> Result<usize, ActFailure> {
        let _turn = self.inner.acting.lock().await;
        let mut count = 0;
        loop {
            let report = self.step().await?;
            count += report.acted.len();
            match report.problem {
                Some(problem) => return Err(ActFailure::Act(problem)),
                None if report.acted.is_empty() => return Ok(count),
                None => {}
            }
        }
    }

    /// Acts until the SET that was brought as `compact` was acted upon.
    pub(super) async fn act_upon(&self, compact: &str) -> Result<(), ActFailure> {
        let _turn = self.inner.acting.lock().await;
        loop {
            let report = self.step().await?;
            let is_it = |acted: &Acted| acted.set().compact() == compact;
            // If none is left, somebody else has done it.
            if report.acted.iter().any(is_it) {
                return Ok(());
            }
            match report.problem {
                Some(problem) if report.acted.is_empty() || problem.is_of_the_store() => {
                    return Err(ActFailure::Act(problem));
                }
                None if report.acted.is_empty() => return Ok(()),
                _ => {}
            }
        }
    }

    async fn step(&self) -> Result<ActReport, ActFailure> {
        let inner = &self.inner;
        let (now, random) = (self.now().map_err(ActFailure::Clock)?, &SystemRandom);
        let effects = |set: &PendingSet, outcome: &Outcome, batch: Batch| {
            (inner.effects)(set, outcome, batch)
        };
        let acted = inner
            .receiver
            .act_with(&inner.revocations, effects, Self::STEP, now, random);
        let report = acted.await;
        for acted in &report.acted {
            (inner.acted)(acted);
        }
        Ok(report)
    }

    /// Fetches the keys that are to be fetched now, and says how many sets were taken and what went wrong
    /// last. At the beginning, so that the first SET finds them; a [`super::StreamKeeper`] does so by itself.
    pub async fn fetch_keys(&self, sender: &HttpSender) -> (usize, Option<KeysFailure>) {
        let (mut taken, mut problem) = (0, None);
        loop {
            let now = match self.now() {
                Ok(now) => now,
                Err(error) => return (taken, Some(KeysFailure::Clock(error))),
            };
            let Some(fetch) = self.inner.receiver.poll_keys(now) else {
                return (taken, problem);
            };
            let fetched = sender.send(fetch.request()).await;
            let now = self.now().unwrap_or(now);
            match fetched {
                Ok(response) => {
                    let response = super::lent(&response);
                    match self.inner.receiver.handle_keys(&fetch, &response, now) {
                        Ok(()) => taken += 1,
                        Err(error) => problem = Some(KeysFailure::Refused(error)),
                    }
                }
                Err(failure) => {
                    self.inner.receiver.handle_keys_failure(&fetch, now);
                    problem = Some(KeysFailure::NotFetched(failure));
                }
            }
        }
    }

    pub(super) fn now(&self) -> Result<Timestamp, ClockError> {
        self.inner.clock.now()
    }

    /// Keys are wanted, if that is why a SET waits.
    pub(super) fn note(&self, received: &Received) {
        if matches!(received, Received::Later(Postponed::KeyUnknown)) {
            self.inner.keys_wanted.notify_one();
        }
    }

    pub(super) fn note_all(&self, report: &PollReport) {
        for (_, received) in &report.received {
            self.note(received);
        }
    }

    pub(super) async fn keys_wanted(&self) {
        self.inner.keys_wanted.notified().await;
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = &self.inner;
        let mut own = Inner {
            receiver: Arc::clone(&inner.receiver),
            revocations: Arc::clone(&inner.revocations),
            clock: Arc::clone(&inner.clock),
            effects: Arc::clone(&inner.effects),
            acted: Arc::clone(&inner.acted),
            acting: Mutex::default(),
            keys_wanted: Notify::new(),
        };
        change(&mut own);
        self.inner = Arc::new(own);
        self
    }
}

/// Why SETs were not acted upon. They wait.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActFailure {
    /// They could not be.
    #[error("{0}")]
    Act(caep_stream::receiver::ActError),
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
}

/// Why keys were not taken. Those in use stay in use until they are too old.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysFailure {
    /// They were not fetched.
    #[error("{0}")]
    NotFetched(FetchFailure),
    /// What was fetched was not taken.
    #[error("{0}")]
    Refused(caep_stream::receiver::KeysError),
    /// What time it is is not known.
    #[error("{0}")]
    Clock(ClockError),
}

impl fmt::Debug for SignalReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalReceiver")
            .field("receiver", &self.inner.receiver)
            .finish_non_exhaustive()
    }
}
