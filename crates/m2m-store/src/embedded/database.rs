//! Opening redb on a disk, laying out a new store in it, and copying one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use m2m_crypto::SecureRandom;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, WriteTransaction};

use super::backend::Backend;
use super::disk::Disk;
use super::failure::{Failed, corrupt};
use super::overlay::Overlay;
use super::tables::{
    BYTE_TABLES, DATA_KEY, FLOOR, FORMAT, HEAD, INCARNATION, META, REQUESTS, STORE, TOMBSTONES,
    read_bytes,
};
use crate::{KeyEncryption, Reason, Revision, Sealer, StoreError};

/// The layout of the tables. Raised whenever a program that knows less would misread it. In format 1
/// each change and each idempotency key was a row of its own; it was never released.
pub(super) const FORMAT_VERSION: u32 = 2;

/// How many rows are copied in one transaction.
const COPIED_AT_ONCE: usize = 10_000;

/// redb on a disk.
pub(crate) struct Opened {
    // There until it is closed.
    database: Option<Database>,
    pub(super) backend: Backend,
    /// If nothing can be written: where it could be.
    read_only_on: Option<Arc<dyn Disk>>,
}

impl Opened {
    /// Opens what is on `disk`, after checking every page of it.
    pub(super) fn open(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, Failed> {
        // redb would make a new database of it.
        if disk.is_empty()? {
            return Err(corrupt("the file is empty"));
        }
        Self::start(disk, cache_bytes)
    }

    /// Makes a new database on `disk`, which must be empty.
    pub(super) fn create(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, Failed> {
        if !disk.is_empty()? {
            return Err(corrupt("the file is not empty"));
        }
        Self::start(disk, cache_bytes)
    }

    /// [`Opened::open`] on a disk that takes nothing. What redb writes when it opens a file stays
    /// in memory.
    pub(super) fn open_to_read(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, Failed> {
        let overlay = Arc::new(Overlay::new(Arc::clone(&disk))?);
        let mut opened = Self::open(overlay, cache_bytes)?;
        opened.read_only_on = Some(disk);
        Ok(opened)
    }

    pub(super) fn database(&self) -> &Database {
        self.database.as_ref().expect("taken only to be dropped")
    }

    /// Whether it can be read from.
    pub(super) fn is_sound(&self) -> bool {
        !self.backend.has_failed()
    }

    /// Whether it can be written to.
    pub(super) fn is_writable(&self) -> bool {
        self.is_sound() && self.read_only_on.is_none()
    }

    /// What it is on.
    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        let disk = self.read_only_on.as_ref().map(Arc::clone);
        disk.unwrap_or_else(|| self.backend.disk())
    }

    /// Puts the file in order, and says whether that could be done.
    pub(super) fn close(mut self) -> Result<(), Failed> {
        match self.database.take() {
            Some(database) => Ok(database.close()?),
            None => Ok(()),
        }
    }

    fn start(disk: Arc<dyn Disk>, cache_bytes: usize) -> Result<Self, Failed> {
        let backend = Backend::new(disk)?;
        let given = backend.clone();
        let open = move || {
            Builder::new()
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(true)
                .create_with_backend(given)
        };
        // Where debug assertions are on, redb panics at content that it did not write.
        let opened = catch_unwind(AssertUnwindSafe(open));
        let opened = opened
            .map_err(|_| contradiction())
            .and_then(|opened| Ok(opened?));
        match opened {
            Ok(database) => Ok(Self {
                database: Some(database),
                backend,
                read_only_on: None,
            }),
            Err(failed) => {
                // What it did so far is not to be believed if a sync failed.
                let _ = backend.roll_back();
                Err(failed)
            }
        }
    }

    /// A transaction whose commit is durable when it returns, and whole or absent whatever happens
    /// before.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, Failed> {
        let mut transaction = self.database().begin_write()?;
        // One phase would trust a checksum that is not cryptographic, over content that strangers
        // have a part in.
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let database = self.database.take();
        // redb writes when it is dropped, and where debug assertions are on may panic as above.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(database)));
    }
}

pub(super) fn contradiction() -> Failed {
    corrupt("its pages contradict each other")
}

/// Which store it is, and the key of its values.
pub(super) struct Identity {
    pub(super) store: [u8; 16],
    pub(super) sealer: Sealer,
}

/// Lays out a new store.
pub(super) fn initialise(
    opened: &Opened,
    outer: &dyn KeyEncryption,
    random: &dyn SecureRandom,
) -> Result<Identity, Failed> {
    let store = draw(random)?;
    let (sealer, wrapped) = Sealer::create(store, outer, random)?;
    let transaction = opened.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let zero = 0_u64.to_be_bytes();
        let rows: [(&str, &[u8]); 7] = [
            (FORMAT, &FORMAT_VERSION.to_be_bytes()),
            (STORE, &store),
            (INCARNATION, &draw(random)?),
            (DATA_KEY, &wrapped),
            (HEAD, &zero),
            (FLOOR, &zero),
            (TOMBSTONES, &zero),
        ];
        for (name, value) in rows {
            meta.insert(name, value)?;
        }
        for table in BYTE_TABLES {
            transaction.open_table(table)?;
        }
        transaction.open_table(REQUESTS)?;
    }
    transaction.commit()?;
    Ok(Identity { store, sealer })
}

