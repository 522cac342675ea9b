//! `StreamConfiguration`: a stream as both sides know it, and `StreamRequest`: what its receiver may say
//! about it (SSF 1.0 §8.1.1).

use std::fmt;

use caep_set::Members;
use m2m_crypto::SecretBytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::body::{self, BodyError};
use crate::management::MAX_BODY;

/// How SETs are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "there are two standards")]
pub enum DeliveryMethod {
    /// Push (RFC 8935).
    Push,
    /// Poll (RFC 8936).
    Poll,
}

impl DeliveryMethod {
    /// The name of the method (SSF 1.0 §6.1).
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Push => "urn:ietf:rfc:8935",
            Self::Poll => "urn:ietf:rfc:8936",
        }
    }

    /// Reads the name of a method; names of drafts too.
    pub fn parse(urn: &str) -> Option<Self> {
        match urn {
            "urn:ietf:rfc:8935"
            | "https://schemas.openid.net/secevent/risc/delivery-method/push" => Some(Self::Push),
            "urn:ietf:rfc:8936"
            | "https://schemas.openid.net/secevent/risc/delivery-method/poll" => Some(Self::Poll),
            _ => None,
        }
    }
}

/// The value of the `Authorization` header of pushes: a secret of the receiver's, wiped when it is
/// dropped, never shown and compared in constant time.
pub struct SecretHeader(SecretBytes);

/// The longest one.
const MAX_SECRET: usize = 4096;

impl SecretHeader {
    /// Takes a header's value: visible ASCII and spaces.
    ///
    /// # Errors
    ///
    /// [`BodyError::Member`] if it is empty, longer than 4 KiB or could end the header.
    pub fn new(value: &str) -> Result<Self, BodyError> {
        let is_value = (1..=MAX_SECRET).contains(&value.len())
            && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && value.trim() == value;
        match is_value {
            true => Ok(Self(SecretBytes::from(value.as_bytes()))),
            false => Err(BodyError::Member {
                member: "authorization_header",
                problem: "is no value of a header",
            }),
        }
    }

    /// The value, to be sent. Searching for this name is the audit.
    pub fn expose_secret(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Whether a push has it, in constant time.
    pub fn is(&self, value: &[u8]) -> bool {
        self.0.ct_eq(value)
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHeader([redacted])")
    }
}

/// Where SETs of a stream go, or are to be had.
#[derive(Debug)]
pub struct Delivery {
    method: DeliveryMethod,
    endpoint_url: Option<Box<str>>,
    authorization: Option<SecretHeader>,
}

impl Delivery {
    /// They are pushed to `endpoint_url`, with `authorization` as the value of that header.
    pub fn push(endpoint_url: &str, authorization: Option<SecretHeader>) -> Self {
        Self {
            method: DeliveryMethod::Push,
            endpoint_url: Some(Box::from(endpoint_url)),
            authorization,
        }
    }

    /// They are polled. Where, the transmitter says.
    pub fn poll() -> Self {
        Self {
            method: DeliveryMethod::Poll,
            endpoint_url: None,
            authorization: None,
        }
    }

    /// They are polled at `endpoint_url`.
    pub fn poll_at(endpoint_url: &str) -> Self {
        Self {
            endpoint_url: Some(Box::from(endpoint_url)),
            ..Self::poll()
        }
    }

    /// How.
    pub fn method(&self) -> DeliveryMethod {
        self.method
    }

    /// Where.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.endpoint_url.as_deref()
    }

    /// What a push has to show.
    pub fn authorization(&self) -> Option<&SecretHeader> {
        self.authorization.as_ref()
    }

    fn of_members(members: &Members) -> Result<Self, BodyError> {
        let method = body::required_name(members, "method")?;
        let method = DeliveryMethod::parse(&method).ok_or(BodyError::Member {
            member: "method",
            problem: "is neither push (RFC 8935) nor poll (RFC 8936)",
        })?;
        let endpoint_url = body::name(members, "endpoint_url")?;
        if method == DeliveryMethod::Push && endpoint_url.is_none() {
            return Err(BodyError::Missing {
                member: "endpoint_url",
            });
        }
        let authorization: Option<Box<str>> =
            body::optional(members, "authorization_header", "is not a string")?;
        let authorization = authorization.map(|value| SecretHeader::new(&value));
        Ok(Self {
            method,
            endpoint_url,
            authorization: authorization.transpose()?,
        })
    }

