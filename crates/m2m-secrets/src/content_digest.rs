//! `Content-Digest` (RFC 9530 §2): the hash of a message's content, as it goes over the wire.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_crypto::{Sha256, Sha512, constant_time_eq, sha256, sha512};

use crate::RequestRejection;
use crate::http_signature::{Bare, Cursor, Malformed};

/// The name of the header. `Repr-Digest` is another one, of what the content would be without its
/// `Content-Encoding` or range, and is nowhere looked at here.
pub const CONTENT_DIGEST: &str = "content-digest";

/// The most bytes of all `Content-Digest` lines of a message together; both hashes need 150.
pub const MAX_CONTENT_DIGEST_BYTES: usize = 1024;

/// The SHA-256 of a message's content, its SHA-512, or both.
///
/// ```
/// use m2m_secrets::ContentDigest;
///
/// let body = br#"{"hello": "world"}"#;
/// let digest = ContentDigest::sha256(body);
/// assert_eq!(digest.to_string(), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
///
/// let received = ContentDigest::parse([digest.to_string().as_bytes()])?;
/// received.verify(body)?;
/// assert!(received.verify(br#"{"hello":"world"}"#).is_err());
/// # Ok::<(), m2m_secrets::ContentDigestError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

/// A hash of RFC 9530 that is not deprecated (§5).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// `sha-256`.
    Sha256,
    /// `sha-512`.
    Sha512,
}

/// Hashes content that comes in pieces; see [`ContentDigest::checker`].
#[derive(Debug)]
pub struct ContentDigestChecker {
    expected: ContentDigest,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl ContentDigest {
    /// The SHA-256 of `body`.
    pub fn sha256(body: &[u8]) -> Self {
        Self {
            sha256: Some(sha256(body)),
            sha512: None,
        }
    }

    /// The SHA-512 of `body`.
    pub fn sha512(body: &[u8]) -> Self {
        Self {
            sha256: None,
            sha512: Some(sha512(body)),
        }
    }

    /// Both hashes of `body`.
    pub fn both(body: &[u8]) -> Self {
        Self {
            sha256: Some(sha256(body)),
            sha512: Some(sha512(body)),
        }
    }

    /// Reads the value of each `Content-Digest` line of a message, in their order. Hashes that are
    /// deprecated or unknown are passed over, as RFC 9530 §2 allows; one that is known must be whole.
    ///
    /// # Errors
    ///
    /// [`ContentDigestError`], but not [`ContentDigestError::Mismatch`].
    pub fn parse<'a>(
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, ContentDigestError> {
        let mut digest = Self {
            sha256: None,
            sha512: None,
        };
        let mut length = 0;
        for line in lines {
            length += line.len();
            if length > MAX_CONTENT_DIGEST_BYTES {
                return Err(ContentDigestError::TooLong);
            }
            digest.read_line(line)?;
        }
        if digest.sha256.is_none() && digest.sha512.is_none() {
            return Err(match length {
                0 => ContentDigestError::Missing,
                _ => ContentDigestError::Unsupported,
            });
        }
        Ok(digest)
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), ContentDigestError> {
        let mut cursor = Cursor::new(line);
        let mut first = true;
        while let Some(name) = cursor.next_key(first)? {
            first = false;
            cursor.expect(b'=')?;
            let value = match name {
                b"sha-256" | b"sha-512" => cursor.bare()?,
                _ => cursor.whole()?,
            };
            let Bare::Bytes(text) = value else {
                return Err(ContentDigestError::Malformed { at: cursor.at() });
            };
            while cursor.parameter()?.is_some() {}
            match name {
                b"sha-256" => fill(&mut self.sha256, text, DigestAlgorithm::Sha256)?,
                b"sha-512" => fill(&mut self.sha512, text, DigestAlgorithm::Sha512)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that every hash that is given is that of `body`: the bytes as they came over the wire,
    /// before anything was decoded or decompressed.
    ///
    /// # Errors
    ///
    /// [`ContentDigestError::Mismatch`].
    pub fn verify(&self, body: &[u8]) -> Result<(), ContentDigestError> {
        let mut checker = self.checker();
        checker.update(body);
        checker.finish()
    }

    /// Checks content that comes in pieces. Nothing of it is authentic before
    /// [`ContentDigestChecker::finish`] says so.
    pub fn checker(&self) -> ContentDigestChecker {
        ContentDigestChecker {
            expected: *self,
            sha256: self.sha256.map(|_| Sha256::new()),
            sha512: self.sha512.map(|_| Sha512::new()),
        }
    }

    /// Whether `algorithm` is among the hashes.
    pub fn has(&self, algorithm: DigestAlgorithm) -> bool {
        match algorithm {
            DigestAlgorithm::Sha256 => self.sha256.is_some(),
            DigestAlgorithm::Sha512 => self.sha512.is_some(),
        }
    }
}

impl ContentDigestChecker {
    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(piece);
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(piece);
        }
    }

    /// Checks that the pieces were the content.
    ///
    /// # Errors
    ///
    /// [`ContentDigestError::Mismatch`].
    pub fn finish(self) -> Result<(), ContentDigestError> {
        let checks = [
            (
                DigestAlgorithm::Sha256,
                match (self.sha256, &self.expected.sha256) {
                    (Some(hasher), Some(expected)) => constant_time_eq(&hasher.finish(), expected),
                    _ => true,
                },
            ),
            (
                DigestAlgorithm::Sha512,
                match (self.sha512, &self.expected.sha512) {
                    (Some(hasher), Some(expected)) => constant_time_eq(&hasher.finish(), expected),
                    _ => true,
                },
            ),
        ];
        match checks.into_iter().find(|(_, holds)| !holds) {
            Some((algorithm, _)) => Err(ContentDigestError::Mismatch { algorithm }),
            None => Ok(()),
        }
    }
}

/// Decodes the hash `text` into the empty `place`.
fn fill<const N: usize>(
    place: &mut Option<[u8; N]>,
    text: &[u8],
    algorithm: DigestAlgorithm,
) -> Result<(), ContentDigestError> {
    if place.is_some() {
        return Err(ContentDigestError::Twice { algorithm });
    }
    let mut room = [0; 64 + 2]; // the library asks for room for two bytes more than come out
    let decoded = STANDARD.decode_slice(text, &mut room).ok();
    let hash = decoded
        .and_then(|length| room.get(..length))
        .and_then(|hash| hash.try_into().ok());
    *place = Some(hash.ok_or(ContentDigestError::Hash { algorithm })?);
    Ok(())
}

/// The value of the header.
impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = |f: &mut fmt::Formatter<'_>, name, hash: &[u8]| {
            write!(f, "{name}=:{}:", STANDARD.encode(hash))
        };
        if let Some(sha256) = &self.sha256 {
            hash(f, "sha-256", sha256)?;
        }
        if let Some(sha512) = &self.sha512 {
            if self.sha256.is_some() {
                f.write_str(", ")?;
            }
            hash(f, "sha-512", sha512)?;
        }
        Ok(())
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        })
    }
}

