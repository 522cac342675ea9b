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

#[cfg(test)]
mod tests {
    use redb::{Builder, ReadableDatabase, ReadableTableMetadata, backends::InMemoryBackend};

    use super::*;
    use crate::embedded::tables::FEED;

    fn moment(number: u64) -> Moment {
        Moment {
            revision: Revision::new(number / 3).unwrap(),
            place: u32::try_from(number % 3).unwrap(),
        }
    }

    /// Records that change again and again, in groups, in two spaces of which one's name begins the
    /// other's: whoever begins anywhere hears of each that changed since, once.
    #[test]
    fn each_record_is_told_once_where_it_changed_last() {
        let backend = InMemoryBackend::new();
        let database = Builder::new().create_with_backend(backend).unwrap();
        let spaces = ["a", "ab"];
        let mut expected: BTreeMap<(&str, Vec<u8>), Moment> = BTreeMap::new();
        let mut number = 3;
        let mut random = 1_u64;
        for group in 0..40 {
            let transaction = database.begin_write().unwrap();
            let mut new = NewChanges::default();
            let mut rows = transaction.open_table(FEED).unwrap();
            for _ in 0..[1, 7, 200][group % 3] {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let space = spaces[(random >> 33) as usize % 2];
                let id = vec![(random >> 40) as u8; 1 + (random >> 50) as usize % 90];
                let now = moment(number);
                if let Some(before) = expected.insert((space, id.clone()), now) {
                    new.remove(&mut rows, space, before).unwrap();
                }
                new.add(space, now, &id);
                number += 1;
            }
            let never = moment(number);
            assert!(new.remove(&mut rows, "never", never).is_err());
            new.write(&mut rows).unwrap();
            // Far fewer rows than changes.
            assert!(rows.len().unwrap() <= expected.len() as u64);
            drop(rows);
            transaction.commit().unwrap();
        }
        let reading = database.begin_read().unwrap();
        let feed = reading.open_table(FEED).unwrap();
        assert!(feed.len().unwrap() < expected.len() as u64 / 2);
        for name in spaces {
            let space = Space::new(name).unwrap();
            for since in 0..number / 3 + 2 {
                let since = Revision::new(since).unwrap();
                let mut told = Vec::new();
                for row in behind(&feed, &space, since).unwrap() {
                    let (_, row) = row.unwrap();
                    for entry in entries(row.value()) {
                        let Entry { moment, id } = entry.unwrap();
                        told.push((moment, id.to_vec()));
                    }
                }
                told.retain(|(moment, _)| moment.revision > since);
                let newer = expected
                    .iter()
                    .filter(|((space, _), moment)| *space == name && moment.revision > since);
                let mut newer: Vec<_> = newer.map(|((_, id), at)| (*at, id.clone())).collect();
                newer.sort_unstable();
                assert_eq!(told, newer);
            }
        }
    }

    #[test]
    fn a_row_that_is_cut_or_lengthened_is_malformed() {
        let mut row = Vec::new();
        encode(&mut row, moment(7), b"one");
        encode(&mut row, moment(8), b"other");
        let whole = |row: &[u8]| entries(row).all(|entry| entry.is_ok());
        assert!(whole(&row) && entries(&row).count() == 2);
        let first = row.len() / 2 - 1;
        for end in (1..row.len()).filter(|end| *end != first) {
            assert!(!whole(&row[..end]), "{end}");
        }
        row.push(0);
        assert!(!whole(&row));
    }
}
