//! What the embedded store promises, held against disks that lose, fail and lie.
//!
//! - `power_cut`: whatever a power cut leaves of what was not synced.
//! - `failing_disk`: each call to the disk fails, in each way.
//! - `damaged`: files cut anywhere, with bits turned over.
//! - `older_copies`: what was deleted or revoked does not come back.
//! - `limits`: the last revision, many callers, formats, keys.
//!
//! `M2M_STORE_THOROUGH=10` looks at ten times as many states as usual.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests
#![allow(clippy::indexing_slicing, clippy::print_stderr)] // and their counts

mod damaged;
mod disk;
mod failing_disk;
mod limits;
mod model;
mod older_copies;
mod power_cut;

/// How many times as many states as usual are looked at.
fn thoroughness() -> usize {
    let said = std::env::var("M2M_STORE_THOROUGH");
    said.ok().and_then(|said| said.parse().ok()).unwrap_or(1)
}
