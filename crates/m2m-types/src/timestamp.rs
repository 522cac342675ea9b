//! `Timestamp`: a whole second between 1970 and 9999, as tokens and certificates count time.

use std::fmt;
use std::time::Duration;

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// This is what JWTs (`NumericDate`, RFC 7519 §2), SETs and X.509 (`GeneralizedTime` without
/// fractions, RFC 5280 §4.1.2.5) can all say. The range ends with the year 9999, the last one that
/// X.509 and RFC 3339 can write; a clock outside of it is broken and is refused.
///
/// ```
/// use m2m_types::Timestamp;
///
/// let issued = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let expires = issued.checked_add(std::time::Duration::from_secs(300)).expect("in range");
/// assert!(issued < expires);
/// assert_eq!(expires.to_string(), "2023-11-14T22:18:20Z");
/// # Ok::<(), m2m_types::TimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// A number of seconds that no [`Timestamp`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{seconds} is not a time between 1970-01-01 and 9999-12-31 in seconds since 1970")]
pub struct TimestampError {
    seconds: u64,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// 9999-12-31T23:59:59Z, which X.509 also uses for "no known end" (RFC 5280 §4.1.2.5).
    pub const MAX: Self = Self(253_402_300_799);

    /// The time `seconds` after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] after the year 9999.
    pub const fn from_unix_seconds(seconds: u64) -> Result<Self, TimestampError> {
        if seconds > Self::MAX.0 {
            return Err(TimestampError { seconds });
        }
        Ok(Self(seconds))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }

    /// `duration` later, rounded down to a second; `None` after the year 9999.
    pub const fn checked_add(self, duration: Duration) -> Option<Self> {
        match self.0.checked_add(duration.as_secs()) {
            Some(seconds) if seconds <= Self::MAX.0 => Some(Self(seconds)),
            _ => None,
        }
    }

    /// `duration` earlier, its fraction of a second ignored; `None` before 1970.
    pub const fn checked_sub(self, duration: Duration) -> Option<Self> {
        match self.0.checked_sub(duration.as_secs()) {
            Some(seconds) => Some(Self(seconds)),
            None => None,
        }
    }

    /// `duration` later, or [`Timestamp::MAX`].
    pub const fn saturating_add(self, duration: Duration) -> Self {
        match self.checked_add(duration) {
            Some(time) => time,
            None => Self::MAX,
        }
    }

    /// `duration` earlier, or [`Timestamp::MIN`].
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        match self.checked_sub(duration) {
            Some(time) => time,
            None => Self::MIN,
        }
    }

    /// How long after `earlier` this is; `None` if it is before.
    pub const fn checked_since(self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => None,
        }
    }
}

/// RFC 3339, in UTC: `2023-11-14T22:13:20Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years that begin on a first of March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_IN_ERA: u64 = 146_097;
    let days = days + DAYS_TO_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let (month, carry) = if months_since_march < 10 {
        (months_since_march + 3, 0)
    } else {
        (months_since_march - 9, 1)
    };
    (era * 400 + year_of_era + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    #[test]
    fn times_print_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(at(seconds).to_string(), text);
            assert_eq!(format!("{:?}", at(seconds)), text);
        }
    }

    #[test]
    fn jwt_056_a_time_after_the_year_9999_is_refused() {
        assert_eq!(at(253_402_300_799), Timestamp::MAX);
        for seconds in [253_402_300_800, u64::MAX] {
            let error = Timestamp::from_unix_seconds(seconds).unwrap_err();
            assert!(error.to_string().contains(&seconds.to_string()));
        }
        assert_eq!(Timestamp::MAX.checked_add(Duration::from_secs(1)), None);
        assert_eq!(at(10).checked_add(Duration::MAX), None);
    }

    #[test]
    fn arithmetic_stays_in_range() {
        assert_eq!(at(5).checked_sub(Duration::from_secs(6)), None);
        assert_eq!(at(5).saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(at(5).saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(at(9).checked_since(at(4)), Some(Duration::from_secs(5)));
        assert_eq!(at(4).checked_since(at(9)), None);
    }
}
