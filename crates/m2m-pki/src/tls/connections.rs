//! `OpenConnection`: a connection that ends with the trust in its peer.
//!
//! ```text
//! watch ── OpenConnection ──┬─ check(now)   before each request: two loads, no lock
//!                           ├─ closed()     a future, for whoever waits for the socket meanwhile
//!                           └─ the hook     called from where the trust ended
//! ```

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use m2m_types::Timestamp;

use super::judge::{Known, KnownKey};
use super::peer::PeerError;

/// A connection that is known, and that is told when trust in its peer ends. Dropping it forgets the
/// connection; it closes nothing by itself.
///
/// Trust ends when the peer could not connect anew: a certificate of its path is revoked, has expired
/// or lost its authority, or it is no longer known whether it is revoked.
#[must_use = "dropping it means that nobody tells the connection when trust in its peer ends"]
pub struct OpenConnection {
    connection: Arc<Connection>,
    connections: Arc<Connections>,
    key: KnownKey,
    id: u64,
}

/// What is done when trust ends.
type Hook = Box<dyn FnOnce(&PeerError) + Send>;

/// One connection, shared between who uses it and who closes it.
struct Connection {
    ended: OnceLock<PeerError>,
    /// The last second in which the peer is good if nothing changes.
    good_until: AtomicU64,
    hook: Mutex<Option<Hook>>,
    waker: Mutex<Option<Waker>>,
}

/// All connections of one [`LiveTls`](super::LiveTls), by peer.
pub(super) struct Connections {
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    peers: HashMap<KnownKey, Slot>,
    /// When which peer has to be judged again.
    deadlines: BTreeSet<(Timestamp, KnownKey)>,
    count: usize,
    next: u64,
}

struct Slot {
    known: Arc<Known>,
    good_until: Timestamp,
    connections: HashMap<u64, Arc<Connection>>,
}

impl OpenConnection {
    /// Whether trust in the peer holds at `now`: for each request, at the price of two loads.
    ///
    /// # Errors
    ///
    /// Why trust ended. From the second after the peer's certificate, or another of its path,
    /// expires, or the CRL about them is stale, it is [`PeerError::Overdue`], whoever else noticed.
    pub fn check(&self, now: Timestamp) -> Result<(), PeerError> {
        if let Some(error) = self.connection.ended.get() {
            return Err(error.clone());
        }
        let until = self.connection.good_until.load(Ordering::Acquire);
        if now.unix_seconds() > until {
            return Err(PeerError::Overdue { now });
        }
        Ok(())
    }

    /// Why trust ended, if it did and somebody noticed.
    pub fn ended(&self) -> Option<&PeerError> {
        self.connection.ended.get()
    }

    /// The caller has just judged the peer.
    pub(super) fn set_good_until(&self, good_until: Timestamp) {
        let mut table = lock(&self.connections.table);
        table.postpone(&self.key, good_until);
    }

    /// Waits until trust has ended. Needs no runtime; wakes the task that asked last.
    pub fn closed(&self) -> Closed<'_> {
        Closed {
            connection: &self.connection,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.forget(&self.key, self.id);
    }
}

impl fmt::Debug for OpenConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenConnection")
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

/// What [`OpenConnection::closed`] returns.
#[derive(Clone, Copy)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Closed<'a> {
    connection: &'a Connection,
}

