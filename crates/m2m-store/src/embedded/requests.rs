//! Which idempotency keys are remembered, and for which commits.
//!
//! In the file they lie in the order of their commits, many to a row, where adding and forgetting
//! them touches one page at either end. By key they are in memory only: on the disk each would
//! change a page of its own, as many again as the records.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable, Table};

use super::failure::{Failed, corrupt};
use super::tables::REQUESTS;
use crate::{IdempotencyKey, Revision, StoreError};

/// With how many commits too many something is forgotten: seldom, since each time it changes pages at
/// the other end of the table.
const FORGOTTEN_COMMITS: u64 = 2_000;
/// How many rows at most are forgotten by one transaction.
const FORGOTTEN_ROWS: usize = 1_024;
/// How many keys a row holds at most: two rows fill a page.
const ROW_KEYS: usize = 40;

/// Those of all durable commits, and of those that a transaction adds.
#[derive(Debug, Default)]
pub(super) struct Requests {
    known: HashMap<IdempotencyKey, Revision>,
}

/// What a transaction adds to the rows and removes from them.
#[derive(Debug, Default)]
pub(super) struct NewRequests {
    // The first commit of each row, and the row.
    rows: Vec<(Revision, Vec<u8>)>,
    forgotten: Vec<(IdempotencyKey, Revision)>,
}

/// What tells batches apart that share a key.
pub(super) type Fingerprint = [u8; 32];

/// Rows of [`REQUESTS`]: for each commit from the row's own on, `idempotency key (16) ‖
/// fingerprint of the batch (32)`.
type Rows<'t> = Table<'t, u64, &'static [u8]>;

const KEY_BYTES: usize = 16;
const BYTES: usize = KEY_BYTES + size_of::<Fingerprint>();

impl Requests {
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self, Failed> {
        let mut known = HashMap::new();
        for row in transaction.open_table(REQUESTS)?.iter()? {
            let (first, row) = row?;
            known.extend(keys(first.value(), row.value())?);
        }
        Ok(Self { known })
    }

    /// Which commit the batch with this fingerprint became, if it was committed under `key` before.
    pub(super) fn repeated(
        &self,
        new: &NewRequests,
        rows: &Rows<'_>,
        key: IdempotencyKey,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Revision>, Failed> {
        let Some(&revision) = self.known.get(&key) else {
            return Ok(None);
        };
        let judge = |first: u64, row: &[u8]| {
            let (there, known) = nth(row, revision.number() - first)?;
            match (there == key, known == fingerprint) {
                (false, _) => Err(corrupt("an idempotency key belongs to another commit")),
                (true, true) => Ok(Some(revision)),
                (true, false) => Err(StoreError::IdempotencyKeyReused { key, revision }.into()),
            }
        };
        let mut added = new.rows.iter().rev();
        if let Some((first, row)) = added.find(|(first, _)| *first <= revision) {
            return judge(first.number(), row);
        }
        let row = rows.range(..=revision.number())?.next_back();
        let (first, row) = row.ok_or_else(malformed)??;
        judge(first.value(), row.value())
    }

    /// Remembers `key`, of the commit after the one that was remembered last.
    pub(super) fn remember(
        &mut self,
        new: &mut NewRequests,
        key: IdempotencyKey,
        revision: Revision,
        fingerprint: &Fingerprint,
    ) {
        let full = |(_, row): &(Revision, Vec<u8>)| row.len() >= ROW_KEYS * BYTES;
        if new.rows.last().is_none_or(full) {
            new.rows.push((revision, Vec::new()));
        }
        if let Some((_, row)) = new.rows.last_mut() {
            row.extend_from_slice(key.as_bytes());
            row.extend_from_slice(fingerprint);
        }
        self.known.insert(key, revision);
    }

    /// The transaction that made `new` is durable.
    pub(super) fn apply(&mut self, new: NewRequests) {
        for (key, revision) in new.forgotten {
            if self.known.get(&key) == Some(&revision) {
                self.known.remove(&key);
            }
        }
    }

    /// Nothing behind `durable` was written.
    pub(super) fn roll_back(&mut self, durable: Revision) {
        self.known.retain(|_, revision| *revision <= durable);
    }
}

impl NewRequests {
    /// Writes what was added, and forgets the oldest if there are too many.
    pub(super) fn write(&mut self, rows: &mut Rows<'_>, head: Revision) -> Result<(), Failed> {
        for (first, row) in &self.rows {
            rows.insert(first.number(), row.as_slice())?;
        }
        let old = head.number().saturating_sub(IdempotencyKey::REMEMBERED);
        let too_many = |first: u64| first.saturating_add(FORGOTTEN_COMMITS) <= old;
        if !rows
            .first()?
            .is_some_and(|(first, _)| too_many(first.value()))
        {
            return Ok(());
        }
        let mut oldest = Vec::new();
        for row in rows.range(..=old)?.take(FORGOTTEN_ROWS) {
            oldest.push(row?.0.value());
        }
        // The last one may end with a commit that is not old.
        oldest.pop();
        for first in oldest {
            if let Some(row) = rows.remove(first)? {
                self.forgotten.extend(keys(first, row.value())?);
            }
        }
        Ok(())
    }
}

/// The keys in a row that begins with the commit `first`.
fn keys(first: u64, row: &[u8]) -> Result<Vec<(IdempotencyKey, Revision)>, Failed> {
    let commits = row.chunks(BYTES);
    let keys = (first..).zip(commits).map(|(number, commit)| {
        let (key, _) = split(commit)?;
        let revision = Revision::new(number).ok_or_else(malformed)?;
        Ok((key, revision))
    });
    keys.collect()
}

fn nth(row: &[u8], place: u64) -> Result<(IdempotencyKey, &[u8]), Failed> {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    split(row.chunks(BYTES).nth(place).ok_or_else(malformed)?)
}

fn split(commit: &[u8]) -> Result<(IdempotencyKey, &[u8]), Failed> {
    let (key, fingerprint) = commit
        .split_first_chunk::<KEY_BYTES>()
        .filter(|(_, fingerprint)| fingerprint.len() == size_of::<Fingerprint>())
        .ok_or_else(malformed)?;
    Ok((IdempotencyKey::from_bytes(*key), fingerprint))
}

fn malformed() -> Failed {
    corrupt("a remembered idempotency key is malformed")
}

#[cfg(test)]
mod tests {
    use redb::{Builder, Database, ReadableDatabase, backends::InMemoryBackend};

