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

/// How many old rows are forgotten for each that is added, so that a store that remembers too many
/// comes down to [`IdempotencyKey::REMEMBERED`].
const FORGOTTEN_PER_ROW: usize = 2;
/// How many keys a row holds at most: two rows fill a page.
const ROW_KEYS: usize = 40;

/// Those of all durable commits.
#[derive(Debug, Default)]
pub(super) struct Requests(HashMap<IdempotencyKey, Revision>);

/// What a transaction adds to them and removes, if it becomes durable.
#[derive(Debug, Default)]
pub(super) struct NewRequests {
    added: HashMap<IdempotencyKey, (Revision, Fingerprint)>,
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
        let mut all = HashMap::new();
        for row in transaction.open_table(REQUESTS)?.iter()? {
            let (first, row) = row?;
            all.extend(keys(first.value(), row.value())?);
        }
        Ok(Self(all))
    }

    /// Which commit the batch with this fingerprint became, if it was committed under `key` before.
    pub(super) fn repeated(
        &self,
        new: &NewRequests,
        rows: &Rows<'_>,
        key: IdempotencyKey,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Revision>, Failed> {
        let same = |revision, known: &[u8]| match known == fingerprint {
            true => Ok(Some(revision)),
            false => Err(StoreError::IdempotencyKeyReused { key, revision }.into()),
        };
        if let Some((revision, known)) = new.added.get(&key) {
            return same(*revision, known);
        }
        let Some(&revision) = self.0.get(&key) else {
            return Ok(None);
        };
        let row = rows.range(..=revision.number())?.next_back();
        let (first, row) = row.ok_or_else(malformed)??;
        let (there, known) = nth(row.value(), revision.number() - first.value())?;
        match there == key {
            true => same(revision, known),
            false => Err(corrupt("an idempotency key belongs to another commit")),
        }
    }

    /// The transaction that made `new` is durable.
    pub(super) fn apply(&mut self, new: NewRequests) {
        for (key, revision) in new.forgotten {
            if self.0.get(&key) == Some(&revision) {
                self.0.remove(&key);
            }
        }
        let added = new.added.into_iter();
        self.0
            .extend(added.map(|(key, (revision, _))| (key, revision)));
    }
}

impl NewRequests {
    /// Remembers `key`, of the commit after the one that was remembered last.
    pub(super) fn remember(
        &mut self,
        key: IdempotencyKey,
        revision: Revision,
        fingerprint: &Fingerprint,
    ) {
        let full = |(_, row): &(Revision, Vec<u8>)| row.len() >= ROW_KEYS * BYTES;
        if self.rows.last().is_none_or(full) {
            self.rows.push((revision, Vec::new()));
        }
        if let Some((_, row)) = self.rows.last_mut() {
            row.extend_from_slice(key.as_bytes());
            row.extend_from_slice(fingerprint);
        }
        self.added.insert(key, (revision, *fingerprint));
    }

    /// Writes what was added, and forgets the oldest if there are too many.
    pub(super) fn write(&mut self, rows: &mut Rows<'_>, head: Revision) -> Result<(), Failed> {
        for (first, row) in &self.rows {
            rows.insert(first.number(), row.as_slice())?;
        }
        let old = head.number().saturating_sub(IdempotencyKey::REMEMBERED);
        for _ in 0..self.rows.len() * FORGOTTEN_PER_ROW {
            let oldest = rows
                .first()?
                .map(|(first, row)| (first.value(), row.value().len() / BYTES));
            let Some((first, commits)) = oldest else {
                break;
            };
            // With the last of its commits.
            if first.saturating_add(commits as u64) > old.saturating_add(1) {
                break;
            }
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
