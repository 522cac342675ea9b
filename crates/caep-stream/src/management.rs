//! The API by which a receiver manages its streams (SSF 1.0 §8.1), as values.

mod metadata;
mod requests;
mod stream;

pub use metadata::{DefaultSubjects, MetadataError, TransmitterMetadata, well_known_url};
pub use requests::{StatusUpdate, SubjectRequest, VerificationRequest};
pub use stream::{Delivery, DeliveryMethod, SecretHeader, StreamConfiguration, StreamRequest};

/// The longest body of these requests and responses, in bytes.
pub(crate) const MAX_BODY: usize = 256 << 10;
