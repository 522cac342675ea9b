//! `ApiKeyId`: the public name of one version of one secret.

use std::fmt;
use std::str::FromStr;

use super::base62;

/// Characters of a [`ApiKeyId`]: 65 bits, so that among a billion keys two rarely share one.
pub const KEY_ID_BYTES: usize = 11;

/// The public part of an API key: names the key, and so its owner and its version. May be logged.
///
/// [`KEY_ID_BYTES`] characters of `0-9A-Za-z`, drawn at random. Two keys with one id are refused where
/// keys are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId([u8; KEY_ID_BYTES]);

/// The text is no [`ApiKeyId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id has {KEY_ID_BYTES} characters of 0-9 A-Z a-z; this is none, of {found} bytes")]
pub struct InvalidApiKeyId {
    found: usize,
}

impl ApiKeyId {
    /// The characters.
    pub fn as_bytes(&self) -> &[u8; KEY_ID_BYTES] {
        &self.0
    }

    /// The characters, as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Reads a key id.
    ///
    /// # Errors
    ///
    /// [`InvalidApiKeyId`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidApiKeyId> {
        let found = bytes.len();
        match <[u8; KEY_ID_BYTES]>::try_from(bytes) {
            Ok(bytes) if base62::is_base62(&bytes) => Ok(Self(bytes)),
            _ => Err(InvalidApiKeyId { found }),
        }
    }

    /// Takes characters that are known to be of base62.
    #[inline]
    pub(super) fn of_base62(bytes: [u8; KEY_ID_BYTES]) -> Self {
        Self(bytes)
    }
}

impl FromStr for ApiKeyId {
    type Err = InvalidApiKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidApiKeyId> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ApiKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyId({self})")
    }
}
