//! The flat table: a sorted run of entries with gaps, used in place from its bytes.
//!
//! A fingerprint's *home* is its value scaled to the number of homes, so entries sorted by
//! fingerprint are also sorted by home. Each stands in its home or, if that is taken, in the next
//! free slot. That is linear probing in the one order in which a look-up may stop at the first
//! entry that is greater: a miss costs as much as a hit, about three slots next to each other,
//! even when four slots of five are taken. And because the order is that of the fingerprints, two
//! tables merge in one pass from front to back.

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
pub(crate) const SLOT_BYTES: usize = 24;

/// The farthest an entry may stand from its home, and so the most slots a look-up reads.
///
/// At four fifths full, the farthest of 10^8 entries stands about 500 slots away. Only someone who
/// knows the key can bring more together, and this is then the bound of their success: 96 KiB read
/// in a row.
pub(crate) const PROBE_LIMIT: usize = 4096;

/// Where a table's bytes are. A memory map, a buffer, a static.
pub(crate) type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A table that has been checked or was built here.
#[derive(Clone)]
pub(crate) struct Table {
    bytes: Bytes,
    length: usize,
    header: Header,
}

/// The bytes are no longer those that were checked: what is mapped was written to.
#[derive(Debug)]
pub(crate) struct BytesChanged;

impl Table {
    /// A table of `bytes`, which [`check`] has accepted or [`build`] has made.
    pub(crate) fn new(bytes: Bytes, header: Header) -> Self {
        let length = (*bytes).as_ref().len();
        Self {
            bytes,
            length,
            header,
        }
    }

    /// A table without entries.
    pub(crate) fn empty(key: [u8; 16], horizon: Timestamp) -> Self {
        let mut bytes = vec![0; HEADER_BYTES + SLOT_BYTES];
        let header = Header {
            key,
            revision: 0,
            horizon,
            homes: 1,
            slots: 1,
            counts: Counts::default(),
        };
        build::seal(&mut bytes, header);
        Self::new(Arc::new(bytes), header)
    }

    pub(crate) const fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The term of `fingerprint`, or [`Term::NONE`].
    ///
    /// Reads at most [`PROBE_LIMIT`] slots whatever the bytes are.
    #[inline]
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Result<Term, BytesChanged> {
        let bytes = self.bytes();
        let home = fingerprint.home(self.header.homes) as usize;
        // `home` is less than `homes`, hence than `slots`, and `slots` fit in the length: no
        // overflow, and no start beyond the end unless the bytes have shrunk.
        let slots = match bytes.get(HEADER_BYTES + home * SLOT_BYTES..) {
            Some(slots) if bytes.len() == self.length => slots,
            _ => return Err(BytesChanged),
        };
        let mut read = 0;
        for slot in slots.chunks_exact(SLOT_BYTES).take(PROBE_LIMIT) {
            let entry = read_slot(slot);
            if entry.fingerprint >= fingerprint || entry.term.is_none() {
                let found = entry.fingerprint == fingerprint;
                return Ok(if found { entry.term } else { Term::NONE });
            }
            read += 1;
        }
        if read == PROBE_LIMIT {
            Err(BytesChanged)
        } else {
            Ok(Term::NONE)
        }
    }

    /// The entries in ascending order of their fingerprints.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        slots(self.bytes())
            .map(read_slot)
            .filter(|entry| !entry.term.is_none())
    }
}

/// Checks that every entry of `bytes` stands where a look-up finds it and that there are as many
/// as the header says.
///
/// One pass from front to back, at about the speed of memory; nothing is copied or allocated.
pub(crate) fn check(bytes: &[u8], header: &Header) -> Result<(), SnapshotError> {
    let mut counts = Counts::default();
    let mut last = Fingerprint::from_bits(0);
    // The first slot after the last gap: an entry whose home is before it would not be found.
    let mut run = 0;
    for (at, slot) in (0_u64..).zip(slots(bytes)) {
        let entry = read_slot(slot);
        if entry.term.is_none() {
            run = at + 1;
            if entry.fingerprint.bits() != 0 {
                return Err(SnapshotError::Misplaced { slot: at });
            }
            continue;
        }
        let home = entry.fingerprint.home(header.homes);
        let reachable = run <= home && home <= at && at - home < PROBE_LIMIT as u64;
        if !reachable || entry.fingerprint <= last || !counts.add(entry.fingerprint.tag()) {
            return Err(SnapshotError::Misplaced { slot: at });
        }
        last = entry.fingerprint;
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

fn slots(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .get(HEADER_BYTES..)
        .unwrap_or_default()
        .chunks_exact(SLOT_BYTES)
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
