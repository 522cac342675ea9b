#![no_main]
//! A store's file with anything changed in it: either it is refused, or all that is read from it is
//! what was written.
//!
//! The input is a list of changes to a small store. Changes to bytes are met by checksums, which no
//! fuzzer guesses; changes to rows, made through redb, have the right ones and reach what stands
//! behind.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use libfuzzer_sys::fuzz_target;
use m2m_crypto::SecretBytes;
use m2m_fuzz::{FixedRandom, check_message};
use m2m_store::{
    Batch, Changes, Cursor, Disk, EmbeddedOptions, EmbeddedStore, Expected, IdempotencyKey, Key,
    LocalKey, Scan, Space, Store,
};
use pollster::block_on;
use redb::{Builder, StorageBackend, TableDefinition};

/// Where redb's flags are, and what guards them.
const FLAGS: usize = 9;
const GUARD: usize = 10;
const TABLES: [&str; 4] = ["meta", "records", "feed", "requests"];
const NAMES: [&str; 7] = [
    "format",
    "store",
    "incarnation",
    "head",
    "floor",
    "tombstones",
    "data key",
];

fuzz_target!(|data: &[u8]| {
    let mut image = image().clone();
    let mut rest = data;
    let rows = rest.split_off_first().is_some_and(|first| first % 2 == 1);
    match rows {
        true => image = with_rows(image, rest),
        false => with_bytes(&mut image, rest),
    }
    let disk = Memory(Arc::new(Mutex::new(image)));
    match EmbeddedStore::open_on(Arc::new(disk), &options()) {
        Ok(store) => read_all(&store, rows),
        Err(error) => check_message(&error),
    }
});

/// Six records, two of which were deleted, in a store that was not closed in order.
fn image() -> &'static Vec<u8> {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = Memory(Arc::default());
        let store = EmbeddedStore::create_on(Arc::new(disk.clone()), &options()).expect("empty");
        for number in 0..8 {
            let batch = Batch::new(IdempotencyKey::from_bytes([number; 16]));
            let batch = match number {
                0..6 => batch.put(key(number), Expected::Absent, value(number)),
                _ => batch.delete(key(number - 6), Expected::Present),
            };
            block_on(store.commit(batch)).expect("written to memory");
        }
        disk.0.lock().expect("nobody panicked").clone()
    })
}

fn options() -> EmbeddedOptions {
    let key = LocalKey::new(SecretBytes::new(vec![1; LocalKey::BYTES])).expect("32 bytes");
    EmbeddedOptions::new(Arc::new(key))
        .with_cache_bytes(1 << 20)
        .with_random(Arc::new(FixedRandom))
}

fn space() -> Space {
    Space::new("a").expect("a name")
}

fn key(number: u8) -> Key {
    Key::new(&space(), &[number]).expect("one byte")
}

fn value(number: u8) -> Vec<u8> {
    vec![number; 20 + usize::from(number) * 100]
}

/// Sets, cuts and lengthens: three bytes say where and two what.
fn with_bytes(image: &mut Vec<u8>, changes: &[u8]) {
    for change in changes.chunks_exact(5) {
        let [a, b, c, what, by] = change else {
            continue;
        };
        let at = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        match what % 8 {
            0 => image.truncate(at),
            1 => image.resize((image.len() + at).min(4 << 20), *by),
            2 => {
                let to = (at + 8).min(image.len());
                image
                    .get_mut(at..to)
                    .into_iter()
                    .for_each(|bytes| bytes.fill(*by));
            }
            _ => {
                let length = image.len().max(1);
                image
                    .get_mut(at % length)
                    .into_iter()
                    .for_each(|byte| *byte ^= by);
            }
        }
    }
}

