//! `Disk`: the four things a store asks of what it writes to; `FileDisk` is a file.

use std::fmt::Debug;
use std::io;

use super::file::LockedFile;

/// Bytes that can be read, written, cut and made durable.
///
/// [`EmbeddedStore::open`](crate::EmbeddedStore::open) uses a file. Another one is for tests, which
/// make it fail, or lose what was not synced.
pub trait Disk: Debug + Send + Sync + 'static {
    /// How many bytes there are.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills `bytes` from `offset` on, all of them.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if there are not that many, or what the system says.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// What the system says. Some may have been written.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes it `len` bytes long. New ones are zero.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written before survives a power cut.
    ///
    /// # Errors
    ///
    /// What the system says; from then on nothing it says about what was written before can be
    /// believed.
    fn sync(&self) -> io::Result<()>;
}

/// A file.
#[derive(Debug)]
pub(crate) struct FileDisk(LockedFile);

impl FileDisk {
    pub(crate) fn new(file: LockedFile) -> Self {
        Self(file)
    }
}

#[cfg(unix)]
impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        self.0.file().metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self.0.file(), bytes, offset)
    }

    // Goes on after a short write and after EINTR.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self.0.file(), bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.file().set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.file().sync_data()
    }
}
