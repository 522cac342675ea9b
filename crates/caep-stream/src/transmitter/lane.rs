//! `Lane`: what is known of one stream's pushes, and when one that failed is tried again.

use std::time::Duration;

use m2m_store::Revision;
use m2m_types::Timestamp;

use super::TransmitterOptions;
use super::place::Position;

/// What is known of one stream's pushes.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Whether there may be something to send.
    pub(crate) awake: bool,
    /// Which state of the stream that was said of.
    pub(crate) version: Revision,
    pub(crate) failures: u32,
    pub(crate) not_before: Option<Timestamp>,
    /// What is under way, and when it counts as failed.
    pub(crate) in_flight: Vec<(Position, Timestamp)>,
}

impl Lane {
    /// Waits for the next try, and says until when.
    pub(crate) fn wait(
        &mut self,
        options: &TransmitterOptions,
        stream: &str,
        position: Position,
        retry_after: Option<u32>,
        now: Timestamp,
    ) -> Timestamp {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let longest = options.first_retry.saturating_mul(doubled);
        let longest = longest.min(options.last_retry);
        self.failures = self.failures.saturating_add(1);
        let wait = jitter(longest, stream, position, self.failures);
        // No earlier than the receiver wants. It cannot ask for more than an hour.
        let asked = Duration::from_secs(retry_after.map_or(0, u64::from));
        let again = now.saturating_add(wait.max(asked));
        self.not_before = Some(again);
        self.awake = true;
        again
    }
}

/// Between three quarters of `longest` and all of it, and always the same for the same try: those who
/// failed together do not come back together.
fn jitter(longest: Duration, stream: &str, position: Position, tries: u32) -> Duration {
    let seed = [stream.as_bytes(), position.as_bytes(), &tries.to_be_bytes()].concat();
    let [chance, ..] = m2m_crypto::sha256(&seed);
    let quarter = longest.as_millis() / 4 * u128::from(chance) / 255;
    let shorter = Duration::from_millis(u64::try_from(quarter).unwrap_or(0));
    // Timestamps are whole seconds.
    let wait = longest.saturating_sub(shorter);
    Duration::from_secs(wait.as_secs().max(1))
}
