//! `SimDisk`: a disk in memory that records what is asked of it, fails on request, and tells what a
//! power cut may leave.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use m2m_store::Disk;

/// What can be torn off a write: less than this is written whole or not at all.
const SECTOR: usize = 512;
/// What a disk finds room for at once.
const BLOCK: usize = 4096;

/// A disk in memory. Its clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug)]
struct State {
    base: Vec<u8>,
    bytes: Vec<u8>,
    log: Vec<Event>,
    syncs: Syncs,
    synced: usize,
    faults: Option<Faults>,
    calls: usize,
    failed: usize,
    held: bool,
    // Which blocks have room of their own.
    taken: HashSet<usize>,
}

/// What a disk does when it is asked to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// It does.
    Honest,
    /// It says so.
    Lie,
    /// It does every other time.
    LieEveryOtherTime,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faults {
    /// From this call on, counted from 0 among those that the kind concerns.
    pub(crate) from: usize,
    /// So many of them.
    pub(crate) count: usize,
    pub(crate) kind: Fault,
    /// What a failed sync leaves of what was written before.
    pub(crate) keeps: bool,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `EIO`, whatever is asked.
    Io,
    /// `ENOSPC`, for writing where nothing was written before.
    NoSpace,
    /// `ENOSPC`, for each change, as where blocks are never written twice.
    NoSpaceAtAll,
    /// `EINTR`, for each change.
    Interrupted,
    /// A write stops half-way, with `ENOSPC`.
    Short,
    /// `EIO` for each sync.
    Sync,
}

#[derive(Clone, Debug)]
enum Event {
    Done(Change),
    Synced,
    SyncFailed { keeps: bool },
    Reached(usize),
}

/// What was asked of the disk.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Arc<[u8]> },
    Length(usize),
}

/// From one sync to the next: what survives for sure, what may, and what was promised at its end.
#[derive(Clone, Debug)]
pub(crate) struct Interval {
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// How far the program had come; see [`SimDisk::reached`].
    pub(crate) reached: usize,
}

impl SimDisk {
    /// A disk with these bytes on it, durable.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let blocks = bytes.chunks(BLOCK).enumerate();
        // Compared whole: byte by byte this takes most of the time of these tests.
        let taken = blocks.filter(|(_, block)| *block != &[0; BLOCK][..block.len()]);
        let taken = taken.map(|(number, _)| number).collect();
        let state = State {
            base: bytes.clone(),
            bytes,
            log: Vec::new(),
            syncs: Syncs::Honest,
            synced: 0,
            faults: None,
            calls: 0,
            failed: 0,
            held: false,
            taken,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub(crate) fn with_syncs(self, syncs: Syncs) -> Self {
        self.state().syncs = syncs;
        self
    }

    /// Fails from now on as `faults` say, counting anew.
    pub(crate) fn fail(&self, faults: Option<Faults>) {
        let mut state = self.state();
        state.faults = faults;
        state.calls = 0;
        state.failed = 0;
    }

    /// How many calls failed.
    pub(crate) fn failed(&self) -> usize {
        self.state().failed
    }

    /// The program has come so far: what it was told holds from here on.
    pub(crate) fn reached(&self, step: usize) {
        self.state().log.push(Event::Reached(step));
    }

    /// Lets no sync return until what this gives is released or dropped.
    pub(crate) fn hold(&self) -> Held {
        self.state().held = true;
        Held(self.clone())
    }

    /// What the system would read: also what is not durable.
    pub(crate) fn written(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// The time between each two syncs, from the beginning to now.
    pub(crate) fn intervals(&self) -> Vec<Interval> {
        let state = self.state();
        let mut all = Vec::new();
        let mut now = Interval {
            durable: state.base.clone(),
            pending: Vec::new(),
            reached: 0,
        };
        for event in &state.log {
            match event {
                Event::Done(change) => now.pending.push(change.clone()),
                Event::Reached(step) => now.reached = *step,
                Event::Synced | Event::SyncFailed { .. } => {
                    all.push(now.clone());
                    let kept = !matches!(event, Event::SyncFailed { keeps: false });
                    for change in now.pending.drain(..).filter(|_| kept) {
                        change.apply(&mut now.durable);
                    }
                }
            }
        }
        all.push(now);
        all
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }
}

/// A disk that does not sync meanwhile.
pub(crate) struct Held(SimDisk);

impl Held {
    pub(crate) fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().held = false;
        self.0.0.1.notify_all();
    }
}

impl State {
    /// Whether this call fails, and how.
    fn fault(&mut self, call: Call) -> Option<Fault> {
        let faults = self.faults?;
        if !faults.kind.concerns(call) {
            return None;
        }
        let number = self.calls;
        self.calls += 1;
        let fails = number >= faults.from && number - faults.from < faults.count;
        self.failed += usize::from(fails);
        fails.then_some(faults.kind)
    }

