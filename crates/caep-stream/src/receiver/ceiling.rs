//! `Ceiling`: how much one transmitter may revoke in a minute before somebody has to look.

use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

/// How many events of a transmitter are acted upon in a minute, and how many things they may void.
///
/// What goes beyond is held: it stays in the inbox, is not acted upon, and everything that comes behind it
/// from this transmitter is held as well, until an operator has looked and calls
/// [`crate::receiver::Receiver::release`]. A transmitter that was broken into cannot log everybody out
/// then; nor can an honest one that revokes more than was thought of, so choose the numbers from what was
/// seen, and watch for [`crate::receiver::Outcome::Held`].
///
/// It is a bucket that holds a minute's worth and is filled evenly: a burst of a whole minute's worth
/// passes at once, and then only what is allowed in the time that goes by. How full it is survives a
/// restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    events: u32,
    voided: u32,
}

/// The state of a ceiling, as it is kept. Levels are in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Level {
    events: u64,
    voided: u64,
    at: u64,
    /// Since when everything is held.
    pub(crate) held_since: Option<u64>,
    /// Until when an operator has said that all may pass.
    pub(crate) lifted_until: u64,
}

impl Ceiling {
    /// At most `events` events a minute, which void at most `voided` things: sessions, subjects,
    /// certificates, tokens.
    pub const fn per_minute(events: u32, voided: u32) -> Self {
        Self { events, voided }
    }

    fn full(self, now: Timestamp) -> Level {
        Level {
            events: u64::from(self.events) * 1000,
            voided: u64::from(self.voided) * 1000,
            at: now.unix_seconds(),
            held_since: None,
            lifted_until: 0,
        }
    }
}

/// A thousand events a minute, and five thousand things that they void.
impl Default for Ceiling {
    fn default() -> Self {
        Self::per_minute(1_000, 5_000)
    }
}

impl Level {
    /// What there is at `now` of a `ceiling`, of which `kept` was left.
    pub(crate) fn at(ceiling: Ceiling, kept: Option<Self>, now: Timestamp) -> Self {
        let full = ceiling.full(now);
        let Some(kept) = kept else {
            return full;
        };
        // A clock that went back fills nothing, and what was kept is not lost.
        let passed = now.unix_seconds().saturating_sub(kept.at);
        let filled = |level: u64, full: u64| {
            let gained = (u128::from(full) * u128::from(passed) / 60).min(u128::from(full));
            // At most `full`, which is 64 bits.
            (level + u64::try_from(gained).unwrap_or(full)).min(full)
        };
        Self {
            events: filled(kept.events, full.events),
            voided: filled(kept.voided, full.voided),
            at: now.unix_seconds().max(kept.at),
            ..kept
        }
    }

    /// Takes one event that voids `voided` things. If that is too much everything is held from now on.
    pub(crate) fn take(&mut self, voided: usize, now: Timestamp) -> bool {
        if now.unix_seconds() < self.lifted_until {
            self.held_since = None;
            return true;
        }
        let voided = (voided as u64).saturating_mul(1000);
        if self.held_since.is_some() {
            return false;
        }
        if self.events < 1000 || self.voided < voided {
            self.held_since = Some(now.unix_seconds());
            return false;
        }
        self.events -= 1000;
        self.voided -= voided;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    fn level(kept: Option<Level>, now: u64) -> Level {
        Level::at(Ceiling::per_minute(60, 120), kept, at(now))
    }

    #[test]
    fn set_021_a_minute_s_worth_passes_and_then_everything_is_held() {
        let mut level = level(None, 1000);
        for _ in 0..60 {
            assert!(level.take(2, at(1000)));
        }
        assert!(!level.take(0, at(1000)), "no event is left");
        assert_eq!(level.held_since, Some(1000));
        // Time alone lifts nothing: somebody has to look.
        let mut later = self::level(Some(level), 9000);
        assert!(!later.take(0, at(9000)));
    }

    #[test]
    fn set_021_what_they_void_counts_as_well() {
        let mut one = level(None, 1000);
        assert!(!one.take(121, at(1000)), "one event that voids too much");
        let mut many = level(None, 1000);
        assert!(many.take(120, at(1000)));
        assert!(!many.take(1, at(1000)));
    }

    #[test]
    fn it_fills_evenly_and_a_clock_that_goes_back_fills_nothing() {
        let mut level = level(None, 1000);
        for _ in 0..60 {
            assert!(level.take(0, at(1000)));
        }
        let mut second = self::level(Some(level), 1001);
        assert!(second.take(2, at(1001)), "one a second");
        assert!(!second.take(0, at(1001)));
        let mut back = self::level(Some(level), 900);
        assert!(!back.take(0, at(900)));
        let mut again = self::level(Some(level), 1000);
        assert!(!again.take(0, at(1000)), "not filled by the way back");
        let mut ever = self::level(Some(level), u64::from(u32::MAX));
        assert!(
            ever.take(120, at(u64::from(u32::MAX))),
            "full, and not more"
        );
    }

    #[test]
    fn an_operator_lets_everything_pass_for_a_while() {
        let mut level = level(None, 1000);
        assert!(!level.take(500, at(1000)));
        level.lifted_until = 1100;
        assert!(level.take(500, at(1099)));
        assert_eq!(level.held_since, None);
        assert!(!level.take(500, at(1100)), "and is asked again");
    }
}
