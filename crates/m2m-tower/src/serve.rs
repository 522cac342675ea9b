//! `Server`: HTTP/1.1 and HTTP/2 on sockets, within limits that are stated.
//!
//! ```text
//! accept ─ place? ─ first byte ─ handshake ─ ALPN ─┬─ HTTP/1.1 ─┬─ service, once a request
//!    │       │          │            │             └─ HTTP/2   ─┘      │
//!    │       └ no: reset└────────────┴ in time? no: dropped            body at its pace? idle? stalled?
//!    └ no descriptors: wait, go on                                     peer trusted? asked to stop?
//! ```

mod activity;
mod body;
mod connection;
mod counts;
mod drive;
mod io;
mod limits;
mod places;
mod server;
mod service;

pub use body::{BodyError, ServedBody};
pub use counts::ServeCounts;
pub use limits::ServeLimits;
pub use server::{Drained, ServeError, Server};
