#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod anchor;
mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "embedded")]
mod embedded;
mod error;
mod feed;
mod follow;
mod key;
mod key_encryption;
mod memory;
mod record;
mod scan;
mod seal;
mod store;

pub use anchor::{Anchor, AnchorError, AnchorMark};
pub use batch::{
    Action, Batch, BatchError, Committed, Expected, IdempotencyKey, MAX_BATCH_BYTES,
    MAX_BATCH_OPERATIONS, Operation,
};
#[cfg(feature = "embedded")]
pub use embedded::{
    Disk, EmbeddedLoad, EmbeddedOptions, EmbeddedStats, EmbeddedStore, FileAnchor, OpenError,
};
pub use error::{Reason, StoreError};
pub use feed::{Change, ChangePage, Changes, Cursor, Incarnation};
pub use follow::{Follower, Step};
pub use key::{Key, KeyError, MAX_ID_BYTES, MAX_SPACE_BYTES, Space};
pub use key_encryption::{KeyEncryption, KeyEncryptionError, LocalKey};
pub use memory::{Failure, MemoryStore};
pub use record::{MAX_SUMMARY_BYTES, MAX_VALUE_BYTES, Record, Revision, Value};
pub use scan::{MAX_PAGE_BYTES, MAX_PAGE_RECORDS, Page, Scan};
pub use seal::{Place, Sealer};
pub use store::{Store, StoreFuture};
