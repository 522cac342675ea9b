//! `Profile`: all that a certificate may contain, said once by whoever runs the authority.

mod approve;
mod error;
mod subject;

pub use approve::{ApproveError, Approved};
pub use error::ProfileError;
pub use subject::{Subject, SubjectError};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use m2m_types::{ServiceId, TrustDomain};

use crate::certificate::dns_name;
use crate::{KeyAlgorithm, Serial};

/// What certificates of one kind contain. A request contributes its public key and nothing else,
/// unless the profile says that it takes it; what it asks for beyond that refuses it whole.
///
/// ```
/// use std::time::Duration;
/// use m2m_pki::Profile;
///
/// let hour = Duration::from_secs(3600);
/// let profile = Profile::workload("workload", "example.org".parse()?, 24 * hour)?
///     .with_no_revocation_below(2 * hour)
///     .with_crl_uri("http://crl.example.org/issuing.crl")?;
/// assert_eq!(profile.max_lifetime(), 24 * hour);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Profile {
    pub(crate) name: Box<str>,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) kind: Kind,
    pub(crate) max_lifetime: Duration,
    pub(crate) key_algorithms: Vec<KeyAlgorithm>,
    pub(crate) client_auth: bool,
    pub(crate) server_auth: bool,
    pub(crate) subject: Option<Subject>,
    pub(crate) ignores_subject: bool,
    pub(crate) dns_names: Vec<Box<str>>,
    pub(crate) ip_addresses: Vec<IpAddr>,
    pub(crate) allows: Option<Arc<AllowName>>,
    pub(crate) crl_uri: Option<CrlUri>,
    pub(crate) no_revocation_below: Duration,
    pub(crate) permitted_dns: Vec<Box<str>>,
    pub(crate) excluded_dns: Vec<Box<str>>,
}

type AllowName = dyn Fn(&ServiceId, RequestedName<'_>) -> bool + Send + Sync;
type UriOfSerial = dyn Fn(&Serial) -> String + Send + Sync;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    Intermediate { path_len: u8 },
    Workload,
}

#[derive(Clone)]
pub(crate) enum CrlUri {
    Fixed(Box<str>),
    OfSerial(Arc<UriOfSerial>),
}

/// A name that a request asks for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedName<'a> {
    /// A DNS name, never one with a wildcard.
    Dns(&'a str),
    /// An IP address.
    Ip(IpAddr),
}

impl Profile {
    /// Certificates of machines in `trust_domain`, valid for `max_lifetime` at the most: for TLS on
    /// both sides, with keys on P-256 or P-384 or of Ed25519, empty subject, one SPIFFE ID and no
    /// other name.
    ///
    /// `name` is 1 to 64 bytes of `a-z 0-9 - _ .`; the ledger notes it.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Name`], [`ProfileError::Lifetime`].
    pub fn workload(
        name: &str,
        trust_domain: TrustDomain,
        max_lifetime: Duration,
    ) -> Result<Self, ProfileError> {
        Self::new(name, trust_domain, Kind::Workload, max_lifetime)
    }

    /// Certificates of CAs named `subject`, with at most `path_len` further CAs below them.
    ///
    /// # Errors
    ///
    /// As [`Profile::workload`].
    pub fn intermediate(
        name: &str,
        trust_domain: TrustDomain,
        subject: Subject,
        path_len: u8,
        max_lifetime: Duration,
    ) -> Result<Self, ProfileError> {
        let kind = Kind::Intermediate { path_len };
        let profile = Self::new(name, trust_domain, kind, max_lifetime)?;
        Ok(profile.with_subject(subject))
    }

    /// Self-signed certificates of CAs named `subject`.
    ///
    /// # Errors
    ///
    /// As [`Profile::workload`].
    pub fn root(
        name: &str,
        trust_domain: TrustDomain,
        subject: Subject,
        max_lifetime: Duration,
    ) -> Result<Self, ProfileError> {
        let profile = Self::new(name, trust_domain, Kind::Root, max_lifetime)?;
        Ok(profile.with_subject(subject))
    }