/// Why a file is not taken, besides being damaged.
pub(super) enum Refused {
    NewerFormat(u32),
    OlderFormat(u32),
    Failed(Failed),
}

/// Reads which store it is.
pub(super) fn identify(opened: &Opened, outer: &dyn KeyEncryption) -> Result<Identity, Refused> {
    let read = || -> Result<_, Failed> {
        let meta = opened.database().begin_read()?.open_table(META)?;
        let format = u32::from_be_bytes(read_bytes(&meta, FORMAT)?);
        Ok((meta, format))
    };
    let (meta, format) = read().map_err(Refused::Failed)?;
    if format > FORMAT_VERSION {
        return Err(Refused::NewerFormat(format));
    }
    if format == 0 {
        return Err(Refused::Failed(corrupt("its format is 0")));
    }
    if format < FORMAT_VERSION {
        return Err(Refused::OlderFormat(format));
    }
    let open = || -> Result<Identity, Failed> {
        let store = read_bytes(&meta, STORE)?;
        let row = meta.get(DATA_KEY)?;
        let wrapped = row.ok_or_else(|| corrupt("the data key is missing"))?;
        let sealer = Sealer::open_wrapped(store, outer, wrapped.value())?;
        Ok(Identity { store, sealer })
    };
    open().map_err(Refused::Failed)
}

/// Begins a new life: a new incarnation, at a revision that was never used.
pub(super) fn begin_incarnation(
    opened: &Opened,
    head: Revision,
    random: &dyn SecureRandom,
) -> Result<(), Failed> {
    let transaction = opened.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(INCARNATION, draw(random)?.as_slice())?;
        meta.insert(HEAD, head.number().to_be_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// Copies one state of `from` into the new `to`. Values stay sealed as they are.
pub(super) fn copy(from: &redb::ReadTransaction, to: &Opened) -> Result<(), Failed> {
    {
        let transaction = to.begin_write()?;
        let mut there = transaction.open_table(META)?;
        for row in from.open_table(META)?.iter()? {
            let (name, value) = row?;
            there.insert(name.value(), value.value())?;
        }
        let mut there_too = transaction.open_table(REQUESTS)?;
        for row in from.open_table(REQUESTS)?.iter()? {
            let (revision, key) = row?;
            there_too.insert(revision.value(), key.value())?;
        }
        drop((there, there_too));
        transaction.commit()?;
    }
    for table in BYTE_TABLES {
        let source = from.open_table(table)?;
        let mut rows = source.iter()?;
        loop {
            let transaction = to.begin_write()?;
            let mut copied = 0;
            {
                let mut there = transaction.open_table(table)?;
                for row in rows.by_ref().take(COPIED_AT_ONCE) {
                    let (key, value) = row?;
                    there.insert(key.value(), value.value())?;
                    copied += 1;
                }
            }
            transaction.commit()?;
            if copied < COPIED_AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}

fn draw(random: &dyn SecureRandom) -> Result<[u8; 16], Failed> {
    let mut bytes = [0; 16];
    let drawn = random.fill(&mut bytes);
    drawn.map_err(|_| Failed::Store(StoreError::Random))?;
    Ok(bytes)
}

/// The reason as a text, for a store that does nothing more.
pub(super) fn poisoned(reason: Reason) -> StoreError {
    StoreError::Poisoned { reason }
}
