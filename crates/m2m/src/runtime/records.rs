//! What the runtime itself keeps in its store: few records, each with a version that its next writer expects.
//!
//! | space | id | what |
//! |---|---|---|
//! | `runtime-keys` | `ring` | which signing keys there are and how far each has come, in JSON |
//! | `runtime-key` | `kid` of the key | a signing key, PKCS #8; written once, deleted when its last token has expired |
//! | `runtime-authority` | `root` | the authority's key and certificate |
//! | `runtime-identity` | `own` | our own key and its chain |
//! | `runtime-joined` | `issuer` | which issuer elsewhere we joined, in JSON |
//! | `runtime-joined` | `crl` | its newest CRL that we have seen |
//! | `runtime-pepper` | `1` | the pepper of API keys |
//! | `runtime-invitation` | SHA-256 of the code | who may join by it, and until when |

use std::sync::Arc;

use m2m_crypto::SecureRandom;
use m2m_store::{
    Batch, Expected, IdempotencyKey, Key, Reason, Record, Revision, Scan, Space, Store, StoreError,
    Value,
};

/// How often the same batch is committed again while nobody knows what became of it.
const ATTEMPTS: u32 = 4;

/// Why a record of the runtime was not read or written.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The store did not do it.
    #[error("{0}")]
    Store(StoreError),
    /// A record is there and is not what it should be.
    #[error("the record {space}/{id} is damaged, or of a newer version of this program")]
    Damaged {
        /// In which space.
        space: &'static str,
        /// Which.
        id: Box<str>,
    },
    /// What was to be kept could not be made.
    #[error("{reason}")]
    Made {
        /// What went wrong.
        reason: Reason,
    },
}

impl RecordsError {
    pub(super) fn made(error: impl std::fmt::Display) -> Self {
        Self::Made {
            reason: Reason::new(error),
        }
    }

    pub(super) fn damaged(space: &'static str, id: &str) -> Self {
        Self::Damaged {
            space,
            id: id.into(),
        }
    }
}

impl From<StoreError> for RecordsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The runtime's own records.
#[derive(Clone)]
pub(super) struct Records {
    store: Arc<dyn Store>,
}

impl Records {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(super) fn key(space: &'static str, id: &[u8]) -> Result<Key, RecordsError> {
        let named = Space::new(space).and_then(|space| Key::new(&space, id));
        named.map_err(RecordsError::made)
    }

    pub(super) async fn read(
        &self,
        space: &'static str,
        id: &[u8],
    ) -> Result<Option<Record>, RecordsError> {
        Ok(self.store.get(&Self::key(space, id)?).await?)
    }

    /// All records of a space.
    pub(super) async fn all(&self, space: &'static str) -> Result<Vec<Record>, RecordsError> {
        let mut scan = Scan::new(Space::new(space).map_err(RecordsError::made)?);
        let mut records = Vec::new();
        loop {
            let page = self.store.scan(&scan).await?;
            let next = page.next().cloned();
            records.extend(page.into_records());
            match next {
                Some(next) => scan = scan.after(next),
                None => return Ok(records),
            }
        }
    }

    /// Writes one record where there is none, or where it is still of that version.
    pub(super) async fn write(
        &self,
        space: &'static str,
        id: &[u8],
        expected: Option<Revision>,
        value: impl Into<Value>,
        random: &dyn SecureRandom,
    ) -> Result<Revision, RecordsError> {
        let expected = expected.map_or(Expected::Absent, Expected::Version);
        let batch = Self::batch(random)?.put(Self::key(space, id)?, expected, value);
        self.commit(batch).await
    }

    pub(super) fn batch(random: &dyn SecureRandom) -> Result<Batch, RecordsError> {
        let name = IdempotencyKey::generate(random).map_err(RecordsError::made)?;
        Ok(Batch::new(name))
    }

    /// Commits, and asks again under the same name while nobody knows what became of it.
    pub(super) async fn commit(&self, batch: Batch) -> Result<Revision, RecordsError> {
        let mut attempts = 1;
        loop {
            match self.store.commit(batch.clone()).await {
                Ok(committed) => return Ok(committed.revision()),
                Err(StoreError::OutcomeUnknown { .. }) if attempts < ATTEMPTS => attempts += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
