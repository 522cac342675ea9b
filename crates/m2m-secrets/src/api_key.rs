//! `ApiKey` and `KeyFormat`: secrets that people paste, in a form that says what it is.

mod base62;
mod checksum;
mod id;
mod malformed;
mod presented;

use std::fmt;

use m2m_crypto::{RandomError, SecretBytes, SecureRandom};
use zeroize::Zeroizing;

use checksum::Checksum;
pub use id::{ApiKeyId, InvalidApiKeyId, KEY_ID_BYTES};
pub use malformed::MalformedKey;
pub use presented::PresentedKey;

/// Characters of the secret part: 190 bits, drawn evenly from 62 characters.
pub const SECRET_CHARACTERS: usize = 32;
/// Characters of the checksum: six of base62 hold the 32 bits of a CRC-32.
pub const CHECKSUM_CHARACTERS: usize = 6;
/// The longest prefix, and the longest name of an environment, in bytes.
pub const MAX_LABEL_BYTES: usize = 12;

/// `kid_secret`, which the format's prefix and environment precede.
const BODY_BYTES: usize = KEY_ID_BYTES + 1 + SECRET_CHARACTERS;
/// The body, `_` and the checksum.
const TAIL_BYTES: usize = BODY_BYTES + 1 + CHECKSUM_CHARACTERS;

/// How the API keys of one product in one environment look: `prefix_environment_kid_secret_checksum`.
///
/// ```text
/// acme_live_4fGh2LmQ9aZ_Jc5RkD0uB3xVt7NwYs1Ep8Hq6MgKfTbA_1dZq3x
/// └─┬─┘└┬─┘ └────┬────┘ └──────────────┬───────────────┘ └─┬──┘
/// prefix │    key id: public,      secret: 190 bits     checksum
///    environment  11 characters      32 characters      6 characters
/// ```
///
/// All keys of a format are equally long. The checksum is the CRC-32 (that of zlib, gzip and PNG) of
/// everything before the last `_`, as six digits of base62 (`0-9A-Za-z`), so a typo and a key of
/// somebody else's are told from a real one without any database. It is no secret and proves nothing.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::KeyFormat;
///
/// let format = KeyFormat::new("acme", "live")?;
/// let key = format.generate(&SystemRandom)?;
/// assert!(key.expose_secret().starts_with("acme_live_"));
/// assert_eq!(format.parse(key.expose_secret().as_bytes())?.id(), key.id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFormat {
    /// `prefix_environment_`.
    head: Box<str>,
    prefix_bytes: usize,
    checksum: Checksum,
}

/// A new API key, to be handed to its owner once and then forgotten: what is kept is its hash. Wiped on
/// drop, never shown.
pub struct ApiKey {
    text: SecretBytes,
    id: ApiKeyId,
    /// How many bytes stand before the key id.
    head_bytes: usize,
}

/// Why a prefix or the name of an environment is none.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormatError {
    /// The prefix.
    #[error(
        "a prefix has 2 to {MAX_LABEL_BYTES} of a-z 0-9 and begins with a letter; this has {length}"
    )]
    Prefix {
        /// How many bytes it has.
        length: usize,
    },
    /// The name of the environment.
    #[error(
        "an environment is named by 2 to {MAX_LABEL_BYTES} of a-z 0-9 and begins with a letter; this has {length}"
    )]
    Environment {
        /// How many bytes it has.
        length: usize,
    },
}

impl KeyFormat {
    /// The format of keys of `prefix` (the product: `acme`) in `environment` (`live`, `test`): each 2
    /// to [`MAX_LABEL_BYTES`] of `a-z` and `0-9`, a letter first.
    ///
    /// # Errors
    ///
    /// [`KeyFormatError`].
    pub fn new(prefix: &str, environment: &str) -> Result<Self, KeyFormatError> {
        if !is_label(prefix) {
            return Err(KeyFormatError::Prefix {
                length: prefix.len(),
            });
        }
        if !is_label(environment) {
            return Err(KeyFormatError::Environment {
                length: environment.len(),
            });
        }
        let head = format!("{prefix}_{environment}_");
        Ok(Self {
            checksum: Checksum::after(head.as_bytes()),
            head: head.into(),
            prefix_bytes: prefix.len(),
        })
    }

    /// The product.
    pub fn prefix(&self) -> &str {
        self.head.get(..self.prefix_bytes).unwrap_or_default()
    }

    /// The environment.
    pub fn environment(&self) -> &str {
        let rest = self.head.get(self.prefix_bytes..).unwrap_or_default();
        rest.trim_matches('_')
    }

    /// How many bytes each key has.
    pub fn key_bytes(&self) -> usize {
        self.head.len() + TAIL_BYTES
    }

