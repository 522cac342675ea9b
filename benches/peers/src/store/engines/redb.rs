//! redb, with two-phase commits and 64 MiB of cache, as `EmbeddedStore` uses it.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::Engine;
use crate::store::rows::{KEY_BYTES, Row};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// redb with one table.
#[derive(Debug)]
pub struct Redb(Database);

impl Redb {
    /// Opens or creates `file`.
    ///
    /// # Panics
    ///
    /// If it cannot be opened.
    pub fn open(file: &Path) -> Self {
        let database = Database::builder()
            .set_cache_size(64 << 20)
            .create(file)
            .expect("a file of redb's");
        Self(database)
    }
}

impl Engine for Redb {
    fn commit(&mut self, rows: &[Row]) {
        let mut transaction = self.0.begin_write().expect("a transaction");
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(TABLE).expect("a table");
            for (key, value) in rows {
                table
                    .insert(key.as_slice(), value.as_slice())
                    .expect("room");
            }
        }
        transaction.commit().expect("a durable commit");
    }

    fn has(&self, key: &[u8; KEY_BYTES]) -> bool {
        let transaction = self.0.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        let row = table.get(key.as_slice()).expect("it can be read");
        row.is_some_and(|row| !row.value().is_empty())
    }

    fn scan(&self) -> u64 {
        let transaction = self.0.begin_read().expect("a transaction");
        let table = transaction.open_table(TABLE).expect("a table");
        let mut count = 0;
        for row in table.iter().expect("it can be read") {
            let (key, value) = row.expect("it can be read");
            count += u64::from(!key.value().is_empty() && !value.value().is_empty());
        }
        count
    }
}
