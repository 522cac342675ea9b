//! JSON Web Keys (RFC 7517): the public members, checked for form.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::base64url;

/// The public members of a JSON Web Key (RFC 7517), checked for form and not yet for meaning.
///
/// Reading one refuses duplicate members, members of the wrong type, non-canonical base64url and
/// oversized values. Private members (`d`, `p`, `q`, `dp`, `dq`, `qi`, `oth`, `k`, `priv`) are seen
/// and dropped: a `Jwk` cannot hold, show or republish a secret. Members not listed here, `x5c` and
/// its kin among them, are dropped too: trust in a key comes from where the key set came from.
///
/// A `Jwk` of an unknown `kty` is fine, so that one foreign key does not spoil a set;
/// [`VerifyingKey::from_jwk`](crate::VerifyingKey::from_jwk) will not take it.
///
/// ```
/// use m2m_crypto::Jwk;
///
/// let jwk = Jwk::from_json(br#"{"kty":"OKP","crv":"Ed25519","kid":"2026-11",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// assert_eq!(jwk.kid(), Some("2026-11"));
/// assert!(jwk.can_verify());
/// # Ok::<(), m2m_crypto::JwkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    // In the order RFC 7517 and RFC 7518 introduce them: the order `to_json` writes.
    pub(crate) kty: Box<str>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_ops: Option<Vec<Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alg: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kid: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crv: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) y: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) e: Option<Bytes>,
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    pub(crate) public: Option<Bytes>,
    #[serde(skip)]
    pub(crate) has_private_members: bool,
}

/// Why something is not a well-formed JWK.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// It is not one JSON object in UTF-8.
    #[error("not one JSON object in UTF-8 (line {line}, column {column})")]
    Json {
        /// Where it stopped making sense, from 1; 0 if unknown.
        line: usize,
        /// Where it stopped making sense, from 1; 0 if unknown.
        column: usize,
    },
    /// It is longer than [`Jwk::MAX_BYTES`].
    #[error("{found} bytes are more than the {limit} a JWK may have")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// It has more than [`Jwk::MAX_MEMBERS`] members.
    #[error("more than {limit} members")]
    TooManyMembers {
        /// The limit.
        limit: usize,
    },
    /// A member is there twice (RFC 7517 §4).
    #[error("a member is there twice: {}", .member.unwrap_or("one of unknown name"))]
    Duplicate {
        /// Its name, if it is one we know.
        member: Option<&'static str>,
    },
    /// A member every JWK must have is not there.
    #[error("{member} is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member has a value of the wrong JSON type.
    #[error("{member} has the wrong JSON type")]
    WrongType {
        /// Its name.
        member: &'static str,
    },
    /// A member's text is longer than allowed.
    #[error("{member} has {found} bytes, more than {limit}")]
    MemberTooLong {
        /// Its name.
        member: &'static str,
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A member is not base64url in its one canonical form.
    #[error("{member} is not canonical base64url without padding")]
    NotBase64url {
        /// Its name.
        member: &'static str,
    },
    /// `key_ops` says one operation twice (RFC 7517 §4.3) or has more than 16.
    #[error("key_ops repeats an operation or has more than 16")]
    KeyOps,
    /// A private member is written with JSON escapes, which no base64url needs.
    #[error("{member} is written with JSON escapes")]
    Escaped {
        /// Its name.
        member: &'static str,
    },
}

/// Bytes that JSON shows as base64url.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Box<[u8]>);

impl Jwk {
    /// The longest JSON text of one JWK, in bytes: eight times what an ML-DSA-87 key or an RSA key
    /// of 8192 bits needs, so that a certificate chain in `x5c` fits too.
    pub const MAX_BYTES: usize = 32 * 1024;
    /// The most members one JWK may have; the registries know fewer than 30.
    pub const MAX_MEMBERS: usize = 64;
    /// The longest `kid`, in bytes.
    pub const MAX_KID_BYTES: usize = 256;