    fn read(members: &Members) -> Result<Option<Self>, BodyError> {
        let delivery: Option<Members> = body::optional(members, "delivery", "is not an object")?;
        delivery.as_ref().map(Self::of_members).transpose()
    }

    fn write<S: Serializer>(&self, serializer: S, with: Secrets) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", self.method.urn())?;
        if let Some(url) = &self.endpoint_url {
            map.serialize_entry("endpoint_url", url)?;
        }
        if let Some(header) = self
            .authorization
            .as_ref()
            .filter(|_| with == Secrets::Written)
        {
            let value = std::str::from_utf8(header.expose_secret()).unwrap_or_default();
            map.serialize_entry("authorization_header", value)?;
        }
        map.end()
    }
}

/// Whether secrets are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrets {
    /// In what a receiver sends: the transmitter needs them.
    Written,
    /// In what a transmitter answers: the receiver knows them.
    LeftOut,
}

struct WithSecrets<'d>(&'d Delivery, Secrets);

impl Serialize for WithSecrets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer, self.1)
    }
}

/// What a receiver says about its stream: when it makes one (POST), changes one (PATCH) or replaces one
/// (PUT).
///
/// It writes only members that are a receiver's to give, and `stream_id`. What it reads may repeat a
/// transmitter's members, which [`StreamRequest::check_against`] compares: they cannot be changed
/// (SSF 1.0 §8.1.1.3).
#[derive(Debug, Default)]
pub struct StreamRequest {
    stream_id: Option<Box<str>>,
    events_requested: Option<Vec<Box<str>>>,
    delivery: Option<Delivery>,
    description: Option<Box<str>>,
    /// Members that are the transmitter's, as they were sent.
    repeated: Members,
}

/// Members that only a transmitter gives. `status` was one of them in drafts; now it has its own endpoint.
const TRANSMITTERS: [&str; 7] = [
    "iss",
    "aud",
    "events_supported",
    "events_delivered",
    "min_verification_interval",
    "inactivity_timeout",
    "status",
];

impl StreamRequest {
    /// Says nothing yet: makes a stream that is polled, with whatever events the transmitter thinks fit.
    pub fn new() -> Self {
        Self::default()
    }

    /// About this stream. For changes; a new stream gets its name from the transmitter.
    #[must_use]
    pub fn about(mut self, stream_id: &str) -> Self {
        self.stream_id = Some(Box::from(stream_id));
        self
    }

    /// `events_requested`: the types of events that are wanted, by their URIs.
    #[must_use]
    pub fn requesting<'u>(mut self, uris: impl IntoIterator<Item = &'u str>) -> Self {
        self.events_requested = Some(uris.into_iter().map(Box::from).collect());
        self
    }

    /// `delivery`: how they are to be delivered.
    #[must_use]
    pub fn delivered_by(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// `description`: a word for people.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = Some(Box::from(description));
        self
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`BodyError`], with the status to answer.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_BODY)?;
        let mut repeated = Members::new();
        for name in TRANSMITTERS {
            if let Ok(Some(value)) = members.read::<Box<serde_json::value::RawValue>>(name) {
                // What was read as JSON can be written as JSON.
                let _ = repeated.set(name, &value);
            }
        }
        Ok(Self {
            stream_id: body::name(&members, "stream_id")?,
            events_requested: body::names(&members, "events_requested")?,
            delivery: Delivery::read(&members)?,
            description: body::text(&members, "description")?,
            repeated,
        })
    }

    /// Whether what it repeats of the transmitter's members is so. A new stream has none yet: then
    /// nothing may be repeated.
    ///
    /// # Errors
    ///
    /// [`BodyError::Member`] for the first that is not, to be answered with 400.
    pub fn check_against(&self, current: Option<&StreamConfiguration>) -> Result<(), BodyError> {
        let current = current.map(|current| serde_json::to_string(current).unwrap_or_default());
        let current = current.and_then(|json| Members::from_json(&json).ok());
        for name in TRANSMITTERS {
            let Some(found) = self.repeated.json(name) else {
                continue;
            };
            let same = current.as_ref().is_some_and(|current| {
                let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
                current.json(name).and_then(value) == value(found)
            });
            if !same {
                return Err(BodyError::Member {
                    member: name,
                    problem: "is the transmitter's to say, and is not so",
                });
            }
        }
        Ok(())
    }

    /// `stream_id`.
    pub fn stream_id(&self) -> Option<&str> {
        self.stream_id.as_deref()
    }

    /// `events_requested`.
    pub fn events_requested(&self) -> Option<impl Iterator<Item = &str>> {
        let uris = self.events_requested.as_ref()?;
        Some(uris.iter().map(|uri| &**uri))
    }

    /// `delivery`.
    pub fn delivery(&self) -> Option<&Delivery> {
        self.delivery.as_ref()
    }

    /// `description`.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

