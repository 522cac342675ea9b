//! `Members`: a JSON object kept as it was written, so that what nobody here understands survives.

mod borrowed;

pub(crate) use borrowed::{Borrowed, Json};

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// The most members of one object. The largest event defined anywhere has ten.
const MAX_MEMBERS: usize = 256;

/// The members of a JSON object, in their order, each value as it was written.
///
/// Used for what a standard leaves open: SSF 1.0 §4.2.3 allows further members anywhere, and what came
/// in goes out again unchanged. At most 256; a name that comes twice is refused.
///
/// ```
/// use caep_set::Members;
///
/// let mut members = Members::from_json(r#"{"b": 1.50, "a": ["x"]}"#)?;
/// assert_eq!(members.json("b"), Some("1.50"));
/// members.set("c", &true)?;
/// assert_eq!(serde_json::to_string(&members)?, r#"{"b":1.50,"a":["x"],"c":true}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Members {
    list: Vec<(Box<str>, Box<RawValue>)>,
}

/// JSON that is not the object it should be. Says where, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an acceptable JSON object: see line {line}, column {column}")]
pub struct MembersError {
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for MembersError {
    // serde's own message quotes what it found, and that may be anybody's data.
    fn from(error: serde_json::Error) -> Self {
        Self {
            line: error.line(),
            column: error.column(),
        }
    }
}

impl Members {
    /// None.
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Reads one JSON object and nothing behind it.
    ///
    /// # Errors
    ///
    /// [`MembersError`] for anything else, for a name that comes twice, and for too many of them.
    pub fn from_json(text: &str) -> Result<Self, MembersError> {
        Ok(serde_json::from_str(text)?)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The JSON text of the member `name`.
    pub fn json(&self, name: &str) -> Option<&str> {
        let found = self.list.iter().find(|(known, _)| &**known == name);
        found.map(|(_, value)| value.get())
    }

    /// Whether there is a member `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.json(name).is_some()
    }

    /// The member `name` as a `T`.
    ///
    /// # Errors
    ///
    /// [`MembersError`] if it is there but is no `T`: malformed is never absent.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, MembersError> {
        let text = self.json(name).map(serde_json::from_str);
        Ok(text.transpose()?)
    }

    /// Names and JSON texts, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().map(|(name, value)| (&**name, value.get()))
    }

    /// Sets the member `name`, in its place or at the end.
    ///
    /// # Errors
    ///
    /// [`MembersError`] if `value` cannot be written as JSON.
    pub fn set<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), MembersError> {
        let value = serde_json::value::to_raw_value(value)?;
        match self.list.iter_mut().find(|(known, _)| &**known == name) {
            Some((_, old)) => *old = value,
            None => self.list.push((Box::from(name), value)),
        }
        Ok(())
    }

    /// Writes the members into an object that is being written.
    pub(crate) fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.list
            .iter()
            .try_for_each(|(name, value)| map.serialize_entry(name, value))
    }
}

/// Two are equal if their names are, and their values mean the same, whatever the order.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|(name, value)| {
                other.json(name).is_some_and(|text| {
                text == value
                    || matches!(
                        (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(value)),
                        (Ok(one), Ok(two)) if one == two
                    )
            })
            })
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        self.write(&mut map)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut list: Vec<(Box<str>, Box<RawValue>)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<Box<str>, Box<RawValue>>()? {
            if list.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            if list.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a member comes twice"));
            }
            list.push((name, value));
        }
        Ok(Members { list })
    }
}

/// Shows the names, never the values: they are about people and machines.
impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.list.iter().map(|(name, _)| name))
            .finish()
    }
}
