//! `Sealer`: values are encrypted where they lie, and bound to that place.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use m2m_crypto::{
    AeadAlgorithm, AeadError, AeadKey, Hkdf, HkdfHash, SecretBytes, SecureRandom, Sha256,
};

use crate::{
    Action, Batch, Expected, Key, KeyEncryption, KeyEncryptionError, Reason, Revision, StoreError,
    Value,
};

/// Bytes of the key from which all others of a store are derived.
const DATA_KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
/// What each derived key is for. Another layout needs another one.
const PURPOSE: &[u8] = b"m2m-store value 1";
/// What fingerprints of batches are derived for.
const BATCH_PURPOSE: &[u8] = b"m2m-store batch 1";
/// How many values are sealed with one derived key: AES-GCM with random nonces allows 2^32
/// (SP 800-38D §8.3), and a new key costs next to nothing.
const SEALS_PER_KEY: u32 = 1 << 24;
/// How many derived keys are kept prepared for reading. One was drawn each time the store was
/// opened, so most values share the last few.
const KEPT_KEYS: usize = 32;

/// Seals and opens the values of one store. For those who write a backend.
///
/// A sealed value is `salt ‖ nonce ‖ ciphertext ‖ tag`: AES-256-GCM under a key that HKDF derives
/// from the store's data key and the salt. Store, key of the record, revision and summary are
/// authenticated with it, so a value that was moved, exchanged for an older one, or given another
/// summary does not open.
pub struct Sealer {
    data_key: Hkdf,
    store: [u8; 16],
    sealing: Mutex<Option<Sealing>>,
    opening: Mutex<VecDeque<(Salt, Arc<AeadKey>)>>,
}

type Salt = [u8; SALT_BYTES];
/// A sealed value in two parts: the salt, and what comes behind it.
pub(crate) type Sealed = (Salt, Vec<u8>);

struct Sealing {
    salt: Salt,
    key: Arc<AeadKey>,
    left: u32,
}

/// Where a value lies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The key of its record.
    pub key: &'a Key,
    /// The revision that wrote it.
    pub revision: Revision,
    /// The summary beside it.
    pub summary: Option<&'a str>,
}

impl Sealer {
    /// How many bytes longer a sealed value is.
    pub const OVERHEAD_BYTES: usize = SALT_BYTES + AeadKey::OVERHEAD_BYTES;

    /// Draws the data key of a new `store` and gives it wrapped by `outer`, to be kept.
    ///
    /// # Errors
    ///
    /// [`KeyEncryptionError`].
    pub fn create(
        store: [u8; 16],
        outer: &dyn KeyEncryption,
        random: &dyn SecureRandom,
    ) -> Result<(Self, Vec<u8>), KeyEncryptionError> {
        let data_key = SecretBytes::random(DATA_KEY_BYTES, random).map_err(|error| {
            KeyEncryptionError::Unavailable {
                reason: Reason::new(error),
            }
        })?;
        let wrapped = outer.wrap(&data_key, &store)?;
        Ok((Self::new(store, &data_key), wrapped))
    }

    /// Opens the data key of `store`, which `outer` has `wrapped`.
    ///
    /// # Errors
    ///
    /// [`KeyEncryptionError`].
    pub fn open_wrapped(
        store: [u8; 16],
        outer: &dyn KeyEncryption,
        wrapped: &[u8],
    ) -> Result<Self, KeyEncryptionError> {
        let data_key = outer.unwrap(wrapped, &store)?;
        if data_key.len() != DATA_KEY_BYTES {
            return Err(KeyEncryptionError::WrongKey);
        }
        Ok(Self::new(store, &data_key))
    }

