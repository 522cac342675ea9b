//! `SigningKeys`: the issuer's ring, which rotates on a schedule and is the same one after a restart.
//!
//! The ring has no form on disk. What is kept is what happened to it: which keys were published when, and which
//! was activated when. Opening does the same steps again, with the times at which they were done, and so the
//! same keys are active and retire until the same second. Each step is one commit, before the ring takes it.

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SecretBytes, SecureRandom, SigningKey};
use m2m_store::{Expected, Revision};
use m2m_token::{SigningKeyRing, SigningKeyState};
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::records::{Records, RecordsError};

const RING: &str = "runtime-keys";
const KEY: &str = "runtime-key";
const FORMAT: u32 = 1;

/// When signing keys come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeySchedule {
    /// How long a key signs.
    pub(super) rotate_every: Duration,
    /// How long it is published before.
    pub(super) propagation: Duration,
    /// How long the longest-lived token lives.
    pub(super) token_lifetime: Duration,
}

pub(super) struct SigningKeys {
    records: Records,
    schedule: KeySchedule,
    ring: Arc<SigningKeyRing>,
    /// What is in the store; writers come one after the other.
    kept: Mutex<Kept>,
}

struct Kept {
    ring: RingRecord,
    version: Revision,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RingRecord {
    format: u32,
    /// The longest a token of these keys may live, in seconds.
    token_lifetime: u64,
    /// In the order in which they are or were to be used.
    keys: Vec<KeyRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    kid: Box<str>,
    alg: Box<str>,
    /// Unix seconds, as the others.
    published: u64,
    activated: Option<u64>,
    /// The first second in which none of its tokens is taken.
    until: Option<u64>,
}

impl SigningKeys {
    /// Opens the ring that is kept, or begins one.
    pub(super) async fn open(
        records: Records,
        schedule: KeySchedule,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, RecordsError> {
        let damaged = || RecordsError::damaged(RING, "ring");
        let (mut ring, version) = match records.read(RING, b"ring").await? {
            Some(record) => {
                let ring = serde_json::from_slice(record.value().as_bytes());
                (ring.map_err(|_| damaged())?, record.version())
            }
            None => begin(&records, &schedule, now, random).await?,
        };
        if ring.format != FORMAT {
            return Err(damaged());
        }
        // Whoever shortens the life of tokens does not shorten that of those that are out.
        ring.token_lifetime = ring.token_lifetime.max(schedule.token_lifetime.as_secs());
        let restored = restore(&records, &schedule, &ring).await?;
        Ok(Self {
            records,
            schedule,
            ring: Arc::new(restored),
            kept: Mutex::new(Kept { ring, version }),
        })
    }

    pub(super) fn ring(&self) -> &Arc<SigningKeyRing> {
        &self.ring
    }

    /// Does what is due at `now`, and says when to come again.
    pub(super) async fn step(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Timestamp, RecordsError> {
        let mut kept = self.kept.lock().await;
        self.forget(&mut kept, now, random).await?;
        let next = kept.ring.keys.iter().find(|key| key.activated.is_none());
        let due = match next.cloned() {
            Some(next) => {
                let due = at(next.published).saturating_add(self.schedule.propagation);
                if now >= due {
                    self.activate(&mut kept, &next.kid, now, random).await?;
                    self.publish_at(&kept)
                } else {
                    due
                }
            }
            None if now >= self.publish_at(&kept) => {
                self.publish(&mut kept, now, random).await?;
                now.saturating_add(self.schedule.propagation)
            }
            None => self.publish_at(&kept),
        };
        let expiring = kept.ring.keys.iter().filter_map(|key| key.until);
        let expiring = expiring.min().map_or(due, at);
        Ok(due.min(expiring))
    }

    /// Publishes the next key now, whatever the schedule says. It signs when every verifier can know it.
    pub(super) async fn rotate(
        &self,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RecordsError> {
        let mut kept = self.kept.lock().await;
        match kept.ring.keys.iter().any(|key| key.activated.is_none()) {
            true => Ok(()),
            false => self.publish(&mut kept, now, random).await,
        }
    }

    /// When the successor of the active key is published.
    fn publish_at(&self, kept: &Kept) -> Timestamp {
        let active = kept.ring.keys.iter().filter_map(|key| key.activated).max();
        let lead = self.schedule.propagation.min(self.schedule.rotate_every);
        at(active.unwrap_or_default())
            .saturating_add(self.schedule.rotate_every.saturating_sub(lead))
    }

    async fn publish(
        &self,
        kept: &mut Kept,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RecordsError> {
        let key = generate(random)?;
        let record = KeyRecord::new(&key, now);
        let mut next = kept.ring.clone();
        let id = Records::key(KEY, record.kid.as_bytes())?;
        let batch =
            Records::batch(random)?.put(id, Expected::Absent, key.to_pkcs8_der().expose_secret());
        next.keys.push(record);
        self.commit(kept, next, batch).await?;
        self.ring.publish(key, now).map_err(RecordsError::made)?;
        Ok(())
    }

    async fn activate(
        &self,
        kept: &mut Kept,
        kid: &str,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RecordsError> {
        let mut next = kept.ring.clone();
        let until = now.saturating_add(Duration::from_secs(next.token_lifetime));
        for key in &mut next.keys {
            if *key.kid == *kid {
                key.activated = Some(now.unix_seconds());
            } else if key.activated.is_some() && key.until.is_none() {
                key.until = Some(until.unix_seconds());
            }
        }
        self.commit(kept, next, Records::batch(random)?).await?;
        self.ring.activate(kid, now).map_err(RecordsError::made)
    }

    /// Keys whose last token has expired leave the ring, the store and memory.
    async fn forget(
        &self,
        kept: &mut Kept,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<(), RecordsError> {
        let is_over = |key: &KeyRecord| key.until.is_some_and(|until| at(until) <= now);
        if !kept.ring.keys.iter().any(is_over) {
            return Ok(());
        }
        let mut batch = Records::batch(random)?;
        for key in kept.ring.keys.iter().filter(|key| is_over(key)) {
            let id = Records::key(KEY, key.kid.as_bytes())?;
            batch = batch.delete(id, Expected::Anything);
        }
        let mut next = kept.ring.clone();
        next.keys.retain(|key| !is_over(key));
        self.commit(kept, next, batch).await?;
        self.ring.tidy(now);
        Ok(())
    }

    async fn commit(
        &self,
        kept: &mut Kept,
        next: RingRecord,
        batch: m2m_store::Batch,
    ) -> Result<(), RecordsError> {
        let value = serde_json::to_vec(&next).map_err(RecordsError::made)?;
        let key = Records::key(RING, b"ring")?;
        let batch = batch.put(key, Expected::Version(kept.version), value);
        kept.version = self.records.commit(batch).await?;
        kept.ring = next;
        Ok(())
    }
}

impl KeyRecord {
    fn new(key: &SigningKey, now: Timestamp) -> Self {
        Self {
            kid: key.verifying_key().thumbprint().to_string().into(),
            alg: key.algorithm().name().into(),
            published: now.unix_seconds(),
            activated: None,
            until: None,
        }
    }
}

fn generate(random: &dyn SecureRandom) -> Result<SigningKey, RecordsError> {
    SigningKey::generate(Algorithm::Es256, random).map_err(RecordsError::made)
}

/// The first key of all is active at once: there is nobody yet who could not know it.
async fn begin(
    records: &Records,
    schedule: &KeySchedule,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(RingRecord, Revision), RecordsError> {
    let key = generate(random)?;
    let mut first = KeyRecord::new(&key, now);
    first.activated = Some(now.unix_seconds());
    let id = Records::key(KEY, first.kid.as_bytes())?;
    let ring = RingRecord {
        format: FORMAT,
        token_lifetime: schedule.token_lifetime.as_secs(),
        keys: vec![first],
    };
    let value = serde_json::to_vec(&ring).map_err(RecordsError::made)?;
    let batch = Records::batch(random)?
        .put(id, Expected::Absent, key.to_pkcs8_der().expose_secret())
        .put(Records::key(RING, b"ring")?, Expected::Absent, value);
    let version = records.commit(batch).await?;
    Ok((ring, version))
}

/// Does what was done to the ring again, at the times at which it was done.
async fn restore(
    records: &Records,
    schedule: &KeySchedule,
    kept: &RingRecord,
) -> Result<SigningKeyRing, RecordsError> {
    let damaged = || RecordsError::damaged(RING, "ring");
    let mut ring: Option<SigningKeyRing> = None;
    for key in &kept.keys {
        let loaded = load(records, key).await?;
        ring = Some(match (ring, key.activated) {
            (None, Some(_)) => {
                let lifetime = Duration::from_secs(kept.token_lifetime);
                let ring = SigningKeyRing::new(loaded, lifetime).map_err(RecordsError::made)?;
                ring.with_propagation(schedule.propagation)
            }
            // Nothing was ever signed before the first key was active.
            (None, None) => return Err(damaged()),
            (Some(ring), None) => {
                let published = ring.publish(loaded, at(key.published));
                published.map_err(RecordsError::made)?;
                ring
            }
            (Some(ring), Some(activated)) => {
                // As long before as is asked for now, which may be longer than it was then.
                let activated = at(activated);
                let published = activated.saturating_sub(schedule.propagation);
                let kid = ring
                    .publish(loaded, published)
                    .map_err(RecordsError::made)?;
                ring.activate(&kid, activated).map_err(RecordsError::made)?;
                ring
            }
        });
    }
    let ring = ring.ok_or_else(damaged)?;
    let active = ring.states();
    match active
        .iter()
        .any(|(_, state)| *state == SigningKeyState::Active)
    {
        true => Ok(ring),
        false => Err(damaged()),
    }
}

async fn load(records: &Records, key: &KeyRecord) -> Result<SigningKey, RecordsError> {
    let damaged = || RecordsError::damaged(KEY, &key.kid);
    let record = records.read(KEY, key.kid.as_bytes()).await?;
    let der = SecretBytes::from(record.ok_or_else(damaged)?.value().as_bytes());
    let algorithm = Algorithm::from_name(&key.alg).ok_or_else(damaged)?;
    let loaded = SigningKey::from_pkcs8_der(algorithm, der.expose_secret());
    let loaded = loaded.map_err(|_| damaged())?;
    match loaded.verifying_key().thumbprint().to_string() == *key.kid {
        true => Ok(loaded),
        false => Err(damaged()),
    }
}

/// What a record says; a time that is none counts as long ago.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap_or(Timestamp::MIN)
}
