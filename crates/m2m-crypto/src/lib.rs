#![doc = include_str!("../README.md")]
// Denied, not forbidden: `memory.rs` with its part `memory/locked.rs` alone allows it, with an argument for each block.
#![deny(unsafe_code)]

mod aead;
mod algorithm;
mod backend;
mod base64url;
mod derived_mac;
mod digest;
mod ecdsa_der;
mod error;
mod hkdf;
mod jwk;
mod mac_key;
mod mac_secret;
mod memory;
mod pem;
mod private_key;
mod public_key;
mod random;
mod secret;
mod signing_key;
mod thumbprint;
mod unproven_key;
mod verifying_key;

pub use aead::{AeadAlgorithm, AeadError, AeadKey};
pub use algorithm::{Algorithm, KeyKind, MAX_SIGNATURE_BYTES};
pub use backend::Backend;
pub use digest::{Sha256, Sha384, Sha512, sha256, sha384, sha512};
pub use ecdsa_der::{ecdsa_der_to_fixed, ecdsa_fixed_to_der};
pub use error::{KeyError, KeyFormat, PublicForm, SignError, SignatureError};
pub use hkdf::{Hkdf, HkdfError, HkdfHash};
pub use jwk::{Jwk, JwkError};
pub use mac_key::MacKey;
pub use memory::constant_time_eq;
#[cfg(all(feature = "locked-memory", target_os = "linux"))]
pub use memory::locked::{ArenaError, LockedArena, LockedSlot, MAX_ARENA_BYTES};
pub use random::{RandomError, SecureRandom, SystemRandom};
pub use rustls_pki_types::SubjectPublicKeyInfoDer;
pub use secret::SecretBytes;
pub use signing_key::{RsaModulus, SigningKey};
pub use thumbprint::{CertificateThumbprint, Thumbprint, ThumbprintError};
pub use unproven_key::UnprovenKey;
pub use verifying_key::VerifyingKey;
