//! Poll (RFC 8936): a receiver asks for SETs and acknowledges those it has recorded.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use caep_set::{ErrorCode, Members};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::body::{self, BodyError};
use crate::delivery::SetFailure;

/// The longest body of a request, in bytes: acknowledgements of thousands of SETs.
pub const MAX_REQUEST: usize = 1 << 20;
/// The longest body of a response, in bytes: a thousand SETs of the largest kind.
pub const MAX_RESPONSE: usize = 16 << 20;
/// The most SETs in a response, and acknowledgements in a request.
pub const MAX_SETS: usize = 10_000;

/// What a receiver asks for (RFC 8936 §2.2).
///
/// The default asks for everything there is, and waits until there is something.
///
/// ```
/// use caep_stream::poll::PollRequest;
///
/// let request = PollRequest::new().acknowledging(["4d35"]).returning_immediately();
/// let json = serde_json::to_string(&request)?;
/// assert_eq!(json, r#"{"returnImmediately":true,"ack":["4d35"]}"#);
/// assert_eq!(PollRequest::from_json(json.as_bytes())?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollRequest {
    max_events: Option<u32>,
    return_immediately: bool,
    acknowledged: Vec<Box<str>>,
    failed: Vec<(Box<str>, SetFailure)>,
}

impl PollRequest {
    /// Asks for everything there is, and waits until there is something.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for at most `count` SETs; for none, it only acknowledges.
    #[must_use]
    pub fn with_max_events(mut self, count: u32) -> Self {
        self.max_events = Some(count);
        self
    }

    /// Does not wait until there is something.
    #[must_use]
    pub fn returning_immediately(mut self) -> Self {
        self.return_immediately = true;
        self
    }

    /// Acknowledges SETs, by their `jti`. They must have been recorded before.
    #[must_use]
    pub fn acknowledging<'n>(mut self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.acknowledged.extend(names.into_iter().map(Box::from));
        self
    }

    /// Says that a SET is not taken.
    #[must_use]
    pub fn refusing(mut self, name: &str, code: ErrorCode) -> Self {
        self.failed.push((Box::from(name), SetFailure::new(code)));
        self
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`BodyError`], with the status to answer.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let members = body::members(body, MAX_REQUEST)?;
        let acknowledged: Option<Vec<Box<str>>> =
            body::optional(&members, "ack", "is not an array of strings")?;
        let acknowledged = acknowledged.unwrap_or_default();
        if acknowledged.len() > MAX_SETS {
            return Err(too_many("ack"));
        }
        Ok(Self {
            max_events: body::optional(&members, "maxEvents", "is no whole number from 0 on")?,
            return_immediately: body::optional(&members, "returnImmediately", "is no boolean")?
                .unwrap_or(false),
            acknowledged,
            failed: failures(&members)?,
        })
    }

    /// `maxEvents`: at most how many SETs; `None` for all there are.
    pub fn max_events(&self) -> Option<u32> {
        self.max_events
    }

    /// `returnImmediately`: whether an empty answer is wanted if there is nothing.
    pub fn returns_immediately(&self) -> bool {
        self.return_immediately
    }

    /// `ack`: the SETs that the receiver has.
    pub fn acknowledged(&self) -> impl Iterator<Item = &str> {
        self.acknowledged.iter().map(|name| &**name)
    }

    /// `setErrs`: the SETs that the receiver will not take, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &SetFailure)> {
        self.failed.iter().map(|(name, failure)| (&**name, failure))
    }
}

fn too_many(member: &'static str) -> BodyError {
    BodyError::Member {
        member,
        problem: "has more than 10000 entries",
    }
}

