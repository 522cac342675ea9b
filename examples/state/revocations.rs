//! Tokens are revoked. What was acknowledged must be refused for ever after, and nothing else.

use std::time::{Duration, Instant};

use m2m_revoke::Target;

use super::{Actor, Outcome, World};

const ISSUER: &str = "https://issuer.example";
const HOUR: Duration = Duration::from_secs(3_600);
/// How long a revocation is tried while the store is away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Revoking;

impl Actor for Revoking {
    fn name(&self) -> &'static str {
        "revoked"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        let expires = world.now.checked_add(HOUR).ok_or("the end of time")?;
        for nth in 0_u64.. {
            let jti = format!("{seed:x}-{nth}");
            let begun = Instant::now();
            while let Err(error) = world.wait(world.revocations.revoke(token(&jti), expires)) {
                if begun.elapsed() > PATIENCE {
                    return Err(error.into());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            if !is_revoked(world, &jti) {
                return Err(format!("{jti} was revoked and is accepted").into());
            }
            world.say(self, &jti)?;
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        if let Some(jti) = told.iter().find(|jti| !is_revoked(world, jti)) {
            return Err(format!("{jti} is accepted again").into());
        }
        match is_revoked(world, "never-revoked") {
            true => Err("what was never revoked is refused".into()),
            false => Ok(()),
        }
    }
}

/// Whether the token with this `jti` would be refused here and now.
pub(crate) fn is_revoked(world: &World, jti: &str) -> bool {
    let set = world.revocations.revocations();
    set.check(&token(jti), Some(world.now), world.now).is_err()
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}
