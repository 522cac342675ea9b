//! `TransmitterMetadata`: what a transmitter says of itself, and where (SSF 1.0 §7).

use caep_set::Members;
use http::Uri;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::body::{self, BodyError};
use crate::management::{DeliveryMethod, MAX_BODY};

/// Why metadata is not used. Nothing of it is, then (SSF 1.0 §7.2).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The body is not what it should be.
    #[error("{0}")]
    Body(BodyError),
    /// `issuer` is not the one that the metadata was fetched for, byte by byte. Whoever answers speaks for
    /// itself, not for the one that was asked.
    #[error("`issuer` is not {expected:?}, which was asked")]
    OtherIssuer {
        /// Whom we asked.
        expected: Box<str>,
    },
    /// The issuer is not an `https` URL without query and fragment (SSF 1.0 §7.1).
    #[error("an issuer is an `https` URL with a host, without user, query and fragment")]
    Issuer,
    /// An endpoint is no `https` URL.
    #[error("`{member}` is no `https` URL")]
    Endpoint {
        /// Which one.
        member: &'static str,
    },
}

impl From<BodyError> for MetadataError {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

/// Where the metadata of `issuer` is: the well-known path goes between host and path (SSF 1.0 §7.2).
///
/// ```
/// use caep_stream::well_known_url;
///
/// assert_eq!(
///     well_known_url("https://tr.example.com/issuer1")?,
///     "https://tr.example.com/.well-known/ssf-configuration/issuer1",
/// );
/// # Ok::<(), caep_stream::MetadataError>(())
/// ```
///
/// # Errors
///
/// [`MetadataError::Issuer`] if it cannot be an issuer's name.
pub fn well_known_url(issuer: &str) -> Result<String, MetadataError> {
    let rest = issuer
        .strip_prefix("https://")
        .ok_or(MetadataError::Issuer)?;
    let uri: Uri = issuer.parse().map_err(|_| MetadataError::Issuer)?;
    let is_plain = uri.host().is_some_and(|host| !host.is_empty())
        && !rest.contains(['?', '#', '@', '\\'])
        && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_plain {
        return Err(MetadataError::Issuer);
    }
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path.trim_end_matches('/')),
        None => (rest, ""),
    };
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(format!(
        "https://{authority}/.well-known/ssf-configuration{slash}{path}"
    ))
}

/// Which subjects are in a stream before its receiver says a word about subjects (SSF 1.0 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "all or none")]
pub enum DefaultSubjects {
    /// All that the transmitter knows: what is not wanted is removed.
    All,
    /// None: what is wanted is added.
    None,
}

impl DefaultSubjects {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::None => "NONE",
        }
    }
}

/// What a transmitter says of itself (SSF 1.0 §7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct TransmitterMetadata {
    issuer: Box<str>,
    spec_version: Option<Box<str>>,
    jwks_uri: Option<Box<str>>,
    delivery_methods: Option<Vec<Box<str>>>,
    endpoints: [Option<Box<str>>; ENDPOINTS.len()],
    critical_subject_members: Option<Vec<Box<str>>>,
    authorization_schemes: Option<Vec<Members>>,
    default_subjects: Option<Box<str>>,
    others: Members,
}

/// The endpoints by name; [`TransmitterMetadata::endpoints`] has their addresses in this order.
const ENDPOINTS: [&str; 5] = [
    "configuration_endpoint",
    "status_endpoint",
    "add_subject_endpoint",
    "remove_subject_endpoint",
    "verification_endpoint",
];

impl TransmitterMetadata {
    /// The metadata of `issuer`, which serves its keys at `jwks_uri`.
    ///
    /// # Errors
    ///
    /// [`MetadataError`] if one of them is no `https` URL.
    pub fn new(issuer: &str, jwks_uri: &str) -> Result<Self, MetadataError> {
        well_known_url(issuer)?;
        is_https("jwks_uri", jwks_uri)?;
        Ok(Self {
            issuer: Box::from(issuer),
            spec_version: Some(Box::from("1_0")),
            jwks_uri: Some(Box::from(jwks_uri)),
            delivery_methods: Some(vec![
                Box::from(DeliveryMethod::Push.urn()),
                Box::from(DeliveryMethod::Poll.urn()),
            ]),
            endpoints: Default::default(),
            critical_subject_members: None,
            authorization_schemes: None,
            default_subjects: None,
            others: Members::new(),
        })
    }

