#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod body;
mod delivery;
mod management;

pub use body::BodyError;
pub use delivery::{SetFailure, poll, push};
pub use management::{
    Delivery, DeliveryMethod, MetadataError, SecretHeader, StatusUpdate, StreamConfiguration,
    StreamRequest, SubjectRequest, TransmitterMetadata, VerificationRequest, well_known_url,
};
