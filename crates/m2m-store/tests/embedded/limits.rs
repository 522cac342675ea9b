//! The last revision, formats and keys that are not ours, backing up and compacting under load, and
//! what waits: bounded, forgotten, raced for.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};

use m2m_store::{
    Batch, EmbeddedStore, Expected, IdempotencyKey, KeyEncryptionError, OpenError, Revision, Scan,
    Space, Store, StoreError,
};
use pollster::block_on;
use redb::{ReadableDatabase, TableDefinition};

use crate::disk::SimDisk;
use crate::model::{Model, batch, key, options, outer};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Changes the file behind the store's back, and puts right what would tell.
fn patch(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    drop(database);
    let mut bytes = fs::read(path).unwrap();
    bytes[10] = !bytes[9];
    fs::write(path, bytes).unwrap();
}

fn write(number: u64) -> Batch {
    let mut name = [2; 16];
    name[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(IdempotencyKey::from_bytes(name))
}

fn put(number: u64) -> Batch {
    write(number).put(
        key("a", number),
        Expected::Anything,
        vec![number as u8; 100],
    )
}

#[test]
fn sto_015_after_the_last_revision_there_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = EmbeddedStore::create(&path, &options(0)).unwrap();
    block_on(store.commit(put(1))).unwrap();
    store.close().unwrap();
    let almost = Revision::MAX.number() - 1;
    patch(&path, |transaction| {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("head", almost.to_be_bytes().as_slice())
            .unwrap();
    });
    let store = EmbeddedStore::open(&path, &options(0)).unwrap();
    assert_eq!(
        block_on(store.commit(put(2))).unwrap().revision(),
        Revision::MAX
    );
    for number in 3..6 {
        assert_eq!(
            block_on(store.commit(put(number))),
            Err(StoreError::Exhausted)
        );
    }
    // Nothing wrapped; reading and asking again go on, here and after opening it anew.
    store.close().unwrap();
    let store = EmbeddedStore::open(&path, &options(0)).unwrap();
    assert_eq!(store.head().revision(), Revision::MAX);
    assert!(block_on(store.commit(put(2))).unwrap().was_repeated());
    assert_eq!(block_on(store.get(&key("a", 3))), Ok(None));
    assert_eq!(block_on(store.commit(put(3))), Err(StoreError::Exhausted));
    store.close().unwrap();
    // There is no revision to restore a copy to.
    let restored = EmbeddedStore::open(&path, &options(0).danger_as_restored_copy());
    assert!(
        matches!(restored, Err(OpenError::Corrupt { .. })),
        "{restored:?}"
    );
}

/// The store has no clock but one that says how long a commit took: no wall clock can make it
/// forget, or remember, anything. What it forgets it forgets by count and on request.
#[test]
fn sto_016_no_wall_clock_decides_anything() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut directories = vec![source];
    let mut files = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files += 1;
                let text = fs::read_to_string(&path).unwrap();
                for clock in ["SystemTime", "UNIX_EPOCH", "Timestamp"] {
                    assert!(!text.contains(clock), "{} uses {clock}", path.display());
                }
            }
        }
    }
    assert!(files > 20);
}

#[test]
fn a_newer_or_older_format_is_refused_by_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    EmbeddedStore::create(&path, &options(0))
        .unwrap()
        .close()
        .unwrap();
    for format in [0, 1, 3, u32::MAX] {
        patch(&path, |transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("format", format.to_be_bytes().as_slice())
                .unwrap();
        });
        let refused = EmbeddedStore::open(&path, &options(0)).unwrap_err();
        let known = 2;
        let expected = match format {
            0 => matches!(refused, OpenError::Corrupt { .. }),
            1 => refused == OpenError::OlderFormat { found: 1, known },
            found => refused == OpenError::NewerFormat { found, known },
        };
        assert!(expected, "{format}: {refused:?}");
    }
}