    /// Says where streams are managed: their configuration, their status, their subjects, and where a
    /// verification is asked for.
    ///
    /// # Errors
    ///
    /// [`MetadataError::Endpoint`] if one of them is no `https` URL.
    pub fn with_endpoints(
        mut self,
        configuration: &str,
        status: &str,
        add_subject: &str,
        remove_subject: &str,
        verification: &str,
    ) -> Result<Self, MetadataError> {
        let all = [
            configuration,
            status,
            add_subject,
            remove_subject,
            verification,
        ];
        for ((place, member), url) in self.endpoints.iter_mut().zip(ENDPOINTS).zip(all) {
            is_https(member, url)?;
            *place = Some(Box::from(url));
        }
        Ok(self)
    }

    /// Says whether all subjects are in a new stream, or none (`default_subjects`).
    #[must_use]
    pub fn with_default_subjects(mut self, subjects: DefaultSubjects) -> Self {
        self.default_subjects = Some(Box::from(subjects.as_str()));
        self
    }

    /// Says by which standards callers are authorised (`authorization_schemes`), such as
    /// `urn:ietf:rfc:6749` for OAuth 2.0 and `urn:ietf:rfc:8705` for certificates.
    #[must_use]
    pub fn with_authorization_schemes<'u>(
        mut self,
        urns: impl IntoIterator<Item = &'u str>,
    ) -> Self {
        let scheme = |urn| {
            let mut scheme = Members::new();
            // A string can be written as JSON.
            let _ = scheme.set("spec_urn", urn);
            scheme
        };
        self.authorization_schemes = Some(urns.into_iter().map(scheme).collect());
        self
    }

    /// Says which parts of complex subjects a receiver must understand (`critical_subject_members`).
    #[must_use]
    pub fn with_critical_subject_members<'n>(
        mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.critical_subject_members = Some(names.into_iter().map(Box::from).collect());
        self
    }

    /// Reads what was fetched for `issuer`.
    ///
    /// # Errors
    ///
    /// [`MetadataError`]; use nothing of it then.
    pub fn from_json(issuer: &str, body: &[u8]) -> Result<Self, MetadataError> {
        well_known_url(issuer)?;
        let members = body::members(body, MAX_BODY)?;
        let found = body::required_name(&members, "issuer")?;
        if *found != *issuer {
            return Err(MetadataError::OtherIssuer {
                expected: Box::from(issuer),
            });
        }
        let url = |member: &'static str| {
            let url = body::name(&members, member)?;
            url.as_deref().map_or(Ok(()), |url| is_https(member, url))?;
            Ok::<_, MetadataError>(url)
        };
        let jwks_uri = url("jwks_uri")?;
        let mut endpoints: [Option<Box<str>>; ENDPOINTS.len()] = Default::default();
        for (place, member) in endpoints.iter_mut().zip(ENDPOINTS) {
            *place = url(member)?;
        }
        let authorization_schemes = body::optional(
            &members,
            "authorization_schemes",
            "is not an array of objects",
        )?;
        let metadata = Self {
            issuer: found,
            spec_version: body::name(&members, "spec_version")?,
            jwks_uri,
            delivery_methods: body::names(&members, "delivery_methods_supported")?,
            endpoints,
            critical_subject_members: body::names(&members, "critical_subject_members")?,
            authorization_schemes,
            default_subjects: body::name(&members, "default_subjects")?,
            others: without(&members),
        };
        Ok(metadata)
    }

    /// `issuer`: the name that its SETs have in `iss`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `spec_version`; without it, the first implementer's draft (SSF 1.0 §7.1).
    pub fn spec_version(&self) -> &str {
        self.spec_version.as_deref().unwrap_or("1_0-ID1")
    }

    /// `jwks_uri`: where its keys are.
    pub fn jwks_uri(&self) -> Option<&str> {
        self.jwks_uri.as_deref()
    }

    /// Whether it says that it delivers like this. One that does not say may do either.
    pub fn supports(&self, method: DeliveryMethod) -> bool {
        let methods = self.delivery_methods.as_ref();
        methods.is_none_or(|known| known.iter().any(|urn| **urn == *method.urn()))
    }

    /// `configuration_endpoint`: where streams are made, read, changed and deleted.
    pub fn configuration_endpoint(&self) -> Option<&str> {
        self.endpoint("configuration_endpoint")
    }

    /// `status_endpoint`: where streams are paused.
    pub fn status_endpoint(&self) -> Option<&str> {
        self.endpoint("status_endpoint")
    }

    /// `add_subject_endpoint`: where interest in a subject is stated.
    pub fn add_subject_endpoint(&self) -> Option<&str> {
        self.endpoint("add_subject_endpoint")
    }

    /// `remove_subject_endpoint`: where interest in a subject is taken back.
    pub fn remove_subject_endpoint(&self) -> Option<&str> {
        self.endpoint("remove_subject_endpoint")
    }

    /// `verification_endpoint`: where a verification event is asked for.
    pub fn verification_endpoint(&self) -> Option<&str> {
        self.endpoint("verification_endpoint")
    }

    /// `critical_subject_members`: what of complex subjects must be understood; for
    /// [`caep_set::Profile::with_critical_subject_members`].
    pub fn critical_subject_members(&self) -> impl Iterator<Item = &str> {
        let members = self.critical_subject_members.iter().flatten();
        members.map(|name| &**name)
    }

    /// Whether all subjects are in a new stream (`default_subjects` is `ALL`).
    pub fn includes_all_subjects(&self) -> bool {
        self.default_subjects.as_deref() == Some("ALL")
    }

    /// Which subjects are in a new stream, if that is said.
    pub fn default_subjects(&self) -> Option<DefaultSubjects> {
        let all = [DefaultSubjects::All, DefaultSubjects::None];
        let said = self.default_subjects.as_deref()?;
        all.into_iter().find(|subjects| subjects.as_str() == said)
    }

    fn endpoint(&self, name: &str) -> Option<&str> {
        let at = ENDPOINTS.iter().position(|known| *known == name)?;
        self.endpoints.get(at)?.as_deref()
    }
}