impl Serialize for StreamRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(stream_id) = &self.stream_id {
            map.serialize_entry("stream_id", stream_id)?;
        }
        if let Some(uris) = &self.events_requested {
            map.serialize_entry("events_requested", uris)?;
        }
        if let Some(delivery) = &self.delivery {
            map.serialize_entry("delivery", &WithSecrets(delivery, Secrets::Written))?;
        }
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.end()
    }
}

/// A stream as its transmitter describes it (SSF 1.0 §8.1.1).
#[derive(Debug)]
pub struct StreamConfiguration {
    /// `stream_id`: its name.
    pub stream_id: Box<str>,
    /// `iss`: the transmitter. A receiver compares it with the metadata it came from.
    pub issuer: Box<str>,
    /// `aud`: the receiver's names in its SETs.
    pub audience: Vec<Box<str>>,
    /// `delivery`: how and where. A secret in it is not written.
    pub delivery: Delivery,
    /// `events_supported`: what could be had.
    pub events_supported: Option<Vec<Box<str>>>,
    /// `events_requested`: what was asked for.
    pub events_requested: Option<Vec<Box<str>>>,
    /// `events_delivered`: what comes.
    pub events_delivered: Vec<Box<str>>,
    /// `min_verification_interval`: how many seconds are to be between verifications.
    pub min_verification_interval: Option<u32>,
    /// `inactivity_timeout`: after how many seconds without a word the transmitter may stop.
    pub inactivity_timeout: Option<u32>,
    /// `description`: a word for people.
    pub description: Option<Box<str>>,
}

impl StreamConfiguration {
    /// Reads the answer of the transmitter called `issuer`.
    ///
    /// # Errors
    ///
    /// [`BodyError`]; also if it speaks for another transmitter (SSF 1.0 §8.1.1).
    pub fn from_json(issuer: &str, body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_BODY)?;
        let found = body::required_name(&members, "iss")?;
        if *found != *issuer {
            return Err(BodyError::Member {
                member: "iss",
                problem: "is another transmitter's name",
            });
        }
        let audience: Option<Box<str>> = members.read("aud").ok().flatten();
        let audience = match audience {
            Some(name) => vec![name],
            None => body::names(&members, "aud")?.ok_or(BodyError::Missing { member: "aud" })?,
        };
        if audience.is_empty() || !audience.iter().all(|name| body::is_name(name)) {
            return Err(BodyError::Member {
                member: "aud",
                problem: "is neither a name nor an array of names",
            });
        }
        let delivered = body::names(&members, "events_delivered")?;
        let seconds = |member| body::optional(&members, member, "is no number of seconds");
        Ok(Self {
            stream_id: body::required_name(&members, "stream_id")?,
            issuer: found,
            audience,
            delivery: Delivery::read(&members)?.ok_or(BodyError::Missing { member: "delivery" })?,
            events_supported: body::names(&members, "events_supported")?,
            events_requested: body::names(&members, "events_requested")?,
            events_delivered: delivered.ok_or(BodyError::Missing {
                member: "events_delivered",
            })?,
            min_verification_interval: seconds("min_verification_interval")?,
            inactivity_timeout: seconds("inactivity_timeout")?,
            description: body::text(&members, "description")?,
        })
    }
}

impl Serialize for StreamConfiguration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("stream_id", &self.stream_id)?;
        map.serialize_entry("iss", &self.issuer)?;
        match self.audience.as_slice() {
            [one] => map.serialize_entry("aud", one)?,
            several => map.serialize_entry("aud", several)?,
        }
        map.serialize_entry("delivery", &WithSecrets(&self.delivery, Secrets::LeftOut))?;
        if let Some(uris) = &self.events_supported {
            map.serialize_entry("events_supported", uris)?;
        }
        if let Some(uris) = &self.events_requested {
            map.serialize_entry("events_requested", uris)?;
        }
        map.serialize_entry("events_delivered", &self.events_delivered)?;
        if let Some(seconds) = self.min_verification_interval {
            map.serialize_entry("min_verification_interval", &seconds)?;
        }
        if let Some(seconds) = self.inactivity_timeout {
            map.serialize_entry("inactivity_timeout", &seconds)?;
        }
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        map.end()
    }
}
