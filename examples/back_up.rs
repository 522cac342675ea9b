//! Backing up and restoring an embedded store, step by step as `docs/guides/back-up-and-restore.md`
//! tells it: a backup while others write, a cold copy, a restore with what it loses and how that
//! shows, another outer key, compaction. Fails if anything is not as the guide says.
//!
//! ```text
//! cargo run --release -p m2m-examples --example back_up
//! ```

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{
    Batch, Cursor, EmbeddedOptions, EmbeddedStore, Expected, FileAnchor, Follower, IdempotencyKey,
    Key, KeyEncryptionError, LocalKey, OpenError, Revision, Space, Step, Store,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where things are. The anchor and the outer key belong where backups of the store do not reach;
/// here they are in directories beside it.
struct Places {
    store: PathBuf,
    anchor: PathBuf,
    backup: PathBuf,
    cold: PathBuf,
}

fn main() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let places = Places::in_directory(directory.path())?;
    let outer = new_outer_key()?;

    let store = Arc::new(EmbeddedStore::create(
        &places.store,
        &places.options(&outer),
    )?);
    for number in 0..100 {
        revoke(&store, &format!("token-{number}"))?;
    }
    let backed_up = back_up_while_others_write(&store, &places)?;
    check_backup(&places.backup, &outer, backed_up)?;

    let late = revoke(&store, "stolen-after-the-backup")?;
    let followed = follow(&store)?;
    let store = Arc::into_inner(store).ok_or("somebody still uses the store")?;
    store.close()?;
    cold_copy(&places)?;
    restore(&places, &outer, backed_up, late, followed)?;

    change_the_outer_key(&places, &outer)?;
    println!("\nAll as the guide says.");
    Ok(())
}

impl Places {
    fn in_directory(root: &Path) -> Outcome<Self> {
        let private = |name: &str| -> Outcome<PathBuf> {
            let path = root.join(name);
            fs::create_dir(&path)?;
            Ok(path)
        };
        Ok(Self {
            store: private("state")?.join("m2m.store"),
            anchor: private("anchor")?.join("m2m.anchor"),
            backup: private("backups")?.join("m2m.backup"),
            cold: root.join("backups/m2m.cold"),
        })
    }

    fn options(&self, outer: &Arc<LocalKey>) -> EmbeddedOptions {
        EmbeddedOptions::new(outer.clone()).with_anchor(Arc::new(FileAnchor::new(&self.anchor)))
    }
}

fn back_up_while_others_write(store: &Arc<EmbeddedStore>, places: &Places) -> Outcome<Revision> {
    let done = AtomicBool::new(false);
    let backed_up = std::thread::scope(|scope| -> Outcome<Revision> {
        let writer = scope.spawn(|| -> Result<(), String> {
            for number in 0_u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("meanwhile-{number}");
                revoke(store, &id).map_err(|error| error.to_string())?;
            }
            Ok(())
        });
        let before = store.head().revision();
        while store.head().revision() == before && !writer.is_finished() {
            std::thread::yield_now();
        }
        let backed_up = store.back_up(&places.backup);
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the writer does not panic")?;
        Ok(backed_up?)
    })?;
    println!(
        "backed up revision {backed_up} while others wrote: {} bytes, the store has {}",
        fs::metadata(&places.backup)?.len(),
        fs::metadata(&places.store)?.len()
    );
    // A backup is never written over.
    let again = store.back_up(&places.backup);
    assert!(matches!(again, Err(OpenError::Exists { .. })), "{again:?}");
    Ok(backed_up)
}

/// A backup that was never opened is a hope. On a copy, and without the anchor, which is the live
/// store's.
fn check_backup(backup: &Path, outer: &Arc<LocalKey>, backed_up: Revision) -> Outcome<()> {
    let scratch = backup.with_extension("checked");
    fs::copy(backup, &scratch)?;
    let options = EmbeddedOptions::new(outer.clone());
    let copy = EmbeddedStore::open(&scratch, &options)?;
    assert_eq!(copy.head().revision(), backed_up);
    assert!(is_revoked(&copy, "token-99")?);
    copy.close()?;

    let other = EmbeddedOptions::new(new_outer_key()?);
    let refused = EmbeddedStore::open(&scratch, &other).map(drop);
    assert_eq!(refused, Err(OpenError::Key(KeyEncryptionError::WrongKey)));
    println!("checked the backup; without the outer key it opens for nobody");
    Ok(fs::remove_file(scratch)?)
}

fn cold_copy(places: &Places) -> Outcome<()> {
    fs::copy(&places.store, &places.cold)?;
    fs::File::open(&places.cold)?.sync_all()?;
    println!("copied the closed file");
    Ok(())
}

