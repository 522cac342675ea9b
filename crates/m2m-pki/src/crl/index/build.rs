//! Building an index: of a CRL, or of an index and a delta.

use m2m_types::Timestamp;

use super::blocks::{self, Checked};
use super::header::{Facts, Header, START_BYTES};
use super::key::{Key, Record};
use super::{Bytes, CrlIndex, CrlIndexError};
use crate::crl::read::VerifiedCrl;
use crate::reason::RevocationReason;

/// The index of a complete CRL.
pub(super) fn from_crl(crl: &VerifiedCrl<'_>) -> Result<CrlIndex, CrlIndexError> {
    let epoch = crl.entries().map(|entry| entry.at).min();
    let epoch = epoch.unwrap_or(Timestamp::MIN);
    let mut records = Vec::with_capacity(crl.count());
    for entry in crl.entries() {
        let key = Key::of(entry.serial).ok_or(CrlIndexError::Serial)?;
        // A CRL that removes is a delta, so there is a reason.
        if let Some(reason) = entry.reason {
            records.push(Record::new(key, reason, Some(entry.at), epoch));
        }
    }
    sort(&mut records)?;
    finish(crl, epoch, &records)
}

/// The index of what `index` and `delta` say together.
pub(super) fn with_delta(
    index: &CrlIndex,
    delta: &VerifiedCrl<'_>,
) -> Result<CrlIndex, CrlIndexError> {
    let old = index.records()?;
    let dates = delta.entries().map(|entry| entry.at);
    let start = (!old.is_empty()).then_some(index.header.epoch);
    let epoch = dates.chain(start).min().unwrap_or(Timestamp::MIN);
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for entry in delta.entries() {
        let key = Key::of(entry.serial).ok_or(CrlIndexError::Serial)?;
        match entry.reason {
            Some(reason) => added.push(Record::new(key, reason, Some(entry.at), epoch)),
            None => removed.push(key),
        }
    }
    sort(&mut added)?;
    removed.sort_unstable();
    let twice = removed.windows(2).any(|pair| pair.first() == pair.last());
    let both = |record: &Record| removed.binary_search(&record.key).is_ok();
    if twice || added.iter().any(both) {
        return Err(CrlIndexError::ListedTwice);
    }
    let mut records = Vec::with_capacity(old.len() + added.len());
    let mut new = added.iter().copied().peekable();
    for record in old {
        while let Some(next) = new.next_if(|next| next.key < record.key) {
            records.push(next);
        }
        // What the delta says of a serial is newer.
        if let Some(next) = new.next_if(|next| next.key == record.key) {
            records.push(next);
        } else if removed.binary_search(&record.key).is_err() {
            records.push(moved(&record, index.header.epoch, epoch));
        }
    }
    records.extend(new);
    finish(delta, epoch, &records)
}

/// The same entry, its date counted from elsewhere.
fn moved(record: &Record, from: Timestamp, to: Timestamp) -> Record {
    let code = (record.fact & 15) as u8;
    let reason = RevocationReason::from_code(code);
    let reason = reason.unwrap_or(RevocationReason::Unspecified);
    Record::new(record.key, reason, record.at(from), to)
}

/// Sorts. What is listed twice may be said to be revoked since two dates, for two reasons.
fn sort(records: &mut [Record]) -> Result<(), CrlIndexError> {
    records.sort_unstable_by_key(|record| record.key);
    let same = |pair: &[Record]| pair.first().map(|one| one.key) == pair.last().map(|one| one.key);
    match records.windows(2).any(same) {
        true => Err(CrlIndexError::ListedTwice),
        false => Ok(()),
    }
}

fn finish(
    crl: &VerifiedCrl<'_>,
    epoch: Timestamp,
    records: &[Record],
) -> Result<CrlIndex, CrlIndexError> {
    let (header, mut bytes) = Header::write(&Facts {
        issuer: crl.issuer(),
        number: crl.number(),
        this_update: crl.this_update(),
        next_update: crl.next_update(),
        epoch,
        count: records.len(),
        is_wide: records.iter().any(|record| record.key.is_wide()),
        scope_der: crl.scope_der(),
        key_id: crl.key_id().unwrap_or_default(),
    })?;
    let mut payload = Vec::with_capacity(header.payload_bytes());
    let mut next = 0;
    for bucket in 0..1_usize << header.bits {
        payload.extend_from_slice(&(next as u32).to_le_bytes());
        let rest = records.get(next..).unwrap_or_default();
        let own = rest
            .iter()
            .take_while(|record| record.key.bucket(header.bits) == bucket);
        next += own.count();
    }
    payload.extend_from_slice(&(next as u32).to_le_bytes());
    debug_assert_eq!(payload.len(), ((1 << header.bits) + 1) * START_BYTES);
    payload.extend(records.iter().map(|record| record.key.tag()));
    for record in records {
        record.write(&header, &mut payload);
    }
    bytes.reserve_exact(payload.len() + header.blocks() * blocks::SUM_BYTES);
    bytes.extend(blocks::sums(&payload, header.sum));
    bytes.extend_from_slice(&payload);
    Ok(CrlIndex {
        scope: crl.scope().clone(),
        bytes: Bytes::Built(bytes),
        checked: Checked::all(),
        header,
    })
}
