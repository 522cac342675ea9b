//! How a revocation is written into a record, and read from it.
//!
//! | bytes of the value | what, numbers big-endian |
//! |---|---|
//! | 0 | the version of this form, 1 |
//! | 1 | the kind, 1 to 8 |
//! | 2..10 | `expires`, in seconds since 1970 |
//! | 10..18 | `issued_until`, in seconds since 1970; all bits set: whenever it was issued |
//! | 18..20 | the length of the first field |
//! | 20.. | the first field, empty for kinds that have only one, and then the second up to the end |
//!
//! The names themselves are kept, and not fingerprints of them, so that a set can be made from the
//! records under another key or another hash. Stores seal values; ids they do not, so the id of a
//! record is HMAC-SHA-256 of its target under a key that is kept sealed: whoever reads the disk can
//! neither read names there nor try guesses.

use std::borrow::Cow;

use m2m_crypto::{Algorithm, KeyError, MacKey, SecretBytes};
use m2m_store::{Key, Space};
use m2m_types::{ServiceIdRef, Timestamp};

use crate::target::{Kind, Revocation, Target};

/// The space of the records.
pub(super) const SPACE: &str = "revocation";
/// The longest field of a target that is kept: more than a token or a `Name` that anybody takes.
const MAX_FIELD_BYTES: usize = u16::MAX as usize;
const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 20;
const WHENEVER: u64 = u64::MAX;

/// Why the value of a record is not a revocation this code understands.
///
/// Nobody may go on without it: what it revokes would be accepted.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It has fewer bytes than every record has.
    #[error("{length} bytes are too few")]
    Truncated {
        /// How many it has.
        length: usize,
    },
    /// It is in a form that a later version of this crate writes.
    #[error("it is of form {found}, and this program knows form {FORMAT}; use a newer one")]
    Format {
        /// Which form.
        found: u8,
    },
    /// It revokes something of a kind that this version of the crate does not know.
    #[error("it is of kind {found}, which this program does not know; use a newer one")]
    Kind {
        /// Which kind.
        found: u8,
    },
    /// A time is after the year 9999.
    #[error("{seconds} s since 1970 is not a time")]
    Time {
        /// What is there.
        seconds: u64,
    },
    /// A field does not have the form that its kind has.
    #[error("a field of a {kind:?} is malformed")]
    Field {
        /// Of which kind it is.
        kind: Kind,
    },
    /// It is a revocation of something else than its id says.
    #[error("it is not about what its id says")]
    OtherTarget,
}

/// A field is too long to be kept.
#[derive(Debug)]
pub(super) struct FieldTooLong {
    pub(super) length: usize,
}

/// Makes the ids of records.
pub(super) struct Ids {
    space: Space,
    key: MacKey,
}

impl Ids {
    /// With this key of at least 32 bytes.
    pub(super) fn new(key: SecretBytes) -> Result<Self, KeyError> {
        Ok(Self {
            space: space(),
            key: MacKey::new(Algorithm::Hs256, key)?,
        })
    }

    /// Where the revocation of `target` is kept.
    pub(super) fn key(&self, target: &Target<'_>) -> Key {
        let (first, second) = fields(target);
        // Kind, length, first field and second field: no two targets give the same bytes.
        let length = (first.len() as u64).to_be_bytes();
        let message = [&[target.kind().tag()][..], &length, first, &second].concat();
        let mut id = [0; 32];
        let signed = self.key.sign(&message, &mut id);
        signed.expect("a tag of HS256 has 32 bytes");
        Key::new(&self.space, &id).expect("an id may have 32 bytes")
    }
}

/// [`SPACE`].
pub(super) fn space() -> Space {
    Space::new(SPACE).expect("a name of small letters")
}

/// The value of the record of `revocation`.
pub(super) fn encode(revocation: &Revocation<'_>) -> Result<Vec<u8>, FieldTooLong> {
    let target = revocation.target();
    let (first, second) = fields(target);
    let length = first.len().max(second.len());
    let first_length = u16::try_from(first.len()).map_err(|_| FieldTooLong { length })?;
    if length > MAX_FIELD_BYTES {
        return Err(FieldTooLong { length });
    }
    let expires = revocation.expires().unix_seconds();
    let until = revocation.issued_until();
    let until = until.map_or(WHENEVER, Timestamp::unix_seconds);
    Ok([
        &[FORMAT, target.kind().tag()][..],
        &expires.to_be_bytes(),
        &until.to_be_bytes(),
        &first_length.to_be_bytes(),
        first,
        &second,
    ]
    .concat())
}

