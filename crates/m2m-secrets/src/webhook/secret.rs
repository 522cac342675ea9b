//! `WebhookSecret`: 24 to 64 bytes, written `whsec_` and base64.

use std::fmt;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{Algorithm, KeyError, MacKey, RandomError, SecretBytes, SecureRandom};
use zeroize::Zeroizing;

use crate::SharedSecret;
use crate::shared_secret::{is_placeholder, repeats};

/// How many bytes the specification allows.
const LENGTHS: RangeInclusive<usize> = 24..=64;
/// What the written form begins with.
const PREFIX: &[u8] = b"whsec_";
/// The hash's block: what HMAC fills a short key up to, with zeroes (RFC 2104 §2).
const BLOCK_BYTES: usize = 64;

/// A secret of Standard Webhooks: 24 to 64 bytes, wiped on drop, never shown.
///
/// ```
/// use m2m_secrets::WebhookSecret;
///
/// let secret = WebhookSecret::parse(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
/// assert_eq!(format!("{secret:?}"), "WebhookSecret(24 bytes, [redacted])");
/// assert!(WebhookSecret::parse(b"whsec_").is_err());
/// # Ok::<(), m2m_secrets::WebhookSecretError>(())
/// ```
pub struct WebhookSecret(SecretBytes);

impl WebhookSecret {
    /// Reads the written form: `whsec_` (which may be missing) and padded base64 of the standard
    /// alphabet (RFC 4648 §4), nothing before or behind. `text` stays the caller's to wipe.
    ///
    /// # Errors
    ///
    /// [`WebhookSecretError`]; nothing of `text` is in it.
    pub fn parse(text: &[u8]) -> Result<Self, WebhookSecretError> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let mut room = Zeroizing::new([0; 3 * LENGTHS.end().div_ceil(3) + 3]);
        if text.len() > LENGTHS.end().div_ceil(3) * 4 {
            return Err(WebhookSecretError::Encoding);
        }
        let length = STANDARD
            .decode_slice(text, room.as_mut_slice())
            .map_err(|_| WebhookSecretError::Encoding)?;
        let bytes = room.get(..length).ok_or(WebhookSecretError::Encoding)?;
        Self::new(SecretBytes::from(bytes))
    }

    /// Takes over bytes that somebody else drew.
    ///
    /// # Errors
    ///
    /// [`WebhookSecretError`], if they are too few, too many, or can be guessed.
    pub fn new(bytes: SecretBytes) -> Result<Self, WebhookSecretError> {
        let secret = bytes.expose_secret();
        if !LENGTHS.contains(&secret.len()) {
            return Err(WebhookSecretError::Length {
                found: secret.len(),
            });
        }
        if repeats(secret) || is_placeholder(secret) {
            return Err(WebhookSecretError::Guessable);
        }
        Ok(Self(bytes))
    }

    /// A copy of `secret`, so that a secret that is rotated here can sign webhooks.
    ///
    /// # Errors
    ///
    /// [`WebhookSecretError::Length`] for more than 64 bytes.
    pub fn from_shared(secret: &SharedSecret) -> Result<Self, WebhookSecretError> {
        Self::new(secret.expose_secret().duplicate_secret_in_memory())
    }

    /// A new secret of 32 bytes from `random`.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if `random` fails or gives what can be guessed.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, RandomError> {
        Self::new(SecretBytes::random(32, random)?).map_err(|_| RandomError)
    }

    /// The written form, to be handed to the other side once.
    #[expect(clippy::missing_panics_doc, reason = "64 bytes have room")]
    pub fn expose_text(&self) -> SecretBytes {
        let secret = self.0.expose_secret();
        let mut text = Zeroizing::new([0; PREFIX.len() + 4 * LENGTHS.end().div_ceil(3)]);
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        let length = STANDARD
            .encode_slice(secret, rest)
            .expect("there is room for 64 bytes, and a secret has no more");
        SecretBytes::from(text.get(..PREFIX.len() + length).unwrap_or_default())
    }

    /// The key that signs and verifies with it.
    pub(super) fn mac_key(&self) -> Result<MacKey, KeyError> {
        // HMAC fills a key up to a block with zeroes; done here, the MAC is the same, and a secret of
        // 24 bytes, which the specification allows, is as long as HS256 demands (RFC 7518 §3.2).
        let mut block = Zeroizing::new([0; BLOCK_BYTES]);
        for (to, from) in block.iter_mut().zip(self.0.expose_secret()) {
            *to = *from;
        }
        MacKey::new(Algorithm::Hs256, SecretBytes::from(block.as_slice()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSecret({} bytes, [redacted])", self.0.len())
    }
}

/// Why something is no secret for webhooks. Tells nothing of it but its length.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSecretError {
    /// Not padded base64 of the standard alphabet, or more of it than 64 bytes need.
    #[error("a webhook secret is whsec_ and padded base64 of 24 to 64 bytes")]
    Encoding,
    /// Fewer than 24 bytes, or more than 64.
    #[error("a webhook secret has 24 to 64 bytes; this has {found}; draw a new one")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// One pattern over and over, or a placeholder that was never replaced.
    #[error("the webhook secret can be guessed; draw a new one")]
    Guessable,
}
