//! Fetching documents from elsewhere: within bounds, from checked addresses, and nowhere else.

mod address;
mod client;
mod date;
mod follow;
mod url;

pub use address::AddressRule;
pub use client::{FetchFailure, FetchLimits, Fetched, Fetcher, Resolve};
pub use follow::{FollowEvent, KeyFollower, UnknownKeys};
pub use url::{FetchUrl, UrlError};