/// What [`encode`] wrote.
pub(super) fn decode(value: &[u8]) -> Result<Revocation<'_>, RecordError> {
    let truncated = RecordError::Truncated {
        length: value.len(),
    };
    // The form first: of another one nothing else is known, not even its length.
    match value.first() {
        Some(&FORMAT) => {}
        Some(&found) => return Err(RecordError::Format { found }),
        None => return Err(truncated),
    }
    let (head, fields) = value
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(truncated.clone())?;
    let [_, tag, times @ .., high, low] = head;
    let mut kinds = Kind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.tag() == *tag);
    let kind = kind.ok_or(RecordError::Kind { found: *tag })?;
    let first_length = usize::from(u16::from_be_bytes([*high, *low]));
    let (first, second) = fields.split_at_checked(first_length).ok_or(truncated)?;
    let (expires, until) = times.split_at(8);
    let (expires, until) = (number(expires), number(until));
    let target = target(kind, first, second).ok_or(RecordError::Field { kind })?;
    let revocation = Revocation::of(target, time(expires)?);
    Ok(match until {
        WHENEVER => revocation,
        until => revocation.with_issued_until(time(until)?),
    })
}

/// What revokes all that either of the two revokes, as long as the longer of them; they are about
/// one target.
pub(super) fn union<'a>(
    one: &Revocation<'a>,
    other: &Revocation<'_>,
) -> Result<Revocation<'a>, RecordError> {
    if one.target() != other.target() {
        return Err(RecordError::OtherTarget);
    }
    let expires = one.expires().max(other.expires());
    let both = Revocation::of(*one.target(), expires);
    let until = one.issued_until().zip(other.issued_until());
    Ok(match until {
        Some((one, other)) => both.with_issued_until(one.max(other)),
        None => both,
    })
}

/// What operators may read of it: of what kind it is and how long it is kept. It lies in the clear,
/// so it names nobody.
pub(super) fn summary(revocation: &Revocation<'_>) -> String {
    let kind = match revocation.target().kind() {
        Kind::Token => "token",
        Kind::Subject => "subject",
        Kind::Service => "service",
        Kind::Session => "session",
        Kind::Certificate => "certificate",
        Kind::CertificateThumbprint => "certificate_thumbprint",
        Kind::Key => "key",
        Kind::SecretVersion => "secret_version",
    };
    let expires = revocation.expires().unix_seconds();
    match revocation.issued_until() {
        None => format!(r#"{{"kind":"{kind}","expires":{expires}}}"#),
        Some(until) => {
            let until = until.unix_seconds();
            format!(r#"{{"kind":"{kind}","expires":{expires},"issued_until":{until}}}"#)
        }
    }
}

/// The two fields of a target, the first of them empty if there is only one.
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
            let version = version.to_be_bytes().to_vec();
            return (name.as_bytes(), version.into());
        }
    };
    (first, second.into())
}

/// The target of this kind with these fields.
fn target<'a>(kind: Kind, first: &'a [u8], second: &'a [u8]) -> Option<Target<'a>> {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
    let none = first.is_empty();
    Some(match kind {
        Kind::Token => Target::Token {
            issuer: text(first)?,
            jti: text(second)?,
        },
        Kind::Subject => Target::Subject {
            issuer: text(first)?,
            subject: text(second)?,
        },
        Kind::Service => {
            let id = none.then(|| text(second)).flatten()?;
            Target::Service(ServiceIdRef::parse(id).ok()?)
        }
        Kind::Session => Target::Session {
            issuer: text(first)?,
            sid: text(second)?,
        },
        Kind::Certificate => Target::Certificate {
            issuer: first,
            serial: second,
        },
        Kind::CertificateThumbprint => {
            Target::CertificateThumbprint(none.then_some(second)?.try_into().ok()?)
        }
        Kind::Key => Target::Key {
            issuer: text(first)?,
            thumbprint: second.try_into().ok()?,
        },
        Kind::SecretVersion => Target::SecretVersion {
            name: text(first)?,
            version: u64::from_be_bytes(second.try_into().ok()?),
        },
    })
}

fn number(bytes: &[u8]) -> u64 {
    let number = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    bytes.iter().fold(0, number)
}

