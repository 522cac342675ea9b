//! `EmbeddedStore`: redb with a feed, idempotency keys and sealed values.

use std::path::Path;

use m2m_store::{EmbeddedStore, MAX_BATCH_OPERATIONS, Scan, Store};

use super::Engine;
use crate::store::embedded;
use crate::store::rows::{KEY_BYTES, Row};

pub(super) struct Ours(EmbeddedStore);

impl Ours {
    pub(super) fn open(directory: &Path) -> Self {
        Self(embedded::open(directory))
    }
}

impl Engine for Ours {
    // More than a batch may hold is several batches that are written together.
    fn commit(&mut self, rows: &[Row]) {
        let batches = rows.chunks(MAX_BATCH_OPERATIONS).map(embedded::batch_of);
        embedded::commit_all(&self.0, batches);
    }

    fn has(&self, key: &[u8; KEY_BYTES]) -> bool {
        let record = pollster::block_on(self.0.get(&embedded::key(key)));
        record
            .expect("it can be read")
            .is_some_and(|record| !record.value().is_empty())
    }

    fn scan(&self) -> u64 {
        let mut count = 0;
        let mut scan = Scan::new(embedded::space());
        loop {
            let page = pollster::block_on(self.0.scan(&scan)).expect("it can be read");
            count += page.records().len() as u64;
            match page.next() {
                Some(next) => scan = scan.after(next.clone()),
                None => return count,
            }
        }
    }
}
