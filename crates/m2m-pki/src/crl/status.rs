//! What is known about a certificate: `NotRevoked`, which is a proof, revoked, or nothing.

use m2m_types::Timestamp;

use crate::certificate::Certificate;
use crate::crl::index::CrlIndexError;
use crate::crl::issuer::{CrlIssuer, IssuerId};
use crate::crl::number::CrlNumber;
use crate::reason::RevocationReason;

/// A certificate whose revocation is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RevocationSubject<'a> {
    pub(crate) issuer: IssuerId,
    pub(crate) certificate: &'a Certificate,
}

impl<'a> RevocationSubject<'a> {
    /// `certificate`, which `issuer` signed: whoever verified the path knows. `None` if it names
    /// another issuer.
    pub fn new(certificate: &'a Certificate, issuer: &CrlIssuer) -> Option<Self> {
        (certificate.issuer_der() == issuer.name_der()).then_some(Self {
            issuer: issuer.id(),
            certificate,
        })
    }
}

/// The proof that a fresh and authoritative CRL does not list a certificate. Only
/// [`CrlSet`](crate::CrlSet) makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRevoked {
    pub(crate) number: CrlNumber,
    pub(crate) until: Timestamp,
}

impl NotRevoked {
    /// The number of the CRL that says so.
    pub const fn crl_number(&self) -> CrlNumber {
        self.number
    }

    /// The `nextUpdate` of that CRL: from then on it proves nothing.
    pub const fn until(&self) -> Timestamp {
        self.until
    }
}

/// A certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Revoked {
    /// When, if the index keeps it.
    pub at: Option<Timestamp>,
    /// Why.
    pub reason: RevocationReason,
}

/// Why it is not known whether a certificate is revoked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRevocation {
    /// There is no CRL of its issuer.
    #[error("there is no CRL of the issuer {issuer}")]
    NoCrl {
        /// The issuer.
        issuer: IssuerId,
    },
    /// CRLs of its issuer there are, but none for its distribution points and its kind.
    #[error("no CRL of the issuer speaks for this certificate")]
    NotAuthoritative,
    /// `nextUpdate` has passed.
    #[error("the CRL was to be replaced by {next_update}; now is {now}")]
    Stale {
        /// The CRL's `nextUpdate`.
        next_update: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// There is no `nextUpdate`, so that nobody knows how long the CRL holds.
    #[error("the CRL has no nextUpdate")]
    NoNextUpdate,
    /// `thisUpdate` is still to come.
    #[error("the CRL was issued at {this_update}; now is {now}")]
    FromTheFuture {
        /// The CRL's `thisUpdate`.
        this_update: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
    /// The index gave no answer.
    #[error("the index gave no answer: {0}")]
    Index(CrlIndexError),
}

/// The answer. Not knowing is a refusal: see [`RevocationStatus::into_result`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth answer")]
#[must_use]
pub enum RevocationStatus {
    /// It is not revoked.
    NotRevoked(NotRevoked),
    /// It is.
    Revoked(Revoked),
    /// Nobody knows.
    Unknown(UnknownRevocation),
}

/// Why a certificate is refused for its revocation status.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It is revoked.
    #[error("the certificate is revoked: {}", .0.reason)]
    Revoked(Revoked),
    /// Nobody knows, which must not be taken for "no".
    #[error("whether the certificate is revoked is not known: {0}")]
    Unknown(UnknownRevocation),
}

impl RevocationStatus {
    /// The proof, or why there is none.
    ///
    /// # Errors
    ///
    /// [`RevocationError`] unless the certificate is known not to be revoked.
    pub const fn into_result(self) -> Result<NotRevoked, RevocationError> {
        match self {
            Self::NotRevoked(proof) => Ok(proof),
            Self::Revoked(revoked) => Err(RevocationError::Revoked(revoked)),
            Self::Unknown(reason) => Err(RevocationError::Unknown(reason)),
        }
    }
}
