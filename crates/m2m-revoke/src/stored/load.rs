//! Taking in what a store has: all of it, or what is new.

use m2m_store::{Change, Cursor, Record, Scan, Store};
use m2m_types::Timestamp;

use super::error::StoredLoadError;
use super::segment::{self, RecordError};
use crate::set::Revocations;
use crate::term::Entry;

/// How many entries are gathered at least before the set takes them in, in one pass over what it
/// has: 32 MiB of them. Later as many as it has, so that all passes together cost about two.
const RUN_AT_LEAST: usize = 1 << 20;
/// 128 MiB.
const RUN_AT_MOST: usize = 1 << 22;

/// Takes every record of `store` into `set`, which forgets nothing for it. Gives the place from
/// which on the feed tells what this may have missed.
///
/// Pages show different states, and between two of them segments may be merged: one that was to come
/// is then gone, and what it held is where this has been already. But whatever it is in now was
/// written after the first page was read, so the feed tells of it.
pub(super) async fn load(
    store: &dyn Store,
    set: &Revocations,
    now: Timestamp,
) -> Result<Cursor, StoredLoadError> {
    let mut scan = Scan::new(segment::space());
    // What ended before is left out: segments keep it until it is worth writing them anew, and the set
    // would forget it at once.
    let line = now.min(set.stats().compacted_until());
    let mut run = Run::new(set, line);
    let mut first = None;
    loop {
        let page = store.scan(&scan).await?;
        let place = *first.get_or_insert(page.as_of());
        for record in page.records() {
            run.take(record)?;
        }
        match page.next() {
            Some(key) => scan = scan.after(key.clone()),
            None => return run.finish().map(|()| place),
        }
    }
}

/// Takes `changes` into `set`. What was deleted is elsewhere or had expired for everybody, so nothing
/// is taken back for it: the set has its own time to forget by. Nor is anything left out: it may be
/// news, and the clock wrong.
pub(super) fn apply(changes: &[Change], set: &Revocations) -> Result<(), StoredLoadError> {
    let mut run = Run::new(set, Timestamp::MIN);
    for change in changes {
        if let Change::Put(record) = change {
            run.take(record)?;
        }
    }
    run.finish()
}

/// From how many entries on it is worth a pass over what `set` has to take them in, where they are
/// better in force soon: all passes together cost about eight.
pub(super) fn worth_a_pass(set: &Revocations) -> usize {
    let held = usize::try_from(set.stats().entries()).unwrap_or(usize::MAX);
    held / 8
}

/// Entries on their way into a set.
struct Run<'a> {
    set: &'a Revocations,
    /// What ended before it is left out.
    line: Timestamp,
    entries: Vec<Entry>,
    limit: usize,
}

impl<'a> Run<'a> {
    fn new(set: &'a Revocations, line: Timestamp) -> Self {
        Self {
            set,
            line,
            entries: Vec::new(),
            limit: RUN_AT_LEAST,
        }
    }

    fn take(&mut self, record: &Record) -> Result<(), StoredLoadError> {
        let taken = self.take_segment(record.value().as_bytes());
        taken.map_err(|problem| StoredLoadError::Record {
            key: record.key().clone(),
            problem,
        })?;
        match self.entries.len() >= self.limit {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn take_segment(&mut self, value: &[u8]) -> Result<(), RecordError> {
        let fingerprints = &self.set.fingerprints;
        for group in segment::groups(value) {
            let group = group?;
            // What a token's issuer adds to its fingerprint is worked out once for all of them.
            let scope = fingerprints.scope(group.kind, group.first);
            for item in group.items() {
                let item = item?;
                let term = item.term();
                if !term.is_over(self.line) {
                    let fingerprint = fingerprints.of(&scope, &item.second);
                    self.entries.push(Entry { fingerprint, term });
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoredLoadError> {
        self.set.add_many(std::mem::take(&mut self.entries))?;
        let held = usize::try_from(self.set.stats().entries()).unwrap_or(usize::MAX);
        self.limit = held.clamp(RUN_AT_LEAST, RUN_AT_MOST);
        Ok(())
    }

    fn finish(mut self) -> Result<(), StoredLoadError> {
        match self.entries.is_empty() {
            true => Ok(()),
            false => self.flush(),
        }
    }
}
