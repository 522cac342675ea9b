//! `CsrBuilder`: makes a request, on the side of whoever wants a certificate.

use std::net::IpAddr;

use m2m_crypto::SigningKey;
use m2m_types::ServiceId;
use rcgen::{CertificateParams, DistinguishedName, SanType};

use super::{CsrError, UnverifiedCsr};
use crate::certificate::dns_name;
use crate::crl::signature;
use crate::encoder::{self, Placeholder};
use crate::{PublicKey, key};

/// What to ask for beside a certificate for one's key. Mostly nothing: whoever issues knows who asks.
///
/// ```
/// use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
/// use m2m_pki::{CsrBuilder, UnverifiedCsr};
///
/// let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
/// let request = CsrBuilder::new().with_dns_name("billing.internal")?.sign(&key)?;
/// let verified = UnverifiedCsr::from_pem(request.to_pem().as_bytes())?.verify()?;
/// assert_eq!(verified.public_key().spki_der(), &*key.verifying_key().to_spki_der());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CsrBuilder {
    names: Vec<SanType>,
}

impl CsrBuilder {
    /// A request for nothing but a certificate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also says who asks. It is compared with who is known to ask, never believed.
    #[must_use]
    pub fn with_service_id(mut self, id: &ServiceId) -> Self {
        // A SPIFFE ID is ASCII, so this always is one.
        self.names.extend(id.as_str().try_into().map(SanType::URI));
        self
    }

    /// Also asks for a DNS name; the profile must allow it.
    ///
    /// # Errors
    ///
    /// [`CsrError::Name`] if it is none.
    pub fn with_dns_name(mut self, name: &str) -> Result<Self, CsrError> {
        let refused = || CsrError::Name {
            name: name.chars().take(64).collect::<String>().into(),
        };
        let name = dns_name(name).ok_or_else(refused)?;
        let name = (*name).try_into().map_err(|_| refused())?;
        self.names.push(SanType::DnsName(name));
        Ok(self)
    }

    /// Also asks for an IP address; the profile must allow it.
    #[must_use]
    pub fn with_ip_address(mut self, address: IpAddr) -> Self {
        self.names.push(SanType::IpAddress(address));
        self
    }

    /// The request, signed with the key it is about.
    ///
    /// # Errors
    ///
    /// [`CsrError::Key`] for kinds of keys that no certificate is issued for; [`CsrError::Sign`].
    pub fn sign(self, key: &SigningKey) -> Result<UnverifiedCsr, CsrError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = self.names;
        let public = PublicKey::of(key)?;
        let placeholder = Placeholder::default();
        let encoded = params.serialize_request(&placeholder);
        encoded.map_err(|_| CsrError::Sign)?;
        let info = encoder::complete_request(&placeholder.into_message(), &public);
        let info = info.ok_or(CsrError::Sign)?;
        let signature = key::sign(key, &info).ok_or(CsrError::Sign)?;
        let algorithm = signature::identifier(key.algorithm()).ok_or(CsrError::Sign)?;
        UnverifiedCsr::from_der(&encoder::signed(&info, &algorithm, &signature))
    }
}
