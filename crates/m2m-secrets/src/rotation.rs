//! Rotation: versions of a secret come and go, and no call is refused meanwhile.

mod name;
mod ring;
mod uses;

pub use name::{
    Epoch, KeyId, MAX_MEMBER_NAME_BYTES, MAX_SECRET_NAME_BYTES, MemberName, NameError, SecretName,
    SecretVersion,
};
pub use ring::{MAX_RING_VERSIONS, Ring, RingError, RingSignError, RingVerifyError, RingVersion};
pub use uses::Uses;
