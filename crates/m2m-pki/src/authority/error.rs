//! Why an authority is none, and why it does not sign.

use m2m_crypto::{KeyError, RandomError};
use m2m_types::Timestamp;

use crate::{ApproveError, CertificateError, KeyAlgorithm, Rejection, Serial};

/// Why a certificate and a key make no [`Authority`](crate::Authority).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// It is no CA's certificate, or lacks `keyCertSign` (RFC 5280 §4.2.1.3).
    #[error("not the certificate of a CA that signs certificates (CA:{is_ca})")]
    NotAuthority {
        /// What `basicConstraints` says.
        is_ca: bool,
    },
    /// Its key is weak, invalid or unknown.
    #[error("its key is not taken")]
    Key(#[from] KeyError),
    /// Authorities do not sign with such keys.
    #[error("authorities do not sign with {algorithm} keys")]
    KeyAlgorithm {
        /// Which kind it is.
        algorithm: KeyAlgorithm,
    },
    /// The key is not the one in the certificate.
    #[error("the key is not the one in certificate {serial}")]
    OtherKey {
        /// Of which certificate.
        serial: Serial,
    },
    /// Its subject is empty, which a CA's may not be (RFC 5280 §4.1.2.6).
    #[error("its subject is empty")]
    Unnamed,
    /// It has no `subjectKeyIdentifier` (RFC 5280 §4.2.1.2).
    #[error("it has no subjectKeyIdentifier")]
    KeyId,
}

/// Why an authority does not sign: for operators. Who asked gets [`IssueError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The authority's own certificate is not valid now.
    #[error("the authority is valid from {not_before} to {not_after}; now is {now}")]
    NotCurrent {
        /// Now.
        now: Timestamp,
        /// Its `notBefore`.
        not_before: Timestamp,
        /// Its `notAfter`.
        not_after: Timestamp,
    },
    /// The certificate would outlive its issuer.
    #[error("valid to {not_after} would be beyond the issuer's {issuer_not_after}")]
    BeyondIssuer {
        /// What it would be.
        not_after: Timestamp,
        /// What the issuer's is.
        issuer_not_after: Timestamp,
    },
    /// Time ends before the certificate does.
    #[error("the lifetime ends after the year 9999, from {now} on")]
    Overflow {
        /// Now.
        now: Timestamp,
    },
    /// The key is the authority's own.
    #[error("the key is the authority's own")]
    OwnKey,
    /// No CA may stand below this one, or not one with so many below it.
    #[error("a CA with path length {path_len} below one with path length {limit}")]
    PathLength {
        /// What it would be.
        path_len: u8,
        /// What the issuer's is.
        limit: u32,
    },
    /// The profile is not one for roots.
    #[error("the profile {name} is not one for roots")]
    Profile {
        /// Which.
        name: Box<str>,
    },
    /// The profile does not allow it.
    #[error("the profile does not allow it")]
    Approve(#[from] ApproveError),
    /// The key is of a kind that is not taken.
    #[error("the key is not taken")]
    Key(#[from] KeyError),
    /// The authority's key is not here: prepare, and have it signed.
    #[error("the authority's key is not here")]
    KeyElsewhere,
    /// The profile gave no URI for the CRL of this certificate.
    #[error("the profile gave no valid URI for the CRL of {serial}")]
    CrlUri {
        /// For which number.
        serial: Serial,
    },
    /// No randomness for a serial number.
    #[error("no serial number")]
    Random(#[from] RandomError),
    /// The encoder refused.
    #[error("it cannot be encoded")]
    Encode,
    /// The key did not sign.
    #[error("the key did not sign")]
    Sign,
    /// The signature is not the authority's.
    #[error("a signature of {length} bytes that is not the authority's {algorithm} signature")]
    Signature {
        /// How long it is.
        length: usize,
        /// Of which kind it should be.
        algorithm: KeyAlgorithm,
    },
    /// What was made is not what this crate itself would read.
    #[error("what was made is not readable")]
    Unreadable(#[source] CertificateError),
    /// What was made does not say what was approved.
    #[error("what was made is not what was approved")]
    Differs,
}

impl IssueError {
    /// What the sender of the request may learn.
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::OwnKey | Self::PathLength { .. } | Self::Approve(_) | Self::Key(_) => {
                Rejection::Refused
            }
            _ => Rejection::Unavailable,
        }
    }
}
