//! `EmbeddedStore`: one sealed file, one writer, no server.

mod backend;
mod database;
mod disk;
mod drawn;
mod failure;
mod feed;
mod file;
mod file_anchor;
mod group;
mod maintain;
mod open;
mod open_error;
mod options;
mod overlay;
mod requests;
mod shared;
mod stats;
mod tables;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use disk::Disk;
pub use file_anchor::FileAnchor;
pub use open_error::OpenError;
pub use options::EmbeddedOptions;
pub use stats::{EmbeddedLoad, EmbeddedStats};

use crate::{
    Batch, Changes, Committed, Cursor, Key, Page, Reason, Record, Revision, Scan, Space, Store,
    StoreError, StoreFuture,
};
use failure::Failed;
use open::Restored;
use shared::Shared;
use tables::Reading;
use writer::{Job, Waiting};

/// Records in one file that only this process has open.
///
/// - **Durable and whole.** Commits are redb's two-phase ones; batches that wait at the same time
///   share one. When a commit cannot be made durable, the file is set back to the state before it,
///   so that what was refused does not appear later.
/// - **Sealed.** Values are encrypted and bound to store, key and revision; see
///   [`Sealer`](crate::Sealer). Keys of records and summaries are in the clear.
/// - **Private.** The file is 0600 whatever the umask; links, foreign owners and directories that
///   anyone may write to are refused.
/// - **Checked.** Opening reads every page (about a second for a gigabyte) and refuses what is
///   damaged. An older copy of the whole file is noticed where there is an
///   [`Anchor`](crate::Anchor).
///
/// Reading blocks for as long as the file takes, which is microseconds from the cache. Writing is
/// done by a thread of the store's own; its futures need no runtime. At most 4,096 batches and
/// 64 MiB wait; who comes later waits for room.
///
/// ```
/// use std::sync::Arc;
/// use m2m_crypto::{SecretBytes, SystemRandom};
/// use m2m_store::{
///     Batch, EmbeddedOptions, EmbeddedStore, Expected, IdempotencyKey, Key, LocalKey, Space, Store,
/// };
///
/// # pollster::block_on(async {
/// # let directory = tempfile::tempdir()?;
/// let path = directory.path().join("state.m2m");
/// let outer = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
/// let options = EmbeddedOptions::new(Arc::new(outer));
///
/// let store = EmbeddedStore::create(&path, &options)?;
/// let key = Key::new(&Space::new("secret")?, b"billing")?;
/// let batch = Batch::new(IdempotencyKey::generate(&SystemRandom)?);
/// store.commit(batch.put(key.clone(), Expected::Absent, b"v1".as_slice())).await?;
/// store.close()?;
///
/// let store = EmbeddedStore::open(&path, &options)?;
/// assert_eq!(store.get(&key).await?.expect("kept").value().as_bytes(), b"v1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    path: Option<std::path::PathBuf>,
    restored: Option<Restored>,
}

impl EmbeddedStore {
    /// From which revision on what was written is lost, if this was opened as a restored copy: the
    /// newest revision that the copy had, and the newest that its anchor had seen.
    pub fn restored_from(&self) -> Option<(Revision, Option<Revision>)> {
        let restored = self.restored.as_ref()?;
        Some((restored.found, restored.anchored))
    }

    /// Where the store is now.
    pub fn head(&self) -> Cursor {
        *self.shared.head.borrow()
    }

    /// Waits until all that was given to it is answered, and closes the file.
    ///
    /// # Errors
    ///
    /// What made the store unusable before, if something did.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.stop();
        self.shared.check()
    }

    fn stop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked answered nobody; each got an error of its own.
            let _ = writer.join();
        }
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        let read = self.shared.read(work);
        if read.is_err() && self.shared.asks_for_revival() {
            // If the writer is gone there is nobody who could.
            let _ = self.send(Job::Between(Box::new(|writer| {
                // Whoever reads next sees whether it helped.
                let _ = writer.be_ready();
            })));
        }
        read
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let gone = || StoreError::Poisoned {
            reason: Reason::new("the writer is gone"),
        };
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())
    }

    async fn room(&self, bytes: usize) -> Result<[OwnedSemaphorePermit; 2], StoreError> {
        // A batch is at most MAX_BATCH_BYTES, far less than there is room for.
        let bytes = u32::try_from(bytes)
            .unwrap_or(Shared::ROOM_BYTES)
            .clamp(1, Shared::ROOM_BYTES);
        let gone = |_| StoreError::Poisoned {
            reason: Reason::new("the store is closed"),
        };
        let take = |of: &Arc<Semaphore>, count| Arc::clone(of).acquire_many_owned(count);
        let slot = take(&self.shared.slots, 1).await.map_err(gone)?;
        let room = take(&self.shared.room, bytes).await.map_err(gone)?;
        Ok([slot, room])
    }

    async fn write(&self, batch: Batch) -> Result<Committed, StoreError> {
        batch.check_limits()?;
        self.shared.check()?;
        let room = self.room(batch.bytes()).await?;
        let fingerprint = self.shared.sealer.fingerprint(&batch)?;
        let (answer, answered) = oneshot::channel();
        self.send(Job::Commit(Waiting {
            batch,
            fingerprint,
            answer,
            _room: room,
        }))?;
        match answered.await {
            Ok((answer, _batch)) => answer,
            Err(_) => Err(StoreError::OutcomeUnknown {
                reason: Reason::new("the writer is gone"),
            }),
        }
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async { self.read(|reading| reading.get(key)) })
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(self.write(batch))
    }

    fn scan<'a>(&'a self, scan: &'a Scan) -> StoreFuture<'a, Page> {
        Box::pin(async { self.read(|reading| reading.scan(scan)) })
    }

    fn changes<'a>(
        &'a self,
        space: &'a Space,
        since: Cursor,
        limit: usize,
    ) -> StoreFuture<'a, Changes> {
        let read = move || self.read(|reading| reading.changes(space, since, limit));
        Box::pin(async move { read() })
    }

    fn changed(&self, since: Cursor) -> StoreFuture<'_, ()> {
        let mut head = self.shared.head.subscribe();
        Box::pin(async move {
            let behind = |head: &Cursor| {
                self.shared.check().is_err()
                    || head.incarnation() != since.incarnation()
                    || head.revision() > since.revision()
            };
            // The sender lives in `self`, which is borrowed.
            let _ = head.wait_for(behind).await;
            self.shared.check()
        })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.path)
            .field("head", &self.head().revision())
            .finish_non_exhaustive()
    }
}
