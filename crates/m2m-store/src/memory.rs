//! `MemoryStore`: the same promises but for durability, for tests and for what may be forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::seal::digest;
use crate::{
    Action, Batch, Change, ChangePage, Changes, Committed, Cursor, Expected, IdempotencyKey,
    Incarnation, Key, MAX_PAGE_BYTES, MAX_PAGE_RECORDS, Page, Reason, Record, Revision, Scan,
    Space, Store, StoreError, StoreFuture, Value,
};

/// Records in memory. Nothing survives the process.
///
/// Behaves like the stores that survive, checks what they check, and fails the way they fail when
/// asked to ([`MemoryStore::fail_next`]): what is tested on it works on them.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    head: watch::Sender<Cursor>,
}

/// How [`MemoryStore::fail_next`] makes a commit fail.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written, and the answer says so.
    NotWritten,
    /// It is written, and the answer says that nobody knows.
    WrittenButUnknown,
    /// It is not written, and the answer says that nobody knows.
    NotWrittenAndUnknown,
}

#[derive(Debug)]
struct State {
    incarnation: Incarnation,
    head: Revision,
    floor: Revision,
    records: BTreeMap<Key, Entry>,
    // (revision, place in its batch): tombstones included, each key once.
    feed: BTreeMap<(Revision, usize), Key>,
    // Digests of batches instead of the batches, so that their values are not kept.
    remembered: BTreeMap<IdempotencyKey, (Revision, [u8; 32])>,
    order: VecDeque<IdempotencyKey>,
    fail_next: Option<Failure>,
}

#[derive(Debug)]
struct Entry {
    revision: Revision,
    place: usize,
    content: Option<(Value, Option<Box<str>>)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let incarnation = Incarnation::from_bytes(*b"m2m memory store");
        let state = State {
            incarnation,
            head: Revision::ZERO,
            floor: Revision::ZERO,
            records: BTreeMap::new(),
            feed: BTreeMap::new(),
            remembered: BTreeMap::new(),
            order: VecDeque::new(),
            fail_next: None,
        };
        Self {
            head: watch::Sender::new(Cursor::new(incarnation, Revision::ZERO)),
            state: Mutex::new(state),
        }
    }

    /// Makes the next commit fail, so that a test sees what its caller does.
    pub fn fail_next(&self, failure: Failure) {
        self.state().fail_next = Some(failure);
    }

    /// Starts at `head` instead of zero, as if so many commits had been.
    #[must_use]
    pub fn with_head(self, head: Revision) -> Self {
        let mut state = self.state();
        state.head = head;
        self.head.send_replace(state.place(head));
        drop(state);
        self
    }

    /// Forgets which records were deleted up to `until`. A cursor before it is too old from then on.
    pub fn prune(&self, until: Revision) {
        let state = &mut *self.state();
        let until = until.min(state.head);
        let old = |entry: &Entry| entry.content.is_none() && entry.revision <= until;
        let State { records, feed, .. } = state;
        records.retain(|_, entry| {
            let keep = !old(entry);
            if !keep {
                feed.remove(&(entry.revision, entry.place));
            }
            keep
        });
        state.floor = state.floor.max(until);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked held no half-done change: all fallible work comes before the first.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, batch: &Batch) -> Result<Committed, StoreError> {
        batch.check_limits()?;
        let mut state = self.state();
        let failure = state.fail_next.take();
        let reason = || Reason::new("as the test asked");
        match failure {
            Some(Failure::NotWritten) => Err(StoreError::Unavailable { reason: reason() }),
            Some(Failure::NotWrittenAndUnknown) => {
                Err(StoreError::OutcomeUnknown { reason: reason() })
            }
            Some(Failure::WrittenButUnknown) => {
                let committed = state.commit(batch)?;
                self.tell(&state, committed);
                Err(StoreError::OutcomeUnknown { reason: reason() })
            }
            None => {
                let committed = state.commit(batch)?;
                self.tell(&state, committed);
                Ok(committed)
            }
        }
    }

    fn tell(&self, state: &State, committed: Committed) {
        if !committed.was_repeated() {
            self.head.send_replace(state.place(state.head));
        }
    }
}

impl State {
    fn place(&self, revision: Revision) -> Cursor {
        Cursor::new(self.incarnation, revision)
    }

    fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let key = batch.idempotency_key();
        if let Some((revision, before)) = self.remembered.get(&key) {
            let revision = *revision;
            return match *before == digest(batch) {
                true => Ok(Committed::repeated(revision)),
                false => Err(StoreError::IdempotencyKeyReused { key, revision }),
            };
        }
        for operation in batch.operations() {
            self.check(operation.key(), operation.expected())?;
        }
        let revision = self.head.next().ok_or(StoreError::Exhausted)?;
        self.head = revision;
        for (place, operation) in batch.operations().iter().enumerate() {
            let content = match operation.action() {
                Action::Put { value, summary } => Some((value.clone(), summary.clone())),
                Action::Delete => None,
                Action::Check => continue,
            };
            self.write(operation.key(), revision, place, content);
        }
        self.remember(batch, revision);
        Ok(Committed::new(revision))
    }

    fn check(&self, key: &Key, expected: Expected) -> Result<(), StoreError> {
        let live = |entry: &&Entry| entry.content.is_some();
        let found = self.records.get(key).filter(live);
        let found = found.map(|entry| entry.revision);
        match expected.is_met_by(found) {
            true => Ok(()),
            false => Err(StoreError::Conflict {
                key: key.clone(),
                expected,
                found,
            }),
        }
    }

    fn write(
        &mut self,
        key: &Key,
        revision: Revision,
        place: usize,
        content: Option<(Value, Option<Box<str>>)>,
    ) {
        let entry = Entry {
            revision,
            place,
            content,
        };
        let before = match (entry.content.is_none(), self.records.contains_key(key)) {
            // What was never there leaves no tombstone.
            (true, false) => return,
            _ => self.records.insert(key.clone(), entry),
        };
        if let Some(before) = before {
            self.feed.remove(&(before.revision, before.place));
        }
        self.feed.insert((revision, place), key.clone());
    }

    fn remember(&mut self, batch: &Batch, revision: Revision) {
        let key = batch.idempotency_key();
        self.remembered.insert(key, (revision, digest(batch)));
        self.order.push_back(key);
        if self.order.len() as u64 > IdempotencyKey::REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }

    fn get(&self, key: &Key) -> Option<Record> {
        let entry = self.records.get(key)?;
        let (value, summary) = entry.content.clone()?;
        Some(Record::new(key.clone(), entry.revision, value, summary))
    }

    fn scan(&self, scan: &Scan) -> Page {
        let prefix = scan.sorted_prefix();
        let behind = match scan.behind() {
            Some(key) => Bound::Excluded(key),
            None => Bound::Unbounded,
        };
        let mut records = Vec::new();
        let (mut bytes, mut next) = (0, None);
        let meant = self
            .records
            .range::<Key, _>((behind, Bound::Unbounded))
            .map(|(key, _)| key)
            .skip_while(|key| key.as_sorted_bytes() < prefix.as_slice())
            .take_while(|key| key.as_sorted_bytes().starts_with(&prefix));
        for record in meant.filter_map(|key| self.get(key)) {
            if records.len() == scan.limit() || bytes >= MAX_PAGE_BYTES {
                next = records.last().map(|last: &Record| last.key().clone());
                break;
            }
            bytes += record.value().len();
            records.push(record);
        }
        Page::new(records, next, self.place(self.head))
    }

    fn changes(&self, space: &Space, since: Cursor, limit: usize) -> Changes {
        let head = self.place(self.head);
        if !since.is_known(self.floor, head) {
            return Changes::TooOld;
        }
        let from = (
            Bound::Excluded((since.revision(), usize::MAX)),
            Bound::Unbounded,
        );
        let limit = limit.clamp(1, MAX_PAGE_RECORDS);
        let (mut changes, mut bytes) = (Vec::<Change>::new(), 0);
        let feed = self.feed.range(from);
        let meant = feed.filter(|(_, key)| key.space() == space.as_str());
        for ((revision, _), key) in meant {
            let full = changes.len() >= limit || bytes >= MAX_PAGE_BYTES;
            if let Some(last) = changes
                .last()
                .filter(|last| full && last.revision() != *revision)
            {
                let next = since.advance(last.revision(), head);
                return Changes::Some(ChangePage::new(changes, next, true));
            }
            changes.push(match self.get(key) {
                Some(record) => {
                    bytes += record.value().len();
                    Change::Put(record)
                }
                None => Change::Deleted {
                    key: key.clone(),
                    revision: *revision,
                },
            });
        }
        Changes::Some(ChangePage::new(changes, head, false))
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async { Ok(self.state().get(key)) })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(async move { self.commit_now(&batch) })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        Box::pin(async { Ok(self.state().scan(scan)) })
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        Box::pin(async move { Ok(self.state().changes(space, since, limit)) })
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        let mut head = self.head.subscribe();
        Box::pin(async move {
            let behind = |head: &Cursor| {
                head.incarnation() != since.incarnation() || head.revision() > since.revision()
            };
            // The sender lives in `self`, which is borrowed.
            let gone = |_| StoreError::Unavailable {
                reason: Reason::new("the store is gone"),
            };
            head.wait_for(behind).await.map(|_| ()).map_err(gone)
        })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
