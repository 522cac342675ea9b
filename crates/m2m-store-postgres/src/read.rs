//! Reading: each answer is one statement, so each page shows one state whole.

use m2m_store::{
    Change, ChangePage, Changes, Cursor, Incarnation, Key, MAX_BATCH_OPERATIONS, MAX_ID_BYTES,
    MAX_PAGE_BYTES, MAX_PAGE_RECORDS, Page, Place, Record, Revision, Scan, Sealer, Space,
    StoreError,
};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::failure::{Failure, Kind};
use crate::schema;
use crate::session::{ConnectError, Opener, Session, refused};
use crate::transaction::{not_set_back, number, revision};

/// Something to be read, again if need be.
pub(crate) trait Query: Send + Sync {
    /// What is found.
    type Found: Send;

    /// Asks once. `newest` is a place that was seen before: nothing older must be found.
    fn ask(
        &self,
        session: &ReadSession,
        newest: Option<Cursor>,
    ) -> impl Future<Output = Result<Self::Found, Failure>> + Send;
}

/// A page of the feed of a space.
pub(crate) struct ChangesSince {
    pub(crate) space: Space,
    pub(crate) since: Cursor,
    pub(crate) limit: usize,
}

/// A session for reading.
pub(crate) struct ReadSession {
    session: Session,
    get: Statement,
    scan: Statement,
    changes: Statement,
}

impl ReadSession {
    pub(crate) async fn open(opener: &Opener) -> Result<Self, ConnectError> {
        let session = opener.open(None).await?;
        let client = session.client();
        let prepare = |text: &str| {
            let text = opener.schema().fill(text);
            async move { client.prepare(&text).await }
        };
        let prepared = tokio::try_join!(
            prepare(schema::GET),
            prepare(schema::SCAN),
            prepare(schema::CHANGES),
        );
        let (get, scan, changes) = prepared.map_err(|error| refused(&error))?;
        Ok(Self {
            session,
            get,
            scan,
            changes,
        })
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.session.is_usable()
    }
}

impl Query for Key {
    type Found = Option<Sealed>;

    async fn ask(&self, session: &ReadSession, _: Option<Cursor>) -> Result<Self::Found, Failure> {
        let parameters: [&(dyn ToSql + Sync); 2] = [&self.space(), &self.id()];
        let client = session.session.client();
        let row = client.query_opt(&session.get, &parameters).await?;
        let found = row.map(|row| Sealed::new(&row, self.clone(), [0, 1, 2]));
        found.transpose()
    }
}

impl Query for Scan {
    type Found = Rows;

    async fn ask(&self, session: &ReadSession, newest: Option<Cursor>) -> Result<Rows, Failure> {
        let (first, end) = bounds(self);
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &self.space().as_str(),
            &first,
            &end,
            &count(self.limit()),
            &count(MAX_PAGE_BYTES),
            &count(Sealer::OVERHEAD_BYTES),
        ];
        let client = session.session.client();
        let rows = client.query(&session.scan, &parameters).await?;
        let (head, floor) = head_of(&rows, newest)?;
        let mut page = Rows::new(head, floor);
        for row in &rows {
            let Some(key) = key(row, self.space())? else {
                break;
            };
            page.looked_at = row.try_get(7)?;
            page.rows
                .push(Found::Record(Sealed::new(row, key, [4, 5, 6])?));
        }
        Ok(page)
    }
}

impl Query for ChangesSince {
    type Found = Rows;

    async fn ask(&self, session: &ReadSession, newest: Option<Cursor>) -> Result<Rows, Failure> {
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &self.space.as_str(),
            &number(self.since.revision()),
            &count(self.limit.clamp(1, MAX_PAGE_RECORDS)),
            &count(MAX_PAGE_BYTES),
            &count(Sealer::OVERHEAD_BYTES),
            &count(MAX_BATCH_OPERATIONS),
        ];
        let client = session.session.client();
        let rows = client.query(&session.changes, &parameters).await?;
        let (head, floor) = head_of(&rows, newest)?;
        let mut page = Rows::new(head, floor);
        for row in &rows {
            let Some(key) = key(row, &self.space)? else {
                break;
            };
            page.newest = revision(row, 8)?;
            page.rows.push(match row.try_get(5)? {
                true => Found::Tombstone(key, revision(row, 4)?.ok_or_else(damaged)?),
                false => Found::Record(Sealed::new(row, key, [4, 6, 7])?),
            });
        }
        Ok(page)
    }
}

/// A record as it lies in the database.
pub(crate) struct Sealed {
    key: Key,
    revision: Revision,
    summary: Option<Box<str>>,
    value: Vec<u8>,
}

/// What a page was made of, not opened yet.
pub(crate) struct Rows {
    head: Cursor,
    floor: Revision,
    rows: Vec<Found>,
    looked_at: i64,
    newest: Option<Revision>,
}

enum Found {
    Record(Sealed),
    Tombstone(Key, Revision),
}

impl Sealed {
    fn new(row: &Row, key: Key, [version, summary, value]: [usize; 3]) -> Result<Self, Failure> {
        Ok(Self {
            key,
            revision: revision(row, version)?.ok_or_else(damaged)?,
            summary: row.try_get::<_, Option<&str>>(summary)?.map(Box::from),
            value: row.try_get(value)?,
        })
    }

