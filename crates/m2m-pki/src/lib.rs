#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod authority;
mod certificate;
mod csr;
mod key;
mod pem;
mod profile;
mod rejection;
mod serial;
mod strict;

pub use authority::{Authority, IssueError, Issued, LoadError, Prepared};
pub use certificate::{Certificate, CertificateError, ExtendedKeyUsage, KeyUsage, SvidError};
pub use csr::{CsrBuilder, CsrError, UnverifiedCsr, VerifiedCsr};
pub use key::{KeyAlgorithm, PublicKey};
pub use profile::{
    ApproveError, Approved, Profile, ProfileError, RequestedName, Subject, SubjectError,
};
pub use rejection::Rejection;
pub use serial::Serial;
