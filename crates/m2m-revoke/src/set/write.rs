//! The writers' side: one at a time, never in a reader's way.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use m2m_types::Timestamp;

use super::{Compaction, Revocations, State};
use crate::error::{MergeError, RebuildError, RevokeError};
use crate::header::{Counts, Header, REVISION_LIMIT, kind_bit};
use crate::table::{self, Table};
use crate::tail::Tail;
use crate::term::{Entry, REVOCATION_MARGIN, Term};

/// What only writers know.
pub(super) struct Writer {
    /// Entries by kind, each target once, in table and tail.
    pub(super) counts: Counts,
    pub(super) revision: u64,
    /// The set's own time.
    pub(super) horizon: Timestamp,
    /// States that were swapped out while somebody held them: two at most, see
    /// [`Revocations::replace`], and for a moment those of checks under way.
    retired: Vec<Arc<State>>,
}

/// A tail is merged when it has this many entries and a 64th of those of the table.
///
/// So a set that grows entry by entry moves each entry 64 times, in order from front to back, which
/// comes to a few microseconds; and the tail, a quarter full at its emptiest, adds at most 1.5 bytes
/// an entry. [`Revocations::snapshot`] merges it whatever its size.
const MERGE_AT_LEAST: usize = 4096;
const MERGE_SHARE: u64 = 64;

/// How often a writer lets readers run that still hold the old state, before it leaves it to the
/// next writer to free it.
const YIELDS: usize = 64;

impl Revocations {
    pub(super) fn add_one(&self, entry: Entry) -> Result<(), RevokeError> {
        let mut writer = self.writer();
        let Some(change) = self.change(entry)? else {
            return Ok(());
        };
        if change.is_fresh && writer.counts.total() >= self.capacity_limit {
            return Err(self.full(&writer));
        }
        let revision = writer.next_revision()?;
        self.put(&mut writer, change);
        self.publish(&mut writer, revision);
        Ok(())
    }

    pub(crate) fn add_many(&self, mut entries: Vec<Entry>) -> Result<(), RevokeError> {
        sort_and_unite(&mut entries);
        let mut writer = self.writer();
        if entries.len() > self.tail_limit() {
            return self.add_run(&mut writer, None, || entries.iter().copied());
        }
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            changes.extend(self.change(entry)?);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let fresh = changes.iter().filter(|change| change.is_fresh).count() as u64;
        if fresh > 0 && writer.counts.total() + fresh > self.capacity_limit {
            return Err(self.full(&writer));
        }
        let revision = writer.next_revision()?;
        for change in changes {
            self.put(&mut writer, change);
        }
        self.publish(&mut writer, revision);
        Ok(())
    }

    pub(super) fn add_table(&self, table: &Table) -> Result<(), MergeError> {
        let header = table.header();
        if header.key != self.fingerprints.key() {
            return Err(MergeError::DifferentKey);
        }
        let mut writer = self.writer();
        self.add_run(&mut writer, Some(header), || table.entries())?;
        Ok(())
    }

    /// Takes in a sorted run of entries, and the times of the set they come from, by building a new
    /// table.
    fn add_run<I>(
        &self,
        writer: &mut Writer,
        from: Option<&Header>,
        run: impl Fn() -> I,
    ) -> Result<(), RevokeError>
    where
        I: Iterator<Item = Entry>,
    {
        let state = self.state.load_full();
        let tail = state.tail.sorted();
        let old = || table::union(state.table.entries(), tail.iter().copied());
        let new = || table::union(old(), run());
        let changed = !new().eq(old());
        let their_revision = from.map_or(0, |header| header.revision);
        let revision = if changed {
            writer.next_revision()?.max(their_revision)
        } else {
            writer.revision.max(their_revision)
        };
        if changed {
            let limit = self.capacity_limit.max(writer.counts.total());
            let header = Header {
                revision,
                ..self.header(writer)
            };
            let table = table::build(header, limit, new)?;
            self.add_present(table.header().counts.present());
            self.swap_table(writer, state, table);
            self.publish(writer, revision);
        }
        writer.revision = revision;
        if let Some(header) = from {
            writer.advance(header.horizon);
        }
        Ok(())
    }

