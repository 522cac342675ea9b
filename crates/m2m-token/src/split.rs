//! The three parts of a compact JWS (RFC 7515 §7.1).

use crate::MAX_TOKEN_BYTES;
use crate::error::VerifyError;

/// A token taken apart, nothing of it decoded.
#[derive(Clone, Copy)]
pub(crate) struct Split<'t> {
    pub(crate) header: &'t [u8],
    pub(crate) payload: &'t [u8],
    pub(crate) signature: &'t [u8],
    /// What is signed: header, dot, payload.
    pub(crate) signing_input: &'t [u8],
}

impl<'t> Split<'t> {
    /// Takes the first dot and the last one. A further dot in between is no base64url, so that
    /// whoever decodes the payload refuses it; an encrypted token, which has five parts, fails there.
    #[inline]
    pub(crate) fn new(token: &'t [u8]) -> Result<Self, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::TooLong {
                length: token.len(),
                limit: MAX_TOKEN_BYTES,
            });
        }
        let first = memchr::memchr(b'.', token).ok_or(VerifyError::Parts)?;
        let last = memchr::memrchr(b'.', token).ok_or(VerifyError::Parts)?;
        let (header, payload, signature, signing_input) = match (
            token.get(..first),
            token.get(first + 1..last),
            token.get(last + 1..),
            token.get(..last),
        ) {
            (Some(header), Some(payload), Some(signature), Some(input)) => {
                (header, payload, signature, input)
            }
            _ => return Err(VerifyError::Parts),
        };
        if header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(VerifyError::Parts);
        }
        Ok(Self {
            header,
            payload,
            signature,
            signing_input,
        })
    }
}
