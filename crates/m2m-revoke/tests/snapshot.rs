//! Bytes that claim to be a snapshot, and are not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use std::sync::Arc;

use m2m_revoke::{
    Kind, MergeError, RevocationSnapshot, Revocations, RevokeError, SnapshotError, Target,
};
use m2m_types::Timestamp;

const HEADER: usize = 128;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds).unwrap()
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: "https://issuer.example",
        jti,
    }
}

fn filled(entries: usize) -> Revocations {
    let revocations = Revocations::new([5; 16], at(1_000));
    for number in 0..entries {
        let jti = number.to_string();
        revocations.revoke(token(&jti), at(9_000)).unwrap();
    }
    revocations
}

fn bytes(entries: usize) -> Vec<u8> {
    filled(entries).snapshot().unwrap().as_bytes().to_vec()
}

fn refused(bytes: Vec<u8>) -> SnapshotError {
    RevocationSnapshot::from_bytes(bytes).unwrap_err()
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// The checksum as documented, written once more so that liars can be tested.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let step = |lane: u64, word: u64| {
        (lane ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let mut lanes = [1, 2, 3, 4, 5, 6, 7, 8];
    for (number, word) in bytes[16..].chunks(8).enumerate() {
        let lane = &mut lanes[number % 8];
        *lane = step(*lane, u64::from_le_bytes(word.try_into().unwrap()));
    }
    let length = bytes.len() as u64 - 16;
    let sum = lanes.into_iter().fold(length, step);
    put(&mut bytes, 8, step(sum ^ (sum >> 32), 0));
    bytes
}

#[test]
fn a_snapshot_of_a_snapshot_is_the_same_bytes() {
    let original = bytes(500);
    assert_eq!(sealed(original.clone()), original);
    let snapshot = RevocationSnapshot::from_bytes(original.clone()).unwrap();
    let again = Revocations::from_snapshot(snapshot).snapshot().unwrap();
    assert_eq!(again.as_bytes(), original);
    assert_eq!((again.len(), again.count(Kind::Token)), (500, 500));
}

#[test]
fn the_order_of_revocations_does_not_show() {
    let (first, second) = (filled(0), filled(0));
    for number in 0..40 {
        let (low, high) = (number.to_string(), (39 - number).to_string());
        first.revoke(token(&low), at(9_000)).unwrap();
        second.revoke(token(&high), at(9_000)).unwrap();
    }
    let (first, second) = (first.snapshot().unwrap(), second.snapshot().unwrap());
    assert_eq!(first.as_bytes(), second.as_bytes());
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    let whole = bytes(20);
    for length in 0..whole.len() {
        refused(whole[..length].to_vec());
    }
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        refused(damaged);
    }
    let mut longer = whole;
    longer.push(0);
    assert!(matches!(refused(longer), SnapshotError::Length { .. }));
}

#[test]
fn what_is_not_a_snapshot_is_told_from_a_cut_one() {
    assert!(matches!(
        refused(vec![0; HEADER - 1]),
        SnapshotError::Truncated {
            length: 127,
            needed: HEADER
        }
    ));
    assert!(matches!(
        refused(vec![b'x'; 4096]),
        SnapshotError::Format { .. }
    ));
    for version in [1, 2, 4] {
        let mut other = bytes(3);
        other[6] = version;
        assert!(matches!(
            refused(sealed(other)),
            SnapshotError::Format { .. }
        ));
    }
}

#[test]
fn sto_013_lengths_that_lie_are_refused_before_anything_is_allocated() {
    let (homes, groups) = (48, 56);
    for lie in [0, 2, 1 << 32, 1 << 58, 1 << 63, u64::MAX] {
        for field in [vec![homes], vec![groups], vec![homes, groups]] {
            let mut lying = bytes(3);
            field.iter().for_each(|at| put(&mut lying, *at, lie));
            let lying = sealed(lying);
            let mut error = None;
            let memory = allocation_counter::measure(|| {
                error = RevocationSnapshot::from_bytes(lying).err();
            });
            assert!(
                matches!(
                    error,
                    Some(SnapshotError::Shape { .. } | SnapshotError::Length { .. })
                ),
                "{lie} {error:?}"
            );
            assert_eq!(memory.bytes_total, 0);
        }
    }
}

#[test]
fn sto_013_counts_that_lie_are_refused() {
    for kind in 0..8 {
        for lie in [1, 4, 1 << 63, u64::MAX] {
            let mut lying = bytes(3);
            put(&mut lying, 64 + 8 * kind, lie);
            let error = refused(sealed(lying));
            assert!(matches!(error, SnapshotError::Count { .. }), "{error:?}");
        }
    }
    let mut hidden = bytes(3);
    put(&mut hidden, 64, 0);
    assert_eq!(
        refused(sealed(hidden)),
        SnapshotError::Count {
            kind: Kind::Token,
            stated: 0,
            found: 3
        }
    );
}

/// Harms a slot, given where its tag and its entry are.
type Harm = fn(&mut Vec<u8>, usize, usize);