    pub(crate) fn open(self, sealer: &Sealer) -> Result<Record, StoreError> {
        let place = Place {
            key: &self.key,
            revision: self.revision,
            summary: self.summary.as_deref(),
        };
        let value = sealer.open(place, &self.value)?;
        Ok(Record::new(self.key, self.revision, value, self.summary))
    }
}

impl Rows {
    fn new(head: Cursor, floor: Revision) -> Self {
        Self {
            head,
            floor,
            rows: Vec::new(),
            looked_at: 0,
            newest: None,
        }
    }

    pub(crate) fn head(&self) -> Cursor {
        self.head
    }

    pub(crate) fn into_page(self, sealer: &Sealer) -> Result<Page, StoreError> {
        let more = self.looked_at > count(self.rows.len());
        let records = self.rows.into_iter().filter_map(|found| match found {
            Found::Record(sealed) => Some(sealed.open(sealer)),
            Found::Tombstone(..) => None,
        });
        let records = records.collect::<Result<Vec<Record>, _>>()?;
        let last = records.last().filter(|_| more);
        let next = last.map(|last| last.key().clone());
        Ok(Page::new(records, next, self.head))
    }

    pub(crate) fn into_changes(
        self,
        since: Cursor,
        sealer: &Sealer,
    ) -> Result<Changes, StoreError> {
        let head = self.head;
        if !since.is_known(self.floor, head) {
            return Ok(Changes::TooOld);
        }
        let changes = self.rows.into_iter().map(|found| match found {
            Found::Record(sealed) => sealed.open(sealer).map(Change::Put),
            Found::Tombstone(key, revision) => Ok(Change::Deleted { key, revision }),
        });
        let changes = changes.collect::<Result<Vec<Change>, _>>()?;
        let last = changes.last().map(Change::revision);
        let (next, more) = match last.filter(|last| self.newest > Some(*last)) {
            Some(last) => (since.advance(last, head), true),
            None => (head, false),
        };
        Ok(Changes::Some(ChangePage::new(changes, next, more)))
    }
}

/// The place that a row of the head stands for.
pub(crate) fn head(row: &Row) -> Result<Cursor, Failure> {
    let incarnation = <[u8; 16]>::try_from(row.try_get::<_, &[u8]>(0)?);
    match (incarnation, revision(row, 1)?) {
        (Ok(bytes), Some(revision)) => Ok(Cursor::new(Incarnation::from_bytes(bytes), revision)),
        _ => Err(damaged()),
    }
}

fn head_of(rows: &[Row], newest: Option<Cursor>) -> Result<(Cursor, Revision), Failure> {
    let row = rows.first().ok_or_else(damaged)?;
    let found = head(row)?;
    not_set_back(newest, found)?;
    Ok((found, revision(row, 2)?.ok_or_else(damaged)?))
}

/// The key of a row; none where the page is empty.
fn key(row: &Row, space: &Space) -> Result<Option<Key>, Failure> {
    let id = row.try_get::<_, Option<&[u8]>>(3)?;
    let key = id.map(|id| Key::new(space, id).map_err(|_| damaged()));
    key.transpose()
}

fn damaged() -> Failure {
    Failure::new(Kind::Surprise, "a row of the database is damaged")
}

/// From which id on, and before which id, a scan reads.
fn bounds(scan: &Scan) -> (Vec<u8>, Vec<u8>) {
    // Longer than any id, so behind all.
    let beyond = vec![0xff; MAX_ID_BYTES + 1];
    let prefix = scan.prefix();
    let end = match prefix.iter().rposition(|byte| *byte != 0xff) {
        None => beyond.clone(),
        Some(last) => {
            let mut end = prefix.get(..=last).unwrap_or_default().to_vec();
            if let Some(byte) = end.last_mut() {
                *byte += 1; // not 0xff
            }
            end
        }
    };
    let first = match scan.behind() {
        None => Vec::new(),
        Some(key) => match key.space().cmp(scan.space().as_str()) {
            std::cmp::Ordering::Less => Vec::new(),
            // What comes right behind an id is that id and a zero byte.
            std::cmp::Ordering::Equal => [key.id(), &[0]].concat(),
            std::cmp::Ordering::Greater => beyond,
        },
    };
    (first.max(prefix.to_vec()), end)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_successor_begins() {
        let space = Space::new("b").unwrap();
        let scan = || Scan::new(space.clone());
        let beyond = vec![0xff; MAX_ID_BYTES + 1];
        assert_eq!(bounds(&scan()), (vec![], beyond.clone()));
        let prefixed = scan().with_prefix(b"a\xff\xff");
        assert_eq!(bounds(&prefixed), (b"a\xff\xff".to_vec(), b"b".to_vec()));
        let prefixed = scan().with_prefix(b"\xff");
        assert_eq!(bounds(&prefixed), (b"\xff".to_vec(), beyond.clone()));

        let key = |space: &str, id: &[u8]| Key::new(&Space::new(space).unwrap(), id).unwrap();
        let behind = |key| bounds(&scan().with_prefix(b"k").after(key)).0;
        assert_eq!(behind(key("b", b"kz")), b"kz\0");
        assert_eq!(behind(key("b", b"a")), b"k");
        assert_eq!(behind(key("a", b"z")), b"k");
        assert_eq!(behind(key("c", b"a")), beyond);
    }
}
