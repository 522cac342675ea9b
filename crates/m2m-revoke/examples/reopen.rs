//! How long it takes until a set that is kept in a store answers for the first time.
//!
//! `cargo run --release -p m2m-revoke --features store --example reopen -- 1000000`
//!
//! The store is in memory, so what is measured is reading the records, and making the set of them.
//! The shortest of several openings counts: what it takes when nobody else uses the machine.
#![allow(clippy::print_stdout)] // this is a program

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::SystemRandom;
use m2m_revoke::{Revocation, StoredOptions, StoredRevocations, Target};
use m2m_store::{MAX_BATCH_OPERATIONS, MemoryStore, Scan, Space, Store};
use m2m_types::Timestamp;

const ISSUER: &str = "https://issuer.example";
const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let entries: u64 = match std::env::args().nth(1) {
        Some(argument) => argument.parse()?,
        None => 1_000_000,
    };
    pollster::block_on(reopen(entries))
}

async fn reopen(entries: u64) -> Result<ExitCode, Failure> {
    let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let filling = fill(&store, entries, now).await?;
    let scanning = scan(&*store).await?;

    let mut opening = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let stored = open(&store, entries, now).await?;
        let last = jti(entries - 1);
        let target = Target::Token {
            issuer: ISSUER,
            jti: &last,
        };
        let answer = stored.revocations().check(&target, None, now);
        opening = opening.min(begin.elapsed());
        if answer.is_ok() || stored.stats().set().entries() != entries {
            return Err("a revocation is missing".into());
        }
    }
    let each = |time: Duration| time.as_nanos() as f64 / entries as f64;
    println!("{entries} revocations, one token each");
    println!(
        "revoked durably in {filling:?}, {:.0} ns each",
        each(filling)
    );
    println!(
        "the store alone is scanned in {scanning:?}, {:.0} ns each",
        each(scanning)
    );
    println!(
        "opened, and first right answer, in {opening:?}, {:.0} ns each",
        each(opening)
    );
    Ok(ExitCode::SUCCESS)
}

async fn open(
    store: &Arc<dyn Store>,
    limit: u64,
    now: Timestamp,
) -> Result<StoredRevocations, Failure> {
    let options = StoredOptions::default().with_capacity_limit(limit);
    let opened = StoredRevocations::open(Arc::clone(store), now, &SystemRandom, options);
    Ok(opened.await?)
}

async fn fill(store: &Arc<dyn Store>, entries: u64, now: Timestamp) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let stored = open(store, entries, now).await?;
    for first in (0..entries).step_by(MAX_BATCH_OPERATIONS) {
        let last = entries.min(first + MAX_BATCH_OPERATIONS as u64);
        let names: Vec<String> = (first..last).map(jti).collect();
        let revocations = names.iter().map(|jti| {
            let target = Target::Token {
                issuer: ISSUER,
                jti,
            };
            Revocation::of(target, Timestamp::MAX)
        });
        stored.revoke_many(revocations).await?;
    }
    Ok(begin.elapsed())
}

/// What the store takes for itself.
async fn scan(store: &dyn Store) -> Result<Duration, Failure> {
    let mut shortest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut scan = Scan::new(Space::new("revocation")?);
        while let Some(key) = store.scan(&scan).await?.next() {
            scan = scan.after(key.clone());
        }
        shortest = shortest.min(begin.elapsed());
    }
    Ok(shortest)
}

fn jti(number: u64) -> String {
    format!(
        "{:032x}",
        u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    )
}
