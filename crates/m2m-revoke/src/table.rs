//! The flat table: sorted entries with gaps, in groups of sixteen, used in place from its bytes.
//!
//! A fingerprint's *home* is the group its value gives when it is scaled to the number of groups, so
//! entries sorted by fingerprint are also sorted by home. Each stands in its home or, if that is
//! full, in the next slot that is free; a group is filled from its front. Because the order is that
//! of the fingerprints, two tables merge in one pass from front to back.
//!
//! Before all slots come their tags, a byte for each: 0 if it is free, 1 if its entry belongs to an
//! earlier group, else 2 to 255 by where in the range of its home the fingerprint lies. Within a
//! group they ascend. A look-up compares the sixteen tags of the home at once and reads the slots
//! whose tag fits: one if the target is there, mostly none if it is not. It goes on to the next group
//! only if the last tag is not greater than the one it wants, which one look-up in eighteen does
//! although more than one group in four is full. So it touches one line of memory for a miss and two
//! for a hit, and has few branches to guess wrong, at 31.25 bytes an entry.

mod build;
mod merge;

use std::sync::Arc;

use m2m_types::Timestamp;

use crate::bits::first_word;
use crate::error::SnapshotError;
use crate::fingerprint::Fingerprint;
use crate::header::{Counts, HEADER_BYTES, Header};
use crate::term::{Entry, Term};

pub(crate) use build::build;
pub(crate) use merge::union;

/// 16 bytes of fingerprint, 8 of term. Little-endian.
const SLOT_BYTES: usize = 24;
/// Slots of a group.
const GROUP: usize = 16;
/// Bytes of a group, its tags included.
pub(crate) const GROUP_BYTES: usize = GROUP * (1 + SLOT_BYTES);

/// The most groups a look-up reads.
///
/// At four fifths full, a handful is as far as any of 10⁸ entries stands from its home. Only someone
/// who knows the key can bring more together, and this is then the bound of their success: 4 KiB of
/// tags, and the slots whose tags they made equal.
pub(crate) const PROBE_LIMIT: usize = 256;

