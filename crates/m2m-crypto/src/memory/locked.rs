//! `LockedArena`: pages of their own for secrets, which the kernel is asked to keep out of swap, core
//! dumps and forked processes; and which says what the kernel refused.

#![allow(
    unsafe_code,
    reason = "the kernel is asked for pages, and asked about them, by address"
)]

use std::ffi::c_void;
use std::fmt;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::Zeroize;

use crate::SecretBytes;

/// The most bytes of a [`LockedArena`].
pub const MAX_ARENA_BYTES: usize = 1 << 30;

/// The first byte of each arena. It is zero in a process that was forked, where all of it is.
const HERE: u8 = 0xa5;
/// So that slots do not share a cache line.
const SLOT_ALIGNMENT: usize = 64;

/// Secrets in pages of their own: locked into memory, left out of core dumps, and empty in forked
/// processes. Overwritten and given back when dropped.
///
/// Nothing is pretended: [`LockedArena::new`] fails if the kernel refuses one of the three, and an arena
/// of [`LockedArena::best_effort`] says which. How much may be locked is limited (`ulimit -l`, often 8
/// MiB), so put all secrets into one arena. It does not grow, and slots are not given back one by one.
///
/// What it does not do: a secret was somewhere else before it came here, and whoever works with it may
/// copy it to a stack or a register; a hibernating machine writes all memory to its disk.
///
/// ```
/// use m2m_crypto::{LockedArena, SecretBytes};
///
/// let mut arena = LockedArena::best_effort(4096)?;
/// for refused in arena.refused() {
///     eprintln!("secrets are less protected than they could be: {refused}");
/// }
/// let slot = arena.insert(&SecretBytes::from(&[7; 32][..])).expect("there is room");
/// assert_eq!(arena.expose_secret(slot), Some(&[7; 32][..]));
/// # Ok::<(), m2m_crypto::ArenaError>(())
/// ```
pub struct LockedArena {
    /// Of a private, anonymous mapping of `size` bytes that nobody else has.
    start: NonNull<u8>,
    size: usize,
    used: usize,
    refused: Vec<ArenaError>,
}

/// Where a secret lies in its arena. In another arena it names another secret, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockedSlot {
    at: usize,
    length: usize,
}

/// What the kernel refused. The numbers are those of `errno`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ArenaError {
    /// No bytes, or more than [`MAX_ARENA_BYTES`].
    #[error("an arena has 1 to {MAX_ARENA_BYTES} bytes; {asked} were asked for")]
    Size {
        /// How many.
        asked: usize,
    },
    /// There are no pages.
    #[error("the kernel gave no memory (errno {errno})")]
    Map {
        /// Why.
        errno: i32,
    },
    /// The pages may be written to swap (mlock). The limit is `ulimit -l`.
    #[error(
        "the kernel does not lock the memory, so it may be swapped out (errno {errno}; see `ulimit -l`)"
    )]
    Lock {
        /// Why.
        errno: i32,
    },
    /// The pages are in core dumps (MADV_DONTDUMP).
    #[error("the kernel does not keep the memory out of core dumps (errno {errno})")]
    DontDump {
        /// Why.
        errno: i32,
    },
    /// Forked processes have the pages too (MADV_WIPEONFORK).
    #[error("the kernel does not wipe the memory in forked processes (errno {errno})")]
    WipeOnFork {
        /// Why.
        errno: i32,
    },
}

impl LockedArena {
    /// An arena for `bytes`, rounded up to whole pages, wholly protected.
    ///
    /// # Errors
    ///
    /// [`ArenaError`]: the first thing that the kernel refused.
    pub fn new(bytes: usize) -> Result<Self, ArenaError> {
        let arena = Self::best_effort(bytes)?;
        match arena.refused.first() {
            None => Ok(arena),
            Some(refused) => Err(*refused),
        }
    }

