//! The conformance suite fails: each store that breaks one promise is caught by some case.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use m2m_store::{
    Action, Batch, Change, ChangePage, Changes, Committed, Cursor, Expected, IdempotencyKey, Key,
    MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MemoryStore, Page, Record, Revision, Scan, Space, Store,
    StoreError, StoreFuture, conformance,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    Nothing,
    // Commits.
    IgnoresExpectations,
    TakesPresentForVersion,
    TakesDeletedForPresent,
    WritesUpToTheConflict,
    WritesOnlyTheFirstHundred,
    DecidesBeforeItsTurn,
    CountsRefusals,
    WritesWhenItRefuses,
    // Idempotency.
    DoesItAgain,
    ForgetsEarly,
    BurnsKeysOfConflicts,
    AnswersForAnotherBatch,
    SaysRepeatedWithTheHead,
    // Limits and bytes.
    RefusesTheLastByte,
    RefusesTheLastOperation,
    CutsValuesAtNul,
    TakesIdsForText,
    DropsSummaries,
    TakesEmptySummariesForNone,
    // Scans.
    SortsByText,
    LosesTheLastOfAPage,
    BeginsWithThePlace,
    AlwaysSaysMore,
    MatchesPrefixesAsPatterns,
    MixesSpaces,
    ReadsThePast,
    SaysAsOfTooLate,
    // The feed.
    LosesTombstones,
    InventsTombstones,
    SplitsCommits,
    SkipsWhatIsSplit,
    TellsNewestFirst,
    NeverTooOld,
    FeedMixesSpaces,
    KeepsItsPlace,
    TellsOldValues,
    NeverWakes,
    NeverReturnsWhenBehind,
    WakesOfOneSpaceOnly,
}

use Flaw::*;

const FLAWS: [Flaw; 39] = [
    IgnoresExpectations,
    TakesPresentForVersion,
    TakesDeletedForPresent,
    WritesUpToTheConflict,
    WritesOnlyTheFirstHundred,
    DecidesBeforeItsTurn,
    CountsRefusals,
    WritesWhenItRefuses,
    DoesItAgain,
    ForgetsEarly,
    BurnsKeysOfConflicts,
    AnswersForAnotherBatch,
    SaysRepeatedWithTheHead,
    RefusesTheLastByte,
    RefusesTheLastOperation,
    CutsValuesAtNul,
    TakesIdsForText,
    DropsSummaries,
    TakesEmptySummariesForNone,
    SortsByText,
    LosesTheLastOfAPage,
    BeginsWithThePlace,
    AlwaysSaysMore,
    MatchesPrefixesAsPatterns,
    MixesSpaces,
    ReadsThePast,
    SaysAsOfTooLate,
    LosesTombstones,
    InventsTombstones,
    SplitsCommits,
    SkipsWhatIsSplit,
    TellsNewestFirst,
    NeverTooOld,
    FeedMixesSpaces,
    KeepsItsPlace,
    TellsOldValues,
    NeverWakes,
    NeverReturnsWhenBehind,
    WakesOfOneSpaceOnly,
];

