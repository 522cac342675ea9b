#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod replay_window;
mod request_rejection;
mod rotation;
mod shared_secret;
mod webhook;

pub use replay_window::{OutsideWindow, TimeWindow, TimeWindowError};
pub use request_rejection::RequestRejection;
pub use rotation::{
    Epoch, KeyId, MAX_MEMBER_NAME_BYTES, MAX_RING_VERSIONS, MAX_SECRET_NAME_BYTES, MemberName,
    NameError, Ring, RingError, RingSignError, RingVerifyError, RingVersion, SecretName,
    SecretVersion, Uses,
};
pub use shared_secret::{MIN_SECRET_BYTES, SharedSecret, WeakSecret};
pub use webhook::{
    MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SECRETS, MAX_WEBHOOK_SIGNATURE_BYTES, MAX_WEBHOOK_SIGNATURES,
    VerifiedWebhook, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, WebhookError,
    WebhookHeaders, WebhookSecret, WebhookSecretError, WebhookSignError, WebhookSigner,
    WebhookVerifier,
};
