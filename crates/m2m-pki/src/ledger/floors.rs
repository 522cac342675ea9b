//! `CrlFloors`: which CRLs were held, so that a restart opens no way back to older ones.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::sha256;
use m2m_store::{Batch, Expected, Key, Scan, Space, Store, StoreError};

use super::{Ledger, LedgerError, ROUNDS, idempotency_key};
use crate::{CertificateKinds, CrlIndex, CrlNumber, CrlSet, CrlSetError, IssuerId, Scope};

/// By issuer and distribution point: the greatest number of a CRL that was taken.
const FLOORS: &str = "pki-crl-floor";

/// Remembers, on a store that survives, the greatest number of each CRL that was taken. For those who
/// check certificates; who issues CRLs has a [`CrlPublisher`](crate::CrlPublisher).
///
/// [`CrlFloors::restore`] when the process begins; then each CRL goes through [`CrlFloors::take`].
#[derive(Clone)]
pub struct CrlFloors {
    ledger: Ledger,
}

/// Why a CRL was not taken. The set stays as it was.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlFloorError {
    /// It is not newer than what is held or was.
    #[error("the CRL is not taken")]
    Set(#[from] CrlSetError),
    /// A process that shares the store has taken a newer one.
    #[error("CRL {offered} is older than {held}, taken elsewhere")]
    Older {
        /// The number of the CRL that was offered.
        offered: CrlNumber,
        /// The number on record.
        held: CrlNumber,
    },
    /// Others took CRLs of the same list all the time.
    #[error("the record changed {rounds} times while it was read")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// The store could not be read or written.
    #[error("the store failed")]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for CrlFloorError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl CrlFloors {
    /// The floors kept in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            ledger: Ledger::new(store),
        }
    }

    /// `set` with the floors of all that was ever taken: CRLs below them are refused.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; then nothing may be taken at all.
    pub async fn restore(&self, set: CrlSet) -> Result<CrlSet, LedgerError> {
        let damaged = LedgerError::Damaged { space: FLOORS };
        let space = Space::new(FLOORS).map_err(|_| damaged.clone())?;
        let (mut set, mut after) = (set, None::<Key>);
        loop {
            let mut scan = Scan::new(space.clone()).with_limit(1000);
            if let Some(after) = after {
                scan = scan.after(after);
            }
            let page = self.ledger.store.scan(&scan).await?;
            for record in page.records() {
                let issuer = record.key().id().first_chunk().copied().map(IssuerId);
                let floor = decode(record.value().as_bytes());
                let (issuer, (number, scope)) = issuer.zip(floor).ok_or(damaged.clone())?;
                set = set.with_floor(issuer, &scope, number);
            }
            match page.next() {
                Some(next) => after = Some(next.clone()),
                None => return Ok(set),
            }
        }
    }

    /// [`CrlSet::with`], and the number is durable before the set with the CRL is there to be used.
    ///
    /// # Errors
    ///
    /// [`CrlFloorError`]; keep the set you have.
    pub async fn take(&self, set: &CrlSet, crl: Arc<CrlIndex>) -> Result<CrlSet, CrlFloorError> {
        let (number, value) = (crl.number(), encode(crl.number(), crl.scope()));
        let key = self.ledger.key(FLOORS, &name_of(&crl))?;
        let next = set.with(crl)?;
        for _ in 0..ROUNDS {
            let found = self.ledger.store.get(&key).await?;
            let expected = match &found {
                None => Expected::Absent,
                Some(record) => {
                    let damaged = LedgerError::Damaged { space: FLOORS };
                    let (held, _) = decode(record.value().as_bytes()).ok_or(damaged)?;
                    if held > number {
                        let offered = number;
                        return Err(CrlFloorError::Older { offered, held });
                    }
                    if held == number {
                        return Ok(next);
                    }
                    Expected::Version(record.version())
                }
            };
            let version = found.map_or(0, |record| record.version().number());
            let cause = [key.id(), &number.to_be_bytes(), &version.to_be_bytes()];
            let batch = Batch::new(idempotency_key(&cause));
            let batch = batch.put(key.clone(), expected, value.clone());
            match self.ledger.commit(batch).await {
                Ok(()) => return Ok(next),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CrlFloorError::Contended { rounds: ROUNDS })
    }
}

const VERSION: u8 = 1;

/// The issuer, and a digest of what tells its lists apart.
fn name_of(crl: &CrlIndex) -> Vec<u8> {
    let kinds = match crl.scope().kinds() {
        CertificateKinds::All => 0,
        CertificateKinds::EndEntities => 1,
        CertificateKinds::Authorities => 2,
    };
    let uri = crl.scope().uris().first();
    let uri = uri.map_or(&[][..], |uri| uri.as_str().as_bytes());
    let digest = sha256(&[&[kinds], uri].concat());
    [&crl.issuer().0[..], &digest].concat()
}

fn encode(number: CrlNumber, scope: &Scope) -> Vec<u8> {
    let scope = scope.to_der().unwrap_or_default();
    [&[VERSION], &number.to_be_bytes()[..], &scope].concat()
}

fn decode(bytes: &[u8]) -> Option<(CrlNumber, Scope)> {
    let (number, scope) = bytes.strip_prefix(&[VERSION])?.split_first_chunk()?;
    let scope = match scope.is_empty() {
        true => Scope::everything(),
        false => Scope::from_der(scope).ok()?,
    };
    Some((CrlNumber::from_be_bytes(*number)?, scope))
}

impl fmt::Debug for CrlFloors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlFloors").finish_non_exhaustive()
    }
}
