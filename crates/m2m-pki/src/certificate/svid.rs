//! The rules of X.509-SVID for leaf certificates.

use m2m_types::{ServiceId, ServiceIdError};

use super::Certificate;

/// Why a certificate names no machine (X.509-SVID §2, §4, §5.2).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// It does not have exactly one URI.
    #[error("{found} URI names; a workload has exactly one")]
    Uris {
        /// How many.
        found: usize,
    },
    /// Its URI is no SPIFFE ID of a machine.
    #[error("its URI is not a service")]
    NotService(#[source] ServiceIdError),
    /// It is a CA's.
    #[error("it is the certificate of a CA, which is no workload")]
    Authority,
    /// Its `keyUsage` is missing, lacks `digitalSignature`, or has `keyCertSign` or `cRLSign`.
    #[error("its keyUsage is not that of a workload")]
    KeyUsage,
    /// It has a DNS name with a wildcard: a name that others have too.
    #[error("it has a DNS name with a wildcard")]
    Wildcard,
}

impl Certificate {
    /// The one machine that this leaf certificate names, by the rules of X.509-SVID. **Not** whether
    /// anybody trustworthy says so.
    ///
    /// # Errors
    ///
    /// [`SvidError`], for the first rule it breaks.
    pub fn service_id(&self) -> Result<ServiceId, SvidError> {
        if self.is_ca() {
            return Err(SvidError::Authority);
        }
        let usage = self.key_usage().ok_or(SvidError::KeyUsage)?;
        if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
            return Err(SvidError::KeyUsage);
        }
        if self.dns_names().any(|name| name.contains('*')) {
            return Err(SvidError::Wildcard);
        }
        let mut uris = self.uris();
        match (uris.next(), uris.len()) {
            (Some(uri), 0) => uri.parse().map_err(SvidError::NotService),
            _ => Err(SvidError::Uris {
                found: self.uris().len(),
            }),
        }
    }
}
