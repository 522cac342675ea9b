//! Random operations, compared with what a few lines say they must do.

use std::collections::{BTreeMap, BTreeSet};

use super::setting::{Setting, expect_eq, idempotency_key, key, space, stored};
use super::{Case, Violation};
use crate::{
    Action, Batch, Change, Committed, Cursor, Expected, Key, Record, Revision, Scan, Space,
    StoreError,
};

pub(super) const CASES: &[Case] = cases![
    "three thousand random operations do what a model does" => random_operations,
];

const STEPS: usize = 3_000;
const SPACES: [&str; 3] = ["a", "a-b", "ab"];
const IDS: [&[u8]; 10] = [
    b"\0",
    b"\0\x01",
    b"a",
    b"a\0",
    b"a\xff",
    b"aa",
    b"b",
    b"\xff",
    b"\xff\0",
    b"\xff\xff",
];

/// What a store is, without all that makes it one.
#[derive(Default)]
struct Model {
    head: Revision,
    records: BTreeMap<Key, Record>,
    deleted: BTreeMap<Key, Deletion>,
    committed: Vec<(Batch, Revision)>,
    /// Where feeds ended: a place in the feed of each space.
    places: Vec<Cursor>,
}

/// A store may tell of a deletion again when what is deleted already is deleted again.
struct Deletion {
    first: Revision,
    last: Revision,
}

/// Where a backend fails, it fails again: xorshift64, with a fixed seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides.max(1)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.roll(from.len())).cloned()
    }

    fn space(&mut self) -> Result<Space, Violation> {
        space(self.pick(&SPACES).unwrap_or_default())
    }

    fn key(&mut self) -> Result<Key, Violation> {
        key(&self.space()?, self.pick(&IDS).unwrap_or_default())
    }
}

async fn random_operations(setting: Setting) -> Result<(), Violation> {
    let mut dice = Dice(0x6d32_6d20_7374_6f72);
    let mut model = Model::default();
    model.places.push(setting.head(&space("a")?).await?);
    for step in 0..STEPS {
        match dice.roll(12) {
            0..5 => commit(&setting, &mut model, &mut dice, step).await?,
            5 => commit_again(&setting, &model, &mut dice).await?,
            6 => get(&setting, &model, &mut dice).await?,
            7 | 8 => scan(&setting, &model, &mut dice).await?,
            9 | 10 => feed(&setting, &mut model, &mut dice).await?,
            _ => from_the_start(&setting, &model, &mut dice).await?,
        }
    }
    Ok(())
}

async fn commit(
    setting: &Setting,
    model: &mut Model,
    dice: &mut Dice,
    step: usize,
) -> Result<(), Violation> {
    let mut keys = BTreeSet::new();
    for _ in 0..=dice.roll(4) {
        keys.insert(dice.key()?);
    }
    let mut batch = Batch::new(idempotency_key(step as u64));
    for key in keys {
        let expected = model.expectation(&key, dice);
        let value = vec![step as u8; dice.roll(40)];
        batch = match dice.roll(8) {
            0..3 => batch.put(key, expected, value),
            3 => batch.put_with_summary(key, expected, value, format!("step {step}")),
            4..7 => batch.delete(key, expected),
            _ => batch.check(key, expected),
        };
    }
    let promise = format!("step {step}: {batch:?}");
    let conflicts = model.conflicts(&batch);
    match setting.store.commit(batch.clone()).await {
        Ok(done) if conflicts.is_empty() => {
            expect_eq(&promise, &false, &done.was_repeated())?;
            let risen = done.revision() > model.head;
            expect_eq(format!("that the revision rises: {promise}"), &true, &risen)?;
            model.apply(batch, done.revision());
            Ok(())
        }
        Err(error) if conflicts.contains(&error) => Ok(()),
        answer => {
            let expected = match conflicts.is_empty() {
                true => "success".into(),
                false => format!("one of {conflicts:?}"),
            };
            Err(Violation::new(promise, expected, format!("{answer:?}")))
        }
    }
}

async fn commit_again(setting: &Setting, model: &Model, dice: &mut Dice) -> Result<(), Violation> {
    let Some((batch, revision)) = dice.pick(&model.committed) else {
        return Ok(());
    };
    let key = batch.idempotency_key();
    let (batch, expected) = match dice.roll(2) {
        0 => (batch, Ok(Committed::repeated(revision))),
        _ => {
            let other = Batch::new(key).check(dice.key()?, Expected::Version(Revision::MAX));
            (
                other,
                Err(StoreError::IdempotencyKeyReused { key, revision }),
            )
        }
    };
    let promise = format!("again, at {}: {batch:?}", model.head);
    expect_eq(promise, &expected, &setting.store.commit(batch).await)
}

async fn get(setting: &Setting, model: &Model, dice: &mut Dice) -> Result<(), Violation> {
    let key = dice.key()?;
    let found = setting.get(&key).await?;
    expect_eq(
        format!("{key} at {}", model.head),
        &model.records.get(&key),
        &found.as_ref(),
    )
}

async fn scan(setting: &Setting, model: &Model, dice: &mut Dice) -> Result<(), Violation> {
    let space = dice.space()?;
    let mut scan = Scan::new(space.clone()).with_limit(1 + dice.roll(12));
    if dice.roll(2) == 0 {
        let id = dice.pick(&IDS).unwrap_or_default();
        scan = scan.with_prefix(id.get(..dice.roll(3)).unwrap_or_default());
    }
    if dice.roll(2) == 0 {
        scan = scan.after(dice.key()?);
    }
    let meant = |record: &&Record| {
        record.key().space() == space.as_str()
            && record.key().id().starts_with(scan.prefix())
            && scan.behind().is_none_or(|place| record.key() > place)
    };
    let all: Vec<_> = model.records.values().filter(meant).cloned().collect();
    let expected: Vec<_> = all.iter().take(scan.limit()).cloned().collect();
    let next = expected.last().map(|last| last.key().clone());
    let next = next.filter(|_| all.len() > expected.len());
    let page = setting.page(&scan).await?;
    let promise = format!("{scan:?} at {}", model.head);
    let current = page.as_of().revision() >= model.head;
    expect_eq(format!("as of, in {promise}"), &true, &current)?;
    expect_eq(format!("next of {promise}"), &next.as_ref(), &page.next())?;
    expect_eq(promise, &expected, &page.into_records())
}

