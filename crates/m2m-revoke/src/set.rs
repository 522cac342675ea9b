//! `Revocations`: the set that is asked on every call and written to while it is.

mod write;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use m2m_types::{Live, Timestamp};

#[cfg(doc)]
use crate::RevocationReader;
use crate::error::{MergeError, RebuildError, RevokeError};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::snapshot::RevocationSnapshot;
use crate::stats::Stats;
use crate::table::Table;
use crate::tail::Tail;
use crate::target::{Revocation, Target};
use crate::term::Term;

use write::Writer;

/// How many entries a set may hold unless it is told otherwise: 2²⁴, about 16.7 million, which is
/// half a gigabyte, or a whole one while the table is built anew.
pub const DEFAULT_CAPACITY_LIMIT: u64 = 1 << 24;

/// What is revoked, for every kind of credential. Share it as `Arc<Revocations>`.
///
/// # Reading
///
/// A check takes no lock and allocates nothing, and its cost does not grow with the number of
/// entries. What was revoked before is seen: when a method that revokes has returned, every check
/// that begins afterwards, on whichever thread, refuses. Who asks often asks a [`RevocationReader`],
/// which gives the same answers for less.
///
/// # Writing
///
/// Writers wait for each other, never for readers. An entry goes into a small table of atomic words
/// beside the large one; when that is full, both are merged into a new large one and swapped in.
/// One revocation among some thousands pays for that with about 50 ns an entry, half a second at ten
/// million; on average it is a few microseconds. While a table is built there are two of them, and up
/// to two more where a [`RevocationReader`] is idle.
///
/// # Dead is dead
///
/// Nothing takes a revocation back. A second one of the same target makes it reach later or last
/// longer: the set keeps the later of both ends. A snapshot is merged as a union, so an old one
/// takes nothing away. An entry is forgotten when what it revokes has expired for every verifier,
/// and only by [`Revocations::compact`].
pub struct Revocations {
    pub(crate) fingerprints: Fingerprints,
    /// Bits of the kinds that have entries. See [`Revocations::check_token`].
    pub(crate) present: AtomicU32,
    pub(crate) state: Live<State>,
    capacity_limit: u64,
    /// Goes up with each revocation.
    epoch: Apart<AtomicU64>,
    writer: Apart<Mutex<Writer>>,
}

/// On lines of memory of its own (processors fetch them in pairs), so that a look-up does not wait
/// for a line that it needs because a writer wrote to another part of it.
#[repr(align(128))]
struct Apart<T>(T);

/// What readers look into, swapped whole.
pub(crate) struct State {
    table: Table,
    /// Entries here are at least as long and late as those of the table.
    tail: Tail,
    /// Whether a [`RevocationReader`] may keep this between two checks. Only writers set it.
    may_be_held: AtomicBool,
}

/// What [`Revocations::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    dropped: u64,
    kept: u64,
    behind: Duration,
}

impl Revocations {
    /// An empty set.
    ///
    /// `key` keys the fingerprints. Draw it at random once for a set and its copies: sets that are
    /// to be merged share it, and it travels in their snapshots. A stranger who knows it can make
    /// up names that are revoked together with others; none that escapes.
    ///
    /// `now` is where the set's own time begins, see [`Revocations::compact`].
    pub fn new(key: [u8; 16], now: Timestamp) -> Self {
        Self::from_table(Table::empty(key, now))
    }

    /// A set that goes on from `snapshot`, whose bytes it uses in place.
    ///
    /// This is for starting. To take a newer snapshot into a set that runs, use
    /// [`Revocations::merge`]: replacing the set would forget what it was told itself.
    pub fn from_snapshot(snapshot: RevocationSnapshot) -> Self {
        Self::from_table(snapshot.table)
    }