/// Where a table's bytes are.
#[derive(Clone)]
pub(crate) enum Bytes {
    /// Built here. Apart from the others because a look-up finds these without a virtual call.
    Built(Arc<Vec<u8>>),
    /// A memory map, a buffer, a static.
    Given(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

/// A table that has been checked or was built here.
#[derive(Clone)]
pub(crate) struct Table {
    bytes: Bytes,
    groups: usize,
    header: Header,
}

/// The bytes are no longer those that were checked: what is mapped was written to.
#[derive(Debug)]
pub(crate) struct BytesChanged;

impl Table {
    /// A table of `bytes`, which [`check`] has accepted or [`build`] has made.
    pub(crate) fn new(bytes: Bytes, header: Header) -> Self {
        Self {
            groups: header.groups as usize,
            bytes,
            header,
        }
    }

    /// A table without entries.
    pub(crate) fn empty(key: [u8; 16], horizon: Timestamp) -> Self {
        let mut bytes = vec![0; HEADER_BYTES + GROUP_BYTES];
        let header = Header {
            key,
            revision: 0,
            horizon,
            homes: 1,
            groups: 1,
            counts: Counts::default(),
        };
        build::seal(&mut bytes, header);
        Self::new(Bytes::Built(Arc::new(bytes)), header)
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Built(bytes) => bytes,
            Bytes::Given(bytes) => (**bytes).as_ref(),
        }
    }

    /// The term of `fingerprint`, or [`Term::NONE`].
    ///
    /// Reads at most [`PROBE_LIMIT`] groups whatever the bytes are.
    #[inline(always)] // the whole of a look-up is to be one run of instructions
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Result<Term, BytesChanged> {
        let bytes = self.bytes();
        let (home, tag) = home_and_tag(fingerprint, self.header.homes);
        // A home is less than `homes`, hence than `groups`, and those fit in the length.
        let home = home as usize;
        let tags = group_tags(bytes, home).ok_or(BytesChanged)?;
        let found = self.find_tagged(bytes, home, tags, tag, fingerprint)?;
        // One comparison for "full, and the last tag is not greater": a free slot wraps to 255.
        if found.is_none() && last_tag(tags).wrapping_sub(1) < tag {
            return self.find_spilled(bytes, home, fingerprint);
        }
        Ok(found)
    }

    /// Looks behind the home. Seldom: not inlined, so that the way above stays short.
    #[inline(never)]
    fn find_spilled(
        &self,
        bytes: &[u8],
        home: usize,
        fingerprint: Fingerprint,
    ) -> Result<Term, BytesChanged> {
        for group in (home + 1..self.groups).take(PROBE_LIMIT) {
            let tags = group_tags(bytes, group).ok_or(BytesChanged)?;
            let found = self.find_tagged(bytes, group, tags, SPILLED, fingerprint)?;
            if !found.is_none() || last_tag(tags) != SPILLED {
                return Ok(found);
            }
        }
        // The limit, or an end that is full: neither is in a table that was checked.
        Err(BytesChanged)
    }

    /// Reads those slots of one group whose tag fits.
    #[inline]
    fn find_tagged(
        &self,
        bytes: &[u8],
        group: usize,
        tags: u128,
        tag: u8,
        fingerprint: Fingerprint,
    ) -> Result<Term, BytesChanged> {
        let mut fitting = zero_bytes(tags ^ sixteen_times(tag));
        while fitting != 0 {
            let at = group * GROUP + (fitting.trailing_zeros() / u8::BITS) as usize;
            let entry = self.slot(bytes, at).ok_or(BytesChanged)?;
            if entry.fingerprint == fingerprint {
                return Ok(entry.term);
            }
            fitting &= fitting - 1;
        }
        Ok(Term::NONE)
    }

    #[inline]
    fn slot(&self, bytes: &[u8], at: usize) -> Option<Entry> {
        let start = HEADER_BYTES + self.groups * GROUP + at * SLOT_BYTES;
        bytes.get(start..start + SLOT_BYTES).map(read_slot)
    }

    /// The entries in ascending order of their fingerprints.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let (tags, slots) = tags_and_slots(self.bytes(), &self.header).unwrap_or_default();
        let slots = tags.iter().zip(slots.chunks_exact(SLOT_BYTES));
        slots
            .filter(|(tag, _)| **tag != 0)
            .map(|(_, slot)| read_slot(slot))
    }
}

/// Checks that every entry of `bytes` stands where a look-up finds it and that there are as many
/// as the header says.
///
/// One pass from front to back, at about the speed of memory; nothing is copied or allocated.
pub(crate) fn check(bytes: &[u8], header: &Header) -> Result<(), SnapshotError> {
    let (tags, slots) = tags_and_slots(bytes, header).unwrap_or_default();
    let mut counts = Counts::default();
    let mut last = Fingerprint::from_bits(0);
    let mut next = 0;
    for ((at, stated), slot) in (0_u64..).zip(tags).zip(slots.chunks_exact(SLOT_BYTES)) {
        let entry = read_slot(slot);
        if *stated == 0 {
            if entry != FREE {
                return Err(SnapshotError::Misplaced { slot: at });
            }
            continue;
        }
        let (tag, first) = tag_and_first_slot(entry.fingerprint, header.homes, next);
        let is_found = *stated == tag
            && !entry.term.is_none()
            && at == first.max(next)
            && at - first < PROBE_SLOTS;
        if !is_found || entry.fingerprint <= last || !counts.add(entry.fingerprint.tag()) {
            return Err(SnapshotError::Misplaced { slot: at });
        }
        last = entry.fingerprint;
        next = at + 1;
    }
    // The last group has room, so that no look-up ends without an answer.
    if next == header.groups * GROUP as u64 {
        return Err(SnapshotError::Misplaced { slot: next - 1 });
    }
    match header.counts.first_difference(&counts) {
        None => Ok(()),
        Some(kind) => Err(SnapshotError::Count {
            kind,
            stated: header.counts.of(kind),
            found: counts.of(kind),
        }),
    }
}

/// How far from the front of its home an entry may stand, in slots.
const PROBE_SLOTS: u64 = ((PROBE_LIMIT - 1) * GROUP) as u64;

