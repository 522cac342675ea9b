//! `Setting`: the store that a case is run on, and what all cases do with it.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Task, Violation};
use crate::{
    Batch, Change, ChangePage, Changes, Committed, Cursor, Expected, Follower, IdempotencyKey, Key,
    Page, Record, Revision, Scan, Space, Step, Store, StoreError,
};

/// How long a store may take until [`Store::changed`] wakes: more than any sensible pause between
/// two polls.
const WAKE_LIMIT: Duration = Duration::from_secs(10);

pub(super) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

type Part<T> = Pin<Box<dyn Future<Output = Result<T, Violation>> + Send>>;

/// A fresh store, and where to run what is to run at once.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) store: Arc<dyn Store>,
    spawn: Option<Spawn>,
}

impl Setting {
    pub(super) fn new(store: Arc<dyn Store>, spawn: Option<Spawn>) -> Self {
        Self { store, spawn }
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Record>, Violation> {
        let found = self.store.get(key).await;
        expect_ok(format_args!("get {key}"), found)
    }

    /// Commits what must be committed, and for the first time.
    pub(super) async fn commit(&self, batch: Batch) -> Result<Revision, Violation> {
        let promise = format!("commit {batch:.3?}");
        let committed = expect_ok(&promise, self.store.commit(batch).await)?;
        expect_eq(&promise, &false, &committed.was_repeated())?;
        Ok(committed.revision())
    }

    pub(super) async fn page(&self, scan: &Scan) -> Result<Page, Violation> {
        let page = self.store.scan(scan).await;
        expect_ok(format_args!("{scan:?}"), page)
    }

    /// All that `scan` and its pages say, and what is the same of each: the order, the limit, and
    /// that it ends.
    pub(super) async fn scan(&self, scan: &Scan) -> Result<Vec<Record>, Violation> {
        let mut records = Vec::<Record>::new();
        let mut asked = scan.clone();
        loop {
            let page = self.page(&asked).await?;
            let promise = format!("a page of {asked:?}");
            expect_at_most(&promise, scan.limit(), page.records().len())?;
            let next = page.next().cloned();
            let last = page.records().last().map(|record| record.key().clone());
            if let Some(next) = &next {
                expect_eq(
                    format_args!("where {promise} ends"),
                    &last.as_ref(),
                    &Some(next),
                )?;
            }
            records.extend(page.into_records());
            if !records.is_sorted_by(|one, other| one.key() < other.key()) {
                return Err(Violation::new(promise, "ascending keys", "another order"));
            }
            match next {
                Some(next) => asked = scan.clone().after(next),
                None => return Ok(records),
            }
        }
    }

    pub(super) async fn scan_all(&self, space: &Space) -> Result<Vec<Record>, Violation> {
        self.scan(&Scan::new(space.clone())).await
    }

    /// A page of the feed, of which holds what holds of each.
    pub(super) async fn changes(
        &self,
        space: &Space,
        since: Cursor,
        limit: usize,
    ) -> Result<ChangePage, Violation> {
        let promise = format!("{limit} changes in {space} since {since:?}");
        let changes = self.store.changes(space, since, limit).await;
        match expect_ok(&promise, changes)? {
            Changes::Some(page) => {
                check_change_page(&promise, space, since, limit, &page)?;
                Ok(page)
            }
            Changes::TooOld => Err(Violation::new(promise, "a page", "TooOld")),
        }
    }

    /// What the feed says from `since` to its end, `limit` at a time, and where that end is.
    pub(super) async fn feed(
        &self,
        space: &Space,
        since: Cursor,
        limit: usize,
    ) -> Result<(Vec<Change>, Cursor), Violation> {
        let mut changes = Vec::new();
        let mut place = since;
        loop {
            let page = self.changes(space, place, limit).await?;
            if page.has_more() {
                let (before, after) = (place.revision(), page.next().revision());
                if after <= before {
                    let promise = format!("the place behind a page from {place:?}");
                    return Err(Violation::new(promise, "one further on", after));
                }
            }
            place = page.next();
            let more = page.has_more();
            changes.extend(page.into_changes());
            if !more {
                return Ok((changes, place));
            }
        }
    }

    pub(super) async fn is_too_old(&self, space: &Space, since: Cursor) -> Result<(), Violation> {
        let promise = format!("changes in {space} since {since:?}");
        let changes = expect_ok(&promise, self.store.changes(space, since, 10).await)?;
        expect_eq(promise, &Changes::TooOld, &changes)
    }

    /// The place behind all there is.
    pub(super) async fn head(&self, space: &Space) -> Result<Cursor, Violation> {
        Ok(self.feed(space, Cursor::START, 1_000).await?.1)
    }

    /// That nothing was written behind `since` in the spaces that cases use.
    pub(super) async fn expect_nothing_since(
        &self,
        since: Cursor,
        promise: &str,
    ) -> Result<(), Violation> {
        for name in ["a", "b"] {
            let (changes, _) = self.feed(&space(name)?, since, 1_000).await?;
            expect_eq(format!("what {promise} left"), &Vec::new(), &changes)?;
        }
        Ok(())
    }

    /// Waits for [`Store::changed`], but not forever.
    pub(super) async fn changed(&self, since: Cursor) -> Result<(), Violation> {
        let promise = format!("changed since {since:?}");
        match within(WAKE_LIMIT, self.store.changed(since)).await {
            Some(answer) => expect_ok(promise, answer),
            None => {
                let found = format!("still waiting after {WAKE_LIMIT:?}");
                Err(Violation::new(promise, "that it wakes", found))
            }
        }
    }

    /// The next step of `follower`, who does not wait forever.
    pub(super) async fn next_step(&self, follower: &mut Follower) -> Result<Step, Violation> {
        match within(WAKE_LIMIT, follower.next()).await {
            Some(step) => expect_ok("a follower's next step", step),
            None => {
                let found = format!("still waiting after {WAKE_LIMIT:?}");
                Err(Violation::new("a follower", "that it wakes", found))
            }
        }
    }

    /// Waits until there is something behind `since`, however often a store wakes for nothing.
    pub(super) async fn wait_until_behind(&self, since: Cursor) -> Result<(), Violation> {
        for _ in 0..1_000 {
            self.changed(since).await?;
            let head = self.page(&Scan::new(space("a")?)).await?.as_of();
            if head.revision() > since.revision() {
                return Ok(());
            }
        }
        let promise = "waking for nothing";
        Err(Violation::new(promise, "seldom", "a thousand times"))
    }

    /// Runs all `parts` at once, and gives what they gave in the same order.
    pub(super) async fn at_once<T: Send + 'static>(
        &self,
        parts: impl IntoIterator<Item = Part<T>>,
    ) -> Result<Vec<T>, Violation> {
        let Some(spawn) = &self.spawn else {
            return join(parts.into_iter().collect()).await;
        };
        let answers: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let (answer, gets) = oneshot::channel();
                spawn(Box::pin(async move { drop(answer.send(part.await)) }));
                gets
            })
            .collect();
        let mut given = Vec::new();
        for answer in answers {
            let gone = |_| Violation::new("a part that runs beside others", "an answer", "none");
            given.push(answer.await.map_err(gone)??);
        }
        Ok(given)
    }
}

