//! Versions of a secret come and go. One whose end was acknowledged must never be there again.

use m2m_store::{Expected, Key, Space};

use super::{Actor, Outcome, World};

pub(crate) struct Deletions;

impl Actor for Deletions {
    fn name(&self) -> &'static str {
        "deleted"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        for nth in 0_u64.. {
            let id = format!("{seed:x}-{nth}");
            let written = world.batch()?;
            let written = written.put(key(&id)?, Expected::Absent, b"a secret".as_slice());
            let version = world.commit(&written)?.revision();
            let deleted = world.batch()?.delete(key(&id)?, Expected::Version(version));
            world.commit(&deleted)?;
            world.say(self, &id)?;
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        for id in told {
            if world.get(&key(id)?)?.is_some() {
                return Err(format!("{id} is alive again").into());
            }
        }
        Ok(())
    }
}

fn key(id: &str) -> Outcome<Key> {
    Ok(Key::new(&Space::new("secret")?, id.as_bytes())?)
}
