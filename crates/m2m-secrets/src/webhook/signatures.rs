//! Reads the `webhook-signature` header: as many signatures as are allowed, in one encoding.

use super::WebhookError;
use crate::tag_text::{self, TAG_BYTES, TAG_CHARACTERS};

/// The most bytes of a `webhook-signature` header: [`MAX_WEBHOOK_SIGNATURES`] of `v1` have 767, and
/// there is room for those of versions that are not known here.
pub const MAX_WEBHOOK_SIGNATURE_BYTES: usize = 4096;

/// The most `v1` signatures in a header: one for each secret that its sender has, and some to spare.
pub const MAX_WEBHOOK_SIGNATURES: usize = 16;

const VERSION: &[u8] = b"v1,";

/// The `v1` signatures of a header.
pub(super) struct Signatures {
    tags: [[u8; TAG_BYTES]; MAX_WEBHOOK_SIGNATURES],
    count: usize,
}

impl Signatures {
    /// Reads `header`. Signatures of other versions are passed over, as the specification demands;
    /// whatever calls itself `v1` and is no signature spoils the header.
    #[inline]
    pub(super) fn parse(header: &[u8]) -> Result<Self, WebhookError> {
        if header.len() > MAX_WEBHOOK_SIGNATURE_BYTES {
            return Err(WebhookError::SignatureHeaderLong {
                found: header.len(),
            });
        }
        let mut signatures = Self {
            tags: [[0; TAG_BYTES]; MAX_WEBHOOK_SIGNATURES],
            count: 0,
        };
        let mut rest = Some(header);
        while let Some(header) = rest {
            let signature;
            (signature, rest) = next(header);
            if let Some(text) = signature.strip_prefix(VERSION) {
                signatures.push(text)?;
            } else if !is_of_another_version(signature) {
                return Err(WebhookError::SignatureMalformed);
            }
        }
        if signatures.count == 0 {
            return Err(WebhookError::NoSignature);
        }
        Ok(signatures)
    }

    pub(super) fn as_slice(&self) -> &[[u8; TAG_BYTES]] {
        self.tags.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, text: &[u8]) -> Result<(), WebhookError> {
        let tag = self
            .tags
            .get_mut(self.count)
            .ok_or(WebhookError::TooManySignatures)?;
        let text = text.try_into().ok();
        *tag = text
            .and_then(tag_text::decode)
            .ok_or(WebhookError::SignatureMalformed)?;
        self.count += 1;
        Ok(())
    }
}

/// What stands before the first space, and what behind it.
#[inline]
fn next(header: &[u8]) -> (&[u8], Option<&[u8]>) {
    // Usually there is one signature, or the space is where that of `v1` ends.
    const USUAL: usize = VERSION.len() + TAG_CHARACTERS;
    let at = match header.get(USUAL) {
        Some(b' ') | None if header.len() >= USUAL && !start(header).contains(&b' ') => USUAL,
        _ => match header.iter().position(|byte| *byte == b' ') {
            Some(at) => at,
            None => return (header, None),
        },
    };
    match header.split_at_checked(at) {
        Some((signature, [_, rest @ ..])) => (signature, Some(rest)),
        _ => (header, None),
    }
}

/// As much as a signature of `v1` has.
#[inline]
fn start(header: &[u8]) -> &[u8; VERSION.len() + TAG_CHARACTERS] {
    header
        .first_chunk()
        .unwrap_or(&[0; VERSION.len() + TAG_CHARACTERS])
}

/// Whether this is `VERSION,SIGNATURE` of a version that is not ours.
fn is_of_another_version(signature: &[u8]) -> bool {
    let Some(comma) = signature.iter().position(|byte| *byte == b',') else {
        return false;
    };
    let (version, rest) = signature.split_at(comma);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_alphanumeric)
        && rest.len() > 1
        && rest.iter().all(u8::is_ascii_graphic)
}
