//! `Prepared`: a certificate that lacks only its signature.

use std::fmt;
use std::net::IpAddr;

use m2m_crypto::Algorithm;
use m2m_types::ServiceId;

use super::{IssueError, Issued};
use crate::{Certificate, CertificateId, PublicKey, Serial, encoder};

/// A certificate that lacks only its signature.
pub struct Prepared {
    pub(super) tbs: Vec<u8>,
    pub(super) issuer_key: PublicKey,
    pub(super) intended: Intended,
}

/// What the certificate must say when it is read again.
pub(super) struct Intended {
    pub(super) key: PublicKey,
    pub(super) identity: ServiceId,
    pub(super) profile: Box<str>,
    pub(super) issuer: Option<CertificateId>,
    pub(super) serial: Serial,
    pub(super) is_ca: bool,
    pub(super) dns_names: Vec<Box<str>>,
    pub(super) ip_addresses: Vec<IpAddr>,
}

impl Prepared {
    /// What is to be signed: the `TBSCertificate` in DER, hashed by the signer as its algorithm says.
    pub fn signing_input(&self) -> &[u8] {
        &self.tbs
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.issuer_key.algorithm().scheme().algorithm()
    }

    /// Which key must sign it.
    pub fn issuer_key(&self) -> &PublicKey {
        &self.issuer_key
    }

    /// Its number.
    pub fn serial(&self) -> &Serial {
        &self.intended.serial
    }

    /// Puts the signature to it, if it is one of the authority's key, and reads the whole again as
    /// strictly as if it came from a stranger.
    ///
    /// ECDSA signatures are in DER, as key services give them; see
    /// [`ecdsa_fixed_to_der`](m2m_crypto::ecdsa_fixed_to_der) for the others.
    ///
    /// # Errors
    ///
    /// [`IssueError::Signature`]; [`IssueError::Unreadable`] and [`IssueError::Differs`] would be
    /// errors in this crate.
    pub fn attach(self, signature: &[u8]) -> Result<Issued, IssueError> {
        let scheme = self.issuer_key.algorithm().scheme();
        if !self.issuer_key.verifies(scheme, &self.tbs, signature) {
            return Err(IssueError::Signature {
                length: signature.len(),
                algorithm: self.issuer_key.algorithm(),
            });
        }
        self.put_together(signature)
    }

    /// The certificate with a signature that was checked, or made here by the key that was compared
    /// with the authority's when that was loaded.
    pub(super) fn put_together(self, signature: &[u8]) -> Result<Issued, IssueError> {
        let scheme = self.issuer_key.algorithm().scheme();
        let der = encoder::signed(&self.tbs, &scheme.identifier(), signature);
        let certificate = Certificate::from_der(&der).map_err(IssueError::Unreadable)?;
        if !self.intended.is_said_by(&certificate) || certificate.tbs() != self.tbs {
            return Err(IssueError::Differs);
        }
        Ok(Issued {
            certificate,
            identity: self.intended.identity,
            profile: self.intended.profile,
            issuer: self.intended.issuer,
        })
    }
}

impl Intended {
    fn is_said_by(&self, certificate: &Certificate) -> bool {
        let identity = match self.is_ca {
            true => certificate.uris().len() == 0,
            false => certificate.service_id().as_ref() == Ok(&self.identity),
        };
        identity
            && certificate.is_ca() == self.is_ca
            && certificate.spki_der() == self.key.spki_der()
            && *certificate.serial() == self.serial
            && certificate
                .dns_names()
                .eq(self.dns_names.iter().map(|name| &**name))
            && certificate.ip_addresses() == self.ip_addresses
            && certificate.other_names() == 0
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("serial", &self.intended.serial)
            .field("identity", &self.intended.identity)
            .finish_non_exhaustive()
    }
}
