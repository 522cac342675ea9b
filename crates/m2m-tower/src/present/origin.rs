//! `Origin`: scheme, host and port of a service that is called (RFC 6454 §4).

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// Scheme, host and port of a service that is called: what credentials are meant for.
///
/// Two origins are the same if all three are; a name and its address are two.
///
/// ```
/// use m2m_tower::{Origin, OriginError};
///
/// let orders = Origin::parse("https://orders.internal:8443")?;
/// assert_eq!(orders, Origin::parse("https://ORDERS.internal:8443/")?);
/// assert_eq!(Origin::parse("http://orders.internal"), Err(OriginError::Scheme));
/// assert!(Origin::danger_plain_on_loopback("http://127.0.0.1:8080").is_ok());
/// assert_eq!(
///     Origin::danger_plain_on_loopback("http://10.0.0.1:8080"),
///     Err(OriginError::NotLoopback)
/// );
/// # Ok::<(), OriginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scheme {
    Https,
    Http,
}

/// Why a text is not an origin that credentials are sent to.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It is not a scheme, a host and perhaps a port, with nothing behind.
    #[error("an origin is https://, a host and perhaps a port, and nothing behind")]
    Form,
    /// It is not one of `https`.
    #[error("credentials go over https")]
    Scheme,
    /// Plain HTTP is for addresses of the own machine, and names are not addresses.
    #[error("plain http is for 127.0.0.0/8 and [::1], written as addresses")]
    NotLoopback,
}

impl Origin {
    /// The longest that is read, in bytes.
    pub const MAX_BYTES: usize = 300;

    /// Reads `https://HOST` or `https://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// [`OriginError`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let origin = Self::read(text)?;
        match origin.scheme {
            Scheme::Https => Ok(origin),
            Scheme::Http => Err(OriginError::Scheme),
        }
    }

    /// Reads `http://ADDRESS:PORT`, of an address of this machine. **Every program on it that may open a port
    /// can get what is sent there**: for tests and for a proxy of one's own.
    ///
    /// # Errors
    ///
    /// [`OriginError`].
    pub fn danger_plain_on_loopback(text: &str) -> Result<Self, OriginError> {
        let origin = Self::read(text)?;
        let host = origin.host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        match (origin.scheme, is_loopback) {
            (Scheme::Https, _) => Err(OriginError::Scheme),
            (Scheme::Http, false) => Err(OriginError::NotLoopback),
            (Scheme::Http, true) => Ok(origin),
        }
    }

    fn read(text: &str) -> Result<Self, OriginError> {
        if text.len() > Self::MAX_BYTES || text.contains(['#', '@']) {
            return Err(OriginError::Form);
        }
        let uri: Uri = text.parse().map_err(|_| OriginError::Form)?;
        let is_bare = uri.query().is_none() && matches!(uri.path(), "" | "/");
        let origin = Self::of(&uri).filter(|_| is_bare);
        origin.ok_or(OriginError::Form)
    }

    /// Where a request for `uri` would go.
    fn of(uri: &Uri) -> Option<Self> {
        let (scheme, host, port) = read(uri)?;
        Some(Self {
            scheme,
            host: host.to_ascii_lowercase().into(),
            port,
        })
    }

    /// Whether a request for `uri` would go here. Allocates nothing.
    pub(crate) fn is_of(&self, uri: &Uri) -> bool {
        read(uri).is_some_and(|(scheme, host, port)| {
            scheme == self.scheme && port == self.port && self.host.eq_ignore_ascii_case(host)
        })
    }

    /// The host: a name in lower case, or an address; one of IPv6 stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is one of plain HTTP.
    #[cfg(feature = "tls")]
    pub(crate) fn is_plain(&self) -> bool {
        self.scheme == Scheme::Http
    }
}

/// Scheme, host and port, if the URI has them in a form that everybody reads alike.
fn read(uri: &Uri) -> Option<(Scheme, &str, u16)> {
    let (scheme, usual) = match uri.scheme_str()? {
        "https" => (Scheme::Https, 443),
        "http" => (Scheme::Http, 80),
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    if host.is_empty() || !(is_address || host.bytes().all(fits)) {
        return None;
    }
    // What is neither host nor port is a user, or something that others read otherwise.
    let port = match authority.as_str().strip_prefix(host)? {
        "" => usual,
        rest => {
            let digits = rest.strip_prefix(':')?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|port| is_number && *port != 0)?
        }
    };
    Some((scheme, host, port))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = match self.scheme {
            Scheme::Https => ("https", 443),
            Scheme::Http => ("http", 80),
        };
        write!(f, "{scheme}://{}", self.host)?;
        match self.port {
            port if port == usual => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_everybody_reads_alike_is_an_origin() {
        for bad in [
            "",
            "orders.internal",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://user@a",
            "https://a:0",
            "https://a:",
            "https://a:99999",
            "https://a:+443",
            "https://[::1",
            "https://[zz]",
            "https://a%2eb",
            "ftp://a",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
        let usual = Origin::parse("https://a.example").unwrap();
        assert_eq!((usual.host(), usual.port()), ("a.example", 443));
        assert_eq!(usual.to_string(), "https://a.example");
        assert_eq!(Origin::parse("https://A.example:443/"), Ok(usual));
        for bad in [
            "http://localhost:80",
            "http://0.0.0.0",
            "http://127.0.0.1.example",
        ] {
            assert_eq!(
                Origin::danger_plain_on_loopback(bad),
                Err(OriginError::NotLoopback)
            );
        }
        assert!(Origin::danger_plain_on_loopback("http://[::1]:8080").is_ok());
        assert!(Origin::danger_plain_on_loopback("https://127.0.0.1").is_err());
    }

    #[test]
    fn net_010_a_request_is_for_an_origin_if_scheme_host_and_port_are_the_same() {
        let origin = Origin::parse("https://orders.internal").unwrap();
        let is = |uri: &str| origin.is_of(&uri.parse().unwrap());
        assert!(is("https://orders.internal/x?y"));
        assert!(is("HTTPS://Orders.Internal:443/x"));
        for other in [
            "http://orders.internal/x",
            "https://orders.internal:444/x",
            "https://orders.internal./x",
            "https://orders.internal.evil.example/x",
            "https://evil.example/orders.internal",
            "https://orders.internal@evil.example/",
            "https://user@orders.internal/",
            "https://user:pw@orders.internal:443/",
            "/x",
            "orders.internal",
        ] {
            assert!(!is(other), "{other}");
        }
    }
}
