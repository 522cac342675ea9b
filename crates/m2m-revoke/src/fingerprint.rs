//! Fingerprints: what the set keeps of a target, 124 bits of keyed hash and its kind.
//!
//! Three steps:
//!
//! 1. SipHash-1-3 with 128 bits of result, under the set's key, of `kind ‖ first field` is the place
//!    of a [`Scope`]: of the tokens of one issuer, say, or of its sessions.
//! 2. The second field is hashed under keys drawn from the set's, see [`NameKeys`], and added to that
//!    place, half by half.
//! 3. [`mixed`] spreads what comes out, because the table needs names that are like each other to lie
//!    apart.
//!
//! Whoever knows the first field beforehand takes the first step once, see [`PreparedIssuer`].

use std::fmt;

use crate::names::NameKeys;
use crate::siphash::SipHash;
use crate::target::Kind;

/// 124 bits of keyed hash, and the kind in the lowest four bits.
///
/// The kind is part of the value, so targets of different kinds never meet, and an entry tells what
/// kind it is without its name. Never zero, because no kind is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint(u128);

const KIND_MASK: u64 = 0xf;

/// Makes fingerprints under one key.
#[derive(Clone)]
pub(crate) struct Fingerprints {
    key: (u64, u64),
    names: NameKeys,
    /// Of [`Kind::Service`], which has no first field: asked for with every token.
    services: Scope,
    thumbprints: Scope,
}

/// All targets of one kind with the same first field, which usually is the issuer.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    kind: Kind,
    place: (u64, u64),
}

/// The scopes that an issuer's tokens are looked for in.
#[derive(Clone, Copy)]
pub(crate) struct IssuerScopes {
    pub(crate) token: Scope,
    pub(crate) session: Scope,
    pub(crate) subject: Scope,
    pub(crate) key: Scope,
}

/// An issuer whose part of the fingerprints has been worked out, for
/// [`Revocations::check_token_of`](crate::Revocations::check_token_of).
///
/// [`Revocations::prepare_issuer`](crate::Revocations::prepare_issuer) makes it, and whoever knows
/// beforehand whose tokens come keeps it. It only saves work: of a token of somebody else, or in a set
/// with another key, everything is worked out anew, so no answer depends on it.
///
/// It knows the set's key, so it is not for strangers either.
#[derive(Clone)]
pub struct PreparedIssuer {
    name: Box<str>,
    set_key: (u64, u64),
    scopes: IssuerScopes,
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
        (self.0 as u64 & KIND_MASK) as u8
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
        let bits = u128::from_le_bytes(*key);
        let key = (bits as u64, (bits >> 64) as u64);
        Self {
            key,
            names: NameKeys::new(key),
            services: scope(key, Kind::Service, &[]),
            thumbprints: scope(key, Kind::CertificateThumbprint, &[]),
        }
    }

    pub(crate) const fn key(&self) -> [u8; 16] {
        let (low, high) = self.key;
        (((high as u128) << 64) | low as u128).to_le_bytes()
    }

    /// The targets of this `kind` whose first field is `first`, empty for kinds that have only one.
    pub(crate) fn scope(&self, kind: Kind, first: &[u8]) -> Scope {
        scope(self.key, kind, first)
    }

    pub(crate) const fn services(&self) -> &Scope {
        &self.services
    }

    pub(crate) const fn thumbprints(&self) -> &Scope {
        &self.thumbprints
    }

    pub(crate) fn prepare(&self, issuer: &str) -> PreparedIssuer {
        let of = |kind| self.scope(kind, issuer.as_bytes());
        PreparedIssuer {
            name: Box::from(issuer),
            set_key: self.key,
            scopes: IssuerScopes {
                token: of(Kind::Token),
                session: of(Kind::Session),
                subject: of(Kind::Subject),
                key: of(Kind::Key),
            },
        }
    }

    /// The fingerprint of the target in `scope` whose second field is `second`.
    #[inline(never)]
    pub(crate) fn of(&self, scope: &Scope, second: &[u8]) -> Fingerprint {
        self.of_inlined(scope, second)
    }

    /// [`Fingerprints::of`] for the one place where most look-ups come by.
    #[inline(always)]
    pub(crate) fn of_inlined(&self, scope: &Scope, second: &[u8]) -> Fingerprint {
        let (low, high) = self.names.hash(second);
        let (low, high) = mixed(
            low.wrapping_add(scope.place.0),
            high.wrapping_add(scope.place.1),
        );
        let low = (low & !KIND_MASK) | u64::from(scope.kind.tag());
        Fingerprint((u128::from(high) << 64) | u128::from(low))
    }

    /// What was prepared, if it is for these fingerprints and this issuer.
    #[inline]
    pub(crate) fn prepared<'a>(
        &self,
        prepared: &'a PreparedIssuer,
        issuer: &str,
    ) -> Option<&'a IssuerScopes> {
        let fits = prepared.set_key == self.key && *prepared.name == *issuer;
        fits.then_some(&prepared.scopes)
    }
}

/// The first of the three steps. The kind takes a word of its own: SipHash reads words.
fn scope(key: (u64, u64), kind: Kind, first: &[u8]) -> Scope {
    let place = SipHash::new(key).word(u64::from(kind.tag())).hash(first);
    Scope { kind, place }
}

/// Mixes two halves so that each bit of what goes in has a say in each that comes out; different
/// ones stay different, for each line can be undone.
///
/// Names are often counted up. Without this the sum of step 2 would count up as well, by an amount
/// that depends on the key alone, and one key in a hundred would crowd them in few places.
#[inline]
const fn mixed(mut low: u64, mut high: u64) -> (u64, u64) {
    high ^= stirred(low);
    low ^= stirred(high);
    high ^= stirred(low);
    (low, high)
}

