//! `ApiKeys`: keys of clients that have no certificate, kept as hashes, and refused when they are revoked.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{SecretBytes, SecureRandom};
use m2m_secrets::{
    ApiKeyId, Issued, KeyFormat, KeyHasher, KeyTable, PepperVersion, SharedSecret, StoredClients,
};
use m2m_types::{Live, ServiceId, Timestamp};
use tokio::sync::Mutex;

use super::error::RuntimeError;
use super::records::{Records, RecordsError};

const SPACE: &str = "runtime-pepper";

/// The API keys of all clients: each step is durable, and the guard goes by it, when it has returned.
pub struct ApiKeys {
    clients: Mutex<StoredClients>,
    table: Arc<Live<KeyTable>>,
}

impl ApiKeys {
    pub(super) async fn open(
        records: &Records,
        format: KeyFormat,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, RuntimeError> {
        let pepper = pepper(records, random).await?;
        let version = PepperVersion::new(1);
        let version = version.ok_or_else(|| RecordsError::damaged(SPACE, "1"))?;
        let hasher = KeyHasher::new(format, version, &pepper).map_err(RuntimeError::api_keys)?;
        let store = Arc::clone(records.store());
        let clients = StoredClients::load(store, Arc::new(hasher)).await;
        let clients = clients.map_err(RuntimeError::api_keys)?;
        let table = clients.table(random, now).map_err(RuntimeError::api_keys)?;
        Ok(Self {
            clients: Mutex::new(clients),
            table: Arc::new(Live::new(table)),
        })
    }

    pub(super) fn table(&self) -> Arc<Live<KeyTable>> {
        Arc::clone(&self.table)
    }

    /// The first key of `owner`: hand it over and forget it.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::ApiKeys`]; also if the owner has keys already.
    pub async fn issue(
        &self,
        owner: ServiceId,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Issued, RuntimeError> {
        let mut clients = self.clients.lock().await;
        let issued = clients.issue(owner, random, now).await;
        let issued = issued.map_err(RuntimeError::api_keys)?;
        self.adopt(&clients, now, random)?;
        Ok(issued)
    }

    /// A new key for `owner`; the old one is taken for `overlap` longer.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::ApiKeys`].
    pub async fn rotate(
        &self,
        owner: &ServiceId,
        overlap: Duration,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Issued, RuntimeError> {
        let mut clients = self.clients.lock().await;
        let issued = clients.rotate(owner, overlap, random, now).await;
        let issued = issued.map_err(RuntimeError::api_keys)?;
        self.adopt(&clients, now, random)?;
        Ok(issued)
    }

    /// Ends a key. The next call that shows it is refused.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::ApiKeys`]: **ask again**, it may not be revoked.
    pub async fn revoke(
        &self,
        owner: &ServiceId,
        id: ApiKeyId,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RuntimeError> {
        let mut clients = self.clients.lock().await;
        let revoked = clients.revoke(owner, id, random, now).await;
        revoked.map_err(RuntimeError::api_keys)?;
        self.adopt(&clients, now, random)
    }

    fn adopt(
        &self,
        clients: &StoredClients,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RuntimeError> {
        let table = clients.table(random, now);
        self.table.store(table.map_err(RuntimeError::api_keys)?);
        Ok(())
    }
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

/// Drawn once, and kept sealed: hashes without it tell nobody a key.
async fn pepper(
    records: &Records,
    random: &dyn SecureRandom,
) -> Result<SharedSecret, RuntimeError> {
    let damaged = || RuntimeError::from(RecordsError::damaged(SPACE, "1"));
    if let Some(record) = records.read(SPACE, b"1").await? {
        let bytes = SecretBytes::from(record.value().as_bytes());
        return SharedSecret::new(bytes).map_err(|_| damaged());
    }
    let pepper = SharedSecret::generate(random)?;
    let bytes = pepper.expose_secret().expose_secret();
    records.write(SPACE, b"1", None, bytes, random).await?;
    Ok(pepper)
}
