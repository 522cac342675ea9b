//! Files of a store on disk: private, ours, not links, made whole or not at all.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::OpenError;
use crate::Reason;

const PRIVATE: u32 = 0o600;

/// A file that is locked against everyone else, for as long as one of its clones is there.
#[derive(Clone, Debug)]
pub(crate) struct LockedFile(Arc<Locked>);

#[derive(Debug)]
struct Locked(File);

impl LockedFile {
    pub(crate) fn file(&self) -> &File {
        &self.0.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough: the lock is that of what was opened, and whoever starts a process
        // meanwhile has another descriptor of it until that process runs its program.
        let _ = self.0.unlock();
    }
}

/// Opens the store's file at `path` and locks it against everyone else.
pub(super) fn open_existing(path: &Path) -> Result<LockedFile, OpenError> {
    check_directory(path)?;
    let opened = options().read(true).write(true).open(path);
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing { path: path.into() },
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            not_a_file(path, "it is a symbolic link")
        }
        _ => failed("open", path, error),
    })?;
    check_file(path, &file)?;
    let file = lock(path, file)?;
    check_name(path, file.file())?;
    Ok(file)
}

/// A new file that gets the name `path` when it is whole.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    temporary: PathBuf,
    file: LockedFile,
}

/// Whether [`NewFile::name`] may take the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Refuse,
    Replace,
}

impl NewFile {
    /// Makes an empty, private, locked file beside `path`. What an interrupted run left there is
    /// removed; what another process is making is not.
    pub(super) fn create(path: &Path) -> Result<Self, OpenError> {
        check_directory(path)?;
        let name = path
            .file_name()
            .ok_or_else(|| not_a_file(path, "it names no file"))?;
        let mut temporary = name.to_owned();
        temporary.push(".unfinished");
        let temporary = path.with_file_name(temporary);
        let make = || {
            options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&temporary)
        };
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_abandoned(&temporary)?;
                make()
            }
            made => made,
        };
        let file = made.map_err(|error| failed("create", &temporary, error))?;
        // Before it is ours to remove: somebody else may have taken it for abandoned.
        let file = lock(&temporary, file)?;
        check_name(&temporary, file.file())?;
        let new = Self {
            path: path.into(),
            temporary,
            file,
        };
        // Whatever the umask said.
        let private = Permissions::from_mode(PRIVATE);
        let private = new.file.file().set_permissions(private);
        private.map_err(|error| failed("make private", &new.temporary, error))?;
        Ok(new)
    }

    pub(super) fn file(&self) -> LockedFile {
        self.file.clone()
    }

    /// Syncs it and gives it its name. The name survives a power cut after [`sync_directory`].
    pub(super) fn name(mut self, existing: Existing) -> Result<(), OpenError> {
        let synced = self.file.file().sync_all();
        synced.map_err(|error| failed("sync", &self.temporary, error))?;
        match existing {
            Existing::Replace => std::fs::rename(&self.temporary, &self.path),
            Existing::Refuse => rename_to_new(&self.temporary, &self.path),
        }
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenError::Exists {
                path: self.path.clone(),
            },
            _ => failed("name", &self.path, error),
        })?;
        self.temporary = PathBuf::new();
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // Still locked, so it is this one. What cannot be removed now is when the next one is
            // made.
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = directory(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("sync the directory of", path, error))
}

pub(super) fn failed(what: &'static str, path: &Path, error: io::Error) -> OpenError {
    OpenError::Io {
        what,
        path: path.into(),
        reason: Reason::new(error),
    }
}

fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can. A link is refused where something is, too.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => renamed.map_err(io::Error::from),
    }
}

fn remove_abandoned(temporary: &Path) -> Result<(), OpenError> {
    let opened = options().read(true).write(true).open(temporary);
    let file = opened.map_err(|error| failed("open", temporary, error))?;
    check_file(temporary, &file)?;
    // Held while it is removed: nobody begins to use it in between.
    let file = lock(temporary, file)?;
    check_name(temporary, file.file())?;
    std::fs::remove_file(temporary).map_err(|error| failed("remove", temporary, error))
}

/// Follows no link, waits for no FIFO, is not inherited, and is private whatever the umask.
fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options
        .mode(PRIVATE)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

fn check_file(path: &Path, file: &File) -> Result<(), OpenError> {
    let metadata = file
        .metadata()
        .map_err(|error| failed("look at", path, error))?;
    if !metadata.is_file() {
        return Err(not_a_file(path, "it is a directory, a device or a FIFO"));
    }
    // None at all: it was replaced a moment ago, which `check_name` tells.
    if metadata.nlink() > 1 {
        return Err(not_a_file(path, "it has another name too (a hard link)"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_a_file(path, "it belongs to someone else"));
    }
    match metadata.mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(OpenError::NotPrivate {
            path: path.into(),
            mode,
        }),
    }
}

fn check_directory(path: &Path) -> Result<(), OpenError> {
    let directory = directory(path);
    let metadata = std::fs::metadata(directory);
    let mode = metadata
        .map_err(|error| failed("look at the directory of", path, error))?
        .mode();
    const STICKY: u32 = 0o1000;
    match mode & 0o002 != 0 && mode & STICKY == 0 {
        true => Err(OpenError::NotPrivate {
            path: directory.into(),
            mode: mode & 0o7777,
        }),
        false => Ok(()),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn lock(path: &Path, file: File) -> Result<LockedFile, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(LockedFile(Arc::new(Locked(file)))),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(failed("lock", path, error)),
    }
}

/// What was locked must still be what the name stands for: before the lock was had, another process
/// may have put another file in its place, and work on that.
fn check_name(path: &Path, file: &File) -> Result<(), OpenError> {
    let same = |found: std::fs::Metadata, opened: std::fs::Metadata| {
        (found.dev(), found.ino()) == (opened.dev(), opened.ino())
    };
    let named = std::fs::symlink_metadata(path);
    let same = named.and_then(|named| Ok(same(named, file.metadata()?)));
    match same {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Locked { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(OpenError::Locked { path: path.into() })
        }
        Err(error) => Err(failed("look at", path, error)),
    }
}

fn not_a_file(path: &Path, what: &'static str) -> OpenError {
    OpenError::NotAFile {
        path: path.into(),
        what,
    }
}
