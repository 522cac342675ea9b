//! A group of batches in one transaction: each is judged by itself, all become durable together.

use std::ops::Bound;

use m2m_crypto::SecureRandom;
use redb::{ReadableTable, Table, WriteTransaction};

use super::drawn::Drawn;
use super::failure::Failed;
use super::feed::{self, Moment, NewChanges};
use super::requests::{Fingerprint, NewRequests, Requests};
use super::tables::{
    FEED, FLOOR, HEAD, META, Marks, RECORDS, REQUESTS, TOMBSTONES, decode, encode, read_key,
};
use crate::seal::Sealed;
use crate::{Action, Batch, Committed, Cursor, Expected, Key, Place, Revision, Sealer, StoreError};

/// What became of a group, if the transaction becomes durable.
pub(super) struct Outcome {
    /// Where the store is now.
    pub(super) head: Cursor,
    /// Whether anything was written.
    pub(super) written: bool,
    /// For [`Requests::apply`].
    pub(super) requests: NewRequests,
}

/// A group in the making.
pub(super) struct Group<'t, 'a> {
    meta: Table<'t, &'static str, &'static [u8]>,
    records: Table<'t, &'static [u8], &'static [u8]>,
    feed: Table<'t, &'static [u8], &'static [u8]>,
    requests: Table<'t, u64, &'static [u8]>,
    known_requests: &'a mut Requests,
    new_requests: NewRequests,
    new_changes: NewChanges,
    begun: Marks,
    marks: Marks,
    sealer: &'a Sealer,
    random: Drawn<'a>,
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
        if stored.content.is_none() && stored.moment.revision <= until {
            old.push((key, stored.moment));
        }
        if old.len() == limit {
            break;
        }
    }
    for (key, moment) in &old {
        records.remove(key.as_sorted_bytes())?;
        feed::remove(&mut feed, key.space(), *moment)?;
    }
    marks.tombstones = marks.tombstones.saturating_sub(old.len() as u64);
    // With the first of them: from here on the feed does not tell all.
    marks.floor = marks.floor.max(until);
    meta.insert(FLOOR, marks.floor.number().to_be_bytes().as_slice())?;
    meta.insert(TOMBSTONES, marks.tombstones.to_be_bytes().as_slice())?;
    let pruned = old.len();
    let last = old.pop().filter(|_| pruned == limit);
    Ok((pruned, last.map(|(key, _)| key)))
}

/// What is at a key before a batch.
#[derive(Clone, Copy)]
struct Before {
    moment: Moment,
    live: bool,
}

/// What is known of a key before its record is written.
#[derive(Clone, Copy)]
enum Looked {
    /// Nothing: whatever is there, it is written, and then it is known what was.
    Not,
    At(Option<Before>),
}

impl<'t, 'a> Group<'t, 'a> {
    pub(super) fn begin(
        transaction: &'t WriteTransaction,
        known_requests: &'a mut Requests,
        sealer: &'a Sealer,
        random: &'a dyn SecureRandom,
    ) -> Result<Self, Failed> {
        let meta = transaction.open_table(META)?;
        let marks = Marks::read(&meta)?;
        Ok(Self {
            meta,
            records: transaction.open_table(RECORDS)?,
            feed: transaction.open_table(FEED)?,
            requests: transaction.open_table(REQUESTS)?,
            known_requests,
            new_requests: NewRequests::default(),
            new_changes: NewChanges::default(),
            begun: marks,
            marks,
            sealer,
            random: Drawn::new(random),
        })
    }

