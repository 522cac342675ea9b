//! `ExpectedPeer`: who must be at the other end.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use m2m_types::{ServiceId, TrustDomain};
use rustls_pki_types::{DnsName, ServerName};

/// Who must be at the other end. Always said: a chain that holds proves that its holder is somebody,
/// not that it is who you called.
///
/// Machines are known by their [`ServiceId`]: the leaf must be an X.509-SVID, and the bundle of its
/// own trust domain must hold its authority. For servers with ordinary names, say which trust domain's
/// authorities may speak for that name.
///
/// ```
/// use m2m_pki::ExpectedPeer;
///
/// let billing = ExpectedPeer::service("spiffe://example.org/billing".parse()?);
/// let database = ExpectedPeer::dns_name("db.example.org", "example.org".parse()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExpectedPeer {
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Services(Arc<HashSet<ServiceId>>),
    Members(TrustDomain),
    AnyService,
    Name(ServerName<'static>, TrustDomain),
    AnyName(TrustDomain),
}

/// A text that is no DNS name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes that are not a DNS name")]
pub struct DnsNameError {
    length: usize,
}

impl ExpectedPeer {
    /// This machine and no other.
    pub fn service(service: ServiceId) -> Self {
        Self::one_of([service])
    }

    /// One of these machines. With none, nobody is.
    pub fn one_of(services: impl IntoIterator<Item = ServiceId>) -> Self {
        let services = services.into_iter().collect();
        Kind::Services(Arc::new(services)).into()
    }

    /// Any machine of this trust domain: for who decides by the [`ServiceId`] later.
    pub fn member_of(trust_domain: TrustDomain) -> Self {
        Kind::Members(trust_domain).into()
    }

    /// A server with this DNS name among its `subjectAltName`s, issued by an authority of
    /// `trust_domain`. The common name is not looked at (RFC 9525 §2). A wildcard stands for the
    /// first label whole.
    ///
    /// # Errors
    ///
    /// [`DnsNameError`] unless `name` is a DNS name in ASCII.
    pub fn dns_name(name: &str, trust_domain: TrustDomain) -> Result<Self, DnsNameError> {
        let refused = DnsNameError { length: name.len() };
        // A dot at the end is for resolvers; certificates have none (RFC 9525 §6.3).
        let name = name.strip_suffix('.').unwrap_or(name);
        let name = DnsName::try_from(name.to_ascii_lowercase()).map_err(|_| refused)?;
        Ok(Kind::Name(ServerName::DnsName(name), trust_domain).into())
    }

    /// A server with this address among its `subjectAltName`s, issued by an authority of
    /// `trust_domain`. An IPv4 address in the form of IPv6 is another one.
    pub fn ip_address(address: IpAddr, trust_domain: TrustDomain) -> Self {
        Kind::Name(ServerName::IpAddress(address.into()), trust_domain).into()
    }

    /// Any machine of any trust domain that has a bundle. **Whoever they federate with can be on the
    /// other end**: only for who decides by the [`ServiceId`] later, every time.
    pub fn danger_any_service() -> Self {
        Kind::AnyService.into()
    }

    /// Any holder of a certificate of an authority of `trust_domain`, whatever it says, machine or
    /// not. **The names in it are for you to check.**
    pub fn danger_any_name(trust_domain: TrustDomain) -> Self {
        Kind::AnyName(trust_domain).into()
    }
}

impl From<Kind> for ExpectedPeer {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}
