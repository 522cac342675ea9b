//! fjall, with its journal synced at each commit.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::Engine;
use crate::store::rows::{KEY_BYTES, Row};

pub(super) struct Fjall {
    database: Database,
    rows: Keyspace,
}

impl Fjall {
    pub(super) fn open(directory: &Path) -> Self {
        let database = Database::builder(directory)
            .cache_size(64 << 20)
            .open()
            .expect("a directory of fjall's");
        let rows = database
            .keyspace("rows", KeyspaceCreateOptions::default)
            .expect("a keyspace");
        Self { database, rows }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, rows: &[Row]) {
        let batch = self.database.batch();
        let mut batch = batch.durability(Some(PersistMode::SyncAll));
        for (key, value) in rows {
            batch.insert(&self.rows, key.as_slice(), value.as_slice());
        }
        batch.commit().expect("a durable commit");
    }

    fn has(&self, key: &[u8; KEY_BYTES]) -> bool {
        let value = self.rows.get(key).expect("it can be read");
        value.is_some_and(|value| !value.is_empty())
    }

    fn scan(&self) -> u64 {
        let mut count = 0;
        for row in self.rows.iter() {
            let (key, value) = row.into_inner().expect("it can be read");
            count += u64::from(!key.is_empty() && !value.is_empty());
        }
        count
    }
}
