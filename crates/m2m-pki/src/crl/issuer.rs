//! `CrlIssuer`: who may sign CRLs, by name and key.

use std::fmt;

use m2m_crypto::{Algorithm, KeyError, Sha256, VerifyingKey};

use crate::certificate::Certificate;

/// A CA that may sign CRLs. Made of its certificate, it is the proof that the certificate allows it.
///
/// That the certificate itself is to be trusted is for who verifies its path to say.
#[derive(Clone)]
pub struct CrlIssuer {
    name: Box<[u8]>,
    spki: Box<[u8]>,
    key_id: Option<Box<[u8]>>,
    id: IssuerId,
}

/// Which issuer: SHA-256 over its name and its key, so that a CA with the same name and another key
/// is another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub(crate) [u8; 32]);

/// Why a certificate's holder may not sign CRLs.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlIssuerError {
    /// Not a CA (RFC 5280 §4.2.1.9).
    #[error("the certificate is not that of a CA")]
    NotAuthority,
    /// It has a key usage, and that lacks `cRLSign` (RFC 5280 §4.2.1.3).
    #[error("the key usage of the certificate lacks cRLSign")]
    CrlSignMissing,
    /// It has no subject, so that no CRL could name it.
    #[error("the certificate has no subject")]
    NoSubject,
}

impl CrlIssuer {
    /// The holder of a CA's certificate.
    ///
    /// # Errors
    ///
    /// [`CrlIssuerError`] if the certificate does not allow its holder to sign CRLs.
    pub fn from_certificate(certificate: &Certificate) -> Result<Self, CrlIssuerError> {
        if !certificate.is_ca() {
            return Err(CrlIssuerError::NotAuthority);
        }
        if certificate
            .key_usage()
            .is_some_and(|usage| !usage.crl_sign())
        {
            return Err(CrlIssuerError::CrlSignMissing);
        }
        let name = certificate.subject_der();
        if name == [0x30, 0] {
            return Err(CrlIssuerError::NoSubject);
        }
        let spki = certificate.spki_der();
        Ok(Self {
            name: name.into(),
            spki: spki.into(),
            key_id: certificate.subject_key_id().map(Into::into),
            id: certificate.issuer_id(),
        })
    }

    /// Which issuer this is.
    pub const fn id(&self) -> IssuerId {
        self.id
    }

    /// Its name, the DER of an X.501 `Name`.
    pub fn name_der(&self) -> &[u8] {
        &self.name
    }

    /// Its `subjectKeyIdentifier`, if the certificate has one.
    pub fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    pub(crate) fn key_for(&self, algorithm: Algorithm) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_spki_der(algorithm, &self.spki)
    }
}

impl IssuerId {
    /// Of this name and this key, both in DER.
    pub(crate) fn new(name: &[u8], spki: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(&(name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update(spki);
        Self(hash.finish())
    }
}

impl fmt::Debug for CrlIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlIssuer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// In lower-case hexadecimal digits.
impl fmt::Display for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerId({self})")
    }
}
