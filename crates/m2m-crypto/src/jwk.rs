//! JSON Web Keys (RFC 7517): the public members, checked for form.

mod members;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use self::members::{Members, parse};
use self::members::{MembersVisitor, bounded};
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
    #[expect(clippy::missing_panics_doc, reason = "strings always serialise")]
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

    /// The same key for `usage`, or with [`None`] for whatever its reader knows it is for
    /// (RFC 7517 §4.2). In a SPIFFE bundle, for one, `use` says which kind of document a key signs.
    ///
    /// # Errors
    ///
    /// [`JwkError::MemberTooLong`] for more than 64 bytes.
    pub fn with_usage(mut self, usage: Option<&str>) -> Result<Self, JwkError> {
        self.usage = usage.map(|text| bounded("use", text, 64)).transpose()?;
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