    /// An arena as well protected as the kernel allows; [`LockedArena::refused`] says what it does not.
    ///
    /// # Errors
    ///
    /// [`ArenaError::Size`], [`ArenaError::Map`].
    pub fn best_effort(bytes: usize) -> Result<Self, ArenaError> {
        let size_error = ArenaError::Size { asked: bytes };
        if !(1..=MAX_ARENA_BYTES).contains(&bytes) {
            return Err(size_error);
        }
        let page = rustix::param::page_size();
        let size = (SLOT_ALIGNMENT + bytes).next_multiple_of(page);
        // SAFETY: a null address lets the kernel choose, so no memory that is in use is replaced; the
        // length is not zero.
        let mapped = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let mapped = mapped.map_err(|error| ArenaError::Map {
            errno: error.raw_os_error(),
        })?;
        let start = NonNull::new(mapped.cast()).ok_or(size_error)?;
        let mut arena = Self {
            start,
            size,
            used: SLOT_ALIGNMENT,
            refused: Vec::new(),
        };
        arena.protect(mapped);
        if let Some(first) = arena.bytes_mut().first_mut() {
            *first = HERE;
        }
        Ok(arena)
    }

    fn protect(&mut self, mapped: *mut c_void) {
        let size = self.size;
        // SAFETY: the range is exactly that of the mapping this arena alone has, and begins at a page.
        // Locking changes no content. Leaving pages out of dumps and giving forked processes zeroes
        // changes nothing for this process; what a forked one reads is any byte, which is valid for u8.
        let (locked, dumped, forked) = unsafe {
            (
                mlock(mapped, size),
                madvise(mapped, size, Advice::LinuxDontDump),
                madvise(mapped, size, Advice::LinuxWipeOnFork),
            )
        };
        let mut note = |answer: Result<(), Errno>, refused: fn(i32) -> ArenaError| {
            let errno = answer.err().map(Errno::raw_os_error);
            self.refused.extend(errno.map(refused));
        };
        note(locked, |errno| ArenaError::Lock { errno });
        note(dumped, |errno| ArenaError::DontDump { errno });
        note(forked, |errno| ArenaError::WipeOnFork { errno });
    }

    /// Copies `secret` to where it is protected; [`None`] if there is no room, or this process was forked
    /// from the one that made the arena. The original is the caller's to drop.
    pub fn insert(&mut self, secret: &SecretBytes) -> Option<LockedSlot> {
        if !self.is_here() {
            return None;
        }
        let secret = secret.expose_secret();
        let (at, length) = (self.used, secret.len());
        let end = at.checked_add(length)?;
        self.bytes_mut().get_mut(at..end)?.copy_from_slice(secret);
        self.used = end.next_multiple_of(SLOT_ALIGNMENT).min(self.size);
        Some(LockedSlot { at, length })
    }

    /// The secret at `slot`; [`None`] if it is a slot of another arena, or if this process was forked from
    /// the one that made the arena: there are only zeroes here then, and zeroes are nobody's key.
    pub fn expose_secret(&self, slot: LockedSlot) -> Option<&[u8]> {
        let end = slot.at.checked_add(slot.length)?;
        let bytes = self.bytes().get(slot.at..end)?;
        (self.is_here() && end <= self.used.max(SLOT_ALIGNMENT)).then_some(bytes)
    }

    /// What the kernel refused. Nothing if all is protected.
    pub fn refused(&self) -> &[ArenaError] {
        &self.refused
    }

    /// How many bytes are left.
    pub fn room(&self) -> usize {
        self.size - self.used
    }

    fn is_here(&self) -> bool {
        self.bytes().first() == Some(&HERE)
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `size` bytes long, filled with zeroes by the kernel and given
        // back by `drop` alone; nobody writes while this borrow of the arena lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable too, and this borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

// SAFETY: the mapping belongs to this value alone, and no thread-bound state goes with it.
unsafe impl Send for LockedArena {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for LockedArena {}

impl Drop for LockedArena {
    fn drop(&mut self) {
        let used = self.used;
        self.bytes_mut()
            .get_mut(..used)
            .unwrap_or_default()
            .zeroize();
        // SAFETY: the range is exactly that of the mapping, which is not used again: this is `drop`, and
        // all references to it borrowed the arena. If the kernel refuses then the pages stay, wiped.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
    }
}

impl fmt::Debug for LockedArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedArena")
            .field("bytes", &self.size)
            .field("used", &self.used)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
