//! `Signer`: what tokens are signed with, here or elsewhere.

use std::sync::Arc;

use m2m_crypto::{Algorithm, MacKey, SignError, SigningKey, VerifyingKey};

use crate::key_set::Key;

/// How tokens are signed.
pub(crate) enum Signer {
    Local(SigningKey),
    /// Somebody else holds the private key: a KMS, an HSM.
    External(VerifyingKey),
    Secret(Arc<MacKey>),
}

impl Signer {
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Local(key) => key.algorithm(),
            Self::External(key) => key.algorithm(),
            Self::Secret(key) => key.algorithm(),
        }
    }

    pub(crate) fn signature_bytes(&self) -> usize {
        match self {
            Self::Local(key) => key.signature_bytes(),
            Self::External(key) => key.signature_bytes(),
            Self::Secret(key) => key.signature_bytes(),
        }
    }

    /// Signs, if the key is here; `None` if somebody else holds it.
    pub(crate) fn sign(&self, message: &[u8], out: &mut [u8]) -> Option<Result<usize, SignError>> {
        match self {
            Self::Local(key) => Some(key.sign(message, out)),
            Self::Secret(key) => Some(key.sign(message, out)),
            Self::External(_) => None,
        }
    }

    pub(crate) fn verifier(&self) -> Key {
        match self {
            Self::Local(key) => Key::Public(key.verifying_key().clone()),
            Self::External(key) => Key::Public(key.clone()),
            Self::Secret(key) => Key::Secret(Arc::clone(key)),
        }
    }
}