    /// Reads one JWK. Nothing but whitespace may follow it.
    ///
    /// # Errors
    ///
    /// [`JwkError`] says which member is wrong and how.
    pub fn from_json(json: &[u8]) -> Result<Self, JwkError> {
        parse(json).map(|members| members.public)
    }

    /// The public members as JSON, without whitespace.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and arrays of strings always serialise")
    }

    /// The same key under the name `kid`.
    ///
    /// # Errors
    ///
    /// [`JwkError::MemberTooLong`] for more than [`Self::MAX_KID_BYTES`].
    pub fn with_kid(mut self, kid: &str) -> Result<Self, JwkError> {
        self.kid = Some(bounded("kid", kid, Self::MAX_KID_BYTES)?);
        Ok(self)
    }

    /// `kty`, the family of the key.
    pub fn kty(&self) -> &str {
        &self.kty
    }

    /// `kid`, the key's name: chosen by whoever wrote the JWK, so show it only escaped.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `alg`, the algorithm the key is for. Any text of at most 64 bytes.
    pub fn alg(&self) -> Option<&str> {
        self.alg.as_deref()
    }

    /// `use`: "sig", "enc" or something else.
    pub fn usage(&self) -> Option<&str> {
        self.usage.as_deref()
    }

    /// `key_ops`, the operations the key is for; `None` if the member is absent.
    pub fn key_ops(&self) -> Option<impl Iterator<Item = &str>> {
        self.key_ops
            .as_ref()
            .map(|operations| operations.iter().map(|operation| &**operation))
    }

    /// `crv`, the curve of an EC or OKP key.
    pub fn crv(&self) -> Option<&str> {
        self.crv.as_deref()
    }

    /// `x`: a coordinate (EC) or the public key (OKP).
    pub fn x(&self) -> Option<&[u8]> {
        self.x.as_ref().map(|bytes| &*bytes.0)
    }

    /// `y`: a coordinate.
    pub fn y(&self) -> Option<&[u8]> {
        self.y.as_ref().map(|bytes| &*bytes.0)
    }

    /// `n`: the RSA modulus, big-endian.
    pub fn n(&self) -> Option<&[u8]> {
        self.n.as_ref().map(|bytes| &*bytes.0)
    }

    /// `e`: the RSA public exponent, big-endian.
    pub fn e(&self) -> Option<&[u8]> {
        self.e.as_ref().map(|bytes| &*bytes.0)
    }

    /// `pub`: the public key of kty "AKP" (RFC 9964 §3).
    pub fn public(&self) -> Option<&[u8]> {
        self.public.as_ref().map(|bytes| &*bytes.0)
    }

    /// Whether the text had private members. They were dropped; whoever published them leaked them.
    pub fn has_private_members(&self) -> bool {
        self.has_private_members
    }

    /// Whether `use` and `key_ops` let this key verify signatures: `use` is absent or "sig", and
    /// `key_ops` is absent or names "verify" (RFC 7517 §4.2, §4.3).
    pub fn can_verify(&self) -> bool {
        self.allows("verify")
    }

    /// A JWK with nothing but its family.
    pub(crate) fn bare(kty: &str) -> Self {
        Self {
            kty: kty.into(),
            usage: None,
            key_ops: None,
            alg: None,
            kid: None,
            crv: None,
            x: None,
            y: None,
            n: None,
            e: None,
            public: None,
            has_private_members: false,
        }
    }

    pub(crate) fn allows(&self, operation: &str) -> bool {
        self.usage().is_none_or(|usage| usage == "sig")
            && self
                .key_ops()
                .is_none_or(|mut operations| operations.any(|listed| listed == operation))
    }
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("kty", &self.kty)
            .field("alg", &self.alg)
            .field("kid", &self.kid)
            .field("crv", &self.crv)
            .finish_non_exhaustive()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&base64url::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_map(MembersVisitor)?
            .map(|members| members.public)
            .map_err(serde::de::Error::custom)
    }
}

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

fn bounded(member: &'static str, text: &str, limit: usize) -> Result<Box<str>, JwkError> {
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
struct MembersVisitor;

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
