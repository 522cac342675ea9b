//! `TransmitterError`: why a transmitter could not do what it was asked.

use caep_set::MembersError;
use http::Response;
use m2m_crypto::RandomError;
use m2m_store::{Key, KeyError, StoreError};
use m2m_token::MintError;

use super::answers;
use crate::management::MetadataError;

/// Why a transmitter could not do what it was asked. For operators; a caller gets
/// [`TransmitterError::response`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransmitterError {
    /// The store failed.
    #[error("{0}")]
    Store(StoreError),
    /// There is no randomness to name something.
    #[error("{0}")]
    Random(RandomError),
    /// A SET could not be made.
    #[error("{0}")]
    Mint(MintError),
    /// The name is none that spaces can have.
    #[error("{name:?} cannot be a transmitter's name: up to 16 of `a`-`z`, `0`-`9` and `-`")]
    Name {
        /// The name.
        name: Box<str>,
    },
    /// The metadata lacks an endpoint, or two are at one path.
    #[error(
        "the endpoints of the metadata and that of polls are not all there, each at a path of its own"
    )]
    Endpoints,
    /// An address is none that metadata can have.
    #[error("{0}")]
    Metadata(MetadataError),
    /// An event cannot be written, or is longer than fits into a SET.
    #[error("the event has {length} bytes of JSON; at most {limit} fit into a SET")]
    TooLong {
        /// How many.
        length: usize,
        /// The most there may be.
        limit: usize,
    },
    /// A member of an event cannot be written.
    #[error("{0}")]
    Event(MembersError),
    /// There is no such stream.
    #[error("there is no such stream")]
    NoStream,
    /// The queue of the stream has no room for more.
    #[error("the queue of the stream is full")]
    Full,
    /// A key cannot be made of what it should consist of.
    #[error("{0}")]
    Key(KeyError),
    /// Somebody else changed the same stream again and again meanwhile.
    #[error("the stream is changed by others all the time; ask again")]
    Busy,
    /// A record cannot be read. Nothing is skipped: somebody must look.
    #[error("the record {key} of a transmitter cannot be read")]
    Record {
        /// Which.
        key: Key,
    },
}

impl TransmitterError {
    /// What a caller is told: to come again (503).
    pub fn response(&self) -> Response<Vec<u8>> {
        answers::unavailable()
    }
}

impl From<StoreError> for TransmitterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RandomError> for TransmitterError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl From<MintError> for TransmitterError {
    fn from(error: MintError) -> Self {
        Self::Mint(error)
    }
}

impl From<KeyError> for TransmitterError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<MetadataError> for TransmitterError {
    fn from(error: MetadataError) -> Self {
        Self::Metadata(error)
    }
}
