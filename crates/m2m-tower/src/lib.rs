#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod authenticate;
mod body;
mod connection;
mod credentials;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "tls")]
mod forwarded;
mod headers;
mod published;
mod refused;
mod scratches;
#[cfg(feature = "serve")]
mod serve;
#[cfg(feature = "ssf")]
pub mod ssf;
#[cfg(feature = "tls")]
mod tls;

pub use authenticate::{
    Authenticate, AuthenticateFuture, Authenticated, DescribeCall, NotAdmitted,
};
pub use body::{GuardedBody, WholeBody};
#[cfg(feature = "tls")]
pub use connection::ConnectedPeer;
pub use connection::{OnConnection, PeerAddress, PeerThumbprint};
pub use credentials::RequestProblem;
#[cfg(feature = "axum")]
pub use extract::{Identified, NotIdentified};
#[cfg(feature = "fetch")]
pub use fetch::{
    AddressRule, FetchFailure, FetchLimits, FetchUrl, Fetched, Fetcher, FollowEvent, HttpSender,
    KeyFollower, Resolve, UnknownKeys, UrlError,
};
#[cfg(feature = "tls")]
pub use forwarded::{ForwardedForm, TrustedProxies};
pub use published::Published;
pub use refused::Refused;
#[cfg(feature = "serve")]
pub use serve::{BodyError, Drained, ServeCounts, ServeError, ServeLimits, ServedBody, Server};
#[cfg(feature = "tls")]
pub use tls::{AcceptError, Acceptor, UntilDistrusted};