    /// Wraps the data key anew, for another outer key. Values stay as they are.
    ///
    /// # Errors
    ///
    /// [`KeyEncryptionError`].
    pub fn rewrap(
        store: [u8; 16],
        old: &dyn KeyEncryption,
        new: &dyn KeyEncryption,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, KeyEncryptionError> {
        new.wrap(&old.unwrap(wrapped, &store)?, &store)
    }

    fn new(store: [u8; 16], data_key: &SecretBytes) -> Self {
        Self {
            data_key: Hkdf::from_uniform_key(HkdfHash::Sha256, data_key),
            store,
            sealing: Mutex::new(None),
            opening: Mutex::new(VecDeque::new()),
        }
    }

    /// Seals `value` for `place`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Random`].
    pub fn seal(
        &self,
        place: Place<'_>,
        value: &Value,
        random: &dyn SecureRandom,
    ) -> Result<Vec<u8>, StoreError> {
        let (salt, sealed) = self.seal_with_salt(place, value, random)?;
        Ok([&salt, sealed.as_slice()].concat())
    }

    /// [`Sealer::seal`] in two parts, which are put behind something else.
    pub(crate) fn seal_with_salt(
        &self,
        place: Place<'_>,
        value: &Value,
        random: &dyn SecureRandom,
    ) -> Result<Sealed, StoreError> {
        let (salt, key) = self.sealing_key(random)?;
        let sealed = key.seal(value.as_bytes(), &self.associated(place), random);
        let sealed = sealed.map_err(|error| match error {
            AeadError::Random(_) => StoreError::Random,
            other => corrupt(place.key, other),
        })?;
        Ok((salt, sealed))
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if this was not sealed for this place with this store's key.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Value, StoreError> {
        let (salt, rest) = sealed
            .split_first_chunk::<SALT_BYTES>()
            .ok_or_else(|| corrupt(place.key, "its value is cut short"))?;
        let key = self.opening_key(salt)?;
        let opened = key.open(rest, &self.associated(place));
        let opened = opened.map_err(|error| corrupt(place.key, error))?;
        Ok(Value::from(opened.expose_secret()))
    }

    /// What tells batches apart that share an idempotency key: 32 bytes to keep beside it, which
    /// say nothing about the values to those who do not have the data key.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if none can be derived.
    pub fn fingerprint(&self, batch: &Batch) -> Result<[u8; 32], StoreError> {
        let failed = || StoreError::Corrupt {
            reason: Reason::new("no fingerprint could be derived"),
        };
        let derived = self.data_key.expand(&[BATCH_PURPOSE, &digest(batch)], 32);
        let derived = derived.map_err(|_| failed())?;
        derived.expose_secret().try_into().map_err(|_| failed())
    }

    fn associated(&self, place: Place<'_>) -> Vec<u8> {
        let key = place.key.as_sorted_bytes();
        let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
        let summary = place.summary.map(str::as_bytes);
        [
            self.store.as_slice(),
            &place.revision.number().to_be_bytes(),
            &length.to_be_bytes(),
            key,
            &[u8::from(summary.is_some())],
            summary.unwrap_or_default(),
        ]
        .concat()
    }

    fn sealing_key(&self, random: &dyn SecureRandom) -> Result<(Salt, Arc<AeadKey>), StoreError> {
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = sealing.as_mut()
            && let Some(left) = current.left.checked_sub(1)
        {
            current.left = left;
            return Ok((current.salt, Arc::clone(&current.key)));
        }
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt).map_err(|_| StoreError::Random)?;
        let key = self.derive(&salt)?;
        *sealing = Some(Sealing {
            salt,
            key: Arc::clone(&key),
            left: SEALS_PER_KEY - 1,
        });
        Ok((salt, key))
    }

    fn opening_key(&self, salt: &Salt) -> Result<Arc<AeadKey>, StoreError> {
        let mut kept = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = kept.iter().find(|(known, _)| known == salt) {
            return Ok(Arc::clone(key));
        }
        let key = self.derive(salt)?;
        kept.truncate(KEPT_KEYS - 1);
        kept.push_front((*salt, Arc::clone(&key)));
        Ok(key)
    }

    fn derive(&self, salt: &Salt) -> Result<Arc<AeadKey>, StoreError> {
        let failed = |what: &str| StoreError::Corrupt {
            reason: Reason::new(what),
        };
        let derived = self.data_key.expand(&[PURPOSE, salt], AeadKey::KEY_BYTES);
        let derived = derived.map_err(|_| failed("no key could be derived"))?;
        let key = AeadKey::new(AeadAlgorithm::Aes256Gcm, derived);
        Ok(Arc::new(
            key.map_err(|_| failed("a derived key is of no use"))?,
        ))
    }
}