fn time(seconds: u64) -> Result<Timestamp, RecordError> {
    Timestamp::from_unix_seconds(seconds).map_err(|_| RecordError::Time { seconds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "spiffe://example.org/billing";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    fn one_of_each() -> [Target<'static>; 8] {
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
                version: u64::MAX,
            },
        ]
    }

    fn ids(key: u8) -> Ids {
        Ids::new(SecretBytes::from(&[key; 32][..])).unwrap()
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for target in one_of_each() {
            for expires in [Timestamp::MIN, at(5), Timestamp::MAX] {
                let all = Revocation::of(target, expires);
                for revocation in [
                    all,
                    all.with_issued_until(Timestamp::MIN),
                    all.with_issued_until(Timestamp::MAX),
                ] {
                    let value = encode(&revocation).unwrap();
                    assert_eq!(decode(&value), Ok(revocation));
                }
            }
        }
    }

    #[test]
    fn the_form_of_a_record_is_what_is_written_above() {
        let target = Target::Token {
            issuer: "iss",
            jti: "a-1",
        };
        let value = encode(&Revocation::of(target, at(0x0102))).unwrap();
        let expected = b"\x01\x01\0\0\0\0\0\0\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\x03issa-1";
        assert_eq!(value, expected);
    }

    #[test]
    fn sto_010_a_record_that_is_not_understood_is_an_error() {
        let target = one_of_each()[0];
        let good = encode(&Revocation::of(target, at(5))).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let found = |bytes: &[u8]| decode(bytes).unwrap_err();
        assert_eq!(found(&with(0, 2)), RecordError::Format { found: 2 });
        assert_eq!(found(&[2]), RecordError::Format { found: 2 });
        assert_eq!(found(&with(1, 0)), RecordError::Kind { found: 0 });
        assert_eq!(found(&with(1, 9)), RecordError::Kind { found: 9 });
        assert!(matches!(found(&with(2, 1)), RecordError::Time { .. }));
        assert!(matches!(found(&with(10, 1)), RecordError::Time { .. }));
        let kind = Kind::Token;
        assert_eq!(found(&with(20, 0xff)), RecordError::Field { kind });
        for length in 0..HEAD_BYTES + 3 {
            let cut = good.get(..length).unwrap();
            assert_eq!(found(cut), RecordError::Truncated { length });
        }
    }

    #[test]
    fn kinds_with_one_field_have_one() {
        for kind in [Kind::Service, Kind::CertificateThumbprint] {
            let target = one_of_each().into_iter().find(|t| t.kind() == kind);
            let mut value = encode(&Revocation::of(target.unwrap(), at(5))).unwrap();
            value[19] = 1;
            assert_eq!(decode(&value), Err(RecordError::Field { kind }));
        }
        for kind in [Kind::CertificateThumbprint, Kind::Key, Kind::SecretVersion] {
            let target = one_of_each().into_iter().find(|t| t.kind() == kind);
            let mut value = encode(&Revocation::of(target.unwrap(), at(5))).unwrap();
            value.push(0);
            assert_eq!(decode(&value), Err(RecordError::Field { kind }));
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
            assert_eq!(encode(&revocation).is_ok(), good);
            if let Ok(value) = encode(&revocation) {
                assert_eq!(decode(&value), Ok(revocation));
                assert!(value.len() < m2m_store::MAX_VALUE_BYTES);
            }
        }
    }

    #[test]
    fn ids_differ_by_kind_field_boundary_and_key_and_name_nobody() {
        let pair = |issuer, jti| Target::Token { issuer, jti };
        let mut targets = one_of_each().to_vec();
        targets.extend([pair("ab", "c"), pair("a", "bc"), pair("abc", "")]);
        targets.push(Target::Session {
            issuer: "ab",
            sid: "c",
        });
        let mut keys: Vec<Key> = targets.iter().map(|target| ids(1).key(target)).collect();
        keys.extend(targets.iter().map(|target| ids(2).key(target)));
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2 * targets.len());
    }

    #[test]
    fn a_summary_names_nobody() {
        for target in one_of_each() {
            let all = Revocation::of(target, at(7));
            let shown = summary(&all) + &summary(&all.with_issued_until(at(5)));
            assert!(!shown.contains("example") && !shown.contains("billing"));
            assert!(shown.contains(r#""expires":7}"#) && shown.contains(r#""issued_until":5}"#));
        }
    }

    #[test]
    fn a_union_takes_the_later_of_both_ends() {
        let of = |expires, until: Option<u64>| {
            let all = Revocation::of(one_of_each()[0], at(expires));
            until.map_or(all, |until| all.with_issued_until(at(until)))
        };
        let both = |one: Revocation<'static>, other| union(&one, &other).unwrap();
        assert_eq!(both(of(9, Some(1)), of(1, Some(2))), of(9, Some(2)));
        assert_eq!(both(of(1, Some(2)), of(9, Some(1))), of(9, Some(2)));
        assert_eq!(both(of(9, Some(1)), of(1, None)), of(9, None));
        let other = Revocation::of(one_of_each()[1], at(5));
        assert_eq!(union(&of(1, None), &other), Err(RecordError::OtherTarget));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_what_is_read_is_written_the_same(
            mut value in proptest::collection::vec(any::<u8>(), 0..120),
            (kind, first) in (0_u8..10, 0_u8..40),
        ) {
            for (at, byte) in [(0, 1), (1, kind), (2, 0), (3, 0), (4, 0), (5, 0), (18, 0), (19, first)] {
                if let Some(to) = value.get_mut(at) {
                    *to = byte;
                }
            }
            if let Ok(revocation) = decode(&value) {
                prop_assert_eq!(encode(&revocation).unwrap(), value);
            }
        }
    }
}
