//! Revoking: into the store, then into memory, and only then acknowledged.

use std::sync::atomic::Ordering;

use m2m_store::{Batch, Committed, Expected, Store, StoreError};
use m2m_types::Timestamp;

use super::error::StoredRevokeError;
use super::item::{self, FieldTooLong, Item};
use super::segment::{self, SEGMENT_BYTES, Segment};
use super::young::{Open, YOUNG_BYTES};
use super::{StoredRevocations, load};
use crate::error::RevokeError;
use crate::target::{Revocation, Target};
use crate::term::Entry;

/// How often a segment is written elsewhere because there is another record in its place. The first
/// time it was merged by another node; a second time takes two equal numbers of 128 bits.
const ATTEMPTS: u32 = 4;
/// How often one batch is committed again while its outcome is not known. At once, since there is no
/// timer here; stores have timeouts of their own.
const REPEATS: u32 = 3;

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
    /// They are written some thousands at a time. If that fails, those before are revoked and those
    /// behind are not; call again with all of them.
    ///
    /// # Errors
    ///
    /// [`StoredRevokeError`], which is then true of some of them: do not say that they are revoked.
    pub async fn revoke_many<'a, I>(&self, revocations: I) -> Result<(), StoredRevokeError>
    where
        I: IntoIterator<Item = Revocation<'a>>,
    {
        let items = revocations.into_iter().map(|one| Item::of(&one));
        let mut items: Vec<Item<'a>> = items.collect::<Result<_, _>>()?;
        item::unite(&mut items);
        self.check_room(&items)?;
        let mut rest = items.as_slice();
        // Stored, and in memory as soon as that is worth a pass over what it has.
        let mut stored = Vec::new();
        while !rest.is_empty() {
            let (segment, taken, behind) = Segment::fill(rest, SEGMENT_BYTES);
            let outcome = self.store_segment(segment, taken).await;
            if let Ok(()) | Err(StoredRevokeError::Unknown(_)) = outcome {
                stored.extend(self.entries(taken));
            }
            rest = behind;
            let is_end = rest.is_empty() || outcome.is_err();
            let in_force = match is_end || stored.len() >= load::worth_a_pass(&self.revocations) {
                true => self.revocations.add_many(std::mem::take(&mut stored)),
                false => Ok(()),
            };
            outcome?;
            in_force.map_err(StoredRevokeError::NotInForce)?;
        }
        Ok(())
    }

    /// Writes `segment`, which holds `items`: at the end of a young one, or alone.
    async fn store_segment(
        &self,
        segment: Segment,
        items: &[Item<'_>],
    ) -> Result<(), StoredRevokeError> {
        let is_small = segment.len() <= YOUNG_BYTES;
        let mut young = is_small.then(|| self.young.take(items)).flatten();
        for _ in 0..ATTEMPTS {
            let (key, expected, segment) = match young.take() {
                Some(open) => (open.key.clone(), open.expected(), open.with(items)),
                None => {
                    let key = segment::key(segment.level(), self.ids.next());
                    (key, Expected::Absent, segment.clone())
                }
            };
            let batch = Batch::new(self.next_intent());
            let (value, summary) = (segment.value(), segment.summary());
            let batch = batch.put_with_summary(key.clone(), expected, value, summary);
            match self.commit(batch).await {
                Ok(committed) => {
                    let version = committed.revision();
                    let open = Open {
                        key,
                        version,
                        segment,
                    };
                    self.young.keep(open);
                    return Ok(());
                }
                Err(failed) if failed.is_conflict() => {
                    self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
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

    fn entries(&self, items: &[Item<'_>]) -> impl Iterator<Item = Entry> {
        let fingerprints = &self.revocations.fingerprints;
        items.iter().map(|item| item.entry(fingerprints))
    }

    /// Nothing is written that memory has no room for, or the store would grow without a bound.
    fn check_room(&self, items: &[Item<'_>]) -> Result<(), StoredRevokeError> {
        let stats = self.revocations.stats();
        let (entries, limit) = (stats.entries(), stats.capacity_limit());
        if entries.saturating_add(items.len() as u64) <= limit {
            return Ok(());
        }
        let state = self.revocations.state.load();
        let is_fresh = |entry: &Entry| state.find(entry.fingerprint).is_none();
        let fresh = self.entries(items).filter(is_fresh).count() as u64;
        if fresh == 0 || entries.saturating_add(fresh) <= limit {
            return Ok(());
        }
        Err(StoredRevokeError::NoRoom(RevokeError::Full {
            entries,
            limit,
        }))
    }
}

impl CommitError {
    /// Whether a record was not as expected, so that nothing was written.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.error, StoreError::Conflict { .. })
    }
}

impl From<FieldTooLong> for StoredRevokeError {
    fn from(FieldTooLong { kind, length }: FieldTooLong) -> Self {
        Self::FieldTooLong { kind, length }
    }
}
