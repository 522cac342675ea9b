//! `Watcher`: looks at the head, for all who wait for it to move.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use m2m_store::{Cursor, StoreError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_postgres::Statement;

use crate::failure::{Failure, Kind};
use crate::schema;
use crate::session::{Opener, Session};
use crate::transaction::not_set_back;

/// How often the head is looked at while nobody waits: so that metrics tell of a database that is
/// gone, and whoever begins to wait finds a session.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// How long to leave a database alone that did not answer.
const BLIND_INTERVAL: Duration = Duration::from_millis(100);

/// The newest place that this process has seen, and whether it can still see.
pub(crate) struct Head {
    seen: watch::Sender<Seen>,
    waiting: AtomicUsize,
    wake: Arc<Notify>,
}

#[derive(Clone, Default)]
struct Seen {
    newest: Option<Cursor>,
    looked: Option<Instant>,
    // Since when nothing was seen, and why.
    blind: Option<(Instant, Failure)>,
}

impl Head {
    pub(crate) fn new() -> Self {
        Self {
            seen: watch::Sender::new(Seen::default()),
            waiting: AtomicUsize::new(0),
            wake: Arc::new(Notify::new()),
        }
    }

    /// The newest place seen: whoever reads from now on must not find an older one.
    pub(crate) fn newest(&self) -> Option<Cursor> {
        self.seen.borrow().newest
    }

    /// How long ago the head was looked at.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.seen.borrow().looked.map(|looked| looked.elapsed())
    }

    /// How many wait for it to move.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The database is at `place`.
    pub(crate) fn saw(&self, place: Cursor) {
        self.seen.send_if_modified(|seen| {
            let was_blind = seen.blind.take().is_some();
            seen.looked = Some(Instant::now());
            let newer = seen.newest.is_none_or(|newest| {
                newest.incarnation() != place.incarnation() || newest.revision() < place.revision()
            });
            if newer {
                seen.newest = Some(place);
            }
            newer || was_blind
        });
    }

    fn saw_nothing(&self, failure: Failure) {
        self.seen.send_modify(|seen| {
            let since = seen.blind.as_ref().map(|(since, _)| *since);
            seen.blind = Some((since.unwrap_or_else(Instant::now), failure));
        });
    }

    /// Waits until the head is behind `since`, or nothing was seen of it for `patience`.
    pub(crate) async fn moved(&self, since: Cursor, patience: Duration) -> Result<(), StoreError> {
        let mut seen = self.seen.subscribe();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _leaving = Leaving(&self.waiting);
        self.wake.notify_one();
        let decided = |seen: &Seen| {
            let moved = seen.newest.is_some_and(|newest| {
                newest.incarnation() != since.incarnation() || newest.revision() > since.revision()
            });
            match &seen.blind {
                _ if moved => Some(Ok(())),
                Some((_, failure)) if failure.kind == Kind::Surprise => {
                    Some(Err(failure.clone().into_error()))
                }
                Some((blind, failure)) if blind.elapsed() >= patience => {
                    Some(Err(failure.clone().into_error()))
                }
                _ => None,
            }
        };
        let mut answer = None;
        let waited = seen.wait_for(|seen| {
            answer = decided(seen);
            answer.is_some()
        });
        // The sender lives in `self`.
        let gone = waited.await.is_err();
        match answer {
            Some(answer) if !gone => answer,
            _ => Err(Failure::new(Kind::Lost, "the store is gone").into_error()),
        }
    }
}

struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct WatchSession {
    session: Session,
    head: Statement,
}

/// Looks at the head for as long as it is polled.
pub(crate) async fn watch(opener: Arc<Opener>, head: Arc<Head>) {
    let limits = *opener.config().limits();
    let mut session = None;
    loop {
        let looked = async {
            let current = match session.take().filter(WatchSession::is_usable) {
                Some(current) => current,
                None => WatchSession::open(&opener, Arc::clone(&head.wake)).await?,
            };
            let found = current.look(limits.statement, head.newest()).await;
            if found.is_ok() {
                session = Some(current);
            }
            found
        };
        match looked.await {
            Ok(place) => head.saw(place),
            Err(failure) => {
                head.saw_nothing(failure);
                tokio::time::sleep(BLIND_INTERVAL).await;
            }
        }
        // Each wake-up leads to a look, but not more often than this: a busy store announces
        // hundreds of commits a second.
        tokio::time::sleep(limits.poll / 4).await;
        let rest = match head.waiting() {
            0 => IDLE_INTERVAL,
            _ => limits.poll * 3 / 4,
        };
        // Ends early with a wake-up; that it does not is no error.
        let _ = timeout(rest, head.wake.notified()).await;
    }
}

impl WatchSession {
    async fn open(opener: &Opener, wake: Arc<Notify>) -> Result<Self, Failure> {
        let session = opener.open(Some(wake)).await?;
        let statement = opener.schema().fill(schema::HEAD);
        let head = session.client().prepare(&statement).await?;
        if opener.config().wakes() {
            let listen = format!("LISTEN \"{}\"", opener.schema().channel());
            session.client().batch_execute(&listen).await?;
        }
        Ok(Self { session, head })
    }

    fn is_usable(&self) -> bool {
        self.session.is_usable()
    }

    async fn look(&self, limit: Duration, newest: Option<Cursor>) -> Result<Cursor, Failure> {
        let query = self.session.client().query_one(&self.head, &[]);
        let row = timeout(limit, query)
            .await
            .map_err(|_| Failure::timed_out("looking at the head"))??;
        let place = crate::read::head(&row)?;
        not_set_back(newest, place)?;
        Ok(place)
    }
}
