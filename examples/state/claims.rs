//! Things of which each exists once (serial numbers, join tokens, a `jti`): several threads of
//! several processes claim the same ones. Each must have one owner, the one who was told so.

use std::collections::BTreeMap;

use m2m_store::{Expected, Key, Space, StoreError};

use super::{Actor, Outcome, World};

pub(crate) struct Claims;

const CLAIMANTS: u8 = 3;

impl Actor for Claims {
    fn name(&self) -> &'static str {
        "claimed"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        std::thread::scope(|scope| {
            let claim = |claimant| move || claim(self, world, seed, claimant);
            let threads: Vec<_> = (0..CLAIMANTS)
                .map(|claimant| scope.spawn(move || claim(claimant)().map_err(|e| e.to_string())))
                .collect();
            for thread in threads {
                thread.join().map_err(|_| "a claimant panicked")??;
            }
            Ok(())
        })
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        let mut owners = BTreeMap::new();
        for line in told {
            let (id, owner) = line.split_once(' ').ok_or("a malformed line")?;
            if let Some(other) = owners.insert(id, owner) {
                return Err(format!("{id} was given to {other} and to {owner}").into());
            }
        }
        for (id, owner) in owners {
            let record = world.get(&key(id)?)?;
            let there = record.map(|record| record.value().as_bytes().to_vec());
            if there.as_deref() != Some(owner.as_bytes()) {
                return Err(format!("{id} was given to {owner} and belongs to {there:?}").into());
            }
        }
        Ok(())
    }
}

fn claim(actor: &Claims, world: &World, seed: u64, claimant: u8) -> Outcome<()> {
    let owner = format!("{seed:x}/{claimant}");
    for nth in first_free(world)?.. {
        let id = id(nth);
        let batch = world
            .batch()?
            .put(key(&id)?, Expected::Absent, owner.as_bytes());
        match world.commit(&batch) {
            Ok(_) => world.say(actor, &format!("{id} {owner}"))?,
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Somewhere near the first id that nobody has.
fn first_free(world: &World) -> Outcome<u64> {
    let taken = |nth: u64| -> Outcome<bool> { Ok(world.get(&key(&id(nth))?)?.is_some()) };
    let mut free = 1;
    while taken(free)? {
        free *= 2;
    }
    let mut last_taken = free / 2;
    while free - last_taken > 1 {
        let middle = last_taken + (free - last_taken) / 2;
        match taken(middle)? {
            true => last_taken = middle,
            false => free = middle,
        }
    }
    Ok(free)
}

fn id(nth: u64) -> String {
    format!("{nth:08}")
}

fn key(id: &str) -> Outcome<Key> {
    Ok(Key::new(&Space::new("claim")?, id.as_bytes())?)
}
