//! The one writer: takes all batches that wait, commits them together, and answers each.
//!
//! It begins with the first of them and takes the others as they come, so that callers who come back
//! after a commit and the writer work at the same time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::backend::Aftermath;
use super::database::{Opened, poisoned};
use super::failure::Failed;
use super::group::Group;
use super::requests::{Fingerprint, Requests};
use super::shared::Shared;
use crate::{AnchorMark, Batch, Committed, Cursor, Reason, StoreError};

/// The most batches that share a commit.
const MAX_GROUP: usize = 1_024;
/// The most bytes that share a commit: what redb holds in memory meanwhile.
const MAX_GROUP_BYTES: usize = 32 << 20;
/// The writer waits at most this long for as many batches as there were callers when it last
/// answered, counted from the first of them. Those who are answered together come back together, a
/// moment after the first; without waiting for them they and those who came meanwhile would take
/// turns, each waiting for the other's commit.
const MAX_LINGER: Duration = Duration::from_millis(2);

/// What the writer is asked to do.
pub(super) enum Job {
    Commit(Waiting),
    /// Something between two commits, with nobody else writing.
    Between(Work),
}

type Work = Box<dyn FnOnce(&mut Writer) + Send>;

/// A batch, and who waits for it.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) fingerprint: Fingerprint,
    // With the batch, which is freed where it was made: by another thread it costs more.
    pub(super) answer: oneshot::Sender<(Result<Committed, StoreError>, Batch)>,
    // Given back when the batch is answered.
    pub(super) _room: [OwnedSemaphorePermit; 2],
}

/// Those whose batches share a commit, while it is made.
struct Gathering {
    group: Vec<Waiting>,
    bytes: usize,
    /// How long the writer waits for more.
    until: Instant,
    /// How long it did.
    idle: Duration,
    /// With how many it waits no longer.
    expected: usize,
    /// What comes after it.
    then: Option<Work>,
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

impl Gathering {
    /// The batch at `place` of the group, if there is one or one comes in time.
    fn next(&mut self, jobs: &Receiver<Job>, place: usize) -> Option<&Waiting> {
        if place == self.group.len() {
            let left = self.until.saturating_duration_since(Instant::now());
            let patience = match place >= self.expected {
                true => Duration::ZERO,
                false => left,
            };
            self.take(jobs, patience);
        }
        self.group.get(place)
    }

    /// Takes one more into the group, if there is one, room for it, or one comes in `patience`.
    fn take(&mut self, jobs: &Receiver<Job>, patience: Duration) -> bool {
        let full = self.group.len() >= MAX_GROUP || self.bytes >= MAX_GROUP_BYTES;
        if full || self.then.is_some() {
            return false;
        }
        let job = jobs.try_recv().or_else(|_| {
            if patience.is_zero() {
                return Err(RecvTimeoutError::Timeout);
            }
            let begun = Instant::now();
            let job = jobs.recv_timeout(patience);
            self.idle += begun.elapsed();
            job
        });
        match job {
            Ok(Job::Commit(waiting)) => {
                self.bytes += waiting.batch.bytes();
                self.group.push(waiting);
                true
            }
            Ok(Job::Between(work)) => {
                self.then = Some(work);
                false
            }
            Err(_) => false,
        }
    }
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
                if let Some(work) = self.commit(first) {
                    work(self);
                }
            }
        }
    }

    /// Commits `first` and those who come meanwhile. Returns the work that one of them ran into.
    fn commit(&mut self, first: Waiting) -> Option<Work> {
        let begun = Instant::now();
        let mut queue = Gathering {
            until: begun + MAX_LINGER.min(self.last_commit / 2),
            bytes: first.batch.bytes(),
            group: vec![first],
            idle: Duration::ZERO,
            expected: self.expected,
            then: None,
        };
        let answers = match self.try_commit(&mut queue) {
            Ok(answers) => answers,
            Err(error) => {
                // Of those who wait now the same is known.
                while queue.take(&self.jobs, Duration::ZERO) {}
                vec![Err(error); queue.group.len()]
            }
        };
        self.last_commit = begun.elapsed().saturating_sub(queue.idle);
        self.shared.counters.count(&answers, self.last_commit);
        self.expected = self.shared.waiting();
        for (waiting, answer) in queue.group.into_iter().zip(answers) {
            // Who no longer waits is not told.
            let _ = waiting.answer.send((answer, waiting.batch));
        }
        queue.then
    }

    fn try_commit(
        &mut self,
        queue: &mut Gathering,
    ) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        self.be_ready()?;
        let shared = Arc::clone(&self.shared);
        let (jobs, requests) = (&self.jobs, &mut self.requests);
        let done = shared.with_database(|opened| {
            let (sealer, random) = (&shared.sealer, shared.random.as_ref());
            let transaction = opened.begin_write()?;
            let mut group = Group::begin(&transaction, requests, sealer, random)?;
            let mut answers = Vec::new();
            while let Some(next) = queue.next(jobs, answers.len()) {
                answers.push(group.add(&next.batch, &next.fingerprint)?);
            }
            let outcome = group.finish()?;
            match outcome.written {
                true => transaction.commit()?,
                false => transaction.abort()?,
            }
            Ok((answers, outcome))
        });
        let (answers, outcome) = match done {
            Ok(done) => done,
            Err(failed) => {
                let durable = shared.head.borrow().revision();
                self.requests.roll_back(durable);
                return Err(self.fail(failed));
            }
        };
        let head = outcome.head;
        self.requests.apply(outcome.requests);
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