async fn feed(setting: &Setting, model: &mut Model, dice: &mut Dice) -> Result<(), Violation> {
    let space = dice.space()?;
    // Mostly a place that is not long ago.
    let near = model.places.len().saturating_sub(1 + dice.roll(4));
    let far = dice.roll(model.places.len());
    let choice = if dice.roll(3) == 0 { far } else { near };
    let Some(since) = model.places.get(choice).copied() else {
        return Ok(());
    };
    let limit = 1 + dice.roll(4);
    let (changes, end) = setting.feed(&space, since, limit).await?;
    let promise = format!(
        "feed of {space} from {} to {}",
        since.revision(),
        model.head
    );
    if !changes.is_sorted_by_key(Change::revision) {
        return Err(Violation::new(promise, "the oldest first", "another order"));
    }
    let (mut told, mut must) = (BTreeSet::new(), model.news(&space, since.revision()));
    for change in changes {
        let key = change.key().clone();
        let right = match &change {
            Change::Put(record) => must.contains(&key) && model.records.get(&key) == Some(record),
            Change::Deleted { revision, .. } => model.deleted.get(&key).is_some_and(|deletion| {
                (deletion.first..=deletion.last).contains(revision) && *revision > since.revision()
            }),
        };
        if !right || !told.insert(key.clone()) {
            let expected = format!("only news of {must:?}, each once");
            return Err(Violation::new(promise, expected, format!("{change:?}")));
        }
        must.remove(&key);
    }
    expect_eq(
        format!("what is missing in the {promise}"),
        &BTreeSet::new(),
        &must,
    )?;
    model.places.push(end);
    Ok(())
}

async fn from_the_start(
    setting: &Setting,
    model: &Model,
    dice: &mut Dice,
) -> Result<(), Violation> {
    let space = dice.space()?;
    let mut there = BTreeMap::new();
    let (changes, _) = setting
        .feed(&space, Cursor::START, 1 + dice.roll(20))
        .await?;
    super::feed::apply(changes, &mut there);
    let of_space = |(key, _): &(&Key, &Record)| key.space() == space.as_str();
    let expected = model.records.iter().filter(of_space);
    let expected: BTreeMap<_, _> = expected
        .map(|(key, record)| (key.clone(), record.clone()))
        .collect();
    expect_eq(
        format!("{space} from the start, at {}", model.head),
        &expected,
        &there,
    )
}

impl Model {
    fn version(&self, key: &Key) -> Option<Revision> {
        self.records.get(key).map(Record::version)
    }

    /// What is likely to hold, and now and then what does not.
    fn expectation(&self, key: &Key, dice: &mut Dice) -> Expected {
        let old = self.committed.get(dice.roll(self.committed.len()));
        match (dice.roll(16), self.version(key)) {
            (0, _) => Expected::Absent,
            (1, _) => Expected::Present,
            (2, _) => Expected::Version(old.map(|(_, revision)| *revision).unwrap_or_default()),
            (3..8, _) => Expected::Anything,
            (8..12, Some(version)) => Expected::Version(version),
            (_, Some(_)) => Expected::Present,
            (_, None) => Expected::Absent,
        }
    }

    /// Each answer that would be right; none if it is to be written.
    fn conflicts(&self, batch: &Batch) -> Vec<StoreError> {
        let operations = batch.operations().iter();
        let broken = operations.filter_map(|operation| {
            let found = self.version(operation.key());
            let holds = match operation.expected() {
                Expected::Anything => true,
                Expected::Absent => found.is_none(),
                Expected::Present => found.is_some(),
                Expected::Version(version) => found == Some(version),
            };
            (!holds).then(|| StoreError::Conflict {
                key: operation.key().clone(),
                expected: operation.expected(),
                found,
            })
        });
        broken.collect()
    }

    fn apply(&mut self, batch: Batch, revision: Revision) {
        self.head = revision;
        for operation in batch.operations() {
            let key = operation.key();
            match operation.action() {
                Action::Put { value, summary } => {
                    let record = stored(key, revision, value.as_bytes(), summary.as_deref());
                    self.deleted.remove(key);
                    self.records.insert(key.clone(), record);
                }
                Action::Delete => {
                    if self.records.remove(key).is_some() {
                        let (first, last) = (revision, revision);
                        self.deleted.insert(key.clone(), Deletion { first, last });
                    } else if let Some(deletion) = self.deleted.get_mut(key) {
                        deletion.last = revision;
                    }
                }
                Action::Check => {}
            }
        }
        self.committed.push((batch, revision));
    }

    /// Of which records of `space` the feed must tell whoever is at `since`.
    fn news(&self, space: &Space, since: Revision) -> BTreeSet<Key> {
        let records = self.records.values();
        let records = records.map(|record| (record.key(), record.version()));
        let deleted = self.deleted.iter();
        let deleted = deleted.map(|(key, deletion)| (key, deletion.first));
        records
            .chain(deleted)
            .filter(|(key, revision)| key.space() == space.as_str() && *revision > since)
            .map(|(key, _)| key.clone())
            .collect()
    }
}
