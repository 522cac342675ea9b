//! `ClientError`: why a request is not made, or an answer not believed.

use crate::body::BodyError;

/// Why a request to a transmitter is not made, or its answer not believed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The transmitter's metadata does not have this endpoint, or an address that cannot be asked.
    #[error("the transmitter has no `{endpoint}`")]
    NoEndpoint {
        /// Which one.
        endpoint: &'static str,
    },
    /// A stream is wanted that asks for nothing.
    #[error("`events_requested` is missing or empty")]
    NoEvents,
    /// A member is given that is not ours to give there.
    #[error("`{member}` is not a receiver's to say there")]
    Misplaced {
        /// Which one.
        member: &'static str,
    },
    /// What is to be sent cannot be written.
    #[error("the request cannot be written as JSON")]
    NotWritten,
    /// The answer is longer than such answers are.
    #[error("the answer is longer than 256 KiB")]
    TooLong,
    /// The body of the answer is not what it should be; also if another transmitter speaks in it.
    #[error("{0}")]
    Body(BodyError),
    /// The answer is no array of streams, or has more than 256.
    #[error("the answer is no array of at most 256 streams")]
    NotAList,
    /// The answer is about another stream.
    #[error("the answer is about another stream")]
    OtherStream,
    /// The stream is for another audience than ours, or than before. Whoever serves it could show our
    /// SETs to somebody else, or somebody else's to us.
    #[error("`aud` of the stream is not ours, or not what it was")]
    OtherAudience,
    /// The stream is to be polled where the transmitter's endpoints may not be.
    #[error("the stream is to be polled at an origin that was not allowed")]
    Origin,
}

impl From<BodyError> for ClientError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}
