//! `StoredRollover`: a rollover that survives, and that several processes take steps of.

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{RandomError, SecureRandom};
use m2m_store::{Batch, Expected, IdempotencyKey, Key, Space, Store, StoreError};
use m2m_types::TrustDomain;

use super::{Rollover, RolloverError, RolloverPhase};

/// By trust domain: where its rollover is.
const ROLLOVERS: &str = "pki-rollover";
/// How often a step is taken anew because somebody else took one in between.
const ROUNDS: u32 = 16;
/// How often the same batch is committed while nobody knows what became of it.
const ATTEMPTS: u32 = 4;

/// A trust domain's [`Rollover`] on a store. A step counts when it is durable, and is taken from where
/// the store says that it is, not from where this process believes.
#[derive(Clone)]
pub struct StoredRollover {
    store: Arc<dyn Store>,
    key: Key,
}

/// Why a step was not taken, or is not known to be.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloverStoreError {
    /// It would be unsafe, or there is no such step.
    #[error("the step is not taken")]
    Step(#[from] RolloverError),
    /// There is none of this trust domain.
    #[error("no rollover was begun here")]
    Absent,
    /// There is one already.
    #[error("a rollover was begun here before")]
    Present,
    /// The record is not what this crate writes.
    #[error("a record in {ROLLOVERS} is not what is written there; restore a backup")]
    Damaged,
    /// Others took steps all the time.
    #[error("the record changed {rounds} times while it was read")]
    Contended {
        /// How often it was tried.
        rounds: u32,
    },
    /// There were no random bytes.
    #[error("no random bytes")]
    Random(#[from] RandomError),
    /// The store failed. After [`StoreError::OutcomeUnknown`] load it to see.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl StoredRollover {
    /// The rollover of `domain` in `store`.
    ///
    /// # Errors
    ///
    /// [`RolloverStoreError::Damaged`] never, for names that are checked as these are.
    pub fn new(store: Arc<dyn Store>, domain: &TrustDomain) -> Result<Self, RolloverStoreError> {
        let space = Space::new(ROLLOVERS).map_err(|_| RolloverStoreError::Damaged)?;
        let digest = m2m_crypto::sha256(domain.as_str().as_bytes());
        let key = Key::new(&space, &digest).map_err(|_| RolloverStoreError::Damaged)?;
        Ok(Self { store, key })
    }

    /// Where it is; [`None`] before [`StoredRollover::begin`].
    ///
    /// # Errors
    ///
    /// [`RolloverStoreError`] if it cannot be said.
    pub async fn load(&self) -> Result<Option<Rollover>, RolloverStoreError> {
        let record = self.store.get(&self.key).await?;
        let decode = |value: &[u8]| Rollover::decode(value).ok_or(RolloverStoreError::Damaged);
        record
            .map(|record| decode(record.value().as_bytes()))
            .transpose()
    }

    /// Writes down where it begins.
    ///
    /// # Errors
    ///
    /// [`RolloverStoreError::Present`], or as [`StoredRollover::step`].
    pub async fn begin(
        &self,
        rollover: &Rollover,
        random: &dyn SecureRandom,
    ) -> Result<(), RolloverStoreError> {
        match self.commit(rollover, Expected::Absent, random).await {
            Err(StoreOrRandom::Store(StoreError::Conflict { .. })) => {
                Err(RolloverStoreError::Present)
            }
            done => Ok(done?),
        }
    }

    /// Takes a step, durably before this returns, and returns where that leads. `step` is taken anew if
    /// somebody else took one in between.
    ///
    /// # Errors
    ///
    /// [`RolloverStoreError::Step`], with what is in the way, and the others if the store fails.
    pub async fn step(
        &self,
        step: impl Fn(&Rollover) -> Result<Rollover, RolloverError>,
        random: &dyn SecureRandom,
    ) -> Result<Rollover, RolloverStoreError> {
        for _ in 0..ROUNDS {
            let record = self.store.get(&self.key).await?;
            let record = record.ok_or(RolloverStoreError::Absent)?;
            let found = Rollover::decode(record.value().as_bytes());
            let next = step(&found.ok_or(RolloverStoreError::Damaged)?)?;
            let expected = Expected::Version(record.version());
            match self.commit(&next, expected, random).await {
                Err(StoreOrRandom::Store(StoreError::Conflict { .. })) => {}
                done => {
                    done?;
                    return Ok(next);
                }
            }
        }
        Err(RolloverStoreError::Contended { rounds: ROUNDS })
    }

    async fn commit(
        &self,
        rollover: &Rollover,
        expected: Expected,
        random: &dyn SecureRandom,
    ) -> Result<(), StoreOrRandom> {
        let name = IdempotencyKey::generate(random).map_err(StoreOrRandom::Random)?;
        let phase = match rollover.phase() {
            RolloverPhase::Single { .. } => "single",
            RolloverPhase::Prepared { .. } => "prepared",
            RolloverPhase::Activated { .. } => "activated",
        };
        let sequence = rollover.sequence;
        let summary = format!(r#"{{"phase":"{phase}","bundle":{sequence}}}"#);
        let value = rollover.encode();
        let batch = Batch::new(name).put_with_summary(self.key.clone(), expected, value, summary);
        let mut outcome = self.store.commit(batch.clone()).await;
        for _ in 1..ATTEMPTS {
            if !matches!(outcome, Err(StoreError::OutcomeUnknown { .. })) {
                break;
            }
            outcome = self.store.commit(batch.clone()).await;
        }
        outcome.map(drop).map_err(StoreOrRandom::Store)
    }
}

enum StoreOrRandom {
    Store(StoreError),
    Random(RandomError),
}

impl From<StoreOrRandom> for RolloverStoreError {
    fn from(error: StoreOrRandom) -> Self {
        match error {
            StoreOrRandom::Store(error) => Self::Store(error),
            StoreOrRandom::Random(error) => Self::Random(error),
        }
    }
}

impl fmt::Debug for StoredRollover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRollover").finish_non_exhaustive()
    }
}
