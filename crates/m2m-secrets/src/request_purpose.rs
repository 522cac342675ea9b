//! `PurposeKey`: a key derived from a shared secret for one purpose, so that what was made for one is
//! refused for every other.

use std::fmt;

use m2m_crypto::{Algorithm, Hkdf, HkdfHash, KeyError, MacKey, SignError, SignatureError};

use crate::SharedSecret;

/// The most bytes of a purpose's name.
pub const MAX_PURPOSE_BYTES: usize = 64;

/// The most fields of a message.
pub const MAX_PURPOSE_FIELDS: usize = 16;

/// Parts the keys of this crate's version 1 from whatever else is derived from the same secret.
const SALT: &[u8] = b"m2m-secrets/purpose/v1";

/// What a MAC is for: 1 to 64 bytes of visible ASCII, such as `cookie` or `pagination`.
///
/// Two purposes are two keys (HKDF, RFC 5869 §3.2): a MAC made for one is worth nothing for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose<'a>(&'a str);

impl<'a> Purpose<'a> {
    /// Signed requests; see [`RequestKey`](crate::RequestKey).
    pub const REQUEST: Purpose<'static> = Purpose("request");

    /// A purpose of your own; `None` unless it is 1 to 64 bytes of visible ASCII.
    pub fn new(name: &'a str) -> Option<Self> {
        let fits = (1..=MAX_PURPOSE_BYTES).contains(&name.len());
        (fits && name.bytes().all(|byte| byte.is_ascii_graphic())).then_some(Self(name))
    }
}

/// A MAC key for one [`Purpose`]. Wiped on drop, never shown.
///
/// ```
/// use m2m_crypto::SystemRandom;
/// use m2m_secrets::{Purpose, PurposeKey, SharedSecret};
///
/// let secret = SharedSecret::generate(&SystemRandom)?;
/// let cookie = PurposeKey::derive(Purpose::new("cookie").unwrap(), &secret)?;
/// let page = PurposeKey::derive(Purpose::new("pagination").unwrap(), &secret)?;
///
/// let tag = cookie.sign(&[b"user-7", b"admin"])?;
/// cookie.verify(&[b"user-7", b"admin"], &tag)?;
/// assert!(page.verify(&[b"user-7", b"admin"], &tag).is_err());
/// assert!(cookie.verify(&[b"user-7a", b"dmin"], &tag).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PurposeKey(MacKey);

impl PurposeKey {
    /// The key of `purpose` under `secret`; HMAC-SHA256.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the library refuses what was derived.
    pub fn derive(purpose: Purpose<'_>, secret: &SharedSecret) -> Result<Self, KeyError> {
        let hkdf = Hkdf::extract(HkdfHash::Sha256, SALT, secret.expose_secret());
        let derived =
            hkdf.expand(&[purpose.0.as_bytes()], 32)
                .map_err(|_| KeyError::SecretLength {
                    needed: 32,
                    found: 0,
                })?;
        MacKey::new(Algorithm::Hs256, derived).map(Self)
    }

    /// The tag of `fields`: at most [`MAX_PURPOSE_FIELDS`], each signed behind its length, so that no
    /// byte can move from one to the next.
    ///
    /// # Errors
    ///
    /// [`PurposeSignError`].
    pub fn sign(&self, fields: &[&[u8]]) -> Result<[u8; 32], PurposeSignError> {
        if fields.len() > MAX_PURPOSE_FIELDS {
            return Err(PurposeSignError::TooManyFields {
                found: fields.len(),
            });
        }
        let mut lengths = [[0; 8]; MAX_PURPOSE_FIELDS];
        for (length, field) in lengths.iter_mut().zip(fields) {
            *length = (field.len() as u64).to_be_bytes();
        }
        let count = [fields.len() as u8];
        let mut parts: [&[u8]; 2 * MAX_PURPOSE_FIELDS + 1] = [&[]; 2 * MAX_PURPOSE_FIELDS + 1];
        let pairs = lengths.iter().zip(fields);
        let joined = pairs.flat_map(|(length, field)| [length.as_slice(), field]);
        for (part, one) in parts
            .iter_mut()
            .zip(std::iter::once(&count[..]).chain(joined))
        {
            *part = one;
        }
        let mut tag = [0; 32];
        self.0
            .sign_parts(&parts, &mut tag)
            .map_err(PurposeSignError::Failed)?;
        Ok(tag)
    }

    /// Checks that `tag` is the whole tag of exactly these `fields`, in constant time.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], whatever was wrong.
    pub fn verify(&self, fields: &[&[u8]], tag: &[u8]) -> Result<(), SignatureError> {
        let expected = self.sign(fields).map_err(|_| SignatureError)?;
        match m2m_crypto::constant_time_eq(&expected, tag) {
            true => Ok(()),
            false => Err(SignatureError),
        }
    }

    /// For messages of one fixed form, which no other use of this key has.
    pub(crate) fn mac_key(&self) -> &MacKey {
        &self.0
    }
}

impl fmt::Debug for PurposeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PurposeKey([redacted])")
    }
}

/// Why nothing was signed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PurposeSignError {
    /// More than [`MAX_PURPOSE_FIELDS`].
    #[error("{found} fields; a message has at most {MAX_PURPOSE_FIELDS}")]
    TooManyFields {
        /// How many.
        found: usize,
    },
    /// The library failed.
    #[error("{0}")]
    Failed(SignError),
}
