//! `StoredRotation`: a rotation that outlives its process, and of which only one process is the issuer.

mod error;

use std::fmt;
use std::sync::Arc;

use m2m_crypto::{RandomError, SecretBytes, SecureRandom};
use m2m_store::{Batch, Expected, IdempotencyKey, Key, Revision, Scan, Space, Store, StoreError};
use m2m_types::Timestamp;

use crate::rotation::{
    Acknowledgement, Applied, Command, CommandId, FencingToken, Heard, Keyring, Order, Policy,
    Record, RingDelivery, Role, Rotation, SecretName, SecretVersion,
};
use crate::shared_secret::SharedSecret;

pub use error::{StoredRotationError, StoredSecretError};

/// Where rotations are, without secrets.
const ROTATIONS: &str = "secret-rotation";
/// Where secrets are: one record for each version, written once, never changed, and deleted when the
/// version ends.
const VERSIONS: &str = "secret-version";
/// How often the same batch is committed again while nobody knows what became of it.
const ATTEMPTS: u32 = 3;

/// The rotation of one secret with its secrets, kept in a store: recorded before anything of it is
/// released.
///
/// Each order is one commit that expects the state it was decided on. Where two processes rotate at
/// once, one wins, and the other gets [`StoredRotationError::Conflict`]: [`StoredRotation::reload`] and
/// decide anew. Counters are not kept: use reports come from members, and never touch these records.
pub struct StoredRotation {
    store: Arc<dyn Store>,
    rotation: Rotation,
    revision: Revision,
    keyring: Keyring,
}

