//! The form of segments.

use proptest::prelude::*;

use super::super::item::tests::{at, one_of_each};
use super::*;
use crate::target::{Revocation, Target};

fn read(value: &[u8]) -> Result<Vec<Item<'_>>, RecordError> {
    let mut items = Vec::new();
    for group in groups(value) {
        for item in group?.items() {
            items.push(item?);
        }
    }
    Ok(items)
}

fn written(items: &[Item<'_>]) -> Vec<u8> {
    let (segment, _, rest) = Segment::fill(items, usize::MAX);
    assert!(rest.is_empty());
    segment.value().to_vec()
}

fn all_kinds() -> Vec<Item<'static>> {
    let revocations = one_of_each().into_iter().flat_map(|target| {
        [Timestamp::MIN, at(5), Timestamp::MAX].map(|expires| {
            let all = Revocation::of(target, expires);
            [
                all,
                all.with_issued_until(Timestamp::MIN),
                all.with_issued_until(Timestamp::MAX),
            ]
        })
    });
    let items = revocations.flatten();
    items.map(|one| Item::of(&one).unwrap()).collect()
}

fn token(jti: &str) -> Item<'_> {
    let target = Target::Token { issuer: "iss", jti };
    Item::of(&Revocation::of(target, at(0x0102))).unwrap()
}

#[test]
fn every_kind_is_read_as_it_was_written() {
    let items = all_kinds();
    assert_eq!(read(&written(&items)), Ok(items.clone()));
    for item in &items {
        let one = std::slice::from_ref(item);
        assert_eq!(read(&written(one)).as_deref(), Ok(one));
    }
}

#[test]
fn the_form_of_a_segment_is_what_is_written_above() {
    let mut items = vec![token("a-1"), token("b")];
    items[1].issued_until = Some(at(3));
    items.extend(Item::of(&Revocation::of(one_of_each()[7], at(1))));
    let expected: &[u8] = b"\x01\
        \x01\0\x03\0\0\0\x17iss\
        \0\0\0\x01\x02\0\x03a-1\
        \x80\0\0\x01\x02\0\0\0\0\x03\0\x01b\
        \x08\0\x07\0\0\0\x0fbilling\
        \0\0\0\0\x01\0\x08\xfe\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(written(&items), expected);
}

#[test]
fn a_segment_is_as_long_as_it_was_said_to_get() {
    let mut segment = Segment::new();
    for item in all_kinds() {
        let expected = segment.len() + segment.growth(&item);
        segment.push(&item);
        assert_eq!(segment.len(), expected);
    }
}

#[test]
fn what_does_not_fit_is_left_and_one_always_fits() {
    let items = all_kinds();
    for limit in 0..400 {
        let mut rest = items.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let (segment, taken, behind) = Segment::fill(rest, limit);
            assert!(taken.len() == 1 || segment.len() <= limit);
            assert_eq!(read(segment.value()).as_deref(), Ok(taken));
            found.extend_from_slice(taken);
            rest = behind;
        }
        assert_eq!(found, items);
    }
}

#[test]
fn the_longest_target_has_room() {
    let long = "x".repeat(MAX_FIELD_BYTES);
    let target = Target::Token {
        issuer: &long,
        jti: &long,
    };
    let limited = Revocation::of(target, at(5)).with_issued_until(at(4));
    let item = Item::of(&limited).unwrap();
    let (segment, _, _) = Segment::fill(std::slice::from_ref(&item), SEGMENT_BYTES);
    assert!(segment.len() <= SEGMENT_BYTES);
    assert_eq!(read(segment.value()), Ok(vec![item]));
}