/// A store that is right but for one thing.
struct Broken {
    store: MemoryStore,
    flaw: Flaw,
    counter: AtomicU64,
    deleted: Mutex<HashSet<Key>>,
    burnt: Mutex<HashSet<IdempotencyKey>>,
    done: Mutex<HashMap<IdempotencyKey, (Batch, Revision)>>,
    // What was there before the last write of it.
    past: Mutex<HashMap<Key, Option<Record>>>,
    // What the feed told first.
    told: Mutex<HashMap<Key, Record>>,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        Self {
            store: MemoryStore::new(),
            flaw,
            counter: AtomicU64::new(0),
            deleted: Mutex::default(),
            burnt: Mutex::default(),
            done: Mutex::default(),
            past: Mutex::default(),
            told: Mutex::default(),
        }
    }

    fn another_key(&self) -> IdempotencyKey {
        let number = self.counter.fetch_add(1, Ordering::SeqCst);
        let mut bytes = [0xaa; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        IdempotencyKey::from_bytes(bytes)
    }

    async fn commit_badly(&self, batch: Batch) -> Result<Committed, StoreError> {
        let name = batch.idempotency_key();
        let all = |_: usize, _: &Key, expected: Expected| Some(expected);
        match self.flaw {
            IgnoresExpectations => {
                let batch = rebuilt(&batch, name, |_, _, _| Some(Expected::Anything));
                self.store.commit(batch).await
            }
            TakesPresentForVersion => {
                let loose = |_: usize, _: &Key, expected| match expected {
                    Expected::Version(_) => Some(Expected::Present),
                    other => Some(other),
                };
                self.store.commit(rebuilt(&batch, name, loose)).await
            }
            TakesDeletedForPresent => {
                let deleted = self.deleted.lock().unwrap().clone();
                let loose = |_: usize, key: &Key, expected| match expected {
                    Expected::Present if deleted.contains(key) => Some(Expected::Anything),
                    other => Some(other),
                };
                let answer = self.store.commit(rebuilt(&batch, name, loose)).await;
                for operation in batch.operations().iter().filter(|_| answer.is_ok()) {
                    let mut deleted = self.deleted.lock().unwrap();
                    match operation.action() {
                        Action::Delete => deleted.insert(operation.key().clone()),
                        _ => deleted.remove(operation.key()),
                    };
                }
                answer
            }
            WritesUpToTheConflict => {
                let answer = self.store.commit(batch.clone()).await;
                if let Err(StoreError::Conflict { key, .. }) = &answer {
                    let place = batch.operations().iter().position(|one| one.key() == key);
                    let until = |at, _: &Key, expected| (Some(at) < place).then_some(expected);
                    drop(
                        self.store
                            .commit(rebuilt(&batch, self.another_key(), until))
                            .await,
                    );
                }
                answer
            }
            WritesOnlyTheFirstHundred => {
                let few = |at, _: &Key, expected| (at < 100).then_some(expected);
                self.store.commit(rebuilt(&batch, name, few)).await
            }
            DecidesBeforeItsTurn => {
                let anything = rebuilt(&batch, name, |_, _, _| Some(Expected::Anything));
                let done = self.done.lock().unwrap().get(&name).cloned();
                if let Some((before, revision)) = done {
                    let key = name;
                    return match before == batch {
                        true => Ok(Committed::repeated(revision)),
                        false => Err(StoreError::IdempotencyKeyReused { key, revision }),
                    };
                }
                for operation in batch.operations() {
                    let found = self.store.get(operation.key()).await?;
                    let found = found.map(|record| record.version());
                    if !operation.expected().is_met_by(found) {
                        return self.store.commit(batch).await;
                    }
                }
                yield_now().await;
                let answer = self.store.commit(anything).await;
                if let Ok(committed) = &answer {
                    let done = (batch, committed.revision());
                    self.done.lock().unwrap().insert(name, done);
                }
                answer
            }
            CountsRefusals => {
                let answer = self.store.commit(batch.clone()).await;
                if let Err(StoreError::Conflict { key, .. }) = &answer {
                    let check = Batch::new(self.another_key());
                    let check = check.check(key.clone(), Expected::Anything);
                    self.store.commit(check).await?;
                }
                answer
            }
            WritesWhenItRefuses => {
                let answer = self.store.commit(batch.clone()).await;
                if let Err(StoreError::IdempotencyKeyReused { .. }) = &answer {
                    let again = rebuilt(&batch, self.another_key(), all);
                    drop(self.store.commit(again).await);
                }
                answer
            }
            DoesItAgain => {
                let again = rebuilt(&batch, self.another_key(), all);
                self.store.commit(again).await
            }
            ForgetsEarly => {
                let answer = self.store.commit(batch.clone()).await?;
                let head = self.head().await?;
                match answer.was_repeated() && head.number() > answer.revision().number() + 500 {
                    true => {
                        let again = rebuilt(&batch, self.another_key(), all);
                        self.store.commit(again).await
                    }
                    false => Ok(answer),
                }
            }
            BurnsKeysOfConflicts => {
                if self.burnt.lock().unwrap().contains(&name) {
                    let revision = Revision::ZERO;
                    return Err(StoreError::IdempotencyKeyReused {
                        key: name,
                        revision,
                    });
                }
                let answer = self.store.commit(batch).await;
                if let Err(StoreError::Conflict { .. }) = &answer {
                    self.burnt.lock().unwrap().insert(name);
                }
                answer
            }
            AnswersForAnotherBatch => match self.store.commit(batch).await {
                Err(StoreError::IdempotencyKeyReused { revision, .. }) => {
                    Ok(Committed::repeated(revision))
                }
                answer => answer,
            },
            SaysRepeatedWithTheHead => {
                let answer = self.store.commit(batch).await?;
                match answer.was_repeated() {
                    true => Ok(Committed::repeated(self.head().await?)),
                    false => Ok(answer),
                }
            }
            RefusesTheLastByte if batch.bytes() == MAX_BATCH_BYTES => {
                let found = MAX_BATCH_BYTES;
                Err(m2m_store::BatchError::TooManyBytes { found }.into())
            }
            RefusesTheLastOperation if batch.operations().len() == MAX_BATCH_OPERATIONS => {
                let found = MAX_BATCH_OPERATIONS;
                Err(m2m_store::BatchError::TooManyOperations { found }.into())
            }
            ReadsThePast => {
                let mut past = Vec::new();
                for operation in batch.operations() {
                    let key = operation.key();
                    past.push((key.clone(), self.store.get(key).await?));
                }
                let answer = self.store.commit(batch).await;
                if answer.is_ok() {
                    self.past.lock().unwrap().extend(past);
                }
                answer
            }
            _ => self.store.commit(batch).await,
        }
    }

    async fn head(&self) -> Result<Revision, StoreError> {
        let scan = Scan::new(Space::new("none").unwrap());
        Ok(self.store.scan(&scan).await?.as_of().revision())
    }

    fn seen(&self, record: Record) -> Record {
        let bytes = record.value().as_bytes();
        let value = match self.flaw {
            CutsValuesAtNul => bytes.split(|byte| *byte == 0).next().unwrap(),
            _ => bytes,
        };
        let summary = match self.flaw {
            DropsSummaries => None,
            TakesEmptySummariesForNone => record.summary().filter(|text| !text.is_empty()),
            _ => record.summary(),
        };
        let key = match (self.flaw, std::str::from_utf8(record.key().id())) {
            (TakesIdsForText, Err(_)) => {
                let text = String::from_utf8_lossy(record.key().id());
                let text: String = text.chars().take(100).collect();
                Key::new(&space_of(record.key()), text.as_bytes()).unwrap()
            }
            _ => record.key().clone(),
        };
        Record::new(key, record.version(), value.into(), summary.map(Into::into))
    }

    async fn scan_badly(&self, scan: &Scan) -> Result<Page, StoreError> {
        let mut page = self.store.scan(scan).await?;
        let (mut next, mut as_of) = (page.next().cloned(), page.as_of());
        match self.flaw {
            MatchesPrefixesAsPatterns if scan.prefix().contains(&b'_') => {
                let all = Scan::new(scan.space().clone()).with_limit(scan.limit());
                page = self.store.scan(&all).await?;
                next = page.next().cloned();
            }
            MixesSpaces if scan.prefix().is_empty() && scan.behind().is_none() => {
                let longer = format!("{}-b", scan.space());
                let longer = Scan::new(Space::new(&longer).unwrap_or(scan.space().clone()));
                let more = self.store.scan(&longer).await?.into_records();
                let mut records = page.into_records();
                records.extend(more);
                records.truncate(scan.limit());
                return Ok(Page::new(records, next, as_of));
            }
            _ => {}
        }
        let mut records: Vec<_> = page
            .into_records()
            .into_iter()
            .map(|one| self.seen(one))
            .collect();
        match self.flaw {
            SortsByText => records
                .sort_by_key(|record| String::from_utf8_lossy(record.key().id()).to_lowercase()),
            LosesTheLastOfAPage if next.is_some() && records.len() > 2 => drop(records.pop()),
            BeginsWithThePlace => {
                if let Some(key) = scan.behind()
                    && let Some(record) = self.store.get(key).await?
                {
                    records.insert(0, record);
                    records.truncate(scan.limit());
                }
            }
            AlwaysSaysMore => {
                next = next.or(records.last().map(|last| last.key().clone()));
            }
            SaysAsOfTooLate => {
                // A page on the way says the place that the next will have.
                let later = Revision::new(as_of.revision().number() + 1).unwrap();
                as_of = Cursor::new(as_of.incarnation(), later);
            }
            _ => {}
        }
        Ok(Page::new(records, next, as_of))
    }

    async fn changes_badly(
        &self,
        space: &Space,
        since: Cursor,
        limit: usize,
    ) -> Result<Changes, StoreError> {
        let page = match self.store.changes(space, since, limit).await? {
            Changes::Some(page) => page,
            Changes::TooOld if self.flaw == NeverTooOld => {
                return Ok(Changes::Some(ChangePage::new(vec![], since, false)));
            }
            other => return Ok(other),
        };
        let (mut next, mut more) = (page.next(), page.has_more());
        let mut changes = page.into_changes();
        let limit = limit.max(1);
        match self.flaw {
            LosesTombstones => changes.retain(|change| matches!(change, Change::Put(_))),
            InventsTombstones if changes.is_empty() && next != since => {
                let key = Key::new(space, b"never there").unwrap();
                let revision = next.revision();
                changes.push(Change::Deleted { key, revision });
            }
            SplitsCommits | SkipsWhatIsSplit if changes.len() > limit => {
                changes.truncate(limit);
                let last = changes.last().unwrap().revision().number();
                let back = u64::from(self.flaw == SplitsCommits);
                let last = Revision::new(last - back).unwrap();
                next = Cursor::new(next.incarnation(), last);
                more = true;
            }
            TellsNewestFirst => changes.reverse(),
            FeedMixesSpaces => {
                let other = Space::new(&format!("{space}-b")).unwrap();
                if let Changes::Some(page) = self.store.changes(&other, since, limit).await? {
                    changes.extend(page.into_changes());
                    changes.sort_by_key(Change::revision);
                }
            }
            KeepsItsPlace if changes.is_empty() && since != Cursor::START => next = since,
            TellsOldValues => {
                let mut told = self.told.lock().unwrap();
                for change in &mut changes {
                    if let Change::Put(record) = change {
                        let first = told.entry(record.key().clone()).or_insert(record.clone());
                        let value = first.value().clone();
                        *record = Record::new(record.key().clone(), record.version(), value, None);
                    }
                }
            }
            _ => {}
        }
        let seen = |change| match change {
            Change::Put(record) if self.flaw != TellsOldValues => Change::Put(self.seen(record)),
            other => other,
        };
        let changes = changes.into_iter().map(seen).collect();
        Ok(Changes::Some(ChangePage::new(changes, next, more)))
    }
}