/// Names the batches of a case: never twice the same.
#[derive(Default)]
pub(super) struct Names(u64);

impl Names {
    /// A batch with a new idempotency key.
    pub(super) fn batch(&mut self) -> Batch {
        self.0 += 1;
        Batch::new(idempotency_key(self.0))
    }
}

pub(super) fn idempotency_key(number: u64) -> IdempotencyKey {
    IdempotencyKey::from_bytes((u128::from(number) << 64 | 0x2a).to_be_bytes())
}

pub(super) fn space(name: &str) -> Result<Space, Violation> {
    Space::new(name).map_err(|error| Violation::new("a space", name, error))
}

pub(super) fn key(space: &Space, id: impl AsRef<[u8]>) -> Result<Key, Violation> {
    Key::new(space, id.as_ref()).map_err(|error| Violation::new("a key", "one", error))
}

/// A record as a store must give it.
pub(super) fn stored(key: &Key, version: Revision, value: &[u8], summary: Option<&str>) -> Record {
    Record::new(key.clone(), version, value.into(), summary.map(Into::into))
}

pub(super) fn part<T>(
    future: impl Future<Output = Result<T, Violation>> + Send + 'static,
) -> Part<T> {
    Box::pin(future)
}

pub(super) fn expect_ok<T>(
    promise: impl fmt::Display,
    answer: Result<T, StoreError>,
) -> Result<T, Violation> {
    answer.map_err(|error| Violation::new(promise, "success", error))
}

pub(super) fn expect_eq<T: PartialEq + fmt::Debug>(
    promise: impl fmt::Display,
    expected: &T,
    found: &T,
) -> Result<(), Violation> {
    match expected == found {
        true => Ok(()),
        false => Err(Violation::new(
            promise,
            format_args!("{expected:?}"),
            format_args!("{found:?}"),
        )),
    }
}

