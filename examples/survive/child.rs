//! The process that is killed: all actors at once, a follower that checks what it is told, and
//! somebody who tidies up meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use m2m_store::{EmbeddedStore, Follower, Key, Revision, Space, Step};

use crate::file;
use crate::state::{Outcome, Random, World, work};

pub(crate) fn run(directory: &Path, seed: u64) -> Outcome<()> {
    let store = Arc::new(file::open_or_create(directory)?);
    let world = World::load(store.clone(), None)?;
    world.line("ready\n")?;
    let tidy = |world: &World| tidy(world, &store, seed);
    work(&world, seed, &[&follow, &tidy]);
    Ok(())
}

/// Follows the feed: versions only go up.
fn follow(world: &World) -> Outcome<()> {
    let mut follower = Follower::new(Arc::clone(&world.store), Space::new("pair")?);
    let mut seen: BTreeMap<Key, Revision> = BTreeMap::new();
    loop {
        let step = world.wait(follower.next())?;
        match &step {
            Step::Changes { changes, .. } => {
                for change in changes {
                    let before = seen.insert(change.key().clone(), change.revision());
                    if before.is_some_and(|before| before >= change.revision()) {
                        return Err(format!("{} went back", change.key()).into());
                    }
                }
            }
            _ => seen.clear(),
        }
        follower.done(&step);
    }
}

/// What an operator does while the service runs.
fn tidy(world: &World, store: &EmbeddedStore, seed: u64) -> Outcome<()> {
    let mut random = Random::new(seed);
    loop {
        std::thread::sleep(Duration::from_millis(5 + random.below(40)));
        let head = store.head().revision();
        match random.below(3) {
            0 => drop(world.wait(store.compact())?),
            1 => drop(world.wait(store.prune_tombstones(head))?),
            _ => drop(world.wait(world.revocations.compact(world.now))?),
        }
    }
}
