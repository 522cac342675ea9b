//! `Call`: what a caller wants to do, as far as a decision needs it.

use std::net::IpAddr;

/// What a caller wants to do: an action on a resource, and from where. All a decision learns of a request
/// besides who sent it.
///
/// What both mean is the application's to say: a method and a path, a queue and "publish". Neither is
/// believed to be anything but what a stranger asked for.
///
/// ```
/// use m2m_guard::Call;
///
/// let call = Call::new("GET", "/orders/17").from_address("192.0.2.1".parse()?);
/// assert_eq!((call.action(), call.resource()), ("GET", "/orders/17"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    action: &'a str,
    resource: &'a str,
    address: Option<IpAddr>,
}

impl<'a> Call<'a> {
    /// `action` on `resource`.
    pub const fn new(action: &'a str, resource: &'a str) -> Self {
        Self {
            action,
            resource,
            address: None,
        }
    }

    /// It came from this address, as the transport says; not as a header does, unless a proxy that is
    /// known by its own certificate wrote it.
    #[must_use]
    pub const fn from_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// What is to be done.
    pub const fn action(&self) -> &'a str {
        self.action
    }

    /// With what.
    pub const fn resource(&self) -> &'a str {
        self.resource
    }

    /// From where, if that is known.
    pub const fn address(&self) -> Option<IpAddr> {
        self.address
    }
}
