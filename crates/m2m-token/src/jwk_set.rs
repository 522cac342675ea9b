//! JWK sets (RFC 7517 §5): read with patience for what is unknown and none for what is wrong, and
//! published.

use std::fmt;

use m2m_crypto::{Algorithm, Backend, Jwk, KeyError, VerifyingKey};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::excerpt::Excerpt;
use crate::json::{JsonError, Members};
use crate::key_set::{Key, KeySet, KeySetError, MAX_KEYS};

/// A set of public keys as an issuer publishes it.
///
/// Reading one skips keys that are not for verifying signatures here, and says why
/// ([`JwkSet::skipped`]): unknown kinds, encryption keys, shared secrets, keys that are too small or
/// whose private half was published. One of them does not spoil the set. What is for verifying must
/// be right: a key that is malformed, or two of the same name, make the whole set refused.
///
/// ```
/// use m2m_token::JwkSet;
///
/// let set = JwkSet::parse(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"2026-11","use":"sig",
///      "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty":"AKP-9","alg":"FROM-THE-FUTURE","pub":"AAAA"}
/// ]}"#)?;
/// assert_eq!((set.len(), set.skipped().len()), (1, 1));
/// let published = set.to_json();
/// assert!(published.contains("2026-11"));
/// # Ok::<(), m2m_token::JwkSetError>(())
/// ```
#[derive(Clone, Debug)]
pub struct JwkSet {
    keys: KeySet,
    skipped: Vec<SkippedKey>,
}

/// A key of a set that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Where it stands in the set, from 0.
    pub index: usize,
    /// Its `kid`, if it has one that can be read.
    pub kid: Option<Excerpt>,
    /// Why it is not used.
    pub reason: SkipReason,
}

/// Why a key of a set is not used.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It is not for verifying signatures (`use`, `key_ops`).
    Usage,
    /// It is a shared secret, which has no business in a published set.
    Secret,
    /// Its private half is in the set: whoever has read it can sign.
    PrivateKey,
    /// Nothing here verifies with a key like it, or only with another library or feature.
    Unsupported,
    /// It is sound but not strong enough (RFC 7518 §3.3).
    TooWeak,
    /// It has no name, so no token can mean it, and there are others.
    Unnamed,
}

/// Why a set was refused as a whole. The set that was in use stays in use.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkSetError {
    /// It is longer than is read.
    #[error("the key set has {length} bytes, more than the {limit} that are read")]
    TooLong {
        /// Its length.
        length: usize,
        /// [`JwkSet::MAX_BYTES`].
        limit: usize,
    },
    /// It is not a JSON object with an array `keys`; an HTML page, for example.
    #[error("not a JSON object with an array `keys` (line {line}, column {column})")]
    Form {
        /// Where it stopped being one.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// A key is not strict JSON.
    #[error("key {index} is not acceptable JSON: {problem}")]
    Json {
        /// Where it stands in the set, from 0.
        index: usize,
        /// What is wrong with it.
        problem: JsonError,
    },
    /// A key of a known kind is malformed.
    #[error("key {index} is malformed: {problem}")]
    Key {
        /// Where it stands in the set, from 0.
        index: usize,
        /// What is wrong with it.
        problem: KeyError,
    },
    /// Two keys have the same name, or there are too many.
    #[error("key {index} cannot be added: {problem}")]
    Set {
        /// Where it stands in the set, from 0.
        index: usize,
        /// Why not.
        problem: KeySetError,
    },
    /// No key of the set can be used: it would verify nothing.
    #[error("none of the {total} keys in the set can be used here")]
    Empty {
        /// How many there are.
        total: usize,
    },
}

/// How to read a set; see [`JwkSet::parse_with`].
#[derive(Clone, Copy, Debug)]
pub struct JwkSetOptions {
    rsa_algorithm: Algorithm,
    backend: Backend,
}

impl JwkSetOptions {
    /// RSA keys that do not say `alg` are for RS256; keys are prepared by ring where it can.
    pub const fn new() -> Self {
        Self {
            rsa_algorithm: Algorithm::Rs256,
            backend: Backend::Ring,
        }
    }

    /// What RSA keys are for that do not say it themselves (`alg` is optional, RFC 7517 §4.4, and
    /// some large issuers leave it out). A key is for one algorithm in any case.
    #[must_use]
    pub const fn with_rsa_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.rsa_algorithm = algorithm;
        self
    }

    /// Which library prepares the keys; one that it cannot prepare is prepared by the default one.
    #[must_use]
    pub const fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }
}

impl Default for JwkSetOptions {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    keys: WireKeys<'a>,
}

/// The keys of a set, still as text. Of too many only so many are kept, so that a set of commas
/// takes no more memory than one of keys.
struct WireKeys<'a> {
    list: Vec<&'a RawValue>,
    total: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for WireKeys<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WireKeysVisitor)
    }
}

struct WireKeysVisitor;

impl<'de> Visitor<'de> for WireKeysVisitor {
    type Value = WireKeys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut keys: A) -> Result<Self::Value, A::Error> {
        let (mut list, mut total) = (Vec::new(), 0);
        while let Some(key) = keys.next_element()? {
            total += 1;
            if total <= MAX_KEYS {
                list.push(key);
            }
        }
        Ok(WireKeys { list, total })
    }
}