#[test]
fn an_entry_that_no_look_up_finds_is_refused() {
    let whole = bytes(100);
    let groups = (whole.len() - HEADER) / 400;
    let slots = HEADER + groups * 16;
    let taken: Vec<usize> = (0..groups * 16)
        .filter(|n| whole[HEADER + n] != 0)
        .collect();
    let damage: [(&str, Harm); 5] = [
        ("tag cleared", |b, tag, _| b[tag] = 0),
        ("tag changed", |b, tag, _| b[tag] ^= 0x40),
        ("no term", |b, _, slot| put(b, slot + 16, 0)),
        ("kind 0", |b, _, slot| b[slot] &= 0xf0),
        ("kind 15", |b, _, slot| b[slot] |= 0x0f),
    ];
    for number in taken {
        for (name, harm) in damage {
            let mut harmed = whole.clone();
            harm(&mut harmed, HEADER + number, slots + number * 24);
            let error = refused(sealed(harmed));
            assert!(
                matches!(error, SnapshotError::Misplaced { .. }),
                "{name}: {error:?}"
            );
        }
    }
}

#[test]
fn two_entries_in_the_wrong_order_are_refused() {
    let whole = bytes(100);
    let groups = (whole.len() - HEADER) / 400;
    let slots = HEADER + groups * 16;
    let mut swapped = whole.clone();
    for (offset, size, base) in [(0, 1, HEADER), (0, 24, slots)] {
        let first = base + offset;
        let (left, right) = swapped[first..first + 2 * size].split_at_mut(size);
        left.swap_with_slice(right);
    }
    let error = refused(sealed(swapped));
    assert!(
        matches!(error, SnapshotError::Misplaced { .. }),
        "{error:?}"
    );
}

#[test]
fn sto_015_a_revision_at_its_end_is_an_error_and_does_not_wrap() {
    let mut last = bytes(3);
    put(&mut last, 32, u64::MAX);
    assert!(matches!(
        refused(sealed(last)),
        SnapshotError::Revision { .. }
    ));

    let revision = (1 << 63) - 1;
    let mut nearly = bytes(3);
    put(&mut nearly, 32, revision);
    let snapshot = RevocationSnapshot::from_bytes(sealed(nearly)).unwrap();
    let revocations = Revocations::from_snapshot(snapshot);
    let error = RevokeError::RevisionExhausted { revision };
    assert_eq!(revocations.revoke(token("new"), at(9_000)), Err(error));
    assert_eq!(
        revocations.revoke(token("1"), at(9_000)),
        Ok(()),
        "is revoked already"
    );
    assert!(revocations.check(&token("1"), None, at(2_000)).is_err());
    assert_eq!(revocations.stats().revision(), revision);
}

#[test]
fn sto_016_a_time_after_the_year_9999_is_refused() {
    let mut late = bytes(3);
    put(&mut late, 40, u64::MAX);
    assert_eq!(
        refused(sealed(late)),
        SnapshotError::Time { seconds: u64::MAX }
    );
}

#[test]
fn sets_under_different_keys_are_not_merged() {
    let other = Revocations::new([6; 16], at(1_000));
    let error = other.merge(&filled(3).snapshot().unwrap());
    assert_eq!(error, Err(MergeError::DifferentKey));
    assert_eq!(other.stats().entries(), 0);
}

#[test]
fn sto_010_an_older_snapshot_takes_nothing_back() {
    let revocations = filled(3);
    let old = revocations.snapshot().unwrap();
    revocations.revoke(token("later"), at(9_000)).unwrap();
    revocations.revoke(token("1"), at(99_000)).unwrap();
    let (epoch, revision) = (revocations.epoch(), revocations.stats().revision());
    revocations.merge(&old).unwrap();
    assert!(revocations.check(&token("later"), None, at(2_000)).is_err());
    assert!(revocations.check(&token("1"), None, at(99_000)).is_err());
    assert_eq!(revocations.epoch(), epoch, "nothing changed");
    assert_eq!(revocations.stats().revision(), revision);
}

#[test]
fn a_follower_takes_on_the_revision_of_the_snapshot_it_merges() {
    let publisher = filled(3);
    let follower = Revocations::new([5; 16], at(1_000));
    follower.merge(&publisher.snapshot().unwrap()).unwrap();
    assert_eq!(follower.stats().revision(), publisher.stats().revision());
    let ours = follower.snapshot().unwrap();
    assert_eq!(ours.as_bytes(), publisher.snapshot().unwrap().as_bytes());

    follower.revoke(token("of its own"), at(9_000)).unwrap();
    publisher.revoke(token("4"), at(9_000)).unwrap();
    let before = follower.stats().revision();
    follower.merge(&publisher.snapshot().unwrap()).unwrap();
    assert!(
        follower.stats().revision() > before,
        "a change is a new revision"
    );
}

/// A buffer that is emptied after it was checked, as a mapped file can be.
struct Shrinking(Arc<std::sync::OnceLock<()>>, Vec<u8>);

impl AsRef<[u8]> for Shrinking {
    fn as_ref(&self) -> &[u8] {
        if self.0.get().is_some() { &[] } else { &self.1 }
    }
}

#[test]
fn bytes_that_change_after_the_check_revoke_everything_and_panic_nowhere() {
    let gone = Arc::new(std::sync::OnceLock::new());
    let snapshot =
        RevocationSnapshot::from_bytes(Shrinking(Arc::clone(&gone), bytes(100))).unwrap();
    let revocations = Revocations::from_snapshot(snapshot.clone());
    assert!(revocations.check(&token("good"), None, at(2_000)).is_ok());
    gone.set(()).unwrap();
    assert!(revocations.check(&token("good"), None, at(2_000)).is_err());
    assert_eq!(
        revocations.revoke(token("new"), at(9_000)),
        Err(RevokeError::SnapshotChanged)
    );
    assert!(snapshot.as_bytes().is_empty());
}
