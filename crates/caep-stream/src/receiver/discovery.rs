//! `Discovery`: learns from a transmitter where its endpoints and keys are, and believes only what the
//! issuer's own address says about the issuer.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode, Uri};

use crate::delivery::is_media_type;
use crate::management::{DeliveryMethod, MetadataError, TransmitterMetadata, well_known_url};

/// The longest metadata that is read, in bytes.
pub const MAX_METADATA: usize = 256 << 10;

/// Finds out about one transmitter (SSF 1.0 §7), whose issuer is configured and never learnt.
///
/// - Metadata is fetched from the issuer's own address, and says the same issuer, byte by byte.
/// - Endpoints and `jwks_uri` are `https`, and at the issuer's origin, or at one that was allowed.
/// - What was learnt once is pinned: if `jwks_uri` moves to another origin later, nothing of the answer is
///   used. Give [`Discovery::pinned_to`] what [`Transmitter::keys_origin`] said, to keep the pin over a
///   restart.
///
/// ```
/// use caep_stream::receiver::Discovery;
///
/// let mut discovery = Discovery::new("https://tr.example")?;
/// let request = discovery.request();
/// assert_eq!(request.uri(), "https://tr.example/.well-known/ssf-configuration");
///
/// let body = br#"{"issuer": "https://tr.example", "spec_version": "1_0",
///     "jwks_uri": "https://tr.example/jwks.json",
///     "configuration_endpoint": "https://tr.example/ssf/streams"}"#;
/// let response = http::Response::builder()
///     .header("content-type", "application/json")
///     .body(body.as_slice())?;
/// let transmitter = discovery.read(&response)?;
/// assert_eq!(transmitter.jwks_uri(), "https://tr.example/jwks.json");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Discovery {
    issuer: Box<str>,
    location: Uri,
    origin: Box<str>,
    allowed: Vec<Box<str>>,
    pinned: Option<Box<str>>,
    drafts: bool,
}

/// A transmitter as its metadata describes it. Only [`Discovery::read`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Transmitter {
    metadata: TransmitterMetadata,
    jwks_uri: Uri,
    keys_origin: Box<str>,
    /// Where its endpoints may be.
    origins: Vec<Box<str>>,
}

/// Why nothing of an answer is used (SSF 1.0 §7.2.3).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The answer is no 200. Redirections are not followed.
    #[error("the answer to the request for metadata has the status {status}")]
    Status {
        /// Its status.
        status: StatusCode,
    },
    /// The answer is not `application/json`.
    #[error("metadata is `application/json`")]
    MediaType,
    /// What it says cannot be used.
    #[error("{0}")]
    Metadata(MetadataError),
    /// It does not say where its keys are, so no SET of it can be verified.
    #[error("`jwks_uri` is missing")]
    NoKeys,
    /// `spec_version` is not one that is spoken here.
    #[error("`spec_version` is none of those that are spoken here")]
    Version,
    /// An endpoint is at another origin than the issuer, and that was not allowed.
    #[error("`{member}` is at an origin that was not allowed")]
    Origin {
        /// Which one.
        member: &'static str,
    },
    /// `jwks_uri` is at another origin than before. Whoever controls the metadata could bring keys of its
    /// own that way, so somebody must look.
    #[error("`jwks_uri` moved to another origin than {pinned:?}")]
    KeysMoved {
        /// Where the keys were.
        pinned: Box<str>,
    },
    /// What was to be allowed or pinned is no `https` origin.
    #[error("an origin is `https://` and a host, and maybe a port")]
    NoOrigin,
}

impl From<MetadataError> for DiscoveryError {
    fn from(error: MetadataError) -> Self {
        Self::Metadata(error)
    }
}

impl Discovery {
    /// Finds out about `issuer`, an `https` URL: what its SETs have in `iss`.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::Metadata`] if it is no issuer's name.
    pub fn new(issuer: &str) -> Result<Self, DiscoveryError> {
        let location = well_known_url(issuer)?;
        let location: Uri = location.parse().map_err(|_| MetadataError::Issuer)?;
        Ok(Self {
            issuer: Box::from(issuer),
            origin: origin(&location).ok_or(MetadataError::Issuer)?,
            location,
            allowed: Vec::new(),
            pinned: None,
            drafts: false,
        })
    }

    /// Endpoints may be at `origin` as well: `https://`, a host, and maybe a port.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::NoOrigin`].
    pub fn allowing_origin(mut self, origin: &str) -> Result<Self, DiscoveryError> {
        self.allowed.push(parse_origin(origin)?);
        Ok(self)
    }

    /// Its keys are at `origin`, as was learnt before.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError::NoOrigin`].
    pub fn pinned_to(mut self, origin: &str) -> Result<Self, DiscoveryError> {
        self.pinned = Some(parse_origin(origin)?);
        Ok(self)
    }

    /// Takes transmitters of the implementers' drafts, which say `1_0-ID1` to `1_0-ID3`, or nothing, as
    /// their `spec_version`. Without this, it must be 1.0 or a later 1.x.
    #[must_use]
    pub fn allowing_drafts(mut self) -> Self {
        self.drafts = true;
        self
    }

    /// The request for the metadata. Follow no redirection, and read no more of the answer than
    /// [`MAX_METADATA`] and one byte.
    pub fn request(&self) -> Request<Vec<u8>> {
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = self.location.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        request
    }