    pub(super) fn rebuilt(&self) -> Result<Table, RebuildError> {
        let mut writer = self.writer();
        let state = self.state.load_full();
        let header = self.header(&writer);
        let stated = state.table.header();
        if state.tail.len() == 0
            && (stated.revision, stated.horizon) == (header.revision, header.horizon)
        {
            return Ok(state.table.clone());
        }
        let tail = state.tail.sorted();
        let entries = || table::union(state.table.entries(), tail.iter().copied());
        let table = table::build(header, u64::MAX, entries)?;
        self.swap_table(&mut writer, state, table.clone());
        Ok(table)
    }

    pub(super) fn forget(&self, now: Timestamp) -> Result<Compaction, RebuildError> {
        let mut writer = self.writer();
        let line = now.min(writer.horizon.saturating_add(REVOCATION_MARGIN));
        let state = self.state.load_full();
        let tail = state.tail.sorted();
        let all = || table::union(state.table.entries(), tail.iter().copied());
        let before = writer.counts.total();
        if all().any(|entry| entry.term.is_over(line)) {
            let header = Header {
                horizon: line.max(writer.horizon),
                ..self.header(&writer)
            };
            let kept = || all().filter(|entry| !entry.term.is_over(line));
            let table = table::build(header, u64::MAX, kept)?;
            self.swap_table(&mut writer, state, table);
            // After the swap: a reader that finds a kind gone finds a state without it, or held one
            // in which it was over.
            self.present
                .store(writer.counts.present(), Ordering::Release);
        }
        writer.advance(line);
        Ok(Compaction {
            dropped: before.saturating_sub(writer.counts.total()),
            kept: writer.counts.total(),
            behind: now.checked_since(writer.horizon).unwrap_or_default(),
        })
    }

    /// What must be written so that all of `entry` is revoked; `None` if it is already.
    fn change(&self, entry: Entry) -> Result<Option<Change>, RevokeError> {
        let state = self.state.load();
        let mut held = state.tail.find(entry.fingerprint);
        if held.is_none() {
            held = state.table.find(entry.fingerprint)?;
        }
        let term = held.union(entry.term);
        Ok((term != held).then_some(Change {
            entry: Entry { term, ..entry },
            is_fresh: held == Term::NONE,
        }))
    }

    /// Writes `change` where readers see it.
    fn put(&self, writer: &mut Writer, change: Change) {
        let tag = change.entry.fingerprint.tag();
        // First the kind, then the entry: a reader that finds the kind unset was told of none.
        self.add_present(kind_bit(tag));
        while self.state.load().tail.put(change.entry).is_err() {
            self.make_room(writer);
        }
        if change.is_fresh {
            let known = writer.counts.add(tag);
            debug_assert!(known, "a fingerprint is made from a kind");
        }
    }

    /// Marks kinds as present. Writes only if it must: every check reads this.
    fn add_present(&self, kinds: u32) {
        if self.present.load(Ordering::Relaxed) & kinds != kinds {
            self.present.fetch_or(kinds, Ordering::Release);
        }
    }

