//! `Space` and `Key`: where a record is.

use std::fmt;

/// The longest name of a [`Space`], in bytes.
pub const MAX_SPACE_BYTES: usize = 32;
/// The longest id of a [`Key`], in bytes: room for a `ServiceId` digest, a serial, a `jti`, or two.
pub const MAX_ID_BYTES: usize = 512;

/// A set of records of one kind, such as `revocation`. Scans and the feed are by space.
///
/// One to [`MAX_SPACE_BYTES`] bytes of `a`–`z`, `0`–`9`, `-`, `_` and `.`, so that it needs no
/// escaping anywhere.
///
/// ```
/// use m2m_store::Space;
///
/// let space = Space::new("revocation")?;
/// assert!(Space::new("Robert'); DROP TABLE").is_err());
/// # Ok::<(), m2m_store::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(Box<str>);

/// The name of a record: its [`Space`] and its id in it.
///
/// Keys are ordered by space, then by the bytes of the id, which is the order of
/// [`Store::scan`](crate::Store::scan). Keys are **not** encrypted at rest; where an id would say
/// too much, use a digest of it.
///
/// ```
/// use m2m_store::{Key, Space};
///
/// let key = Key::new(&Space::new("crl")?, b"issuing-ca-2")?;
/// assert_eq!(key.id(), b"issuing-ca-2");
/// # Ok::<(), m2m_store::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    // Space, a zero byte, id. No space holds a zero byte, so the order of the bytes is the order
    // of the keys.
    bytes: Box<[u8]>,
    space: u8,
}

/// Why something is not a [`Space`] or a [`Key`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name of a space is empty, too long or has other characters.
    #[error(
        "a space is named by 1 to {MAX_SPACE_BYTES} of a-z 0-9 - _ . and not by {length} bytes with {unexpected:?}"
    )]
    Space {
        /// How many bytes it has.
        length: usize,
        /// The first character that may not be there.
        unexpected: Option<char>,
    },
    /// An id is empty or too long.
    #[error("an id has 1 to {MAX_ID_BYTES} bytes, not {length}")]
    Id {
        /// How many bytes it has.
        length: usize,
    },
}

impl Space {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Space`].
    pub fn new(name: &str) -> Result<Self, KeyError> {
        check_space(name)?;
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Key {
    /// The key of `id` in `space`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Id`].
    pub fn new(space: &Space, id: &[u8]) -> Result<Self, KeyError> {
        check_id(id)?;
        Ok(Self::of(space, id))
    }

    /// The name of its space.
    pub fn space(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.space));
        name.and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    /// Its id.
    pub fn id(&self) -> &[u8] {
        self.bytes
            .get(usize::from(self.space) + 1..)
            .unwrap_or_default()
    }

    /// Space, a zero byte and id: one string of bytes that sorts as keys do. For those who write
    /// a backend.
    pub fn as_sorted_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What [`Key::as_sorted_bytes`] gave. For those who write a backend.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if those bytes are none.
    pub fn from_sorted_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let end = bytes.iter().position(|byte| *byte == 0);
        let (end, name, id) = end
            .and_then(|end| Some((end, bytes.get(..end)?, bytes.get(end + 1..)?)))
            .ok_or(KeyError::Id { length: 0 })?;
        let name = std::str::from_utf8(name).map_err(|_| KeyError::Space {
            length: name.len(),
            unexpected: None,
        })?;
        check_space(name)?;
        check_id(id)?;
        Ok(Self {
            bytes: bytes.into(),
            // At most MAX_SPACE_BYTES.
            space: u8::try_from(end).unwrap_or(u8::MAX),
        })
    }

    fn of(space: &Space, id: &[u8]) -> Self {
        let name = space.as_str().as_bytes();
        Self {
            bytes: [name, &[0], id].concat().into(),
            // At most MAX_SPACE_BYTES.
            space: u8::try_from(name.len()).unwrap_or(u8::MAX),
        }
    }
}

fn check_space(name: &str) -> Result<(), KeyError> {
    let allowed = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    let unexpected = name.chars().find(|c| !allowed(c));
    match name.is_empty() || name.len() > MAX_SPACE_BYTES || unexpected.is_some() {
        true => Err(KeyError::Space {
            length: name.len(),
            unexpected,
        }),
        false => Ok(()),
    }
}

fn check_id(id: &[u8]) -> Result<(), KeyError> {
    match id.is_empty() || id.len() > MAX_ID_BYTES {
        true => Err(KeyError::Id { length: id.len() }),
        false => Ok(()),
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Key {
    /// `space/id`, where the id is escaped and cut after 64 bytes: fit for a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let id = self.id();
        let shown = id.get(..SHOWN).unwrap_or(id);
        write!(f, "{}/{}", self.space(), shown.escape_ascii())?;
        match id.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "… ({more} bytes more)"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_space_and_then_by_id() {
        let key = |space: &str, id: &[u8]| Key::new(&Space::new(space).unwrap(), id).unwrap();
        let sorted = [
            key("a", b"\xff"),
            key("a-b", b"\0"),
            key("ab", b"\0"),
            key("ab", b"\0\0"),
            key("ab", b"a"),
        ];
        assert!(sorted.is_sorted());
        for key in &sorted {
            let again = Key::from_sorted_bytes(key.as_sorted_bytes()).unwrap();
            assert_eq!(&again, key);
            assert_eq!((again.space(), again.id()), (key.space(), key.id()));
        }
    }

    #[test]
    fn a_key_is_shown_in_one_short_line() {
        let space = Space::new("x").unwrap();
        let key = Key::new(&space, &[b'\n'; MAX_ID_BYTES]).unwrap();
        let shown = key.to_string();
        assert!(shown.len() < 200 && !shown.contains('\n'), "{shown}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let space = Space::new("x").unwrap();
        assert_eq!(Key::new(&space, b""), Err(KeyError::Id { length: 0 }));
        assert!(Key::new(&space, &[0; MAX_ID_BYTES + 1]).is_err());
        for name in ["", "A", "a b", "a\0", "é", &"a".repeat(MAX_SPACE_BYTES + 1)] {
            assert!(Space::new(name).is_err(), "{name:?}");
        }
        for bytes in [&b""[..], b"x", b"x\0", b"X\0a", b"\0a"] {
            assert!(Key::from_sorted_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
