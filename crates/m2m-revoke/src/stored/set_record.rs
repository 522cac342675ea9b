//! The one record that is about the set as a whole: its key and its own time.
//!
//! | bytes of the value | what, numbers big-endian |
//! |---|---|
//! | 0 | the version of this form, 1 |
//! | 1..17 | the key of the fingerprints |
//! | 17..25 | the set's own time, in seconds since 1970 |

use m2m_crypto::{RandomError, SecretBytes, SecureRandom};
use m2m_store::{
    Batch, Expected, IdempotencyKey, Key, Record, Revision, Scan, Space, Store, StoreError, Value,
};
use m2m_types::Timestamp;

use super::error::StoredOpenError;
use super::segment;

const SPACE: &str = "revocation-set";
const ID: &[u8] = b"set";
const FORMAT: u8 = 1;
const KEY_BYTES: usize = 16;
const BYTES: usize = 1 + KEY_BYTES + 8;

/// How often the record is read and, if it is not there, created. Somebody else may create it
/// between the two, which settles it.
const ATTEMPTS: u32 = 4;

/// What the record says.
pub(super) struct SetRecord {
    /// Of the fingerprints.
    key: SecretBytes,
    /// Up to where entries may have been forgotten. Never goes back.
    pub(super) time: Timestamp,
    pub(super) version: Revision,
}

impl SetRecord {
    /// The record of the set in `store`, which is created with `now` as its time if the store has
    /// neither it nor revocations. Of several who create it at once all get the one that won.
    pub(super) async fn open(
        store: &dyn Store,
        now: Timestamp,
        random: &dyn SecureRandom,
    ) -> Result<Self, StoredOpenError> {
        let mut unknown = None;
        for _ in 0..ATTEMPTS {
            if let Some(record) = store.get(&key()).await? {
                return Self::read(&record).ok_or_else(|| StoredOpenError::SetMalformed {
                    form: record.value().as_bytes().first().copied(),
                });
            }
            if Self::has_revocations(store).await? {
                // Whoever writes a revocation has seen the set's record before.
                match store.get(&key()).await? {
                    Some(_) => continue,
                    None => return Err(StoredOpenError::SetMissing),
                }
            }
            match store.commit(Self::creation(now, random)?).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error @ StoreError::OutcomeUnknown { .. }) => unknown = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(unknown.map_or(StoredOpenError::SetMissing, StoredOpenError::from))
    }

    /// The record as it is now.
    pub(super) async fn get(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        Ok(store.get(&key()).await?.as_ref().and_then(Self::read))
    }

    /// Moves the set's own time to `time`, if nobody else did meanwhile.
    pub(super) fn moved_to(&self, time: Timestamp, intent: IdempotencyKey) -> Batch {
        let (value, summary) = encode(&self.key, time);
        let expected = Expected::Version(self.version);
        Batch::new(intent).put_with_summary(key(), expected, value, summary)
    }

    pub(super) fn fingerprint_key(&self) -> [u8; 16] {
        let key = self.key.expose_secret().first_chunk();
        key.copied().unwrap_or_default()
    }

    async fn has_revocations(store: &dyn Store) -> Result<bool, StoreError> {
        let scan = Scan::new(segment::space()).with_limit(1);
        Ok(!store.scan(&scan).await?.records().is_empty())
    }

    fn creation(now: Timestamp, random: &dyn SecureRandom) -> Result<Batch, RandomError> {
        let drawn = SecretBytes::random(KEY_BYTES, random)?;
        let (value, summary) = encode(&drawn, now);
        let batch = Batch::new(IdempotencyKey::generate(random)?);
        Ok(batch.put_with_summary(key(), Expected::Absent, value, summary))
    }

    fn read(record: &Record) -> Option<Self> {
        let bytes: &[u8; BYTES] = record.value().as_bytes().try_into().ok()?;
        let (key, time) = bytes.split_at(1 + KEY_BYTES);
        let key = key.strip_prefix(&[FORMAT])?;
        let time = u64::from_be_bytes(time.try_into().ok()?);
        Some(Self {
            key: SecretBytes::from(key),
            time: Timestamp::from_unix_seconds(time).ok()?,
            version: record.version(),
        })
    }
}

fn key() -> Key {
    let space = Space::new(SPACE).expect("a name of small letters");
    Key::new(&space, ID).expect("three bytes")
}

fn encode(key: &SecretBytes, time: Timestamp) -> (Value, String) {
    let seconds = time.unix_seconds();
    let mut value = Vec::with_capacity(BYTES);
    value.push(FORMAT);
    value.extend_from_slice(key.expose_secret());
    value.extend_from_slice(&seconds.to_be_bytes());
    // `Value` wipes what it takes over.
    (value.into(), format!(r#"{{"compacted_until":{seconds}}}"#))
}