    fn from_table(table: Table) -> Self {
        let header = *table.header();
        Self {
            fingerprints: Fingerprints::new(&header.key),
            present: AtomicU32::new(header.counts.present()),
            state: Live::new(State::new(table, Tail::new())),
            capacity_limit: DEFAULT_CAPACITY_LIMIT,
            epoch: Apart(AtomicU64::new(0)),
            writer: Apart(Mutex::new(Writer::new(&header))),
        }
    }

    /// Lets the set hold `limit` entries instead of [`DEFAULT_CAPACITY_LIMIT`]. What a snapshot
    /// brought beyond that stays.
    #[must_use]
    pub fn with_capacity_limit(mut self, limit: u64) -> Self {
        self.capacity_limit = limit;
        self
    }

    /// Revokes all of `target`. `expires` is the moment from which what is revoked would be refused
    /// anyway: the `exp` of a token, the `notAfter` of a certificate, [`Timestamp::MAX`] for a key.
    /// The entry is kept [`REVOCATION_MARGIN`](crate::REVOCATION_MARGIN) longer.
    ///
    /// When this returns `Ok`, every check that begins afterwards sees it, on every thread.
    ///
    /// # Errors
    ///
    /// [`RevokeError`]: it is then **not** revoked.
    pub fn revoke(&self, target: Target<'_>, expires: Timestamp) -> Result<(), RevokeError> {
        self.add_one(Revocation::of(target, expires).entry(&self.fingerprints))
    }

    /// Revokes what was issued to or under `target` at `until` or before: what is issued later is
    /// good.
    ///
    /// Times of issue are whole seconds, so what was issued in the second `until` is revoked: it
    /// may have been issued before. What does not say when it was issued is revoked too. If the
    /// clocks of issuers may run ahead of yours, add by how much: a token that was issued a moment
    /// ago with a later `iat` would escape. `expires` is when the last credential that was issued
    /// until then expires.
    ///
    /// # Errors
    ///
    /// [`RevokeError`]: it is then **not** revoked.
    pub fn revoke_issued_until(
        &self,
        target: Target<'_>,
        until: Timestamp,
        expires: Timestamp,
    ) -> Result<(), RevokeError> {
        let revocation = Revocation::of(target, expires).with_issued_until(until);
        self.add_one(revocation.entry(&self.fingerprints))
    }

    /// Revokes many targets, all of them or, if it fails, none.
    ///
    /// Costs one pass over the set if there are many, so prefer it to a loop from some thousands
    /// on. The iterator is run before anything is locked.
    ///
    /// # Errors
    ///
    /// [`RevokeError`]: nothing of it is then revoked.
    pub fn revoke_many<'a, I>(&self, revocations: I) -> Result<(), RevokeError>
    where
        I: IntoIterator<Item = Revocation<'a>>,
    {
        let entries = revocations
            .into_iter()
            .map(|revocation| revocation.entry(&self.fingerprints))
            .collect();
        self.add_many(entries)
    }

    /// Takes in everything that `snapshot` revokes. Nothing that this set revokes is taken back,
    /// however old the snapshot is.
    ///
    /// # Errors
    ///
    /// [`MergeError`]: the set is then as it was.
    pub fn merge(&self, snapshot: &RevocationSnapshot) -> Result<(), MergeError> {
        self.add_table(&snapshot.table)
    }

    /// The set as it is now, in its transfer form.
    ///
    /// Costs one pass over the set if anything changed since the last one, else nothing.
    ///
    /// # Errors
    ///
    /// [`RebuildError`].
    pub fn snapshot(&self) -> Result<RevocationSnapshot, RebuildError> {
        self.rebuilt().map(|table| RevocationSnapshot { table })
    }