    /// Draws a new key, its id included.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if `random` fails, or gives the same byte over and over.
    pub fn generate(&self, random: &dyn SecureRandom) -> Result<ApiKey, RandomError> {
        let mut body = Zeroizing::new([b'_'; BODY_BYTES]);
        let (id, secret) = parts_of(&mut body);
        base62::draw(id, random)?;
        base62::draw(secret, random)?;
        let id = ApiKeyId::of_base62(*id);
        let sum = Zeroizing::new(base62::encode(self.checksum.of(&body)));
        let mut text = Zeroizing::new(Vec::with_capacity(self.key_bytes()));
        text.extend_from_slice(self.head.as_bytes());
        text.extend_from_slice(&*body);
        text.push(b'_');
        text.extend_from_slice(&*sum);
        Ok(ApiKey {
            text: SecretBytes::from(text.as_slice()),
            id,
            head_bytes: self.head.len(),
        })
    }

    /// Reads `text` as a key of this format: exactly one, with nothing before, behind or in between.
    ///
    /// No database is asked and no secret is compared: what holds is that the text was once made in
    /// this format, or by somebody who knows how. Which characters the secret has steers neither
    /// branches nor addresses.
    ///
    /// # Errors
    ///
    /// [`MalformedKey`]; [`MalformedKey::Checksum`] is a typo, and the others are no key of this format.
    #[inline]
    pub fn parse<'k>(&self, text: &'k [u8]) -> Result<PresentedKey<'k>, MalformedKey> {
        self.parse_beside(text, |_| ()).map(|(key, ())| key)
    }

    /// [`Self::parse`] with something begun before the characters are looked at, which takes a while:
    /// `begin` is given the bytes where the id stands, whatever they are.
    #[inline]
    pub(crate) fn parse_beside<'k, R>(
        &self,
        text: &'k [u8],
        begin: impl FnOnce(&[u8; KEY_ID_BYTES]) -> R,
    ) -> Result<(PresentedKey<'k>, R), MalformedKey> {
        let malformed = |why: fn(&Self, &[u8]) -> MalformedKey| why(self, text);
        let tail = text.strip_prefix(self.head.as_bytes());
        let tail: &[u8; TAIL_BYTES] = tail
            .and_then(|tail| tail.try_into().ok())
            .ok_or_else(|| malformed(Self::why_not_framed))?;
        let (id, _) = tail
            .split_first_chunk()
            .expect("a tail begins with a key id");
        let begun = begin(id);
        match PresentedKey::read(tail, &self.checksum) {
            Ok(key) => Ok((key, begun)),
            Err(malformed) => Err(malformed.behind(self.head.len())),
        }
    }

    /// `prefix_environment_`.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    #[cold]
    fn why_not_framed(&self, text: &[u8]) -> MalformedKey {
        let head = self.head.as_bytes();
        let product = head.get(..=self.prefix_bytes).unwrap_or(head);
        match (text.starts_with(product), text.starts_with(head)) {
            (_, true) => MalformedKey::Length {
                found: text.len(),
                expected: self.key_bytes(),
            },
            (true, _) => MalformedKey::Environment,
            _ => MalformedKey::Prefix,
        }
    }
}

impl ApiKey {
    /// The key as its owner gets it. Searching for this name is the audit.
    pub fn expose_secret(&self) -> &str {
        std::str::from_utf8(self.text.expose_secret()).unwrap_or_default()
    }

    /// The public part that names it.
    pub fn id(&self) -> ApiKeyId {
        self.id
    }

    /// The same key, as one that was presented.
    pub(crate) fn as_presented(&self) -> PresentedKey<'_> {
        let text = self.text.expose_secret();
        let body = text.get(self.head_bytes..);
        let body = body.and_then(<[u8]>::first_chunk);
        PresentedKey::of_body(body.expect("it was made with a head and a body"))
    }
}

fn parts_of(
    body: &mut [u8; BODY_BYTES],
) -> (&mut [u8; KEY_ID_BYTES], &mut [u8; SECRET_CHARACTERS]) {
    let (id, rest) = body
        .split_first_chunk_mut()
        .expect("a body begins with a key id");
    let secret = rest.last_chunk_mut();
    (id, secret.expect("a body ends with a secret"))
}

fn is_label(label: &str) -> bool {
    let all = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (2..=MAX_LABEL_BYTES).contains(&label.len())
        && label.starts_with(|c: char| c.is_ascii_lowercase())
        && label.bytes().all(all)
}

impl fmt::Debug for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFormat({self})")
    }
}

/// `acme_live_…`
impl fmt::Display for KeyFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.head)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, [redacted])", self.id)
    }
}
