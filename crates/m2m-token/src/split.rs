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
        Self::at_first_dot(token)?.at_last_dot()
    }

    /// Takes the first dot: the header is found, the rest is not.
    #[inline]
    pub(crate) fn at_first_dot(token: &'t [u8]) -> Result<SplitHeader<'t>, VerifyError> {
        check_length(token)?;
        let first = memchr::memchr(b'.', token).ok_or(VerifyError::Parts)?;
        let (header, _) = token.split_at_checked(first).ok_or(VerifyError::Parts)?;
        Ok(SplitHeader { token, header })
    }

    /// Takes the dot behind a header of so many bytes, which has none itself and before which none is: it
    /// was decoded before.
    #[inline]
    pub(crate) fn behind_header(token: &'t [u8], header_len: usize) -> Option<SplitHeader<'t>> {
        let header = token.get(..header_len)?;
        Some(SplitHeader { token, header })
    }
}

#[inline]
pub(crate) fn check_length(token: &[u8]) -> Result<(), VerifyError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(VerifyError::TooLong {
            length: token.len(),
            limit: MAX_TOKEN_BYTES,
        });
    }
    Ok(())
}

/// A token whose header was found.
#[derive(Clone, Copy)]
pub(crate) struct SplitHeader<'t> {
    token: &'t [u8],
    pub(crate) header: &'t [u8],
}

impl<'t> SplitHeader<'t> {
    #[inline]
    pub(crate) fn at_last_dot(self) -> Result<Split<'t>, VerifyError> {
        let last = memchr::memrchr(b'.', self.token).ok_or(VerifyError::Parts)?;
        self.at_dot(last).ok_or(VerifyError::Parts)
    }

    /// Takes the dot that stands where it must if the signature has so many characters. `None` if
    /// there is none. If there are dots behind it as well then the signature is no base64url.
    #[inline]
    pub(crate) fn at_signature(self, characters: usize) -> Option<Split<'t>> {
        let last = self.token.len().checked_sub(characters + 1)?;
        match self.token.get(last) {
            Some(b'.') => self.at_dot(last),
            _ => None,
        }
    }

    /// `None` if a part is empty or missing.
    #[inline(always)]
    fn at_dot(self, last: usize) -> Option<Split<'t>> {
        let (signing_input, signature) = self.token.split_at_checked(last)?;
        let split = Split {
            header: self.header,
            payload: signing_input.get(self.header.len() + 1..)?,
            signature: signature.get(1..)?,
            signing_input,
        };
        let empty =
            split.header.is_empty() || split.payload.is_empty() || split.signature.is_empty();
        (!empty).then_some(split)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_what_the_last_dot_says_or_leaves_a_dot_in_the_signature() {
        for token in [
            "h.p.sss", "h.p.s.s", "h.p..ss", "h..sss", ".p.sss", "hp.sss", "h.p.", "h.",
        ] {
            let first = Split::at_first_dot(token.as_bytes()).unwrap();
            let exact = first.at_last_dot();
            for characters in 0..10 {
                let Some(split) = first.at_signature(characters) else {
                    continue;
                };
                assert_eq!(split.signature.len(), characters, "{token}");
                assert!(
                    !split.header.is_empty() && !split.payload.is_empty(),
                    "{token}"
                );
                let same = exact.is_ok_and(|exact| exact.signature.len() == characters);
                assert!(same || split.signature.contains(&b'.'), "{token}");
            }
        }
    }
}
