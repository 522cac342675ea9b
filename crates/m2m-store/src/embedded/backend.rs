//! What stands between redb and the disk: remembers the last durable header, and after a failure
//! puts it back, so that a commit that was reported as failed does not appear later.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::disk::Disk;

/// redb's header with its two commit slots. A commit becomes the newest when one byte in it changes
/// and is synced; all else is written beside what is there.
const HEADER_BYTES: usize = 320;

/// A [`Disk`] as redb sees it.
#[derive(Clone, Debug)]
pub(crate) struct Backend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    // As it is on the disk for sure, unless nothing was.
    durable: Option<[u8; HEADER_BYTES]>,
    current: [u8; HEADER_BYTES],
    // Nothing is written any more.
    stopped: bool,
    sync_failed: bool,
}

/// What is known after something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// The last durable state is the newest on the disk; a write failed.
    WriteFailed,
    /// The last durable state is the newest on the disk; a sync failed, so the system may believe
    /// to have written what it has not.
    SyncFailed,
    /// Nobody knows which state is the newest on the disk.
    Unknown,
}

impl Backend {
    /// Takes what is on `disk` as durable.
    pub(crate) fn new(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let mut current = [0; HEADER_BYTES];
        let there = disk.len()? >= HEADER_BYTES as u64;
        if there {
            disk.read(0, &mut current)?;
        }
        Ok(Self(Arc::new(Inner {
            disk,
            state: Mutex::new(State {
                durable: there.then_some(current),
                current,
                stopped: false,
                sync_failed: false,
            }),
        })))
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.0.disk)
    }

    /// Something failed: lets redb write nothing more, and makes sure that the disk's newest state
    /// is the one that was durable before.
    pub(crate) fn roll_back(&self) -> Aftermath {
        let mut state = self.state();
        state.stopped = true;
        let Some(durable) = state.durable else {
            return Aftermath::Unknown;
        };
        // Also where the header is as it was: after a failed sync nobody knows what the disk has.
        let restored = self
            .0
            .disk
            .write(0, &durable)
            .and_then(|()| self.0.disk.sync());
        match (restored, state.sync_failed) {
            (Err(_), _) => Aftermath::Unknown,
            (Ok(()), true) => Aftermath::SyncFailed,
            (Ok(()), false) => Aftermath::WriteFailed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let state = self.state();
        state.may_write()?;
        self.0.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        state.may_write()?;
        match self.0.disk.sync() {
            Ok(()) => {
                state.durable = Some(state.current);
                Ok(())
            }
            Err(error) => {
                state.stopped = true;
                state.sync_failed = true;
                Err(error)
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.may_write()?;
        self.0.disk.write(offset, data)?;
        state.note(offset, data);
        Ok(())
    }
}

impl State {
    fn may_write(&self) -> io::Result<()> {
        match self.stopped {
            true => Err(io::Error::other("stopped after an earlier failure")),
            false => Ok(()),
        }
    }

    fn note(&mut self, offset: u64, data: &[u8]) {
        let header = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.current.get_mut(offset..));
        for (there, new) in header.into_iter().flatten().zip(data) {
            *there = *new;
        }
    }
}
