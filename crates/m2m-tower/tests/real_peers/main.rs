//! Peers that are not ours: curl, Python, Node and nginx, each with a TLS stack and libraries of its own, over
//! real sockets on loopback. Each is accepted when it is right, and refused in each way that is wrong.
//!
//! A peer that is not installed is skipped, which is said loudly; `bash .ci/run peers` installs them.
#![cfg(feature = "tls")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod curl;
mod nginx;
#[cfg_attr(
    not(feature = "fetch"),
    expect(dead_code, reason = "of peers that publish keys")
)]
mod process;
#[cfg_attr(
    not(feature = "fetch"),
    expect(dead_code, reason = "of peers that publish keys")
)]
mod server;
#[cfg_attr(
    not(feature = "fetch"),
    expect(dead_code, reason = "of peers that publish keys")
)]
mod world;

#[cfg(feature = "fetch")]
mod foreign;
#[cfg(feature = "fetch")]
mod node;
#[cfg(feature = "fetch")]
mod python;
