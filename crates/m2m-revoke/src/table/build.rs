//! Writing a table from sorted entries, in one pass from front to back.

use std::sync::Arc;

use super::{Bytes, GROUP, PROBE_LIMIT, PROBE_SLOTS, SLOT_BYTES, Table, tag_and_first_slot};
use crate::checksum::checksum;
use crate::error::RevokeError;
use crate::fingerprint::Fingerprint;
use crate::header::{Counts, HEADER_BYTES, Header, UNSUMMED_BYTES};
use crate::term::Entry;

/// Entries for each home: four fifths of its slots, which makes 31.25 bytes an entry.
const LOAD_PER_FIVE_HOMES: u64 = 4 * GROUP as u64;
/// Groups behind the last home for what that one cannot take, try by try; each try also has twice
/// the homes. Under a secret key the first one succeeds: more than a hundred entries that wait for a
/// place at one point of a table four fifths full are less likely than a broken cipher.
const SPILL: [u64; 3] = [8, PROBE_LIMIT as u64, PROBE_LIMIT as u64];

/// A table of at most `limit` entries. `entries` is asked for them several times: to count them, to
/// place them. What `header` says of homes, slots and counts is not looked at.
pub(crate) fn build<I>(
    header: Header,
    limit: u64,
    entries: impl Fn() -> I,
) -> Result<Table, RevokeError>
where
    I: Iterator<Item = Entry>,
{
    let counts = count(entries())?;
    let total = counts.total();
    if total > limit {
        return Err(RevokeError::Full {
            entries: total,
            limit,
        });
    }
    let header = Header { counts, ..header };
    let mut homes = (total * 5).div_ceil(LOAD_PER_FIVE_HOMES).max(1);
    for spill in SPILL {
        let groups = homes + spill.min(total / GROUP as u64);
        let header = Header {
            homes,
            groups,
            ..header
        };
        if let Some(table) = place(entries(), header) {
            return Ok(table);
        }
        homes *= 2;
    }
    Err(RevokeError::SnapshotChanged)
}

/// Counts entries by kind, and makes sure that they ascend: they do unless bytes that had been
/// checked have changed since.
fn count(entries: impl Iterator<Item = Entry>) -> Result<Counts, RevokeError> {
    let mut counts = Counts::default();
    let mut last = Fingerprint::from_bits(0);
    for entry in entries {
        if entry.fingerprint <= last || !counts.add(entry.fingerprint.tag()) {
            return Err(RevokeError::SnapshotChanged);
        }
        last = entry.fingerprint;
    }
    Ok(counts)
}

/// Places entries in a table as `header` describes it; `None` if one would stand too far from its
/// home or beyond the end.
fn place(entries: impl Iterator<Item = Entry>, header: Header) -> Option<Table> {
    let mut bytes = vec![0_u8; usize::try_from(header.length()?).ok()?];
    let groups = usize::try_from(header.groups).ok()?;
    let (tags, slots) = bytes
        .get_mut(HEADER_BYTES..)?
        .split_at_mut_checked(groups * GROUP)?;
    let mut places = tags.iter_mut().zip(slots.chunks_exact_mut(SLOT_BYTES));
    let mut next = 0;
    for entry in entries {
        let (tag, first) = tag_and_first_slot(entry.fingerprint, header.homes, next);
        let at = first.max(next);
        if at - first >= PROBE_SLOTS {
            return None;
        }
        let (place, slot) = places.nth(usize::try_from(at - next).ok()?)?;
        *place = tag;
        write_slot(slot, entry);
        next = at + 1;
    }
    // The last group must have room, see `check`.
    if next == header.groups * GROUP as u64 {
        return None;
    }
    seal(&mut bytes, header)?;
    Some(Table::new(Bytes::Built(Arc::new(bytes)), header))
}

fn write_slot(slot: &mut [u8], entry: Entry) {
    if let Some(to) = slot.first_chunk_mut::<16>() {
        *to = entry.fingerprint.bits().to_le_bytes();
    }
    if let Some(to) = slot.last_chunk_mut::<8>() {
        *to = entry.term.bits().to_le_bytes();
    }
}

/// Writes the header, with the checksum of all that follows it.
pub(super) fn seal(bytes: &mut [u8], header: Header) -> Option<()> {
    *bytes.first_chunk_mut()? = header.to_bytes(0);
    let sum = checksum(bytes.get(UNSUMMED_BYTES..)?);
    *bytes.first_chunk_mut()? = header.to_bytes(sum);
    Some(())
}
