//! STO-010, STO-011: what was deleted, revoked or used does not come back by way of a crash,
//! compaction, a backup or an older copy of the file; or whoever brings it back is told what is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2m_store::{
    Anchor, AnchorMark, Batch, Changes, Cursor, EmbeddedOptions, EmbeddedStore, Expected,
    FileAnchor, IdempotencyKey, OpenError, Revision, Space, Store, StoreError,
};
use pollster::block_on;
use tempfile::TempDir;

use crate::model::{batch, key, options};

/// A directory with a store, its anchor in another, and a copy of the file from before the last
/// commits.
struct Places {
    directory: TempDir,
    elsewhere: TempDir,
}

impl Places {
    fn new() -> Self {
        let [directory, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self {
            directory,
            elsewhere,
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy")
    }

    fn anchor(&self) -> PathBuf {
        self.elsewhere.path().join("anchor")
    }

    fn options(&self) -> EmbeddedOptions {
        options(0).with_anchor(Arc::new(FileAnchor::new(self.anchor())))
    }

    /// Revokes `1`, makes a copy, revokes `2` and uses up the one-time thing `a/1`.
    fn with_a_copy_from_before_a_revocation() -> (Self, Cursor) {
        let places = Self::new();
        let store = EmbeddedStore::create(places.store(), &places.options()).unwrap();
        block_on(store.commit(revoke(1))).unwrap();
        let join = Batch::new(IdempotencyKey::from_bytes([9; 16]));
        block_on(store.commit(join.put(key("a", 1), Expected::Absent, b"join".as_slice())))
            .unwrap();
        store.back_up(places.copy()).unwrap();
        block_on(store.commit(revoke(2))).unwrap();
        let used = Batch::new(IdempotencyKey::from_bytes([8; 16]));
        block_on(store.commit(used.delete(key("a", 1), Expected::Present))).unwrap();
        let head = store.head();
        store.close().unwrap();
        (places, head)
    }
}

fn revoke(number: u64) -> Batch {
    let mut name = [1; 16];
    name[..8].copy_from_slice(&number.to_be_bytes());
    Batch::new(IdempotencyKey::from_bytes(name)).put(
        key("revocation", number),
        Expected::Anything,
        b"revoked".as_slice(),
    )
}

fn is_there(store: &EmbeddedStore, space: &str, number: u64) -> bool {
    block_on(store.get(&key(space, number))).unwrap().is_some()
}

fn exchange(copy: &Path, store: &Path) {
    fs::remove_file(store).unwrap();
    fs::copy(copy, store).unwrap();
}

#[test]
fn sto_010_what_was_deleted_stays_deleted_after_crash_and_compaction() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = EmbeddedStore::create(&path, &options(0)).unwrap();
    block_on(store.commit(batch(0))).unwrap();
    let before = store.head();
    let used = Batch::new(IdempotencyKey::from_bytes([8; 16]));
    let used = used.delete(key("revocation", 0), Expected::Present);
    block_on(store.commit(used.clone())).unwrap();

    let gone = |store: &EmbeddedStore| {
        assert!(!is_there(store, "revocation", 0));
        // Who followed hears of it; who asks again does not do it twice.
        let space = Space::new("revocation").unwrap();
        match block_on(store.changes(&space, before, 10)).unwrap() {
            Changes::Some(page) => assert_eq!(page.changes().len(), 1),
            other => panic!("{other:?}"),
        }
        assert!(block_on(store.commit(used.clone())).unwrap().was_repeated());
        assert!(block_on(store.commit(batch(0))).unwrap().was_repeated());
    };
    gone(&store);
    // As a crash leaves it.
    let crashed = directory.path().join("crashed");
    fs::copy(&path, &crashed).unwrap();
    gone(&EmbeddedStore::open(&crashed, &options(0)).unwrap());
    block_on(store.compact()).unwrap();
    gone(&store);
    store.close().unwrap();
    gone(&EmbeddedStore::open(&path, &options(0)).unwrap());
}

#[test]
fn sto_010_a_backup_put_in_the_stores_place_is_refused_where_there_is_an_anchor() {
    let (places, head) = Places::with_a_copy_from_before_a_revocation();
    exchange(&places.copy(), &places.store());
    match EmbeddedStore::open(places.store(), &places.options()) {
        Err(OpenError::RolledBack {
            found, anchored, ..
        }) => assert_eq!((found.number(), anchored), (2, head.revision())),
        other => panic!("{other:?}"),
    }
    // Nothing was changed by trying.
    let again = EmbeddedStore::open(places.store(), &places.options());
    assert!(matches!(again, Err(OpenError::RolledBack { .. })));
}

#[test]
fn sto_010_a_restored_copy_says_what_is_lost_and_makes_followers_reload() {
    let (places, head) = Places::with_a_copy_from_before_a_revocation();
    exchange(&places.copy(), &places.store());
    let restored = places.options().danger_as_restored_copy();
    let store = EmbeddedStore::open(places.store(), &restored).unwrap();
    let (found, anchored) = store.restored_from().unwrap();
    assert_eq!((found.number(), anchored), (2, Some(head.revision())));
    assert!(is_there(&store, "revocation", 1));
    // Lost, as was said: what was written behind revision 2.
    assert!(!is_there(&store, "revocation", 2) && is_there(&store, "a", 1));

    let space = Space::new("revocation").unwrap();
    for revision in 0..=head.revision().number() {
        let cursor = Cursor::new(head.incarnation(), Revision::new(revision).unwrap());
        let changes = block_on(store.changes(&space, cursor, 10)).unwrap();
        assert_eq!(changes, Changes::TooOld, "{revision}");
    }
    // No revision is used twice.
    let next = block_on(store.commit(revoke(3))).unwrap().revision();
    assert!(next > head.revision());
    store.close().unwrap();
    // From now on it is a store like any other, and the copy is an older one still.
    let store = EmbeddedStore::open(places.store(), &places.options()).unwrap();
    assert_eq!(store.restored_from(), None);
    store.close().unwrap();
    exchange(&places.copy(), &places.store());
    let refused = EmbeddedStore::open(places.store(), &places.options());
    assert!(matches!(refused, Err(OpenError::RolledBack { .. })));
}

#[test]
fn sto_011_without_an_anchor_an_older_copy_is_not_noticed() {
    // As documented: this is what an anchor is for.
    let (places, _) = Places::with_a_copy_from_before_a_revocation();
    exchange(&places.copy(), &places.store());
    let store = EmbeddedStore::open(places.store(), &options(0)).unwrap();
    assert!(!is_there(&store, "revocation", 2));
}

#[test]
fn sto_011_a_lost_or_damaged_anchor_is_no_reason_to_trust_the_file() {
    let (places, _) = Places::with_a_copy_from_before_a_revocation();
    let anchor = fs::read(places.anchor()).unwrap();
    let open = || EmbeddedStore::open(places.store(), &places.options());
    for length in 0..anchor.len() {
        fs::write(places.anchor(), &anchor[..length]).unwrap();
        assert!(matches!(open(), Err(OpenError::Anchor(_))), "{length}");
    }
    for place in 0..anchor.len() {
        let mut damaged = anchor.clone();
        damaged[place] ^= 1 << (place % 8);
        fs::write(places.anchor(), damaged).unwrap();
        assert!(matches!(open(), Err(OpenError::Anchor(_))), "{place}");
    }
    fs::remove_file(places.anchor()).unwrap();
    match open() {
        Err(OpenError::AnchorMissing { found }) => assert_eq!(found.number(), 4),
        other => panic!("{other:?}"),
    }
    FileAnchor::new(places.anchor())
        .advance(AnchorMark::new([3; 16], Cursor::START))
        .unwrap();
    assert!(matches!(open(), Err(OpenError::ForeignAnchor)));
    // Its own again.
    fs::write(places.anchor(), &anchor).unwrap();
    open().unwrap().close().unwrap();
    // Or a new one, on purpose.
    fs::remove_file(places.anchor()).unwrap();
    let options = places.options().accept_new_anchor();
    EmbeddedStore::open(places.store(), &options)
        .unwrap()
        .close()
        .unwrap();
    open().unwrap();
}

#[test]
fn sto_011_a_store_that_went_missing_is_not_replaced_by_an_empty_one() {
    let (places, _) = Places::with_a_copy_from_before_a_revocation();
    fs::remove_file(places.store()).unwrap();
    let opened = EmbeddedStore::open_or_create(places.store(), &places.options());
    assert!(
        matches!(opened, Err(OpenError::ForeignAnchor)),
        "{opened:?}"
    );
    let opened = EmbeddedStore::open(places.store(), &places.options());
    assert!(matches!(opened, Err(OpenError::Missing { .. })));
    assert!(!places.store().exists());
}

/// An anchor that fails when it is told to.
#[derive(Default)]
struct Moody {
    mark: std::sync::Mutex<Option<AnchorMark>>,
    fails: std::sync::atomic::AtomicBool,
}

impl Anchor for Moody {
    fn load(&self) -> Result<Option<AnchorMark>, m2m_store::AnchorError> {
        Ok(*self.mark.lock().unwrap())
    }