    /// Counts a change that readers can see.
    fn publish(&self, writer: &mut Writer, revision: u64) {
        writer.revision = revision;
        // `SeqCst` is `Release` and more: the processor completes it, and with it the stores before
        // it, before it goes on, so that a check on another processor sees the change by the time
        // the caller can tell anybody.
        self.epoch.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes room in the tail: merges it into the table if it has grown enough, else doubles it.
    fn make_room(&self, writer: &mut Writer) {
        let state = self.state.load_full();
        if state.tail.len() >= self.tail_limit() {
            let tail = state.tail.sorted();
            let entries = || table::union(state.table.entries(), tail.iter().copied());
            // A table that cannot be read any more is left as it is: the tail goes on taking in.
            if let Ok(table) = table::build(self.header(writer), u64::MAX, entries) {
                return self.replace(writer, state, Table::into_state(table));
            }
        }
        let next = State::new(state.table.clone(), state.tail.doubled());
        self.replace(writer, state, next);
    }

    fn tail_limit(&self) -> usize {
        let share = self.state.load().table.header().counts.total() / MERGE_SHARE;
        usize::try_from(share).map_or(usize::MAX, |share| share.max(MERGE_AT_LEAST))
    }

    fn swap_table(&self, writer: &mut Writer, old: Arc<State>, table: Table) {
        writer.counts = table.header().counts;
        self.replace(writer, old, Table::into_state(table));
    }

    /// Swaps `next` in. Frees what it replaces here if it can: a table of gigabytes must not be
    /// given back by the reader that happens to look at it last.
    ///
    /// A [`RevocationReader`](crate::RevocationReader) that is idle holds what it used last. So
    /// that any number of them do not hold any number of tables, `next` may be held only if nothing
    /// older than `old` still is. Then at most `old` and `next` are held without being current, for
    /// what comes after them may not be.
    fn replace(&self, writer: &mut Writer, old: Arc<State>, next: State) {
        writer.free_retired();
        let may_be_held = writer.retired.is_empty();
        next.may_be_held.store(may_be_held, Ordering::Relaxed);
        self.state.store(next);
        writer.retired.push(old);
        for _ in 0..YIELDS {
            writer.free_retired();
            if writer.retired.is_empty() {
                return;
            }
            thread::yield_now();
        }
    }

    /// Frees what nobody holds any more, and lets the current state be held once nothing is left.
    pub(super) fn free_retired(&self, writer: &mut Writer) {
        if !writer.retired.is_empty() {
            writer.free_retired();
        }
        if writer.retired.is_empty() {
            let state = self.state.load();
            if !state.may_be_held() {
                state.may_be_held.store(true, Ordering::Relaxed);
            }
        }
    }

    /// What a table that is built now says of the set. The table fills in its own shape.
    fn header(&self, writer: &Writer) -> Header {
        Header {
            key: self.fingerprints.key(),
            revision: writer.revision,
            horizon: writer.horizon,
            homes: 1,
            groups: 1,
            counts: writer.counts,
        }
    }

    fn full(&self, writer: &Writer) -> RevokeError {
        RevokeError::Full {
            entries: writer.counts.total(),
            limit: self.capacity_limit,
        }
    }
}

/// One entry to be written.
struct Change {
    entry: Entry,
    /// Whether its target had no entry.
    is_fresh: bool,
}

impl Writer {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            counts: header.counts,
            revision: header.revision,
            horizon: header.horizon,
            retired: Vec::new(),
        }
    }

    fn free_retired(&mut self) {
        self.retired.retain(|state| Arc::strong_count(state) > 1);
    }

    /// Moves the set's own time to `time`, unless it is there already.
    pub(super) fn advance(&mut self, time: Timestamp) {
        self.horizon = self.horizon.max(time);
    }

    fn next_revision(&self) -> Result<u64, RevokeError> {
        let revision = self.revision;
        match revision.checked_add(1) {
            Some(next) if next < REVISION_LIMIT => Ok(next),
            _ => Err(RevokeError::RevisionExhausted { revision }),
        }
    }
}

impl Table {
    fn into_state(self) -> State {
        State::new(self, Tail::new())
    }
}

/// Sorts by fingerprint and leaves each once.
fn sort_and_unite(entries: &mut Vec<Entry>) {
    entries.sort_unstable_by_key(|entry| entry.fingerprint);
    entries.dedup_by(|later, first| {
        let same = later.fingerprint == first.fingerprint;
        if same {
            first.term = first.term.union(later.term);
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RevocationReader, Target};

    const NOW: Timestamp = Timestamp::MIN;

    fn target(jti: &str) -> Target<'_> {
        Target::Token {
            issuer: "https://issuer.example",
            jti,
        }
    }

    /// Revokes one more, and swaps a table with it in.
    fn swap(set: &Revocations, number: usize) {
        set.revoke(target(&number.to_string()), Timestamp::MAX)
            .unwrap();
        set.snapshot().unwrap();
    }

    #[test]
    fn dos_003_idle_readers_keep_two_old_tables_at_most_and_none_when_they_have_asked_again() {
        let set = Arc::new(Revocations::new([1; 16], NOW));
        let mut readers: Vec<_> = (0..20)
            .map(|_| RevocationReader::new(Arc::clone(&set)))
            .collect();
        let asks = |reader: &mut RevocationReader, number: usize| {
            let check = reader.check(&target(&number.to_string()), None, NOW);
            assert!(check.is_err(), "{number}");
        };
        for (number, reader) in readers.iter_mut().enumerate() {
            swap(&set, number);
            asks(reader, number); // and never again
            assert!(set.writer().retired.len() <= 2, "after {number}");
        }
        // The state that is current now was refused to readers, and still answers them.
        assert!(!set.state.load().may_be_held());
        readers.iter_mut().for_each(|reader| asks(reader, 0));
        assert!(set.writer().retired.is_empty());
        assert!(set.state.load().may_be_held());
        readers.iter_mut().for_each(|reader| asks(reader, 19));
        assert_eq!(Arc::strong_count(&set.state.load_full()), 22);
    }
}
