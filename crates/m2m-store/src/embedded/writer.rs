//! The one writer: takes all batches that wait, commits them together, and answers each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::backend::Aftermath;
use super::database::{Opened, poisoned};
use super::failure::Failed;
use super::group::{Outcome, write_group};
use super::requests::Requests;
use super::shared::Shared;
use crate::{AnchorMark, Batch, Committed, Cursor, Reason, StoreError};

/// The most batches that share a commit.
const MAX_GROUP: usize = 1_024;
/// The most bytes that share a commit: what redb holds in memory meanwhile.
const MAX_GROUP_BYTES: usize = 32 << 20;
/// The writer waits at most this long for as many batches as there were callers when it last
/// answered. Those who are answered together come back together, a moment after the first of them;
/// without waiting for them they and those who came meanwhile would take turns, each waiting for the
/// other's commit.
const MAX_LINGER: Duration = Duration::from_millis(2);
/// How long it sleeps meanwhile before it looks again: being woken by each of them would take turns
/// with them.
const NAP: Duration = Duration::from_micros(50);

/// What the writer is asked to do.
pub(super) enum Job {
    Commit(Waiting),
    /// Something between two commits, with nobody else writing.
    Between(Box<dyn FnOnce(&mut Writer) + Send>),
}

/// A batch, and who waits for it.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
    // Given back when the batch is answered.
    pub(super) _room: [OwnedSemaphorePermit; 2],
}

/// Runs on a thread of its own until its store is dropped.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    jobs: Receiver<Job>,
    expected: usize,
    last_commit: Duration,
    anchored: Cursor,
    requests: Requests,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        anchored: Cursor,
        requests: Requests,
    ) -> Self {
        Self {
            shared,
            jobs,
            expected: 1,
            last_commit: Duration::ZERO,
            anchored,
            requests,
        }
    }

    pub(super) fn run(mut self) {
        while let Ok(job) = self.jobs.recv() {
            let done = catch_unwind(AssertUnwindSafe(|| self.serve(job)));
            if done.is_err() {
                // Who waited for it hears that its outcome is not known; who comes now, this.
                let reason = Reason::new("the writer panicked");
                self.shared.poison(poisoned(reason));
                return;
            }
        }
    }

    fn serve(&mut self, job: Job) {
        match job {
            Job::Between(work) => work(self),
            Job::Commit(first) => {
                let (group, then) = self.gather(first);
                self.commit(group);
                if let Some(work) = then {
                    work(self);
                }
            }
        }
    }

    /// All that wait, up to the limits, and the work that one of them ran into.
    #[expect(clippy::type_complexity, reason = "a pair that is taken apart at once")]
    fn gather(
        &self,
        first: Waiting,
    ) -> (Vec<Waiting>, Option<Box<dyn FnOnce(&mut Writer) + Send>>) {
        let until = Instant::now() + MAX_LINGER.min(self.last_commit / 2);
        let mut bytes = first.batch.bytes();
        let mut group = vec![first];
        while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
            match self.jobs.try_recv() {
                Ok(Job::Commit(waiting)) => {
                    bytes += waiting.batch.bytes();
                    group.push(waiting);
                }
                Ok(Job::Between(work)) => return (group, Some(work)),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if group.len() >= self.expected || left.is_zero() {
                        break;
                    }
                    std::thread::sleep(NAP.min(left));
                }
            }
        }
        (group, None)
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let begun = Instant::now();
        let answers = match self.try_commit(&group) {
            Ok(answers) => answers,
            // Of each the same is known.
            Err(error) => vec![Err(error); group.len()],
        };
        self.last_commit = begun.elapsed();
        self.shared.counters.count(&answers, self.last_commit);
        self.expected = self.shared.waiting();
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Who no longer waits is not told.
            let _ = waiting.answer.send(answer);
        }
    }

    fn try_commit(
        &mut self,
        group: &[Waiting],
    ) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        self.be_ready()?;
        let shared = Arc::clone(&self.shared);
        let done = shared.with_database(|opened| {
            let (sealer, random) = (&shared.sealer, shared.random.as_ref());
            let transaction = opened.begin_write()?;
            let batches = group.iter().map(|waiting| &waiting.batch);
            let outcome = write_group(&transaction, batches, &self.requests, sealer, random)?;
            match outcome.written {
                true => transaction.commit()?,
                false => transaction.abort()?,
            }
            Ok(outcome)
        });
        let Outcome {
            answers,
            head,
            requests,
            ..
        } = match done {
            Ok(outcome) => outcome,
            Err(failed) => return Err(self.fail(failed)),
        };
        self.requests.apply(requests);
        // Before anyone is told: a copy from before must not pass for the newest.
        let anchored = self.anchor(head);
        // Whoever follows sees it, whatever the anchor said.
        shared.head.send_if_modified(|there| {
            let newer = *there != head;
            *there = head;
            newer
        });
        anchored.map(|()| answers)
    }

    /// Moves the anchor to `head`, if it is not there yet.
    pub(super) fn anchor(&mut self, head: Cursor) -> Result<(), StoreError> {
        let Some(anchor) = &self.shared.anchor else {
            return Ok(());
        };
        if self.anchored == head {
            return Ok(());
        }
        let mark = AnchorMark::new(self.shared.store, head);
        // It is durable, so it may not be said that it was not written.
        anchor
            .advance(mark)
            .map_err(|error| StoreError::OutcomeUnknown {
                reason: Reason::new(error),
            })?;
        self.anchored = head;
        Ok(())
    }

    /// Makes sure that it can be written, if it can.
    pub(super) fn be_ready(&self) -> Result<(), StoreError> {
        self.shared.check()?;
        if self.shared.is(Opened::is_writable) {
            return Ok(());
        }
        if self.shared.is(Opened::is_sound) {
            return self.revive();
        }
        // Something was read that could not be; nothing was being written.
        match self.shared.roll_back() {
            Aftermath::WriteFailed => self.revive(),
            aftermath => Err(self.give_up(aftermath, Reason::new("an earlier operation failed"))),
        }
    }

    /// Something failed while a group was written. Makes sure what became of it, and says so.
    pub(super) fn fail(&self, failed: Failed) -> StoreError {
        if !matches!(failed, Failed::Io { .. }) && self.shared.is(Opened::is_sound) {
            // Nothing was asked of the disk that it refused, and the transaction is gone.
            return failed.into_not_written();
        }
        match self.shared.roll_back() {
            Aftermath::WriteFailed => {
                // If that fails too, the next one who writes hears of it.
                let _ = self.revive();
                failed.into_not_written()
            }
            aftermath => self.give_up(aftermath, failed.reason()),
        }
    }

    fn revive(&self) -> Result<(), StoreError> {
        self.shared.revive().map_err(|failed| {
            if matches!(failed, Failed::Corrupt(_)) {
                self.shared.poison(poisoned(failed.reason()));
            }
            failed.into_not_written()
        })
    }

    fn give_up(&self, aftermath: Aftermath, reason: Reason) -> StoreError {
        self.shared.poison(poisoned(reason.clone()));
        match aftermath {
            Aftermath::Unknown => StoreError::OutcomeUnknown { reason },
            Aftermath::WriteFailed | Aftermath::SyncFailed => poisoned(reason),
        }
    }
}