fn failures(members: &Members) -> Result<Vec<(Box<str>, SetFailure)>, BodyError> {
    const NAME: &str = "setErrs";
    const PROBLEM: &str = "is not an object of errors";
    let Some(json) = members.json(NAME) else {
        return Ok(Vec::new());
    };
    let wrong = || BodyError::Member {
        member: NAME,
        problem: PROBLEM,
    };
    let failures: Entries<Members> = serde_json::from_str(json).map_err(|_| wrong())?;
    let failures = failures
        .0
        .into_iter()
        .map(|(name, members)| Ok((name, SetFailure::of_members(&members)?)));
    failures.collect()
}

impl Serialize for PollRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(count) = self.max_events {
            map.serialize_entry("maxEvents", &count)?;
        }
        if self.return_immediately {
            map.serialize_entry("returnImmediately", &true)?;
        }
        if !self.acknowledged.is_empty() {
            map.serialize_entry("ack", &self.acknowledged)?;
        }
        if !self.failed.is_empty() {
            map.serialize_entry("setErrs", &Named(&self.failed))?;
        }
        map.end()
    }
}

/// Names and values, written as an object.
struct Named<'a, V>(&'a [(Box<str>, V)]);

impl<V: Serialize> Serialize for Named<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a transmitter answers (RFC 8936 §2.3).
///
/// ```
/// use caep_stream::poll::PollResponse;
///
/// let response = PollResponse::new([("4d35", "eyJh.eyJi.c2ln")]).with_more_available();
/// let json = serde_json::to_string(&response)?;
/// assert_eq!(json, r#"{"sets":{"4d35":"eyJh.eyJi.c2ln"},"moreAvailable":true}"#);
/// assert_eq!(PollResponse::from_json(json.as_bytes())?, response);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollResponse {
    sets: Vec<(Box<str>, Box<str>)>,
    more_available: bool,
}

impl PollResponse {
    /// Names (`jti`) and the SETs that have them.
    pub fn new<'s>(sets: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        let sets = sets
            .into_iter()
            .map(|(name, set)| (name.into(), set.into()));
        Self {
            sets: sets.collect(),
            more_available: false,
        }
    }

    /// Says that there are more.
    #[must_use]
    pub fn with_more_available(mut self) -> Self {
        self.more_available = true;
        self
    }

    /// Reads the body of a response.
    ///
    /// # Errors
    ///
    /// [`BodyError`] if it is none, or has more than [`MAX_RESPONSE`] bytes or [`MAX_SETS`] SETs.
    pub fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        /// The body as it is written. Members of other names are passed over.
        #[derive(serde::Deserialize)]
        struct Written {
            sets: Entries<Box<str>>,
            #[serde(default, rename = "moreAvailable")]
            more_available: Option<bool>,
        }
        if body.len() > MAX_RESPONSE {
            return Err(BodyError::TooLong {
                length: body.len(),
                limit: MAX_RESPONSE,
            });
        }
        let written: Written = serde_json::from_slice(body).map_err(|_| BodyError::Member {
            member: "sets",
            problem: "is missing, or it or `moreAvailable` is not what it should be",
        })?;
        Ok(Self {
            sets: written.sets.0,
            more_available: written.more_available.unwrap_or(false),
        })
    }

    /// `sets`: names, and the SETs that must have them as their `jti`.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sets.iter().map(|(name, set)| (&**name, &**set))
    }

    /// `moreAvailable`: whether it is worth asking again at once.
    pub fn more_available(&self) -> bool {
        self.more_available
    }
}

impl Serialize for PollResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sets", &Named(&self.sets))?;
        if self.more_available {
            map.serialize_entry("moreAvailable", &true)?;
        }
        map.end()
    }
}

/// The members of an object, by the thousand. One with a name that comes twice is refused.
struct Entries<V>(Vec<(Box<str>, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        while let Some((name, value)) = map.next_entry::<Box<str>, V>()? {
            if entries.len() == MAX_SETS || !body::is_name(&name) {
                return Err(A::Error::custom("too many, or a name that is none"));
            }
            if !names.insert(name.clone()) {
                return Err(A::Error::custom("a name comes twice"));
            }
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}
