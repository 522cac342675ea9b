//! STO-006, STO-007: files of a store are private whatever the umask and whoever was there before,
//! and appear whole or not at all.
#![cfg(feature = "embedded")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use m2m_crypto::SecretBytes;
use m2m_store::{
    Anchor, AnchorMark, Batch, Cursor, EmbeddedOptions, EmbeddedStore, Expected, FileAnchor,
    IdempotencyKey, Key, LocalKey, OpenError, Space, Store,
};
use pollster::block_on;

const CHILD: &str = "M2M_STORE_CHILD";

fn options() -> EmbeddedOptions {
    let key = SecretBytes::new(vec![1; LocalKey::BYTES]);
    EmbeddedOptions::new(Arc::new(LocalKey::new(key).unwrap()))
}

fn batch(number: u8) -> Batch {
    let key = Key::new(&Space::new("a").unwrap(), &[number]).unwrap();
    Batch::new(IdempotencyKey::from_bytes([number; 16])).put(
        key,
        Expected::Anything,
        vec![number; 9],
    )
}

/// A private directory.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o700);
    directory
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn fifo(path: &Path) {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).unwrap();
}

/// Runs one test of this file in a process of its own, under `umask`.
fn in_a_process(test: &str, umask: &str, argument: &Path) -> std::process::Output {
    Command::new("sh")
        .args(["-c", &format!("umask {umask} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(CHILD, argument)
        .output()
        .unwrap()
}

/// Everything that a store and its anchor write.
fn make_everything(directory: &Path) {
    let anchor = FileAnchor::new(directory.join("anchor"));
    let options = options().with_anchor(Arc::new(anchor));
    let store = EmbeddedStore::create(directory.join("store"), &options).unwrap();
    block_on(store.commit(batch(1))).unwrap();
    store.back_up(directory.join("copy")).unwrap();
    block_on(store.compact()).unwrap();
    block_on(store.commit(batch(2))).unwrap();
    store.close().unwrap();
    drop(EmbeddedStore::open(directory.join("store"), &options).unwrap());
}

#[test]
fn sto_007_files_are_private_whatever_the_umask() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return make_everything(Path::new(&directory));
    }
    for umask in ["000", "022", "077", "0777"] {
        let directory = directory();
        let test = "sto_007_files_are_private_whatever_the_umask";
        let ran = in_a_process(test, umask, directory.path());
        assert!(ran.status.success(), "{umask}: {ran:?}");
        let mut files = Vec::new();
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}, umask {umask}", path.display());
            files.push(path.file_name().unwrap().to_owned());
        }
        files.sort();
        assert_eq!(files, ["anchor", "copy", "store"]);
    }
}

