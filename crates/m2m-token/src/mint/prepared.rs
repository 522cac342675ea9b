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
        self.draft
            .buffer
            .get(..self.draft.input_len)
            .unwrap_or_default()
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

/// A token and the memory it is written in.
pub(super) struct Draft {
    pub(super) buffer: Vec<u8>,
    /// Where the room begins in which things are written before they are encoded.
    pub(super) front: usize,
    pub(super) input_len: usize,
    pub(super) signature_chars: usize,
}

impl Draft {
    /// The token, once its signature is written; what was worked with behind it is wiped.
    pub(super) fn finish(mut self) -> Result<String, MintError> {
        let length = self.input_len + 1 + self.signature_chars;
        // Nothing else was ever written behind the token.
        if let Some(room) = self.buffer.get_mut(self.front..) {
            // The memory goes out with the token, so these writes cannot be left out as useless.
            room.fill(0);
        }
        self.buffer.truncate(length);
        String::from_utf8(self.buffer).map_err(|_| MintError::Serialize)
    }
}
