//! Sealed secrets in a file: written whole and durable, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use m2m_store::KeyEncryption;

use super::{OpenSealedError, SealedFileError, open_sealed};
use crate::NamedSecret;

/// More than [`MAX_SEALED_SECRETS`](super::MAX_SEALED_SECRETS) of the usual size take.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Writes `sealed` to `path`: into a new file beside it, which is synchronised and then takes its place.
/// After a crash at any moment there is the old file or the new one. Nobody but its owner may read it.
///
/// A file that was left beside it by a crash is overwritten only if it is removed first: the error says
/// its name.
///
/// # Errors
///
/// [`SealedFileError`]; the old file is there then.
pub fn write_sealed_file(path: &Path, sealed: &[u8]) -> Result<(), SealedFileError> {
    let new = beside(path);
    let written = write_new(&new, sealed).and_then(|()| {
        fs::rename(&new, path).map_err(failed(path, "taking the old file's place"))?;
        sync_directory(path)
    });
    if let Err(SealedFileError::Io { step, .. }) = &written {
        if *step != CREATING {
            // What is left is sealed; nothing more can be done about it.
            let _ = fs::remove_file(&new);
        }
    }
    written
}

/// Reads and opens what [`write_sealed_file`] wrote.
///
/// # Errors
///
/// [`SealedFileError`].
pub fn read_sealed_file(
    path: &Path,
    outer: &dyn KeyEncryption,
) -> Result<Vec<NamedSecret>, SealedFileError> {
    let file = File::open(path).map_err(failed(path, "opening"))?;
    let found = file.metadata().map_err(failed(path, "reading"))?.len();
    if found > MAX_FILE_BYTES {
        let path = path.to_owned();
        return Err(SealedFileError::TooLarge { path, found });
    }
    let mut sealed = Vec::with_capacity(usize::try_from(found).unwrap_or_default());
    let mut limited = file.take(MAX_FILE_BYTES);
    limited
        .read_to_end(&mut sealed)
        .map_err(failed(path, "reading"))?;
    open_sealed(&sealed, outer).map_err(|error: OpenSealedError| SealedFileError::Sealed {
        path: path.to_owned(),
        error,
    })
}

const CREATING: &str = "creating it anew";

fn write_new(new: &Path, sealed: &[u8]) -> Result<(), SealedFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(new).map_err(failed(new, CREATING))?;
    file.write_all(sealed).map_err(failed(new, "writing"))?;
    file.sync_all().map_err(failed(new, "synchronising"))
}

fn sync_directory(path: &Path) -> Result<(), SealedFileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synchronised = File::open(directory).and_then(|directory| directory.sync_all());
    synchronised.map_err(failed(directory, "synchronising"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn failed<'p>(
    path: &'p Path,
    step: &'static str,
) -> impl FnOnce(io::Error) -> SealedFileError + 'p {
    move |source| SealedFileError::Io {
        path: path.to_owned(),
        step,
        source,
    }
}
