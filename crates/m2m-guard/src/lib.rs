#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod allow_list;
mod builder;
mod call;
mod caller;
mod canonical_path;
mod decision;
mod freshness;
mod guard;
#[cfg(feature = "pki")]
mod peers;
mod presented;
mod proven;
mod refusal;
mod scratch;
#[cfg(feature = "secrets")]
mod secrets;

pub use allow_list::{AllowList, Grant, Resources, ResourcesError};
pub use builder::{BuildError, GuardBuilder};
pub use call::Call;
pub use caller::{Caller, CallerToken};
pub use canonical_path::{CanonicalPath, PathProblem};
pub use decision::{Decide, Decision, Denial, Remedy};
pub use freshness::{Age, Ages, Basis, Freshness, LastConfirmed};
pub use guard::Guard;
#[cfg(feature = "pki")]
pub use peers::{LiveTrust, PeerTrust};
pub use presented::{Credential, Presented};
pub use proven::{Admitted, Proven};
pub use refusal::{Check, Disagreement, Refusal, RefusalReason, Rejection};
pub use scratch::GuardScratch;
#[cfg(feature = "secrets")]
pub use secrets::{
    ApiKeyProof, CallerSecrets, CallerSecretsError, HttpCallers, HttpCallersError, SignatureProof,
    Signed,
};