/// Members that are not read here, to be written again.
fn without(members: &Members) -> Members {
    const READ: [&str; 6] = [
        "issuer",
        "spec_version",
        "jwks_uri",
        "delivery_methods_supported",
        "critical_subject_members",
        "default_subjects",
    ];
    let mut others = Members::new();
    for (name, _) in members.iter() {
        if READ.contains(&name) || ENDPOINTS.contains(&name) || name == "authorization_schemes" {
            continue;
        }
        if let Ok(Some(value)) = members.read::<Box<serde_json::value::RawValue>>(name) {
            // What was read as JSON can be written as JSON.
            let _ = others.set(name, &value);
        }
    }
    others
}

fn is_https(member: &'static str, url: &str) -> Result<(), MetadataError> {
    let is_https = url.strip_prefix("https://").is_some_and(|rest| {
        !rest.starts_with(['/', '?', '#'])
            && !rest.contains(['\\', '@'])
            && url.parse::<Uri>().is_ok()
    });
    match is_https {
        true => Ok(()),
        false => Err(MetadataError::Endpoint { member }),
    }
}

impl Serialize for TransmitterMetadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("issuer", &self.issuer)?;
        if let Some(version) = &self.spec_version {
            map.serialize_entry("spec_version", version)?;
        }
        if let Some(url) = &self.jwks_uri {
            map.serialize_entry("jwks_uri", url)?;
        }
        // Empty arrays must be left out (SSF 1.0 §7.1).
        let full = |list: &Option<Vec<Box<str>>>| list.clone().filter(|list| !list.is_empty());
        if let Some(methods) = full(&self.delivery_methods) {
            map.serialize_entry("delivery_methods_supported", &methods)?;
        }
        for (name, url) in ENDPOINTS.iter().zip(&self.endpoints) {
            if let Some(url) = url {
                map.serialize_entry(name, url)?;
            }
        }
        if let Some(members) = full(&self.critical_subject_members) {
            map.serialize_entry("critical_subject_members", &members)?;
        }
        let schemes = self.authorization_schemes.as_ref();
        if let Some(schemes) = schemes.filter(|schemes| !schemes.is_empty()) {
            map.serialize_entry("authorization_schemes", schemes)?;
        }
        if let Some(subjects) = &self.default_subjects {
            map.serialize_entry("default_subjects", subjects)?;
        }
        for (name, _) in self.others.iter() {
            if let Ok(Some(value)) = self.others.read::<Box<serde_json::value::RawValue>>(name) {
                map.serialize_entry(name, &value)?;
            }
        }
        map.end()
    }
}
