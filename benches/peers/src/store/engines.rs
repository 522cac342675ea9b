//! The engines that a store could stand on, each as durable as it can be: an acknowledged row
//! survives a power cut.

mod fjall;
mod ours;
mod redb;
mod sqlite;

use std::path::Path;

use super::rows::{KEY_BYTES, Row};

pub use redb::Redb;

/// One engine with one table, on files in a directory of its own.
pub trait Engine {
    /// Writes `rows` in one transaction, and returns when it is durable.
    fn commit(&mut self, rows: &[Row]);

    /// Whether there is a row at `key`, after reading its value.
    fn has(&self, key: &[u8; KEY_BYTES]) -> bool;

    /// How many rows there are, after reading all keys and values in order.
    fn scan(&self) -> u64;
}

/// The engines, by name.
pub const NAMES: [&str; 4] = ["redb", "sqlite", "fjall", "m2m"];

/// Opens an engine in `directory`, and makes its table if there is none.
///
/// # Panics
///
/// If it cannot be opened, or the name is not in [`NAMES`].
pub fn open(name: &str, directory: &Path) -> Box<dyn Engine> {
    match name {
        "redb" => Box::new(redb::Redb::open(&directory.join("data"))),
        "sqlite" => Box::new(sqlite::Sqlite::open(&directory.join("data"))),
        "fjall" => Box::new(fjall::Fjall::open(&directory.join("data"))),
        "m2m" => Box::new(ours::Ours::open(directory)),
        _ => panic!("there is no engine {name}"),
    }
}
