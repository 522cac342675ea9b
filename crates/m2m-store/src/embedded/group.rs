//! A group of batches in one transaction: each is judged by itself, all become durable together.

use std::ops::Bound;

use m2m_crypto::SecureRandom;
use redb::{ReadableTable, Table, WriteTransaction};

use super::failure::Failed;
use super::requests::{NewRequests, Requests};
use super::tables::{
    Content, FEED, FLOOR, HEAD, META, Marks, RECORDS, REQUESTS, Stored, TOMBSTONES, decode,
    feed_key, read_key,
};
use crate::{Action, Batch, Committed, Cursor, Expected, Key, Place, Revision, Sealer, StoreError};

/// What became of the batches of a group, if the transaction becomes durable.
pub(super) struct Outcome {
    pub(super) answers: Vec<Result<Committed, StoreError>>,
    /// Where the store is now.
    pub(super) head: Cursor,
    /// Whether anything was written.
    pub(super) written: bool,
    /// For [`Requests::apply`].
    pub(super) requests: NewRequests,
}

/// Writes `batches` into `transaction`, one after the other.
pub(super) fn write_group<'a>(
    transaction: &WriteTransaction,
    batches: impl Iterator<Item = &'a Batch>,
    requests: &Requests,
    sealer: &Sealer,
    random: &dyn SecureRandom,
) -> Result<Outcome, Failed> {
    let mut meta = transaction.open_table(META)?;
    let marks = Marks::read(&meta)?;
    let mut writing = Writing {
        records: transaction.open_table(RECORDS)?,
        feed: transaction.open_table(FEED)?,
        requests: transaction.open_table(REQUESTS)?,
        known_requests: requests,
        new_requests: NewRequests::default(),
        marks,
        sealer,
        random,
    };
    let mut answers = Vec::new();
    for batch in batches {
        answers.push(match writing.write(batch) {
            Ok(committed) => Ok(committed),
            Err(Failed::Store(error)) => Err(error),
            Err(error) => return Err(error),
        });
    }
    let now = writing.marks;
    let requests = writing.new_requests;
    if now != marks {
        meta.insert(HEAD, now.head.number().to_be_bytes().as_slice())?;
        meta.insert(TOMBSTONES, now.tombstones.to_be_bytes().as_slice())?;
    }
    Ok(Outcome {
        answers,
        head: now.place(),
        written: now != marks,
        requests,
    })
}

/// Removes at most `limit` tombstones up to `until`, behind the key `after`. Returns how many, and
/// behind which key to go on if there may be more.
pub(super) fn prune(
    transaction: &WriteTransaction,
    until: Revision,
    after: Option<&Key>,
    limit: usize,
) -> Result<(usize, Option<Key>), Failed> {
    let mut meta = transaction.open_table(META)?;
    let mut marks = Marks::read(&meta)?;
    let until = until.min(marks.head);
    let mut records = transaction.open_table(RECORDS)?;
    let mut feed = transaction.open_table(FEED)?;
    let mut old = Vec::new();
    let from = match after {
        Some(after) => Bound::Excluded(after.as_sorted_bytes()),
        None => Bound::Unbounded,
    };
    for row in records.range::<&[u8]>((from, Bound::Unbounded))? {
        let (key, row) = row?;
        let key = read_key(key.value())?;
        let stored = decode(&key, row.value())?;
        if stored.content.is_none() && stored.revision <= until {
            old.push((key, stored.revision, stored.place));
        }
        if old.len() == limit {
            break;
        }
    }
    for (key, revision, place) in &old {
        records.remove(key.as_sorted_bytes())?;
        feed.remove(feed_key(key.space(), *revision, *place).as_slice())?;
    }
    marks.tombstones = marks.tombstones.saturating_sub(old.len() as u64);
    // With the first of them: from here on the feed does not tell all.
    marks.floor = marks.floor.max(until);
    meta.insert(FLOOR, marks.floor.number().to_be_bytes().as_slice())?;
    meta.insert(TOMBSTONES, marks.tombstones.to_be_bytes().as_slice())?;
    let pruned = old.len();
    let last = old.pop().filter(|_| pruned == limit);
    Ok((pruned, last.map(|(key, ..)| key)))
}

