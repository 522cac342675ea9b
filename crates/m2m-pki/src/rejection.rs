//! `Rejection`: what a peer learns of a refusal.

use std::fmt;

/// What whoever asked for a certificate, its renewal or its revocation may learn when it is refused:
/// one word whatever the cause, so that nobody finds out by asking what exists and who holds it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No. Asking again does not help.
    Refused,
    /// Not now: something here does not work.
    Unavailable,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Unavailable => "try again later",
        })
    }
}