#[test]
fn another_outer_key_is_refused_and_changing_it_changes_which() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = EmbeddedStore::create(&path, &options(0)).unwrap();
    block_on(store.commit(put(1))).unwrap();
    let wrong = block_on(store.change_outer_key(outer(1), outer(2)));
    assert!(
        matches!(wrong, Err(StoreError::Unavailable { .. })),
        "{wrong:?}"
    );
    block_on(store.commit(put(2))).unwrap();
    block_on(store.change_outer_key(outer(0), outer(1))).unwrap();
    block_on(store.commit(put(3))).unwrap();
    store.close().unwrap();
    for number in [0, 2] {
        let refused = EmbeddedStore::open(&path, &options(number)).unwrap_err();
        assert_eq!(refused, OpenError::Key(KeyEncryptionError::WrongKey));
    }
    let store = EmbeddedStore::open(&path, &options(1)).unwrap();
    for number in 1..4 {
        assert!(block_on(store.get(&key("a", number))).unwrap().is_some());
    }
}

#[test]
fn values_of_another_store_or_place_do_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["one", "other"].map(|name| directory.path().join(name));
    for path in &paths {
        let random = Arc::new(m2m_crypto::SystemRandom);
        let store = EmbeddedStore::create(path, &options(0).with_random(random)).unwrap();
        block_on(store.commit(put(1))).unwrap();
        block_on(store.commit(put(2))).unwrap();
    }
    let row = |path: &Path, number| {
        let database = redb::Database::create(path).unwrap();
        let records = database.begin_read().unwrap().open_table(RECORDS).unwrap();
        let row = records.get(key("a", number).as_sorted_bytes()).unwrap();
        row.unwrap().value().to_vec()
    };
    let [own, foreign] = [row(&paths[0], 2), row(&paths[1], 1)];
    for moved in [own, foreign] {
        patch(&paths[0], |transaction| {
            let mut records = transaction.open_table(RECORDS).unwrap();
            let key = key("a", 1);
            records
                .insert(key.as_sorted_bytes(), moved.as_slice())
                .unwrap();
        });
        let store = EmbeddedStore::open(&paths[0], &options(0)).unwrap();
        let got = block_on(store.get(&key("a", 1)));
        assert!(matches!(got, Err(StoreError::Corrupt { .. })), "{got:?}");
        let scan = Scan::new(Space::new("a").unwrap());
        assert!(matches!(
            block_on(store.scan(&scan)),
            Err(StoreError::Corrupt { .. })
        ));
        assert!(block_on(store.get(&key("a", 2))).unwrap().is_some());
    }
}

#[test]
fn a_backup_made_while_others_write_is_one_state() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Arc::new(EmbeddedStore::create(directory.path().join("store"), &options(0)).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Two records that are always the same.
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let value = number.to_string().into_bytes();
                let pair = write(number)
                    .put(key("a", 1), Expected::Anything, value.clone())
                    .put(key("revocation", 1), Expected::Anything, value)
                    .put(key("a", 100 + number), Expected::Absent, vec![7; 500]);
                block_on(store.commit(pair)).unwrap();
                written.store(number, Ordering::Relaxed);
            }
        });
        while written.load(Ordering::Relaxed) < 5 {
            std::thread::yield_now();
        }
        for turn in 0..5 {
            let path = directory.path().join(format!("copy {turn}"));
            let before = store.head().revision();
            let revision = store.back_up(&path).unwrap();
            assert!(revision >= before);
            let copy = EmbeddedStore::open(&path, &options(0)).unwrap();
            assert_eq!(copy.head().revision(), revision);
            let value = |space| {
                let record = block_on(copy.get(&key(space, 1))).unwrap().unwrap();
                (record.version(), record.into_value())
            };
            assert_eq!(value("a"), value("revocation"));
            assert_eq!(value("a").0, revision);
            assert_eq!(copy.stats().unwrap().records, 2 + revision.number());
            assert!(matches!(
                store.back_up(&path),
                Err(OpenError::Exists { .. })
            ));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn compaction_keeps_every_promise_and_gives_room_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = EmbeddedStore::create(&path, &options(0)).unwrap();
    let mut model = Model {
        life: Some(store.head().incarnation()),
        ..Model::default()
    };
    let mut commit = |batch: Batch| {
        block_on(store.commit(batch.clone())).unwrap();
        model.commit(&batch);
    };
    for number in 0..200 {
        commit(write(10_000 + number).put(
            key("a", 5_000 + number),
            Expected::Absent,
            vec![1; 40_000],
        ));
    }
    for number in 0..200 {
        commit(write(20_000 + number).delete(key("a", 5_000 + number), Expected::Present));
    }
    (0..9).for_each(|number| commit(batch(number)));
    model.check(&store).unwrap();
    let (had, has) = block_on(store.compact()).unwrap();
    assert!(has < had / 3, "{had} bytes before, {has} after");
    assert_eq!(fs::metadata(&path).unwrap().len(), has);
    model.check_and_go_on(&store, &[batch(900)]).unwrap();
    model.commit(&batch(900));
    store.close().unwrap();
    let store = EmbeddedStore::open(&path, &options(0)).unwrap();
    model.check_and_go_on(&store, &[]).unwrap();
    drop(store);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing was left behind"
    );
}

