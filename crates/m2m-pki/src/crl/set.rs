//! `CrlSet`: the newest CRL of each issuer and distribution point, and what they say together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use m2m_types::Timestamp;

use crate::crl::index::{CrlIndex, CrlIndexError, DeltaError};
use crate::crl::issuer::IssuerId;
use crate::crl::number::CrlNumber;
use crate::crl::read::VerifiedCrl;
use crate::crl::scope::{CertificateKinds, CrlUri, Scope};
use crate::crl::status::{
    NotRevoked, RevocationError, RevocationStatus, RevocationSubject, Revoked, UnknownRevocation,
};

/// Why a CRL was not taken. The set stays as it was.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlSetError {
    /// A newer one is there already.
    #[error("CRL {offered} is older than {held}, which is held")]
    Older {
        /// The number of the CRL that was offered.
        offered: CrlNumber,
        /// The number of the one that is held, or was.
        held: CrlNumber,
    },
    /// One with this number is there already, and was issued at another time: the issuer's numbers
    /// repeat.
    #[error("CRL number {number} was used twice")]
    NumberRepeats {
        /// The number.
        number: CrlNumber,
    },
    /// A delta of a list of which no complete CRL is held.
    #[error("a delta, and there is no complete CRL that it could change")]
    NoBase,
    /// A delta that does not fit the complete CRL that is held (RFC 5280 §5.2.4).
    #[error("a delta that does not fit the CRL that is held: {0}")]
    Delta(DeltaError),
}

/// The newest CRL of each issuer, distribution point and kind of certificates.
///
/// A value: adding a CRL gives a new set that shares the indexes, to be put into a
/// [`Live`](m2m_types::Live). An empty set knows nothing, so it refuses everything.
///
/// ```
/// use m2m_pki::CrlSet;
/// use m2m_types::Live;
///
/// let crls = Live::new(CrlSet::new());
/// assert!(crls.load().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrlSet {
    issuers: HashMap<IssuerId, Arc<Issuer>>,
    clock_skew: Duration,
}

#[derive(Clone, Debug, Default)]
struct Issuer {
    /// By the first URI of the distribution point, and the kind.
    slots: HashMap<SlotName, Slot>,
    /// The slots that a URI leads to.
    by_uri: HashMap<CrlUri, Vec<SlotName>>,
    /// The slots of CRLs that state no distribution point, and so speak for all of them.
    everywhere: Vec<SlotName>,
}

type SlotName = (Option<CrlUri>, CertificateKinds);

#[derive(Clone, Debug)]
struct Slot {
    crl: Option<Arc<CrlIndex>>,
    floor: CrlNumber,
}

impl CrlSet {
    /// Without CRLs: every answer is "unknown".
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes CRLs that are up to `skew` ahead of our clock. The default is none.
    #[must_use]
    pub fn with_clock_skew(self, skew: Duration) -> Self {
        Self {
            clock_skew: skew,
            ..self
        }
    }

    /// The set with `crl` in the place of the older one of the same issuer and scope.
    ///
    /// The same number is taken again if it was issued at the same second, as a complete CRL and a
    /// delta are (RFC 5280 §5.2.3); the later `nextUpdate` then stays.
    ///
    /// # Errors
    ///
    /// [`CrlSetError`]; keep the set you have.
    pub fn with(&self, crl: Arc<CrlIndex>) -> Result<Self, CrlSetError> {
        let name = slot_name(crl.scope());
        let number = crl.number();
        let mut issuer = self.issuer(crl.issuer());
        if let Some(slot) = issuer.slots.get(&name) {
            let held = slot.floor;
            if number < held {
                return Err(CrlSetError::Older {
                    offered: number,
                    held,
                });
            }
            if let Some(old) = slot.crl.as_ref().filter(|old| old.number() == number) {
                if old.this_update() != crl.this_update() || old.len() != crl.len() {
                    return Err(CrlSetError::NumberRepeats { number });
                }
                if old.next_update() >= crl.next_update() {
                    return Ok(self.clone());
                }
            }
        }
        for uri in crl.scope().uris() {
            add(issuer.by_uri.entry(uri.clone()).or_default(), &name);
        }
        if crl.scope().uris().is_empty() {
            add(&mut issuer.everywhere, &name);
        }
        let (id, crl) = (crl.issuer(), Some(crl));
        issuer.slots.insert(name, Slot { crl, floor: number });
        Ok(self.with_issuer(id, issuer))
    }

    /// The set with the CRL of the same issuer and scope as `delta` says it is now.
    ///
    /// The combined CRL has the delta's number, so a complete CRL below that is refused afterwards.
    /// After a restart with floors, apply a delta to a complete CRL by [`CrlIndex::with_delta`] first.
    ///
    /// # Errors
    ///
    /// [`CrlSetError`]; keep the set you have, and get the complete CRL.
    pub fn with_delta(&self, delta: &VerifiedCrl<'_>) -> Result<Self, CrlSetError> {
        let held = self.held(delta.issuer(), delta.scope());
        let held = held.ok_or(CrlSetError::NoBase)?;
        let combined = held.with_delta(delta).map_err(CrlSetError::Delta)?;
        self.with(Arc::new(combined))
    }

    /// The set that takes no CRL of this issuer and scope below `number`: what was held before a
    /// restart, so that it offers nobody a way back.
    #[must_use]
    pub fn with_floor(&self, issuer: IssuerId, scope: &Scope, number: CrlNumber) -> Self {
        let mut known = self.issuer(issuer);
        let empty = Slot {
            crl: None,
            floor: number,
        };
        let slot = known.slots.entry(slot_name(scope)).or_insert(empty);
        slot.floor = slot.floor.max(number);
        if slot.crl.as_ref().is_some_and(|crl| crl.number() < number) {
            slot.crl = None;
        }
        self.with_issuer(issuer, known)
    }

