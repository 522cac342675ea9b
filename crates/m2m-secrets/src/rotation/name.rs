//! How secrets, their versions and the machines that share them are called.

use std::fmt;

/// The longest [`SecretName`], in bytes.
pub const MAX_SECRET_NAME_BYTES: usize = 64;
/// The longest [`MemberName`], in bytes: a SPIFFE ID of usual length fits.
pub const MAX_MEMBER_NAME_BYTES: usize = 255;

/// The name of a secret that rotates: 1 to [`MAX_SECRET_NAME_BYTES`] of `a`–`z`, `0`–`9`, `-`, `_` and `/`.
///
/// ```
/// use m2m_secrets::SecretName;
///
/// let name = SecretName::new("billing/webhook")?;
/// assert_eq!(name.as_str(), "billing/webhook");
/// assert!(SecretName::new("billing webhook").is_err());
/// # Ok::<(), m2m_secrets::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(Box<str>);

/// The name of a machine that shares a secret, such as `prod/r2-gateway` or its SPIFFE ID: 1 to
/// [`MAX_MEMBER_NAME_BYTES`] of letters, digits and `-_./:@`.
///
/// Members are declared by name, so that an acknowledgement from a development machine never stands
/// for the production machine of the same kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberName(Box<str>);

/// Which secret of a name: the first is 1, and no number is ever given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretVersion(u64);

/// Which ring of a secret: each change that members must hear of has the next number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// What a message carries to say which version it was made with: the name, a full stop, the version,
/// as in `billing/webhook.7`. Not secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// Why a text names nothing.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than such a name may be.
    #[error("a name has 1 to {limit} bytes; this has {found}")]
    Length {
        /// How many it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A character that does not belong there.
    #[error("the byte at {position} does not belong in a name")]
    Character {
        /// Where it stands, counted from 0.
        position: usize,
    },
    /// Not a number between 1 and 2⁶³ − 1.
    #[error("{found} is no version; they begin at 1 and end at 2^63 - 1")]
    Version {
        /// What was given.
        found: u64,
    },
}

impl SecretName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/');
        check(name, MAX_SECRET_NAME_BYTES, allowed).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MemberName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
        check(name, MAX_MEMBER_NAME_BYTES, allowed).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SecretVersion {
    /// The first.
    pub const FIRST: Self = Self(1);
    /// The last: what a signed 64-bit column holds.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The version with this number.
    ///
    /// # Errors
    ///
    /// [`NameError::Version`] for 0 and beyond [`SecretVersion::MAX`].
    pub const fn new(number: u64) -> Result<Self, NameError> {
        match number {
            0 => Err(NameError::Version { found: number }),
            number if number > Self::MAX.0 => Err(NameError::Version { found: number }),
            number => Ok(Self(number)),
        }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it; none after the last.
    pub const fn next(self) -> Option<Self> {
        match self.0 < Self::MAX.0 {
            true => Some(Self(self.0 + 1)),
            false => None,
        }
    }
}

impl Epoch {
    /// Before the first ring.
    pub const ZERO: Self = Self(0);

    /// The epoch with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The one after it; none after the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl KeyId {
    /// What messages made with `version` of `secret` carry.
    pub fn new(secret: &SecretName, version: SecretVersion) -> Self {
        Self(format!("{secret}.{version}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(name: &str, limit: usize, allowed: impl Fn(u8) -> bool) -> Result<Box<str>, NameError> {
    let found = name.len();
    if found == 0 || found > limit {
        return Err(NameError::Length { found, limit });
    }
    match name.bytes().position(|byte| !allowed(byte)) {
        Some(position) => Err(NameError::Character { position }),
        None => Ok(name.into()),
    }
}

macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

shown_as_text!(SecretName, MemberName, KeyId);

impl fmt::Display for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SecretVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
