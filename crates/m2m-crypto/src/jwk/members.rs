//! Reads the members of one JWK strictly: each at most once, each of its type.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Bytes, Jwk, JwkError};
use crate::base64url;

/// The members that hold a secret, by the name the JSON has.
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// What one JSON object said: the public members, and where in the text the private ones are.
pub(crate) struct Members<'a> {
    pub(crate) public: Jwk,
    private: Vec<(&'static str, Private<'a>)>,
}

enum Private<'a> {
    /// A slice of the caller's text; nothing was copied.
    Text(&'a str),
    /// A string that had to be unescaped.
    Escaped,
    Other,
}

/// Reads one JWK and keeps pointers to its private members.
pub(crate) fn parse(json: &[u8]) -> Result<Members<'_>, JwkError> {
    if json.len() > Jwk::MAX_BYTES {
        return Err(JwkError::TooLong {
            found: json.len(),
            limit: Jwk::MAX_BYTES,
        });
    }
    // serde_json does not check what it skips, so check the whole.
    let text = std::str::from_utf8(json).map_err(|_| JwkError::Json { line: 0, column: 0 })?;
    let at = |error: serde_json::Error| JwkError::Json {
        line: error.line(),
        column: error.column(),
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(MembersVisitor).map_err(at)??;
    deserializer.end().map_err(at)?;
    Ok(members)
}

impl<'a> Members<'a> {
    /// The text of a private member that must be there.
    pub(crate) fn private(&self, member: &'static str) -> Result<&'a str, JwkError> {
        match self.private.iter().find(|(name, _)| *name == member) {
            Some((_, Private::Text(text))) => Ok(text),
            Some((_, Private::Escaped)) => Err(JwkError::Escaped { member }),
            Some((_, Private::Other)) => Err(JwkError::WrongType { member }),
            None => Err(JwkError::Missing { member }),
        }
    }

    pub(crate) fn has_private(&self, member: &str) -> bool {
        self.private.iter().any(|(name, _)| *name == member)
    }

    fn set(&mut self, name: &str, value: Value<'a>) -> Result<(), JwkError> {
        let jwk = &mut self.public;
        match name {
            "kty" => {
                let text = value.short_text("kty")?;
                if !jwk.kty.is_empty() {
                    return Err(JwkError::Duplicate {
                        member: Some("kty"),
                    });
                }
                jwk.kty = text;
                Ok(())
            }
            "use" => put(&mut jwk.usage, "use", value.short_text("use")?),
            "alg" => put(&mut jwk.alg, "alg", value.short_text("alg")?),
            "crv" => put(&mut jwk.crv, "crv", value.short_text("crv")?),
            "kid" => put(
                &mut jwk.kid,
                "kid",
                bounded("kid", value.text("kid")?, Jwk::MAX_KID_BYTES)?,
            ),
            "key_ops" => put(&mut jwk.key_ops, "key_ops", value.operations()?),
            "x" => put(&mut jwk.x, "x", value.bytes("x")?),
            "y" => put(&mut jwk.y, "y", value.bytes("y")?),
            "n" => put(&mut jwk.n, "n", value.bytes("n")?),
            "e" => put(&mut jwk.e, "e", value.bytes("e")?),
            "pub" => put(&mut jwk.public, "pub", value.bytes("pub")?),
            _ => Ok(()),
        }
    }

    fn set_private(&mut self, member: &'static str, value: Value<'a>) -> Result<(), JwkError> {
        if self.has_private(member) {
            return Err(JwkError::Duplicate {
                member: Some(member),
            });
        }
        let value = match value {
            Value::Text(Cow::Borrowed(text)) => Private::Text(text),
            Value::Text(Cow::Owned(_)) => Private::Escaped,
            Value::List(_) | Value::Other => Private::Other,
        };
        self.public.has_private_members = true;
        self.private.push((member, value));
        Ok(())
    }

    fn complete(self) -> Result<Self, JwkError> {
        if self.public.kty.is_empty() {
            return Err(JwkError::Missing { member: "kty" });
        }
        Ok(self)
    }
}

fn put<T>(place: &mut Option<T>, member: &'static str, value: T) -> Result<(), JwkError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(JwkError::Duplicate {
            member: Some(member),
        }),
    }
}