fn on(disk: &SimDisk) -> EmbeddedStore {
    EmbeddedStore::create_on(Arc::new(disk.clone()), &options(0)).unwrap()
}

/// Room is given back a moment after the answer.
fn nobody_waits(store: &EmbeddedStore) {
    loop {
        let load = store.load();
        if (load.waiting_batches, load.waiting_bytes) == (0, 0) {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn no_more_wait_than_there_is_room_for() {
    let disk = SimDisk::new(Vec::new());
    let store = on(&disk);
    let held = disk.hold();
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..6_000).map(|number| store.commit(put(number))).collect();
    for future in &mut waiting {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(store.load().waiting_batches, 4_096);
    // Who gives up makes room for nobody that is in the queue, and for all that are not.
    waiting.truncate(5_000);
    held.release();
    let mut revisions: Vec<u64> = waiting
        .into_iter()
        .map(|future| block_on(future).unwrap().revision().number())
        .collect();
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(revisions.len(), 5_000);
    nobody_waits(&store);

    // By bytes: 3 MiB each.
    let held = disk.hold();
    let large = |number| {
        (0..3).fold(write(number), |batch, part| {
            batch.put(
                key("a", number * 10 + part),
                Expected::Anything,
                vec![3; 1 << 20],
            )
        })
    };
    let mut waiting: Vec<_> = (10_000..10_040)
        .map(|number| store.commit(large(number)))
        .collect();
    for future in &mut waiting {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    // All have their slot; those for whose bytes there is no room wait with theirs.
    let load = store.load();
    assert_eq!(load.waiting_batches, 40);
    assert!(
        (63 << 20..=64 << 20).contains(&load.waiting_bytes),
        "{load:?}"
    );
    held.release();
    for future in waiting {
        block_on(future).unwrap();
    }
    nobody_waits(&store);
}

#[test]
fn who_no_longer_waits_may_have_been_heard_and_nobody_waits_for_ever() {
    let disk = SimDisk::new(Vec::new());
    let store = on(&disk);
    let held = disk.hold();
    let mut context = Context::from_waker(Waker::noop());
    for number in 0..100 {
        let mut future = store.commit(put(number));
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    // Never polled: never heard of.
    drop(store.commit(put(200)));
    let releaser = std::thread::spawn(move || held.release());
    // Closing answers all that was given to it, though nobody listens.
    store.close().unwrap();
    releaser.join().unwrap();
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), &options(0)).unwrap();
    assert_eq!(store.head().revision().number(), 100);
    for number in 0..100 {
        assert!(block_on(store.commit(put(number))).unwrap().was_repeated());
    }
    assert!(!block_on(store.commit(put(200))).unwrap().was_repeated());
}

#[test]
fn of_64_threads_exactly_one_gets_each_thing() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(directory.path().join("store"), &options(0)).unwrap();
    let wins = AtomicU64::new(0);
    const ROUNDS: u64 = 20;
    std::thread::scope(|scope| {
        for thread in 0..64_u64 {
            let (store, wins) = (&store, &wins);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let claim = write(round * 100 + thread).put(
                        key("a", round),
                        Expected::Absent,
                        vec![thread as u8],
                    );
                    match block_on(store.commit(claim)) {
                        Ok(_) => wins.fetch_add(1, Ordering::Relaxed),
                        Err(StoreError::Conflict { .. }) => 0,
                        Err(other) => panic!("{other:?}"),
                    };
                }
            });
        }
    });
    assert_eq!(wins.into_inner(), ROUNDS);
    assert_eq!(store.head().revision().number(), ROUNDS);
}