    fn new(
        name: &str,
        trust_domain: TrustDomain,
        kind: Kind,
        max_lifetime: Duration,
    ) -> Result<Self, ProfileError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(ProfileError::Name { length: name.len() });
        }
        if max_lifetime.as_secs() == 0 {
            return Err(ProfileError::Lifetime {
                found: max_lifetime,
            });
        }
        Ok(Self {
            name: name.into(),
            trust_domain,
            kind,
            max_lifetime,
            key_algorithms: vec![
                KeyAlgorithm::P256,
                KeyAlgorithm::P384,
                KeyAlgorithm::Ed25519,
            ],
            client_auth: kind == Kind::Workload,
            server_auth: kind == Kind::Workload,
            subject: None,
            ignores_subject: false,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            allows: None,
            crl_uri: None,
            no_revocation_below: Duration::ZERO,
            permitted_dns: Vec::new(),
            excluded_dns: Vec::new(),
        })
    }

    /// Issues for keys of these kinds only. CAs of this crate sign with all of them but RSA.
    #[must_use]
    pub fn with_key_algorithms(mut self, algorithms: &[KeyAlgorithm]) -> Self {
        self.key_algorithms = algorithms.to_vec();
        self
    }

    /// Clients only: `serverAuth` is left out.
    #[must_use]
    pub fn with_client_auth_only(mut self) -> Self {
        (self.client_auth, self.server_auth) = (self.kind == Kind::Workload, false);
        self
    }

    /// Servers only: `clientAuth` is left out.
    #[must_use]
    pub fn with_server_auth_only(mut self) -> Self {
        (self.client_auth, self.server_auth) = (false, self.kind == Kind::Workload);
        self
    }

    /// All certificates have this subject. It never comes from a request.
    #[must_use]
    pub fn with_subject(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Takes requests with whatever subject, and puts none of it into the certificate: for tools
    /// that cannot leave it empty. Otherwise such a request is refused.
    #[must_use]
    pub fn with_requested_subject_ignored(mut self) -> Self {
        self.ignores_subject = true;
        self
    }

    /// All certificates have this DNS name.
    ///
    /// # Errors
    ///
    /// [`ProfileError::DnsName`]; [`ProfileError::Kind`] for CAs.
    pub fn with_dns_name(mut self, name: &str) -> Result<Self, ProfileError> {
        self.check_kind(Kind::Workload, "a DNS name")?;
        self.dns_names.push(plain_dns_name(name)?);
        Ok(self)
    }

    /// All certificates have this IP address.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Kind`] for CAs.
    pub fn with_ip_address(mut self, address: IpAddr) -> Result<Self, ProfileError> {
        self.check_kind(Kind::Workload, "an IP address")?;
        self.ip_addresses.push(address);
        Ok(self)
    }

    /// Takes those DNS names and IP addresses from requests that `allows` allows to that machine.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Kind`] for CAs.
    pub fn with_requested_names(
        mut self,
        allows: impl Fn(&ServiceId, RequestedName<'_>) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ProfileError> {
        self.check_kind(Kind::Workload, "a requested name")?;
        self.allows = Some(Arc::new(allows));
        Ok(self)
    }

    /// Where the CRL is that covers these certificates.
    ///
    /// # Errors
    ///
    /// [`ProfileError::CrlUri`].
    pub fn with_crl_uri(mut self, uri: &str) -> Result<Self, ProfileError> {
        if !is_crl_uri(uri) {
            return Err(ProfileError::CrlUri { uri: excerpt(uri) });
        }
        self.crl_uri = Some(CrlUri::Fixed(uri.into()));
        Ok(self)
    }

    /// Where the CRL is, told by the serial number: for CRLs in shards. What `uri` gives is checked
    /// when a certificate is issued.
    #[must_use]
    pub fn with_crl_uri_by_serial(
        mut self,
        uri: impl Fn(&Serial) -> String + Send + Sync + 'static,
    ) -> Self {
        self.crl_uri = Some(CrlUri::OfSerial(Arc::new(uri)));
        self
    }

    /// Certificates that live for less than `lifetime` say that there is no revocation for them
    /// (`noRevAvail`, RFC 9608), and name no CRL: they are gone before a CRL would be read. CAs never
    /// say so (RFC 9608 §2).
    #[must_use]
    pub fn with_no_revocation_below(mut self, lifetime: Duration) -> Self {
        self.no_revocation_below = lifetime;
        self
    }

    /// CAs only: below them are only DNS names within `name` (RFC 5280 §4.2.1.10). Other kinds of
    /// names are not constrained by it, SPIFFE IDs neither.
    ///
    /// # Errors
    ///
    /// [`ProfileError::DnsName`]; [`ProfileError::Kind`] for workloads.
    pub fn with_permitted_dns(mut self, name: &str) -> Result<Self, ProfileError> {
        self.check_authority("a name constraint")?;
        self.permitted_dns.push(plain_dns_name(name)?);
        Ok(self)
    }

    /// CAs only: below them is no DNS name within `name`.
    ///
    /// # Errors
    ///
    /// [`ProfileError::DnsName`]; [`ProfileError::Kind`] for workloads.
    pub fn with_excluded_dns(mut self, name: &str) -> Result<Self, ProfileError> {
        self.check_authority("a name constraint")?;
        self.excluded_dns.push(plain_dns_name(name)?);
        Ok(self)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose machines it is for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// How long its certificates live at the most.
    pub fn max_lifetime(&self) -> Duration {
        self.max_lifetime
    }

    /// Whether its certificates are those of CAs.
    pub fn is_for_authorities(&self) -> bool {
        self.kind != Kind::Workload
    }

    fn check_kind(&self, kind: Kind, what: &'static str) -> Result<(), ProfileError> {
        match self.kind == kind {
            true => Ok(()),
            false => Err(ProfileError::Kind { what }),
        }
    }

    fn check_authority(&self, what: &'static str) -> Result<(), ProfileError> {
        match self.is_for_authorities() {
            true => Ok(()),
            false => Err(ProfileError::Kind { what }),
        }
    }
}

impl CrlUri {
    /// The URI for a certificate with this number; [`None`] if the function gave none that is.
    pub(crate) fn of(&self, serial: &Serial) -> Option<String> {
        match self {
            Self::Fixed(uri) => Some(uri.to_string()),
            Self::OfSerial(uri) => Some(uri(serial)).filter(|uri| is_crl_uri(uri)),
        }
    }
}

fn is_crl_uri(uri: &str) -> bool {
    let host = uri
        .strip_prefix("http://")
        .or_else(|| uri.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        && uri.len() <= 1024
        && uri.bytes().all(|byte| byte.is_ascii_graphic())
}

fn plain_dns_name(name: &str) -> Result<Box<str>, ProfileError> {
    dns_name(name)
        .filter(|name| !name.contains('*'))
        .ok_or_else(|| ProfileError::DnsName {
            name: excerpt(name),
        })
}

pub(crate) fn excerpt(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
}

/// An identity as far as errors show it: they stay below 512 bytes, and it may have 2048.
pub(crate) fn short(identity: &ServiceId) -> &str {
    let text = identity.as_str();
    text.get(..150).unwrap_or(text)
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name)
            .field("trust_domain", &self.trust_domain)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