pub(super) fn bounded(
    member: &'static str,
    text: &str,
    limit: usize,
) -> Result<Box<str>, JwkError> {
    if text.len() > limit {
        return Err(JwkError::MemberTooLong {
            member,
            found: text.len(),
            limit,
        });
    }
    Ok(text.into())
}

/// Reads the object. The inner result is ours, so that its facts survive serde's error type.
pub(super) struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Result<Members<'de>, JwkError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON Web Key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members {
            public: Jwk::bare(""),
            private: Vec::new(),
        };
        let mut foreign: Vec<Box<str>> = Vec::new();
        let mut count = 0;
        let mut refusal = None;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            count += 1;
            if count > Jwk::MAX_MEMBERS {
                refusal.get_or_insert(JwkError::TooManyMembers {
                    limit: Jwk::MAX_MEMBERS,
                });
            }
            if refusal.is_some() {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let name = &*name.0;
            let outcome = if let Some(member) = PRIVATE_MEMBERS.iter().find(|known| **known == name)
            {
                members.set_private(member, map.next_value_seed(ValueVisitor { secret: true })?)
            } else if is_public_member(name) {
                members.set(name, map.next_value()?)
            } else {
                map.next_value::<IgnoredAny>()?;
                if foreign.iter().any(|seen| **seen == *name) {
                    Err(JwkError::Duplicate { member: None })
                } else {
                    foreign.push(name.into());
                    Ok(())
                }
            };
            refusal = outcome.err();
        }
        Ok(match refusal {
            Some(error) => Err(error),
            None => members.complete(),
        })
    }
}

fn is_public_member(name: &str) -> bool {
    matches!(
        name,
        "kty" | "use" | "key_ops" | "alg" | "kid" | "crv" | "x" | "y" | "n" | "e" | "pub"
    )
}

/// One member's value, as far as a JWK cares.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// An array; `None` if something in it is not a string.
    List(Option<Vec<Box<str>>>),
    Other,
}

impl Value<'_> {
    fn text(&self, member: &'static str) -> Result<&str, JwkError> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(JwkError::WrongType { member }),
        }
    }

    fn short_text(&self, member: &'static str) -> Result<Box<str>, JwkError> {
        bounded(member, self.text(member)?, 64)
    }

    fn bytes(&self, member: &'static str) -> Result<Bytes, JwkError> {
        base64url::decode(self.text(member)?)
            .map(|bytes| Bytes(bytes.into()))
            .ok_or(JwkError::NotBase64url { member })
    }

    fn operations(self) -> Result<Vec<Box<str>>, JwkError> {
        let Self::List(Some(operations)) = self else {
            return Err(JwkError::WrongType { member: "key_ops" });
        };
        let repeats = operations
            .iter()
            .enumerate()
            .any(|(at, operation)| operations.iter().skip(at + 1).any(|o| o == operation));
        if repeats || operations.len() > MAX_OPERATIONS {
            return Err(JwkError::KeyOps);
        }
        Ok(operations)
    }
}

const MAX_OPERATIONS: usize = 16;

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueVisitor { secret: false }.deserialize(deserializer)
    }
}

struct ValueVisitor {
    /// Never copy the text.
    secret: bool,
}

impl<'de> DeserializeSeed<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        let copied = if self.secret { "" } else { text };
        Ok(Value::Text(Cow::Owned(copied.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_none<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut list = Some(Vec::new());
        while let Some(item) = seq.next_element::<ListItem>()? {
            // One more than allowed is enough to be refused; an attacker's million is not kept.
            match (&mut list, item.0) {
                (Some(items), Some(text)) if items.len() <= MAX_OPERATIONS => items.push(text),
                (Some(_), Some(_)) => {}
                (_, _) => list = None,
            }
        }
        Ok(Value::List(list))
    }
}

/// A string in an array, or something else.
struct ListItem(Option<Box<str>>);

impl<'de> Deserialize<'de> for ListItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Text(text) if text.len() <= 64 => Self(Some(text.into())),
            _ => Self(None),
        })
    }
}

/// A string, borrowed where it needs no unescaping.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a member name is a string")),
        }
    }
}
