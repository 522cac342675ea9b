//! What the store's handle and its writer share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use m2m_crypto::SecureRandom;
use tokio::sync::{Semaphore, watch};

use super::EmbeddedOptions;
use super::backend::Aftermath;
use super::database::{Identity, Opened, contradiction, poisoned};
use super::failure::Failed;
use super::tables::Reading;
use crate::{Anchor, Committed, Cursor, Reason, Sealer, StoreError};

pub(super) struct Shared {
    /// [`None`] only when there is no going on.
    pub(super) opened: RwLock<Option<Opened>>,
    pub(super) store: [u8; 16],
    pub(super) sealer: Sealer,
    pub(super) random: Arc<dyn SecureRandom>,
    pub(super) anchor: Option<Arc<dyn Anchor>>,
    pub(super) head: watch::Sender<Cursor>,
    pub(super) cache_bytes: usize,
    pub(super) slots: Arc<Semaphore>,
    pub(super) room: Arc<Semaphore>,
    pub(super) counters: Counters,
    revival_asked_for: AtomicBool,
    broken: OnceLock<StoreError>,
}

/// What happened since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) last_commit_micros: AtomicU64,
    pub(super) slowest_commit_micros: AtomicU64,
}

impl Counters {
    pub(super) fn count(&self, answers: &[Result<Committed, StoreError>], took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        for answer in answers {
            let counter = match answer {
                Ok(_) => &self.commits,
                Err(StoreError::Conflict { .. } | StoreError::IdempotencyKeyReused { .. }) => {
                    &self.conflicts
                }
                Err(_) => &self.failures,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_commit_micros.store(micros, Ordering::Relaxed);
        self.slowest_commit_micros
            .fetch_max(micros, Ordering::Relaxed);
    }
}

impl Shared {
    /// How many batches may wait.
    pub(super) const SLOTS: u32 = 4_096;
    /// How many bytes of batches may wait.
    pub(super) const ROOM_BYTES: u32 = 64 << 20;

    pub(super) fn new(
        opened: Opened,
        identity: Identity,
        options: &EmbeddedOptions,
        head: Cursor,
    ) -> Self {
        Self {
            opened: RwLock::new(Some(opened)),
            store: identity.store,
            sealer: identity.sealer,
            random: Arc::clone(&options.random),
            anchor: options.anchor.clone(),
            head: watch::Sender::new(head),
            cache_bytes: options.cache_bytes,
            slots: Arc::new(Semaphore::new(Self::SLOTS as usize)),
            room: Arc::new(Semaphore::new(Self::ROOM_BYTES as usize)),
            counters: Counters::default(),
            revival_asked_for: AtomicBool::new(false),
            broken: OnceLock::new(),
        }
    }

    /// How many batches wait, or take part in a commit.
    pub(super) fn waiting(&self) -> usize {
        (Self::SLOTS as usize).saturating_sub(self.slots.available_permits())
    }

    /// Whether there is going on.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.broken.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn poison(&self, error: StoreError) {
        // The first reason is the one that counts.
        let _ = self.broken.set(error);
        // Whoever waits for changes is woken, and told.
        self.head.send_modify(|_| {});
    }

    pub(super) fn with_database<T>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreError::Poisoned {
            reason: Reason::new("the file could not be opened again"),
        };
        let opened = opened.as_ref().ok_or_else(closed)?;
        // Where debug assertions are on, redb panics at content that it did not write.
        let done = catch_unwind(AssertUnwindSafe(|| work(opened)));
        done.unwrap_or_else(|_| {
            opened.backend.give_up();
            Err(contradiction())
        })
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        self.check()?;
        self.with_database(|opened| work(&Reading::begin(opened.database(), &self.sealer)?))
            .map_err(Failed::into_read_error)
    }

    /// Whether redb has stopped at a failure and nobody has asked the writer yet to begin anew.
    pub(super) fn asks_for_revival(&self) -> bool {
        self.check().is_ok()
            && !self.is(Opened::is_sound)
            && !self.revival_asked_for.swap(true, Ordering::AcqRel)
    }

    /// Begins anew after a failure, so that at least reading goes on. If the disk cannot be written
    /// to now, says why.
    pub(super) fn revive(&self) -> Result<(), Failed> {
        self.revival_asked_for.store(false, Ordering::Release);
        let readable = self.is(Opened::is_sound);
        let disk = {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            opened.as_ref().map(Opened::disk)
        };
        let disk = disk.ok_or_else(|| Failed::Store(poisoned(Reason::new("it is closed"))))?;
        let open = |disk| Opened::open(disk, self.cache_bytes);
        if readable {
            // Those who read go on meanwhile.
            let opened = open(disk)?;
            self.replace(opened);
            return Ok(());
        }
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let failed = match open(Arc::clone(&disk)) {
            Ok(opened) => {
                *slot = Some(opened);
                return Ok(());
            }
            Err(failed) => failed,
        };
        // If not even this can be done, it is tried again when the next one writes or reads.
        if let Ok(opened) = Opened::open_to_read(disk, self.cache_bytes) {
            *slot = Some(opened);
        }
        Err(failed)
    }

    /// From now on this is read from and written to.
    pub(super) fn replace(&self, by: Opened) {
        let mut slot = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(by);
    }

    pub(super) fn is(&self, so: fn(&Opened) -> bool) -> bool {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().is_some_and(so)
    }

    pub(super) fn roll_back(&self) -> Aftermath {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        match opened.as_ref() {
            Some(opened) => opened.backend.roll_back(),
            None => Aftermath::Unknown,
        }
    }
}