    /// Judges `batch`, and writes all of it or nothing. After an error the transaction must be thrown
    /// away.
    pub(super) fn add(
        &mut self,
        batch: &Batch,
        fingerprint: &Fingerprint,
    ) -> Result<Result<Committed, StoreError>, Failed> {
        match self.write(batch, fingerprint) {
            Ok(committed) => Ok(Ok(committed)),
            Err(Failed::Store(error)) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    }

    /// Writes what the group has in common.
    pub(super) fn finish(mut self) -> Result<Outcome, Failed> {
        let (begun, now) = (self.begun, self.marks);
        if now != begun {
            self.new_changes.write(&mut self.feed)?;
            self.new_requests.write(&mut self.requests, now.head)?;
            let mut mark = |name, number: u64| -> Result<(), Failed> {
                self.meta.insert(name, number.to_be_bytes().as_slice())?;
                Ok(())
            };
            mark(HEAD, now.head.number())?;
            if now.tombstones != begun.tombstones {
                mark(TOMBSTONES, now.tombstones)?;
            }
        }
        Ok(Outcome {
            head: now.place(),
            written: now != begun,
            requests: self.new_requests,
        })
    }

    /// [`Failed::Store`] means that nothing was written.
    fn write(&mut self, batch: &Batch, fingerprint: &Fingerprint) -> Result<Committed, Failed> {
        let name = batch.idempotency_key();
        let (known, new) = (&*self.known_requests, &self.new_requests);
        if let Some(revision) = known.repeated(new, &self.requests, name, fingerprint)? {
            return Ok(Committed::repeated(revision));
        }
        let mut before = Vec::with_capacity(batch.operations().len());
        for operation in batch.operations() {
            let (key, expected) = (operation.key(), operation.expected());
            before.push(match (expected, operation.action()) {
                (Expected::Anything, Action::Put { .. }) => Looked::Not,
                _ => {
                    let there = self.before(key)?;
                    check(key, expected, there.as_ref())?;
                    Looked::At(there)
                }
            });
        }
        let revision = self.marks.head.next().ok_or(StoreError::Exhausted)?;
        // All that can be refused comes before the first write.
        let sealed = self.seal(batch, revision)?;
        self.marks.head = revision;
        for (place, (before, sealed)) in (0_u32..).zip(before.iter().zip(&sealed)) {
            let Some((key, content)) = sealed else {
                continue;
            };
            let moment = Moment { revision, place };
            self.put(key, *before, moment, content.as_ref())?;
        }
        let new = &mut self.new_requests;
        self.known_requests
            .remember(new, name, revision, fingerprint);
        Ok(Committed::new(revision))
    }

    fn before(&self, key: &Key) -> Result<Option<Before>, Failed> {
        match self.records.get(key.as_sorted_bytes())? {
            Some(row) => Ok(Some(Before::decode(key, row.value())?)),
            None => Ok(None),
        }
    }

    fn seal<'b>(&self, batch: &'b Batch, revision: Revision) -> Result<Vec<Write<'b>>, Failed> {
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
                    let sealed = self.sealer.seal_with_salt(place, value, &self.random)?;
                    Some((key, Some((summary, sealed))))
                }
            })
        });
        sealed.collect()
    }

    fn put(
        &mut self,
        key: &Key,
        before: Looked,
        moment: Moment,
        content: Option<&Content<'_>>,
    ) -> Result<(), Failed> {
        // What was never there leaves no tombstone.
        if content.is_none() && matches!(before, Looked::At(None)) {
            return Ok(());
        }
        let row = encode(moment, content.map(|(summary, sealed)| (*summary, sealed)));
        let written = self.records.insert(key.as_sorted_bytes(), row.as_slice())?;
        let before = match (before, written) {
            (Looked::At(before), _) => before,
            (Looked::Not, None) => None,
            (Looked::Not, Some(row)) => Some(Before::decode(key, row.value())?),
        };
        if let Some(Before { moment, live }) = before {
            let there = &mut self.feed;
            self.new_changes.remove(there, key.space(), moment)?;
            self.marks.tombstones = self.marks.tombstones.saturating_sub(u64::from(!live));
        }
        self.marks.tombstones += u64::from(content.is_none());
        self.new_changes.add(key.space(), moment, key.id());
        Ok(())
    }
}

impl Before {
    fn decode(key: &Key, row: &[u8]) -> Result<Self, Failed> {
        let stored = decode(key, row)?;
        Ok(Self {
            moment: stored.moment,
            live: stored.content.is_some(),
        })
    }
}

/// The key, and what it gets: [`None`] for a tombstone. [`None`] altogether where nothing is
/// written.
type Write<'b> = Option<(&'b Key, Option<Content<'b>>)>;
type Content<'b> = (Option<&'b str>, Sealed);

fn check(key: &Key, expected: Expected, before: Option<&Before>) -> Result<(), Failed> {
    let live = before.filter(|before| before.live);
    let found = live.map(|before| before.moment.revision);
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
