#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod rotation;
mod shared_secret;

pub use rotation::{
    Epoch, KeyId, MAX_MEMBER_NAME_BYTES, MAX_RING_VERSIONS, MAX_SECRET_NAME_BYTES, MemberName,
    NameError, Ring, RingError, RingSignError, RingVerifyError, RingVersion, SecretName,
    SecretVersion, Uses,
};
pub use shared_secret::{MIN_SECRET_BYTES, SharedSecret, WeakSecret};
