//! `WebhookVerifier`: verifies what is received, against every secret that its sender may use.

use std::fmt;

use m2m_crypto::{KeyError, MacKey, constant_time_eq};
use m2m_types::Timestamp;

use super::sign::prepare;
use super::signatures::Signatures;
use super::{
    MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SECRETS, MAX_WEBHOOK_SIGNATURE_BYTES, MAX_WEBHOOK_SIGNATURES,
    WebhookSecret, is_id,
};
use crate::{OutsideWindow, RequestRejection, TimeWindow};

/// The most digits of a timestamp: those of the year 9999.
const MAX_TIMESTAMP_DIGITS: usize = 12;

/// Verifies webhooks against up to [`MAX_WEBHOOK_SECRETS`] secrets, newest first, without allocating.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{TimeWindow, WebhookHeaders, WebhookSecret, WebhookSigner, WebhookVerifier};
/// use m2m_types::Timestamp;
///
/// let (old, new) = (WebhookSecret::generate(&SystemRandom)?, WebhookSecret::generate(&SystemRandom)?);
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
///
/// let sender = WebhookSigner::new([&old])?; // not yet told of the new one
/// let signature = sender.sign("msg_1", now, b"{}")?;
///
/// let receiver = WebhookVerifier::new([&new, &old], TimeWindow::FIVE_MINUTES)?;
/// let headers = WebhookHeaders { id: b"msg_1", timestamp: b"1700000000", signature: signature.as_bytes() };
/// let verified = receiver.verify(headers, b"{}", now)?;
/// assert_eq!((verified.id(), verified.secret_index()), ("msg_1", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WebhookVerifier {
    keys: Vec<MacKey>,
    window: TimeWindow,
}

/// The three headers of a webhook, as they came. A header that is missing, or there twice, is the
/// caller's to refuse; an empty value is refused here.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "the specification has three headers"
)]
pub struct WebhookHeaders<'a> {
    /// `webhook-id`.
    pub id: &'a [u8],
    /// `webhook-timestamp`.
    pub timestamp: &'a [u8],
    /// `webhook-signature`.
    pub signature: &'a [u8],
}

/// A webhook that is authentic and of this time. Only [`WebhookVerifier::verify`] makes one.
///
/// It may still be one that came before: senders send again, under the same id, what was not
/// acknowledged. Whoever must not act twice remembers the ids.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedWebhook<'a> {
    id: &'a str,
    timestamp: Timestamp,
    secret_index: usize,
}

impl WebhookVerifier {
    /// Verifies against each of `secrets`, in their order: put the one in use first.
    ///
    /// # Errors
    ///
    /// [`WebhookError::SecretCount`] without any, or with too many; [`WebhookError::Key`] for a secret
    /// that is something public.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a WebhookSecret>,
        window: TimeWindow,
    ) -> Result<Self, WebhookError> {
        let keys = prepare(secrets).map_err(WebhookError::Key)?;
        match keys.len() {
            1..=MAX_WEBHOOK_SECRETS => Ok(Self { keys, window }),
            found => Err(WebhookError::SecretCount { found }),
        }
    }

    /// Checks that one of the signatures is that of one of the secrets, and the age of the message.
    ///
    /// `payload` must be the body as it came over the wire: what was decoded, decompressed or written
    /// anew is another one. It is hashed once for each secret until one fits, and not at all if the
    /// headers are refused.
    ///
    /// # Errors
    ///
    /// [`WebhookError`]; the sender learns [`WebhookError::rejection`].
    pub fn verify<'a>(
        &self,
        headers: WebhookHeaders<'a>,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<VerifiedWebhook<'a>, WebhookError> {
        let WebhookHeaders { id, timestamp, .. } = headers;
        if !is_id(id) {
            return Err(WebhookError::IdMalformed { length: id.len() });
        }
        let time = parse_timestamp(timestamp)?;
        self.window.check(time, now)?;
        let signatures = Signatures::parse(headers.signature)?;
        let parts = [id, b".", timestamp, b".", payload];
        let secret_index = self
            .matching_secret(&parts, &signatures)
            .ok_or(WebhookError::Signature)?;
        Ok(VerifiedWebhook {
            id: std::str::from_utf8(id)
                .map_err(|_| WebhookError::IdMalformed { length: id.len() })?,
            timestamp: time,
            secret_index,
        })
    }

    fn matching_secret(&self, parts: &[&[u8]], signatures: &Signatures) -> Option<usize> {
        self.keys.iter().position(|key| {
            let mut expected = [0; 32];
            // Each comparison takes the same time whatever the bytes; that one of them holds is told
            // by the answer anyway.
            key.sign_parts(parts, &mut expected).is_ok()
                && signatures
                    .as_slice()
                    .iter()
                    .any(|tag| constant_time_eq(&expected, tag))
        })
    }
}

