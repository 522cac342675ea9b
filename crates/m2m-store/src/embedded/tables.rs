//! What is in the file: redb's tables, how a record is laid out in them, and how they are read.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::failure::{Failed, corrupt};
use super::feed::{self, Entry, Moment};
use crate::seal::Sealed;
use crate::{
    Change, ChangePage, Changes, Cursor, Incarnation, Key, MAX_PAGE_BYTES, MAX_PAGE_RECORDS, Page,
    Place, Record, Revision, Scan, Sealer, Space,
};

/// By name: see the constants below.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// Sorted key → [`Stored`], tombstones included.
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Space, a zero byte, revision and place in its batch (big endian) of the first of some changes →
/// these changes; see [`feed`](super::feed). Each record once.
pub(super) const FEED: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("feed");
/// Revision of the first of some commits → their idempotency keys; see
/// [`requests`](super::requests).
pub(super) const REQUESTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("requests");

/// Version of all this: a `u32`, big endian.
pub(super) const FORMAT: &str = "format";
/// Which store this is: 16 bytes, drawn once. Values are bound to it.
pub(super) const STORE: &str = "store";
/// Which life of it ([`Incarnation`]).
pub(super) const INCARNATION: &str = "incarnation";
/// The newest revision: a `u64`, big endian.
pub(super) const HEAD: &str = "head";
/// Up to which revision tombstones may be missing: a `u64`, big endian.
pub(super) const FLOOR: &str = "floor";
/// How many tombstones there are: a `u64`, big endian.
pub(super) const TOMBSTONES: &str = "tombstones";
/// The data key, wrapped by the outer key.
pub(super) const DATA_KEY: &str = "data key";

/// All tables whose layout is bytes to bytes.
pub(super) const BYTE_TABLES: [TableDefinition<'_, &[u8], &[u8]>; 2] = [RECORDS, FEED];

/// A row of [`RECORDS`]: `flags (1) ‖ revision (8) ‖ place (4) ‖ summary length (2) ‖ summary ‖
/// sealed value`. A tombstone has neither.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) moment: Moment,
    pub(super) content: Option<Content<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a> {
    pub(super) summary: Option<&'a str>,
    pub(super) sealed: &'a [u8],
}

const TOMBSTONE: u8 = 0;
const WITHOUT_SUMMARY: u8 = 1;
const WITH_SUMMARY: u8 = 2;

impl<'a> Stored<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&flag, rest) = bytes.split_first()?;
        let (revision, rest) = rest.split_first_chunk::<8>()?;
        let (place, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (summary, sealed) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let summary = std::str::from_utf8(summary).ok()?;
        let content = match flag {
            TOMBSTONE if rest.is_empty() => None,
            WITHOUT_SUMMARY if summary.is_empty() => Some(Content {
                summary: None,
                sealed,
            }),
            WITH_SUMMARY => Some(Content {
                summary: Some(summary),
                sealed,
            }),
            _ => return None,
        };
        Some(Self {
            moment: Moment {
                revision: Revision::new(u64::from_be_bytes(*revision))?,
                place: u32::from_be_bytes(*place),
            },
            content,
        })
    }
}

/// What is stored at a key that changes at `moment`: a summary, and a value that was sealed for it.
/// Without them it is a tombstone.
pub(super) fn encode(moment: Moment, content: Option<(Option<&str>, &Sealed)>) -> Vec<u8> {
    let (flag, summary, sealed) = match content {
        None => (TOMBSTONE, None, [&[][..]; 2]),
        Some((summary, (salt, sealed))) => {
            let flag = match summary {
                Some(_) => WITH_SUMMARY,
                None => WITHOUT_SUMMARY,
            };
            (flag, summary, [salt.as_slice(), sealed])
        }
    };
    let summary = summary.unwrap_or_default();
    // At most MAX_SUMMARY_BYTES.
    let length = u16::try_from(summary.len()).unwrap_or(u16::MAX);
    let [salt, sealed] = sealed;
    [
        &[flag],
        moment.revision.number().to_be_bytes().as_slice(),
        &moment.place.to_be_bytes(),
        &length.to_be_bytes(),
        summary.as_bytes(),
        salt,
        sealed,
    ]
    .concat()
}

/// The numbers in [`META`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) incarnation: Incarnation,
    pub(super) head: Revision,
    pub(super) floor: Revision,
    pub(super) tombstones: u64,
}

impl Marks {
    pub(super) fn read(
        meta: &impl ReadableTable<&'static str, &'static [u8]>,
    ) -> Result<Self, Failed> {
        Ok(Self {
            incarnation: Incarnation::from_bytes(read_bytes(meta, INCARNATION)?),
            head: read_revision(meta, HEAD)?,
            floor: read_revision(meta, FLOOR)?,
            tombstones: u64::from_be_bytes(read_bytes(meta, TOMBSTONES)?),
        })
    }

    pub(super) fn place(&self) -> Cursor {
        Cursor::new(self.incarnation, self.head)
    }
}

/// `N` bytes of [`META`].
pub(super) fn read_bytes<const N: usize>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<[u8; N], Failed> {
    let row = meta.get(name)?;
    let bytes = row.and_then(|row| row.value().try_into().ok());
    bytes.ok_or_else(|| corrupt(format_args!("the entry {name:?} is missing or malformed")))
}

