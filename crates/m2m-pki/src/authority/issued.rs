//! `Issued`: signed, and not yet anybody's.

use std::fmt;

use m2m_types::{ServiceId, Timestamp};

use crate::{Certificate, CertificateId, Serial};

/// A certificate that is signed and recorded nowhere. It does not show its bytes:
/// [`Ledger::record`](crate::Ledger::record) turns it into a [`Certificate`], or into nothing.
#[must_use = "a certificate that is not recorded is never released"]
pub struct Issued {
    pub(crate) certificate: Certificate,
    pub(crate) identity: ServiceId,
    pub(crate) profile: Box<str>,
    /// Its issuer's certificate; none for a root.
    pub(crate) issuer: Option<CertificateId>,
}

impl Issued {
    /// Its number.
    pub fn serial(&self) -> &Serial {
        self.certificate.serial()
    }

    /// Whose it is.
    pub fn identity(&self) -> &ServiceId {
        &self.identity
    }

    /// Under which profile it was approved.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// How long it will be valid.
    pub fn not_after(&self) -> Timestamp {
        self.certificate.not_after()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("serial", self.serial())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
