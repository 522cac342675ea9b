//! What is done to a whole store: back up, compact, prune, give another outer key.

use std::path::Path;
use std::sync::Arc;

use redb::ReadableTable;
use tokio::sync::oneshot;

use super::database::{Opened, copy, poisoned};
use super::disk::FileDisk;
use super::failure::{Failed, corrupt};
use super::file::{Existing, NewFile, sync_directory};
use super::group::prune;
use super::tables::{DATA_KEY, META, Reading};
use super::writer::{Job, Writer};
use super::{EmbeddedStore, OpenError};
use crate::{Key, KeyEncryption, Reason, Revision, Sealer, StoreError};

/// How many tombstones are removed in one transaction: others wait that long.
const PRUNED_AT_ONCE: usize = 10_000;

impl EmbeddedStore {
    /// Copies one state of the store into a new file at `path`, while others read and write. The
    /// copy is sealed with the same keys and is a store itself.
    ///
    /// Blocks until the copy is durable. To go back to it, put it in the store's place and open it
    /// with [`danger_as_restored_copy`](crate::EmbeddedOptions::danger_as_restored_copy).
    ///
    /// # Errors
    ///
    /// [`OpenError::Exists`] if there is a file; see [`OpenError`] for the rest. No file remains.
    pub fn back_up(&self, path: impl AsRef<Path>) -> Result<Revision, OpenError> {
        let path = path.as_ref();
        let failed = |error| OpenError::from_failed(error, path);
        let new = NewFile::create(path)?;
        let disk = Arc::new(FileDisk::new(new.file()));
        let copied = self.shared.with_database(|opened| {
            let reading = Reading::begin(opened.database(), &self.shared.sealer)?;
            let to = Opened::create(disk, self.shared.cache_bytes)?;
            copy(reading.transaction(), &to)?;
            to.close()?;
            Ok(reading.marks()?.head)
        });
        let head = copied.map_err(failed)?;
        new.name(Existing::Refuse)?;
        sync_directory(path)?;
        Ok(head)
    }

    /// Rewrites the file without the room that nothing uses, by way of a second file beside it.
    /// Commits wait meanwhile; reads go on. Returns how many bytes the file had, and has.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the file is then as it was. [`StoreError::Unavailable`] on a disk that is no
    /// file.
    pub async fn compact(&self) -> Result<(u64, u64), StoreError> {
        let path = self.path.clone().ok_or_else(|| StoreError::Unavailable {
            reason: Reason::new("only a file can be compacted"),
        })?;
        self.between(move |writer| writer.compact(&path)).await
    }

    /// Forgets which records were deleted up to the revision `until`. Followers that have not come
    /// so far must reload ([`Changes::TooOld`](crate::Changes::TooOld)). Returns how many records
    /// were forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. Some may have been forgotten.
    pub async fn prune_tombstones(&self, until: Revision) -> Result<u64, StoreError> {
        let (mut forgotten, mut after) = (0, None);
        loop {
            let (pruned, last) = self
                .between(move |writer| writer.prune(until, after))
                .await?;
            forgotten += pruned as u64;
            match last {
                Some(last) => after = Some(last),
                None => return Ok(forgotten),
            }
        }
    }

    /// Wraps the data key with `new` instead of `old`. From when this returns, `old` opens the store
    /// no more. Values stay as they are; so do copies made before, which need `old`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if one of the two refuses; see [`StoreError`] for the rest.
    pub async fn change_outer_key(
        &self,
        old: Arc<dyn KeyEncryption>,
        new: Arc<dyn KeyEncryption>,
    ) -> Result<(), StoreError> {
        self.between(move |writer| writer.rewrap(old.as_ref(), new.as_ref()))
            .await
    }

    /// Has the writer do `work` between two commits.
    async fn between<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.shared.check()?;
        let (answer, answered) = oneshot::channel();
        let job = move |writer: &mut Writer| {
            let done = writer.be_ready().and_then(|()| work(writer));
            // Who no longer waits is not told.
            let _ = answer.send(done);
        };
        self.send(Job::Between(Box::new(job)))?;
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::OutcomeUnknown {
                reason: Reason::new("the writer is gone"),
            })
        })
    }
}

impl Writer {
    fn prune(
        &mut self,
        until: Revision,
        after: Option<Key>,
    ) -> Result<(usize, Option<Key>), StoreError> {
        let done = self.shared.with_database(|opened| {
            let transaction = opened.begin_write()?;
            let pruned = prune(&transaction, until, after.as_ref(), PRUNED_AT_ONCE)?;
            transaction.commit()?;
            Ok(pruned)
        });
        done.map_err(|failed| self.fail(failed))
    }

    fn rewrap(
        &mut self,
        old: &dyn KeyEncryption,
        new: &dyn KeyEncryption,
    ) -> Result<(), StoreError> {
        let store = self.shared.store;
        let done = self.shared.with_database(|opened| {
            let transaction = opened.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                let row = meta.get(DATA_KEY)?.map(|row| row.value().to_vec());
                let wrapped = row.ok_or_else(|| corrupt("the data key is missing"))?;
                let wrapped = Sealer::rewrap(store, old, new, &wrapped)?;
                meta.insert(DATA_KEY, wrapped.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        });
        done.map_err(|failed| self.fail(failed))
    }

    fn compact(&mut self, path: &Path) -> Result<(u64, u64), StoreError> {
        let not_done = |error: OpenError| StoreError::Unavailable {
            reason: Reason::new(error),
        };
        let new = NewFile::create(path).map_err(not_done)?;
        let disk = Arc::new(FileDisk::new(new.file()));
        let copied = self.shared.with_database(|opened| {
            let reading = Reading::begin(opened.database(), &self.shared.sealer)?;
            let to = Opened::create(disk, self.shared.cache_bytes)?;
            copy(reading.transaction(), &to)?;
            let sizes = (opened.disk().len()?, to.disk().len()?);
            Ok((to, sizes))
        });
        // The file in use was only read, so there is nothing to roll back.
        let (to, sizes) = copied.map_err(Failed::into_not_written)?;
        new.name(Existing::Replace).map_err(not_done)?;
        // From here on the name belongs to the copy, and what is written must go there.
        self.shared.replace(to);
        sync_directory(path).map_err(|error| {
            // After a power cut the name may be the old file's again, without what comes now.
            let reason = Reason::new(error);
            self.shared.poison(poisoned(reason.clone()));
            poisoned(reason)
        })?;
        Ok(sizes)
    }
}
