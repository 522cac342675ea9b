#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod body;
mod delivery;
#[cfg(feature = "store")]
mod inbox;
mod management;
#[cfg(feature = "store")]
pub mod receiver;
#[cfg(feature = "store")]
pub mod transmitter;

pub use body::BodyError;
pub use delivery::{SetFailure, poll, push};
#[cfg(feature = "store")]
pub use inbox::{Finished, Inbox, InboxError, PendingSet, Recorded};
pub use management::{
    DefaultSubjects, Delivery, DeliveryMethod, MetadataError, SecretHeader, StatusUpdate,
    StreamConfiguration, StreamRequest, SubjectRequest, TransmitterMetadata, VerificationRequest,
    well_known_url,
};