const FREE: Entry = Entry {
    fingerprint: Fingerprint::from_bits(0),
    term: Term::NONE,
};

/// The tag of an entry that stands behind its home.
const SPILLED: u8 = 1;
/// The least tag of an entry that stands in its home.
const FIRST_TAG: u64 = 2;
const TAGS: u64 = 256 - FIRST_TAG;

/// The home of `fingerprint`, and its tag there.
#[inline]
const fn home_and_tag(fingerprint: Fingerprint, homes: u64) -> (u64, u8) {
    let (home, rest) = fingerprint.home(homes);
    let tag = FIRST_TAG + (((rest >> 32) * TAGS) >> 32);
    (home, tag as u8)
}

/// The tag of `fingerprint` if slots before `next` are taken, and the first slot of its home.
fn tag_and_first_slot(fingerprint: Fingerprint, homes: u64, next: u64) -> (u8, u64) {
    let (home, tag) = home_and_tag(fingerprint, homes);
    let first = home * GROUP as u64;
    if next < first + GROUP as u64 {
        (tag, first)
    } else {
        (SPILLED, first)
    }
}

const EACH_BYTE: u64 = u64::MAX / 0xff;
const EACH_OF_SIXTEEN: u128 = u128::MAX / 0xff;

#[inline]
const fn sixteen_times(byte: u8) -> u128 {
    let eight = byte as u64 * EACH_BYTE;
    ((eight as u128) << 64) | eight as u128
}

#[inline]
const fn last_tag(tags: u128) -> u8 {
    (tags >> (u128::BITS - u8::BITS)) as u8
}

/// The high bit of each byte of `word` that is zero. May also set that of a byte above a zero one,
/// so whoever uses it looks twice.
#[inline]
const fn zero_bytes(word: u128) -> u128 {
    word.wrapping_sub(EACH_OF_SIXTEEN) & !word & (EACH_OF_SIXTEEN << 7)
}

#[inline]
fn sixteen(bytes: &[u8]) -> u128 {
    bytes.first_chunk().map_or(0, |b| u128::from_le_bytes(*b))
}

/// The tags of a group, the first in the lowest byte.
#[inline]
fn group_tags(bytes: &[u8], group: usize) -> Option<u128> {
    let start = HEADER_BYTES + group * GROUP;
    bytes.get(start..start + GROUP).map(sixteen)
}

fn tags_and_slots<'a>(bytes: &'a [u8], header: &Header) -> Option<(&'a [u8], &'a [u8])> {
    let groups = usize::try_from(header.groups).ok()?;
    bytes
        .get(HEADER_BYTES..)?
        .split_at_checked(groups.checked_mul(GROUP)?)
}

