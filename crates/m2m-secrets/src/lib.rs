#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod api_key;
mod client;
mod key_table;
mod pepper;
mod replay_window;
mod request_rejection;
mod rotation;
mod scanner;
mod shared_secret;
mod webhook;

pub use api_key::{
    ApiKey, ApiKeyId, CHECKSUM_CHARACTERS, InvalidApiKeyId, KEY_ID_BYTES, KeyFormat,
    KeyFormatError, MAX_LABEL_BYTES, MalformedKey, PresentedKey, SECRET_CHARACTERS,
};
pub use client::{
    ClientKeys, EndedKey, IssueError, Issued, KeyEnd, KeyEvent, KeyEventKind, KeyVersion,
    LeakAnswer, LeakError, LiveKey, NoSuchKey, REMEMBERED_KEYS,
};
pub use key_table::{
    KeyRefusal, KeyRejection, KeyTable, KeyTableError, MAX_TABLE_KEYS, Rehash, TracedKey,
    VerifiedKey,
};
pub use pepper::{KeyHash, KeyHasher, MAX_PEPPERS, PepperError, PepperVersion};
pub use replay_window::{OutsideWindow, TimeWindow, TimeWindowError};
pub use request_rejection::RequestRejection;
pub use rotation::{
    Epoch, KeyId, MAX_MEMBER_NAME_BYTES, MAX_RING_VERSIONS, MAX_SECRET_NAME_BYTES, MemberName,
    NameError, Ring, RingError, RingSignError, RingVerifyError, RingVersion, SecretName,
    SecretVersion, Uses,
};
pub use scanner::{FoundKey, KeyScanner, MAX_SCANNED_FORMATS, ScannerError};
pub use shared_secret::{MIN_SECRET_BYTES, SharedSecret, WeakSecret};
pub use webhook::{
    MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SECRETS, MAX_WEBHOOK_SIGNATURE_BYTES, MAX_WEBHOOK_SIGNATURES,
    VerifiedWebhook, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, WebhookError,
    WebhookHeaders, WebhookSecret, WebhookSecretError, WebhookSignError, WebhookSigner,
    WebhookVerifier,
};
