//! Many secrets as one sealed text: to move them, to keep them outside of a store, to read them at start.

mod error;
mod file;

use m2m_crypto::{AeadAlgorithm, AeadKey, RandomError, SecretBytes, SecureRandom};
use m2m_store::KeyEncryption;
use zeroize::Zeroizing;

use crate::rotation::{SecretName, SecretVersion};
use crate::{NamedSecret, SharedSecret};
pub use error::{OpenSealedError, SealError, SealedFileError};
pub use file::{read_sealed_file, write_sealed_file};

/// The most secrets of one sealed text.
pub const MAX_SEALED_SECRETS: usize = 1 << 20;

/// What these bytes are. Another layout needs another one.
const FORMAT: &[u8] = b"m2m-secrets sealed 1\n";
const ID_BYTES: usize = 16;
const DATA_KEY_BYTES: usize = AeadKey::KEY_BYTES;
/// What a KMS makes of a data key.
const MAX_WRAPPED_BYTES: usize = 16 * 1024;
/// How many secrets are sealed together: few enough that little is lost of memory, and enough that
/// sealing costs little.
const CHUNK_SECRETS: usize = 1024;

/// Seals `secrets`, so that only who holds `outer` can open them, and nothing can be left out, added,
/// repeated or moved without being noticed: each part is bound to its place, and to how many there are.
///
/// A data key is drawn for this text alone; `outer` seals it, which may be a KMS. `progress` is told how
/// many of how many secrets are done, now and then.
///
/// ```
/// use m2m_crypto::{SecretBytes, SystemRandom};
/// use m2m_secrets::{NamedSecret, SecretName, SecretVersion, SharedSecret, open_sealed, seal};
/// use m2m_store::LocalKey;
///
/// let outer = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
/// let secret = SharedSecret::generate(&SystemRandom)?;
/// let named = NamedSecret::new(SecretName::new("billing")?, SecretVersion::FIRST, secret);
/// let sealed = seal(&[named], &outer, &SystemRandom, |_, _| ())?;
///
/// let opened = open_sealed(&sealed, &outer)?;
/// assert_eq!(opened[0].name().as_str(), "billing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`SealError`].
pub fn seal(
    secrets: &[NamedSecret],
    outer: &dyn KeyEncryption,
    random: &dyn SecureRandom,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<u8>, SealError> {
    let total = secrets.len();
    if total > MAX_SEALED_SECRETS {
        return Err(SealError::TooMany { found: total });
    }
    let mut id = [0; ID_BYTES];
    random.fill(&mut id)?;
    let data_key = SecretBytes::random(DATA_KEY_BYTES, random)?;
    let place = Place { id, total };
    let wrapped = outer.wrap(&data_key, &place.context())?;
    let length = u16::try_from(wrapped.len()).ok();
    let length = length.filter(|length| usize::from(*length) <= MAX_WRAPPED_BYTES);
    let length = length.ok_or(SealError::WrappedKey {
        found: wrapped.len(),
    })?;
    let key = AeadKey::new(AeadAlgorithm::Aes256Gcm, data_key)?;
    let mut text = FORMAT.to_vec();
    text.extend_from_slice(&id);
    text.extend_from_slice(&(total as u64).to_be_bytes());
    text.extend_from_slice(&length.to_be_bytes());
    text.extend_from_slice(&wrapped);
    let mut done = 0;
    for (nth, chunk) in secrets.chunks(CHUNK_SECRETS).enumerate() {
        let sealed = key.seal(&plain(chunk), &place.of_chunk(nth), random)?;
        text.extend_from_slice(&(sealed.len() as u64).to_be_bytes());
        text.extend_from_slice(&sealed);
        done += chunk.len();
        progress(done, total);
    }
    Ok(text)
}

/// Opens what [`seal`] made. All of it, or nothing.
///
/// # Errors
///
/// [`OpenSealedError`] says where in `text` it shows, and nothing of what stands there.
pub fn open_sealed(
    text: &[u8],
    outer: &dyn KeyEncryption,
) -> Result<Vec<NamedSecret>, OpenSealedError> {
    let mut reader = Offsets { text, at: 0 };
    if reader.take(FORMAT.len())? != FORMAT {
        return Err(OpenSealedError::OtherFormat);
    }
    let id = reader.fixed::<ID_BYTES>()?;
    let at = reader.at;
    let total = usize::try_from(u64::from_be_bytes(reader.fixed()?)).ok();
    let total = total.filter(|total| *total <= MAX_SEALED_SECRETS);
    let total = total.ok_or(OpenSealedError::Malformed { at })?;
    let wrapped = usize::from(u16::from_be_bytes(reader.fixed()?));
    let place = Place { id, total };
    let data_key = outer.unwrap(reader.take(wrapped)?, &place.context())?;
    let key = AeadKey::new(AeadAlgorithm::Aes256Gcm, data_key)
        .map_err(|_| OpenSealedError::WrappedKey)?;
    // What is promised is not yet there: room is made for what the text could hold.
    let mut secrets = Vec::with_capacity(total.min(text.len() / MIN_ENTRY_BYTES));
    for nth in 0..total.div_ceil(CHUNK_SECRETS) {
        let length = usize::try_from(u64::from_be_bytes(reader.fixed()?)).unwrap_or(usize::MAX);
        let at = reader.at;
        let opened = key
            .open(reader.take(length)?, &place.of_chunk(nth))
            .map_err(|_| OpenSealedError::NotAuthentic { at })?;
        let count = CHUNK_SECRETS.min(total - nth * CHUNK_SECRETS);
        read_chunk(opened.expose_secret(), count, &mut secrets)
            .ok_or(OpenSealedError::Malformed { at })?;
    }
    match reader.at == text.len() {
        true => Ok(secrets),
        false => Err(OpenSealedError::Malformed { at: reader.at }),
    }
}

/// The next version of each of `secrets`, drawn: for when all of them must be replaced at once. What is
/// given is only new ones; keep the old beside them until nobody uses them.
///
/// `progress` is told how many of how many are done, now and then.
///
/// # Errors
///
/// [`RandomError`]: nothing was replaced. A version without a next one counts as one, too.
pub fn draw_next_versions(
    secrets: &[NamedSecret],
    random: &dyn SecureRandom,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<NamedSecret>, RandomError> {
    let mut drawn = Vec::with_capacity(secrets.len());
    for chunk in secrets.chunks(CHUNK_SECRETS) {
        for old in chunk {
            let version = old.version().next().ok_or(RandomError)?;
            let secret = SharedSecret::generate(random)?;
            drawn.push(NamedSecret::new(old.name().clone(), version, secret));
        }
        progress(drawn.len(), secrets.len());
    }
    Ok(drawn)
}

/// What each part is bound to.
struct Place {
    id: [u8; ID_BYTES],
    total: usize,
}

impl Place {
    fn context(&self) -> Vec<u8> {
        [FORMAT, &self.id, &(self.total as u64).to_be_bytes()].concat()
    }

    fn of_chunk(&self, nth: usize) -> Vec<u8> {
        [self.context().as_slice(), &(nth as u64).to_be_bytes()].concat()
    }
}

/// `(length ‖ name ‖ version ‖ length ‖ secret)…`
fn plain(chunk: &[NamedSecret]) -> Zeroizing<Vec<u8>> {
    let bytes = |named: &NamedSecret| {
        MIN_ENTRY_BYTES + named.name().as_str().len() + named.secret().expose_secret().len()
    };
    // Never moved, so that nothing of it stays behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(chunk.iter().map(bytes).sum()));
    for named in chunk {
        let (name, secret) = (named.name().as_str(), named.secret().expose_secret());
        plain.extend_from_slice(&(name.len() as u16).to_be_bytes()); // names have at most 128 bytes
        plain.extend_from_slice(name.as_bytes());
        plain.extend_from_slice(&named.version().number().to_be_bytes());
        plain.extend_from_slice(&(secret.len() as u16).to_be_bytes()); // secrets at most 1,024
        plain.extend_from_slice(secret.expose_secret());
    }
    plain
}

/// Two lengths and a version.
const MIN_ENTRY_BYTES: usize = 2 + 8 + 2;

fn read_chunk(mut plain: &[u8], count: usize, secrets: &mut Vec<NamedSecret>) -> Option<()> {
    for _ in 0..count {
        let name = take_text(&mut plain)?;
        let (version, rest) = plain.split_first_chunk()?;
        plain = rest;
        let secret = take_text(&mut plain)?;
        secrets.push(NamedSecret::new(
            SecretName::new(std::str::from_utf8(name).ok()?).ok()?,
            SecretVersion::new(u64::from_be_bytes(*version)).ok()?,
            SharedSecret::new(SecretBytes::from(secret)).ok()?,
        ));
    }
    plain.is_empty().then_some(())
}

fn take_text<'p>(plain: &mut &'p [u8]) -> Option<&'p [u8]> {
    let (length, rest) = plain.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *plain = rest;
    Some(text)
}

/// Reads from front to back, and knows where it is.
struct Offsets<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Offsets<'t> {
    fn take(&mut self, length: usize) -> Result<&'t [u8], OpenSealedError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.text.get(self.at..end));
        let taken = taken.ok_or(OpenSealedError::CutShort { at: self.at })?;
        self.at += length;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], OpenSealedError> {
        let at = self.at;
        let taken = self.take(N)?.try_into();
        taken.map_err(|_| OpenSealedError::CutShort { at })
    }
}
