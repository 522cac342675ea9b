//! `RevocationRule`: for which certificates a CRL is needed.

use std::time::Duration;

use m2m_types::Timestamp;

use super::error::ChainError;
use super::place::Place;
use crate::crl::IssuerId;
use crate::{Certificate, CrlSet, RevocationError, RevocationStatus, RevocationSubject};

/// For which certificates of a path a CRL must say that they are not revoked. One that is listed is
/// refused, whatever the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationRule {
    no_revocation_below: Duration,
    unknown: Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Refused,
    Accepted,
}

impl RevocationRule {
    /// For every certificate below the authority. "Unknown" is a refusal.
    pub const fn strict() -> Self {
        Self {
            no_revocation_below: Duration::ZERO,
            unknown: Unknown::Refused,
        }
    }

    /// A leaf that says that there is no revocation for it (RFC 9608) needs no CRL if its whole life,
    /// `notAfter` less `notBefore`, is shorter than `lifetime`: the counterpart of
    /// [`Profile::with_no_revocation_below`](crate::Profile::with_no_revocation_below). What the
    /// extension says about leaves that live longer is not taken.
    #[must_use]
    pub const fn with_no_revocation_below(self, lifetime: Duration) -> Self {
        Self {
            no_revocation_below: lifetime,
            ..self
        }
    }

    /// Takes "unknown" for "not revoked". **Who can keep CRLs from you decides what is revoked.**
    pub const fn danger_accept_unknown() -> Self {
        Self {
            no_revocation_below: Duration::ZERO,
            unknown: Unknown::Accepted,
        }
    }

    /// Whether `certificate`, issued by `issuer`, may be used; if so, the last second in which that
    /// can be said without newer CRLs.
    pub(super) fn check(
        self,
        (place, certificate, issuer): (Place, &Certificate, IssuerId),
        crls: &CrlSet,
        now: Timestamp,
    ) -> Result<Timestamp, ChainError> {
        let subject = RevocationSubject {
            issuer,
            certificate,
        };
        let error = match crls.check(&subject, now) {
            RevocationStatus::NotRevoked(proof) if !self.needs_none(place, certificate) => {
                // `nextUpdate` itself is too late.
                return Ok(proof.until().saturating_sub(Duration::from_secs(1)));
            }
            RevocationStatus::NotRevoked(_) => return Ok(Timestamp::MAX),
            RevocationStatus::Revoked(revoked) => RevocationError::Revoked(revoked),
            RevocationStatus::Unknown(_) if self.needs_none(place, certificate) => {
                return Ok(Timestamp::MAX);
            }
            RevocationStatus::Unknown(reason) => RevocationError::Unknown(reason),
        };
        Err(ChainError::Revocation { place, error })
    }

    fn needs_none(self, place: Place, certificate: &Certificate) -> bool {
        let life = certificate
            .not_after()
            .checked_since(certificate.not_before());
        let is_short = life.is_some_and(|life| life < self.no_revocation_below);
        self.unknown == Unknown::Accepted
            || place == Place::Leaf && certificate.has_no_rev_avail() && is_short
    }
}
