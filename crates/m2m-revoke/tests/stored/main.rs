//! `StoredRevocations`: durable before acknowledged, loaded before asked, followed, compacted.
#![cfg(feature = "store")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

mod compact;
mod durable;
mod follow;
mod merge;
mod open;
mod schedule;
mod support;