impl StoredRotation {
    /// Begins the rotation of `secret` with a first version drawn from `random`. `id` names this order. If
    /// its outcome is unknown, [`StoredRotation::open`] tells.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`]; [`StoredRotationError::Conflict`] if there is such a secret already.
    pub async fn begin(
        store: Arc<dyn Store>,
        secret: &SecretName,
        policy: Policy,
        id: CommandId,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, StoredRotationError> {
        let rotation = Rotation::begin(secret.clone(), policy, FencingToken::FIRST, now);
        let mut keyring = Keyring::new(secret.clone());
        let (batch, drawn) = draw(batch(id), secret, SecretVersion::FIRST, random)?;
        keyring.insert(SecretVersion::FIRST, drawn)?;
        let key = rotation_key(secret)?;
        let batch = batch.put(key, Expected::Absent, rotation.to_record());
        let revision = commit(&*store, &batch).await?;
        Ok(Self {
            store,
            rotation,
            revision,
            keyring,
        })
    }

    /// Opens the rotation of `secret`; [`None`] if there is none.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`]. Nothing of the secret can be used then.
    pub async fn open(
        store: Arc<dyn Store>,
        secret: &SecretName,
    ) -> Result<Option<Self>, StoredRotationError> {
        let Some(record) = store.get(&rotation_key(secret)?).await? else {
            return Ok(None);
        };
        let malformed = || StoredRotationError::Malformed {
            secret: secret.clone(),
        };
        let rotation = Rotation::from_record(record.value().as_bytes());
        let rotation = rotation.filter(|read| read.secret() == secret);
        let rotation = rotation.ok_or_else(malformed)?;
        let keyring = load_keyring(&*store, &rotation).await?;
        Ok(Some(Self {
            store,
            revision: record.version(),
            rotation,
            keyring,
        }))
    }

    /// The names of all secrets in `store`, in their order.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`].
    pub async fn names(store: &dyn Store) -> Result<Vec<SecretName>, StoredRotationError> {
        let mut scan = Scan::new(space(ROTATIONS)?);
        let mut names = Vec::new();
        loop {
            let page = store.scan(&scan).await?;
            for record in page.records() {
                let name = std::str::from_utf8(record.key().id()).ok();
                names.extend(name.and_then(|name| SecretName::new(name).ok()));
            }
            match page.next() {
                Some(next) => scan = scan.after(next.clone()),
                None => return Ok(names),
            }
        }
    }

    /// The state.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// The secrets.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What a member with this role is to be given now: always of a ring that is recorded.
    pub fn delivery(&self, role: Role) -> Option<RingDelivery> {
        RingDelivery::new(self.rotation.ring(), &self.keyring, role)
    }

    /// Follows `command` and records it, in one commit. A draft draws its secret from `random`; the
    /// secrets of versions that end are deleted.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`]. Nothing has changed, except after
    /// [`StoreError::OutcomeUnknown`]: then give the same order again, after
    /// [`StoredRotation::reload`].
    pub async fn order(
        &mut self,
        order: &Order,
        command: Command,
        random: &dyn SecureRandom,
    ) -> Result<Applied, StoredRotationError> {
        let mut next = self.rotation.clone();
        let applied = next.apply(order, command)?;
        if applied.was_repeated() {
            return Ok(applied);
        }
        let secret = next.secret().clone();
        let mut batch = batch(order.id);
        let drafted = next
            .draft()
            .filter(|draft| Some(*draft) != self.rotation.draft());
        let mut drawn = None;
        if let Some(version) = drafted {
            let (with, fresh) = draw(batch, &secret, version, random)?;
            batch = with;
            drawn = Some((version, fresh));
        }
        let living: Vec<SecretVersion> = next.living().collect();
        for version in self.rotation.living().filter(|old| !living.contains(old)) {
            batch = batch.delete(version_key(&secret, version)?, Expected::Anything);
        }
        self.record(batch, next).await?;
        if let Some((version, fresh)) = drawn {
            self.keyring.insert(version, fresh)?;
        }
        self.keyring.retain(|version| living.contains(&version));
        Ok(applied)
    }

    /// Takes in an acknowledgement. What must be durable before the lease is sent is, when this returns.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`]. Send no lease then.
    pub async fn hear(
        &mut self,
        acknowledgement: &Acknowledgement,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Heard, StoredRotationError> {
        let mut next = self.rotation.clone();
        let heard = next.hear(acknowledgement, &self.keyring, now)?;
        match heard.record() {
            Record::First => {
                let id = IdempotencyKey::generate(random)?;
                self.record(Batch::new(id), next).await?;
            }
            Record::Later => self.rotation = next,
        }
        Ok(heard)
    }

    /// Reads again what other processes have written. What was heard and not recorded is forgotten;
    /// members are asked again.
    ///
    /// # Errors
    ///
    /// [`StoredRotationError`].
    pub async fn reload(&mut self) -> Result<(), StoredRotationError> {
        let secret = self.rotation.secret().clone();
        let opened = Self::open(Arc::clone(&self.store), &secret).await?;
        *self = opened.ok_or(StoredRotationError::Malformed { secret })?;
        Ok(())
    }

    async fn record(&mut self, batch: Batch, next: Rotation) -> Result<(), StoredRotationError> {
        let key = rotation_key(next.secret())?;
        let batch = batch.put(key, Expected::Version(self.revision), next.to_record());
        self.revision = commit(&*self.store, &batch).await?;
        self.rotation = next;
        Ok(())
    }
}

async fn commit(store: &dyn Store, batch: &Batch) -> Result<Revision, StoredRotationError> {
    let mut attempts = 1;
    loop {
        match store.commit(batch.clone()).await {
            Ok(committed) => return Ok(committed.revision()),
            Err(StoreError::OutcomeUnknown { .. }) if attempts < ATTEMPTS => attempts += 1,
            Err(StoreError::Conflict { .. }) => return Err(StoredRotationError::Conflict),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn load_keyring(
    store: &dyn Store,
    rotation: &Rotation,
) -> Result<Keyring, StoredRotationError> {
    let secret = rotation.secret();
    let mut keyring = Keyring::new(secret.clone());
    for version in rotation.living() {
        let record = store.get(&version_key(secret, version)?).await?;
        let missing = || StoredRotationError::SecretMissing {
            secret: secret.clone(),
            version,
        };
        let record = record.ok_or_else(missing)?;
        let bytes = SecretBytes::from(record.value().as_bytes());
        keyring.insert(version, SharedSecret::new(bytes).map_err(|_| missing())?)?;
    }
    Ok(keyring)
}

/// Draws the secret of `version` and has `batch` write it.
fn draw(
    batch: Batch,
    secret: &SecretName,
    version: SecretVersion,
    random: &dyn SecureRandom,
) -> Result<(Batch, SharedSecret), StoredRotationError> {
    let drawn = SharedSecret::generate(random)?;
    let key = version_key(secret, version)?;
    let bytes = drawn.expose_secret().expose_secret();
    Ok((batch.put(key, Expected::Absent, bytes), drawn))
}

fn batch(id: CommandId) -> Batch {
    Batch::new(IdempotencyKey::from_bytes(*id.as_bytes()))
}

fn space(name: &str) -> Result<Space, StoredRotationError> {
    Ok(Space::new(name)?)
}

fn rotation_key(secret: &SecretName) -> Result<Key, StoredRotationError> {
    Ok(Key::new(&space(ROTATIONS)?, secret.as_str().as_bytes())?)
}

fn version_key(secret: &SecretName, version: SecretVersion) -> Result<Key, StoredRotationError> {
    let number = version.number().to_be_bytes();
    let id = [secret.as_str().as_bytes(), b"\0", &number].concat();
    Ok(Key::new(&space(VERSIONS)?, &id)?)
}

impl From<RandomError> for StoredRotationError {
    fn from(_: RandomError) -> Self {
        Self::Random
    }
}

impl fmt::Debug for StoredRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRotation")
            .field("revision", &self.revision)
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}
