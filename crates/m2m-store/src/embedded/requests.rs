//! Which idempotency keys are remembered, and for which commits.
//!
//! In the file they lie in the order of their commits, where adding and forgetting them touches one
//! page at either end. By key they are in memory only: on the disk each would change a page of its
//! own, as many again as the records.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable, Table};

use super::failure::{Failed, corrupt};
use super::tables::REQUESTS;
use crate::{IdempotencyKey, Revision, StoreError};

/// How many old ones are forgotten for each that is added, so that a store that remembers too many
/// comes down to [`IdempotencyKey::REMEMBERED`].
const FORGOTTEN_PER_COMMIT: usize = 2;

/// Those of all durable commits.
#[derive(Debug, Default)]
pub(super) struct Requests(HashMap<IdempotencyKey, Revision>);

/// What a transaction adds to them and removes, if it becomes durable.
#[derive(Debug, Default)]
pub(super) struct NewRequests {
    added: HashMap<IdempotencyKey, Revision>,
    forgotten: Vec<(IdempotencyKey, Revision)>,
}

/// A row of [`REQUESTS`]: `idempotency key (16) ‖ digest of the batch (32)`.
type Rows<'t> = Table<'t, u64, &'static [u8]>;

const KEY_BYTES: usize = 16;

impl Requests {
    pub(super) fn read(transaction: &ReadTransaction) -> Result<Self, Failed> {
        let mut all = HashMap::new();
        for row in transaction.open_table(REQUESTS)?.iter()? {
            let (number, row) = row?;
            let (key, _) = split(row.value())?;
            let revision = Revision::new(number.value()).ok_or_else(malformed)?;
            all.insert(key, revision);
        }
        Ok(Self(all))
    }

    /// Which commit the batch with this digest became, if it was committed under `key` before.
    pub(super) fn repeated(
        &self,
        new: &NewRequests,
        rows: &Rows<'_>,
        key: IdempotencyKey,
        digest: &[u8; 32],
    ) -> Result<Option<Revision>, Failed> {
        let Some(&revision) = new.added.get(&key).or_else(|| self.0.get(&key)) else {
            return Ok(None);
        };
        // Not there if this very transaction forgets it.
        let Some(row) = rows.get(revision.number())? else {
            return Ok(None);
        };
        let (there, known) = split(row.value())?;
        match (there == key, known == digest) {
            (false, _) => Err(corrupt("an idempotency key belongs to another commit")),
            (true, true) => Ok(Some(revision)),
            (true, false) => Err(StoreError::IdempotencyKeyReused { key, revision }.into()),
        }
    }

    /// The transaction that made `new` is durable.
    pub(super) fn apply(&mut self, new: NewRequests) {
        for (key, revision) in new.forgotten {
            if self.0.get(&key) == Some(&revision) {
                self.0.remove(&key);
            }
        }
        self.0.extend(new.added);
    }
}

impl NewRequests {
    /// Remembers `key`, and forgets the oldest if there are too many.
    pub(super) fn remember(
        &mut self,
        rows: &mut Rows<'_>,
        key: IdempotencyKey,
        revision: Revision,
        digest: &[u8; 32],
    ) -> Result<(), Failed> {
        let row = [key.as_bytes().as_slice(), digest].concat();
        rows.insert(revision.number(), row.as_slice())?;
        self.added.insert(key, revision);
        for _ in 0..FORGOTTEN_PER_COMMIT {
            let oldest = match rows.first()? {
                Some((oldest, _)) => oldest.value(),
                None => break,
            };
            if oldest.saturating_add(IdempotencyKey::REMEMBERED) > revision.number() {
                break;
            }
            if let Some(row) = rows.remove(oldest)? {
                let (key, _) = split(row.value())?;
                let oldest = Revision::new(oldest).ok_or_else(malformed)?;
                self.forgotten.push((key, oldest));
            }
        }
        Ok(())
    }
}

fn split(row: &[u8]) -> Result<(IdempotencyKey, &[u8]), Failed> {
    let (key, digest) = row.split_first_chunk::<KEY_BYTES>().ok_or_else(malformed)?;
    Ok((IdempotencyKey::from_bytes(*key), digest))
}

fn malformed() -> Failed {
    corrupt("a remembered idempotency key is malformed")
}
