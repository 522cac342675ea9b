//! `Pool`: a bounded number of sessions for reading.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::failure::{Failure, Kind};
use crate::read::ReadSession;
use crate::session::Opener;

/// A session is closed after this time, so that a changed password, a moved server and what the
/// server's process has gathered in memory take effect.
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Sessions that are lent to one reader each. A plain stack behind a semaphore: what a general pool
/// adds (several managers, hooks, recycling) is not needed where all sessions are alike.
pub(crate) struct Pool {
    opener: Arc<Opener>,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
    waiting: AtomicUsize,
}

struct Idle {
    session: ReadSession,
    born: Instant,
}

/// A session for one reader.
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    idle: Idle,
    _turn: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) fn new(opener: Arc<Opener>) -> Self {
        Self {
            turns: Semaphore::new(opener.config().limits().read_connections),
            idle: Mutex::new(Vec::new()),
            waiting: AtomicUsize::new(0),
            opener,
        }
    }

    /// How many readers wait for a session.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(crate) async fn lend(&self) -> Result<Lent<'_>, Failure> {
        let limits = self.opener.config().limits();
        let _turn = match self.turns.try_acquire() {
            Ok(turn) => turn,
            Err(_) => self.wait(limits.waiting_reads, limits.wait).await?,
        };
        let idle = match self.take_idle() {
            Some(idle) => idle,
            None => Idle {
                session: ReadSession::open(&self.opener).await?,
                born: Instant::now(),
            },
        };
        Ok(Lent {
            pool: self,
            idle,
            _turn,
        })
    }

    async fn wait(&self, most: usize, limit: Duration) -> Result<SemaphorePermit<'_>, Failure> {
        let waiting = Waiting::enter(&self.waiting);
        if waiting.before >= most {
            return Err(crowded(format_args!("{most} reads are waiting already")));
        }
        let turn = timeout(limit, self.turns.acquire()).await;
        let late = |_| crowded(format_args!("all connections were in use for {limit:?}"));
        // Nobody closes the semaphore.
        turn.map_err(late)?.map_err(crowded)
    }

    fn take_idle(&self) -> Option<Idle> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|idle| idle.session.is_usable() && idle.born.elapsed() < LIFETIME);
        idle.pop()
    }
}

fn crowded(what: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::Crowded, what)
}

/// Counts who waits, also when waiting is given up.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        let before = count.fetch_add(1, Ordering::Relaxed);
        Self { count, before }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lent<'_> {
    pub(crate) fn session(&self) -> &ReadSession {
        &self.idle.session
    }

    /// What was asked was answered: somebody else may have the session. One that is merely dropped
    /// is closed, as it may be in the middle of something.
    pub(crate) fn give_back(self) {
        if self.idle.session.is_usable() {
            let idle = self.pool.idle.lock();
            let mut idle = idle.unwrap_or_else(PoisonError::into_inner);
            idle.push(self.idle);
        }
    }
}
