#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod csr;
mod key;
mod ledger;
mod pem;
mod profile;
#[path = "crl/reason.rs"]
#[allow(dead_code, reason = "the lists' part of it is not used by the ledger")]
mod reason;
mod rejection;
mod serial;
mod strict;

pub use authority::{Authority, IssueError, Issued, LoadError, Prepared};
pub use certificate::{Certificate, CertificateError, ExtendedKeyUsage, KeyUsage, SvidError};
pub use csr::{CsrBuilder, CsrError, UnverifiedCsr, VerifiedCsr};
pub use key::{KeyAlgorithm, PublicKey};
pub use ledger::{
    CertificateId, CertificatePage, Entry, Ledger, LedgerError, Operator, OperatorError,
    RecordError, RenewError, RenewalRequest, Revocation, RevocationPage, RevokeError, Revoker,
};
pub use profile::{
    ApproveError, Approved, Profile, ProfileError, RequestedName, Subject, SubjectError,
};
pub use reason::RevocationReason;
pub use rejection::Rejection;
pub use serial::Serial;