    fn needs_room(&self, from: usize, to: usize) -> bool {
        (from / BLOCK..to.div_ceil(BLOCK)).any(|block| !self.taken.contains(&block))
    }

    fn done(&mut self, change: Change) {
        match &change {
            Change::Length(length) => self.taken.retain(|block| block * BLOCK < *length),
            Change::Write { offset, bytes } => {
                let end = (offset + bytes.len()).div_ceil(BLOCK);
                self.taken.extend(offset / BLOCK..end);
            }
        }
        change.apply(&mut self.bytes);
        self.log.push(Event::Done(change));
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Len,
    Read,
    Write { needs_room: bool },
    SetLen,
    Sync,
}

impl Fault {
    fn concerns(self, call: Call) -> bool {
        match (self, call) {
            (Self::Io, _) => true,
            (_, Call::Len | Call::Read) => false,
            (Self::NoSpace, Call::Write { needs_room }) => needs_room,
            (Self::NoSpace, Call::SetLen | Call::Sync) => false,
            (Self::NoSpaceAtAll, call) => !matches!(call, Call::Sync),
            (Self::Interrupted, _) => true,
            (Self::Short, call) => matches!(call, Call::Write { .. }),
            (Self::Sync, call) => matches!(call, Call::Sync),
        }
    }

    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io | Self::Sync => 5,
            Self::NoSpace | Self::NoSpaceAtAll | Self::Short => 28,
            Self::Interrupted => 4,
        })
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => set_length(image, *length),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if image.len() < end {
                    set_length(image, end);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    /// What may remain of it when the power fails: each part up to or from a border of sectors.
    fn torn(&self) -> Vec<Self> {
        let Self::Write { offset, bytes } = self else {
            return Vec::new();
        };
        let end = offset + bytes.len();
        let borders = (offset / SECTOR + 1..).map(|sector| sector * SECTOR);
        let part = |from: usize, to: usize| Self::Write {
            offset: from,
            bytes: bytes[from - offset..to - offset].into(),
        };
        borders
            .take_while(|border| *border < end)
            .flat_map(|border| [part(*offset, border), part(border, end)])
            .collect()
    }
}

/// [`Vec::resize`] goes byte by byte where nothing is optimised.
fn set_length(image: &mut Vec<u8>, length: usize) {
    image.extend(vec![0; length.saturating_sub(image.len())]);
    image.truncate(length);
}

impl Interval {
    /// How many changes were not synced.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What a power cut may leave: each subset of what was not synced, and each of them with one
    /// write torn, if that is at most `limit` states; otherwise all subsets up to `limit`, and a
    /// sample of the rest, in which several may be torn.
    pub(crate) fn crashes(&self, limit: usize, random: &mut Random) -> Vec<Vec<u8>> {
        let count = self.pending.len();
        let mut seen = HashSet::new();
        let mut images = Vec::new();
        let mut add = |image: Vec<u8>| {
            if seen.insert(m2m_crypto::sha256(&image)) {
                images.push(image);
            }
        };
        let torn: Vec<Vec<Change>> = self.pending.iter().map(Change::torn).collect();
        let tears: usize = torn.iter().map(Vec::len).sum();
        let subsets = u32::try_from(count)
            .ok()
            .and_then(|n| 1_usize.checked_shl(n));
        // Each tear is met in half of the subsets.
        let all = subsets.and_then(|subsets| subsets.checked_mul(1 + tears / 2));
        let kept_whole = |kept: usize| {
            let part =
                |index: usize, change: &Change| (kept >> index & 1 == 1).then(|| change.clone());
            let parts = self.pending.iter().enumerate();
            parts
                .map(|(index, change)| part(index, change))
                .collect::<Vec<_>>()
        };
        if let Some(subsets) = subsets.filter(|subsets| *subsets <= limit) {
            for kept in 0..subsets {
                let parts = kept_whole(kept);
                add(self.image(&parts));
                if all.is_some_and(|all| all <= limit) {
                    for (index, _) in parts.iter().enumerate().filter(|(_, part)| part.is_some()) {
                        for tear in &torn[index] {
                            let mut parts = parts.clone();
                            parts[index] = Some(tear.clone());
                            add(self.image(&parts));
                        }
                    }
                }
            }
            if all.is_some_and(|all| all <= limit) {
                return images;
            }
        }
        // What happened up to each point, all that came later lost; and each lost alone.
        for index in 0..=count {
            let before =
                |(place, change): (usize, &Change)| (place < index).then(|| change.clone());
            let others =
                |(place, change): (usize, &Change)| (place != index).then(|| change.clone());
            add(self.image(
                &self
                    .pending
                    .iter()
                    .enumerate()
                    .map(before)
                    .collect::<Vec<_>>(),
            ));
            add(self.image(
                &self
                    .pending
                    .iter()
                    .enumerate()
                    .map(others)
                    .collect::<Vec<_>>(),
            ));
        }
        for _ in 0..limit {
            // Some lose nearly all, some nearly nothing.
            let (kept, torn_of_8) = (random.below(9), random.below(4));
            let part = |(index, change): (usize, &Change)| {
                if random.below(8) >= kept {
                    return None;
                }
                let tears = &torn[index];
                match random.below(8) < torn_of_8 && !tears.is_empty() {
                    true => Some(tears[random.below(tears.len())].clone()),
                    false => Some(change.clone()),
                }
            };
            let parts: Vec<_> = self.pending.iter().enumerate().map(part).collect();
            add(self.image(&parts));
        }
        images
    }

