//! Taking in what a store has: all of it, or what is new.

use m2m_store::{Change, Cursor, Record, Scan, Store};

use super::error::StoredLoadError;
use super::record;
use crate::set::Revocations;
use crate::term::Entry;

/// How many entries are gathered at least before the set takes them in, in one pass over what it
/// has: 32 MiB of them. Later as many as it has, so that all passes together cost about two.
const RUN_AT_LEAST: usize = 1 << 20;
/// 128 MiB.
const RUN_AT_MOST: usize = 1 << 22;

/// Takes every record of `store` into `set`, which forgets nothing for it. Gives the place from
/// which on the feed tells what this may have missed.
pub(super) async fn load(store: &dyn Store, set: &Revocations) -> Result<Cursor, StoredLoadError> {
    let mut scan = Scan::new(record::space());
    let mut run = Run::new(set);
    let mut first = None;
    loop {
        let page = store.scan(&scan).await?;
        // Pages may show different states, so what counts is the state of the first.
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

/// Takes `changes` into `set`. What was deleted had expired for everybody, so nothing is taken back
/// for it: the set has its own time to forget by.
pub(super) fn apply(changes: &[Change], set: &Revocations) -> Result<(), StoredLoadError> {
    let mut run = Run::new(set);
    for change in changes {
        if let Change::Put(record) = change {
            run.take(record)?;
        }
    }
    run.finish()
}

/// Entries on their way into a set.
struct Run<'a> {
    set: &'a Revocations,
    entries: Vec<Entry>,
    limit: usize,
}

impl<'a> Run<'a> {
    fn new(set: &'a Revocations) -> Self {
        Self {
            set,
            entries: Vec::new(),
            limit: RUN_AT_LEAST,
        }
    }

    fn take(&mut self, record: &Record) -> Result<(), StoredLoadError> {
        let revocation = record::decode(record.value().as_bytes());
        let revocation = revocation.map_err(|problem| StoredLoadError::Record {
            key: record.key().clone(),
            problem,
        })?;
        self.entries.push(revocation.entry(&self.set.fingerprints));
        if self.entries.len() >= self.limit {
            self.flush()?;
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
