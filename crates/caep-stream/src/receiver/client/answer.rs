//! `Answer`: what a transmitter makes of a request, as far as a receiver has to do something about it.

use http::StatusCode;

/// What a transmitter answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "receivers act upon each")]
pub enum Answer<T> {
    /// It is done, and this is how things are now.
    Done(T),
    /// It will be done (202): read again later to see.
    Accepted,
    /// There is no such stream here, or none of ours (404).
    NotFound,
    /// There is a stream already, and there can be only one (409): read all to find it.
    Exists,
    /// The transmitter does not do this (405, 501). The interoperability profile leaves changing
    /// streams, their status and their subjects out.
    NotSupported,
    /// It does not know who asks (401): get a new access token, then ask again.
    Unauthenticated,
    /// It knows, and that is not enough (403): the access token lacks a scope, or the stream is
    /// somebody else's.
    Forbidden,
    /// Ask again later (429, 5xx).
    Later {
        /// The status of the answer.
        status: StatusCode,
        /// After how many seconds, if the transmitter says so; at most an hour.
        retry_after: Option<u32>,
    },
    /// It will not do this, now or later.
    Refused {
        /// The status of the answer. Redirections are among them: they are not followed.
        status: StatusCode,
    },
}

impl<T> Answer<T> {
    /// What it is now, if it is done.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it is done, or will be.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Accepted)
    }
}
