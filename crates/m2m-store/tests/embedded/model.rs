//! `Model`: what a store must hold, told by what it was asked for, and whether it does.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use m2m_crypto::{RandomError, SecretBytes, SecureRandom};
use m2m_store::{
    Action, Batch, Change, Changes, Cursor, EmbeddedOptions, EmbeddedStore, Expected,
    IdempotencyKey, Incarnation, Key, LocalKey, Revision, Scan, Space, Store,
};
use pollster::block_on;

use crate::disk::Random;

/// All that is in a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Key, Kept>,
    pub(crate) committed: Vec<(Batch, u64)>,
    pub(crate) head: u64,
    pub(crate) floor: u64,
    /// Which outer key opens it; see [`options`].
    pub(crate) outer: u8,
    /// Unless that is not known yet.
    pub(crate) life: Option<Incarnation>,
}

#[derive(Clone, Debug)]
pub(crate) struct Kept {
    revision: u64,
    /// [`None`] for a tombstone.
    value: Option<Vec<u8>>,
}

pub(crate) const SPACES: [&str; 2] = ["a", "revocation"];

impl Model {
    pub(crate) fn commit(&mut self, batch: &Batch) {
        self.head += 1;
        for operation in batch.operations() {
            let value = match operation.action() {
                Action::Put { value, .. } => Some(value.as_bytes().to_vec()),
                Action::Delete if self.records.contains_key(operation.key()) => None,
                _ => continue,
            };
            let revision = self.head;
            let kept = Kept { revision, value };
            self.records.insert(operation.key().clone(), kept);
        }
        self.committed.push((batch.clone(), self.head));
    }

    pub(crate) fn with(&self, batches: &[Batch]) -> Self {
        let mut with = self.clone();
        batches.iter().for_each(|batch| with.commit(batch));
        with
    }

    pub(crate) fn prune(&mut self, until: u64) {
        let until = until.min(self.head);
        self.records
            .retain(|_, kept| kept.value.is_some() || kept.revision > until);
        self.floor = self.floor.max(until);
    }

    /// Whether `store` holds exactly this, by every way of asking.
    pub(crate) fn check(&self, store: &EmbeddedStore) -> Result<(), String> {
        let said = |error: m2m_store::StoreError| error.to_string();
        same("head", &self.head, &store.head().revision().number())?;
        if let Some(life) = self.life {
            same("incarnation", &life, &store.head().incarnation())?;
        }
        let stats = store.stats().map_err(said)?;
        let live = self.records.values().filter(|kept| kept.value.is_some());
        let tombstones = self.records.len() - live.clone().count();
        same("head in the file", &self.head, &stats.head.number())?;
        same("floor", &self.floor, &stats.floor.number())?;
        same("records", &(live.count() as u64), &stats.records)?;
        same("tombstones", &(tombstones as u64), &stats.tombstones)?;
        for name in SPACES {
            let space = Space::new(name).unwrap();
            let here = || self.records.iter().filter(|(key, _)| key.space() == name);
            let expected: Vec<_> = here()
                .filter_map(|(key, kept)| Some((key, kept.revision, kept.value.clone()?)))
                .collect();
            let scan = Scan::new(space.clone()).with_limit(1_000);
            let page = block_on(store.scan(&scan)).map_err(said)?;
            let found = page.records().iter();
            let found: Vec<_> = found
                .map(|record| {
                    let value = record.value().as_bytes().to_vec();
                    (record.key(), record.version().number(), value)
                })
                .collect();
            same("records by scan", &expected, &found)?;
            let mut expected: Vec<_> = here()
                .map(|(key, kept)| (kept.revision, key, kept.value.clone()))
                .collect();
            expected.sort();
            let changes = block_on(store.changes(&space, Cursor::START, 1_000)).map_err(said)?;
            let Changes::Some(page) = changes else {
                return Err("the start of the feed is too old".into());
            };
            let mut found: Vec<_> = page
                .changes()
                .iter()
                .map(|change| match change {
                    Change::Put(record) => {
                        let value = Some(record.value().as_bytes().to_vec());
                        (record.version().number(), record.key(), value)
                    }
                    Change::Deleted { key, revision } => (revision.number(), key, None),
                    other => panic!("{other:?}"),
                })
                .collect();
            found.sort();
            same("the feed", &expected, &found)?;
            let behind = |revision| {
                let revision = Revision::new(revision).unwrap();
                Cursor::new(store.head().incarnation(), revision)
            };
            let from = |revision| block_on(store.changes(&space, behind(revision), 1_000));
            let is_too_old = |revision| from(revision).map(|changes| changes == Changes::TooOld);
            same("too old", &false, &is_too_old(self.floor).map_err(said)?)?;
            if let Some(before) = self.floor.checked_sub(1) {
                same("too old", &true, &is_too_old(before).map_err(said)?)?;
            }
        }
        for (key, kept) in &self.records {
            let found = block_on(store.get(key)).map_err(said)?;
            let found = found.map(|record| record.value().as_bytes().to_vec());
            same("by key", &kept.value, &found)?;
        }
        Ok(())
    }

