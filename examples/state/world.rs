//! What all actors share: the store, the revocations, and how to say that something is acknowledged.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::SystemRandom;
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::{Batch, Committed, IdempotencyKey, Store, StoreError};
use m2m_types::{Clock, SystemClock, Timestamp};

use super::{Actor, Outcome};

/// How long the same batch is committed again while nobody knows what became of it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) revocations: StoredRevocations,
    pub(crate) now: Timestamp,
    /// For stores that need one.
    runtime: Option<tokio::runtime::Handle>,
}

impl World {
    /// Loads all that a service needs before its first answer.
    pub(crate) fn load(
        store: Arc<dyn Store>,
        runtime: Option<tokio::runtime::Handle>,
    ) -> Outcome<Self> {
        let now = SystemClock::new().now()?;
        let shared = Arc::clone(&store);
        let options = StoredOptions::default();
        let revocations = StoredRevocations::open(shared, now, &SystemRandom, options);
        Ok(Self {
            revocations: wait(runtime.as_ref(), revocations)?,
            store,
            now,
            runtime,
        })
    }

    /// Waits for `future` on this thread.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        wait(self.runtime.as_ref(), future)
    }

    /// A batch with a name of its own.
    pub(crate) fn batch(&self) -> Outcome<Batch> {
        Ok(Batch::new(IdempotencyKey::generate(&SystemRandom)?))
    }

    /// Commits `batch`, again and again under the same name while that may help.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        let begun = Instant::now();
        loop {
            match self.wait(self.store.commit(batch.clone())) {
                Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                done => return done,
            }
        }
    }

    /// Reads again and again while that may help.
    pub(crate) fn read<T>(
        &self,
        read: impl Fn() -> m2m_store::StoreFuture<'static, T>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        loop {
            match self.wait(read()) {
                Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                done => return done,
            }
        }
    }

    /// The record at `key`.
    pub(crate) fn get(
        &self,
        key: &m2m_store::Key,
    ) -> Result<Option<m2m_store::Record>, StoreError> {
        let (store, key) = (Arc::clone(&self.store), key.clone());
        self.read(move || {
            let (store, key) = (Arc::clone(&store), key.clone());
            Box::pin(async move { store.get(&key).await })
        })
    }

    /// Says that something is acknowledged, in one write, so that it is said whole or not.
    pub(crate) fn say(&self, actor: &dyn Actor, what: &str) -> Outcome<()> {
        self.line(&format!("{} {what}\n", actor.name()))
    }

    pub(crate) fn line(&self, line: &str) -> Outcome<()> {
        Ok(std::io::stdout().lock().write_all(line.as_bytes())?)
    }

    /// Whoever worked ended. The parent must hear why.
    pub(crate) fn give_up(&self, who: &str, ended: Outcome<()>) {
        let why = ended.map_or_else(|error| error.to_string(), |()| "ended".into());
        // If it cannot be said, the exit code says it.
        let _ = self.line(&format!("violation {who}: {why}\n"));
        std::process::exit(1);
    }
}

fn wait<T>(runtime: Option<&tokio::runtime::Handle>, future: impl Future<Output = T>) -> T {
    match runtime {
        Some(runtime) => runtime.block_on(future),
        None => pollster::block_on(future),
    }
}