struct Writing<'t, 'a> {
    records: Table<'t, &'static [u8], &'static [u8]>,
    feed: Table<'t, &'static [u8], &'static [u8]>,
    requests: Table<'t, u64, &'static [u8]>,
    known_requests: &'a Requests,
    new_requests: NewRequests,
    marks: Marks,
    sealer: &'a Sealer,
    random: &'a dyn SecureRandom,
}

/// What is at a key before a batch.
struct Before {
    revision: Revision,
    place: u32,
    live: bool,
}

impl Writing<'_, '_> {
    /// Writes all of `batch` or nothing. [`Failed::Store`] means nothing; after another error the
    /// transaction must be thrown away.
    fn write(&mut self, batch: &Batch) -> Result<Committed, Failed> {
        let (name, digest) = (batch.idempotency_key(), self.sealer.fingerprint(batch)?);
        let (known, new) = (self.known_requests, &self.new_requests);
        if let Some(revision) = known.repeated(new, &self.requests, name, &digest)? {
            return Ok(Committed::repeated(revision));
        }
        let mut before = Vec::with_capacity(batch.operations().len());
        for operation in batch.operations() {
            let there = self.before(operation.key())?;
            check(operation.key(), operation.expected(), there.as_ref())?;
            before.push(there);
        }
        let revision = self.marks.head.next().ok_or(StoreError::Exhausted)?;
        // All that can be refused comes before the first write.
        let sealed = self.seal(batch, revision)?;
        self.marks.head = revision;
        for (place, (before, sealed)) in (0_u32..).zip(before.iter().zip(&sealed)) {
            let Some((key, content)) = sealed else {
                continue;
            };
            let stored = Stored {
                revision,
                place,
                content: content.as_ref().map(|(summary, sealed)| Content {
                    summary: *summary,
                    sealed,
                }),
            };
            self.put(key, before.as_ref(), &stored)?;
        }
        self.new_requests
            .remember(&mut self.requests, name, revision, &digest)?;
        Ok(Committed::new(revision))
    }

    fn before(&self, key: &Key) -> Result<Option<Before>, Failed> {
        let Some(row) = self.records.get(key.as_sorted_bytes())? else {
            return Ok(None);
        };
        let stored = decode(key, row.value())?;
        Ok(Some(Before {
            revision: stored.revision,
            place: stored.place,
            live: stored.content.is_some(),
        }))
    }

    fn seal<'b>(&self, batch: &'b Batch, revision: Revision) -> Result<Vec<Sealed<'b>>, Failed> {
        let sealed = batch.operations().iter().map(|operation| {
            let key = operation.key();
            Ok(match operation.action() {
                Action::Check => None,
                Action::Delete => Some((key, None)),
                Action::Put { value, summary } => {
                    let summary = summary.as_deref();
                    let place = Place {
                        key,
                        revision,
                        summary,
                    };
                    let sealed = self.sealer.seal(place, value, self.random)?;
                    Some((key, Some((summary, sealed))))
                }
            })
        });
        sealed.collect()
    }

    fn put(
        &mut self,
        key: &Key,
        before: Option<&Before>,
        stored: &Stored<'_>,
    ) -> Result<(), Failed> {
        let tombstone = stored.content.is_none();
        match before {
            // What was never there leaves no tombstone.
            None if tombstone => return Ok(()),
            None => {}
            Some(before) => {
                let there = feed_key(key.space(), before.revision, before.place);
                self.feed.remove(there.as_slice())?;
                let dead = u64::from(!before.live);
                self.marks.tombstones = self.marks.tombstones.saturating_sub(dead);
            }
        }
        self.marks.tombstones += u64::from(tombstone);
        let row = stored.encode();
        self.records.insert(key.as_sorted_bytes(), row.as_slice())?;
        let here = feed_key(key.space(), stored.revision, stored.place);
        self.feed.insert(here.as_slice(), key.as_sorted_bytes())?;
        Ok(())
    }
}

/// The key, and what it gets: [`None`] for a tombstone. [`None`] altogether where nothing is
/// written.
type Sealed<'b> = Option<(&'b Key, Option<(Option<&'b str>, Vec<u8>)>)>;

fn check(key: &Key, expected: Expected, before: Option<&Before>) -> Result<(), Failed> {
    let live = before.filter(|before| before.live);
    let found = live.map(|before| before.revision);
    match expected.is_met_by(found) {
        true => Ok(()),
        false => Err(StoreError::Conflict {
            key: key.clone(),
            expected,
            found,
        }
        .into()),
    }
}
