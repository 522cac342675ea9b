#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod committer;
mod config;
mod connection_string;
mod create;
mod evaluate;
mod failure;
mod limits;
mod maintain;
mod migrate;
mod pool;
mod read;
mod retry;
mod schema;
mod session;
mod store;
mod tls;
mod transaction;
mod watch;

pub use config::{ConfigError, PostgresConfig};
pub use limits::PostgresLimits;
pub use maintain::{PostgresSize, PostgresStats};
pub use session::ConnectError;
pub use store::PostgresStore;
