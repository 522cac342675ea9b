//! How long it takes until a set that is kept in a file answers for the first time.
//!
//! `cargo run --release -p m2m-revoke --features store --example reopen -- 1000000 200000`
//!
//! The first number is of revocations that came together, the second of some that came one by one,
//! in another file. Times are those of the processor, where the system tells them, so that it hardly
//! matters what else the machine does; the shortest of several openings counts.
#![allow(clippy::print_stdout)] // this is a program

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_revoke::{Revocation, StoredOptions, StoredRevocations, Target};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Revision, Scan, Space, Store};
use m2m_types::Timestamp;

const ISSUER: &str = "https://issuer.prod.example.org";
const ROUNDS: usize = 5;
/// How many callers revoke at once where revocations come one by one.
const CALLERS: u64 = 64;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse());
    let together = numbers.next().unwrap_or(Ok(1_000_000))?;
    let single = numbers.next().unwrap_or(Ok(0))?;
    let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    if together > 0 {
        println!("{together} revocations that came together");
        let directory = tempfile::tempdir()?;
        let store = open_store(directory.path())?;
        let begin = Instant::now();
        revoke_together(&store, together, now)?;
        println!("  written in {:?}", begin.elapsed());
        drop(store);
        reopen(directory.path(), together, now)?;
        compact(directory.path(), now)?;
        reopen(directory.path(), together, now)?;
    }
    if single > 0 {
        println!("{single} revocations that came one by one");
        let directory = tempfile::tempdir()?;
        let store = open_store(directory.path())?;
        let begin = Instant::now();
        revoke_one_by_one(&store, single, now)?;
        println!("  written in {:?}", begin.elapsed());
        drop(store);
        reopen(directory.path(), single, now)?;
        compact(directory.path(), now)?;
        reopen(directory.path(), single, now)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What opens the file; what reads all records and does nothing with them; and what makes the set of
/// them, that reading included.
fn reopen(directory: &Path, entries: u64, now: Timestamp) -> Result<(), Failure> {
    let (mut opening, mut scanning, mut loading) = (Duration::MAX, Duration::MAX, Duration::MAX);
    let mut records = 0;
    for _ in 0..ROUNDS {
        let begin = processor_time();
        let store = open_store(directory)?;
        let opened = processor_time();
        let set = open_set(&store, now)?;
        let last = jti(entries - 1);
        let answer = set.revocations().check(&token(&last), None, now);
        let answered = processor_time();
        if answer.is_ok() || set.stats().set().entries() != entries {
            return Err("a revocation is missing".into());
        }
        let begin_scan = processor_time();
        records = scan(&*store)?;
        scanning = scanning.min(processor_time() - begin_scan);
        opening = opening.min(opened - begin);
        loading = loading.min(answered - opened);
    }
    let bytes = std::fs::metadata(directory.join("state.m2m"))?.len();
    println!(
        "  {records} records, {bytes} bytes, {} each",
        bytes / entries
    );
    println!("  the file is opened in {opening:?} and read in {scanning:?}");
    println!("  the set is opened, and gives the first right answer, in {loading:?}");
    println!("  so all in all in {:?}", opening + loading);
    Ok(())
}

fn compact(directory: &Path, now: Timestamp) -> Result<(), Failure> {
    let store = open_store(directory)?;
    let set = open_set(&store, now)?;
    let begin = processor_time();
    while !pollster::block_on(set.compact(now))?.is_round_done() {}
    let merging = processor_time() - begin;
    let pruned = pollster::block_on(store.prune_tombstones(Revision::MAX))?;
    let (before, after) = pollster::block_on(store.compact())?;
    println!("  merged in {merging:?}, {pruned} deletions forgotten");
    println!("  the file had {before} bytes and has {after}");
    Ok(())
}

fn revoke_together(
    store: &Arc<EmbeddedStore>,
    entries: u64,
    now: Timestamp,
) -> Result<(), Failure> {
    let set = open_set(store, now)?;
    let names: Vec<String> = (0..entries).map(jti).collect();
    let all = names
        .iter()
        .map(|jti| Revocation::of(token(jti), Timestamp::MAX));
    Ok(pollster::block_on(set.revoke_many(all))?)
}

fn revoke_one_by_one(
    store: &Arc<EmbeddedStore>,
    entries: u64,
    now: Timestamp,
) -> Result<(), Failure> {
    let set = open_set(store, now)?;
    let call = |caller: u64| -> Result<(), m2m_revoke::StoredRevokeError> {
        for number in (caller..entries).step_by(CALLERS as usize) {
            let jti = jti(number);
            pollster::block_on(set.revoke(token(&jti), Timestamp::MAX))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || call(caller)))
            .collect();
        for caller in callers {
            caller.join().map_err(|_| "a caller panicked")??;
        }
        Ok(())
    })
}

/// How many records there are.
fn scan(store: &dyn Store) -> Result<usize, Failure> {
    let mut scan = Scan::new(Space::new("revocation")?);
    let mut records = 0;
    loop {
        let page = pollster::block_on(store.scan(&scan))?;
        records += page.records().len();
        match page.next() {
            Some(key) => scan = scan.after(key.clone()),
            None => return Ok(records),
        }
    }
}

fn open_store(directory: &Path) -> Result<Arc<EmbeddedStore>, Failure> {
    let outer = LocalKey::new(SecretBytes::new(vec![7; LocalKey::BYTES]))?;
    let options = EmbeddedOptions::new(Arc::new(outer));
    let path = directory.join("state.m2m");
    Ok(Arc::new(EmbeddedStore::open_or_create(path, &options)?))
}

fn open_set(store: &Arc<EmbeddedStore>, now: Timestamp) -> Result<StoredRevocations, Failure> {
    let store: Arc<dyn Store> = store.clone();
    let options = StoredOptions::default();
    let opened = StoredRevocations::open(store, now, &SystemRandom, options);
    Ok(pollster::block_on(opened)?)
}

/// What this thread has used of the processor; the time of day where that is not known.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
        Duration::from_nanos,
    )
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

fn jti(number: u64) -> String {
    format!(
        "{:032x}",
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    )
}
