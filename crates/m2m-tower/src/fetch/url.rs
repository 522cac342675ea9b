//! `FetchUrl`: a URL that is fetched, in the one form that has one meaning.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A URL to fetch: `https`, a host, maybe a port, a path and a query. No user, no fragment, no other scheme.
///
/// A host is a name whose last label begins with a letter, or an address in its usual form: hexadecimal,
/// octal and shortened IPv4 addresses, which some take for names, are neither.
///
/// ```
/// use m2m_tower::{FetchUrl, UrlError};
///
/// let url = FetchUrl::parse("https://issuer.example/.well-known/jwks.json")?;
/// assert_eq!(url.to_string(), "https://issuer.example/.well-known/jwks.json");
/// assert_eq!(FetchUrl::parse("http://issuer.example/keys"), Err(UrlError::Scheme));
/// assert_eq!(FetchUrl::parse("https://0x7f.1/keys"), Err(UrlError::Host));
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUrl {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) target: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(Box<str>),
    Address(IpAddr),
}

/// Why a text is not a URL that is fetched.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is longer than any that is used.
    #[error("a URL of {length} bytes; at most {} are taken", FetchUrl::MAX_BYTES)]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It does not begin with `https://`.
    #[error("a URL begins with https://")]
    Scheme,
    /// It has a user in it.
    #[error("a URL has no user and no password in it")]
    UserInfo,
    /// It has a fragment, which is nobody's to fetch.
    #[error("a URL has no fragment")]
    Fragment,
    /// The host is neither a name nor an address in its usual form.
    #[error("the host is neither a name nor an address in its usual form")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Something else than visible ASCII, or a backslash.
    #[error("the byte at {at} does not belong in a URL")]
    Character {
        /// Where.
        at: usize,
    },
}

impl FetchUrl {
    /// The longest that is taken, in bytes.
    pub const MAX_BYTES: usize = 2048;

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = check_text(text)?.strip_prefix("https://");
        Self::behind(Scheme::Https, rest.ok_or(UrlError::Scheme)?)
    }

    /// As [`FetchUrl::parse`], for `http://`. **Whoever is on the way reads and writes what is fetched**: for
    /// one's own machine.
    ///
    /// # Errors
    ///
    /// [`UrlError`].
    pub fn danger_parse_plain(text: &str) -> Result<Self, UrlError> {
        let rest = check_text(text)?.strip_prefix("http://");
        Self::behind(Scheme::Http, rest.ok_or(UrlError::Scheme)?)
    }

    fn behind(scheme: Scheme, rest: &str) -> Result<Self, UrlError> {
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
                let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
                (Host::Address(address.into()), port)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                let (host, port) = authority.split_at(end);
                (self::host(host)?, port)
            }
        };
        let port = match (port, scheme) {
            ("", Scheme::Https) => 443,
            ("", Scheme::Http) => 80,
            (port, _) => self::port(port).ok_or(UrlError::Port)?,
        };
        let target = match target.starts_with('/') {
            true => target.into(),
            false => format!("/{target}").into(),
        };
        Ok(Self {
            scheme,
            host,
            port,
            target,
        })
    }

    /// `Host` (RFC 9110 §7.2).
    pub(super) fn authority(&self) -> String {
        let host = match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.to_string(),
        };
        match (self.port, self.scheme) {
            (443, Scheme::Https) | (80, Scheme::Http) => host,
            (port, _) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

fn check_text(text: &str) -> Result<&str, UrlError> {
    if text.len() > FetchUrl::MAX_BYTES {
        return Err(UrlError::TooLong { length: text.len() });
    }
    let belongs = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    match text.bytes().position(|byte| !belongs(byte)) {
        Some(at) => Err(UrlError::Character { at }),
        None => Ok(text),
    }
}

fn host(text: &str) -> Result<Host, UrlError> {
    const LONGEST: usize = 253;
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_name = text.len() <= LONGEST
        && text.split('.').all(is_label)
        // What begins with a digit here is a number to somebody (WHATWG URL, "ends in a number").
        && last.starts_with(|first: char| first.is_ascii_alphabetic());
    match is_name {
        true => Ok(Host::Name(text.to_ascii_lowercase().into())),
        false => Err(UrlError::Host),
    }
}

fn port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| is_number && *port != 0)
}
