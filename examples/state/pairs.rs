//! Two records that are always written together, one step after the other, by whoever is first. They
//! must never differ, no step may be done twice, and none that was acknowledged be undone.

use std::collections::BTreeSet;

use m2m_store::{Expected, Key, Revision, Space, StoreError};

use super::{Actor, Outcome, World};

pub(crate) struct Pairs;

impl Actor for Pairs {
    fn name(&self) -> &'static str {
        "pair"
    }

    fn work(&self, world: &World, _seed: u64) -> Outcome<()> {
        loop {
            let [(left, before), (right, _)] = both(world)?;
            let (expected, number) = match before {
                Some((version, number)) => (Expected::Version(version), number + 1),
                None => (Expected::Absent, 1),
            };
            let value = number.to_be_bytes().to_vec();
            // Both have the same version, or somebody wrote half a batch.
            let batch = world.batch()?.put(left, expected, value.clone());
            match world.commit(&batch.put(right, expected, value)) {
                Ok(_) => world.say(self, &number.to_string())?,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        let [(_, left), (_, right)] = both(world)?;
        if left != right {
            return Err(format!("half a batch: {left:?} beside {right:?}").into());
        }
        let mut acknowledged = BTreeSet::new();
        for number in told {
            if !acknowledged.insert(number.parse::<u64>()?) {
                return Err(format!("step {number} was done twice").into());
            }
        }
        let acknowledged = acknowledged.last().copied().unwrap_or_default();
        match left.map_or(0, |(_, number)| number) {
            number if number < acknowledged => {
                Err(format!("{acknowledged} was acknowledged and {number} is there").into())
            }
            _ => Ok(()),
        }
    }
}

type Numbered = Option<(Revision, u64)>;

fn both(world: &World) -> Outcome<[(Key, Numbered); 2]> {
    let read = |id: &[u8]| -> Outcome<(Key, Numbered)> {
        let key = Key::new(&Space::new("pair")?, id)?;
        let numbered = world.get(&key)?.map(|record| -> Outcome<_> {
            let number = u64::from_be_bytes(record.value().as_bytes().try_into()?);
            Ok((record.version(), number))
        });
        Ok((key, numbered.transpose()?))
    };
    Ok([read(b"left")?, read(b"right")?])
}
