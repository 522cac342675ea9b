//! `OpenError`: why a store was not opened.

use std::path::PathBuf;

use super::failure::Failed;
use crate::{AnchorError, Incarnation, KeyEncryptionError, Reason, Revision};

/// Why an [`EmbeddedStore`](crate::EmbeddedStore) was not opened, created or copied. For operators.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no file. It is not created silently: an empty store in place of a lost one would
    /// forget all revocations.
    #[error("{} does not exist; restore it, or create a new store", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// There is a file already.
    #[error("{} exists already; open it, or remove it first", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Another process, or another handle in this one, has it.
    #[error("{} is in use by another process or handle", path.display())]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// Others may read or write the file, or exchange it because they may write to its directory.
    #[error("{} has mode {mode:o}, so others can get at it; make a file 600 and a directory 700", path.display())]
    NotPrivate {
        /// What: the file, or its directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is something else than a file of ours alone.
    #[error("{} is not taken: {what}", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A later version of this library wrote it.
    #[error("the store has format {found}, and this program knows {known}; use a newer program")]
    NewerFormat {
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// An earlier version of this library wrote it, in a layout that is not read any more.
    #[error(
        "the store has format {found}, and this program knows only {known}; read it with the program that wrote it"
    )]
    OlderFormat {
        /// Its format.
        found: u32,
        /// The one that is known here.
        known: u32,
    },
    /// The outer key does not open it, or is not available.
    #[error("{0}")]
    Key(KeyEncryptionError),
    /// It is an older copy: its anchor has seen more.
    #[error(
        "an older copy: it is at revision {found} and its anchor at {anchored}, so what was written in between (revocations too) is missing; find the newest, or open it as a restored copy"
    )]
    RolledBack {
        /// The newest revision in the file.
        found: Revision,
        /// The newest that was acknowledged.
        anchored: Revision,
        /// In which life of the store that was.
        incarnation: Incarnation,
    },
    /// The anchor knows nothing, and the store is not new.
    #[error(
        "the anchor knows nothing of this store, which is at revision {found}; give it its own anchor, or accept a new one"
    )]
    AnchorMissing {
        /// The newest revision in the file.
        found: Revision,
    },
    /// The anchor belongs to another store.
    #[error("the anchor belongs to another store")]
    ForeignAnchor,
    /// The anchor did not answer.
    #[error("{0}")]
    Anchor(AnchorError),
    /// What is there is damaged, or is no store.
    #[error("the store is damaged: {reason}; restore a backup")]
    Corrupt {
        /// What was seen.
        reason: Reason,
    },
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

impl OpenError {
    pub(super) fn from_failed(failed: Failed, path: &std::path::Path) -> Self {
        match failed {
            Failed::Corrupt(reason) => Self::Corrupt { reason },
            Failed::Key(error) => Self::Key(error),
            Failed::Locked => Self::Locked { path: path.into() },
            Failed::Io { reason, .. } => Self::Io {
                what: "use",
                path: path.into(),
                reason,
            },
            Failed::Store(error) => Self::Io {
                what: "use",
                path: path.into(),
                reason: Reason::new(error),
            },
        }
    }
}

impl From<AnchorError> for OpenError {
    fn from(error: AnchorError) -> Self {
        Self::Anchor(error)
    }
}
