#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod codes;
mod live;
mod service_id;
mod timestamp;

pub use clock::{Clock, ClockError, ManualClock, SystemClock};
pub use live::{Live, LiveReader, Snapshot};
pub use service_id::{ServiceId, ServiceIdError, ServiceIdRef, TrustDomain};
pub use timestamp::{Timestamp, TimestampError};