    /// What the death of the program leaves, after each change: all that it did.
    pub(crate) fn kills(&self) -> Vec<Vec<u8>> {
        let mut image = self.durable.clone();
        let mut images = vec![image.clone()];
        for change in &self.pending {
            change.apply(&mut image);
            images.push(image.clone());
        }
        images
    }

    fn image(&self, parts: &[Option<Change>]) -> Vec<u8> {
        let mut image = self.durable.clone();
        for change in parts.iter().flatten() {
            change.apply(&mut image);
        }
        image
    }
}

impl Disk for SimDisk {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        match state.fault(Call::Len) {
            Some(fault) => Err(fault.error()),
            None => Ok(state.bytes.len() as u64),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        if let Some(fault) = state.fault(Call::Read) {
            return Err(fault.error());
        }
        let offset = usize::try_from(offset).unwrap();
        let there = offset
            .checked_add(bytes.len())
            .and_then(|end| state.bytes.get(offset..end));
        bytes.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let offset = usize::try_from(offset).unwrap();
        let end = offset + bytes.len();
        let needs_room = state.needs_room(offset, end);
        let fault = state.fault(Call::Write { needs_room });
        let written = match fault {
            None => bytes,
            Some(Fault::Short) => &bytes[..bytes.len() / 2],
            Some(fault) => return Err(fault.error()),
        };
        let bytes = written.into();
        state.done(Change::Write { offset, bytes });
        match fault {
            Some(fault) => Err(fault.error()),
            None => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        let length = usize::try_from(len).unwrap();
        if let Some(fault) = state.fault(Call::SetLen) {
            return Err(fault.error());
        }
        state.done(Change::Length(length));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        while state.held {
            state = self.0.1.wait(state).unwrap();
        }
        if let Some(fault) = state.fault(Call::Sync) {
            let keeps = state.faults.is_some_and(|faults| faults.keeps);
            state.log.push(Event::SyncFailed { keeps });
            return Err(fault.error());
        }
        state.synced += 1;
        let happens = match state.syncs {
            Syncs::Honest => true,
            Syncs::Lie => false,
            Syncs::LieEveryOtherTime => state.synced.is_multiple_of(2),
        };
        if happens {
            state.log.push(Event::Synced);
        }
        Ok(())
    }
}

/// The same numbers each time (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(((self.next() >> 32) * bound as u64) >> 32).unwrap()
    }
}
