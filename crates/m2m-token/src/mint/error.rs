//! `MintError`: why a token was not made.

use m2m_crypto::{Algorithm, RandomError};

use crate::MAX_TOKEN_BYTES;
use crate::claims::MAX_NAME_BYTES;
use crate::json::JsonError;

/// Why a token was not made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The minter was given no issuer, or a type that does not say which one or is too long to be
    /// read (64 bytes).
    #[error("a minter needs an issuer and a token type with a name of at most 64 bytes")]
    Unnamed,
    /// A name is empty, longer than 2048 bytes or has control characters: verifiers refuse that.
    #[error(
        "claim `{name}` would be empty, longer than {MAX_NAME_BYTES} bytes or have control characters"
    )]
    Text {
        /// The claim's name.
        name: &'static str,
    },
    /// The lifetime is less than a second, more than the keys allow, or ends after the year 9999.
    #[error("a lifetime of {seconds} s; 1 s to {limit} s are possible now")]
    Lifetime {
        /// What was asked for, in seconds.
        seconds: u64,
        /// The most there is.
        limit: u64,
    },
    /// A statement without end or subject was to be made by a minter of access tokens, or from what
    /// another minter has written.
    #[error("a statement is made by the minter that wrote its template, and is no access token")]
    Statement,
    /// `nbf` would not be before `exp`.
    #[error("the token would not be valid before it expires")]
    NeverValid,
    /// The further claims contain one that the minter or the request writes.
    #[error(
        "further claims contain `{name}`, which only the minter writes; use the request's method for it"
    )]
    Reserved {
        /// The claim's name.
        name: &'static str,
    },
    /// The further claims are not a JSON object of the strict kind that verifiers take.
    #[error("further claims are not acceptable JSON: {problem}")]
    Claims {
        /// What is wrong with them.
        problem: JsonError,
    },
    /// The further claims cannot be serialised as an object, or not twice to the same length.
    #[error("further claims cannot be serialised as a JSON object")]
    Serialize,
    /// The token would be longer than verifiers read.
    #[error("the token would have {length} bytes, more than the {limit} that verifiers read")]
    TooLong {
        /// Its length.
        length: usize,
        /// [`MAX_TOKEN_BYTES`].
        limit: usize,
    },
    /// There is no randomness, so no token.
    #[error("no randomness for the token's name: {0}")]
    Random(RandomError),
    /// The active key is held elsewhere: use [`crate::Minter::prepare`].
    #[error("the active key is held elsewhere; use `prepare` and `attach`")]
    External,
    /// The key could not sign.
    #[error("the {algorithm} key could not sign")]
    Sign {
        /// The key's algorithm.
        algorithm: Algorithm,
    },
    /// The signature that was made elsewhere does not verify with the key that was published.
    #[error("the attached signature is not one of the published {algorithm} key over this token")]
    Attach {
        /// The key's algorithm.
        algorithm: Algorithm,
    },
}

impl MintError {
    pub(super) fn too_long(length: usize) -> Self {
        Self::TooLong {
            length,
            limit: MAX_TOKEN_BYTES,
        }
    }
}