    /// Reads the answer.
    ///
    /// # Errors
    ///
    /// [`DiscoveryError`]. Nothing of the answer is used then, and what was learnt before stays.
    pub fn read(&mut self, response: &Response<&[u8]>) -> Result<Transmitter, DiscoveryError> {
        let status = response.status();
        if status != StatusCode::OK {
            return Err(DiscoveryError::Status { status });
        }
        let mut types = response.headers().get_all(CONTENT_TYPE).iter();
        let is_json = |value| is_media_type(value, "application/json");
        if !types.next().is_some_and(is_json) || types.next().is_some() {
            return Err(DiscoveryError::MediaType);
        }
        let metadata = TransmitterMetadata::from_json(&self.issuer, response.body())?;
        self.check_version(&metadata)?;
        let jwks_uri = metadata.jwks_uri().ok_or(DiscoveryError::NoKeys)?;
        let (jwks_uri, keys_origin) = self.located("jwks_uri", jwks_uri)?;
        for (member, url) in [
            ("configuration_endpoint", metadata.configuration_endpoint()),
            ("status_endpoint", metadata.status_endpoint()),
            ("add_subject_endpoint", metadata.add_subject_endpoint()),
            (
                "remove_subject_endpoint",
                metadata.remove_subject_endpoint(),
            ),
            ("verification_endpoint", metadata.verification_endpoint()),
        ] {
            url.map(|url| self.located(member, url)).transpose()?;
        }
        if let Some(pinned) = self.pinned.as_ref().filter(|pin| **pin != keys_origin) {
            let pinned = pinned.clone();
            return Err(DiscoveryError::KeysMoved { pinned });
        }
        self.pinned = Some(keys_origin.clone());
        Ok(Transmitter {
            metadata,
            jwks_uri,
            keys_origin,
            origins: self.origins().cloned().collect(),
        })
    }

    fn origins(&self) -> impl Iterator<Item = &Box<str>> {
        std::iter::once(&self.origin).chain(&self.allowed)
    }

    fn check_version(&self, metadata: &TransmitterMetadata) -> Result<(), DiscoveryError> {
        const DRAFTS: [&str; 3] = ["1_0-ID1", "1_0-ID2", "1_0-ID3"];
        let version = metadata.spec_version();
        let minor = version.strip_prefix("1_").unwrap_or_default();
        // A later 1.x only adds to 1.0.
        let is_final = (1..=3).contains(&minor.len()) && minor.bytes().all(|b| b.is_ascii_digit());
        let is_spoken = is_final || self.drafts && DRAFTS.contains(&version);
        is_spoken.then_some(()).ok_or(DiscoveryError::Version)
    }

    fn located(&self, member: &'static str, url: &str) -> Result<(Uri, Box<str>), DiscoveryError> {
        let endpoint = MetadataError::Endpoint { member };
        let uri: Uri = url.parse().map_err(|_| endpoint.clone())?;
        let found = origin(&uri).ok_or(endpoint)?;
        let is_allowed = self.origins().any(|allowed| *allowed == found);
        is_allowed
            .then_some((uri, found))
            .ok_or(DiscoveryError::Origin { member })
    }
}

impl Transmitter {
    /// Its name: what its SETs have in `iss`.
    pub fn issuer(&self) -> &str {
        self.metadata.issuer()
    }

    /// All that it says.
    pub fn metadata(&self) -> &TransmitterMetadata {
        &self.metadata
    }

    /// Where its keys are.
    pub fn jwks_uri(&self) -> &Uri {
        &self.jwks_uri
    }

    /// The origin where its keys are, for [`Discovery::pinned_to`].
    pub fn keys_origin(&self) -> &str {
        &self.keys_origin
    }

    /// Whether it delivers like this, or does not say.
    pub fn supports(&self, method: DeliveryMethod) -> bool {
        self.metadata.supports(method)
    }
}

impl Transmitter {
    /// Whether `url` is `https` and at an origin where its endpoints may be.
    pub(crate) fn may_be_at(&self, url: &str) -> bool {
        let uri = url.parse::<Uri>().ok().filter(|_| !url.contains('@'));
        let found = uri.as_ref().and_then(origin);
        found.is_some_and(|found| self.origins.contains(&found))
    }
}

/// Scheme, host and port of an `https` URL, the host in lower case and the port always there.
fn origin(uri: &Uri) -> Option<Box<str>> {
    let host = uri.host().filter(|host| !host.is_empty())?;
    let port = match uri.port() {
        Some(port) => port.as_str().parse().ok()?,
        None => 443_u16,
    };
    let is_https = uri.scheme_str() == Some("https");
    let origin = format!("https://{}:{port}", host.to_ascii_lowercase());
    is_https.then(|| origin.into_boxed_str())
}

fn parse_origin(text: &str) -> Result<Box<str>, DiscoveryError> {
    let rest = text.strip_prefix("https://");
    let is_bare = rest.is_some_and(|rest| !rest.contains(['/', '?', '#', '@', '\\']));
    let uri = text.parse::<Uri>().ok().filter(|_| is_bare);
    let origin = uri.as_ref().and_then(origin);
    origin.ok_or(DiscoveryError::NoOrigin)
}