/// Its high bits depend on all bits of `half`.
#[inline]
const fn stirred(half: u64) -> u64 {
    // Odd, without structure: the fraction of the golden ratio in 64 bits.
    (half ^ (half >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl fmt::Debug for PreparedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreparedIssuer").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use siphasher::sip128::SipHasher13;

    use super::*;

    #[test]
    fn sec_011_a_shifted_field_boundary_is_another_fingerprint() {
        let fingerprints = Fingerprints::new(&[7; 16]);
        let fields: [&[u8]; 6] = [b"", b"a", b"ab", b"abc", b"bc", b"c"];
        let mut seen = HashSet::new();
        for kind in Kind::ALL {
            for first in fields {
                for second in fields {
                    let fingerprint = fingerprints.of(&fingerprints.scope(kind, first), second);
                    assert_eq!(fingerprint.tag(), kind.tag());
                    assert!(
                        seen.insert(fingerprint.bits() & !u128::from(KIND_MASK)),
                        "{kind:?} {first:?} {second:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn fields_of_every_length_are_told_apart_from_longer_ones() {
        // The last word holds the length modulo 256 and zeros for what is missing.
        let fingerprints = Fingerprints::new(&[7; 16]);
        let zeros = [0; 600];
        let mut seen = HashSet::new();
        for length in 0..zeros.len() {
            let field = &zeros[..length];
            let of = |first, second| {
                let scope = fingerprints.scope(Kind::Session, first);
                fingerprints.of(&scope, second)
            };
            let (first, second) = (of(field, b"s"), of(b"s", field));
            assert!(seen.insert(first.bits()), "first, {length}");
            assert!(seen.insert(second.bits()), "second, {length}");
        }
    }

    #[test]
    fn a_fingerprint_is_what_the_transfer_form_says() {
        // Step by step. What `names` tests of its own is not written down again.
        let place =
            SipHasher13::new_with_key(&[7; 16]).hash(b"\x01\0\0\0\0\0\0\0https://issuer.example");
        let half = u64::from_le_bytes([7; 8]);
        let name = NameKeys::new((half, half)).hash(b"a-1");
        let stirred = |half: u64| (half ^ (half >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut low = place.h1.wrapping_add(name.0);
        let mut high = place.h2.wrapping_add(name.1);
        high ^= stirred(low);
        low ^= stirred(high);
        high ^= stirred(low);
        let expected = (u128::from(high) << 64) | u128::from(low & !0xf) | 1;
        let fingerprints = Fingerprints::new(&[7; 16]);
        let scope = fingerprints.scope(Kind::Token, b"https://issuer.example");
        assert_eq!(fingerprints.of(&scope, b"a-1").bits(), expected);
        assert_eq!(expected, FROZEN, "{expected:#x}");
    }

    /// Changes only together with the version of the transfer form.
    const FROZEN: u128 = 0xa93a_7f87_a4be_b81a_e234_8602_48a6_d9a1;

    #[test]
    fn what_was_prepared_is_used_for_its_issuer_and_its_key_alone() {
        let ours = Fingerprints::new(&[7; 16]);
        let prepared = ours.prepare("https://issuer.example");
        let scopes = ours.prepared(&prepared, "https://issuer.example").unwrap();
        let of = |scope: &Scope| ours.of(scope, b"n");
        let anew = |kind| of(&ours.scope(kind, b"https://issuer.example"));
        assert!(of(&scopes.token) == anew(Kind::Token));
        assert!(of(&scopes.session) == anew(Kind::Session));
        assert!(of(&scopes.subject) == anew(Kind::Subject));
        assert!(of(&scopes.key) == anew(Kind::Key));
        assert!(of(ours.services()) == of(&ours.scope(Kind::Service, b"")));
        let kind = Kind::CertificateThumbprint;
        assert!(of(ours.thumbprints()) == of(&ours.scope(kind, b"")));

        assert!(ours.prepared(&prepared, "https://issuer.exampl").is_none());
        let theirs = Fingerprints::new(&[8; 16]);
        assert!(
            theirs
                .prepared(&prepared, "https://issuer.example")
                .is_none()
        );
        assert_eq!(
            format!("{prepared:?}"),
            "PreparedIssuer(\"https://issuer.example\")"
        );
    }

    #[test]
    fn another_key_gives_other_fingerprints() {
        let of = |key| {
            let fingerprints = Fingerprints::new(key);
            fingerprints.of(&fingerprints.scope(Kind::Token, b"i"), b"j")
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

    #[test]
    fn mixing_can_be_undone_and_each_bit_has_a_say_in_where_a_look_up_begins() {
        let undone = |(mut low, mut high): (u64, u64)| {
            high ^= stirred(low);
            low ^= stirred(high);
            high ^= stirred(low);
            (low, high)
        };
        let start = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(undone(mixed(start.0, start.1)), start);
        for bit in 0..128 {
            let flip = 1_u128 << bit;
            let changes = (0..64_u64).map(|number| {
                let (low, high) = (stirred(number), stirred(number + 64));
                let other = mixed(low ^ flip as u64, high ^ (flip >> 64) as u64);
                ((mixed(low, high).1 ^ other.1) >> 32).count_ones()
            });
            // Half of 32 bits each time, if they are as good as random.
            let changes = changes.sum::<u32>() / 64;
            assert!((12..=20).contains(&changes), "bit {bit}: {changes}");
        }
    }
}
