//! Rows of [`FEED`](super::tables::FEED): each holds some changes of one space, in their order.
//!
//! A group of commits adds a row or two for each space, and not one for each record: those cost
//! nearly as much as the records themselves.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadOnlyTable, ReadableTable, Table};

use super::failure::{Failed, corrupt};
use crate::{Revision, Space};

/// A row that has so many bytes takes no more changes. Small, because it is written anew for each
/// of its records that changes again.
const ROW_BYTES: usize = 1_024;

/// Where a change is in the feed of its space: by which commit, and which of its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) revision: Revision,
    pub(super) place: u32,
}

/// A change: when, and of which record. As bytes `revision (8) ‖ place (4) ‖ length (2) ‖ id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) moment: Moment,
    pub(super) id: &'a [u8],
}

/// What a transaction adds, until its end.
#[derive(Debug, Default)]
pub(super) struct NewChanges(BTreeMap<Box<str>, Vec<(Moment, Vec<u8>)>>);

type Rows<'t> = Table<'t, &'static [u8], &'static [u8]>;

impl NewChanges {
    /// The record `id` changed, later than all that were added before.
    pub(super) fn add(&mut self, space: &str, moment: Moment, id: &[u8]) {
        if !self.0.contains_key(space) {
            self.0.insert(space.into(), Vec::new());
        }
        let Some(rows) = self.0.get_mut(space) else {
            return;
        };
        match rows.last_mut() {
            Some((_, row)) if row.len() < ROW_BYTES => encode(row, moment, id),
            _ => {
                let mut row = Vec::with_capacity(ROW_BYTES + id.len());
                encode(&mut row, moment, id);
                rows.push((moment, row));
            }
        }
    }

    /// The record that changed at `moment` changes again.
    pub(super) fn remove(
        &mut self,
        there: &mut Rows<'_>,
        space: &str,
        moment: Moment,
    ) -> Result<(), Failed> {
        let mut new = self.0.get_mut(space).into_iter().flatten().rev();
        match new.find(|(first, _)| *first <= moment) {
            Some((_, row)) => {
                *row = without(row, moment)?;
                Ok(())
            }
            None => remove(there, space, moment),
        }
    }

    /// Writes them.
    pub(super) fn write(self, there: &mut Rows<'_>) -> Result<(), Failed> {
        for (space, rows) in self.0 {
            for (first, row) in rows.iter().filter(|(_, row)| !row.is_empty()) {
                there.insert(key(&space, *first).as_slice(), row.as_slice())?;
            }
        }
        Ok(())
    }
}

/// Removes the change at `moment`.
pub(super) fn remove(rows: &mut Rows<'_>, space: &str, moment: Moment) -> Result<(), Failed> {
    let (first, here) = (beginning(space), key(space, moment));
    let mut found = None;
    if let Some(row) = rows
        .range::<&[u8]>(first.as_slice()..=here.as_slice())?
        .next_back()
    {
        let (key, row) = row?;
        found = Some((key.value().to_vec(), without(row.value(), moment)?));
    }
    match found {
        None => Err(missing()),
        Some((key, left)) if left.is_empty() => {
            rows.remove(key.as_slice())?;
            Ok(())
        }
        Some((key, left)) => {
            rows.insert(key.as_slice(), left.as_slice())?;
            Ok(())
        }
    }
}

/// The rows in which changes behind `since` are. The first may begin with some that are not.
pub(super) fn behind(
    feed: &ReadOnlyTable<&'static [u8], &'static [u8]>,
    space: &Space,
    since: Revision,
) -> Result<redb::Range<'static, &'static [u8], &'static [u8]>, Failed> {
    let at = |revision, place| key(space.as_str(), Moment { revision, place });
    let (first, here) = (beginning(space.as_str()), at(since, u32::MAX));
    let from = match feed
        .range::<&[u8]>(first.as_slice()..=here.as_slice())?
        .next_back()
    {
        Some(row) => row?.0.value().to_vec(),
        None => here,
    };
    let to = at(Revision::MAX, u32::MAX);
    Ok(feed.range::<&[u8]>((
        Bound::Included(from.as_slice()),
        Bound::Included(to.as_slice()),
    ))?)
}

/// The changes in a row.
pub(super) fn entries(mut row: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Failed>> {
    std::iter::from_fn(move || {
        if row.is_empty() {
            return None;
        }
        let Some((entry, rest)) = split(row) else {
            row = &[];
            return Some(Err(corrupt("the feed has a malformed row")));
        };
        row = rest;
        Some(Ok(entry))
    })
}

/// The key of the row that begins at `first`: space, a zero byte, revision and place.
fn key(space: &str, first: Moment) -> Vec<u8> {
    [
        space.as_bytes(),
        &[0],
        &first.revision.number().to_be_bytes(),
        &first.place.to_be_bytes(),
    ]
    .concat()
}

/// Before each key of `space`.
fn beginning(space: &str) -> Vec<u8> {
    [space.as_bytes(), &[0]].concat()
}

fn encode(row: &mut Vec<u8>, moment: Moment, id: &[u8]) {
    row.extend_from_slice(&moment.revision.number().to_be_bytes());
    row.extend_from_slice(&moment.place.to_be_bytes());
    // At most MAX_ID_BYTES.
    let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(id);
}

fn split(row: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (revision, rest) = row.split_first_chunk::<8>()?;
    let (place, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let moment = Moment {
        revision: Revision::new(u64::from_be_bytes(*revision))?,
        place: u32::from_be_bytes(*place),
    };
    Some((Entry { moment, id }, rest))
}

/// The row without the change at `moment`, which must be there.
fn without(row: &[u8], moment: Moment) -> Result<Vec<u8>, Failed> {
    let mut left = Vec::with_capacity(row.len());
    let mut found = false;
    for entry in entries(row) {
        let Entry { moment: other, id } = entry?;
        match other == moment {
            true => found = true,
            false => encode(&mut left, other, id),
        }
    }
    match found {
        true => Ok(left),
        false => Err(missing()),
    }
}

fn missing() -> Failed {
    corrupt("a record is not in the feed where it says")
}
