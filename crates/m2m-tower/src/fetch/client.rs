//! `Fetcher`: one GET, from an address that was checked, within bounds of time and size.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_ENCODING, DATE, HOST};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use m2m_types::Timestamp;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::address::AddressRule;
use super::date;
use super::open::{Duplex, OpenConnection};
use super::url::{FetchUrl, Host, Scheme, UrlError};

/// How long a fetch may take, and how much may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    pub(super) time: Duration,
    pub(super) bytes: usize,
}

impl FetchLimits {
    /// Ten seconds and a mebibyte: a large key set has a hundredth of that.
    pub const DEFAULT: Self = Self {
        time: Duration::from_secs(10),
        bytes: 1 << 20,
    };

    /// All of it, from the look-up of the name to the last byte, within `time`; at most `bytes` of body.
    pub const fn new(time: Duration, bytes: usize) -> Self {
        Self { time, bytes }
    }
}

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`. They are asked about one by one afterwards.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// By the machine's own means.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Fetches documents of others: one GET at a time, to an address that an [`AddressRule`] allows, over TLS.
/// It follows no redirect, takes no compressed body, sends no credential and no cookie.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    addresses: AddressRule,
    pub(super) limits: FetchLimits,
    resolver: Arc<dyn Resolve>,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The body, whole.
    pub body: Vec<u8>,
    /// For how long it is fresh, if its origin says so (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
    /// When it was made at its origin (`Date` less `Age`).
    pub generated: Option<Timestamp>,
}

/// Why nothing was fetched: for operators. It has nothing in it of what came.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// What it is asked for at is no URL that is connected to.
    #[error("{0}")]
    Url(UrlError),
    /// The name has no address, or none was found in time.
    #[error("the name was not resolved: {0}")]
    Resolve(io::ErrorKind),
    /// One of its addresses is not one that a connection may go to. None was made.
    #[error("{address} is not an address that is connected to")]
    Address {
        /// Which.
        address: IpAddr,
    },
    /// Nobody answers at any of its addresses.
    #[error("no connection: {0}")]
    Connect(io::ErrorKind),
    /// The TLS handshake failed.
    #[error("no TLS session with the host that was meant: {0}")]
    Tls(io::ErrorKind),
    /// The answer is not HTTP, or ended early.
    #[error("the answer is not HTTP, or not whole")]
    Http,
    /// The answer is another than 200; redirects are not followed.
    #[error("the answer is {status}, not 200; redirects are not followed")]
    Status {
        /// Which.
        status: u16,
    },
    /// The body is compressed, which was not asked for.
    #[error("the body is encoded, which was not asked for")]
    Encoded,
    /// More came than is read.
    #[error("more than {limit} bytes came")]
    TooLong {
        /// How much is read.
        limit: usize,
    },
    /// It took too long.
    #[error("it took longer than {limit:?}")]
    Slow {
        /// How long it may take.
        limit: Duration,
    },
}

impl Fetcher {
    /// Fetches over `tls`, which says whom a host's certificate must come from: of public authorities, or of
    /// one's own (`m2m_pki::tls::Connector::config`).
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self {
            tls,
            addresses: AddressRule::public(),
            limits: FetchLimits::DEFAULT,
            resolver: Arc::new(SystemResolver),
        }
    }

    /// Connects to addresses that `rule` allows.
    #[must_use]
    pub fn with_addresses(mut self, rule: AddressRule) -> Self {
        self.addresses = rule;
        self
    }

    /// Within `limits`.
    #[must_use]
    pub const fn with_limits(mut self, limits: FetchLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Asks `resolver` for the addresses of names.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Fetches `url`, of the media type `accept`. Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// [`FetchFailure`].
    pub async fn fetch(&self, url: &FetchUrl, accept: &str) -> Result<Fetched, FetchFailure> {
        let limit = self.limits.time;
        tokio::time::timeout(limit, self.fetch_at_leisure(url, accept))
            .await
            .unwrap_or(Err(FetchFailure::Slow { limit }))
    }

    async fn fetch_at_leisure(
        &self,
        url: &FetchUrl,
        accept: &str,
    ) -> Result<Fetched, FetchFailure> {
        let request = Request::get(&*url.target)
            .header(HOST, url.authority())
            .header(ACCEPT, accept)
            .body(Full::new(Bytes::new()))
            .map_err(|_| FetchFailure::Http)?;
        let mut connection = self.open(url).await?;
        let asked = connection.ask(request, |response| self.read(response));
        asked.await.map_err(|_| FetchFailure::Http)?
    }

    /// A connection to where `url` says, over TLS with the host that is meant.
    pub(super) async fn open(&self, url: &FetchUrl) -> Result<OpenConnection, FetchFailure> {
        let stream = self.connect(url).await?;
        let stream: Box<dyn Duplex> = match url.scheme {
            Scheme::Http => Box::new(stream),
            Scheme::Https => {
                let name = match &url.host {
                    Host::Name(name) => ServerName::try_from(name.to_string()).ok(),
                    Host::Address(address) => Some(ServerName::from(*address)),
                };
                let name = name.ok_or(FetchFailure::Tls(io::ErrorKind::InvalidInput))?;
                let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
                let stream = stream.await;
                Box::new(stream.map_err(|error| FetchFailure::Tls(error.kind()))?)
            }
        };
        OpenConnection::begin(stream).await
    }

    /// To an address that was asked about, and no other: the name is not looked up again.
    async fn connect(&self, url: &FetchUrl) -> Result<TcpStream, FetchFailure> {
        let addresses = match &url.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = self.resolver.resolve(name).await;
                found.map_err(|error| FetchFailure::Resolve(error.kind()))?
            }
        };
        // One that is not allowed taints the name: who can add one can also take away the others.
        let refused = addresses
            .iter()
            .find(|address| !self.addresses.allows(**address));
        if let Some(address) = refused {
            return Err(FetchFailure::Address { address: *address });
        }
        let mut failure = FetchFailure::Resolve(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect(SocketAddr::new(address, url.port)).await {
                Ok(stream) => {
                    // A request is one write: there is nothing to be gathered. Not to be able to say so
                    // costs time alone.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = FetchFailure::Connect(error.kind()),
            }
        }
        Err(failure)
    }

    async fn read(
        &self,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Fetched, FetchFailure> {
        let limit = self.limits.bytes;
        let status = response.status();
        if status != StatusCode::OK {
            let status = status.as_u16();
            return Err(FetchFailure::Status { status });
        }
        let (head, body) = response.into_parts();
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(FetchFailure::Encoded);
        }
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(FetchFailure::TooLong { limit });
            }
            Err(_) => return Err(FetchFailure::Http),
        };
        Ok(Fetched {
            body,
            max_age: max_age(&head.headers),
            generated: generated(&head.headers),
        })
    }
}

/// `max-age` (RFC 9111 §5.2.2.1), less what caches on the way have used up of it.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    let seconds: u64 = directives.find_map(|directive| {
        let (name, seconds) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| seconds.parse().ok())?
    })?;
    let age = age(headers).unwrap_or_default();
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

fn generated(headers: &HeaderMap) -> Option<Timestamp> {
    let date = date::parse(one(headers, &DATE)?)?;
    let age = Duration::from_secs(age(headers).unwrap_or_default());
    Some(date.saturating_sub(age))
}

fn age(headers: &HeaderMap) -> Option<u64> {
    one(headers, &AGE)?.parse().ok()
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("addresses", &self.addresses)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
