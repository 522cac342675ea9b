//! `Borrowed`: a JSON object while it is read, every name and value where it stands in the text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{MAX_MEMBERS, Members, MembersError};

/// The members of a JSON object, borrowed from its text. What is not read into something becomes
/// [`Members`] in the end; most often that is nothing, and nothing was copied.
#[derive(Default)]
pub(crate) struct Borrowed<'t> {
    list: Vec<(Cow<'t, str>, &'t RawValue)>,
}

impl<'t> Borrowed<'t> {
    /// Reads one JSON object and nothing behind it.
    pub(crate) fn from_json(text: &'t str) -> Result<Self, MembersError> {
        Ok(serde_json::from_str(text)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The JSON text of the member `name`.
    pub(crate) fn json(&self, name: &str) -> Option<&'t str> {
        let found = self.list.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.get())
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.json(name).is_some()
    }

    /// Takes the member `name` out and gives its JSON text.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'t str> {
        let at = self.list.iter().position(|(known, _)| known == name)?;
        Some(self.list.remove(at).1.get())
    }

    /// Names and values, in their order.
    pub(crate) fn into_list(self) -> Vec<(Cow<'t, str>, &'t RawValue)> {
        self.list
    }
}

/// What is to be kept of a text that is not.
impl From<Borrowed<'_>> for Members {
    fn from(borrowed: Borrowed<'_>) -> Self {
        let own = |(name, value): (Cow<'_, str>, &RawValue)| (Box::from(name), value.to_owned());
        Self {
            list: borrowed.list.into_iter().map(own).collect(),
        }
    }
}

impl<'de: 't, 't> Deserialize<'de> for Borrowed<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Borrowed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Borrowed<'de>, A::Error> {
        let mut list: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            if list.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            if list.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a member comes twice"));
            }
            if list.is_empty() {
                list.reserve_exact(USUAL_MEMBERS);
            }
            list.push((name, value));
        }
        Ok(Borrowed { list })
    }
}

/// As many as most objects in a SET have at most: room for them is made at once.
const USUAL_MEMBERS: usize = 8;

/// A name: as it stands there, or with its escapes undone.
struct Name<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}
