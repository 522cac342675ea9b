//! HTTP Message Signatures (RFC 9421) with hmac-sha256, ed25519 and ecdsa-p256-sha256.

mod base;
mod component;
mod coverage;
#[cfg(feature = "http")]
mod http_crate;
mod input;
mod keys;
mod message;
mod policy;
mod sign;
mod structured;
mod verify;

pub use base::{MAX_SIGNATURE_BASE_BYTES, SignatureBaseError, signature_base};
pub use component::{ComponentError, MAX_COMPONENTS};
pub use coverage::HttpCoverage;
pub use input::{MAX_SIGNATURE_FIELD_BYTES, MAX_SIGNATURE_LABELS, SignatureFieldError};
pub use keys::{
    HttpKeyError, HttpKeySetError, HttpSignatureAlgorithm, HttpSignatureKey, HttpSignatureKeys,
    HttpVerifyingKeys, MAX_HTTP_SIGNATURE_KEYS,
};
pub use message::{HttpMessage, HttpRequest, HttpResponse};
pub use policy::{HttpPolicyError, HttpSignaturePolicy};
pub use sign::{HttpSignError, HttpSignatureFields, HttpSigner, HttpSigningKey};
pub use verify::{HttpSignatureError, HttpSignatureScratch, VerifiedMessage};

pub(crate) use structured::{Bare, Cursor, Malformed};

/// `Content-Digest`, as a component is called.
const DIGEST_FIELD: &[u8] = crate::CONTENT_DIGEST.as_bytes();

/// The header that says what is signed (RFC 9421 §4.1).
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The header with the signatures (RFC 9421 §4.2).
pub const SIGNATURE: &str = "signature";
