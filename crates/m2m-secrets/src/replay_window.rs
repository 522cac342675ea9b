//! `TimeWindow`: how old, and how far ahead, a signed message may be.

use std::time::Duration;

use m2m_types::Timestamp;

/// How old a signed message may be, and by how much its sender's clock may be ahead, in whole seconds.
///
/// Both bounds belong to the window: a message of exactly that age is taken.
///
/// ```
/// use std::time::Duration;
/// use m2m_secrets::TimeWindow;
/// use m2m_types::Timestamp;
///
/// let window = TimeWindow::new(Duration::from_secs(300), Duration::from_secs(30))?;
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let signed = now.saturating_sub(Duration::from_secs(301));
/// assert!(window.check(signed, now).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    past: Duration,
    future: Duration,
}

impl TimeWindow {
    /// The widest window, either way: what must be remembered against replays grows with it.
    pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Five minutes either way, as Standard Webhooks and most others have it.
    pub const FIVE_MINUTES: Self = Self {
        past: Duration::from_secs(300),
        future: Duration::from_secs(300),
    };

    /// A window of `past` and `future`; fractions of a second are dropped.
    ///
    /// # Errors
    ///
    /// [`TimeWindowError`] if one of them is longer than [`Self::MAX`].
    pub const fn new(past: Duration, future: Duration) -> Result<Self, TimeWindowError> {
        let widest = if past.as_secs() > future.as_secs() {
            past
        } else {
            future
        };
        if widest.as_secs() > Self::MAX.as_secs() {
            return Err(TimeWindowError { asked: widest });
        }
        Ok(Self {
            past: Duration::from_secs(past.as_secs()),
            future: Duration::from_secs(future.as_secs()),
        })
    }

    /// How old a message may be.
    pub const fn past(self) -> Duration {
        self.past
    }

    /// How far ahead of ours its sender's clock may be.
    pub const fn future(self) -> Duration {
        self.future
    }

    /// Whether a message signed at `time` may be taken at `now`.
    ///
    /// # Errors
    ///
    /// [`OutsideWindow`]: by how much it is too old, or too far ahead.
    pub fn check(self, time: Timestamp, now: Timestamp) -> Result<(), OutsideWindow> {
        match now.checked_since(time) {
            Some(age) if age > self.past => Err(OutsideWindow::Old {
                age,
                allowed: self.past,
            }),
            Some(_) => Ok(()),
            None => {
                let ahead = time.checked_since(now).unwrap_or(Duration::MAX);
                if ahead > self.future {
                    return Err(OutsideWindow::Ahead {
                        ahead,
                        allowed: self.future,
                    });
                }
                Ok(())
            }
        }
    }
}

/// A window wider than [`TimeWindow::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time window of {asked:?}; at most {:?} is taken", TimeWindow::MAX)]
pub struct TimeWindowError {
    asked: Duration,
}

/// Why a message is not of this time.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideWindow {
    /// It was signed too long ago.
    #[error("signed {age:?} ago; {allowed:?} is allowed")]
    Old {
        /// How long ago.
        age: Duration,
        /// How long is allowed.
        allowed: Duration,
    },
    /// It was signed in the future, by our clock.
    #[error("signed {ahead:?} ahead of our clock; {allowed:?} is allowed (are both synchronised?)")]
    Ahead {
        /// By how much.
        ahead: Duration,
        /// How much is allowed.
        allowed: Duration,
    },
}
