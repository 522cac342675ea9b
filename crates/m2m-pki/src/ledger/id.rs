//! `CertificateId`: which certificate.

use crate::{Certificate, Serial};

/// Names one certificate: the key that signed it, and its number there (RFC 5280 §4.1.2.2 has the
/// issuer's name instead, which two keys can share during a rollover).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateId {
    issuer_key_id: Box<[u8]>,
    serial: Serial,
}

impl CertificateId {
    /// The certificate that the key with this `subjectKeyIdentifier` signed under this number. [`None`]
    /// unless the identifier has 1 to 64 bytes.
    pub fn new(issuer_key_id: &[u8], serial: Serial) -> Option<Self> {
        (1..=64).contains(&issuer_key_id.len()).then(|| Self {
            issuer_key_id: issuer_key_id.into(),
            serial,
        })
    }

    /// Its `authorityKeyIdentifier`.
    pub fn issuer_key_id(&self) -> &[u8] {
        &self.issuer_key_id
    }

    /// Its number.
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Identifier and number, behind the length of the first, so that no two share bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&prefix(&self.issuer_key_id), self.serial.as_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first()?;
        let (issuer_key_id, serial) = rest.split_at_checked(usize::from(*length))?;
        Self::new(issuer_key_id, Serial::from_bytes(serial)?)
    }
}

/// With what the ids of all certificates of one issuer begin.
pub(super) fn prefix(issuer_key_id: &[u8]) -> Vec<u8> {
    // At most 64 bytes: no other length gets here.
    let length = u8::try_from(issuer_key_id.len()).unwrap_or(u8::MAX);
    [&[length], issuer_key_id].concat()
}

impl Certificate {
    /// Its name in a [`Ledger`](crate::Ledger). [`None`] if it does not say which key signed it.
    pub fn id(&self) -> Option<CertificateId> {
        let own = || {
            let is_root = self.issuer_der() == self.subject_der();
            self.subject_key_id().filter(|_| is_root)
        };
        let issuer = self.authority_key_id().or_else(own)?;
        CertificateId::new(issuer, self.serial().clone())
    }
}
