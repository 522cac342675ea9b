//! What stands between redb and the disk: remembers the last durable header, and after a failure
//! puts it back, so that a commit that was reported as failed does not appear later.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::disk::Disk;
use super::failure::{Failed, corrupt};

/// redb's header with its two commit slots. A commit becomes the newest when one byte in it changes
/// and is synced; all else is written beside what is there.
const HEADER_BYTES: usize = 320;
/// What redb's header begins with.
const MAGIC: &[u8; 9] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// The byte that says, above all, which slot holds the newest commit.
const FLAGS: usize = 9;
/// The slot, in [`FLAGS`].
const SECOND_SLOT: u8 = 1;
/// Whether the file was not closed in order, so that its layout is told by its length, in [`FLAGS`].
const UNCLOSED: u8 = 2;
/// Which redb pads with zero. The complement of [`FLAGS`] stands here: no checksum covers that
/// byte, and a bit turned over in it would bring an older commit back.
const FLAGS_INVERTED: usize = 10;
/// What redb knows of the layout of a file that was closed in order.
const LAYOUT: std::ops::Range<usize> = 24..64;
const SLOT_BYTES: usize = 128;

type Header = [u8; HEADER_BYTES];

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
    durable: Option<Header>,
    current: Header,
    // What was written since may name another commit as the newest.
    moved: bool,
    // Nothing is written any more.
    stopped: bool,
    // redb was told of a failure, so it does nothing any more.
    failed: bool,
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
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Result<Self, Failed> {
        let mut current = [0; HEADER_BYTES];
        let there = disk.len()? >= HEADER_BYTES as u64;
        if there {
            disk.read(0, &mut current)?;
        }
        // Without its beginning redb refuses it.
        if current.starts_with(MAGIC) && !flags_are_sound(&current) {
            return Err(corrupt("its first bytes contradict each other"));
        }
        Ok(Self(Arc::new(Inner {
            disk,
            state: Mutex::new(State {
                durable: there.then_some(current),
                current,
                moved: false,
                stopped: false,
                failed: false,
                sync_failed: false,
            }),
        })))
    }

    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.0.disk)
    }

    /// Whether redb does nothing any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// redb cannot be trusted to go on.
    pub(crate) fn give_up(&self) {
        self.state().failed = true;
    }

    /// Something failed: lets redb write nothing more, and makes sure that the disk's newest state
    /// is the one that was durable before.
    pub(crate) fn roll_back(&self) -> Aftermath {
        let mut state = self.state();
        state.stopped = true;
        state.failed = true;
        let Some(durable) = state.durable else {
            return Aftermath::Unknown;
        };
        if state.moved {
            // Also after a failed sync, when nobody knows what the disk has.
            let restored = self.0.disk.write(0, &durable);
            if restored.and_then(|()| self.0.disk.sync()).is_err() {
                return Aftermath::Unknown;
            }
            state.moved = false;
        }
        match state.sync_failed {
            true => Aftermath::SyncFailed,
            false => Aftermath::WriteFailed,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.is_err() {
            self.state().failed = true;
        }
        done
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.reading(self.0.disk.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.reading(self.0.disk.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state().change(|| self.0.disk.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        let synced = state.change(|| self.0.disk.sync());
        match synced {
            Ok(()) => {
                state.durable = Some(state.current);
                state.moved = false;
            }
            Err(_) => {
                state.stopped = true;
                state.sync_failed = true;
            }
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset >= HEADER_BYTES as u64 {
            return state.change(|| self.0.disk.write(offset, data));
        }
        let mut data = data.to_vec();
        let next = state.with(offset, &mut data);
        // Before it is written: when that fails, some of it may have been.
        state.moved |= state
            .durable
            .is_none_or(|durable| !names_the_same(&durable, &next));
        state.change(|| self.0.disk.write(offset, &data))?;
        state.current = next;
        Ok(())
    }
}

impl State {
    fn change(&mut self, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let done = match self.stopped {
            true => Err(io::Error::other("stopped after an earlier failure")),
            false => change(),
        };
        self.failed |= done.is_err();
        done
    }

    /// The header when `data` has been written at `offset`. Completes `data` by what redb does not
    /// write.
    fn with(&self, offset: u64, data: &mut [u8]) -> Header {
        let mut next = self.current;
        let offset = usize::try_from(offset).unwrap_or(HEADER_BYTES);
        for (there, new) in next.iter_mut().skip(offset).zip(data.iter()) {
            *there = *new;
        }
        let [.., flags, inverted] = first_bytes_mut(&mut next);
        *inverted = !*flags;
        let inverted = *inverted;
        let place = FLAGS_INVERTED.checked_sub(offset);
        if let Some(byte) = place.and_then(|place| data.get_mut(place)) {
            *byte = inverted;
        }
        next
    }
}

fn first_bytes_mut(header: &mut Header) -> &mut [u8; FLAGS_INVERTED + 1] {
    let (first, _) = header.split_first_chunk_mut().expect("a header is longer");
    first
}

fn flags_are_sound(header: &Header) -> bool {
    let (first, _) = header
        .split_first_chunk::<{ FLAGS_INVERTED + 1 }>()
        .expect("a header is longer");
    let [.., flags, inverted] = first;
    *inverted == !flags
}

/// Whether the newest commit is the same in both, whatever part of `next` stands in the place of
/// `durable`: they differ only in the slot that is not in use, and in what is not read.
fn names_the_same(durable: &Header, next: &Header) -> bool {
    let flags = durable.get(FLAGS).copied().unwrap_or_default();
    let slot = LAYOUT.end + SLOT_BYTES * usize::from(flags & SECOND_SLOT);
    let same = |part: std::ops::Range<usize>| durable.get(part.clone()) == next.get(part);
    let layout_is_read = flags & UNCLOSED == 0;
    same(0..LAYOUT.start) && same(slot..slot + SLOT_BYTES) && (!layout_is_read || same(LAYOUT))
}
