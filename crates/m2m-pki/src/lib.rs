#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authority;
mod bundle;
mod certificate;
mod crl;
mod csr;
mod der;
mod encoder;
mod key;
mod ledger;
mod path;
mod pem;
mod profile;
#[path = "crl/reason.rs"]
mod reason;
mod rejection;
mod renewal;
mod rollover;
mod serial;
mod strict;
#[cfg(feature = "rustls")]
pub mod tls;

pub use authority::{Authority, IssueError, Issued, LoadError, Prepared};
pub use bundle::{
    AuthorityError, BundleError, SkipReason, SkippedEntry, TrustBundle, TrustBundles,
    TrustBundlesError,
};
pub use certificate::{Certificate, CertificateError, ExtendedKeyUsage, KeyUsage, SvidError};
pub use crl::{
    CertificateKinds, CrlError, CrlIndex, CrlIndexError, CrlIssuer, CrlIssuerError, CrlLimits,
    CrlNumber, CrlNumberError, CrlNumbers, CrlSet, CrlSetError, CrlSignError, CrlSigner, CrlUri,
    CrlUriError, DeltaError, FreshCrlNumber, IssuerId, ListError, ListedRevocation, Listing,
    NotRevoked, PreparedCrl, RevocationError, RevocationList, RevocationLists, RevocationStatus,
    RevocationSubject, Revoked, RevokedEntry, Scope, ShardPlan, ShardPlanError, SignedCrl,
    UnknownRevocation, UnverifiedCrl, UpdateTimes, VerifiedCrl,
};
pub use csr::{CsrBuilder, CsrError, UnverifiedCsr, VerifiedCsr};
pub use der::DerError;
pub use key::{KeyAlgorithm, PublicKey};
pub use ledger::{
    CertificateId, CertificatePage, CrlFloorError, CrlFloors, CrlPublishError, CrlPublisher, Entry,
    Ledger, LedgerError, Living, Operator, OperatorError, PendingCrl, RecordError, RenewError,
    RenewalRequest, Revocation, RevocationPage, RevokeError, Revoker, SpreadError, UnreleasedCrl,
};
pub use path::{
    ChainError, ChainLimits, ChainReport, ChainVerifier, DnsNameError, ExpectedPeer, Finding,
    Outcome, PeerRole, Place, RevocationRule, Rule, VerifiedIntermediates, VerifiedPeer,
};
pub use profile::{
    ApproveError, Approved, Profile, ProfileError, RequestedName, Subject, SubjectError,
};
pub use reason::RevocationReason;
pub use rejection::Rejection;
pub use renewal::{Outage, OutageError, Outages, RenewalPlan, RenewalState};
pub use rollover::{
    Blocker, Consequences, Rollover, RolloverError, RolloverPeer, RolloverPhase,
    RolloverStoreError, StoredRollover,
};
pub use serial::Serial;
