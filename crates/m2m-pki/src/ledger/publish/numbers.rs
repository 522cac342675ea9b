//! The numbers of CRLs, durable before anything is signed under them.

use m2m_crypto::{SecureRandom, sha256};
use m2m_store::{Batch, Expected, IdempotencyKey, Key, Revision, StoreError};

use super::{CrlPublishError, CrlPublisher};
use crate::ledger::{ATTEMPTS, LedgerError, ROUNDS};
use crate::{CrlNumber, CrlNumbers, FreshCrlNumber, Scope, ShardPlan};

/// By issuer and list: the greatest number that was claimed.
const NUMBERS: &str = "pki-crl-number";

impl CrlPublisher {
    /// A number that nobody had, durably before this returns.
    pub(super) async fn claim(
        &self,
        list: u32,
        random: &dyn SecureRandom,
    ) -> Result<(FreshCrlNumber, Revision), CrlPublishError> {
        let key = self.number_key(list)?;
        let store = &self.ledger.store;
        for _ in 0..ROUNDS {
            let (expected, mut numbers) = match store.get(&key).await? {
                None => (Expected::Absent, CrlNumbers::first()),
                Some(record) => {
                    let last = decode(record.value().as_bytes());
                    let last = last.ok_or(LedgerError::Damaged { space: NUMBERS })?;
                    (
                        Expected::Version(record.version()),
                        CrlNumbers::resume(last),
                    )
                }
            };
            let fresh = numbers.claim()?;
            // A name of its own: with one that two processes share, both would believe to have it.
            let name = IdempotencyKey::generate(random)?;
            let summary = format!(r#"{{"list":{list},"number":"{}"}}"#, fresh.number());
            let value = encode(fresh.number());
            let batch = Batch::new(name).put_with_summary(key.clone(), expected, value, summary);
            let mut outcome = store.commit(batch.clone()).await;
            for _ in 1..ATTEMPTS {
                if !matches!(outcome, Err(StoreError::OutcomeUnknown { .. })) {
                    break;
                }
                outcome = store.commit(batch.clone()).await;
            }
            match outcome {
                Ok(committed) => return Ok((fresh, committed.revision())),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CrlPublishError::Contended { rounds: ROUNDS })
    }

    /// The numbers of a list are those of what it speaks for, so another plan does not begin anew.
    pub(super) fn number_key(&self, list: u32) -> Result<Key, LedgerError> {
        let scope = scope_of(self.plan.as_ref(), list).to_der();
        let digest = sha256(&scope.unwrap_or_default());
        let id = [&self.prefix[..], &digest].concat();
        self.ledger.key(NUMBERS, &id)
    }
}

const VERSION: u8 = 1;

fn encode(number: CrlNumber) -> Vec<u8> {
    [&[VERSION][..], &number.to_be_bytes()].concat()
}

fn decode(bytes: &[u8]) -> Option<CrlNumber> {
    let number = bytes.strip_prefix(&[VERSION])?;
    CrlNumber::from_be_bytes(number.try_into().ok()?)
}

pub(super) fn scope_of(plan: Option<&ShardPlan>, list: u32) -> Scope {
    plan.map_or_else(Scope::everything, |plan| plan.scope(list))
}
