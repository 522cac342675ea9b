//! `Item`: one revocation as it is kept, its target in two fields.

use std::borrow::Cow;
use std::cmp::Ordering;

use m2m_types::{ServiceIdRef, Timestamp};

use crate::fingerprint::Fingerprints;
use crate::target::{Kind, Revocation, Target};
use crate::term::{Entry, Term};

/// The longest field of a target that is kept: more than a token or a `Name` that anybody takes.
pub(super) const MAX_FIELD_BYTES: usize = u16::MAX as usize;

/// One revocation. The first field is empty for kinds that have only one.
///
/// The names themselves are kept, and not fingerprints of them, so that a set can be made from what
/// is stored under another key or another hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    pub(super) first: &'a [u8],
    /// Owned only where the target has a number.
    pub(super) second: Cow<'a, [u8]>,
    pub(super) expires: Timestamp,
    pub(super) issued_until: Option<Timestamp>,
}

/// A field is too long to be kept.
#[derive(Debug)]
pub(super) struct FieldTooLong {
    pub(super) kind: Kind,
    pub(super) length: usize,
}

impl<'a> Item<'a> {
    pub(super) fn of(revocation: &Revocation<'a>) -> Result<Self, FieldTooLong> {
        let target = revocation.target();
        let (kind, (first, second)) = (target.kind(), fields(target));
        let length = first.len().max(second.len());
        if length > MAX_FIELD_BYTES {
            return Err(FieldTooLong { kind, length });
        }
        Ok(Self {
            kind,
            first,
            second,
            expires: revocation.expires(),
            issued_until: revocation.issued_until(),
        })
    }

    /// What the set in memory holds of it.
    pub(super) fn entry(&self, fingerprints: &Fingerprints) -> Entry {
        let scope = fingerprints.scope(self.kind, self.first);
        Entry {
            fingerprint: fingerprints.of(&scope, &self.second),
            term: self.term(),
        }
    }

    pub(super) fn term(&self) -> Term {
        Term::new(self.expires, self.issued_until)
    }

    fn compare_targets(&self, other: &Self) -> Ordering {
        let target = |item: &Self| (item.kind.tag(), item.first);
        let first = target(self).cmp(&target(other));
        first.then_with(|| self.second.cmp(&other.second))
    }

    /// Makes it revoke all that `other` revokes of the same target, as long as the longer of them.
    fn unite(&mut self, other: &Self) {
        self.expires = self.expires.max(other.expires);
        let until = self.issued_until.zip(other.issued_until);
        self.issued_until = until.map(|(one, other)| one.max(other));
    }
}

/// Sorts by target, and leaves each target once, with all that is revoked of it.
pub(super) fn unite(items: &mut Vec<Item<'_>>) {
    items.sort_unstable_by(Item::compare_targets);
    items.dedup_by(|later, first| {
        let same = later.compare_targets(first).is_eq();
        if same {
            first.unite(later);
        }
        same
    });
}

/// The two fields of a target, as their fingerprint is made of them.
fn fields<'a>(target: &Target<'a>) -> (&'a [u8], Cow<'a, [u8]>) {
    let (first, second): (&[u8], &[u8]) = match *target {
        Target::Token { issuer, jti } => (issuer.as_bytes(), jti.as_bytes()),
        Target::Subject { issuer, subject } => (issuer.as_bytes(), subject.as_bytes()),
        Target::Service(id) => (&[], id.as_str().as_bytes()),
        Target::Session { issuer, sid } => (issuer.as_bytes(), sid.as_bytes()),
        Target::Certificate { issuer, serial } => (issuer, serial),
        Target::CertificateThumbprint(thumbprint) => (&[], thumbprint),
        Target::Key { issuer, thumbprint } => (issuer.as_bytes(), thumbprint),
        Target::SecretVersion { name, version } => {
            let version = version.to_le_bytes().to_vec();
            return (name.as_bytes(), version.into());
        }
    };
    (first, second.into())
}

