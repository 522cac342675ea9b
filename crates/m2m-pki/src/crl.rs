//! Revocation lists (RFC 5280 §5) of any size: written, read, looked up, kept fresh.
//!
//! ```text
//! writing   RevocationLists ── prepare ──▶ PreparedCrl ── sign, or sign elsewhere and attach ──▶ SignedCrl
//! reading   bytes ── UnverifiedCrl::parse ── verify ──▶ VerifiedCrl ── build, apply a delta ──▶ CrlIndex
//! asking    CrlSet of indexes, by issuer and distribution point ── check ──▶ RevocationStatus
//! ```

mod entry;
mod index;
mod issuer;
mod lists;
mod number;
mod prepare;
mod read;
mod scope;
mod set;
mod shard;
pub(crate) mod signature;
mod status;

pub use entry::RevokedEntry;
pub use index::{CrlIndex, CrlIndexError, DeltaError, Listing};
pub use issuer::{CrlIssuer, CrlIssuerError, IssuerId};
pub use lists::{ListError, ListedRevocation, RevocationList, RevocationLists};
pub use number::{CrlNumber, CrlNumberError, CrlNumbers, FreshCrlNumber};
pub use prepare::{CrlSignError, CrlSigner, PreparedCrl, SignedCrl, UpdateTimes};
pub use read::{CrlError, CrlLimits, UnverifiedCrl, VerifiedCrl};
pub use scope::{CertificateKinds, CrlUri, CrlUriError, Scope};
pub use set::{CrlSet, CrlSetError};
pub use shard::{ShardPlan, ShardPlanError};
pub use status::{
    NotRevoked, RevocationError, RevocationStatus, RevocationSubject, Revoked, UnknownRevocation,
};
