//! `RequestRejection`: what whoever sent a request learns when it is refused.

use std::fmt;

/// What the sender of a signed request or webhook may learn of its refusal: one word whatever the
/// cause, so that nobody finds out by trying which keys exist and how far a forgery came.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRejection {
    /// It is not authentic, or not of this time.
    Unauthenticated,
    /// Not now: something here does not work.
    Unavailable,
}

impl RequestRejection {
    /// The HTTP status that says as much: 401 or 503.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unauthenticated => 401,
            Self::Unavailable => 503,
        }
    }
}

impl fmt::Display for RequestRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthenticated => "not authenticated",
            Self::Unavailable => "try again later",
        })
    }
}
