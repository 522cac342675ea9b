//! Writing a table from sorted entries, in one pass from front to back.

use std::sync::Arc;

use super::{PROBE_LIMIT, SLOT_BYTES, Table};
use crate::checksum::checksum;
use crate::error::RevokeError;
use crate::fingerprint::Fingerprint;
use crate::header::{Counts, HEADER_BYTES, Header, UNSUMMED_BYTES};
use crate::term::Entry;

/// Homes for each four entries: tables are four fifths full, 30 bytes an entry.
const HOMES_PER_FOUR: u64 = 5;
/// How often more homes are tried if entries stand too far from theirs. Under a secret key the
/// first try succeeds.
const TRIES: u32 = 3;

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
    let mut homes = (total * HOMES_PER_FOUR).div_ceil(4).max(1);
    for _ in 0..TRIES {
        if let Some(table) = place(entries(), homes, total, Header { counts, ..header }) {
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

/// Places `total` entries; `None` if one would stand too far from its home.
fn place(
    entries: impl Iterator<Item = Entry>,
    homes: u64,
    total: u64,
    header: Header,
) -> Option<Table> {
    // Room for the entries of the last homes, cut off below if they do not need it.
    let room = usize::try_from(homes + total.min(PROBE_LIMIT as u64)).ok()?;
    let mut bytes = vec![0_u8; HEADER_BYTES + room.checked_mul(SLOT_BYTES)?];
    let mut slots = bytes.get_mut(HEADER_BYTES..)?.chunks_exact_mut(SLOT_BYTES);
    let mut next = 0;
    for entry in entries {
        let home = entry.fingerprint.home(homes);
        let skipped = home.saturating_sub(next);
        if next.saturating_sub(home) >= PROBE_LIMIT as u64 {
            return None;
        }
        write_slot(slots.nth(skipped as usize)?, entry);
        next += skipped + 1;
    }
    let header = Header {
        homes,
        slots: next.max(homes),
        ..header
    };
    bytes.truncate(usize::try_from(header.length()?).ok()?);
    bytes.shrink_to_fit();
    seal(&mut bytes, header)?;
    Some(Table::new(Arc::new(bytes), header))
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
