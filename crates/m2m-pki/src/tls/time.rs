//! The caller's clock as rustls wants it, and back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_types::{Clock, Timestamp};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

/// A clock that fails makes the handshake fail.
pub(super) struct ClockTime(pub(super) Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.now().ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            now.unix_seconds(),
        )))
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

/// What rustls read from [`ClockTime`], which is never beyond the calendar.
pub(super) fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_unix_seconds(time.as_secs()).unwrap_or(Timestamp::MAX)
}
