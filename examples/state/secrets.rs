//! Secrets rotate. No version that was acknowledged is lost while it is alive, none that was retired is
//! alive again, and no ring goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    Command, CommandId, FencingToken, Order, Overlap, Policy, Rotation, SecretName, SecretVersion,
    StoredRotation, StoredRotationError,
};
use m2m_types::Timestamp;

use super::{Actor, Outcome, World};

/// How long an order is tried while the store is away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Rotating;

impl Actor for Rotating {
    fn name(&self) -> &'static str {
        "rotated"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        let name = format!("{seed:x}");
        let mut rotation = begin(world, &SecretName::new(&name)?)?;
        // Time is an argument: here it passes quickly.
        let mut now = world.now;
        let quiet = rotation.rotation().policy().quiet();
        for nth in 1_u128.. {
            now = now.checked_add(quiet).ok_or("the end of time")?;
            give(world, &mut rotation, nth, now)?;
            let state = rotation.rotation();
            let (epoch, next) = (state.ring().epoch(), state.ring().sign());
            let living: Vec<String> = state.living().map(|living| living.to_string()).collect();
            world.say(self, &format!("{name} {epoch} {next} {}", living.join(",")))?;
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        // The last of each secret: what is said of one comes from one thread, in its order.
        let mut last = BTreeMap::new();
        for line in told {
            let (name, said) = line.split_once(' ').ok_or("a malformed line")?;
            last.insert(name, said);
        }
        for (name, said) in last {
            check(world, name, said).map_err(|error| format!("{name}, {said}: {error}"))?;
        }
        Ok(())
    }
}

fn check(world: &World, name: &str, said: &str) -> Outcome<()> {
    let words: Vec<&str> = said.split(' ').collect();
    let [epoch, sign, living] = words.as_slice() else {
        return Err("a malformed line".into());
    };
    let (epoch, sign): (u64, u64) = (epoch.parse()?, sign.parse()?);
    // Opening fails if a living version has lost its secret.
    let opened = open(world, &SecretName::new(name)?)?.ok_or("the rotation is lost")?;
    let state = opened.rotation();
    if state.ring().epoch().number() < epoch {
        return Err(format!("the ring went back to {}", state.ring().epoch()).into());
    }
    // One order may have been recorded and not acknowledged; it does not bring anything back.
    let alive: Result<Vec<u64>, _> = living.split(',').map(str::parse).collect();
    let alive = alive?;
    let newest = alive.iter().max().copied().unwrap_or_default();
    let back =
        |version: &SecretVersion| version.number() <= newest && !alive.contains(&version.number());
    if let Some(version) = state.living().find(back) {
        return Err(format!("version {version} is alive again").into());
    }
    match state.ring().sign().number() >= sign {
        true => Ok(()),
        false => Err("an older version signs again".into()),
    }
}

fn begin(world: &World, name: &SecretName) -> Outcome<StoredRotation> {
    let begun = Instant::now();
    loop {
        let store = Arc::clone(&world.store);
        let (policy, id) = (
            Policy::builder().build()?,
            CommandId::from_bytes([0xff; 16]),
        );
        let random = &SystemRandom;
        let rotation =
            StoredRotation::begin(store, name, policy, id_of(name, id), world.now, random);
        match world.wait(rotation) {
            Ok(rotation) => return Ok(rotation),
            Err(StoredRotationError::Store(error)) if begun.elapsed() < PATIENCE => {
                if let Some(rotation) = open(world, name)? {
                    return Ok(rotation);
                }
                drop(error);
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn open(world: &World, name: &SecretName) -> Outcome<Option<StoredRotation>> {
    let begun = Instant::now();
    loop {
        let opened = StoredRotation::open(Arc::clone(&world.store), name);
        match world.wait(opened) {
            Err(StoredRotationError::Store(error))
                if error.is_transient() && begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return Ok(opened?),
        }
    }
}

/// Gives the `nth` order, again and again while that may help.
fn give(world: &World, rotation: &mut StoredRotation, nth: u128, now: Timestamp) -> Outcome<()> {
    let begun = Instant::now();
    let id = id_of(
        rotation.rotation().secret(),
        CommandId::from_bytes(nth.to_be_bytes()),
    );
    let token = FencingToken::FIRST;
    loop {
        let Some(command) = next(rotation.rotation(), now) else {
            return Err("nothing can be done".into());
        };
        let order = Order { id, token, now };
        let order = rotation.order(&order, command, &SystemRandom);
        match world.wait(order) {
            Ok(_) => return Ok(()),
            Err(StoredRotationError::Store(_) | StoredRotationError::Conflict)
                if begun.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(5));
                let reloaded = open(world, &rotation.rotation().secret().clone())?;
                let before = rotation.rotation().clone();
                *rotation = reloaded.ok_or("the rotation is lost")?;
                if *rotation.rotation() != before {
                    // It was recorded, and only the answer was lost.
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a rotation needs next: nobody is waited for here.
fn next(state: &Rotation, now: Timestamp) -> Option<Command> {
    if let Some(version) = state.draft() {
        return Some(Command::Stage { version });
    }
    let mut living = state.living();
    if let Some(certificate) = living.find_map(|version| state.can_retire(version, now).ok()) {
        return Some(Command::Retire(certificate));
    }
    let overlap = Overlap::Refuse;
    Some(match state.standby(now) {
        Some(version) => Command::Activate { version, overlap },
        None => Command::Draft,
    })
}

/// Idempotency keys are one store's, so the name of the secret is in them.
fn id_of(name: &SecretName, nth: CommandId) -> CommandId {
    let digest = m2m_crypto::sha256(&[name.as_str().as_bytes(), nth.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    CommandId::from_bytes(bytes)
}
