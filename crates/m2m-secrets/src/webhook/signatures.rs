//! Reads the `webhook-signature` header: as many signatures as are allowed, in one encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::WebhookError;

/// The most bytes of a `webhook-signature` header: [`MAX_WEBHOOK_SIGNATURES`] of `v1` have 767, and
/// there is room for those of versions that are not known here.
pub const MAX_WEBHOOK_SIGNATURE_BYTES: usize = 4096;

/// The most `v1` signatures in a header: one for each secret that its sender has, and some to spare.
pub const MAX_WEBHOOK_SIGNATURES: usize = 16;

const TAG_BYTES: usize = 32;
/// Of 32 bytes in padded base64.
const TAG_CHARACTERS: usize = 44;

/// The `v1` signatures of a header.
pub(super) struct Signatures {
    tags: [[u8; TAG_BYTES]; MAX_WEBHOOK_SIGNATURES],
    count: usize,
}

impl Signatures {
    /// Reads `header`. Signatures of other versions are passed over, as the specification demands;
    /// whatever calls itself `v1` and is no signature spoils the header.
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
        for signature in header.split(|byte| *byte == b' ') {
            if let Some(text) = signature.strip_prefix(b"v1,") {
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
        // The library asks for room for one byte more than comes out.
        let mut room = [0; TAG_BYTES + 1];
        if text.len() != TAG_CHARACTERS || STANDARD.decode_slice(text, &mut room) != Ok(TAG_BYTES) {
            return Err(WebhookError::SignatureMalformed);
        }
        for (to, from) in tag.iter_mut().zip(room) {
            *to = from;
        }
        self.count += 1;
        Ok(())
    }
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
