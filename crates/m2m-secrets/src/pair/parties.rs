//! `Parties`: who shares a key.

use m2m_types::ServiceId;

use super::Generation;

/// All names begin with it, so it is left out of what is hashed: two usual names then fit into the same
/// block as the rest.
const SCHEME: &str = "spiffe://";
const PAIR: u8 = 2;
const TRIO: u8 = 3;
const DIRECTED: u8 = 4;

/// Who shares a key: two or three machines, or one that speaks to another.
///
/// ```
/// use m2m_secrets::{Parties, PartiesError};
/// use m2m_types::ServiceId;
///
/// let one: ServiceId = "spiffe://example.org/one".parse()?;
/// let two: ServiceId = "spiffe://example.org/two".parse()?;
/// assert_eq!(Parties::pair(&one, &two)?, Parties::pair(&two, &one)?);
/// assert_ne!(Parties::directed(&one, &two)?, Parties::directed(&two, &one)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parties<'n> {
    kind: u8,
    first: &'n ServiceId,
    second: &'n ServiceId,
    third: Option<&'n ServiceId>,
}

/// One machine was named twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is named twice: nobody shares a key with itself")]
pub struct PartiesError {
    name: ServiceId,
}

impl<'n> Parties<'n> {
    /// Two that share one key, whoever speaks; in whatever order they are named. What one says can be
    /// sent back to it: say in the message who speaks, or use [`Parties::directed`].
    ///
    /// # Errors
    ///
    /// [`PartiesError`] if they are one.
    pub fn pair(one: &'n ServiceId, other: &'n ServiceId) -> Result<Self, PartiesError> {
        let (first, second) = match one <= other {
            true => (one, other),
            false => (other, one),
        };
        Self::new(PAIR, first, second, None)
    }

    /// Three that share one key, in whatever order they are named.
    ///
    /// # Errors
    ///
    /// [`PartiesError`] if two of them are one.
    pub fn trio(
        one: &'n ServiceId,
        other: &'n ServiceId,
        third: &'n ServiceId,
    ) -> Result<Self, PartiesError> {
        let mut names = [one, other, third];
        names.sort_unstable();
        let [first, second, third] = names;
        Self::new(TRIO, first, second, Some(third))
    }

    /// The key with which `from` speaks to `to`; the way back has another.
    ///
    /// # Errors
    ///
    /// [`PartiesError`] if they are one.
    pub fn directed(from: &'n ServiceId, to: &'n ServiceId) -> Result<Self, PartiesError> {
        Self::new(DIRECTED, from, to, None)
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'n ServiceId> {
        [Some(self.first), Some(self.second), self.third]
            .into_iter()
            .flatten()
    }

    /// Runs `derive` with what a key of theirs is derived for:
    /// `kind ‖ generation ‖ (length ‖ name)… ‖ name`, numbers big-endian; where the last name ends, all
    /// ends.
    #[inline]
    pub(super) fn with_info<R>(
        &self,
        generation: Generation,
        derive: impl FnOnce(&[&[u8]]) -> R,
    ) -> R {
        let [g0, g1, g2, g3] = generation.number().to_be_bytes();
        let (first, second) = (name_of(self.first), name_of(self.second));
        let [l0, l1] = length_of(first);
        let head = [self.kind, g0, g1, g2, g3, l0, l1];
        match self.third.map(name_of) {
            None => derive(&[&head, first, second]),
            Some(third) => derive(&[&head, first, &length_of(second), second, third]),
        }
    }

    fn new(
        kind: u8,
        first: &'n ServiceId,
        second: &'n ServiceId,
        third: Option<&'n ServiceId>,
    ) -> Result<Self, PartiesError> {
        // Where there are three, equal ones are neighbours.
        if first == second || Some(second) == third {
            return Err(PartiesError {
                name: second.clone(),
            });
        }
        Ok(Self {
            kind,
            first,
            second,
            third,
        })
    }
}

fn name_of(id: &ServiceId) -> &[u8] {
    let name = id.as_str();
    name.strip_prefix(SCHEME).unwrap_or(name).as_bytes()
}

fn length_of(name: &[u8]) -> [u8; 2] {
    let length = u16::try_from(name.len());
    length
        .expect("a SPIFFE ID has at most 2,048 bytes")
        .to_be_bytes()
}