impl Future for Closed<'_> {
    type Output = PeerError;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<PeerError> {
        let connection = self.connection;
        if connection.ended.get().is_none() {
            *lock(&connection.waker) = Some(context.waker().clone());
        }
        // After the waker is there: who ends it now wakes it.
        match connection.ended.get() {
            Some(error) => Poll::Ready(error.clone()),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl Connection {
    fn end(&self, error: &PeerError) {
        if self.ended.set(error.clone()).is_ok()
            && let Some(waker) = lock(&self.waker).take()
        {
            waker.wake();
        }
    }
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            table: Mutex::default(),
        })
    }

    /// Takes a connection of `known`, good to `good_until` and in that second. The caller judges the
    /// peer again *afterwards*: what changed before is then seen by that, and what changes later finds
    /// the connection here.
    pub(super) fn open(
        self: &Arc<Self>,
        known: Arc<Known>,
        good_until: Timestamp,
        hook: Hook,
    ) -> Result<OpenConnection, PeerError> {
        let connection = Arc::new(Connection {
            ended: OnceLock::new(),
            good_until: AtomicU64::new(good_until.unix_seconds()),
            hook: Mutex::new(Some(hook)),
            waker: Mutex::default(),
        });
        let key = known.key();
        let mut table = lock(&self.table);
        if table.count >= self.limit {
            return Err(PeerError::TooManyConnections { limit: self.limit });
        }
        let id = table.next;
        table.next += 1;
        table.count += 1;
        let slot = table.peers.entry(key).or_insert_with(|| Slot {
            known: Arc::clone(&known),
            good_until,
            connections: HashMap::new(),
        });
        slot.connections.insert(id, Arc::clone(&connection));
        // The newest path is the one that counts.
        slot.known = known;
        let before = std::mem::replace(&mut slot.good_until, good_until);
        table.deadlines.remove(&(before, key));
        table.deadlines.insert((good_until, key));
        drop(table);
        Ok(OpenConnection {
            connection,
            connections: Arc::clone(self),
            key,
            id,
        })
    }

    fn forget(&self, key: &KnownKey, id: u64) {
        let mut table = lock(&self.table);
        let Some(slot) = table.peers.get_mut(key) else {
            return;
        };
        let forgotten = slot.connections.remove(&id);
        let is_last = slot.connections.is_empty();
        if forgotten.is_some() {
            table.count -= 1;
        }
        if is_last {
            table.remove(key);
        }
        drop(table);
        // What its hook holds is dropped without the lock.
        drop(forgotten);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        lock(&self.table).count
    }

    /// From the second after this one on, a peer has to be judged again.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let table = lock(&self.table);
        table.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Judges every peer again and ends the connections of those that do not pass. How many.
    pub(super) fn judge_all(
        &self,
        judge: impl Fn(&Known) -> Result<Timestamp, PeerError>,
    ) -> usize {
        let peers = lock(&self.table)
            .peers
            .values()
            .map(|slot| Arc::clone(&slot.known))
            .collect();
        self.judge(peers, judge)
    }

    /// [`Connections::judge_all`] for those that are due at `now`.
    pub(super) fn judge_due(
        &self,
        now: Timestamp,
        judge: impl Fn(&Known) -> Result<Timestamp, PeerError>,
    ) -> usize {
        let table = lock(&self.table);
        let due = table.deadlines.iter().take_while(|(at, _)| *at < now);
        let due = due
            .filter_map(|(_, key)| table.peers.get(key))
            .map(|slot| Arc::clone(&slot.known))
            .collect();
        drop(table);
        self.judge(due, judge)
    }

    /// The judging itself is done without the lock, so that connections come and go meanwhile.
    fn judge(
        &self,
        peers: Vec<Arc<Known>>,
        judge: impl Fn(&Known) -> Result<Timestamp, PeerError>,
    ) -> usize {
        let judged: Vec<_> = peers
            .into_iter()
            .map(|known| (judge(&known), known))
            .collect();
        let mut ended = Vec::new();
        let mut table = lock(&self.table);
        for (verdict, known) in judged {
            let key = known.key();
            let Some(slot) = table.peers.get(&key) else {
                continue;
            };
            // Verified anew meanwhile: what counts is the newer path.
            let verdict = match Arc::ptr_eq(&slot.known, &known) {
                true => verdict,
                false => judge(&slot.known),
            };
            match verdict {
                Ok(good_until) => table.postpone(&key, good_until),
                Err(error) => ended.extend(
                    table
                        .remove(&key)
                        .into_iter()
                        .flat_map(|slot| slot.connections.into_values())
                        .map(|connection| (connection, error.clone())),
                ),
            }
        }
        drop(table);
        end(&ended);
        ended.len()
    }
}

/// All are marked before the first hook runs, and a hook that panics keeps no other from running.
fn end(ended: &[(Arc<Connection>, PeerError)]) {
    for (connection, error) in ended {
        connection.end(error);
    }
    let mut panicked = None;
    for (connection, error) in ended {
        let Some(hook) = lock(&connection.hook).take() else {
            continue;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(error))) {
            panicked = Some(panic);
        }
    }
    if let Some(panic) = panicked {
        resume_unwind(panic);
    }
}

impl Table {
    fn postpone(&mut self, key: &KnownKey, good_until: Timestamp) {
        let Some(slot) = self.peers.get_mut(key) else {
            return;
        };
        if slot.good_until == good_until {
            return;
        }
        self.deadlines.remove(&(slot.good_until, *key));
        self.deadlines.insert((good_until, *key));
        slot.good_until = good_until;
        for connection in slot.connections.values() {
            let until = good_until.unix_seconds();
            connection.good_until.store(until, Ordering::Release);
        }
    }

    fn remove(&mut self, key: &KnownKey) -> Option<Slot> {
        let slot = self.peers.remove(key)?;
        self.deadlines.remove(&(slot.good_until, *key));
        self.count -= slot.connections.len();
        Some(slot)
    }
}

/// Nothing that is done under these locks can panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
