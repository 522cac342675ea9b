//! `StoredClients`: the API keys of all clients, in a store: recorded before anything is released.

mod error;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SecureRandom, sha256};
use m2m_store::{
    Batch, Change, Changes, Cursor, Expected, IdempotencyKey, Key, MAX_ID_BYTES, MAX_PAGE_RECORDS,
    Record, Revision, Space, Store, StoreError,
};
use m2m_types::{ServiceId, Timestamp};

use crate::{
    ApiKeyId, ClientKeys, Issued, KeyEvent, KeyHasher, KeyTable, KeyTableError, LeakAnswer, Rehash,
};
pub use error::StoredClientsError;

/// Where clients are: one record each, of hashes and times.
const CLIENTS: &str = "api-client";
/// How often the same batch is committed again while nobody knows what became of it.
const ATTEMPTS: u32 = 3;

/// The keys of all clients, in memory and in a store.
///
/// Each step is one commit that expects the client as it was when the step was decided; a new key is
/// returned when the commit has been acknowledged, and not before. Where two processes change one client
/// at once, one wins, and the other gets [`StoredClientsError::Conflict`]: [`StoredClients::follow`], and
/// decide anew.
///
/// Checks never come here: make a [`KeyTable`] with [`StoredClients::table`], put it into a
/// [`Live`](m2m_types::Live), and replace it after each step.
///
/// ```
/// # use std::sync::Arc;
/// # use m2m_secrets::{KeyFormat, KeyHasher, PepperVersion, SharedSecret, StoredClients};
/// # use m2m_store::{MemoryStore, Store};
/// # let random = m2m_crypto::SystemRandom;
/// # let hasher = Arc::new(KeyHasher::new(KeyFormat::new("acme", "live")?,
/// #     PepperVersion::new(1).unwrap(), &SharedSecret::generate(&random)?)?);
/// # let now = m2m_types::Timestamp::from_unix_seconds(1_700_000_000)?;
/// # pollster::block_on(async {
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// let mut clients = StoredClients::load(Arc::clone(&store), Arc::clone(&hasher)).await?;
/// let issued = clients.issue("spiffe://example.org/billing".parse()?, &random, now).await?;
///
/// // After the next start, or in another process.
/// let again = StoredClients::load(store, hasher).await?;
/// let key = issued.key().expose_secret().as_bytes();
/// assert!(again.table(&random, now)?.check(key, now).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StoredClients {
    store: Arc<dyn Store>,
    hasher: Arc<KeyHasher>,
    space: Space,
    clients: BTreeMap<ServiceId, (ClientKeys, Revision)>,
    /// Up to where the feed has been read.
    place: Cursor,
}

impl StoredClients {
    /// Reads all clients that `store` has. `hasher` is that of this process; the hashes of a pepper that
    /// it does not know are kept as they are.
    ///
    /// # Errors
    ///
    /// [`StoredClientsError`]. No key can be checked then.
    pub async fn load(
        store: Arc<dyn Store>,
        hasher: Arc<KeyHasher>,
    ) -> Result<Self, StoredClientsError> {
        let mut clients = Self {
            store,
            hasher,
            space: Space::new(CLIENTS)?,
            clients: BTreeMap::new(),
            place: Cursor::START,
        };
        clients.follow().await?;
        Ok(clients)
    }

    /// Takes in what other processes have written since, and says how many clients have changed. Make
    /// a new table if it is not 0.
    ///
    /// # Errors
    ///
    /// [`StoredClientsError`]. What was taken in before stays.
    pub async fn follow(&mut self) -> Result<usize, StoredClientsError> {
        let mut changed = 0;
        loop {
            let changes = self
                .store
                .changes(&self.space, self.place, MAX_PAGE_RECORDS);
            match changes.await? {
                Changes::TooOld => {
                    changed += self.clients.len();
                    self.clients.clear();
                    self.place = Cursor::START;
                }
                Changes::Some(page) => {
                    for change in page.changes() {
                        changed += usize::from(self.take(change)?);
                    }
                    self.place = page.next();
                    if !page.has_more() {
                        return Ok(changed);
                    }
                }
                other => return Err(StoredClientsError::unknown(&other)),
            }
        }
    }

