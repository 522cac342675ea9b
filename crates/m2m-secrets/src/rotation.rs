//! Rotation: versions of a secret come and go, and no call is refused meanwhile.
//!
//! [`engine`] holds the issuer's state, [`guard`] what must be known before each step, [`command`],
//! [`hear`] and [`emergency`] the steps; [`membership`] is a member's state. None of them holds a secret
//! or reads a clock. [`keyring`], [`member`] and [`ring`] hold the secrets.

mod acknowledge;
mod blocker;
mod certificate;
mod command;
mod delivery;
mod emergency;
pub(crate) mod encoding;
mod engine;
mod event;
mod guard;
mod hear;
mod keyring;
mod member;
mod membership;
mod mutation;
mod name;
mod policy;
#[cfg(feature = "store")]
mod record;
mod ring;
mod snapshot;
mod uses;

pub use acknowledge::{Acknowledgement, LeaseGrant};
pub use blocker::Blocker;
pub use certificate::{Evidence, Ground, RetireCertificate};
pub use command::{Applied, Command, CommandError, Order, Overlap};
pub use delivery::RingDelivery;
pub use emergency::{EmergencyError, EmergencyPlan, RevocationStatus};
pub use engine::{Advice, CommandId, FencingToken, MAX_MEMBERS, Presence, Reach, Rotation, Stage};
pub use event::{Event, EventKind};
pub use hear::{HearError, Heard, Record};
pub use keyring::Keyring;
pub use member::{Member, MemberAdoption};
pub use membership::{AdoptError, Adoption, GrantError, Membership};
#[cfg(feature = "_mutants")]
pub use mutation::Mutation;
pub use name::{
    Epoch, KeyId, MAX_MEMBER_NAME_BYTES, MAX_SECRET_NAME_BYTES, MemberName, NameError, SecretName,
    SecretVersion,
};
pub use policy::{Policy, PolicyBuilder, PolicyError, Standby};
pub use ring::{MAX_RING_VERSIONS, Ring, RingError, RingSignError, RingVerifyError, RingVersion};
pub use snapshot::{Role, Snapshot};
pub use uses::Uses;