#[test]
fn sto_007_what_others_may_write_to_is_refused() {
    let directory = directory();
    let path = directory.path().join("store");
    drop(EmbeddedStore::create(&path, &options()).unwrap());
    for wrong in [0o666, 0o644, 0o640, 0o604, 0o610, 0o601] {
        set_mode(&path, wrong);
        match EmbeddedStore::open(&path, &options()) {
            Err(OpenError::NotPrivate { mode, .. }) => assert_eq!(mode, wrong),
            other => panic!("{wrong:o}: {other:?}"),
        }
        // It is left as it was found.
        assert_eq!(mode(&path), wrong);
    }
    set_mode(&path, 0o600);
    for wrong in [0o777, 0o707, 0o703] {
        set_mode(directory.path(), wrong);
        let [opened, created] = [
            EmbeddedStore::open(&path, &options()),
            EmbeddedStore::create(directory.path().join("new"), &options()),
        ];
        for refused in [opened, created] {
            let right =
                matches!(&refused, Err(OpenError::NotPrivate { mode, .. }) if *mode == wrong);
            assert!(right, "{wrong:o}: {refused:?}");
        }
    }
    // With the sticky bit others cannot exchange what is not theirs.
    set_mode(directory.path(), 0o1777);
    drop(EmbeddedStore::open(&path, &options()).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

type Trap = Box<dyn Fn(&Path)>;

/// What an attacker, or an accident, may have put where a file is expected.
fn traps(victim: &Path) -> Vec<(&'static str, Trap)> {
    let [linked, named] = [victim.to_owned(), victim.to_owned()];
    vec![
        (
            "a symbolic link",
            Box::new(move |path: &Path| symlink(&linked, path).unwrap()),
        ),
        (
            "a dangling symbolic link",
            Box::new(|path: &Path| symlink("nowhere", path).unwrap()),
        ),
        (
            "a hard link",
            Box::new(move |path: &Path| fs::hard_link(&named, path).unwrap()),
        ),
        ("a FIFO", Box::new(fifo)),
        (
            "a directory",
            Box::new(|path: &Path| fs::create_dir(path).unwrap()),
        ),
        (
            "a socket",
            Box::new(|path: &Path| drop(UnixListener::bind(path).unwrap())),
        ),
        (
            "a link to a device",
            Box::new(|path: &Path| symlink("/dev/null", path).unwrap()),
        ),
        (
            "a file of others",
            Box::new(|path: &Path| {
                File::create(path).unwrap();
                set_mode(path, 0o666);
            }),
        ),
    ]
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

#[test]
fn sto_007_links_and_other_things_are_not_opened_and_not_replaced() {
    let [directory, elsewhere] = [directory(), directory()];
    let victim = directory.path().join("victim");
    let path = directory.path().join("store");
    for (what, set) in traps(&victim) {
        drop(EmbeddedStore::create(&victim, &options()).unwrap());
        let before = fs::read(&victim).unwrap();
        set(&path);
        for refused in [
            EmbeddedStore::open(&path, &options()),
            EmbeddedStore::create(&path, &options()),
            EmbeddedStore::open_or_create(&path, &options()),
        ] {
            assert!(refused.is_err(), "{what}: {refused:?}");
        }
        let store = EmbeddedStore::create(elsewhere.path().join("store"), &options()).unwrap();
        assert!(store.back_up(&path).is_err(), "{what}");
        drop(store);
        remove(&elsewhere.path().join("store"));
        // An anchor does not say "nothing" of it.
        assert!(FileAnchor::new(&path).load().is_err(), "{what}");

        assert_eq!(fs::read(&victim).unwrap(), before, "{what}");
        assert!(path.symlink_metadata().is_ok(), "{what}: still there");
        remove(&path);
        remove(&victim);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn sto_007_a_temporary_name_that_was_guessed_is_not_written_through() {
    let directory = directory();
    let victim = directory.path().join("victim");
    let temporary = |path: &Path| PathBuf::from(format!("{}.unfinished", path.display()));
    for (what, set) in traps(&victim) {
        let path = directory.path().join("store");
        fs::write(&victim, b"precious").unwrap();
        set_mode(&victim, 0o600);
        set(&temporary(&path));
        let created = EmbeddedStore::create(&path, &options());
        assert!(created.is_err() && !path.exists(), "{what}: {created:?}");
        remove(&temporary(&path));

        let store = EmbeddedStore::create(&path, &options()).unwrap();
        block_on(store.commit(batch(1))).unwrap();
        set(&temporary(&path));
        assert!(block_on(store.compact()).is_err(), "{what}");
        // Nothing came of it, and writing goes on.
        block_on(store.commit(batch(2))).unwrap();
        store.close().unwrap();
        remove(&temporary(&path));
        let store = EmbeddedStore::open(&path, &options()).unwrap();
        assert_eq!(store.head().revision().number(), 2);
        drop(store);
        remove(&path);

        let anchor = FileAnchor::new(&path);
        set(&temporary(&path));
        let mark = AnchorMark::new([1; 16], Cursor::START);
        assert!(anchor.advance(mark).is_err(), "{what}");
        remove(&temporary(&path));
        assert_eq!(anchor.load(), Ok(None));
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{what}");
        remove(&victim);
    }
}

#[test]
fn sto_006_what_an_interrupted_run_left_is_removed_and_never_taken_for_a_store() {
    let directory = directory();
    let path = directory.path().join("store");
    let temporary = directory.path().join("store.unfinished");
    for content in [&b""[..], b"half a store"] {
        fs::write(&temporary, content).unwrap();
        set_mode(&temporary, 0o600);
        let missing = EmbeddedStore::open(&path, &options());
        assert!(matches!(missing, Err(OpenError::Missing { .. })));
        let store = EmbeddedStore::create(&path, &options()).unwrap();
        assert!(!temporary.exists());
        fs::write(&temporary, content).unwrap();
        set_mode(&temporary, 0o600);
        block_on(store.compact()).unwrap();
        assert!(!temporary.exists());
        drop(store);
        remove(&path);
    }
    // What another process is making is not.
    let file = File::create(&temporary).unwrap();
    set_mode(&temporary, 0o600);
    file.lock().unwrap();
    let locked = EmbeddedStore::create(&path, &options());
    assert!(
        matches!(locked, Err(OpenError::Locked { .. })),
        "{locked:?}"
    );
    assert!(temporary.exists() && !path.exists());
}

#[test]
fn sto_007_a_second_handle_and_a_second_process_are_locked_out() {
    if let Some(path) = std::env::var_os(CHILD) {
        let opened = EmbeddedStore::open(Path::new(&path), &options());
        assert!(
            matches!(opened, Err(OpenError::Locked { .. })),
            "{opened:?}"
        );
        return;
    }
    let directory = directory();
    let path = directory.path().join("store");
    let store = EmbeddedStore::create(&path, &options()).unwrap();
    let is_locked = |when: &str| {
        let second = EmbeddedStore::open(&path, &options());
        assert!(
            matches!(second, Err(OpenError::Locked { .. })),
            "{when}: {second:?}"
        );
        let test = "sto_007_a_second_handle_and_a_second_process_are_locked_out";
        let ran = in_a_process(test, "022", &path);
        assert!(ran.status.success(), "{when}: {ran:?}");
    };
    is_locked("after it was created");
    block_on(store.compact()).unwrap();
    is_locked("after it was compacted");
    store.close().unwrap();
    let store = EmbeddedStore::open(&path, &options()).unwrap();
    is_locked("after it was opened");
    drop(store);
    EmbeddedStore::open(&path, &options())
        .unwrap()
        .close()
        .unwrap();
}

/// A process that is being started has all files of the one that starts it, until it runs its
/// program. What is closed meanwhile is closed nevertheless.
#[test]
#[cfg(target_os = "linux")]
fn sto_007_a_closed_store_is_unlocked_while_another_process_still_has_its_file() {
    let directory = directory();
    let path = directory.path().canonicalize().unwrap().join("store");
    let anchor = directory.path().join("anchor");
    let options = options().with_anchor(Arc::new(FileAnchor::new(&anchor)));
    let store = EmbeddedStore::create(&path, &options).unwrap();
    let mut also_open = also_open(&path);
    store.close().unwrap();
    let store = EmbeddedStore::open(&path, &options).unwrap();
    block_on(store.compact()).unwrap();
    also_open.extend(self::also_open(&path));
    block_on(store.commit(batch(1))).unwrap();
    drop(store);
    drop(EmbeddedStore::open(&path, &options).unwrap());
    assert_eq!(also_open.len(), 2);
}

/// What a new process has of this one's file at `path`: descriptors of what was opened here.
#[cfg(target_os = "linux")]
fn also_open(path: &Path) -> Vec<std::os::fd::OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let all = fs::read_dir("/proc/self/fd").unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    let this_one = |entry: &PathBuf| fs::read_link(entry).is_ok_and(|target| target == path);
    // All of them before there are more.
    let found: Vec<_> = all.filter(this_one).collect();
    assert_eq!(found.len(), 1, "a store has one file open");
    let duplicate = |entry: PathBuf| {
        let number = entry.file_name().unwrap().to_str().unwrap();
        let number = number.parse().unwrap();
        pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).unwrap()
    };
    found.into_iter().map(duplicate).collect()
}

/// While one handle compacts and closes, others try to open: whoever gets it has all there is, and
/// nobody works on a file that has lost its name.
#[test]
fn a_file_that_is_replaced_while_it_is_opened_is_not_worked_on() {
    let directory = directory();
    let path = directory.path().join("store");
    drop(EmbeddedStore::create(&path, &options()).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let path = &path;
            scope.spawn(move || {
                let mut done = 0;
                while done < 10 {
                    let store = match EmbeddedStore::open(path, &options()) {
                        Ok(store) => store,
                        Err(OpenError::Locked { .. }) => {
                            std::thread::yield_now();
                            continue;
                        }
                        Err(other) => panic!("{other:?}"),
                    };
                    block_on(store.commit(batch(thread * 10 + done))).unwrap();
                    block_on(store.compact()).unwrap();
                    done += 1;
                }
            });
        }
    });
    let store = EmbeddedStore::open(&path, &options()).unwrap();
    assert_eq!(store.head().revision().number(), 40);
    assert_eq!(store.stats().unwrap().records, 40);
}

/// Two that create at once: one store comes of it, with all that it acknowledged.
#[test]
fn of_those_who_create_at_once_one_does() {
    for _ in 0..20 {
        let directory = directory();
        let path = directory.path().join("store");
        let created: Vec<_> = std::thread::scope(|scope| {
            let create = |number| {
                let path = &path;
                scope.spawn(move || {
                    let store = EmbeddedStore::create(path, &options()).ok()?;
                    block_on(store.commit(batch(number))).unwrap();
                    Some(number)
                })
            };
            let threads: Vec<_> = (0..4).map(create).collect();
            let all = threads.into_iter();
            all.filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(created.len() <= 1, "{created:?}");
        if let Some(number) = created.first() {
            let store = EmbeddedStore::open(&path, &options()).unwrap();
            let there = block_on(store.commit(batch(*number))).unwrap();
            assert!(there.was_repeated());
        }
    }
}

#[test]
fn a_file_that_is_no_store_is_left_as_it_is() {
    let directory = directory();
    let path = directory.path().join("store");
    for content in [&b""[..], b"x", &[0; 5_000], b"SQLite format 3\0"] {
        fs::write(&path, content).unwrap();
        set_mode(&path, 0o600);
        let refused = EmbeddedStore::open(&path, &options());
        assert!(
            matches!(refused, Err(OpenError::Corrupt { .. })),
            "{refused:?}"
        );
        let created = EmbeddedStore::create(&path, &options());
        assert!(
            matches!(created, Err(OpenError::Exists { .. })),
            "{created:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}
