//! `Committer`: takes all batches that wait and commits them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use m2m_crypto::SecureRandom;
use m2m_store::{
    AnchorError, AnchorMark, Batch, Committed, Cursor, IdempotencyKey, Reason, Sealer, StoreError,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::evaluate::{Candidate, Fingerprint};
use crate::failure::Failure;
use crate::retry::Backoff;
use crate::schema;
use crate::session::{Backend, Opener};
use crate::transaction::{CommitSession, Group, Progress, Sealing};
use crate::watch::Head;

/// The most batches and bytes of one transaction: enough that the cost of a round trip and of a
/// write to the disk is shared, and little enough that nobody waits long for the lock.
const GROUP_BATCHES: usize = 512;
const GROUP_BYTES: usize = 8 << 20;

/// How many commits more than promised are remembered, so that forgetting is done seldom and at
/// once.
const FORGET_EVERY: u64 = 8_192;

/// A batch in the queue.
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) turn: Arc<Turn>,
    pub(crate) answer: oneshot::Sender<Result<Committed, StoreError>>,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Whether a batch still waits, was taken to be committed, or was given up.
#[derive(Default)]
pub(crate) struct Turn(AtomicU8);

const WAITS: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Turn {
    fn take(&self) -> bool {
        self.change(TAKEN)
    }

    /// Whether nothing has been done for the batch, and nothing ever will.
    pub(crate) fn give_up(&self) -> bool {
        self.change(GIVEN_UP)
    }

    fn change(&self, to: u8) -> bool {
        self.0
            .compare_exchange(WAITS, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

/// What happened, for metrics.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) connections: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

pub(crate) struct Committer {
    pub(crate) opener: Arc<Opener>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) store: [u8; 16],
    pub(crate) random: Arc<dyn SecureRandom>,
    pub(crate) head: Arc<Head>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) session: Option<CommitSession>,
    pub(crate) backend: Option<Backend>,
    pub(crate) forgot_at: u64,
}

/// A batch whose turn it is.
struct Taken {
    pending: Pending,
    attempted: bool,
}

impl Committer {
    /// Commits what comes, until nobody can send any more.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Pending>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(first) => first,
                None => match queue.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let (mut group, mut bytes) = (Vec::new(), first.batch.bytes());
            take(first, &mut group);
            while group.len() < GROUP_BATCHES
                && let Ok(pending) = queue.try_recv()
            {
                bytes += pending.batch.bytes();
                if bytes > GROUP_BYTES && !group.is_empty() {
                    next = Some(pending);
                    break;
                }
                take(pending, &mut group);
            }
            if !group.is_empty() {
                self.commit(group).await;
            }
        }
    }

    /// Tries until the group is durable, or is certainly not, or the time is over.
    async fn commit(&mut self, mut group: Vec<Taken>) {
        let limits = *self.opener.config().limits();
        let mut backoff = Backoff::until(Instant::now() + limits.commit);
        loop {
            let progress = Progress::default();
            let attempt = timeout(backoff.time_left(), self.attempt(&group, &progress));
            let failure = match attempt.await {
                Ok(Ok(done)) => return self.answer(group, done).await,
                Ok(Err(failure)) => failure,
                Err(_) => Failure::timed_out("the commit"),
            };
            if progress.is_unknown() {
                Counters::add(&self.counters.unknown, 1);
            }
            if progress.has_looked() {
                for (place, taken) in group.iter_mut().enumerate() {
                    taken.attempted = progress.may_have_written(place);
                }
            }
            if !failure.is_worth_another_attempt() || !backoff.wait(&*self.random).await {
                return give_up(group, &failure);
            }
            Counters::add(&self.counters.retries, 1);
        }
    }

    /// Finding out what became of an attempt whose answer was lost is the next attempt: it waits
    /// for the head's lock, and therefore for the end of the transaction before it, and then finds
    /// the idempotency keys or does not.
    async fn attempt(&mut self, group: &[Taken], progress: &Progress) -> Result<Group, Failure> {
        let session = match self.session.take().filter(CommitSession::is_usable) {
            Some(session) => session,
            None => {
                Counters::add(&self.counters.connections, 1);
                let opened = CommitSession::open(&self.opener, self.backend.as_ref()).await?;
                self.backend = opened.backend();
                opened
            }
        };
        let candidates: Vec<Candidate<'_>> = group.iter().map(Taken::candidate).collect();
        let sealing = Sealing {
            sealer: &self.sealer,
            random: &*self.random,
        };
        let newest = self.head.newest();
        let limit = self.opener.config().limits().statement;
        let committing = session.commit(&candidates, newest, &sealing, progress);
        let done = timeout(limit, committing)
            .await
            .unwrap_or_else(|_| Err(Failure::timed_out("a transaction")));
        match &done {
            Ok(_) => self.session = Some(session),
            Err(failure) if failure.spares_the_connection() => {
                let ended = timeout(limit, session.client().batch_execute("ROLLBACK")).await;
                if matches!(ended, Ok(Ok(()))) {
                    self.session = Some(session);
                }
            }
            // A new connection is opened for the next attempt.
            Err(_) => {}
        }
        done
    }

    async fn answer(&mut self, group: Vec<Taken>, done: Group) {
        self.head.saw(done.head);
        if let Err(error) = self.advance(done.head).await {
            // Durable, and yet not to be acknowledged. The same batch again finds it.
            for taken in group {
                let reason = Reason::new(&error);
                taken.answer(Err(StoreError::OutcomeUnknown { reason }));
            }
            return;
        }
        Counters::add(&self.counters.groups, 1);
        Counters::add(&self.counters.commits, group.len() as u64);
        for (taken, answer) in group.into_iter().zip(done.answers) {
            taken.answer(answer);
        }
        let head = done.head.revision().number();
        if head.saturating_sub(self.forgot_at) >= FORGET_EVERY {
            self.forgot_at = head;
            self.forget().await;
        }
    }

    /// The anchor remembers how far the store has come, before anybody is told.
    async fn advance(&self, head: Cursor) -> Result<(), AnchorError> {
        let Some(anchor) = self.opener.config().anchor() else {
            return Ok(());
        };
        let mark = AnchorMark::new(self.store, head);
        // It may write to a disk, and must not hold up the runtime for that.
        let advanced = tokio::task::spawn_blocking(move || anchor.advance(mark)).await;
        advanced.unwrap_or_else(|_| Err(AnchorError::new(Reason::new("it panicked"))))
    }

    /// Forgets old idempotency keys. Nothing depends on it: what fails now is done the next time.
    async fn forget(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let kept = i64::try_from(IdempotencyKey::REMEMBERED).unwrap_or(i64::MAX);
        // Twice what comes in, and not so many that the lock-free delete takes noticeable time.
        let most = i64::try_from(2 * FORGET_EVERY).unwrap_or(i64::MAX);
        let statement = self.opener.schema().fill(schema::FORGET_REQUESTS);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&kept, &most];
        let forgetting = session.client().execute(&statement, &parameters);
        let limit = self.opener.config().limits().statement;
        if matches!(timeout(limit, forgetting).await, Ok(Ok(_))) {
            self.session = Some(session);
        }
    }
}

fn take(pending: Pending, group: &mut Vec<Taken>) {
    // Whoever gave up has answered for itself.
    if pending.turn.take() {
        group.push(Taken {
            pending,
            attempted: false,
        });
    }
}

fn give_up(group: Vec<Taken>, failure: &Failure) {
    for taken in group {
        let error = match taken.attempted {
            true => StoreError::OutcomeUnknown {
                reason: failure.reason.clone(),
            },
            false => failure.clone().into_error(),
        };
        taken.answer(Err(error));
    }
}

impl Taken {
    fn candidate(&self) -> Candidate<'_> {
        Candidate {
            batch: &self.pending.batch,
            fingerprint: self.pending.fingerprint,
            attempted: self.attempted,
        }
    }

    fn answer(self, answer: Result<Committed, StoreError>) {
        let Pending {
            answer: to, room, ..
        } = self.pending;
        drop(room);
        // Nobody may wait for it any more.
        let _ = to.send(answer);
    }
}

/// For a batch that was taken and never answered: the program is ending.
pub(crate) fn abandoned() -> StoreError {
    StoreError::OutcomeUnknown {
        reason: Reason::new("the runtime shut down"),
    }
}