    /// [`Model::check`], and whether the last batches are known by their idempotency keys and `others`
    /// are not; writes those.
    pub(crate) fn check_and_go_on(
        &self,
        store: &EmbeddedStore,
        others: &[Batch],
    ) -> Result<(), String> {
        self.check(store)?;
        let mut now = self.clone();
        for (batch, revision) in self.committed.iter().rev().take(3) {
            match block_on(store.commit(batch.clone())) {
                Ok(done) if done.was_repeated() && done.revision().number() == *revision => {}
                other => return Err(format!("revision {revision} again: {other:?}")),
            }
        }
        for batch in others {
            now.commit(batch);
            match block_on(store.commit(batch.clone())) {
                Ok(done) if !done.was_repeated() && done.revision().number() == now.head => {}
                other => return Err(format!("what was not there: {other:?}")),
            }
        }
        now.check(store)
    }
}

fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    match expected == found {
        true => Ok(()),
        false => Err(format!("{what}: {expected:?} expected, {found:?} found")),
    }
}

/// How stores are opened here: with the outer key of this number, and the same randomness each time.
pub(crate) fn options(outer: u8) -> EmbeddedOptions {
    let key = SecretBytes::new(vec![outer + 1; LocalKey::BYTES]);
    EmbeddedOptions::new(Arc::new(LocalKey::new(key).unwrap()))
        .with_cache_bytes(1 << 20)
        .with_random(Arc::new(Seeded(Mutex::new(Random::new(7)))))
}

/// The outer key of that number.
pub(crate) fn outer(number: u8) -> Arc<LocalKey> {
    let key = SecretBytes::new(vec![number + 1; LocalKey::BYTES]);
    Arc::new(LocalKey::new(key).unwrap())
}

#[derive(Debug)]
struct Seeded(Mutex<Random>);

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let mut random = self.0.lock().unwrap();
        bytes.fill_with(|| random.next().to_le_bytes()[3]);
        Ok(())
    }
}

pub(crate) fn key(space: &str, id: u64) -> Key {
    Key::new(&Space::new(space).unwrap(), format!("{id:04}").as_bytes()).unwrap()
}

/// The batch of this number: writes some records, larger ones now and then, and deletes some that
/// earlier ones wrote. No two are alike.
pub(crate) fn batch(number: u64) -> Batch {
    let mut name = [0x5a; 16];
    name[..8].copy_from_slice(&number.to_be_bytes());
    let mut batch = Batch::new(IdempotencyKey::from_bytes(name));
    let value = |length: usize| {
        let mut value = number.to_be_bytes().to_vec();
        value.resize(length, number as u8);
        value
    };
    batch = batch.put(key("revocation", number), Expected::Absent, value(20));
    batch = batch.put(key("a", number % 3), Expected::Anything, value(40));
    if number % 3 == 2 {
        batch = batch.delete(key("revocation", number - 1), Expected::Anything);
    }
    if number % 4 == 3 {
        batch = batch.put(key("a", 1_000 + number), Expected::Absent, value(6_000));
    }
    batch
}
