//! A store that fails on command, and short ways to say things.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use m2m_crypto::{RandomError, SecureRandom};
use m2m_revoke::{Revocations, StoredOpenError, StoredOptions, StoredRevocations, Target};
use m2m_store::{
    Batch, ChangePage, Changes, Committed, Cursor, Expected, Incarnation, Key, MemoryStore, Page,
    Reason, Record, Revision, Scan, Space, Store, StoreError, StoreFuture,
};
use m2m_types::Timestamp;

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const ISSUER: &str = "https://issuer.example";

/// Of every [`MemoryStore`].
const FIRST_LIFE: Incarnation = Incarnation::from_bytes(*b"m2m memory store");
const SECOND_LIFE: Incarnation = Incarnation::from_bytes([2; 16]);

/// What happens to one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is written, and the answer says so.
    Refused,
    /// It is written, and nobody knows.
    WrittenUnknown,
    /// It is not written, and nobody knows.
    LostUnknown,
    /// Nothing is written, because another record is there.
    Conflict,
    /// Nothing.
    None,
}

type Hook = Box<dyn FnOnce() + Send>;

/// A [`MemoryStore`] whose commits meet the faults that were said, one after the other, and whose
/// reads can fail or hang.
#[derive(Default)]
pub(crate) struct Faulty {
    pub(crate) inner: MemoryStore,
    faults: Mutex<VecDeque<Fault>>,
    rivals: Mutex<VecDeque<Batch>>,
    pub(crate) reads_fail: AtomicBool,
    pub(crate) scans_hang: AtomicBool,
    /// Whether a page has two records at most.
    pub(crate) small_pages: AtomicBool,
    pub(crate) always_too_old: AtomicBool,
    /// Whether it lives for the second time, after an older copy was restored.
    pub(crate) is_restored: AtomicBool,
    after_scan: Mutex<Option<Hook>>,
    pub(crate) commits: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// `batch` is committed just before the next commit.
    pub(crate) fn rival(&self, batch: Batch) {
        self.rivals.lock().unwrap().push_back(batch);
    }

    /// `hook` is run after the next page was read, before it is returned.
    pub(crate) fn after_scan(&self, hook: impl FnOnce() + Send + 'static) {
        *self.after_scan.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn forget_faults(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// The same place in the life that it lives now.
    fn shown(&self, place: Cursor) -> Cursor {
        let life = match self.is_restored.load(Ordering::Relaxed) {
            true => SECOND_LIFE,
            false => FIRST_LIFE,
        };
        Cursor::new(life, place.revision())
    }

    fn reading(&self) -> Result<(), StoreError> {
        match self.reads_fail.load(Ordering::Relaxed) {
            true => Err(StoreError::Unavailable {
                reason: Reason::new("reads fail"),
            }),
            false => Ok(()),
        }
    }
}

impl Store for Faulty {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            self.reading()?;
            self.inner.get(key).await
        })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            self.commits.fetch_add(1, Ordering::Relaxed);
            let rival = self.rivals.lock().unwrap().pop_front();
            if let Some(rival) = rival {
                self.inner.commit(rival).await.unwrap();
            }
            let reason = || Reason::new("a fault");
            let unknown = Err(StoreError::OutcomeUnknown { reason: reason() });
            let fault = self.faults.lock().unwrap().pop_front();
            match fault.unwrap_or(Fault::None) {
                Fault::Refused => Err(StoreError::Unavailable { reason: reason() }),
                Fault::LostUnknown => unknown,
                Fault::Conflict => Err(StoreError::Conflict {
                    key: batch.operations()[0].key().clone(),
                    expected: Expected::Absent,
                    found: Some(Revision::ZERO),
                }),
                Fault::WrittenUnknown => {
                    self.inner.commit(batch).await?;
                    unknown
                }
                Fault::None => self.inner.commit(batch).await,
            }
        })
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        Box::pin(async move {
            if self.scans_hang.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.reading()?;
            let mut scan = scan.clone();
            if self.small_pages.load(Ordering::Relaxed) {
                scan = scan.with_limit(2);
            }
            let page = self.inner.scan(&scan).await?;
            let hook = self.after_scan.lock().unwrap().take();
            hook.into_iter().for_each(|hook| hook());
            let (next, as_of) = (page.next().cloned(), self.shown(page.as_of()));
            Ok(Page::new(page.into_records(), next, as_of))
        })
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        Box::pin(async move {
            self.reading()?;
            if self.always_too_old.load(Ordering::Relaxed) {
                return Ok(Changes::TooOld);
            }
            if since != Cursor::START && since != self.shown(since) {
                return Ok(Changes::TooOld);
            }
            let since = match since {
                Cursor::START => since,
                since => Cursor::new(FIRST_LIFE, since.revision()),
            };
            Ok(match self.inner.changes(space, since, limit).await? {
                Changes::Some(page) => {
                    let (next, more) = (self.shown(page.next()), page.has_more());
                    Changes::Some(ChangePage::new(page.into_changes(), next, more))
                }
                too_old => too_old,
            })
        })
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        self.inner.changed(since)
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Seeded(pub(crate) Mutex<u64>);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    pub(crate) fn number(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.number() % end
    }
}

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        bytes.fill_with(|| self.number() as u8);
        Ok(())
    }
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

pub(crate) fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

pub(crate) fn is_revoked(set: &Revocations, jti: &str, now: u64) -> bool {
    set.check(&token(jti), None, at(now)).is_err()
}

/// Another node on `store`; each has a `seed` of its own.
pub(crate) fn open_at(
    store: &Arc<impl Store>,
    seed: u64,
    now: u64,
) -> Result<StoredRevocations, StoredOpenError> {
    let store: Arc<dyn Store> = store.clone();
    let random = Seeded::new(seed);
    let options = StoredOptions::default();
    pollster::block_on(StoredRevocations::open(store, at(now), &random, options))
}

pub(crate) fn open(store: &Arc<impl Store>, seed: u64) -> StoredRevocations {
    open_at(store, seed, NOW).unwrap()
}

/// How many revocations the store has, one that is there twice counted twice: what operators read.
pub(crate) fn stored(store: &impl Store) -> u64 {
    let entries = |record: &Record| -> u64 {
        let summary = record.summary().unwrap().to_owned();
        let (_, behind) = summary.split_once(r#"{"entries":"#).unwrap();
        behind.split(',').next().unwrap().parse().unwrap()
    };
    records(store).iter().map(entries).sum()
}

/// Everything that is kept as a revocation.
pub(crate) fn records(store: &impl Store) -> Vec<Record> {
    let mut scan = Scan::new(Space::new("revocation").unwrap());
    let mut records = Vec::new();
    loop {
        let page = pollster::block_on(store.scan(&scan)).unwrap();
        records.extend_from_slice(page.records());
        match page.next() {
            Some(key) => scan = scan.after(key.clone()),
            None => return records,
        }
    }
}

/// An error and its causes are short, in one line and without names.
pub(crate) fn assert_fit_for_a_log(error: &dyn std::error::Error) {
    let mut next = Some(error);
    while let Some(error) = next {
        for shown in [error.to_string(), format!("{error:?}")] {
            let is_plain = shown.chars().all(|c| !c.is_control());
            assert!(is_plain && shown.len() <= 512, "{shown}");
            assert!(!shown.contains("issuer.example"), "{shown}");
        }
        next = error.source();
    }
}
