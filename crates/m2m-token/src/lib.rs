#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod algorithms;
mod base64url;
mod cache;
mod claims;
mod error;
mod excerpt;
mod header;
mod json;
mod jwk_set;
mod key_set;
mod mint;
mod policy;
mod recent;
mod remote;
mod request;
mod scratch;
mod signing_keys;
mod split;
mod unverified;
mod verified;
mod verify;

pub use cache::CacheFigures;
pub use claims::{ClaimError, Claims, Confirmation};
pub use error::{ClaimName, Found, HeaderProblem, Part, Rejection, VerifyError};
pub use excerpt::Excerpt;
pub use json::JsonError;
pub use jwk_set::{JwkSet, JwkSetError, JwkSetOptions, SkipReason, SkippedKey};
pub use key_set::{KeySet, KeySetError, MAX_KEYS};
pub use mint::{ClaimsTemplate, MintError, Minter, PreparedToken};
pub use policy::{Audience, Issuers, Presenter, TokenType};
pub use remote::{Fetch, FetchError, FetchId, RemoteKeySet, Response};
pub use request::TokenRequest;
pub use scratch::Scratch;
pub use signing_keys::{SigningKeyError, SigningKeyRing, SigningKeyState};
pub use unverified::Unverified;
pub use verified::{Unproven, Verified};
pub use verify::{MAX_KEYS_TRIED, PolicyError, Verifier, VerifierBuilder};

#[doc = include_str!("from_jsonwebtoken.md")]
pub mod from_jsonwebtoken {}

/// The longest token that is read, in bytes. An access token has less than 2,000, one signed with
/// ML-DSA-87 about 7,000, and HTTP servers commonly refuse header fields beyond 8 KiB.
pub const MAX_TOKEN_BYTES: usize = 8192;
