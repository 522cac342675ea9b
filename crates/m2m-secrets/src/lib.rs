#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod api_key;
mod client;
mod content_digest;
mod http_signature;
mod key_table;
mod named_secret;
mod pair;
mod pepper;
mod replay_memory;
mod replay_window;
mod request;
mod request_purpose;
mod request_rejection;
mod rotation;
mod scanner;
#[cfg(feature = "store")]
mod sealed;
mod shared_secret;
#[cfg(feature = "store")]
mod stored;
#[cfg(feature = "store")]
mod stored_clients;
mod tag_text;
mod webhook;

pub use api_key::{
    ApiKey, ApiKeyId, CHECKSUM_CHARACTERS, InvalidApiKeyId, KEY_ID_BYTES, KeyFormat,
    KeyFormatError, MAX_LABEL_BYTES, MalformedKey, PresentedKey, SECRET_CHARACTERS,
};
pub use client::{
    ClientKeys, EndedKey, IssueError, Issued, KeyEnd, KeyEvent, KeyEventKind, KeyVersion,
    LeakAnswer, LeakError, LiveKey, NoSuchKey, REMEMBERED_KEYS,
};
pub use content_digest::{
    CONTENT_DIGEST, ContentDigest, ContentDigestChecker, ContentDigestError, DigestAlgorithm,
    MAX_CONTENT_DIGEST_BYTES,
};
pub use http_signature::{
    ComponentError, HttpCoverage, HttpKeyError, HttpKeySetError, HttpMessage, HttpPolicyError,
    HttpRequest, HttpResponse, HttpSignError, HttpSignatureAlgorithm, HttpSignatureError,
    HttpSignatureFields, HttpSignatureKey, HttpSignatureKeys, HttpSignaturePolicy,
    HttpSignatureScratch, HttpSigner, HttpSigningKey, HttpVerifyingKeys, MAX_COMPONENTS,
    MAX_HTTP_SIGNATURE_KEYS, MAX_SIGNATURE_BASE_BYTES, MAX_SIGNATURE_FIELD_BYTES,
    MAX_SIGNATURE_LABELS, SIGNATURE, SIGNATURE_INPUT, SignatureBaseError, SignatureFieldError,
    VerifiedMessage, signature_base,
};
pub use key_table::{
    KeyRefusal, KeyRejection, KeyTable, KeyTableError, MAX_TABLE_KEYS, Rehash, TracedKey,
    VerifiedKey,
};
pub use named_secret::{
    MAX_JSON_BYTES, NamedSecret, SecretJsonError, SecretJsonFileError, read_json, read_json_file,
};
pub use pair::{
    FloorsFull, Generation, MAX_PEER_FLOORS, PairRefusal, PairRoot, Parties, PartiesError,
    PeerFloors, RootVersion,
};
pub use pepper::{KeyHash, KeyHasher, MAX_PEPPERS, PepperError, PepperVersion};
pub use replay_memory::{MAX_REPLAY_CAPACITY, ReplayError, ReplayMemory, ReplayMemoryError};
pub use replay_window::{OutsideWindow, TimeWindow, TimeWindowError};
pub use request::{
    MAX_CANONICAL_BYTES, REQUEST_SIGNATURE, RequestError, RequestKey, RequestParts,
    RequestSignError, VerifiedRequest, sign_request, verify_request,
};
pub use request_purpose::{
    MAX_PURPOSE_BYTES, MAX_PURPOSE_FIELDS, Purpose, PurposeKey, PurposeSignError,
};
pub use request_rejection::RequestRejection;
#[cfg(feature = "_mutants")]
#[doc(hidden)]
pub use rotation::Mutation;
pub use rotation::{
    Acknowledgement, AdoptError, Adoption, Advice, Applied, Blocker, Command, CommandError,
    CommandId, EmergencyError, EmergencyPlan, Epoch, Event, EventKind, Evidence, FencingToken,
    GrantError, Ground, HearError, Heard, KeyId, Keyring, LeaseGrant, MAX_MEMBER_NAME_BYTES,
    MAX_MEMBERS, MAX_RING_VERSIONS, MAX_SECRET_NAME_BYTES, Member, MemberAdoption, MemberName,
    Membership, NameError, Order, Overlap, Policy, PolicyBuilder, PolicyError, Presence, Reach,
    Record, RetireCertificate, RevocationStatus, Ring, RingDelivery, RingError, RingSignError,
    RingVerifyError, RingVersion, Role, Rotation, SecretName, SecretVersion, Snapshot, Stage,
    Standby, Uses,
};
pub use scanner::{FoundKey, KeyScanner, MAX_SCANNED_FORMATS, ScannerError};
#[cfg(feature = "store")]
pub use sealed::{
    MAX_SEALED_SECRETS, OpenSealedError, SealError, SealedFileError, draw_next_versions,
    open_sealed, read_sealed_file, seal, write_sealed_file,
};
pub use shared_secret::{MIN_SECRET_BYTES, SharedSecret, WeakSecret};
#[cfg(feature = "store")]
pub use stored::{StoredRotation, StoredRotationError, StoredSecretError};
#[cfg(feature = "store")]
pub use stored_clients::{StoredClients, StoredClientsError};
pub use webhook::{
    MAX_WEBHOOK_ID_BYTES, MAX_WEBHOOK_SECRETS, MAX_WEBHOOK_SIGNATURE_BYTES, MAX_WEBHOOK_SIGNATURES,
    VerifiedWebhook, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, WebhookError,
    WebhookHeaders, WebhookSecret, WebhookSecretError, WebhookSignError, WebhookSigner,
    WebhookVerifier,
};