    /// Forgets entries that ended before `now`, and returns how many.
    ///
    /// Call this on a timer, every few minutes. It costs one or two passes over the set; readers do
    /// not notice.
    ///
    /// # A clock that jumps
    ///
    /// A clock that jumps ahead must not make the set forget what is still good once the clock is
    /// put right. So the set has a time of its own. It starts from [`Revocations::new`] or the
    /// snapshot, never goes back, and one call moves it towards `now` by at most
    /// [`REVOCATION_MARGIN`](crate::REVOCATION_MARGIN), ten minutes; entries go by this time. As
    /// they are kept as much longer than their credentials, a call only ever forgets what had
    /// expired by the time of an *earlier* call. A clock that is wrong by ten years would have to
    /// be believed half a million times; one that was right all along, in a process that slept
    /// for a day, is caught up with after 144 calls. [`Compaction::behind`] is how far the set's
    /// time still lags; watch it.
    ///
    /// A clock that is set back forgets less, and what it makes valid again is still revoked.
    ///
    /// # Errors
    ///
    /// [`RebuildError`].
    pub fn compact(&self, now: Timestamp) -> Result<Compaction, RebuildError> {
        self.forget(now)
    }

    /// Moves the set's own time to `now` in one step, on an operator's word that the clock is right.
    ///
    /// Dangerous because if it is not, the next [`Revocations::compact`] forgets revocations of
    /// what is still good. There is no need for it: the set also catches up by itself.
    pub fn danger_trust_clock(&self, now: Timestamp) {
        self.writer().advance(now);
    }

    /// How often the set has changed in a way that a check could see.
    ///
    /// Something that is derived from a passed check, a cached token say, may be used without
    /// another check for as long as this stays what it was **before** that check:
    ///
    /// ```text
    /// let epoch = revocations.epoch();         // 1. first
    /// revocations.check_token(&facts, now)?;   // 2. then
    /// cache.insert(token, epoch);              // 3. and a hit needs revocations.epoch() == epoch
    /// ```
    ///
    /// Why that is enough: a writer makes its change visible first and counts second (a `Release`
    /// increment). If the check of step 2 missed a change, then step 1 did not see it counted, for
    /// its `Acquire` load would have made the change visible to step 2. So the stamp is older than
    /// that change, and the hit no longer matches once it is counted, which is before the revoking
    /// call returns. In the other order the stamp could be newer than what was checked.
    ///
    /// It counts for this value alone: another set, or one that was loaded anew, counts from zero.
    /// A stamp says nothing about time: whether the token has expired is checked on each hit.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.0.load(Ordering::Acquire)
    }

    /// How much the set holds. Waits for a writer, so it is not for the hot path.
    pub fn stats(&self) -> Stats {
        let writer = self.writer();
        let state = self.state.load();
        Stats {
            counts: writer.counts,
            tail_entries: state.tail.len() as u64,
            bytes: (state.table.bytes().len() + state.tail.byte_len()) as u64,
            capacity_limit: self.capacity_limit,
            epoch: self.epoch(),
            revision: writer.revision,
            compacted_until: writer.horizon,
        }
    }

    /// The lock among writers. Should one have panicked, its state is sound: a change is complete
    /// before it is counted, and an entry that was not counted revokes all the same.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        let mut writer = self.writer.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.free_retired(&mut writer);
        writer
    }
}

impl State {
    fn new(table: Table, tail: Tail) -> Self {
        Self {
            table,
            tail,
            may_be_held: AtomicBool::new(true),
        }
    }

    /// Whether a reader may keep this between two checks.
    pub(crate) fn may_be_held(&self) -> bool {
        self.may_be_held.load(Ordering::Relaxed)
    }

    /// The term of `fingerprint`. A table that can no longer be believed revokes.
    #[inline(always)] // part of one run of instructions, see `Table::find`
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Term {
        let term = self.tail.find(fingerprint);
        if !term.is_none() {
            return term;
        }
        self.table.find(fingerprint).unwrap_or(Term::EVERYTHING)
    }
}

impl Compaction {
    /// How many entries were forgotten.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many are left.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// How far the set's own time is behind the `now` it was given: zero if all is well.
    pub const fn behind(&self) -> Duration {
        self.behind
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revocations").field(&self.stats()).finish()
    }
}
