//! `Failed`: what redb said, before it is known what became of a commit.

use std::fmt;
use std::io;

use crate::{KeyEncryptionError, Reason, StoreError};

/// Why an operation on the file was not completed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The system said so, or redb because the system had said so before.
    Io { kind: io::ErrorKind, reason: Reason },
    /// What is there cannot be.
    Corrupt(Reason),
    /// Something else that has its own name.
    Store(StoreError),
    /// The data key could not be wrapped or unwrapped.
    Key(KeyEncryptionError),
    /// The file is open elsewhere.
    Locked,
}

pub(super) fn corrupt(what: impl fmt::Display) -> Failed {
    Failed::Corrupt(Reason::new(what))
}

impl Failed {
    /// The error for someone who only read.
    pub(super) fn into_read_error(self) -> StoreError {
        match self {
            Self::Io { reason, .. } => StoreError::Unavailable { reason },
            Self::Corrupt(reason) => StoreError::Corrupt { reason },
            Self::Store(error) => error,
            Self::Key(error) => StoreError::Unavailable {
                reason: Reason::new(error),
            },
            Self::Locked => StoreError::Unavailable {
                reason: Reason::new("the file is open elsewhere"),
            },
        }
    }

    /// The error for someone whose batch was certainly not written.
    pub(super) fn into_not_written(self) -> StoreError {
        match self {
            Self::Io {
                kind:
                    io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge,
                reason,
            } => StoreError::Full { reason },
            other => other.into_read_error(),
        }
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Io { reason, .. } | Self::Corrupt(reason) => reason.clone(),
            Self::Store(error) => Reason::new(error),
            Self::Key(error) => Reason::new(error),
            Self::Locked => Reason::new("the file is open elsewhere"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io {
            kind: error.kind(),
            reason: Reason::new(error),
        }
    }
}

impl From<redb::StorageError> for Failed {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Io(error) if is_about_content(&error) => corrupt(error),
            redb::StorageError::Io(error) => error.into(),
            redb::StorageError::PreviousIo => Self::Io {
                kind: io::ErrorKind::Other,
                reason: Reason::new("an earlier operation failed"),
            },
            other => corrupt(other),
        }
    }
}

/// redb says so of files that are too short, or none of its own.
fn is_about_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

impl From<redb::DatabaseError> for Failed {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(error) => error.into(),
            redb::DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            other => corrupt(other),
        }
    }
}

impl From<redb::TableError> for Failed {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => corrupt(other),
        }
    }
}

impl From<redb::TransactionError> for Failed {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => corrupt(other),
        }
    }
}

impl From<redb::CommitError> for Failed {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => corrupt(other),
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { reason } => Self::Corrupt(reason),
            other => Self::Store(other),
        }
    }
}

impl From<KeyEncryptionError> for Failed {
    fn from(error: KeyEncryptionError) -> Self {
        Self::Key(error)
    }
}