/// Reads decimal seconds: no sign, no leading zero, nothing else.
fn parse_timestamp(text: &[u8]) -> Result<Timestamp, WebhookError> {
    let digits = (1..=MAX_TIMESTAMP_DIGITS).contains(&text.len())
        && text.iter().all(u8::is_ascii_digit)
        && (text.len() == 1 || !text.starts_with(b"0"));
    if !digits {
        return Err(WebhookError::TimestampMalformed);
    }
    // Twelve digits fit.
    let seconds = text.iter().fold(0, |seconds: u64, digit| {
        seconds * 10 + u64::from(digit - b'0')
    });
    Timestamp::from_unix_seconds(seconds).map_err(|_| WebhookError::TimestampMalformed)
}

impl<'a> VerifiedWebhook<'a> {
    /// The `webhook-id`: the same for each attempt to deliver this message.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// When this attempt was signed.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Which of the verifier's secrets it was signed with, counted from 0: how one knows that nobody
    /// uses the old one any more.
    pub fn secret_index(&self) -> usize {
        self.secret_index
    }
}

impl fmt::Debug for WebhookVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookVerifier")
            .field("secrets", &self.keys.len())
            .field("window", &self.window)
            .finish()
    }
}

/// Why a webhook was refused, or a verifier not made: for logs and operators. Has nothing of the
/// message, the signatures or the secrets in it. The sender gets [`WebhookError::rejection`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// No secret, or more than [`MAX_WEBHOOK_SECRETS`].
    #[error("{found} secrets or more; 1 to {MAX_WEBHOOK_SECRETS} verify webhooks")]
    SecretCount {
        /// How many there are, or one more than allowed.
        found: usize,
    },
    /// A secret cannot be a key.
    #[error("{0}")]
    Key(KeyError),
    /// The id is missing, too long, or has a full stop or something invisible in it.
    #[error(
        "a webhook-id of {length} bytes; 1 to {MAX_WEBHOOK_ID_BYTES} of visible ASCII, no full stop, are taken"
    )]
    IdMalformed {
        /// Its length in bytes.
        length: usize,
    },
    /// The timestamp is not decimal seconds between 1970 and 9999.
    #[error("webhook-timestamp is not decimal seconds since 1970")]
    TimestampMalformed,
    /// Signed too long ago, or in the future.
    #[error("{0}")]
    OutsideWindow(OutsideWindow),
    /// The header of signatures is too long. Nothing of it was looked at.
    #[error(
        "webhook-signature has {found} bytes, more than the {MAX_WEBHOOK_SIGNATURE_BYTES} that are read"
    )]
    SignatureHeaderLong {
        /// Its length in bytes.
        found: usize,
    },
    /// More `v1` signatures than are looked at.
    #[error("webhook-signature has more than {MAX_WEBHOOK_SIGNATURES} signatures of v1")]
    TooManySignatures,
    /// Something in the header is no signature, or not in the one encoding that is taken.
    #[error("webhook-signature is not signatures of the form v1,BASE64 parted by single spaces")]
    SignatureMalformed,
    /// There is no `v1` signature.
    #[error("webhook-signature has no signature of v1")]
    NoSignature,
    /// No signature is that of a secret that is accepted.
    #[error("no signature is of a secret that is accepted")]
    Signature,
}

impl WebhookError {
    /// What the sender may learn: the same whatever was wrong with the message.
    pub const fn rejection(&self) -> RequestRejection {
        match self {
            Self::SecretCount { .. } | Self::Key(_) => RequestRejection::Unavailable,
            _ => RequestRejection::Unauthenticated,
        }
    }
}

impl From<OutsideWindow> for WebhookError {
    fn from(outside: OutsideWindow) -> Self {
        Self::OutsideWindow(outside)
    }
}
