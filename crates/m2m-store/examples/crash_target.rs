//! What `.ci/crash_matrix` kills and lies to: does one thing to a store, says what it was told, and
//! says afterwards whether that was true.
//!
//! ```text
//! crash_target prepare DIRECTORY
//! crash_target run OPERATION DIRECTORY     a line for each answer: done, refused or unknown
//! crash_target check OPERATION DIRECTORY   reads these lines; fails if one of them was wrong
//! ```
#![allow(clippy::print_stdout)] // it says what it was told

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2m_crypto::SecretBytes;
use m2m_store::{
    Batch, Changes, Cursor, EmbeddedOptions, EmbeddedStore, Expected, FileAnchor, IdempotencyKey,
    Key, LocalKey, OpenError, Revision, Scan, Space, Store, StoreError,
};
use pollster::block_on;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many records there are before, for commits to delete.
const OLD: u8 = 12;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["prepare", directory] => prepare(&At::new(directory)),
        ["run", operation, directory] => run(operation, &At::new(directory)),
        ["check", operation, directory] => check(operation, &At::new(directory)),
        _ => Err("usage: crash_target prepare|run|check [OPERATION] DIRECTORY".into()),
    }
}

/// Where everything is.
struct At(PathBuf);

impl At {
    fn new(directory: &str) -> Self {
        Self(directory.into())
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    fn copy(&self) -> PathBuf {
        self.0.join("copy")
    }

    fn options(&self, operation: &str) -> Outcome<EmbeddedOptions> {
        let options = EmbeddedOptions::new(outer(0)?);
        Ok(match operation {
            "anchored" | "create anchored" => {
                let anchor = FileAnchor::new(self.0.join("anchor"));
                options.with_anchor(Arc::new(anchor)).accept_new_anchor()
            }
            _ => options,
        })
    }
}

fn outer(number: u8) -> Outcome<Arc<LocalKey>> {
    let key = SecretBytes::new(vec![number + 1; LocalKey::BYTES]);
    Ok(Arc::new(LocalKey::new(key)?))
}

fn key(space: &str, number: u8) -> Outcome<Key> {
    Ok(Key::new(&Space::new(space)?, &[number])?)
}

/// Writes two records and deletes an old one: all three, or none.
fn batch(number: u8) -> Outcome<Batch> {
    Ok(Batch::new(IdempotencyKey::from_bytes([number; 16]))
        .put(key("one", number)?, Expected::Absent, vec![number; 50])
        .put(key("other", number)?, Expected::Absent, vec![number; 3_000])
        .delete(key("old", number)?, Expected::Present))
}

fn prepare(at: &At) -> Outcome<()> {
    let store = EmbeddedStore::create(at.store(), &at.options("")?)?;
    for number in 0..OLD {
        let batch = Batch::new(IdempotencyKey::from_bytes([100 + number; 16]));
        let batch = batch.put(key("old", number)?, Expected::Absent, vec![number; 9_000]);
        block_on(store.commit(batch))?;
    }
    // Something to prune.
    block_on(store.commit(batch(0)?))?;
    Ok(store.close()?)
}

fn run(operation: &str, at: &At) -> Outcome<()> {
    let options = at.options(operation)?;
    if let "create" | "create anchored" = operation {
        let store = match EmbeddedStore::create(at.store(), &options) {
            Ok(store) => store,
            Err(error) => return failed(&error),
        };
        say("done", 200);
        let _ = old(&store);
        commit(&store, 1)?;
        return Ok(());
    }
    let store = match EmbeddedStore::open(at.store(), &options) {
        Ok(store) => store,
        Err(error) => return failed(&error),
    };
    match operation {
        "commit" | "anchored" => {
            for number in 1..4 {
                commit(&store, number)?;
            }
        }
        "group" => std::thread::scope(|scope| {
            for number in 1..7 {
                let store = &store;
                scope.spawn(move || {
                    let _ = commit(store, number);
                });
            }
        }),
        "back up" => {
            commit(&store, 1)?;
            match store.back_up(at.copy()) {
                Ok(_) => say("done", 201),
                Err(error) => complain(&error),
            }
            commit(&store, 2)?;
        }
        "compact" => {
            commit(&store, 1)?;
            let compacted = block_on(store.compact());
            tell(202, compacted.map(drop));
            commit(&store, 2)?;
        }
        "prune" => {
            commit(&store, 1)?;
            let pruned = block_on(store.prune_tombstones(Revision::MAX));
            tell(203, pruned.map(drop));
            commit(&store, 2)?;
        }
        "outer key" => {
            commit(&store, 1)?;
            tell(204, block_on(store.change_outer_key(outer(0)?, outer(1)?)));
            commit(&store, 2)?;
        }
        "reopen" => {
            commit(&store, 1)?;
            drop(store);
            match EmbeddedStore::open(at.store(), &options) {
                Ok(store) => commit(&store, 2)?,
                Err(error) => complain(&error),
            }
        }
        other => return Err(format!("no operation {other}").into()),
    }
    Ok(())
}

/// Puts the record there that the commit deletes, in a store that was just created.
fn old(store: &EmbeddedStore) -> Outcome<()> {
    let batch = Batch::new(IdempotencyKey::from_bytes([101; 16]));
    let batch = batch.put(key("old", 1)?, Expected::Absent, vec![1; 9_000]);
    block_on(store.commit(batch))?;
    Ok(())
}

fn commit(store: &EmbeddedStore, number: u8) -> Outcome<()> {
    tell(number, block_on(store.commit(batch(number)?)).map(drop));
    Ok(())
}

fn tell(number: u8, answer: Result<(), StoreError>) {
    match answer {
        Ok(()) => say("done", number),
        Err(error) => {
            complain(&error);
            let unknown = matches!(error, StoreError::OutcomeUnknown { .. });
            say(if unknown { "unknown" } else { "refused" }, number);
        }
    }
}

fn say(what: &str, number: u8) {
    // If nobody hears it, nobody was told.
    let _ = writeln!(std::io::stdout(), "{what} {number}");
}

#[allow(clippy::print_stderr)] // for whoever wonders
fn complain(error: &dyn Error) {
    eprintln!("{error}");
}

/// There is no store to go on with; what was promised before is checked later.
fn failed(error: &OpenError) -> Outcome<()> {
    complain(error);
    Ok(())
}

/// What the run was told, by number.
struct Told(Vec<(String, u8)>);

impl Told {
    fn read() -> Outcome<Self> {
        let mut told = Vec::new();
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let (what, number) = line.split_once(' ').ok_or("a line without a number")?;
            told.push((what.into(), number.parse()?));
        }
        Ok(Self(told))
    }

