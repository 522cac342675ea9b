//! SQLite with a write-ahead log that is synced at each commit.

use std::path::Path;

use rusqlite::{Connection, params};

use super::Engine;
use crate::store::rows::{KEY_BYTES, Row};

pub(super) struct Sqlite(Connection);

impl Sqlite {
    pub(super) fn open(file: &Path) -> Self {
        let connection = Connection::open(file).expect("a file of SQLite's");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA cache_size = -65536;
                 CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL)
                     WITHOUT ROWID;",
            )
            .expect("a table");
        Self(connection)
    }
}

impl Engine for Sqlite {
    fn commit(&mut self, rows: &[Row]) {
        let transaction = self.0.transaction().expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2)")
                .expect("a statement");
            for (key, value) in rows {
                insert.execute(params![key, value]).expect("room");
            }
        }
        transaction.commit().expect("a durable commit");
    }

    fn has(&self, key: &[u8; KEY_BYTES]) -> bool {
        let mut select = self
            .0
            .prepare_cached("SELECT value FROM rows WHERE key = ?1")
            .expect("a statement");
        let mut found = select.query(params![key]).expect("it can be read");
        let row = found.next().expect("it can be read");
        row.is_some_and(|row| {
            let value = row.get_ref(0).and_then(|value| Ok(value.as_blob()?.len()));
            value.expect("a blob") > 0
        })
    }

    fn scan(&self) -> u64 {
        let mut select = self
            .0
            .prepare_cached("SELECT key, value FROM rows ORDER BY key")
            .expect("a statement");
        let mut rows = select.query([]).expect("it can be read");
        let mut count = 0;
        while let Some(row) = rows.next().expect("it can be read") {
            let bytes = |column| row.get_ref(column).and_then(|value| Ok(value.as_blob()?));
            let (key, value) = (bytes(0).expect("a blob"), bytes(1).expect("a blob"));
            count += u64::from(!key.is_empty() && !value.is_empty());
        }
        count
    }
}