pub(super) fn expect_at_most(
    promise: impl fmt::Display,
    limit: usize,
    found: usize,
) -> Result<(), Violation> {
    match found <= limit {
        true => Ok(()),
        false => Err(Violation::new(promise, format_args!("≤ {limit}"), found)),
    }
}

pub(super) fn expect_conflict(
    promise: impl fmt::Display,
    key: &Key,
    expected: Expected,
    found: Option<Revision>,
    answer: Result<Committed, StoreError>,
) -> Result<(), Violation> {
    let conflict = StoreError::Conflict {
        key: key.clone(),
        expected,
        found,
    };
    expect_eq(promise, &Err(conflict), &answer)
}

/// That `record` is there with this version and value.
pub(super) fn expect_record(
    promise: impl fmt::Display,
    expected: Option<(Revision, &[u8])>,
    record: Option<&Record>,
) -> Result<(), Violation> {
    let found = record.map(|record| (record.version(), record.value().as_bytes()));
    match expected == found {
        true => Ok(()),
        false => Err(Violation::new(promise, short(expected), short(found))),
    }
}

fn short(record: Option<(Revision, &[u8])>) -> String {
    match record {
        Some((version, value)) => {
            let shown = value.get(..16).unwrap_or(value).escape_ascii();
            format!("\"{shown}\" ({} bytes) of version {version}", value.len())
        }
        None => "nothing".into(),
    }
}

fn check_change_page(
    promise: &str,
    space: &Space,
    since: Cursor,
    limit: usize,
    page: &ChangePage,
) -> Result<(), Violation> {
    let changes = page.changes();
    if !changes.is_sorted_by_key(Change::revision) {
        return Err(Violation::new(promise, "the oldest first", "another order"));
    }
    for change in changes {
        expect_eq(promise, &space.as_str(), &change.key().space())?;
        if change.revision() <= since.revision() {
            let expected = format!("changes behind {}", since.revision());
            return Err(Violation::new(promise, expected, change.revision()));
        }
    }
    let mut keys: Vec<_> = changes.iter().map(Change::key).collect();
    keys.sort_unstable();
    keys.dedup();
    expect_eq(promise, &changes.len(), &keys.len())?;
    let newest = changes.last().map(Change::revision);
    let before = changes
        .iter()
        .filter(|change| Some(change.revision()) != newest);
    expect_at_most(promise, limit.max(1), before.count())?;
    let reached = page.next().revision();
    match newest.is_none_or(|newest| newest <= reached) && since.revision() <= reached {
        true => Ok(()),
        false => Err(Violation::new(promise, "a next place behind it", reached)),
    }
}

/// Waits for all `parts`, polling each whenever one of them wakes.
async fn join<T>(mut parts: Vec<Part<T>>) -> Result<Vec<T>, Violation> {
    let mut given: Vec<Option<T>> = parts.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (part, given) in parts.iter_mut().zip(&mut given) {
            if given.is_none() {
                match part.as_mut().poll(context) {
                    Poll::Ready(Ok(answer)) => *given = Some(answer),
                    Poll::Ready(Err(violation)) => return Poll::Ready(Err(violation)),
                    Poll::Pending => waiting = true,
                }
            }
        }
        match waiting {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    })
    .await?;
    Ok(given.into_iter().flatten().collect())
}

/// What `future` gives, unless that takes longer than `limit`. Needs no runtime: a thread is the
/// alarm clock.
async fn within<T>(limit: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
    let mut future = Box::pin(future);
    let mut alarm = None::<Alarm>;
    poll_fn(move |context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => alarm
            .get_or_insert_with(|| Alarm::set(limit, context))
            .poll(),
    })
    .await
}

/// Wakes a task once, unless dropped before.
struct Alarm {
    rings: mpsc::Receiver<()>,
    _cancel: mpsc::Sender<()>,
}

impl Alarm {
    fn set(limit: Duration, context: &Context<'_>) -> Self {
        let (cancel, cancelled) = mpsc::channel::<()>();
        let (ring, rings) = mpsc::channel();
        let waker = context.waker().clone();
        thread::spawn(move || {
            if let Err(mpsc::RecvTimeoutError::Timeout) = cancelled.recv_timeout(limit) {
                let _ = ring.send(());
                waker.wake();
            }
        });
        Self {
            rings,
            _cancel: cancel,
        }
    }

    fn poll<T>(&self) -> Poll<Option<T>> {
        match self.rings.try_recv() {
            Ok(()) => Poll::Ready(None),
            Err(_) => Poll::Pending,
        }
    }
}
