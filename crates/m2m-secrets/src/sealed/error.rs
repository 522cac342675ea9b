//! Why secrets were not sealed or opened. Where, and never what.

use std::io;
use std::path::PathBuf;

use m2m_crypto::{AeadError, KeyError, RandomError};
use m2m_store::KeyEncryptionError;

use super::MAX_SEALED_SECRETS;

/// Why nothing was sealed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than [`MAX_SEALED_SECRETS`].
    #[error("{found} secrets; at most {MAX_SEALED_SECRETS} are sealed together")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// The outer key did not seal the data key.
    #[error("the outer key sealed nothing")]
    Outer(#[from] KeyEncryptionError),
    /// What the outer key gave is too long.
    #[error("the outer key gave {found} bytes, which is more than a sealed key has")]
    WrappedKey {
        /// How many bytes.
        found: usize,
    },
    /// The cipher failed.
    #[error("{0}")]
    Cipher(#[from] AeadError),
    /// The data key is of no use.
    #[error("the data key is of no use: {0}")]
    Key(#[from] KeyError),
    /// No randomness.
    #[error("{0}")]
    Random(#[from] RandomError),
}

/// Why nothing was opened.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenSealedError {
    /// The text does not begin as one of this format does.
    #[error("these are no sealed secrets of this format")]
    OtherFormat,
    /// The text ends too early.
    #[error("the text is cut short: something is missing at byte {at}")]
    CutShort {
        /// Where what is missing should stand.
        at: usize,
    },
    /// The text is not as it is written.
    #[error("the text is malformed at byte {at}")]
    Malformed {
        /// Where that shows.
        at: usize,
    },
    /// A part was changed, moved, or is of another text.
    #[error("the part at byte {at} is not authentic")]
    NotAuthentic {
        /// Where it begins.
        at: usize,
    },
    /// The outer key did not open the data key.
    #[error("the outer key opened nothing")]
    Outer(#[from] KeyEncryptionError),
    /// What the outer key gave is no data key.
    #[error("the outer key gave something that is no data key")]
    WrappedKey,
}

/// Why a file was not read or written. Names the file, and nothing of its content.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SealedFileError {
    /// The file system refused.
    #[error("{}: {step} failed", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The file is larger than any that is written.
    #[error("{}: {found} bytes, which is more than sealed secrets have", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// How many bytes.
        found: u64,
    },
    /// It could not be opened.
    #[error("{}: {error}", path.display())]
    Sealed {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: OpenSealedError,
    },
}
