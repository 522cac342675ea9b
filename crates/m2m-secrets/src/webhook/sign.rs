//! `WebhookSigner`: signs what is sent, with every secret that a receiver may have.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{KeyError, MacKey};
use m2m_types::Timestamp;

use super::{MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SECRETS, WebhookSecret, is_id};

/// Signs webhooks with up to [`MAX_WEBHOOK_SECRETS`] secrets: while one is rotated, a receiver that
/// has only the old one and a receiver that has only the new one both find their signature.
pub struct WebhookSigner {
    keys: Vec<MacKey>,
}

impl WebhookSigner {
    /// Signs with each of `secrets`.
    ///
    /// # Errors
    ///
    /// [`WebhookSignError::SecretCount`] without any, or with too many; [`WebhookSignError::Key`] for
    /// a secret that is something public.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a WebhookSecret>,
    ) -> Result<Self, WebhookSignError> {
        let keys = prepare(secrets).map_err(WebhookSignError::Key)?;
        match keys.len() {
            1..=MAX_WEBHOOK_SECRETS => Ok(Self { keys }),
            found => Err(WebhookSignError::SecretCount { found }),
        }
    }

    /// The value of the `webhook-signature` header for `payload`, sent as message `id` (visible ASCII
    /// without full stops, up to 256 bytes) and signed at `now`: both go into the other two headers.
    ///
    /// `payload` is what goes over the wire, byte by byte; it need not be text.
    ///
    /// # Errors
    ///
    /// [`WebhookSignError::Id`] or [`WebhookSignError::Key`].
    pub fn sign(
        &self,
        id: &str,
        now: Timestamp,
        payload: &[u8],
    ) -> Result<String, WebhookSignError> {
        if !is_id(id.as_bytes()) {
            return Err(WebhookSignError::Id { length: id.len() });
        }
        let timestamp = now.unix_seconds().to_string();
        let mut header = String::with_capacity(self.keys.len() * 48);
        for key in &self.keys {
            let mut tag = [0; 32];
            let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", payload];
            key.sign_parts(&parts, &mut tag)
                .map_err(|_| WebhookSignError::Failed)?;
            header.push_str(if header.is_empty() { "v1," } else { " v1," });
            STANDARD.encode_string(tag, &mut header);
        }
        Ok(header)
    }
}

/// The keys of `secrets`, one more than allowed at most.
pub(super) fn prepare<'a>(
    secrets: impl IntoIterator<Item = &'a WebhookSecret>,
) -> Result<Vec<MacKey>, KeyError> {
    secrets
        .into_iter()
        .take(MAX_WEBHOOK_SECRETS + 1)
        .map(WebhookSecret::mac_key)
        .collect()
}

impl fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookSigner({} secrets)", self.keys.len())
    }
}

/// Why a webhook was not signed, or a signer not made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookSignError {
    /// No secret, or more than [`MAX_WEBHOOK_SECRETS`].
    #[error("{found} secrets or more; 1 to {MAX_WEBHOOK_SECRETS} sign webhooks")]
    SecretCount {
        /// How many there are, or one more than allowed.
        found: usize,
    },
    /// A secret cannot be a key.
    #[error("{0}")]
    Key(KeyError),
    /// The message's id is empty, too long, or has a full stop or something invisible in it.
    #[error(
        "an id of {length} bytes; 1 to {MAX_WEBHOOK_ID_BYTES} of visible ASCII, no full stop, are taken"
    )]
    Id {
        /// Its length in bytes.
        length: usize,
    },
    /// The library could not sign.
    #[error("the MAC could not be computed")]
    Failed,
}
