//! Security events are pushed, some again and again. What was answered 202 is never lost, and what it
//! causes is done once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use caep_set::{Profile, SecurityEvent, SessionRevoked, SetMinter, SubjectId};
use caep_stream::receiver::{
    ActError, Ceiling, Namespace, Outcome as Done, Receiver, Source, SourceKeys, Trust,
    TrustMatrix, TrustRule,
};
use caep_stream::{Inbox, PendingSet, SecretHeader};
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_revoke::Target;
use m2m_store::{Batch, Expected, Key, Space};
use m2m_token::{Audience, SigningKeyRing};

use super::{Actor, Outcome, Random, World};

const TRANSMITTER: &str = "https://transmitter.example";
const RECEIVER: &str = "https://receiver.example";
const NAME: &str = "states";
const AUTHORIZATION: &str = "Bearer sesame";
/// How long a push or an act is tried while the store is away.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many events all processes push, over and over.
const COMMON: u64 = 500;

pub(crate) struct Receiving;

impl Actor for Receiving {
    fn name(&self) -> &'static str {
        "received"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        let pushing = Pushing::new(world)?;
        let mut random = Random::new(seed);
        for nth in 0_u64.. {
            let jti = match nth % 4 {
                // One of those that every process pushes, and one of our own that was answered before.
                0 => format!("common-{}", random.below(COMMON)),
                1 => format!("{seed:x}-{}", random.below(nth)),
                _ => format!("{seed:x}-{nth}"),
            };
            pushing.push(world, &jti)?;
            world.say(self, &format!("got {jti}"))?;
            for jti in pushing.act(world)? {
                world.say(self, &format!("done {jti}"))?;
            }
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        let inbox = Inbox::new(Arc::clone(&world.store), NAME, Profile::ssf())?;
        let waits = patiently(|| world.wait(inbox.pending(256)).map_err(Box::from))?;
        let waits: Vec<&str> = waits.iter().map(|set| set.token().token_id()).collect();
        let is_full = waits.len() == 256;
        for line in told {
            let (what, jti) = line.split_once(' ').ok_or("a malformed line")?;
            let is_done = world.get(&effect(jti)?)?.is_some();
            match (is_done, waits.contains(&jti)) {
                (true, true) => return Err(format!("{jti} is done and waits to be done").into()),
                (false, false) if !is_full => return Err(format!("{jti} is lost").into()),
                (false, _) if what == "done" => return Err(format!("{jti} is undone").into()),
                _ => {}
            }
            if is_done && !is_void(world, jti) {
                return Err(format!("{jti} is done, and its session goes on").into());
            }
        }
        match is_void(world, "never-revoked") {
            true => Err("a session is void that nobody revoked".into()),
            false => Ok(()),
        }
    }
}

/// A transmitter and its receiver, in one process.
struct Pushing {
    minter: SetMinter,
    receiver: Receiver,
}

impl Pushing {
    fn new(world: &World) -> Outcome<Self> {
        // Each process has a key of its own: what a SET is called is what makes it the same.
        let key = SigningKey::generate(Algorithm::Ed25519, &SystemRandom)?;
        let ring = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
        let rule = TrustRule::new(TRANSMITTER, Trust::Act).about(Namespace::own());
        let receiver = patiently(|| {
            let keys = SourceKeys::fixed(ring.verifying_keys());
            let audience = Audience::exactly(RECEIVER);
            let source = Source::new(TRANSMITTER, keys, audience, Profile::ssf())?
                .pushed_with(SecretHeader::new(AUTHORIZATION)?)
                .with_ceiling(Ceiling::per_minute(u32::MAX, u32::MAX));
            let store = Arc::clone(&world.store);
            let opened = Receiver::open(store, NAME, vec![source], &SystemRandom);
            world.wait(opened).map_err(Box::from)
        })?;
        Ok(Self {
            minter: SetMinter::new(TRANSMITTER, ring)?,
            receiver: receiver.with_trust(TrustMatrix::new().with(rule)),
        })
    }

    /// Pushes until the answer is 202, as a transmitter does.
    fn push(&self, world: &World, jti: &str) -> Outcome<()> {
        let event = SecurityEvent::new(SubjectId::opaque(jti)?, SessionRevoked::new());
        let template = self.minter.template(&event, world.now)?;
        let set = self.minter.mint_named(&template, RECEIVER, jti)?;
        let request = http::Request::post("/events")
            .header("content-type", "application/secevent+jwt")
            .header("authorization", AUTHORIZATION)
            .body(set.as_bytes())?;
        patiently(|| {
            let pushed = self
                .receiver
                .handle_push(&request, world.now, &SystemRandom);
            let pushed = world.wait(pushed);
            match pushed.response.status().as_u16() {
                202 => Ok(()),
                other => Err(format!("{other} to a push: {:?}", pushed.received).into()),
            }
        })
    }

    /// Acts upon what there is, and says of what.
    fn act(&self, world: &World) -> Outcome<Vec<String>> {
        let effects = |set: &PendingSet, _: &Done, batch: Batch| {
            // It can be written once: a second time is a conflict, and that is an error.
            match effect(set.token().token_id()) {
                Ok(key) => batch.put(key, Expected::Absent, b"done".as_slice()),
                Err(_) => batch,
            }
        };
        let mut done = Vec::new();
        patiently(|| {
            let report =
                self.receiver
                    .act_with(&world.revocations, effects, 32, world.now, &SystemRandom);
            let report = world.wait(report);
            for acted in &report.acted {
                match acted.outcome() {
                    Done::Voided(_) => done.push(acted.token().token_id().to_owned()),
                    Done::Before => {}
                    other => return Err(format!("an event came to {other:?}").into()),
                }
            }
            match report.problem {
                None => Ok(()),
                Some(error) => Err(Box::from(error)),
            }
        })?;
        Ok(done)
    }
}

/// Tries again while the store is away. What cannot become right by waiting is an error at once.
fn patiently<T>(mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_hopeless(&*error) || begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

fn is_hopeless(error: &(dyn std::error::Error + 'static)) -> bool {
    let conflict = |error: &caep_stream::InboxError| {
        matches!(
            error,
            caep_stream::InboxError::Store(m2m_store::StoreError::Conflict { .. })
                | caep_stream::InboxError::Record { .. }
        )
    };
    match error.downcast_ref::<ActError>() {
        Some(ActError::Inbox(error)) => conflict(error),
        _ => error.downcast_ref().is_some_and(conflict),
    }
}

/// Whether tokens of this session are refused here and now.
fn is_void(world: &World, sid: &str) -> bool {
    let target = Target::Session {
        issuer: TRANSMITTER,
        sid,
    };
    let set = world.revocations.revocations();
    set.check(&target, None, world.now).is_err()
}

fn effect(jti: &str) -> Outcome<Key> {
    Ok(Key::new(&Space::new("event-effect")?, jti.as_bytes())?)
}
