//! Fingerprints: what the set keeps of a target, 124 bits of keyed hash and its kind.

use std::hash::Hasher;

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use crate::target::Kind;

/// 124 bits of SipHash-1-3 under the set's key, and the kind in the lowest four bits.
///
/// The kind is part of the value, so targets of different kinds never meet, and an entry tells what
/// kind it is without its name. Never zero, because no kind is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint(u128);

const KIND_MASK: u128 = 0xf;

/// Makes fingerprints under one key.
#[derive(Clone)]
pub(crate) struct Fingerprints {
    start: SipHasher13,
}

/// The first field of a target, usually the issuer, and room for the rest: what a token is checked
/// for mostly shares it.
///
/// Names that fit are put together here and hashed at one go, which takes half the instructions of
/// feeding them to the hasher piece by piece. Longer ones are fed.
pub(crate) struct Scope<'a> {
    start: &'a SipHasher13,
    first: &'a [u8],
    buffer: [u8; BUFFER],
    /// The bytes of the buffer that hold the first field and its length; `None` if it is too long.
    filled: Option<usize>,
}

/// An issuer, a kind and a name of usual lengths.
const BUFFER: usize = 256;
/// A length before each field, and the kind with the second one.
const LENGTH: usize = 8;

impl Fingerprint {
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    /// The kind's tag, 1 to 8 in anything this crate made.
    pub(crate) const fn tag(self) -> u8 {
        (self.0 & KIND_MASK) as u8
    }

    /// Where a table of `homes` groups begins to look: the hash scaled to their number by its highest
    /// bits, so that the order of groups is the order of fingerprints. Also what the scaling leaves
    /// over, which orders the fingerprints within a group.
    #[inline]
    pub(crate) const fn home(self, homes: u64) -> (u64, u64) {
        let high = (self.0 >> 64) as u64;
        let scaled = high as u128 * homes as u128;
        ((scaled >> 64) as u64, scaled as u64)
    }
}

impl Fingerprints {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self {
            start: SipHasher13::new_with_key(key),
        }
    }

    pub(crate) fn key(&self) -> [u8; 16] {
        self.start.key()
    }

    /// Begins a target whose first field is `first`, empty for kinds that have only one.
    #[inline]
    pub(crate) fn scope<'a>(&'a self, first: &'a [u8]) -> Scope<'a> {
        let mut buffer = [0; BUFFER];
        let length = (first.len() as u64).to_le_bytes();
        Scope {
            start: &self.start,
            first,
            filled: append(&mut buffer, 0, &length, first),
            buffer,
        }
    }
}

impl Scope<'_> {
    /// The fingerprint of the target of this `kind` with the fields `first` and `second`.
    ///
    /// Both lengths and the kind are hashed before what they describe, so no two targets give the
    /// same input. A length takes 56 bits, more than memory can have.
    pub(crate) fn fingerprint(&mut self, kind: Kind, second: &[u8]) -> Fingerprint {
        let description = (u64::from(kind.tag()) << 56) | second.len() as u64;
        let description = description.to_le_bytes();
        let end = self
            .filled
            .and_then(|filled| append(&mut self.buffer, filled, &description, second));
        let hash = match end.and_then(|end| self.buffer.get(..end)) {
            Some(whole) => self.start.hash(whole),
            None => self.feed(&description, second),
        };
        Fingerprint((hash.as_u128() & !KIND_MASK) | u128::from(kind.tag()))
    }

    /// Hashes what does not fit into the buffer: the same bytes, so the same hash.
    #[cold]
    fn feed(&self, description: &[u8; LENGTH], second: &[u8]) -> Hash128 {
        let mut hasher = *self.start;
        hasher.write(&(self.first.len() as u64).to_le_bytes());
        hasher.write(self.first);
        hasher.write(description);
        hasher.write(second);
        hasher.finish128()
    }
}

/// Puts a length and a field at `start`; returns where they end, or `None` if they do not fit.
#[inline]
fn append(
    buffer: &mut [u8; BUFFER],
    start: usize,
    length: &[u8; LENGTH],
    field: &[u8],
) -> Option<usize> {
    let (to_length, rest) = buffer.get_mut(start..)?.split_first_chunk_mut()?;
    rest.get_mut(..field.len())?.copy_from_slice(field);
    *to_length = *length;
    Some(start + LENGTH + field.len())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn sec_011_a_shifted_field_boundary_is_another_fingerprint() {
        let fingerprints = Fingerprints::new(&[7; 16]);
        let fields: [&[u8]; 6] = [b"", b"a", b"ab", b"abc", b"bc", b"c"];
        let mut seen = HashSet::new();
        for kind in Kind::ALL {
            for first in fields {
                for second in fields {
                    let fingerprint = fingerprints.scope(first).fingerprint(kind, second);
                    assert_eq!(fingerprint.tag(), kind.tag());
                    assert!(
                        seen.insert(fingerprint.bits() & !KIND_MASK),
                        "{kind:?} {first:?} {second:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_that_fit_the_buffer_and_names_that_do_not_are_hashed_alike() {
        let fingerprints = Fingerprints::new(&[7; 16]);
        for (first, second) in [(0, 0), (1, 0), (22, 36), (120, 120), (240, 0), (241, 0)] {
            let (first, second) = (vec![b'f'; first], vec![b's'; second]);
            for (first, second) in [(&first, &second), (&second, &first)] {
                let mut scope = fingerprints.scope(first);
                let usual = scope.fingerprint(Kind::Session, second);
                assert!(scope.fingerprint(Kind::Session, second) == usual, "again");
                scope.filled = None;
                assert!(scope.fingerprint(Kind::Session, second) == usual);
            }
        }
    }

    #[test]
    fn another_key_gives_other_fingerprints() {
        let of = |key| {
            Fingerprints::new(key)
                .scope(b"i")
                .fingerprint(Kind::Token, b"j")
        };
        assert!(of(&[1; 16]) != of(&[2; 16]));
        assert_eq!(Fingerprints::new(&[9; 16]).key(), [9; 16]);
    }

    #[test]
    fn homes_keep_the_order_and_stay_in_range() {
        let lowest = Fingerprint::from_bits(1);
        let middle = Fingerprint::from_bits(1 << 127);
        let highest = Fingerprint::from_bits(u128::MAX);
        for homes in [1, 2, 3, 1_000, u64::MAX] {
            assert_eq!(lowest.home(homes), (0, 0));
            assert_eq!(middle.home(homes), (homes / 2, (homes % 2) << 63));
            assert_eq!(highest.home(homes).0, homes - 1);
        }
    }
}