impl Store for Broken {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            if let Some(past) = self.past.lock().unwrap().remove(key) {
                return Ok(past);
            }
            Ok(self.store.get(key).await?.map(|record| self.seen(record)))
        })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(self.commit_badly(batch))
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        Box::pin(self.scan_badly(scan))
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        Box::pin(self.changes_badly(space, since, limit))
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let none = Scan::new(Space::new("none").unwrap());
            let head = self.store.scan(&none).await?.as_of();
            match self.flaw {
                NeverWakes if head == since => std::future::pending().await,
                NeverReturnsWhenBehind if head != since => std::future::pending().await,
                WakesOfOneSpaceOnly if head == since => {
                    self.store.changed(since).await?;
                    let b = Space::new("b").unwrap();
                    match self.store.changes(&b, since, 1).await? {
                        Changes::Some(page) if page.changes().is_empty() => Ok(()),
                        _ => std::future::pending().await,
                    }
                }
                _ => self.store.changed(since).await,
            }
        })
    }
}

fn rebuilt(
    batch: &Batch,
    name: IdempotencyKey,
    expected: impl Fn(usize, &Key, Expected) -> Option<Expected>,
) -> Batch {
    let mut rebuilt = Batch::new(name);
    for (place, operation) in batch.operations().iter().enumerate() {
        let key = operation.key().clone();
        let Some(expected) = expected(place, &key, operation.expected()) else {
            continue;
        };
        rebuilt = match operation.action().clone() {
            Action::Put {
                value,
                summary: None,
            } => rebuilt.put(key, expected, value),
            Action::Put {
                value,
                summary: Some(summary),
            } => rebuilt.put_with_summary(key, expected, value, summary),
            Action::Delete => rebuilt.delete(key, expected),
            _ => rebuilt.check(key, expected),
        };
    }
    rebuilt
}

fn space_of(key: &Key) -> Space {
    Space::new(key.space()).unwrap()
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The first promise that a store with `flaw` does not keep.
fn caught_by(flaw: Flaw) -> Option<conformance::Violation> {
    conformance::cases().find_map(|case| {
        let store = Arc::new(Broken::new(flaw));
        pollster::block_on(case.run(store)).err()
    })
}

#[test]
fn a_store_without_a_flaw_is_not_caught() {
    assert_eq!(caught_by(Nothing), None);
}

#[test]
fn each_flaw_is_caught() {
    let caught: Vec<_> = std::thread::scope(|scope| {
        let threads = FLAWS.map(|flaw| (flaw, scope.spawn(move || caught_by(flaw))));
        threads
            .map(|(flaw, thread)| (flaw, thread.join().unwrap()))
            .into()
    });
    for (flaw, violation) in &caught {
        if let Some(violation) = violation {
            println!("{flaw:?}: {}", violation.case());
        }
    }
    let passed = caught.iter().filter(|(_, violation)| violation.is_none());
    let passed: Vec<_> = passed.map(|(flaw, _)| *flaw).collect();
    assert_eq!(passed, [], "no case caught these");
}
