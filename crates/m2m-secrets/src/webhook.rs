//! Standard Webhooks (the symmetric scheme `v1` of its specification): signed by every live secret,
//! verified against every live secret.

mod secret;
mod sign;
mod signatures;
mod verify;

pub use secret::{WebhookSecret, WebhookSecretError};
pub use sign::{WebhookSignError, WebhookSigner};
pub use signatures::{MAX_WEBHOOK_SIGNATURE_BYTES, MAX_WEBHOOK_SIGNATURES};
pub use verify::{VerifiedWebhook, WebhookError, WebhookHeaders, WebhookVerifier};

/// The header that names the message. A message that is sent again keeps its name.
pub const WEBHOOK_ID: &str = "webhook-id";
/// The header that says when this attempt to deliver was signed, in seconds since 1970.
pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, parted by single spaces.
pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";

/// The most secrets that sign or verify at a time: a rotation within a rotation needs three.
pub const MAX_WEBHOOK_SECRETS: usize = 4;

/// The longest `webhook-id`, in bytes.
pub const MAX_WEBHOOK_ID_BYTES: usize = 256;

/// Whether `id` can name a message: visible ASCII without the full stop, which parts it from the
/// timestamp in what is signed.
fn is_id(id: &[u8]) -> bool {
    // Looks at every byte, which is quicker than to stop at the first that is wrong.
    (1..=MAX_WEBHOOK_ID_BYTES).contains(&id.len())
        && id.iter().fold(true, |all, byte| {
            all & byte.is_ascii_graphic() & (*byte != b'.')
        })
}
