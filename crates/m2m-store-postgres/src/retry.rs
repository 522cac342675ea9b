//! `Backoff`: how long to wait before the next attempt.

use std::time::Duration;

use m2m_crypto::SecureRandom;
use tokio::time::{Instant, sleep};

const FIRST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(500);

/// Doubles from 4 ms to 500 ms, of which half is drawn at random, so that nodes which failed
/// together do not come back together; ends at a deadline.
pub(crate) struct Backoff {
    next: Duration,
    deadline: Instant,
}

impl Backoff {
    pub(crate) fn until(deadline: Instant) -> Self {
        Self {
            next: FIRST,
            deadline,
        }
    }

    pub(crate) fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits, unless the time is over. Whether there is time for another attempt.
    pub(crate) async fn wait(&mut self, random: &dyn SecureRandom) -> bool {
        let delay = self.delay(random);
        self.next = (self.next * 2).min(LONGEST);
        if delay >= self.time_left() {
            return false;
        }
        sleep(delay).await;
        true
    }

    fn delay(&self, random: &dyn SecureRandom) -> Duration {
        let mut byte = [128];
        // Without randomness the middle does.
        let drawn = random.fill(&mut byte).map_or(128, |()| byte[0]);
        self.next / 2 + self.next / 2 * u32::from(drawn) / 255
    }
}