/// Reads a slot of [`SLOT_BYTES`] bytes. A free one is all zero.
#[inline]
fn read_slot(slot: &[u8]) -> Entry {
    let bits = slot
        .first_chunk::<16>()
        .map_or(0, |b| u128::from_le_bytes(*b));
    let term = slot.last_chunk::<8>().map_or(0, |b| first_word(b));
    Entry {
        fingerprint: Fingerprint::from_bits(bits),
        term: Term::from_bits(term),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::RevokeError;
    use crate::fingerprint::Fingerprints;
    use crate::target::Kind;

    fn header() -> Header {
        *Table::empty([0; 16], Timestamp::MIN).header()
    }

    /// An entry of a fingerprint with the given highest and lowest bits.
    fn entry(high: u64, low: u64) -> Entry {
        let kind = u128::from(Kind::Token.tag());
        let bits = (u128::from(high) << 64) | (u128::from(low) << 4) | kind;
        Entry {
            fingerprint: Fingerprint::from_bits(bits),
            term: Term::from_bits(low + 1),
        }
    }

    fn built(entries: &[Entry]) -> Result<Table, RevokeError> {
        build(header(), u64::MAX, || entries.iter().copied())
    }

    fn assert_holds(table: &Table, entries: &[Entry]) {
        assert!(check(table.bytes(), table.header()).is_ok());
        assert!(table.entries().eq(entries.iter().copied()));
        for entry in entries {
            assert_eq!(table.find(entry.fingerprint).unwrap(), entry.term);
            let beside = Fingerprint::from_bits(entry.fingerprint.bits() ^ (1 << 60));
            let is_entry = entries.iter().any(|other| other.fingerprint == beside);
            assert_eq!(table.find(beside).unwrap().is_none(), !is_entry);
        }
    }

    proptest! {
        #[test]
        fn every_entry_is_found_however_they_crowd(
            // Few distinct high halves, at both ends and in the middle: long runs of one home.
            places in proptest::collection::btree_set(
                (prop_oneof![Just(0), Just(u64::MAX), Just(1 << 63), any::<u64>()], 0..500_u64),
                0..400,
            ),
        ) {
            let entries: Vec<Entry> = places.into_iter().map(|(high, low)| entry(high, low)).collect();
            assert_holds(&built(&entries).unwrap(), &entries);
        }
    }

    #[test]
    fn dos_003_entries_made_to_crowd_one_place_cost_a_bounded_look_up_or_are_refused() {
        let crowd: Vec<Entry> = (0..5_000).map(|low| entry(u64::MAX / 2, low)).collect();
        let bearable = &crowd[..PROBE_SLOTS as usize];
        let table = built(bearable).unwrap();
        let (first, last) = (bearable[0], bearable[bearable.len() - 1]);
        assert_eq!(table.find(first.fingerprint).unwrap(), first.term);
        assert_eq!(table.find(last.fingerprint).unwrap(), last.term);
        assert!(built(&crowd).is_err());
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        let entries = [entry(2, 0), entry(1, 0)];
        assert!(built(&entries).is_err());
        assert!(built(&[entry(1, 0), entry(1, 0)]).is_err());
    }

    /// How many of 10,000 names that are not in it leave their home in a table of as many that are.
    fn leave_home(key: u8, name: impl Fn(u64) -> String) -> usize {
        let fingerprints = Fingerprints::new(&[key; 16]);
        let scope = fingerprints.scope(Kind::Token, &[]);
        let of = |number: u64| fingerprints.of(&scope, name(number).as_bytes());
        let held = (0..10_000).map(|number| Entry {
            fingerprint: of(number),
            term: Term::EVERYTHING,
        });
        let mut held: Vec<Entry> = held.collect();
        held.sort_unstable_by_key(|entry| entry.fingerprint);
        let table = built(&held).unwrap();
        let leave = (10_000..20_000).filter(|number| {
            let (home, tag) = home_and_tag(of(*number), table.header.homes);
            let tags = group_tags(table.bytes(), home as usize).unwrap();
            last_tag(tags).wrapping_sub(1) < tag
        });
        leave.count()
    }

    #[test]
    fn few_look_ups_leave_their_home_however_alike_the_names_are_and_whatever_the_key_is() {
        // What can be made of a number and differs in few bits, at either end.
        let kinds_of_names: [fn(u64) -> String; 5] = [
            |n| n.to_string(),
            |n| format!("{n:016}"),
            |n| format!("{n:08x}-0000-4000-8000-000000000000"),
            |n| format!("spiffe://example.org/ns/default/{n:05}"),
            |n| char::from_u32(0x1_0000 + n as u32).map_or_else(String::new, String::from),
        ];
        // As many as with SipHash, where it is 520 with a standard deviation of 60.
        for key in 0..40 {
            for (kind, name) in kinds_of_names.iter().enumerate() {
                let leave = leave_home(key, name);
                assert!((250..850).contains(&leave), "key {key}, {kind}: {leave}");
            }
        }
    }

    #[test]
    fn zero_bytes_are_found_and_a_false_one_only_above_a_true_one() {
        for at in 0..16 {
            let word = EACH_OF_SIXTEEN & !(0xff << (8 * at));
            let found = zero_bytes(word);
            assert_eq!(found.trailing_zeros() / 8, at);
        }
        assert_eq!(zero_bytes(EACH_OF_SIXTEEN * 0x80), 0);
        assert_eq!(zero_bytes(u128::MAX), 0);
    }
}