/// Whether a target of this kind can have this first field.
pub(super) fn is_first(kind: Kind, field: &[u8]) -> bool {
    match kind {
        Kind::Service | Kind::CertificateThumbprint => field.is_empty(),
        Kind::Certificate => true,
        Kind::Token | Kind::Subject | Kind::Session | Kind::Key | Kind::SecretVersion => {
            is_text(field)
        }
    }
}

/// Whether a target of this kind can have this second field.
#[inline]
pub(super) fn is_second(kind: Kind, field: &[u8]) -> bool {
    match kind {
        Kind::Token | Kind::Subject | Kind::Session => is_text(field),
        Kind::Service => {
            let text = std::str::from_utf8(field).ok();
            text.is_some_and(|id| ServiceIdRef::parse(id).is_ok())
        }
        Kind::Certificate => true,
        Kind::CertificateThumbprint | Kind::Key => field.len() == 32,
        Kind::SecretVersion => field.len() == 8,
    }
}

fn is_text(field: &[u8]) -> bool {
    std::str::from_utf8(field).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const NAME: &str = "spiffe://example.org/billing";

    pub(in super::super) fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    pub(in super::super) fn one_of_each() -> [Target<'static>; 8] {
        let issuer = "https://issuer.example";
        [
            Target::Token { issuer, jti: "a" },
            Target::Subject {
                issuer,
                subject: NAME,
            },
            Target::Service(ServiceIdRef::parse(NAME).unwrap()),
            Target::Session { issuer, sid: "" },
            Target::Certificate {
                issuer: b"\x30\xff",
                serial: b"\0\x80",
            },
            Target::CertificateThumbprint(&[7; 32]),
            Target::Key {
                issuer,
                thumbprint: &[8; 32],
            },
            Target::SecretVersion {
                name: "billing",
                version: u64::MAX - 1,
            },
        ]
    }

    #[test]
    fn an_item_has_the_fingerprint_and_the_term_of_its_revocation() {
        let fingerprints = Fingerprints::new(&[7; 16]);
        for target in one_of_each() {
            let revocation = Revocation::of(target, at(9)).with_issued_until(at(4));
            let item = Item::of(&revocation).unwrap();
            let (found, expected) = (item.entry(&fingerprints), revocation.entry(&fingerprints));
            assert!(found == expected, "{target:?}");
            assert!(is_first(item.kind, item.first) && is_second(item.kind, &item.second));
        }
    }

    #[test]
    fn a_field_that_is_too_long_is_refused_and_not_cut() {
        let long = "a".repeat(MAX_FIELD_BYTES + 1);
        let fits = &long[1..];
        for (issuer, jti, good) in [
            (fits, fits, true),
            (&long, "", false),
            ("", long.as_str(), false),
        ] {
            let revocation = Revocation::of(Target::Token { issuer, jti }, at(5));
            assert_eq!(Item::of(&revocation).is_ok(), good);
        }
    }

    #[test]
    fn a_union_takes_the_later_of_both_ends() {
        let of = |expires, until: Option<u64>| {
            let all = Revocation::of(one_of_each()[0], at(expires));
            let all = until.map_or(all, |until| all.with_issued_until(at(until)));
            Item::of(&all).unwrap()
        };
        let both = |one, other| {
            let mut items = vec![one, other];
            unite(&mut items);
            items
        };
        assert_eq!(both(of(9, Some(1)), of(1, Some(2))), [of(9, Some(2))]);
        assert_eq!(both(of(1, Some(2)), of(9, Some(1))), [of(9, Some(2))]);
        assert_eq!(both(of(9, Some(1)), of(1, None)), [of(9, None)]);
    }

    #[test]
    fn sec_011_targets_that_differ_are_not_united() {
        let pair = |issuer, jti| Target::Token { issuer, jti };
        let mut targets = one_of_each().to_vec();
        targets.extend([pair("ab", "c"), pair("a", "bc"), pair("abc", "")]);
        targets.push(Target::Session {
            issuer: "ab",
            sid: "c",
        });
        let item = |target: &Target<'static>| Item::of(&Revocation::of(*target, at(5))).unwrap();
        let mut items: Vec<_> = targets.iter().chain(&targets).map(item).collect();
        unite(&mut items);
        assert_eq!(items.len(), targets.len());
    }
}