#[test]
fn sto_010_what_is_not_understood_is_an_error() {
    let good = written(&[token("a"), token("b")]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let found = |bytes: &[u8]| read(bytes).unwrap_err();
    assert_eq!(found(&with(0, 2)), RecordError::Format { found: 2 });
    assert_eq!(found(&[2]), RecordError::Format { found: 2 });
    assert_eq!(found(&with(1, 0)), RecordError::Kind { found: 0 });
    assert_eq!(found(&with(1, 9)), RecordError::Kind { found: 9 });
    let kind = Kind::Token;
    assert_eq!(found(&with(8, 0xff)), RecordError::Field { kind });
    assert_eq!(found(&with(18, 0xff)), RecordError::Field { kind });
    // A time after the year 9999, of either sort.
    assert!(matches!(found(&with(11, 0x7f)), RecordError::Time { .. }));
    let mut limited = token("a");
    limited.issued_until = Some(at(1));
    let mut limited = written(&[limited]);
    limited[16] = 0x7f;
    assert!(matches!(found(&limited), RecordError::Time { .. }));
    for length in 0..good.len() {
        assert_eq!(found(&good[..length]), RecordError::Truncated { length });
    }
    let longer = [&good[..], &[1]].concat();
    let length = longer.len();
    assert_eq!(found(&longer), RecordError::Truncated { length });
    // A group of nothing.
    let length = 8;
    assert_eq!(
        found(b"\x01\x01\0\0\0\0\0\0"),
        RecordError::Truncated { length }
    );
}

#[test]
fn sto_013_lengths_that_are_lies_are_errors() {
    for lie in [b"\xff\xff\0\0\0\x08", b"\0\0\xff\xff\xff\xff"] {
        let value = [&b"\x01\x01"[..], lie, b"\0\0\0\0\x01\0\x01a"].concat();
        let length = value.len();
        assert_eq!(read(&value), Err(RecordError::Truncated { length }));
    }
}

#[test]
fn kinds_with_one_field_have_one_and_fields_of_a_size_have_it() {
    for target in one_of_each() {
        let kind = target.kind();
        let good = Item::of(&Revocation::of(target, at(5))).unwrap();
        let refused = |item: &Item<'_>| {
            let value = written(std::slice::from_ref(item));
            read(&value) == Err(RecordError::Field { kind })
        };
        let mut first = good.clone();
        first.first = b"x";
        let one_field = matches!(kind, Kind::Service | Kind::CertificateThumbprint);
        assert_eq!(refused(&first), one_field, "{kind:?}");
        let mut second = good.clone();
        second.second.to_mut().push(b'\xff');
        assert_eq!(refused(&second), kind != Kind::Certificate, "{kind:?}");
    }
}

#[test]
fn a_summary_counts_and_names_nobody() {
    let (segment, _, _) = Segment::fill(&all_kinds(), usize::MAX);
    let summary = segment.summary();
    assert!(summary.starts_with(r#"{"entries":72,"kinds":{"token":9,"subject":9,"#));
    assert!(!summary.contains("example") && !summary.contains("billing"));
    assert!(summary.len() < m2m_store::MAX_SUMMARY_BYTES);
}

#[test]
fn levels_grow_with_the_size_and_the_small_ones_come_first() {
    let names: Vec<String> = (0..7_000).map(|n| format!("{n:032}")).collect();
    let mut segment = Segment::new();
    let mut levels = vec![];
    for name in &names {
        segment.push(&token(name));
        levels.push(segment.level());
        let key = key(segment.level(), u128::MAX);
        assert_eq!(level_of(&key), segment.level());
    }
    assert!(levels.is_sorted());
    levels.dedup();
    assert_eq!(levels, [0, 1, 2, LAST_LEVEL]);
    assert!(key(0, u128::MAX) < key(1, 0));
}

proptest! {
    #[test]
    fn whatever_the_bytes_what_is_read_is_written_the_same(
        mut value in proptest::collection::vec(any::<u8>(), 0..120),
        (kind, first, items) in (0_u8..10, 0_u8..20, 0_u8..60),
    ) {
        let head = [1, kind, 0, first, 0, 0, 0, items];
        for (to, byte) in value.iter_mut().zip(head) {
            *to = byte;
        }
        if let Ok(items) = read(&value) {
            prop_assert!(!items.is_empty());
            let again = written(&items);
            prop_assert_eq!(read(&again), Ok(items));
        }
    }
}
