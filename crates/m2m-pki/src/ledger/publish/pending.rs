//! CRLs on their way from a number to their release.

use std::fmt;

use m2m_crypto::{Algorithm, SigningKey};
use m2m_store::Revision;

use crate::{CrlNumber, CrlSignError, PreparedCrl, SignedCrl, UpdateTimes};

/// A CRL on its way to its signature, under a number that is claimed.
pub struct PendingCrl {
    pub(super) prepared: PreparedCrl,
    pub(super) claim: Claim,
}

/// A CRL that is signed. Nobody has it before
/// [`CrlPublisher::release`](crate::CrlPublisher::release) gives it out.
pub struct UnreleasedCrl {
    pub(super) signed: SignedCrl,
    pub(super) claim: Claim,
}

/// Complete, or what changed since the last complete one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Complete,
    Delta,
}

#[derive(Clone, Copy)]
pub(super) struct Claim {
    pub(super) list: u32,
    pub(super) form: Form,
    pub(super) number: CrlNumber,
    /// Of the record that says it.
    pub(super) version: Revision,
    pub(super) times: UpdateTimes,
    pub(super) changes: u64,
}

impl PendingCrl {
    /// What is to be signed.
    pub fn message(&self) -> &[u8] {
        self.prepared.message()
    }

    /// The algorithm to sign it with.
    pub fn algorithm(&self) -> Algorithm {
        self.prepared.algorithm()
    }

    /// Its number.
    pub fn number(&self) -> CrlNumber {
        self.claim.number
    }

    /// Signs it with the issuer's key.
    ///
    /// # Errors
    ///
    /// As [`PreparedCrl::sign`].
    pub fn sign(self, key: &SigningKey) -> Result<UnreleasedCrl, CrlSignError> {
        let (signed, claim) = (self.prepared.sign(key)?, self.claim);
        Ok(UnreleasedCrl { signed, claim })
    }

    /// Takes the signature that somebody else made of [`PendingCrl::message`].
    ///
    /// # Errors
    ///
    /// As [`PreparedCrl::attach`].
    pub fn attach(self, signature: &[u8]) -> Result<UnreleasedCrl, CrlSignError> {
        let (signed, claim) = (self.prepared.attach(signature)?, self.claim);
        Ok(UnreleasedCrl { signed, claim })
    }
}

impl fmt::Debug for PendingCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCrl")
            .field("number", &self.claim.number)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnreleasedCrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreleasedCrl")
            .field("number", &self.claim.number)
            .finish_non_exhaustive()
    }
}
