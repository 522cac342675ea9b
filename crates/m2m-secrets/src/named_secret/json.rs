//! Secrets from a JSON text, as other systems export them. An error says where, and never what.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2m_crypto::SecretBytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::NamedSecret;
use crate::rotation::{NameError, SecretName, SecretVersion};
use crate::{SharedSecret, WeakSecret};

/// The most bytes of such a text.
pub const MAX_JSON_BYTES: usize = 64 << 20;

/// Why a JSON text gave no secrets. Names a place in the text, counted in bytes from 0, or a line and a
/// column as editors count them; nothing of what stands there.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretJsonError {
    /// No JSON, or not of the form that [`read_json`] says.
    #[error("malformed at line {line}, column {column}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A backslash: what is escaped would have to be copied to be read, and copies are not wiped.
    #[error("an escape at byte {at}; write names and secrets without any")]
    Escape {
        /// Where.
        at: usize,
    },
    /// A name cannot be one.
    #[error("the name at byte {at} is none: {error}")]
    Name {
        /// Where it begins.
        at: usize,
        /// Why.
        error: NameError,
    },
    /// A version is 0 or too large.
    #[error("the version of the secret whose name is at byte {at} is none: {error}")]
    Version {
        /// Where the name begins.
        at: usize,
        /// Why.
        error: NameError,
    },
    /// A secret is not base64url without padding (RFC 4648 §5).
    #[error("the secret at byte {at} is not base64url without padding")]
    Encoding {
        /// Where it begins.
        at: usize,
    },
    /// A secret can be guessed.
    #[error("the secret at byte {at} is of no use: {error}")]
    Weak {
        /// Where it begins.
        at: usize,
        /// Why.
        error: WeakSecret,
    },
    /// More than [`MAX_JSON_BYTES`].
    #[error("{found} bytes; at most {MAX_JSON_BYTES} are read")]
    TooLong {
        /// How many, or one more than are read.
        found: usize,
    },
}

/// Why a file gave no secrets.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SecretJsonFileError {
    /// The file system refused.
    #[error("{}: cannot be read", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its content is malformed.
    #[error("{}: {error}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Where, and what is wrong.
        error: SecretJsonError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<'j> {
    #[serde(borrow)]
    secrets: Vec<Entry<'j>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'j> {
    name: &'j str,
    version: u64,
    secret: &'j str,
}

/// Reads `{"secrets":[{"name":"billing","version":1,"secret":"…"}]}`, secrets in base64url without
/// padding (RFC 4648 §5). Other members are refused, and so are escapes, and what can be guessed.
///
/// The text is a secret as a whole: it is the caller's to wipe, and nothing of it is copied but what is
/// returned.
///
/// ```
/// use m2m_secrets::{SecretJsonError, read_json};
///
/// let text = br#"{"secrets":[{"name":"billing","version":1,"secret":"Y2hhbmdlbWU"}]}"#;
/// let refused = read_json(text).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the secret at byte 52 is of no use: a secret has at least 32 bytes; this has 8; draw a new one",
/// );
/// ```
///
/// # Errors
///
/// [`SecretJsonError`]. All of it is read, or nothing.
pub fn read_json(text: &[u8]) -> Result<Vec<NamedSecret>, SecretJsonError> {
    if text.len() > MAX_JSON_BYTES {
        return Err(SecretJsonError::TooLong { found: text.len() });
    }
    if let Some(at) = text.iter().position(|byte| *byte == b'\\') {
        return Err(SecretJsonError::Escape { at });
    }
    let listed: Listed<'_> = serde_json::from_slice(text).map_err(|error| {
        // Its message may have something of the text in it.
        let (line, column) = (error.line(), error.column());
        SecretJsonError::Malformed { line, column }
    })?;
    listed
        .secrets
        .into_iter()
        .map(|entry| entry.read(text))
        .collect()
}

/// [`read_json`] of a file.
///
/// # Errors
///
/// [`SecretJsonFileError`].
pub fn read_json_file(path: &Path) -> Result<Vec<NamedSecret>, SecretJsonFileError> {
    let named = |source| SecretJsonFileError::Io {
        path: path.to_owned(),
        source,
    };
    let json = |error| SecretJsonFileError::Json {
        path: path.to_owned(),
        error,
    };
    let mut file = File::open(path).map_err(named)?;
    let length = file.metadata().map_err(named)?.len();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_JSON_BYTES {
        return Err(json(SecretJsonError::TooLong { found: length }));
    }
    // Read into room that does not grow, because what it would move from is not wiped. One byte more
    // shows whether the file grew.
    let mut text = Zeroizing::new(vec![0; length + 1]);
    let mut filled = 0;
    while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(named(error)),
        }
    }
    if filled > length {
        return Err(json(SecretJsonError::TooLong { found: filled }));
    }
    read_json(text.get(..filled).unwrap_or_default()).map_err(json)
}

impl Entry<'_> {
    fn read(&self, text: &[u8]) -> Result<NamedSecret, SecretJsonError> {
        let name = SecretName::new(self.name).map_err(|error| SecretJsonError::Name {
            at: offset(text, self.name),
            error,
        })?;
        let version =
            SecretVersion::new(self.version).map_err(|error| SecretJsonError::Version {
                at: offset(text, self.name),
                error,
            })?;
        let at = offset(text, self.secret);
        let mut bytes = Zeroizing::new(vec![0; self.secret.len()]);
        let length = URL_SAFE_NO_PAD.decode_slice(self.secret, &mut bytes);
        let length = length.map_err(|_| SecretJsonError::Encoding { at })?;
        let bytes = SecretBytes::from(bytes.get(..length).unwrap_or_default());
        let secret =
            SharedSecret::new(bytes).map_err(|error| SecretJsonError::Weak { at, error })?;
        Ok(NamedSecret::new(name, version, secret))
    }
}

/// Where `part`, which lies in `text`, begins.
fn offset(text: &[u8], part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(text.as_ptr().addr())
}
