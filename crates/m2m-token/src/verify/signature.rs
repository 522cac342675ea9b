//! Finds the key that a token was signed with and checks its signature.

use m2m_types::Timestamp;

use super::Verifier;
use crate::base64url::encoded_len;
use crate::error::{Part, VerifyError};
use crate::excerpt::Excerpt;
use crate::header::Header;
use crate::key_set::{Entry, KeySet};
use crate::split::Split;

/// The most of an issuer's keys that are tried for a token without `kid`: what a stranger's token
/// can cost is at most this many signature checks.
pub const MAX_KEYS_TRIED: usize = 2;

/// A token's signature and what is signed.
pub(super) struct Signed<'t> {
    pub(super) split: Split<'t>,
    /// The signature, if it was decoded before, and else room to decode it.
    pub(super) signature: Option<&'t [u8]>,
    pub(super) buffer: &'t mut [u8],
}

impl Verifier {
    /// Finds the key that the header names, or the few that could be meant, and checks the signature.
    pub(super) fn check_signature<'k>(
        &self,
        header: &Header<'_>,
        keys: &'k KeySet,
        signed: &mut Signed<'_>,
        now: Timestamp,
    ) -> Result<&'k Entry, VerifyError> {
        let in_use = |entry: &&Entry| entry.until.is_none_or(|until| now < until);
        if let Some(kid) = &header.kid {
            let entry = keys.find(kid).filter(in_use);
            let entry = entry.ok_or_else(|| VerifyError::KeyUnknown {
                kid: Some(Excerpt::new(kid)).into(),
                algorithm: header.algorithm,
            })?;
            let key = entry.key.algorithm();
            if !key.accepts(header.algorithm) {
                return Err(VerifyError::AlgorithmMismatch {
                    header: header.algorithm,
                    key,
                });
            }
            return self.check_with(entry, signed);
        }
        let fitting = || keys.candidates(header.algorithm).filter(in_use);
        let candidates = fitting().count();
        if candidates == 0 {
            return Err(VerifyError::KeyUnknown {
                kid: None.into(),
                algorithm: header.algorithm,
            });
        }
        if candidates > MAX_KEYS_TRIED {
            return Err(VerifyError::KeyAmbiguous {
                candidates,
                limit: MAX_KEYS_TRIED,
            });
        }
        let mut result = Err(VerifyError::Signature);
        for entry in fitting() {
            result = self.check_with(entry, signed);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    #[inline]
    fn check_with<'k>(
        &self,
        entry: &'k Entry,
        signed: &mut Signed<'_>,
    ) -> Result<&'k Entry, VerifyError> {
        // The key says how long its signatures are: nothing else is worth decoding.
        let split = &signed.split;
        if split.signature.len() != encoded_len(entry.key.signature_bytes()) {
            return Err(VerifyError::Signature);
        }
        let signature = match signed.signature {
            Some(signature) => signature,
            None => self.decode(Part::Signature, split.signature, signed.buffer)?,
        };
        entry
            .key
            .verify(split.signing_input, signature)
            .map_err(|_| VerifyError::Signature)?;
        Ok(entry)
    }
}
