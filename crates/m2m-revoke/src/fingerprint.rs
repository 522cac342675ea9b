//! Fingerprints: what the set keeps of a target, 124 bits of keyed hash and its kind.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

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

/// A hasher that has taken in the first field, usually the issuer: what a token is checked for
/// mostly shares it, so it is hashed once.
pub(crate) struct Scope {
    hasher: SipHasher13,
}

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
    pub(crate) fn scope(&self, first: &[u8]) -> Scope {
        let mut hasher = self.start;
        hasher.write(&(first.len() as u64).to_le_bytes());
        hasher.write(first);
        Scope { hasher }
    }
}

impl Scope {
    /// The fingerprint of the target of this `kind` with the fields `first` and `second`.
    ///
    /// Both lengths and the kind are hashed before what they describe, so no two targets give the
    /// same input. A length takes 56 bits, more than memory can have.
    pub(crate) fn fingerprint(&self, kind: Kind, second: &[u8]) -> Fingerprint {
        let mut hasher = self.hasher;
        let description = (u64::from(kind.tag()) << 56) | second.len() as u64;
        hasher.write(&description.to_le_bytes());
        hasher.write(second);
        let hash = hasher.finish128().as_u128();
        Fingerprint((hash & !KIND_MASK) | u128::from(kind.tag()))
    }
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
