//! Credentials on requests that go out: tokens that are refreshed ahead, signatures, and connections that show
//! the certificate of the hour.

#[cfg(feature = "tls")]
mod client;
mod layer;
mod not_sent;
mod origin;
mod refresh;
mod schedule;
#[cfg(feature = "secrets")]
mod sign;
mod source;
mod tokens;

#[cfg(feature = "tls")]
pub use client::{ClientBody, ClientError, OriginClient};
pub use layer::{Present, PresentFuture, Presenting};
pub use not_sent::{NotSent, PresentError};
pub use origin::{Origin, OriginError};
pub use refresh::{RefreshEvent, RefreshFailure, Refresher};
#[cfg(feature = "secrets")]
pub use sign::{RequestSigner, RequestSignerError, SignFuture, SignRequests, Signing};
pub use source::{
    FreshToken, MintSource, MintSourceError, TokenDemand, TokenFormError, TokenSource,
};
pub use tokens::Tokens;