    fn issuer(&self, id: IssuerId) -> Issuer {
        self.issuers
            .get(&id)
            .map_or_else(Issuer::default, |known| Issuer::clone(known))
    }

    fn with_issuer(&self, id: IssuerId, issuer: Issuer) -> Self {
        let mut set = self.clone();
        set.issuers.insert(id, Arc::new(issuer));
        set
    }

    /// How many CRLs are held.
    pub fn len(&self) -> usize {
        self.crls().count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The CRLs that are held, in no particular order.
    pub fn crls(&self) -> impl Iterator<Item = &Arc<CrlIndex>> {
        let slots = self.issuers.values().flat_map(|i| i.slots.values());
        slots.filter_map(|slot| slot.crl.as_ref())
    }

    /// The CRL of this issuer and scope, to which a delta may be applied.
    pub fn held(&self, issuer: IssuerId, scope: &Scope) -> Option<&Arc<CrlIndex>> {
        let issuer = self.issuers.get(&issuer)?;
        issuer.slots.get(&slot_name(scope))?.crl.as_ref()
    }

    /// Whether a certificate is revoked, as far as is known at `now`.
    ///
    /// One CRL that lists it is enough, stale or not. "Not revoked" takes one that speaks for the
    /// certificate (its distribution points and kind) and is fresh: `thisUpdate` is not in the
    /// future, and `nextUpdate` is there and has not come.
    pub fn check(&self, subject: &RevocationSubject<'_>, now: Timestamp) -> RevocationStatus {
        let issuer = subject.issuer;
        let Some(known) = self.issuers.get(&issuer) else {
            return RevocationStatus::Unknown(UnknownRevocation::NoCrl { issuer });
        };
        let mut answer = RevocationStatus::Unknown(UnknownRevocation::NotAuthoritative);
        for name in known.names_for(subject) {
            let crl = known.slots.get(name).and_then(|slot| slot.crl.as_ref());
            let Some(crl) = crl.filter(|crl| speaks_for(crl.scope().kinds(), subject)) else {
                continue;
            };
            match self.ask(crl, subject, now) {
                revoked @ RevocationStatus::Revoked(_) => return revoked,
                status @ RevocationStatus::NotRevoked(_) => answer = status,
                status @ RevocationStatus::Unknown(_) => {
                    if !matches!(answer, RevocationStatus::NotRevoked(_)) {
                        answer = status;
                    }
                }
            }
        }
        answer
    }

    /// The status of every certificate of a path: the first that is not known to be good decides.
    ///
    /// # Errors
    ///
    /// [`RevocationError`] of that certificate.
    pub fn check_path<'a>(
        &self,
        path: impl IntoIterator<Item = RevocationSubject<'a>>,
        now: Timestamp,
    ) -> Result<(), RevocationError> {
        path.into_iter()
            .try_for_each(|subject| self.check(&subject, now).into_result().map(|_| ()))
    }

    fn ask(
        &self,
        crl: &CrlIndex,
        subject: &RevocationSubject<'_>,
        now: Timestamp,
    ) -> RevocationStatus {
        let listing = match crl.find(subject.certificate.serial().as_bytes()) {
            Ok(listing) => listing,
            Err(error) => return unknown(error),
        };
        if let Some(listing) = listing {
            return RevocationStatus::Revoked(Revoked {
                at: listing.at,
                reason: listing.reason,
            });
        }
        match self.freshness(crl, now) {
            Ok(until) => RevocationStatus::NotRevoked(NotRevoked {
                number: crl.number(),
                until,
            }),
            Err(reason) => RevocationStatus::Unknown(reason),
        }
    }

    /// Until when the CRL proves something.
    fn freshness(&self, crl: &CrlIndex, now: Timestamp) -> Result<Timestamp, UnknownRevocation> {
        let this_update = crl.this_update();
        if this_update > now.saturating_add(self.clock_skew) {
            return Err(UnknownRevocation::FromTheFuture { this_update, now });
        }
        let next_update = crl.next_update().ok_or(UnknownRevocation::NoNextUpdate)?;
        if now >= next_update {
            return Err(UnknownRevocation::Stale { next_update, now });
        }
        Ok(next_update)
    }
}

impl Issuer {
    /// The slots that speak for the certificate's distribution points.
    fn names_for<'a>(
        &'a self,
        subject: &'a RevocationSubject<'_>,
    ) -> impl Iterator<Item = &'a SlotName> {
        let points = subject.certificate.crl_distribution_points();
        let of_points = points.filter_map(|uri| CrlUri::parse(uri).ok());
        let of_points = of_points.filter_map(|uri| self.by_uri.get(&uri)).flatten();
        of_points.chain(&self.everywhere)
    }
}

fn unknown(error: CrlIndexError) -> RevocationStatus {
    RevocationStatus::Unknown(UnknownRevocation::Index(error))
}

fn speaks_for(kinds: CertificateKinds, subject: &RevocationSubject<'_>) -> bool {
    match kinds {
        CertificateKinds::All => true,
        CertificateKinds::EndEntities => !subject.certificate.is_ca(),
        CertificateKinds::Authorities => subject.certificate.is_ca(),
    }
}

fn slot_name(scope: &Scope) -> SlotName {
    (scope.uris().first().cloned(), scope.kinds())
}

fn add(names: &mut Vec<SlotName>, name: &SlotName) {
    if !names.contains(name) {
        names.push(name.clone());
    }
}