/// Puts rows into tables, or removes them: which table, length of the key, the key, length of the
/// row, the row.
fn with_rows(image: Vec<u8>, mut changes: &[u8]) -> Vec<u8> {
    let memory = Memory(Arc::new(Mutex::new(image)));
    let database = Builder::new()
        .create_with_backend(memory.clone())
        .expect("our own");
    let transaction = database.begin_write().expect("memory");
    for _ in 0..16 {
        let Some(table) = changes.split_off_first() else {
            break;
        };
        let mut part = || {
            let length = usize::from(*changes.split_off_first()?);
            let length = length.min(changes.len());
            changes.split_off(..length)
        };
        let (Some(key), row) = (part(), part()) else {
            break;
        };
        match TABLES[usize::from(*table) % TABLES.len()] {
            "meta" => {
                let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
                let mut table = transaction.open_table(table).expect("our own");
                let name = key.first().map_or(0, |first| usize::from(*first));
                let name = NAMES[name % NAMES.len()];
                match row {
                    Some(row) => drop(table.insert(name, row).expect("memory")),
                    None => drop(table.remove(name).expect("memory")),
                };
            }
            "requests" => {
                let table: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("requests");
                let mut table = transaction.open_table(table).expect("our own");
                let first = key
                    .iter()
                    .rev()
                    .zip((0..64).step_by(8))
                    .fold(0, |first, (byte, by)| first | u64::from(*byte) << by);
                match row {
                    Some(row) => drop(table.insert(first, row).expect("memory")),
                    None => drop(table.remove(first).expect("memory")),
                };
            }
            name => {
                let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
                let mut table = transaction.open_table(table).expect("our own");
                match row {
                    Some(row) => drop(table.insert(key, row).expect("memory")),
                    None => drop(table.remove(key).expect("memory")),
                };
            }
        }
    }
    transaction.commit().expect("memory");
    drop(database);
    let mut image = memory.0.lock().expect("nobody panicked").clone();
    image[GUARD] = !image[FLAGS];
    image
}

/// Whatever is there, values are those that were written at their keys. Where only bytes were
/// changed, everything is.
fn read_all(store: &EmbeddedStore, rows: bool) {
    let mut found = Vec::new();
    match block_on(store.scan(&Scan::new(space()))) {
        Ok(page) => {
            for record in page.records() {
                let number = record.key().id()[0];
                assert_eq!(record.key(), &key(number));
                assert_eq!(record.value().as_bytes(), value(number));
                found.push(number);
            }
        }
        Err(error) => check_message(&error),
    }
    for number in 0..6 {
        match block_on(store.get(&key(number))) {
            Ok(Some(record)) => assert_eq!(record.value().as_bytes(), value(number)),
            Ok(None) => {}
            Err(error) => check_message(&error),
        }
    }
    let changes = block_on(store.changes(&space(), Cursor::START, 10));
    let batch = Batch::new(IdempotencyKey::from_bytes([90; 16]));
    let written = block_on(store.commit(batch.put(key(90), Expected::Anything, value(1))));
    if let Err(error) = &written {
        check_message(error);
    }
    if !rows {
        assert_eq!(found, [2, 3, 4, 5]);
        assert_eq!(store.head().revision().number(), 9);
        assert!(written.is_ok());
        match changes {
            Ok(Changes::Some(page)) => assert_eq!(page.changes().len(), 6),
            other => panic!("{other:?}"),
        }
    }
}

/// A disk in memory, for both the store and redb.
#[derive(Clone, Debug)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().expect("nobody panicked"))
    }
}

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).expect("64 bits");
        self.with(|there| {
            let part = from
                .checked_add(bytes.len())
                .and_then(|to| there.get(from..to));
            bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).expect("64 bits");
        self.with(|there| {
            there.resize(there.len().max(from + bytes.len()), 0);
            there[from..from + bytes.len()].copy_from_slice(bytes);
        });
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|there| there.resize(usize::try_from(len).expect("64 bits"), 0));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        Disk::len(self)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Disk::read(self, offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Disk::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Disk::write(self, offset, data)
    }
}