/// Why a `Content-Digest` was refused, or content was: for logs and operators.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentDigestError {
    /// There is none, or it is empty.
    #[error("there is no Content-Digest")]
    Missing,
    /// The lines are too long. Nothing of the last one was looked at.
    #[error("Content-Digest has more than the {MAX_CONTENT_DIGEST_BYTES} bytes that are read")]
    TooLong,
    /// A line is not a dictionary of byte sequences (RFC 9651 §3.2), or not as a serializer writes it.
    #[error("Content-Digest is malformed at byte {at}")]
    Malformed {
        /// Where in its line that shows, in bytes.
        at: usize,
    },
    /// None of the hashes is one that is not deprecated.
    #[error("Content-Digest has neither sha-256 nor sha-512")]
    Unsupported,
    /// A hash is there twice. Whoever reads the first and whoever reads the last disagree.
    #[error("Content-Digest has {algorithm} twice")]
    Twice {
        /// Which.
        algorithm: DigestAlgorithm,
    },
    /// A hash is not in canonical base64, or not of its length.
    #[error("Content-Digest has no whole {algorithm}")]
    Hash {
        /// Which.
        algorithm: DigestAlgorithm,
    },
    /// The content is another one.
    #[error("the content does not have the {algorithm} that Content-Digest says")]
    Mismatch {
        /// Which.
        algorithm: DigestAlgorithm,
    },
}

impl ContentDigestError {
    /// What the sender may learn: the same whatever the cause.
    pub const fn rejection(&self) -> RequestRejection {
        RequestRejection::Unauthenticated
    }
}

impl From<Malformed> for ContentDigestError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed { at: malformed.at }
    }
}