    fn was(&self, what: &str, number: u8) -> bool {
        self.0.iter().any(|told| told == &(what.into(), number))
    }
}

fn check(operation: &str, at: &At) -> Outcome<()> {
    let told = Told::read()?;
    let options = at.options(operation)?;
    if !at.store().exists() {
        return match told.was("done", 200) || !operation.starts_with("create") {
            true => Err("the store is gone".into()),
            // Interrupted before anything was promised: it can be done again.
            false => Ok(EmbeddedStore::create(at.store(), &options)?.close()?),
        };
    }
    let options = match EmbeddedStore::open(at.store(), &options) {
        Err(OpenError::Key(_)) if operation == "outer key" && !told.was("refused", 204) => {
            EmbeddedOptions::new(outer(1)?)
        }
        Ok(_) if told.was("done", 204) => return Err("the old outer key opens it".into()),
        _ => options,
    };
    let store = EmbeddedStore::open(at.store(), &options)?;
    check_store(&store, &told)?;
    if operation == "back up" && (at.copy().exists() || told.was("done", 201)) {
        let copy = EmbeddedStore::open(at.copy(), &options)?;
        check_whole(&copy)?;
        if told.was("done", 201) && told.was("done", 1) && !is_there(&copy, "one", 1)? {
            return Err("the copy lacks what was there before".into());
        }
    }
    // It goes on, and leaves nothing behind.
    block_on(store.compact())?;
    check_store(&store, &told)?;
    let next = Batch::new(IdempotencyKey::from_bytes([250; 16]));
    block_on(store.commit(next.put(key("one", 250)?, Expected::Absent, vec![1])))?;
    store.close()?;
    left_behind(&at.0)
}

fn check_store(store: &EmbeddedStore, told: &Told) -> Outcome<()> {
    check_whole(store)?;
    for number in 1..OLD {
        let there = is_there(store, "one", number)?;
        if told.was("done", number) && !there {
            return Err(format!("commit {number} was acknowledged and is lost").into());
        }
        if told.was("refused", number) && there {
            return Err(format!("commit {number} was refused and is there").into());
        }
    }
    Ok(())
}

/// Whether each commit is there with all its parts, and the feed tells the same.
fn check_whole(store: &EmbeddedStore) -> Outcome<()> {
    for number in 0..OLD {
        let [one, other, old] = [
            is_there(store, "one", number)?,
            is_there(store, "other", number)?,
            is_there(store, "old", number)?,
        ];
        if one != other || (one && old) {
            return Err(format!("commit {number} is there by half").into());
        }
    }
    for space in ["one", "other", "old"] {
        let space = Space::new(space)?;
        let live = block_on(store.scan(&Scan::new(space.clone())))?
            .records()
            .len();
        let Changes::Some(page) = block_on(store.changes(&space, Cursor::START, 1_000))? else {
            return Err("the start of the feed is too old".into());
        };
        let puts = page.changes().iter();
        let puts = puts.filter(|change| matches!(change, m2m_store::Change::Put(_)));
        if puts.count() != live {
            return Err(format!("the feed of {space} does not tell what is there").into());
        }
    }
    Ok(())
}

fn is_there(store: &EmbeddedStore, space: &str, number: u8) -> Outcome<bool> {
    Ok(block_on(store.get(&key(space, number)?))?.is_some())
}

fn left_behind(directory: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        // What is left of the others is removed when the next one of that name is made.
        if name == "store.unfinished" {
            return Err(format!("{} was left behind", name.display()).into());
        }
    }
    Ok(())
}
