//! `Unverified`: what a token says of itself, for tools and diagnosis; never for a decision.

use std::fmt;

use crate::base64url::Base64Url;
use crate::claims::{self, Claims};
use crate::error::{Part, VerifyError};
use crate::header::Header;
use crate::scratch::Scratch;
use crate::split::Split;

/// What a token says, whoever wrote it: nothing of it was checked but its form.
///
/// It has the same claims as a [`crate::Verified`], and no way leads from one to the other.
pub struct Unverified<'s> {
    header: Header<'s>,
    claims: Claims<'s>,
}

impl<'s> Unverified<'s> {
    /// Reads a token without checking who made it. For showing to people what they have in hand.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if its form is one that no verifier here takes.
    pub fn danger_decode(token: &str, scratch: &'s mut Scratch) -> Result<Self, VerifyError> {
        let split = Split::new(token.as_bytes())?;
        let codec = Base64Url::new();
        let decode = |part, text: &[u8], buffer: &mut [u8]| {
            codec
                .decode(text, buffer)
                .ok_or(VerifyError::Base64 { part })
        };
        let length = decode(Part::Header, split.header, &mut scratch.header)?;
        let text = scratch.header.get(..length).unwrap_or_default();
        let header = Header::parse(text, &mut scratch.members)?;
        let length = decode(Part::Claims, split.payload, &mut scratch.payload)?;
        let (payload, room) = scratch.payload.split_at_mut(length);
        let (json, unescaped) =
            claims::parse(payload, room, &mut scratch.members, &mut scratch.facts)?;
        Ok(Self {
            header,
            claims: Claims {
                json,
                unescaped,
                members: scratch.members.as_slice(),
                facts: &scratch.facts,
            },
        })
    }

    /// What the header gives as `alg`.
    pub fn algorithm(&self) -> m2m_crypto::Algorithm {
        self.header.algorithm
    }

    /// What the header gives as `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What the header gives as `typ`.
    pub fn token_type(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// What anybody may have written.
    pub fn danger_claims(&self) -> Claims<'s> {
        self.claims
    }
}

impl fmt::Debug for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("algorithm", &self.header.algorithm)
            .finish_non_exhaustive()
    }
}