/// What two batches share only if they are one. Each part says how long it is.
pub(crate) fn digest(batch: &Batch) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    for operation in batch.operations() {
        part(operation.key().as_sorted_bytes());
        match operation.expected() {
            Expected::Anything => part(b"anything"),
            Expected::Absent => part(b"absent"),
            Expected::Present => part(b"present"),
            Expected::Version(version) => {
                part(b"version");
                part(&version.number().to_be_bytes());
            }
        }
        match operation.action() {
            Action::Check => part(b"check"),
            Action::Delete => part(b"delete"),
            Action::Put { value, summary } => {
                part(b"put");
                part(value.as_bytes());
                part(&[u8::from(summary.is_some())]);
                part(summary.as_deref().unwrap_or_default().as_bytes());
            }
        }
    }
    digest.finish()
}

fn corrupt(key: &Key, what: impl fmt::Display) -> StoreError {
    StoreError::Corrupt {
        reason: Reason::new(format_args!("{key}: {what}")),
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use m2m_crypto::SystemRandom;

    use super::*;
    use crate::{LocalKey, Space};

    fn outer(byte: u8) -> LocalKey {
        LocalKey::new(SecretBytes::new(vec![byte; LocalKey::BYTES])).unwrap()
    }

    fn key(id: &[u8]) -> Key {
        Key::new(&Space::new("s").unwrap(), id).unwrap()
    }

    #[test]
    fn a_value_opens_only_where_it_was_sealed() {
        let (sealer, wrapped) = Sealer::create([1; 16], &outer(1), &SystemRandom).unwrap();
        let (here, there) = (key(b"a"), key(b"b"));
        let revision = Revision::new(7).unwrap();
        let place = |key, revision, summary| Place {
            key,
            revision,
            summary,
        };
        let at = place(&here, revision, Some("{}"));
        let value = Value::from(b"secret".as_slice());
        let sealed = sealer.seal(at, &value, &SystemRandom).unwrap();
        assert_eq!(sealed.len(), value.len() + Sealer::OVERHEAD_BYTES);

        let again = Sealer::open_wrapped([1; 16], &outer(1), &wrapped).unwrap();
        assert_eq!(again.open(at, &sealed), Ok(value));
        let elsewhere = [
            place(&there, revision, Some("{}")),
            place(&here, revision.next().unwrap(), Some("{}")),
            place(&here, revision, Some("{ }")),
            place(&here, revision, None),
        ];
        for place in elsewhere {
            let opened = sealer.open(place, &sealed);
            assert!(
                matches!(opened, Err(StoreError::Corrupt { .. })),
                "{place:?}"
            );
        }
        for end in 0..sealed.len() {
            assert!(sealer.open(at, &sealed[..end]).is_err());
            let mut flipped = sealed.clone();
            flipped[end] ^= 1;
            assert!(sealer.open(at, &flipped).is_err());
        }
    }

    #[test]
    fn another_outer_key_or_another_store_opens_nothing() {
        let (_, wrapped) = Sealer::create([1; 16], &outer(1), &SystemRandom).unwrap();
        let refused = |store, outer: &LocalKey, wrapped: &[u8]| {
            let opened = Sealer::open_wrapped(store, outer, wrapped);
            matches!(opened, Err(KeyEncryptionError::WrongKey))
        };
        assert!(refused([1; 16], &outer(2), &wrapped));
        assert!(refused([2; 16], &outer(1), &wrapped));
        let anew = Sealer::rewrap([1; 16], &outer(1), &outer(2), &wrapped).unwrap();
        assert!(refused([1; 16], &outer(1), &anew));
        assert!(!refused([1; 16], &outer(2), &anew));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let (sealer, _) = Sealer::create([1; 16], &outer(1), &SystemRandom).unwrap();
        assert_eq!(format!("{sealer:?}"), "Sealer([redacted])");
        assert_eq!(format!("{:?}", outer(1)), "LocalKey([redacted])");
    }
}