    use super::*;

    fn key(number: u64) -> IdempotencyKey {
        IdempotencyKey::from_bytes([number.to_be_bytes(), [7; 8]].concat().try_into().unwrap())
    }

    fn at(number: u64) -> Revision {
        Revision::new(number).unwrap()
    }

    /// A group of the commits of `numbers`, of which those before are known.
    fn group(database: &Database, requests: &mut Requests, numbers: std::ops::Range<u64>) {
        let transaction = database.begin_write().unwrap();
        let mut new = NewRequests::default();
        for number in numbers.clone() {
            requests.remember(&mut new, key(number), at(number), &[1; 32]);
        }
        let mut rows = transaction.open_table(REQUESTS).unwrap();
        new.write(&mut rows, at(numbers.end - 1)).unwrap();
        drop(rows);
        transaction.commit().unwrap();
        requests.apply(new);
    }

    #[test]
    fn keys_are_remembered_for_long_enough_and_not_for_ever() {
        let backend = InMemoryBackend::new();
        let database = Builder::new().create_with_backend(backend).unwrap();
        let mut requests = Requests::default();
        let mut head = 0;
        let enough = IdempotencyKey::REMEMBERED;
        // Groups of all sizes, and among them some of one.
        while head < enough + 3 * FORGOTTEN_COMMITS {
            let size = [1, 39, 40, 41, 1_000][head as usize % 5];
            group(&database, &mut requests, head + 1..head + 1 + size);
            head += size;
            let least = usize::try_from(head.min(enough)).unwrap();
            let most = least + usize::try_from(FORGOTTEN_COMMITS).unwrap() + 1_000 + ROW_KEYS;
            assert!((least..=most).contains(&requests.known.len()), "{head}");
        }
        assert!((requests.known.len() as u64) < head);
        let read = Requests::read(&database.begin_read().unwrap()).unwrap();
        assert_eq!(read.known, requests.known);

        let transaction = database.begin_write().unwrap();
        let rows = transaction.open_table(REQUESTS).unwrap();
        let mut new = NewRequests::default();
        requests.remember(&mut new, key(head + 1), at(head + 1), &[1; 32]);
        let ask = |number, print| requests.repeated(&new, &rows, key(number), print);
        for number in (head + 2 - enough..=head + 1).step_by(97).chain([head + 1]) {
            assert_eq!(ask(number, &[1; 32]).unwrap(), Some(at(number)));
            let reused = ask(number, &[2; 32]);
            assert!(matches!(
                reused,
                Err(Failed::Store(StoreError::IdempotencyKeyReused { .. }))
            ));
        }
        assert_eq!(ask(1, &[1; 32]).unwrap(), None);
        assert_eq!(ask(head + 2, &[1; 32]).unwrap(), None);
        drop(rows);
        transaction.abort().unwrap();
        requests.roll_back(at(head));
        assert_eq!(read.known, requests.known);
    }
}