fn restore(
    places: &Places,
    outer: &Arc<LocalKey>,
    backed_up: Revision,
    late: Revision,
    followed: Cursor,
) -> Outcome<()> {
    // The newest state is lost; the backup takes its place.
    fs::copy(&places.backup, &places.store)?;
    let options = places.options(outer);

    // The anchor has seen more, so this is no way in.
    match EmbeddedStore::open(&places.store, &options) {
        Err(OpenError::RolledBack {
            found, anchored, ..
        }) => {
            assert_eq!((found, anchored), (backed_up, late));
            println!("refused: the file is at {found}, the anchor has seen {anchored}");
        }
        other => return Err(format!("not refused: {other:?}").into()),
    }

    let restored = EmbeddedStore::open(&places.store, &options.danger_as_restored_copy())?;
    assert_eq!(restored.restored_from(), Some((backed_up, Some(late))));
    println!("restored: what was written after {backed_up}, up to {late}, is lost");
    assert!(is_revoked(&restored, "token-99")?);
    assert!(!is_revoked(&restored, "stolen-after-the-backup")?);

    // Whoever followed is told, and not left with places that mean something else now.
    let restored: Arc<dyn Store> = Arc::new(restored);
    let follower = Follower::from_place(Arc::clone(&restored), space()?, followed);
    assert_eq!(pollster::block_on(follower.look())?, Step::Reload);
    println!("a follower of the lost state is told to reload");
    drop((follower, restored));

    // From now on as always: the flag is for one start only.
    let store = EmbeddedStore::open(&places.store, &places.options(outer))?;
    assert!(store.restored_from().is_none());
    revoke(&store, "stolen-after-the-backup")?;
    println!("revoked again what was lost");
    make_room(&store)?;
    Ok(store.close()?)
}

/// The file keeps its size when records are deleted, and their tombstones.
fn make_room(store: &EmbeddedStore) -> Outcome<()> {
    const RECORDS: u16 = 200;
    let batch = || -> Outcome<Batch> { Ok(Batch::new(IdempotencyKey::generate(&SystemRandom)?)) };
    let (mut writing, mut deleting) = (batch()?, batch()?);
    for number in 0..RECORDS {
        let key = Key::new(&Space::new("large")?, &number.to_be_bytes())?;
        writing = writing.put(key.clone(), Expected::Absent, vec![0; 20_000]);
        deleting = deleting.delete(key, Expected::Present);
    }
    pollster::block_on(store.commit(writing))?;
    let head = pollster::block_on(store.commit(deleting))?.revision();
    assert_eq!(store.stats()?.tombstones, u64::from(RECORDS));
    pollster::block_on(store.prune_tombstones(head))?;
    assert_eq!(store.stats()?.tombstones, 0);
    let (before, after) = pollster::block_on(store.compact())?;
    assert!(after < before);
    println!("compacted from {before} to {after} bytes");
    Ok(())
}

fn change_the_outer_key(places: &Places, old: &Arc<LocalKey>) -> Outcome<()> {
    let new = new_outer_key()?;
    let store = EmbeddedStore::open(&places.store, &places.options(old))?;
    pollster::block_on(store.change_outer_key(old.clone(), new.clone()))?;
    store.close()?;

    let refused = EmbeddedStore::open(&places.store, &places.options(old)).map(drop);
    assert_eq!(refused, Err(OpenError::Key(KeyEncryptionError::WrongKey)));
    EmbeddedStore::open(&places.store, &places.options(&new))?.close()?;
    // What was copied before is sealed with the old one still.
    EmbeddedStore::open(&places.cold, &EmbeddedOptions::new(old.clone()))?.close()?;
    println!("changed the outer key; older copies need the old one");
    Ok(())
}

/// Follows all there is, and keeps the place.
fn follow(store: &Arc<EmbeddedStore>) -> Outcome<Cursor> {
    let mut follower = Follower::new(Arc::clone(store) as Arc<dyn Store>, space()?);
    loop {
        let step = pollster::block_on(follower.look())?;
        follower.done(&step);
        if matches!(step, Step::Changes { more: false, .. }) {
            return Ok(follower.place());
        }
    }
}

fn revoke(store: &EmbeddedStore, id: &str) -> Outcome<Revision> {
    let key = Key::new(&space()?, id.as_bytes())?;
    let batch = Batch::new(IdempotencyKey::generate(&SystemRandom)?);
    let batch = batch.put(key, Expected::Anything, b"revoked".as_slice());
    Ok(pollster::block_on(store.commit(batch))?.revision())
}

fn is_revoked(store: &dyn Store, id: &str) -> Outcome<bool> {
    let key = Key::new(&space()?, id.as_bytes())?;
    Ok(pollster::block_on(store.get(&key))?.is_some())
}

fn space() -> Outcome<Space> {
    Ok(Space::new("revoked-token")?)
}

fn new_outer_key() -> Outcome<Arc<LocalKey>> {
    let key = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
    Ok(Arc::new(LocalKey::new(key)?))
}