fn read_revision(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<Revision, Failed> {
    let number = u64::from_be_bytes(read_bytes(meta, name)?);
    Revision::new(number).ok_or_else(|| corrupt(format_args!("the entry {name:?} is {number}")))
}

/// One state of the file, to read from.
pub(super) struct Reading<'a> {
    transaction: ReadTransaction,
    sealer: &'a Sealer,
}

impl<'a> Reading<'a> {
    pub(super) fn begin(database: &redb::Database, sealer: &'a Sealer) -> Result<Self, Failed> {
        Ok(Self {
            transaction: database.begin_read()?,
            sealer,
        })
    }

    pub(super) fn transaction(&self) -> &ReadTransaction {
        &self.transaction
    }

    pub(super) fn marks(&self) -> Result<Marks, Failed> {
        Marks::read(&self.transaction.open_table(META)?)
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Record>, Failed> {
        let records = self.transaction.open_table(RECORDS)?;
        match records.get(key.as_sorted_bytes())? {
            Some(row) => self.record(key.clone(), decode(key, row.value())?),
            None => Ok(None),
        }
    }

    pub(super) fn scan(&self, scan: &Scan) -> Result<Page, Failed> {
        let records = self.transaction.open_table(RECORDS)?;
        let prefix = scan.sorted_prefix();
        let from = match scan.behind().map(Key::as_sorted_bytes) {
            Some(behind) if behind >= prefix.as_slice() => Bound::Excluded(behind),
            _ => Bound::Included(prefix.as_slice()),
        };
        let mut page = Vec::new();
        let (mut bytes, mut next) = (0, None);
        for row in records.range::<&[u8]>((from, Bound::Unbounded))? {
            let (key, row) = row?;
            if !key.value().starts_with(&prefix) {
                break;
            }
            let key = read_key(key.value())?;
            let stored = decode(&key, row.value())?;
            let Some(record) = self.record(key, stored)? else {
                continue;
            };
            if page.len() == scan.limit() || bytes >= MAX_PAGE_BYTES {
                next = page.last().map(|last: &Record| last.key().clone());
                break;
            }
            bytes += record.value().len();
            page.push(record);
        }
        Ok(Page::new(page, next, self.marks()?.place()))
    }

    pub(super) fn changes(
        &self,
        space: &Space,
        since: Cursor,
        limit: usize,
    ) -> Result<Changes, Failed> {
        let marks = self.marks()?;
        if !since.is_known(marks.floor, marks.place()) {
            return Ok(Changes::TooOld);
        }
        let at = |revision| since.advance(revision, marks.place());
        let limit = limit.clamp(1, MAX_PAGE_RECORDS);
        let feed = self.transaction.open_table(FEED)?;
        let records = self.transaction.open_table(RECORDS)?;
        let (mut changes, mut bytes) = (Vec::<Change>::new(), 0);
        for row in feed::behind(&feed, space, since.revision())? {
            let (_, row) = row?;
            for entry in feed::entries(row.value()) {
                let entry = entry?;
                let revision = entry.moment.revision;
                if revision <= since.revision() {
                    continue;
                }
                let full = changes.len() >= limit || bytes >= MAX_PAGE_BYTES;
                if let Some(last) = changes
                    .last()
                    .filter(|last| full && last.revision() != revision)
                {
                    let next = at(last.revision());
                    return Ok(Changes::Some(ChangePage::new(changes, next, true)));
                }
                let change = self.change(&records, space, entry)?;
                if let Change::Put(record) = &change {
                    bytes += record.value().len();
                }
                changes.push(change);
            }
        }
        let next = at(marks.head);
        Ok(Changes::Some(ChangePage::new(changes, next, false)))
    }

    /// What became of the record that an entry of the feed names.
    fn change(
        &self,
        records: &impl ReadableTable<&'static [u8], &'static [u8]>,
        space: &Space,
        entry: Entry<'_>,
    ) -> Result<Change, Failed> {
        let key = Key::new(space, entry.id)
            .map_err(|error| corrupt(format_args!("the feed has a malformed id: {error}")))?;
        let row = records
            .get(key.as_sorted_bytes())?
            .ok_or_else(|| corrupt(format_args!("{key} is in the feed and not there")))?;
        let stored = decode(&key, row.value())?;
        if stored.moment != entry.moment {
            return Err(corrupt(format_args!(
                "{key} is in the feed at another place"
            )));
        }
        let revision = stored.moment.revision;
        Ok(match self.record(key.clone(), stored)? {
            Some(record) => Change::Put(record),
            None => Change::Deleted { key, revision },
        })
    }

    /// What was stored at `key`, unless it is a tombstone.
    fn record(&self, key: Key, stored: Stored<'_>) -> Result<Option<Record>, Failed> {
        let revision = stored.moment.revision;
        let Some(Content { summary, sealed }) = stored.content else {
            return Ok(None);
        };
        let place = Place {
            key: &key,
            revision,
            summary,
        };
        let value = self.sealer.open(place, sealed)?;
        let summary = summary.map(Into::into);
        Ok(Some(Record::new(key, revision, value, summary)))
    }
}

/// A row of [`RECORDS`].
pub(super) fn decode<'a>(key: &Key, row: &'a [u8]) -> Result<Stored<'a>, Failed> {
    Stored::decode(row).ok_or_else(|| corrupt(format_args!("{key} is malformed")))
}

/// A key of [`RECORDS`].
pub(super) fn read_key(bytes: &[u8]) -> Result<Key, Failed> {
    Key::from_sorted_bytes(bytes)
        .map_err(|error| corrupt(format_args!("a key is malformed: {error}")))
}
