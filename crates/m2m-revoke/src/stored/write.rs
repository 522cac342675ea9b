//! Revoking: into the store, then into memory, and only then acknowledged.

use std::sync::atomic::Ordering;

use m2m_store::{
    Batch, Committed, Expected, Key, MAX_BATCH_OPERATIONS, Record, Revision, Store, StoreError,
};
use m2m_types::Timestamp;

use super::error::StoredRevokeError;
use super::record::{self, RecordError};
use super::{Ids, StoredRevocations};
use crate::error::RevokeError;
use crate::target::{Revocation, Target};
use crate::term::Entry;

/// How often records are read and written anew because others changed them meanwhile. With a
/// handful of nodes that revoke one target at the same moment two or three are enough.
const ATTEMPTS: u32 = 32;
/// How often one batch is committed again while its outcome is not known. At once, since there is no
/// timer here; stores have timeouts of their own.
const REPEATS: u32 = 3;
/// A batch ends with the record that takes it beyond this: far less than a store takes.
const BATCH_BYTES: usize = 1 << 20;

/// One record that is to be in the store.
struct Wanted {
    key: Key,
    value: Vec<u8>,
    /// The version that is there and covered by `value`, if any is known of.
    version: Option<Revision>,
    /// Whether what is there says all of it already.
    is_stored: bool,
}

/// A batch was not acknowledged.
pub(super) struct CommitError {
    pub(super) error: StoreError,
    /// Whether it may have been written all the same.
    pub(super) is_unknown: bool,
}

impl StoredRevocations {
    /// [`Revocations::revoke`](crate::Revocations::revoke), durably: when this returns `Ok`, it
    /// survives the death of the process, every check here that begins afterwards refuses, and
    /// whoever follows the store hears of it.
    ///
    /// A future that is dropped before it is ready may have its effect or not; what reached the
    /// store is in force here after the next [`StoredRevocations::catch_up`].
    ///
    /// # Errors
    ///
    /// [`StoredRevokeError`]: do not say that it is revoked, and call again.
    pub async fn revoke(
        &self,
        target: Target<'_>,
        expires: Timestamp,
    ) -> Result<(), StoredRevokeError> {
        self.revoke_many([Revocation::of(target, expires)]).await
    }

    /// [`Revocations::revoke_issued_until`](crate::Revocations::revoke_issued_until), durably, as
    /// [`StoredRevocations::revoke`].
    ///
    /// # Errors
    ///
    /// [`StoredRevokeError`]: do not say that it is revoked, and call again.
    pub async fn revoke_issued_until(
        &self,
        target: Target<'_>,
        until: Timestamp,
        expires: Timestamp,
    ) -> Result<(), StoredRevokeError> {
        let revocation = Revocation::of(target, expires).with_issued_until(until);
        self.revoke_many([revocation]).await
    }

