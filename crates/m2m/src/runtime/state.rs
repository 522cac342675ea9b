//! The state directory: private, used by one process, with the store in it and the key that opens it.
//!
//! ```text
//! state/            0700, ours
//!   outer.key       0600, 32 bytes; not there if the application has an outer key of its own
//!   state.m2m       0600, the store, sealed
//!   state.anchor    0600, how far the store had come
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2m_crypto::{SecretBytes, SecureRandom};
use m2m_store::{
    Anchor, EmbeddedOptions, EmbeddedStore, FileAnchor, KeyEncryption, LocalKey, OpenError, Reason,
};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Why the state directory was not opened. Nothing in it was changed, unless it was empty.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Others may read or change what is in it.
    #[error(
        "{shown} has mode {mode:o}, so others can get at what is in it; find out who did, then `chmod {wanted:o} {shown}`",
        shown = path.display()
    )]
    NotPrivate {
        /// The directory, or the key in it.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they have to be.
        wanted: u32,
    },
    /// It belongs to another user of this machine.
    #[error("{} belongs to user {owner}, and this process is user {user}", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// It is not a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// Which.
        path: PathBuf,
    },
    /// Another process, or another runtime in this one, uses it.
    #[error("{} is in use by another process; each process needs a directory of its own", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// There is a store, and not the key that opens it.
    #[error("{} is missing, and without it nobody can read the store beside it; put it back", path.display())]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// What should be the key is none.
    #[error("{} is not a key of {} bytes in a plain file; put the right one back", path.display(), LocalKey::BYTES)]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// There was a store, and it is gone. An empty one in its place would forget every revocation.
    #[error("{} is missing, though there was a store; restore it, or begin with an empty directory", path.display())]
    StoreMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The store was not opened.
    #[error("{0}")]
    Store(OpenError),
    /// The system did not let us.
    #[error("cannot {what} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        reason: Reason,
    },
}

/// With what a state directory is opened.
pub(super) struct StateOptions {
    /// The application's own outer key; without one, a file.
    pub(super) outer: Option<Arc<dyn KeyEncryption>>,
    /// The application's own anchor; without one, a file beside the store.
    pub(super) anchor: Option<Arc<dyn Anchor>>,
}

const KEY: &str = "outer.key";
const STORE: &str = "state.m2m";
const ANCHOR: &str = "state.anchor";

/// Opens the store in `directory`, or makes both.
pub(super) fn open(
    directory: &Path,
    options: StateOptions,
    random: &dyn SecureRandom,
) -> Result<EmbeddedStore, StateError> {
    make_private(directory)?;
    let (store, anchor) = (directory.join(STORE), directory.join(ANCHOR));
    let is_new = !exists(&store)?;
    if is_new && options.anchor.is_none() && exists(&anchor)? {
        return Err(StateError::StoreMissing { path: store });
    }
    let outer = match options.outer {
        Some(outer) => outer,
        None => Arc::new(outer_key(&directory.join(KEY), is_new, random)?),
    };
    let anchor = options
        .anchor
        .unwrap_or_else(|| Arc::new(FileAnchor::new(anchor)));
    let options = EmbeddedOptions::new(outer).with_anchor(anchor);
    let opened = match is_new {
        true => EmbeddedStore::create(&store, &options),
        false => EmbeddedStore::open(&store, &options),
    };
    opened.map_err(|error| match error {
        // Somebody else was quicker, and has it.
        OpenError::Locked { .. } | OpenError::Exists { .. } => StateError::InUse {
            path: directory.into(),
        },
        error => StateError::Store(error),
    })
}

pub(super) fn make_private(directory: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().mode(0o700).create(directory);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(io("create", directory, &error));
        }
        _ => {}
    }
    let metadata =
        std::fs::metadata(directory).map_err(|error| io("look at", directory, &error))?;
    if !metadata.is_dir() {
        return Err(StateError::NotADirectory {
            path: directory.into(),
        });
    }
    check_private(directory, &metadata, 0o700)
}

fn check_private(path: &Path, metadata: &std::fs::Metadata, wanted: u32) -> Result<(), StateError> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        return Err(StateError::NotOurs {
            path: path.into(),
            owner,
            user,
        });
    }
    let mode = metadata.mode() & 0o7777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(StateError::NotPrivate {
            path: path.into(),
            mode,
            wanted,
        }),
    }
}

/// The key in the file, made if there is none and nothing that it would have to open.
fn outer_key(path: &Path, is_new: bool, random: &dyn SecureRandom) -> Result<LocalKey, StateError> {
    if !exists(path)? {
        if !is_new {
            return Err(StateError::KeyMissing { path: path.into() });
        }
        make_key(path, random)?;
    }
    read_key(path)
}

/// The key appears whole, and never in the place of another: two processes that begin together end up
/// with the same one.
fn make_key(path: &Path, random: &dyn SecureRandom) -> Result<(), StateError> {
    let key = SecretBytes::random(LocalKey::BYTES, random).map_err(|error| StateError::Io {
        what: "draw a key for",
        path: path.into(),
        reason: Reason::new(error),
    })?;
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    // What a process of the same number left here when it died.
    let _ = std::fs::remove_file(&unfinished);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(key.expose_secret())?;
        file.sync_all()?;
        match std::fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let written = write();
    let _ = std::fs::remove_file(&unfinished);
    written.map_err(|error| io("write", path, &error))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io("sync", directory, &error))
}

fn read_key(path: &Path) -> Result<LocalKey, StateError> {
    let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(no_link)
        .open(path);
    let file = opened.map_err(|error| io("open", path, &error))?;
    let metadata = file
        .metadata()
        .map_err(|error| io("look at", path, &error))?;
    check_private(path, &metadata, 0o600)?;
    let not_a_key = || StateError::NotAKey { path: path.into() };
    if !metadata.is_file() || metadata.len() != LocalKey::BYTES as u64 {
        return Err(not_a_key());
    }
    let mut key = Zeroizing::new([0; LocalKey::BYTES]);
    (&file)
        .read_exact(&mut key[..])
        .map_err(|error| io("read", path, &error))?;
    LocalKey::new(SecretBytes::from(&key[..])).map_err(|_| not_a_key())
}

fn exists(path: &Path) -> Result<bool, StateError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("look at", path, &error)),
    }
}

fn io(what: &'static str, path: &Path, error: &std::io::Error) -> StateError {
    StateError::Io {
        what,
        path: path.into(),
        reason: Reason::new(error),
    }
}
