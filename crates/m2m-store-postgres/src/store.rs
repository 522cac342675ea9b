//! `PostgresStore`.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::SecureRandom;
use m2m_store::{
    Batch, Changes, Committed, Cursor, Key, KeyEncryption, Page, Reason, Record, Scan, Sealer,
    Space, Store, StoreError, StoreFuture,
};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::committer::{Committer, Counters, Pending, Turn, abandoned};
use crate::config::PostgresConfig;
use crate::create::open_or_create;
use crate::failure::Failure;
use crate::migrate::migrate;
use crate::pool::Pool;
use crate::read::{ChangesSince, Query};
use crate::retry::Backoff;
use crate::session::{ConnectError, Opener};
use crate::watch::{Head, watch};

/// Bytes of the queue are counted in units of this size, since a semaphore counts no further.
const ROOM_UNIT: usize = 1 << 10;

/// A [`Store`] on PostgreSQL, for a fleet: each process has one, and all see the same records.
///
/// Wants a tokio runtime to be made in and works in tasks of its own there; who calls it may wait on
/// any other. Dropping it closes its connections once what was queued is done.
///
/// The crate's front page says what is promised under which conditions.
pub struct PostgresStore {
    pub(crate) shared: Arc<Shared>,
    queue: mpsc::Sender<Pending>,
    watching: AbortHandle,
}

pub(crate) struct Shared {
    pub(crate) opener: Arc<Opener>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) random: Arc<dyn SecureRandom>,
    pub(crate) pool: Pool,
    pub(crate) head: Arc<Head>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) room: Arc<Semaphore>,
    runtime: Handle,
}

impl PostgresStore {
    /// Creates the tables, or brings them up to date; returns the format that was there before and
    /// the one that is there now. May be called by any number of processes at once.
    ///
    /// Needs a role that may create them; the role that [`PostgresStore::connect`] uses need not.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; [`ConnectError::TooNew`] if the tables were made by a newer program.
    pub async fn migrate(config: PostgresConfig) -> Result<(i32, i32), ConnectError> {
        migrate(config).await
    }

