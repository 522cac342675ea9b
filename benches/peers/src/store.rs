//! What keeping state costs: our embedded store beside the engine under it, and that engine beside
//! others.

pub mod commits;
pub mod compare;
pub mod embedded;
pub mod engines;
pub mod feed;
pub mod place;
pub mod reopen;
pub mod rows;

use m2m_types::Timestamp;

use crate::fixture::Fixture;

/// Everything that was measured of stores.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Seconds that a sync of one changed page takes.
    pub sync: f64,
    /// Which file system that was on.
    pub file_system: String,
    /// Durable commits.
    pub commits: commits::Commits,
    /// Following an embedded store.
    pub feed: feed::Feed,
    /// Following a store in memory.
    pub feed_in_memory: feed::Feed,
    /// Starting with a million revocations.
    pub reopen: reopen::Reopen,
    /// The engines.
    pub engines: Vec<compare::Measured>,
}

/// Measures all of it, on the file system of [`place::directory`].
pub fn measure(now: Timestamp) -> Figures {
    eprintln!("measuring durable commits");
    let commits = commits::measure(20);
    eprintln!("measuring followers");
    let (feed, feed_in_memory) = feed::measure();
    eprintln!("measuring how long a million revocations take to open");
    let reopen = reopen::measure(1_000_000, now);
    Figures {
        sync: place::sync_seconds(),
        file_system: place::file_system(),
        commits,
        feed,
        feed_in_memory,
        reopen,
        engines: compare::measure(),
    }
}

/// The fixture's time.
///
/// # Panics
///
/// Never: it is in range.
pub fn now(fixture: &Fixture) -> Timestamp {
    Timestamp::from_unix_seconds(fixture.now).expect("in range")
}