    /// Adds a client with its first key. Its key is returned when it is recorded.
    ///
    /// # Errors
    ///
    /// [`StoredClientsError`]; [`StoredClientsError::Conflict`] if there is such a client already.
    pub async fn issue(
        &mut self,
        owner: ServiceId,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Issued, StoredClientsError> {
        if self.clients.contains_key(&owner) {
            return Err(StoredClientsError::Conflict);
        }
        let (client, issued) = ClientKeys::issue(owner, &self.hasher, random, now)?;
        self.record(client, Expected::Absent, random).await?;
        Ok(issued)
    }

    /// Gives a client a new key; see [`ClientKeys::rotate`]. It is returned when it is recorded.
    ///
    /// # Errors
    ///
    /// [`StoredClientsError`]; nothing has changed then, except after an unknown outcome: `follow` tells.
    pub async fn rotate(
        &mut self,
        owner: &ServiceId,
        overlap: Duration,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Issued, StoredClientsError> {
        let (mut client, revision) = self.copy_of(owner)?;
        let issued = client.rotate(&self.hasher, overlap, random, now)?;
        self.record(client, revision, random).await?;
        Ok(issued)
    }

    /// Ends a key; see [`ClientKeys::revoke`]. It is refused by tables that are made from now on.
    ///
    /// # Errors
    ///
    /// As [`Self::rotate`].
    pub async fn revoke(
        &mut self,
        owner: &ServiceId,
        id: ApiKeyId,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<Vec<KeyEvent>, StoredClientsError> {
        let (mut client, revision) = self.copy_of(owner)?;
        let events = client.revoke(id, now)?;
        self.record(client, revision, random).await?;
        Ok(events)
    }

    /// A key was found where it should not be; see [`ClientKeys::report_leak`]. Whatever takes its place
    /// is recorded when this returns.
    ///
    /// # Errors
    ///
    /// As [`Self::rotate`].
    pub async fn report_leak(
        &mut self,
        owner: &ServiceId,
        id: ApiKeyId,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<LeakAnswer, StoredClientsError> {
        let (mut client, revision) = self.copy_of(owner)?;
        let answer = client.report_leak(id, &self.hasher, random, now)?;
        self.record(client, revision, random).await?;
        Ok(answer)
    }

    /// Keeps the hash of a key that was just used under the current pepper instead of that under an
    /// earlier one. [`None`] if that was done already: nothing is written then.
    ///
    /// # Errors
    ///
    /// As [`Self::rotate`]. No harm is done: the key stays as it was, and the next use offers it again.
    pub async fn rehash(
        &mut self,
        owner: &ServiceId,
        rehash: &Rehash,
        random: &dyn SecureRandom,
    ) -> Result<Option<KeyEvent>, StoredClientsError> {
        let (mut client, revision) = self.copy_of(owner)?;
        let Some(event) = client.apply_rehash(rehash) else {
            return Ok(None);
        };
        self.record(client, revision, random).await?;
        Ok(Some(event))
    }

    /// All keys as of now, to check with.
    ///
    /// # Errors
    ///
    /// [`KeyTableError`].
    pub fn table(
        &self,
        random: &dyn SecureRandom,
        now: Timestamp,
    ) -> Result<KeyTable, KeyTableError> {
        KeyTable::build(Arc::clone(&self.hasher), self.iter(), random, now)
    }

    /// The keys of one client.
    pub fn client(&self, owner: &ServiceId) -> Option<&ClientKeys> {
        self.clients.get(owner).map(|(client, _)| client)
    }

    /// The keys of all clients, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &ClientKeys> {
        self.clients.values().map(|(client, _)| client)
    }

    fn copy_of(&self, owner: &ServiceId) -> Result<(ClientKeys, Expected), StoredClientsError> {
        let unknown = || StoredClientsError::UnknownClient {
            owner: owner.clone(),
        };
        let (client, revision) = self.clients.get(owner).ok_or_else(unknown)?;
        Ok((client.clone(), Expected::Version(*revision)))
    }

    async fn record(
        &mut self,
        client: ClientKeys,
        expected: Expected,
        random: &dyn SecureRandom,
    ) -> Result<(), StoredClientsError> {
        let id = IdempotencyKey::generate(random)?;
        let key = key_of(&self.space, client.owner())?;
        let batch = Batch::new(id).put(key, expected, client.to_record());
        let revision = commit(&*self.store, &batch).await?;
        let owner = client.owner().clone();
        self.clients.insert(owner, (client, revision));
        Ok(())
    }

    /// Whether `change` told of something new.
    fn take(&mut self, change: &Change) -> Result<bool, StoredClientsError> {
        let record = match change {
            Change::Put(record) => record,
            Change::Deleted { key, .. } => {
                let before = self.clients.len();
                let space = &self.space;
                self.clients
                    .retain(|owner, _| key_of(space, owner).is_ok_and(|found| found != *key));
                return Ok(self.clients.len() != before);
            }
            other => return Err(StoredClientsError::unknown(other)),
        };
        let client = self.read(record)?;
        let known = self.clients.get(client.owner());
        // What this process has written itself comes back by the feed.
        if known.is_some_and(|(_, revision)| *revision >= record.version()) {
            return Ok(false);
        }
        let owner = client.owner().clone();
        self.clients.insert(owner, (client, record.version()));
        Ok(true)
    }

    fn read(&self, record: &Record) -> Result<ClientKeys, StoredClientsError> {
        let client = ClientKeys::from_record(record.value().as_bytes());
        // A record of one client in the place of another's is none.
        let placed = |client: &ClientKeys| {
            key_of(&self.space, client.owner()).is_ok_and(|key| key == *record.key())
        };
        client
            .filter(placed)
            .ok_or_else(|| StoredClientsError::Malformed {
                key: record.key().clone(),
            })
    }
}

async fn commit(store: &dyn Store, batch: &Batch) -> Result<Revision, StoredClientsError> {
    let mut attempts = 1;
    loop {
        match store.commit(batch.clone()).await {
            Ok(committed) => return Ok(committed.revision()),
            Err(StoreError::OutcomeUnknown { .. }) if attempts < ATTEMPTS => attempts += 1,
            Err(StoreError::Conflict { .. }) => return Err(StoredClientsError::Conflict),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The name, or its hash where it is longer than the key of a record may be.
fn key_of(space: &Space, owner: &ServiceId) -> Result<Key, StoredClientsError> {
    let name = owner.as_str().as_bytes();
    let hash = sha256(name);
    let id = match name.len() <= MAX_ID_BYTES {
        true => name,
        false => hash.as_slice(),
    };
    Ok(Key::new(space, id)?)
}

impl fmt::Debug for StoredClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredClients")
            .field("hasher", &self.hasher)
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}
