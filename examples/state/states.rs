//! Each kind of state that `survive` and `fleet` kill processes over.

mod authority;
mod claims;
mod deletions;
mod inbox;
mod pairs;
mod random;
mod revocations;
mod secrets;
mod telling;
mod world;

pub(crate) use random::Random;
pub(crate) use revocations::is_revoked;
pub(crate) use world::World;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One kind of state.
pub(crate) trait Actor: Send + Sync {
    /// What its lines begin with.
    fn name(&self) -> &'static str;

    /// Works until the process is killed. What is acknowledged is said with [`World::say`].
    fn work(&self, world: &World, seed: u64) -> Outcome<()>;

    /// Checks what a store holds, with all that was ever said about it.
    fn check(&self, world: &World, told: &[String]) -> Outcome<()>;
}

pub(crate) fn actors() -> Vec<Box<dyn Actor>> {
    vec![
        Box::new(revocations::Revoking),
        Box::new(pairs::Pairs),
        Box::new(claims::Claims),
        Box::new(authority::Issuing),
        Box::new(deletions::Deletions),
        Box::new(secrets::Rotating),
        Box::new(inbox::Receiving),
        Box::new(telling::Telling),
    ]
}

/// Something else that a process does meanwhile.
pub(crate) type Other<'a> = &'a (dyn Fn(&World) -> Outcome<()> + Sync);

/// Lets all actors work, and whoever else, until one of them ends, which none does but by an error.
/// That is said, and ends the process.
pub(crate) fn work(world: &World, seed: u64, others: &[Other<'_>]) {
    std::thread::scope(|scope| {
        for (nth, actor) in (1..).zip(actors()) {
            scope.spawn(move || {
                let ended = actor.work(world, seed.wrapping_add(nth));
                world.give_up(actor.name(), ended);
            });
        }
        for other in others {
            scope.spawn(move || world.give_up("other", other(world)));
        }
    });
}
