//! `PreparedToken`: a token that lacks only its signature.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::Algorithm;

use super::MintError;
use crate::key_set::Key;

/// A token that lacks only its signature. It holds what will be a bearer token, and never shows it.
pub struct PreparedToken {
    pub(super) draft: Draft,
    pub(super) kid: Arc<str>,
    pub(super) verifier: Key,
}

impl PreparedToken {
    /// What is to be signed (RFC 7515 §5.1): ASCII, hashed by the signer as its algorithm says.
    pub fn signing_input(&self) -> &[u8] {
        let draft = &self.draft;
        draft.text.get(..draft.input_len).unwrap_or_default()
    }

    /// Which key must sign it.
    pub fn key_id(&self) -> &str {
        &self.kid
    }

    /// With which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.verifier.algorithm()
    }
}

impl fmt::Debug for PreparedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedToken")
            .field("key_id", &self.kid)
            .finish_non_exhaustive()
    }
}

/// A token whose signature is yet to be written.
pub(super) struct Draft {
    /// As long as the token will be.
    pub(super) text: Vec<u8>,
    /// How much of it is signed; then come a dot and the signature.
    pub(super) input_len: usize,
}

impl Draft {
    /// The token, once its signature is written.
    pub(super) fn finish(self) -> Result<String, MintError> {
        String::from_utf8(self.text).map_err(|_| MintError::Serialize)
    }
}
