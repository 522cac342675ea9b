//! `RenewalPlan`: when a certificate is renewed, so that not everybody comes at once.
//!
//! ```text
//! notBefore   window start                    window end            notAfter
//!     ├────────────┼───────────────▲───────────────┼─────────────────────┤
//!     0          1/12           moment            2/3                    1    of its life
//! ```
//!
//! The window is as long as the time from one renewal to the next, and the moment in it is the one that
//! is at the workload's own phase of that period, a hash of who it is. So those who started together are
//! spread evenly over a whole period by their first renewal and stay there: each next certificate is due
//! exactly one period later. A new random moment for each certificate would let the spread flow together
//! again: by the second generation the peak would be a third above the mean and more.

mod outage;

pub use outage::{Outage, OutageError, Outages};

use std::time::Duration;

use m2m_crypto::sha256;
use m2m_types::Timestamp;

use crate::{Authority, Certificate};

/// When a certificate is to be renewed (in the manner of RFC 9773 §4.2, whose `suggestedWindow` it has).
///
/// It follows from the certificate alone, so it is the same after a restart and on every machine that
/// computes it. Nothing here waits: compare with the time, and ask for the next deadline.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// # use m2m_pki::{Authority, Ledger, Profile, Subject};
/// use m2m_pki::{RenewalPlan, RenewalState};
/// # let now = m2m_types::Timestamp::from_unix_seconds(1_767_225_600)?;
/// # let (day, operator) = (Duration::from_secs(86_400), "spiffe://example.org/ca".parse()?);
/// # let root = Profile::root("root", "example.org".parse()?, Subject::new("Example Root")?, day)?;
/// # let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// # let issued = Authority::create_root(&root, &operator, &key, day, now, &SystemRandom)?;
/// # let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
/// # let certificate = pollster::block_on(ledger.record(issued))?;
///
/// let plan = RenewalPlan::of(&certificate, "replica-7");
/// let (start, end) = plan.window();
/// assert!(start <= plan.moment() && plan.moment() < end);
/// assert_eq!(plan.state(now), RenewalState::Waiting { until: plan.moment() });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalPlan {
    start: Timestamp,
    end: Timestamp,
    moment: Timestamp,
    not_after: Timestamp,
    seed: [u8; 8],
}

/// What is to be done about a certificate now.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewalState {
    /// Nothing.
    Waiting {
        /// Until when.
        until: Timestamp,
    },
    /// It is to be renewed. If that fails, again at [`RenewalPlan::retry_at`].
    Due {
        /// Since when.
        since: Timestamp,
    },
    /// It is too late: nobody renews it, so its holder has to join anew.
    Expired {
        /// Since when.
        since: Timestamp,
    },
}

/// Twelfths of a life before the window and before its end.
const START: u32 = 1;
const END: u32 = 8;

impl RenewalPlan {
    /// The plan for `certificate`. `instance` tells apart who holds certificates of one identity, the
    /// replicas of a service by host name, say: with the same one they all come at once. Empty where
    /// there is but one. It must not change from one certificate to the next.
    pub fn of(certificate: &Certificate, instance: &str) -> Self {
        let who = certificate.uris().next().map_or_else(
            || certificate.subject_der().to_vec(),
            |uri| uri.as_bytes().to_vec(),
        );
        let seed = sha256(&[&sha256(&who)[..], instance.as_bytes()].concat());
        let seed = std::array::from_fn(|at| seed.get(at).copied().unwrap_or(0));
        Self::between(certificate.not_before(), certificate.not_after(), seed)
    }

    fn between(not_before: Timestamp, not_after: Timestamp, seed: [u8; 8]) -> Self {
        // What lies before the issuing does not count: a renewal must find the next phase, not its own.
        let begin = not_before
            .saturating_add(Authority::BACKDATE)
            .min(not_after);
        let life = not_after.checked_since(begin).unwrap_or_default();
        let start = begin.saturating_add(life * START / 12);
        let end = begin.saturating_add(life * END / 12);
        let period = end
            .checked_since(start)
            .map_or(0, |period| period.as_secs());
        Self {
            start,
            end,
            moment: at_phase(start, period, seed),
            not_after,
            seed,
        }
    }

    /// From when on it may be renewed, and by when it should be (RFC 9773's `suggestedWindow`).
    pub fn window(&self) -> (Timestamp, Timestamp) {
        (self.start, self.end)
    }

    /// When it is to be renewed.
    pub fn moment(&self) -> Timestamp {
        self.moment
    }

    /// The plan as it is after `outages` of the authority: who could not come in time comes in the order
    /// in which they were due, an eighth faster than usual, and those behind them make room.
    #[must_use]
    pub fn after(mut self, outages: &Outages) -> Self {
        self.moment = outages.put_off(self.moment);
        self
    }

    /// What is to be done at `now`.
    pub fn state(&self, now: Timestamp) -> RenewalState {
        if now > self.not_after {
            return RenewalState::Expired {
                since: self.not_after,
            };
        }
        match now >= self.moment {
            true => RenewalState::Due { since: self.moment },
            false => RenewalState::Waiting { until: self.moment },
        }
    }

    /// When to try again after a failure at `now`: within an eighth of what is left of its life, at
    /// least a second later, and not when others try.
    pub fn retry_at(&self, now: Timestamp) -> Timestamp {
        let left = self.not_after.checked_since(now).unwrap_or_default();
        let longest = (left / 8).as_secs().max(2);
        let tried = now.unix_seconds().to_be_bytes();
        let part = fraction(&sha256(&[self.seed, tried].concat()), longest / 2);
        now.saturating_add(Duration::from_secs(longest / 2 + part))
    }
}

/// The first moment from `start` on that is at this phase of the period.
fn at_phase(start: Timestamp, period: u64, seed: [u8; 8]) -> Timestamp {
    if period == 0 {
        return start;
    }
    let phase = fraction(&seed, period);
    let into = start.unix_seconds() % period;
    let wait = (phase + period - into) % period;
    start.saturating_add(Duration::from_secs(wait))
}

/// `whole` times what the first eight bytes say, as a number from 0 to just below 1.
fn fraction(seed: &[u8], whole: u64) -> u64 {
    let seed = seed
        .first_chunk()
        .map_or(0, |seed| u64::from_be_bytes(*seed));
    let part = (u128::from(seed) * u128::from(whole)) >> 64;
    u64::try_from(part).unwrap_or(whole)
}
