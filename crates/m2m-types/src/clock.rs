//! `Clock`: where time comes from, at the edge of a program and in tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// Tells the time. Held only at the edge (a server's layer, `main`) and read once a request: every
/// function of these crates that needs the time takes it as an argument.
pub trait Clock: Send + Sync {
    /// The time now.
    ///
    /// # Errors
    ///
    /// [`ClockError`] if the clock is unusable; whatever was to be decided is then refused.
    fn now(&self) -> Result<Timestamp, ClockError>;
}

/// A clock that cannot be believed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The system clock stands before 1970-01-01.
    #[error("the system clock is {by:?} before 1970; set the clock (is time synchronised?)")]
    BeforeEpoch {
        /// How far before.
        by: Duration,
    },
    /// The system clock stands after 9999-12-31.
    #[error("the system clock says {seconds} s since 1970, after the year 9999; set the clock")]
    AfterYear9999 {
        /// What it says.
        seconds: u64,
    },
}

/// The machine's clock, which here never goes back.
///
/// A wall clock that is set back would bring expired tokens to life again, so one `SystemClock`
/// never returns less than it returned before, on whichever thread: it stands still until the
/// machine's clock has caught up. Share one instance in a process. A clock that once stood far in
/// the future therefore keeps refusing until the process is restarted: it fails closed.
///
/// ```
/// use m2m_types::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let earlier = clock.now()?;
/// assert!(clock.now()? >= earlier);
/// # Ok::<(), m2m_types::ClockError>(())
/// ```
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl SystemClock {
    /// A clock that has not been read yet.
    pub const fn new() -> Self {
        Self {
            latest: AtomicU64::new(0),
        }
    }

    /// What this clock tells when the machine's clock says `reading`.
    fn advance(&self, reading: SystemTime) -> Result<Timestamp, ClockError> {
        let seconds = reading
            .duration_since(UNIX_EPOCH)
            .map_err(|before| ClockError::BeforeEpoch {
                by: before.duration(),
            })?
            .as_secs();
        let time = Timestamp::from_unix_seconds(seconds)
            .map_err(|_| ClockError::AfterYear9999 { seconds })?;
        // One shared write a second at most; every other reading only reads.
        let latest = self.latest.load(Ordering::Relaxed);
        if seconds > latest {
            self.latest.fetch_max(seconds, Ordering::Relaxed);
            return Ok(time);
        }
        Timestamp::from_unix_seconds(latest)
            .map_err(|_| ClockError::AfterYear9999 { seconds: latest })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        // The only place in these crates that asks the machine for the time.
        self.advance(SystemTime::now())
    }
}

/// A clock that stands still until it is told otherwise: for tests and simulations.
///
/// Unlike [`SystemClock`] it can be set back, so that tests can see what happens then.
///
/// ```
/// use std::time::Duration;
/// use m2m_types::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::from_unix_seconds(1_000)?);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now()?.unix_seconds(), 1_060);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ManualClock {
    seconds: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `time`.
    pub const fn new(time: Timestamp) -> Self {
        Self {
            seconds: AtomicU64::new(time.unix_seconds()),
        }
    }

    /// Sets the clock to `time`, forwards or back.
    pub fn set(&self, time: Timestamp) {
        self.seconds.store(time.unix_seconds(), Ordering::Relaxed);
    }

    /// Moves the clock forward by `duration`; [`Clock::now`] fails once that leaves the year 9999.
    pub fn advance(&self, duration: Duration) {
        let _ = self
            .seconds
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seconds| {
                Some(seconds.saturating_add(duration.as_secs()))
            });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Result<Timestamp, ClockError> {
        let seconds = self.seconds.load(Ordering::Relaxed);
        Timestamp::from_unix_seconds(seconds).map_err(|_| ClockError::AfterYear9999 { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jwt_055_the_system_clock_never_goes_back() {
        let clock = SystemClock::new();
        let noon = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let hour = Duration::from_secs(3_600);
        assert_eq!(clock.advance(noon).unwrap().unix_seconds(), 1_700_000_000);
        let set_back = clock.advance(noon - hour).unwrap();
        assert_eq!(set_back.unix_seconds(), 1_700_000_000);
        let caught_up = clock.advance(noon + Duration::from_secs(1)).unwrap();
        assert_eq!(caught_up.unix_seconds(), 1_700_000_001);
    }

    #[test]
    fn jwt_056_a_clock_before_1970_or_after_9999_is_an_error() {
        let clock = SystemClock::new();
        let by = Duration::from_secs(1);
        assert_eq!(
            clock.advance(UNIX_EPOCH - by),
            Err(ClockError::BeforeEpoch { by })
        );
        let seconds = 253_402_300_800;
        assert_eq!(
            clock.advance(UNIX_EPOCH + Duration::from_secs(seconds)),
            Err(ClockError::AfterYear9999 { seconds })
        );
        // Neither reading was taken for a time.
        assert_eq!(clock.advance(UNIX_EPOCH + by).unwrap().unix_seconds(), 1);
    }

    #[test]
    fn a_manual_clock_that_leaves_the_calendar_fails() {
        let clock = ManualClock::new(Timestamp::MAX);
        clock.advance(Duration::from_secs(1));
        assert!(matches!(clock.now(), Err(ClockError::AfterYear9999 { .. })));
        clock.set(Timestamp::MIN);
        assert_eq!(clock.now(), Ok(Timestamp::MIN));
    }
}
