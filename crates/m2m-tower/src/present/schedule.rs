//! `Schedule`: when a token is refreshed. Time in, time out.

use std::time::Duration;

use m2m_crypto::sha256;
use m2m_types::Timestamp;

/// When to ask for the next token.
#[derive(Debug)]
pub(super) struct Schedule {
    /// How much earlier than at two thirds, of 65,536 parts of a tenth of a token's life. Always the same for
    /// one name, so that machines that began at once do not ask at once for ever.
    spread: u16,
    due: Timestamp,
    failures: u32,
    last_asked: Option<Timestamp>,
}

impl Schedule {
    /// After the first failure, and twice as long after each further one.
    const PAUSE: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// Due at once; `name` chooses the spread.
    pub(super) fn new(name: &str) -> Self {
        let [high, low, ..] = sha256(name.as_bytes());
        Self {
            spread: u16::from_be_bytes([high, low]),
            due: Timestamp::MIN,
            failures: 0,
            last_asked: None,
        }
    }

    pub(super) const fn due(&self) -> Timestamp {
        self.due
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due
    }

    /// Somebody was asked for a token.
    pub(super) fn asked(&mut self, now: Timestamp) {
        self.last_asked = Some(now);
    }

    /// A token came that lives until `expires`.
    pub(super) fn succeeded(&mut self, now: Timestamp, expires: Timestamp) {
        let life = expires.checked_since(now).unwrap_or_default();
        let early = (life / 10).mul_f64(f64::from(self.spread) / 65_536.0);
        let wait = (life * 2 / 3).saturating_sub(early).max(Self::PAUSE);
        self.due = now.saturating_add(wait);
        self.failures = 0;
    }

    /// None came.
    pub(super) fn failed(&mut self, now: Timestamp) {
        let factor = 1 << self.failures.min(6);
        self.failures = self.failures.saturating_add(1);
        let pause = (Self::PAUSE * factor).min(Self::LONGEST_PAUSE);
        self.due = now.saturating_add(pause);
    }

    /// Somebody wants one sooner: as soon as a second has passed since the last time.
    pub(super) fn bring_forward(&mut self, now: Timestamp) {
        let earliest = match self.last_asked {
            Some(last) => last.saturating_add(Self::PAUSE),
            None => now,
        };
        self.due = self.due.min(earliest.max(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn a_token_is_refreshed_between_half_and_two_thirds_of_its_life_and_names_differ() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..50 {
            let name = format!("spiffe://example.org/{n}");
            let (mut one, mut other) = (Schedule::new(&name), Schedule::new(&name));
            assert!(one.is_due(at(0)));
            one.succeeded(at(1_000), at(4_000));
            other.succeeded(at(1_000), at(4_000));
            assert_eq!(one.due(), other.due(), "not deterministic");
            let after = one.due().unix_seconds() - 1_000;
            assert!((1_700..=2_000).contains(&after), "{after}");
            seen.insert(after);
        }
        assert!(seen.len() > 20, "they all ask at once: {seen:?}");
    }

    #[test]
    fn failures_are_tried_again_ever_more_seldom_and_for_ever() {
        let mut schedule = Schedule::new("x");
        let mut now = 1_000;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            schedule.asked(at(now));
            schedule.failed(at(now));
            pauses.push(schedule.due().unix_seconds() - now);
            now = schedule.due().unix_seconds();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule.bring_forward(at(now - 59));
        assert_eq!(schedule.due(), at(now - 59));
        schedule.asked(at(now - 59));
        schedule.succeeded(at(now - 59), at(now + 600));
        schedule.bring_forward(at(now - 59));
        assert_eq!(schedule.due(), at(now - 58), "twice within a second");
        schedule.failed(at(now));
        assert_eq!(
            schedule.due(),
            at(now + 1),
            "it begins anew after a success"
        );
    }
}
