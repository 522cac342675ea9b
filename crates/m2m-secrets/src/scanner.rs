//! `KeyScanner`: finds keys where they should not be.

mod rules;

use std::fmt;

use crate::{KeyFormat, MalformedKey, PresentedKey};

/// The most formats of a [`KeyScanner`]: each costs a comparison at each candidate place.
pub const MAX_SCANNED_FORMATS: usize = 64;

/// Looks for the keys of some formats: tells a real one from a typo, finds them in texts, takes them out
/// of texts, and writes the rules with which other programs find them.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{KeyFormat, KeyScanner};
///
/// let format = KeyFormat::new("acme", "live")?;
/// let key = format.generate(&SystemRandom)?;
/// let scanner = KeyScanner::new(vec![format])?;
///
/// let log = format!("GET /orders Authorization: Bearer {}\n", key.expose_secret());
/// let found = scanner.find_in(log.as_bytes()).next().expect("it is there");
/// assert_eq!((found.key().id(), found.start()), (key.id(), 34));
///
/// let clean = scanner.redact(log.as_bytes());
/// assert_eq!(scanner.find_in(&clean).count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyScanner {
    formats: Box<[KeyFormat]>,
}

/// A key in a text, found by [`KeyScanner::find_in`].
#[derive(Clone, Copy)]
pub struct FoundKey<'s, 't> {
    format: &'s KeyFormat,
    key: PresentedKey<'t>,
    start: usize,
}

/// Too many formats, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scanner looks for 1 to {MAX_SCANNED_FORMATS} formats, not {found}")]
pub struct ScannerError {
    found: usize,
}

impl KeyScanner {
    /// Looks for keys of these formats, at least one and at most [`MAX_SCANNED_FORMATS`].
    ///
    /// # Errors
    ///
    /// [`ScannerError`].
    pub fn new(formats: Vec<KeyFormat>) -> Result<Self, ScannerError> {
        let found = formats.len();
        match (1..=MAX_SCANNED_FORMATS).contains(&found) {
            true => Ok(Self {
                formats: formats.into(),
            }),
            false => Err(ScannerError { found }),
        }
    }

    /// Real or typo? Reads the whole of `text` as one key, without a database.
    ///
    /// # Errors
    ///
    /// [`MalformedKey`] of the format that comes nearest: [`MalformedKey::Checksum`] is a typo.
    pub fn recognise<'s, 't>(&'s self, text: &'t [u8]) -> Result<FoundKey<'s, 't>, MalformedKey> {
        let mut nearest = MalformedKey::Prefix;
        for format in &self.formats {
            match format.parse(text) {
                Ok(key) => {
                    return Ok(FoundKey {
                        format,
                        key,
                        start: 0,
                    });
                }
                Err(MalformedKey::Prefix) => {}
                Err(MalformedKey::Environment) if nearest != MalformedKey::Prefix => {}
                Err(nearer) => nearest = nearer,
            }
        }
        Err(nearest)
    }

    /// All keys in `text`, in their order, whatever stands around them: the checksum decides, so a key
    /// is also found in the middle of a URL or behind the `n` of an escaped line break.
    ///
    /// Takes time in proportion to the length of `text` and no memory. A key that is written in another
    /// way (base64, or with characters escaped) is not found.
    pub fn find_in<'s, 't>(&'s self, text: &'t [u8]) -> impl Iterator<Item = FoundKey<'s, 't>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                let rest = text.get(at..)?;
                // Heads end with `_`, of which texts have few, and have another `_` before that.
                let first = rest.iter().position(|byte| byte.is_ascii_lowercase())?;
                let start = at + first;
                let here = text.get(start..)?;
                if let Some((format, key)) = self.at_start_of(here) {
                    at = start + format.key_bytes();
                    return Some(FoundKey { format, key, start });
                }
                at = start + 1;
            }
        })
    }

    /// `text` with each key that [`Self::find_in`] finds cut down to what may be shown:
    /// `acme_live_4fGh2LmQ9aZ_[redacted]`.
    ///
    /// For audit records and logs of what strangers sent, raw bodies and headers among them.
    #[must_use]
    pub fn redact(&self, text: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(text.len());
        let mut at = 0;
        for found in self.find_in(text) {
            clean.extend_from_slice(text.get(at..found.start).unwrap_or_default());
            clean.extend_from_slice(found.format.head().as_bytes());
            clean.extend_from_slice(found.key.id().as_bytes());
            clean.extend_from_slice(b"_[redacted]");
            at = found.end();
        }
        clean.extend_from_slice(text.get(at..).unwrap_or_default());
        clean
    }

    /// What it looks for.
    pub fn formats(&self) -> &[KeyFormat] {
        &self.formats
    }

    fn at_start_of<'t>(&self, text: &'t [u8]) -> Option<(&KeyFormat, PresentedKey<'t>)> {
        self.formats.iter().find_map(|format| {
            if !text.starts_with(format.head().as_bytes()) {
                return None;
            }
            let key = format.parse(text.get(..format.key_bytes())?).ok()?;
            Some((format, key))
        })
    }
}

impl<'s, 't> FoundKey<'s, 't> {
    /// Its format.
    pub fn format(&self) -> &'s KeyFormat {
        self.format
    }

    /// The key: a secret, and a leaked one.
    pub fn key(&self) -> PresentedKey<'t> {
        self.key
    }

    /// At which byte of the text it begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// At which byte of the text it has ended.
    pub fn end(&self) -> usize {
        self.start + self.format.key_bytes()
    }
}

impl fmt::Debug for FoundKey<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundKey")
            .field("format", &self.format)
            .field("key", &self.key)
            .field("start", &self.start)
            .finish()
    }
}