    /// Revokes many targets, durably, as [`StoredRevocations::revoke`]. The iterator is run before
    /// anything else.
    ///
    /// They are written in batches of [`MAX_BATCH_OPERATIONS`]. If one fails, those before it are
    /// revoked and those after it are not; call again with all of them.
    ///
    /// # Errors
    ///
    /// [`StoredRevokeError`], which is then true of some of them: do not say that they are revoked.
    pub async fn revoke_many<'a, I>(&self, revocations: I) -> Result<(), StoredRevokeError>
    where
        I: IntoIterator<Item = Revocation<'a>>,
    {
        let mut wanted = self.wanted(revocations)?;
        let mut rest = wanted.as_mut_slice();
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at_mut(batch_len(rest));
            self.revoke_batch(batch).await?;
            rest = behind;
        }
        Ok(())
    }

    /// What is to be written, each target once, in the order of the keys: two nodes that lock
    /// records one after the other then do so in the same order.
    fn wanted<'a>(
        &self,
        revocations: impl IntoIterator<Item = Revocation<'a>>,
    ) -> Result<Vec<Wanted>, StoredRevokeError> {
        let wanted = revocations
            .into_iter()
            .map(|revocation| Wanted::new(&revocation, &self.ids));
        let mut wanted: Vec<Wanted> = wanted.collect::<Result<_, _>>()?;
        wanted.sort_by(|one, other| one.key.cmp(&other.key));
        let mut failed = None;
        wanted.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                failed = first.unite(&later.value).err().or(failed.take());
            }
            same
        });
        failed.map_or(Ok(wanted), Err)
    }

    async fn revoke_batch(&self, batch: &mut [Wanted]) -> Result<(), StoredRevokeError> {
        let entries = self.entries(batch)?;
        self.check_room(batch)?;
        let stored = self.store_batch(batch).await;
        let entries = match &stored {
            // With what others had written of the same targets.
            Ok(()) => self.entries(batch)?,
            Err(StoredRevokeError::Unknown(_)) => entries,
            Err(_) => return stored,
        };
        let in_force = self.revocations.add_many(entries);
        stored?;
        in_force.map_err(StoredRevokeError::NotInForce)
    }

    async fn store_batch(&self, batch: &mut [Wanted]) -> Result<(), StoredRevokeError> {
        // What is known here has a record, in all likelihood: to look first saves a refusal.
        for wanted in &mut *batch {
            if self.is_known(wanted)? {
                self.read(wanted).await?;
            }
        }
        for _ in 0..ATTEMPTS {
            let Some(puts) = self.puts(batch)? else {
                return Ok(());
            };
            match self.commit(puts).await {
                Ok(_) => return Ok(()),
                Err(failed) if failed.is_conflict() => {
                    self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
                    // One record is named; others may have changed as well.
                    for wanted in &mut *batch {
                        self.read(wanted).await?;
                    }
                }
                Err(failed) if failed.is_unknown => {
                    return Err(StoredRevokeError::Unknown(failed.error));
                }
                Err(failed) => return Err(StoredRevokeError::NotStored(failed.error)),
            }
        }
        Err(StoredRevokeError::Contended { attempts: ATTEMPTS })
    }

    /// Commits `batch`, and again under its name while it is not known what became of it.
    pub(super) async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let mut unknown = None;
        for _ in 0..=REPEATS {
            match self.store.commit(batch.clone()).await {
                Ok(committed) => return Ok(committed),
                // The name was looked at first, and is not known: the earlier attempts failed.
                Err(error @ StoreError::Conflict { .. }) => {
                    let is_unknown = false;
                    return Err(CommitError { error, is_unknown });
                }
                Err(error @ StoreError::OutcomeUnknown { .. }) => {
                    self.counts.repeats.fetch_add(1, Ordering::Relaxed);
                    unknown = Some(error);
                }
                // "Nothing was written" is said of this attempt, and not of the one before.
                Err(error) => {
                    let is_unknown = unknown.is_some();
                    let error = unknown.unwrap_or(error);
                    return Err(CommitError { error, is_unknown });
                }
            }
        }
        let error = unknown.unwrap_or(StoreError::Exhausted);
        let is_unknown = true;
        Err(CommitError { error, is_unknown })
    }

    /// Reads what is there of it, and takes it in.
    async fn read(&self, wanted: &mut Wanted) -> Result<(), StoredRevokeError> {
        let record = self.store.get(&wanted.key).await;
        wanted.found(record.map_err(StoredRevokeError::NotStored)?)
    }

    /// The batch that writes what is not there yet, if anything is not.
    fn puts(&self, batch: &[Wanted]) -> Result<Option<Batch>, StoredRevokeError> {
        let mut puts = Batch::new(self.intents.next());
        for wanted in batch.iter().filter(|wanted| !wanted.is_stored) {
            let expected = wanted.version.map_or(Expected::Absent, Expected::Version);
            let summary = record::summary(&wanted.revocation()?);
            let value = wanted.value.clone();
            puts = puts.put_with_summary(wanted.key.clone(), expected, value, summary);
        }
        Ok((!puts.operations().is_empty()).then_some(puts))
    }

    fn entries(&self, batch: &[Wanted]) -> Result<Vec<Entry>, StoredRevokeError> {
        let entry = |wanted: &Wanted| {
            let revocation = wanted.revocation()?;
            Ok(revocation.entry(&self.revocations.fingerprints))
        };
        batch.iter().map(entry).collect()
    }

    /// Nothing is written that memory has no room for, or the store would grow without a bound.
    fn check_room(&self, batch: &[Wanted]) -> Result<(), StoredRevokeError> {
        let stats = self.revocations.stats();
        let (entries, limit) = (stats.entries(), stats.capacity_limit());
        if entries.saturating_add(batch.len() as u64) <= limit {
            return Ok(());
        }
        let mut fresh = 0;
        for wanted in batch {
            fresh += u64::from(!self.is_known(wanted)?);
        }
        if fresh == 0 || entries.saturating_add(fresh) <= limit {
            return Ok(());
        }
        Err(StoredRevokeError::NoRoom(RevokeError::Full {
            entries,
            limit,
        }))
    }

    /// Whether memory has an entry of it, whatever its ends.
    fn is_known(&self, wanted: &Wanted) -> Result<bool, StoredRevokeError> {
        let revocation = wanted.revocation()?;
        let checked = self
            .revocations
            .check(revocation.target(), None, Timestamp::MIN);
        Ok(checked.is_err())
    }
}

impl CommitError {
    /// Whether a record was not as expected, so that nothing was written.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.error, StoreError::Conflict { .. })
    }
}

impl Wanted {
    fn new(revocation: &Revocation<'_>, ids: &Ids) -> Result<Self, StoredRevokeError> {
        let target = revocation.target();
        let value = record::encode(revocation);
        let value = value.map_err(|too_long| StoredRevokeError::FieldTooLong {
            kind: target.kind(),
            length: too_long.length,
        })?;
        Ok(Self {
            key: ids.key(target),
            value,
            version: None,
            is_stored: false,
        })
    }

    fn revocation(&self) -> Result<Revocation<'_>, StoredRevokeError> {
        record::decode(&self.value).map_err(|problem| self.malformed(problem))
    }

    /// The store has `record` of it.
    fn found(&mut self, record: Option<Record>) -> Result<(), StoredRevokeError> {
        self.version = record.as_ref().map(Record::version);
        self.is_stored = false;
        if let Some(record) = record {
            let held = record.value().as_bytes();
            self.unite(held)?;
            self.is_stored = self.value == held;
        }
        Ok(())
    }

    /// Makes it revoke all that `value` revokes, too.
    fn unite(&mut self, value: &[u8]) -> Result<(), StoredRevokeError> {
        let other = record::decode(value);
        let united = other.and_then(|other| {
            let one = record::decode(&self.value)?;
            let both = record::union(&one, &other)?;
            record::encode(&both).map_err(|_| RecordError::OtherTarget)
        });
        self.value = united.map_err(|problem| self.malformed(problem))?;
        Ok(())
    }

    fn malformed(&self, problem: RecordError) -> StoredRevokeError {
        StoredRevokeError::Record {
            key: self.key.clone(),
            problem,
        }
    }
}

/// How many of `wanted` make the next batch.
fn batch_len(wanted: &[Wanted]) -> usize {
    let mut bytes = 0;
    let fitting = wanted
        .iter()
        .take(MAX_BATCH_OPERATIONS)
        .take_while(|wanted| {
            let fits = bytes < BATCH_BYTES;
            bytes += wanted.value.len();
            fits
        });
    fitting.count()
}
