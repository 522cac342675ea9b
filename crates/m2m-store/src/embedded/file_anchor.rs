//! `FileAnchor`: an anchor in a small file, which belongs on another volume than the store.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use m2m_crypto::sha256;

use super::OpenError;
use super::file::{Existing, NewFile, failed, open_existing, sync_directory};
use crate::{Anchor, AnchorError, AnchorMark, Reason};

const MAGIC: &[u8; 16] = b"m2m-store anchor";
const CHECK_BYTES: usize = 32;
const FILE_BYTES: usize = MAGIC.len() + AnchorMark::BYTES + CHECK_BYTES;

/// An [`Anchor`] in a file, replaced whole each time. Put it where the store's backups and
/// snapshots do not reach: a copy of the volume that holds both sets both back.
///
/// Costs two syncs for each group of commits.
///
/// ```
/// use m2m_store::{Anchor, AnchorMark, Cursor, FileAnchor};
///
/// # let directory = tempfile::tempdir()?;
/// let anchor = FileAnchor::new(directory.path().join("state.anchor"));
/// assert_eq!(anchor.load()?, None);
/// let mark = AnchorMark::new([7; 16], Cursor::START);
/// anchor.advance(mark)?;
/// assert_eq!(anchor.load()?, Some(mark));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileAnchor {
    path: PathBuf,
}

impl FileAnchor {
    /// Remembers in the file at `path`, which is made when there is something to remember.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().into(),
        }
    }

    fn read(&self) -> Result<Option<AnchorMark>, OpenError> {
        let file = match open_existing(&self.path) {
            Err(OpenError::Missing { .. }) => return Ok(None),
            opened => opened?,
        };
        let mut bytes = Vec::new();
        let read = file
            .file()
            .take(FILE_BYTES as u64 + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| failed("read", &self.path, error))?;
        let mark = decode(&bytes).ok_or_else(|| OpenError::Corrupt {
            reason: Reason::new(format_args!("{} is no anchor", self.path.display())),
        })?;
        Ok(Some(mark))
    }

    fn write(&self, mark: AnchorMark) -> Result<(), OpenError> {
        let new = NewFile::create(&self.path)?;
        let written = new.file().file().write_all(&encode(mark));
        written.map_err(|error| failed("write", &self.path, error))?;
        new.name(Existing::Replace)?;
        sync_directory(&self.path)
    }
}

impl Anchor for FileAnchor {
    fn load(&self) -> Result<Option<AnchorMark>, AnchorError> {
        self.read()
            .map_err(|error| AnchorError::new(Reason::new(error)))
    }

    fn advance(&self, mark: AnchorMark) -> Result<(), AnchorError> {
        self.write(mark)
            .map_err(|error| AnchorError::new(Reason::new(error)))
    }
}

fn encode(mark: AnchorMark) -> Vec<u8> {
    let content = [MAGIC.as_slice(), &mark.to_bytes()].concat();
    let check = sha256(&content);
    [content.as_slice(), &check].concat()
}

fn decode(bytes: &[u8]) -> Option<AnchorMark> {
    if bytes.len() != FILE_BYTES {
        return None;
    }
    let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>()?;
    if *check != sha256(content) {
        return None;
    }
    AnchorMark::from_bytes(content.strip_prefix(MAGIC.as_slice())?)
}
