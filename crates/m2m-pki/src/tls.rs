//! TLS by rustls 0.23 that follows identity, trust and revocation as they change.
//!
//! All of this crate that knows rustls is here. See [`LiveTls`].
//!
//! # Resumption
//!
//! rustls resumes a session without asking whether its peer is still to be trusted. Here it is asked,
//! three times: a server gives a session out only while the peer it was made with passes, a client
//! while every server of its connector does, and [`LiveTls::peer`] and [`Connector::peer`] judge the
//! certificate once more before the application sees the connection. So:
//!
//! - When the identity or a bundle changes an *epoch* ends, and with it all its sessions, on both
//!   sides, also in a configuration that somebody kept.
//! - When only CRLs change sessions go on, except those of peers that do not pass any more: a CRL that
//!   is fetched every hour does not cost every client a full handshake every hour.
//! - A session ends with the peer's path, when the first certificate of it expires, and a set time after
//!   the peer last showed its key.
//!
//! Who does not get its session resumed gets a full handshake, and is refused there if it must be.

mod builder;
mod client_sessions;
mod config;
mod connections;
mod connector;
mod event;
mod identity;
mod judge;
mod live;
mod material;
mod peer;
mod sessions;
mod shared;
mod signer;
mod time;
mod verifiers;

pub use builder::LiveTlsBuilder;
pub use connections::{Closed, OpenConnection};
pub use connector::Connector;
pub use event::TlsEvent;
pub use identity::{Identity, IdentityError};
pub use live::{LiveTls, UpdateError, Updated};
pub use material::Material;
pub use peer::{Peer, PeerError};