    fn advance(&self, mark: AnchorMark) -> Result<(), m2m_store::AnchorError> {
        if self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(m2m_store::AnchorError::new(m2m_store::Reason::new("moody")));
        }
        *self.mark.lock().unwrap() = Some(mark);
        Ok(())
    }
}

#[test]
fn sto_011_what_the_anchor_did_not_take_is_not_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let anchor = Arc::new(Moody::default());
    let options = options(0).with_anchor(Arc::clone(&anchor) as Arc<dyn Anchor>);
    let store = EmbeddedStore::create(&path, &options).unwrap();
    let before = store.head();
    anchor
        .fails
        .store(true, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..2 {
        let answer = block_on(store.commit(revoke(1)));
        assert!(
            matches!(answer, Err(StoreError::OutcomeUnknown { .. })),
            "{answer:?}"
        );
    }
    // It is there, so whoever follows is woken.
    assert!(is_there(&store, "revocation", 1));
    block_on(store.changed(before)).unwrap();
    anchor
        .fails
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let done = block_on(store.commit(revoke(1))).unwrap();
    assert!(done.was_repeated());
    let mark = anchor.load().unwrap().unwrap();
    assert_eq!(mark.place(), store.head());
}

#[test]
fn a_store_whose_anchor_failed_while_it_was_created_can_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let anchor = Arc::new(Moody::default());
    let options = options(0).with_anchor(Arc::clone(&anchor) as Arc<dyn Anchor>);
    anchor
        .fails
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(EmbeddedStore::create(&path, &options).is_err());
    anchor
        .fails
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let store = EmbeddedStore::open_or_create(&path, &options).unwrap();
    block_on(store.commit(revoke(1))).unwrap();
}