impl JwkSet {
    /// The longest set that is read, in bytes: 128 keys with certificates.
    pub const MAX_BYTES: usize = 512 * 1024;

    /// Reads a set with [`JwkSetOptions::new`].
    ///
    /// # Errors
    ///
    /// [`JwkSetError`]
    pub fn parse(json: &[u8]) -> Result<Self, JwkSetError> {
        Self::parse_with(json, &JwkSetOptions::new())
    }

    /// Reads a set.
    ///
    /// # Errors
    ///
    /// [`JwkSetError`]
    pub fn parse_with(json: &[u8], options: &JwkSetOptions) -> Result<Self, JwkSetError> {
        if json.len() > Self::MAX_BYTES {
            return Err(JwkSetError::TooLong {
                length: json.len(),
                limit: Self::MAX_BYTES,
            });
        }
        let wire: Wire<'_> = serde_json::from_slice(json).map_err(|error| JwkSetError::Form {
            line: error.line(),
            column: error.column(),
        })?;
        let total = wire.keys.total;
        if total > MAX_KEYS {
            return Err(JwkSetError::Set {
                index: MAX_KEYS,
                problem: KeySetError::TooManyKeys,
            });
        }
        let mut set = Self {
            keys: KeySet::new(),
            skipped: Vec::new(),
        };
        let mut members: Members = Members::new();
        for (index, key) in wire.keys.list.iter().enumerate() {
            members
                .scan(key.get())
                .map_err(|problem| JwkSetError::Json { index, problem })?;
            set.add(index, key.get().as_bytes(), total, options)?;
        }
        if set.keys.is_empty() {
            return Err(JwkSetError::Empty { total });
        }
        Ok(set)
    }

    /// The public keys of a key set, to publish.
    pub(crate) fn of(keys: &KeySet) -> Self {
        Self {
            keys: keys.clone(),
            skipped: Vec::new(),
        }
    }

    fn add(
        &mut self,
        index: usize,
        text: &[u8],
        total: usize,
        options: &JwkSetOptions,
    ) -> Result<(), JwkSetError> {
        let malformed = |problem| JwkSetError::Key { index, problem };
        let jwk = Jwk::from_json(text).map_err(|error| malformed(KeyError::Jwk(error)))?;
        let kid = jwk.kid();
        let skip = match jwk.kty() {
            "oct" => Some(SkipReason::Secret),
            "RSA" | "EC" | "OKP" | "AKP" if !jwk.can_verify() => Some(SkipReason::Usage),
            "RSA" | "EC" | "OKP" | "AKP" if jwk.has_private_members() => {
                Some(SkipReason::PrivateKey)
            }
            "RSA" | "EC" | "OKP" | "AKP" if kid.is_none() && total > 1 => Some(SkipReason::Unnamed),
            "RSA" | "EC" | "OKP" | "AKP" => None,
            _ => Some(SkipReason::Unsupported),
        };
        let key = match skip {
            Some(reason) => Err(reason),
            None => match verifying_key(&jwk, options) {
                Ok(key) => Ok(key),
                Err(problem) => Err(reason_to_skip(&problem).ok_or_else(|| malformed(problem))?),
            },
        };
        match key {
            Err(reason) => self.skipped.push(SkippedKey {
                index,
                kid: kid.map(Excerpt::new),
                reason,
            }),
            Ok(key) => {
                let keys = std::mem::take(&mut self.keys);
                self.keys = keys
                    .with(kid, Key::Public(key), None)
                    .map_err(|problem| JwkSetError::Set { index, problem })?;
            }
        }
        Ok(())
    }

    /// The set as JSON: public members only, whatever was read.
    pub fn to_json(&self) -> String {
        self.to_string()
    }

    /// The keys, to verify with.
    pub fn into_keys(self) -> KeySet {
        self.keys
    }

    /// The keys, to look at.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// The keys that were read but are not used.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.public_keys().count()
    }

    /// Whether none can.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The set as JSON.
impl fmt::Display for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{\"keys\":[")?;
        for (at, (kid, key)) in self.keys.public_keys().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            let jwk = key.to_jwk();
            let jwk = match kid {
                // A name that is in the set was found short enough before.
                Some(kid) => jwk.with_kid(kid).map_err(|_| fmt::Error)?,
                None => jwk,
            };
            f.write_str(&jwk.to_json())?;
        }
        f.write_str("]}")
    }
}

fn verifying_key(jwk: &Jwk, options: &JwkSetOptions) -> Result<VerifyingKey, KeyError> {
    let key = match VerifyingKey::from_jwk(jwk) {
        Err(KeyError::AlgorithmMissing { .. }) if jwk.kty() == "RSA" => {
            VerifyingKey::from_jwk_as(jwk, options.rsa_algorithm)?
        }
        other => other?,
    };
    if key.backend() == options.backend {
        return Ok(key);
    }
    Ok(key.with_backend(options.backend).unwrap_or(key))
}

/// Whether a key that cannot be loaded is one to pass over. One that is simply wrong is not.
fn reason_to_skip(problem: &KeyError) -> Option<SkipReason> {
    match problem {
        KeyError::Unsupported { .. }
        | KeyError::AlgorithmUnknown
        | KeyError::AlgorithmMissing { .. } => Some(SkipReason::Unsupported),
        KeyError::ModulusSize { .. } => Some(SkipReason::TooWeak),
        _ => None,
    }
}
