//! Asking others, for documents and by requests of protocols: within bounds, at checked addresses, and nowhere
//! else.

mod address;
mod client;
mod date;
mod follow;
mod open;
mod sender;
mod url;

pub use address::AddressRule;
pub use client::{FetchFailure, FetchLimits, Fetched, Fetcher, Resolve};
pub use follow::{FollowEvent, KeyFollower, UnknownKeys};
pub use sender::HttpSender;
#[cfg(feature = "ssf")]
pub(crate) use sender::{Excess, Repeat};
pub use url::{FetchUrl, UrlError};