    /// Connects to the store in the configured schema, and creates it (its data key, wrapped by
    /// `outer`) if the tables are empty. `outer` is used here alone, and waited
    /// for; so is what the anchor remembers.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. [`ConnectError::NotMigrated`] where [`PostgresStore::migrate`] was not run.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and I/O enabled.
    pub async fn connect(
        config: PostgresConfig,
        outer: &dyn KeyEncryption,
        random: Arc<dyn SecureRandom>,
    ) -> Result<Self, ConnectError> {
        let limits = *config.limits();
        let opener = Arc::new(Opener::new(config)?);
        let head = Arc::new(Head::new());
        let (store, sealer) = open_or_create(&opener, outer, &*random, &head).await?;
        let sealer = Arc::new(sealer);
        let counters = Arc::new(Counters::default());
        let (queue, waiting) = mpsc::channel(limits.queued_batches);
        let committer = Committer {
            opener: Arc::clone(&opener),
            sealer: Arc::clone(&sealer),
            store,
            random: Arc::clone(&random),
            head: Arc::clone(&head),
            counters: Arc::clone(&counters),
            session: None,
            backend: None,
            forgot_at: 0,
        };
        tokio::spawn(committer.run(waiting));
        let watching = tokio::spawn(watch(Arc::clone(&opener), Arc::clone(&head)));
        let room = units(limits.queued_bytes.max(m2m_store::MAX_BATCH_BYTES));
        let shared = Shared {
            pool: Pool::new(Arc::clone(&opener)),
            room: Arc::new(Semaphore::new(room)),
            runtime: Handle::current(),
            opener,
            sealer,
            random,
            head,
            counters,
        };
        Ok(Self {
            shared: Arc::new(shared),
            queue,
            watching: watching.abort_handle(),
        })
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(ROOM_UNIT).min(Semaphore::MAX_PERMITS)
}

impl Shared {
    /// Runs `work` in a task of its own: whoever asked may stop waiting at any point, and no
    /// connection is left in the middle of something.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.runtime.spawn(work).await.unwrap_or_else(|_| {
            Err(StoreError::Unavailable {
                reason: Reason::new("the runtime shut down"),
            })
        })
    }

    /// Reads, and reads again where the connection was lost or the server busy, until it is too
    /// late.
    async fn read<Q: Query>(&self, query: &Q) -> Result<Q::Found, StoreError> {
        let limits = *self.opener.config().limits();
        let mut backoff = Backoff::until(Instant::now() + limits.read);
        loop {
            let attempt = timeout(backoff.time_left(), self.read_once(query));
            let failure = match attempt.await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::timed_out("reading"),
            };
            if !failure.is_worth_another_attempt() || !backoff.wait(&*self.random).await {
                return Err(failure.into_error());
            }
            Counters::add(&self.counters.retries, 1);
        }
    }

    async fn read_once<Q: Query>(&self, query: &Q) -> Result<Q::Found, Failure> {
        let lent = self.pool.lend().await?;
        // Whoever has seen this place must not be shown an older one.
        let newest = self.head.newest();
        let limit = self.opener.config().limits().statement;
        let found = timeout(limit, query.ask(lent.session(), newest)).await;
        let found = found.unwrap_or_else(|_| Err(Failure::timed_out("a statement")));
        let spared = |failure: &Failure| failure.spares_the_connection();
        if found.as_ref().err().is_none_or(spared) {
            lent.give_back();
        }
        found
    }

    async fn commit(
        &self,
        batch: Batch,
        queue: mpsc::Sender<Pending>,
    ) -> Result<Committed, StoreError> {
        batch.check_limits()?;
        let fingerprint = self.sealer.fingerprint(&batch)?;
        let limit = self.opener.config().limits().wait;
        let late = || StoreError::Overloaded {
            reason: Reason::new(format_args!("no turn within {limit:?}")),
        };
        let deadline = Instant::now() + limit;
        let units = u32::try_from(units(batch.bytes())).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units);
        let room = timeout_at(deadline, room).await.map_err(|_| late())?;
        let room = room.map_err(|_| abandoned())?;
        let turn = Arc::new(Turn::default());
        let (answer, mut answered) = oneshot::channel();
        let pending = Pending {
            batch,
            fingerprint,
            turn: Arc::clone(&turn),
            answer,
            room,
        };
        match timeout_at(deadline, queue.send(pending)).await {
            Err(_) => return Err(late()),
            Ok(Err(_)) => return Err(abandoned()),
            Ok(Ok(())) => {}
        }
        // Holds the committer for no longer than this batch waits.
        drop(queue);
        match timeout_at(deadline, &mut answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(abandoned())),
            Err(_) if turn.give_up() => Err(late()),
            // It is being committed: from here on the committer's time limit counts.
            Err(_) => answered.await.unwrap_or_else(|_| Err(abandoned())),
        }
    }
}

impl Store for PostgresStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        Box::pin(self.shared.run(async move {
            let found = shared.read(&key).await?;
            found.map(|sealed| sealed.open(&shared.sealer)).transpose()
        }))
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        Box::pin(async move {
            let work = async move { shared.commit(batch, queue).await };
            let work = self.shared.runtime.spawn(work);
            work.await.unwrap_or_else(|_| Err(abandoned()))
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        let (shared, scan) = (Arc::clone(&self.shared), scan.clone());
        Box::pin(self.shared.run(async move {
            let rows = shared.read(&scan).await?;
            shared.head.saw(rows.head());
            rows.into_page(&shared.sealer)
        }))
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        let shared = Arc::clone(&self.shared);
        let query = ChangesSince {
            space: space.clone(),
            since,
            limit,
        };
        Box::pin(self.shared.run(async move {
            let rows = shared.read(&query).await?;
            shared.head.saw(rows.head());
            rows.into_changes(since, &shared.sealer)
        }))
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        let patience = self.shared.opener.config().limits().read;
        Box::pin(self.shared.head.moved(since, patience))
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("config", self.shared.opener.config())
            .finish_non_exhaustive()
    }
}
