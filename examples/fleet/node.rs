//! One process of the fleet: works on the shared store, follows its revocations, and answers its
//! parent's questions.

use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::LocalKey;
use m2m_store_postgres::{PostgresConfig, PostgresStore};
use m2m_types::{Clock, SystemClock};

use crate::state::{Outcome, World, is_revoked, work};

/// How long a node tries to begin while its connections are cut.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(connection: &str, schema: &str, key: &str, seed: u64) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outer = LocalKey::new(SecretBytes::new(std::fs::read(key)?))?;
    let begun = Instant::now();
    let world = loop {
        match begin(&runtime, connection, schema, &outer) {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
            begun => break begun?,
        }
    };
    world.line("ready\n")?;
    work(&world, seed, &[&follow, &answer]);
    Ok(())
}

/// Loads all revocations before it answers anything.
fn begin(
    runtime: &tokio::runtime::Runtime,
    connection: &str,
    schema: &str,
    outer: &LocalKey,
) -> Outcome<World> {
    let config = PostgresConfig::new(connection)?.with_schema(schema)?;
    let store = PostgresStore::connect(config, outer, Arc::new(SystemRandom));
    let store = runtime.block_on(store)?;
    World::load(Arc::new(store), Some(runtime.handle().clone()))
}

/// Keeps up with what the others revoke.
fn follow(world: &World) -> Outcome<()> {
    let clock = SystemClock::new();
    loop {
        let woken = world.wait(async {
            let changed = world.revocations.changed();
            tokio::time::timeout(Duration::from_secs(1), changed).await
        });
        // Not heard of changes, or nothing changed: look all the same.
        drop(woken);
        // While the store is away nothing can be done but to be stale, and to say so.
        if world
            .wait(world.revocations.catch_up(clock.now()?))
            .is_err()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// `check FILE`: catches up, and then says how many of the tokens in that file it would accept.
fn answer(world: &World) -> Outcome<()> {
    let clock = SystemClock::new();
    for question in std::io::stdin().lock().lines() {
        let question = question?;
        let file = question
            .strip_prefix("check ")
            .ok_or("an unknown question")?;
        let begun = Instant::now();
        while let Err(error) = world.wait(world.revocations.catch_up(clock.now()?)) {
            if begun.elapsed() > PATIENCE {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let revoked = std::fs::read_to_string(file)?;
        let accepted = revoked
            .lines()
            .filter(|jti| !is_revoked(world, jti))
            .count();
        world.line(&format!("accepted {accepted}\n"))?;
    }
    // The parent is gone.
    std::process::exit(0)
}
