//! Everything that the two services trust each other by is replaced while they call each other: a shared
//! secret, the signing key, certificates, the authority and its CRLs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{Certificate, RevocationReason};
use m2m_types::Clock;

use crate::authority::Step;
use crate::load::{Counts, Load};
use crate::table::{Table, grouped, readable};
use crate::world::World;
use crate::{Outcome, say};

/// How many calls there are at the least.
const CALLS: u64 = 10_000;
/// How many signing keys there are at the most: all of them stay published until their tokens expire.
const MAX_KEYS: usize = 60;

/// How often what was replaced, and how long one replacement took in the mean.
#[derive(Default)]
struct Replaced {
    keys: Times,
    leaves: Times,
    authorities: Times,
    crls: Times,
}

#[derive(Default)]
struct Times {
    count: u64,
    took: Duration,
}

impl Times {
    fn add(&mut self, count: u64, begun: Instant) {
        self.count += count;
        self.took += begun.elapsed();
    }

    fn mean(&self) -> String {
        let count = u32::try_from(self.count.max(1)).unwrap_or(u32::MAX);
        format!("{} each", readable(self.took / count))
    }
}

pub(crate) async fn run(world: &World, table: &mut Table) -> Outcome<()> {
    println!("\n3. Everything rotates while both services call each other");
    let before = world.admitted();
    let load = Load::start(world);
    let is_secret_done = AtomicBool::new(false);
    let secret = async {
        let rotated = rotate_secret(world).await;
        is_secret_done.store(true, Ordering::SeqCst);
        rotated
    };
    let others = async {
        let mut replaced = Replaced::default();
        loop {
            replace_all(world, &load, &mut replaced).await?;
            if is_secret_done.load(Ordering::SeqCst) && load.calls() >= CALLS {
                return Outcome::Ok(replaced);
            }
        }
    };
    let both = tokio::try_join!(secret, others);
    let counts = load.stop().await?;
    let (secret, replaced) = both?;
    add_to(table, world, &counts, secret, &replaced);
    let (calls, refused) = (grouped(counts.calls), counts.refused);
    println!(
        "   {calls} calls in {}, {refused} refused",
        readable(counts.took)
    );
    // What the callers count as answered, the other side's guard has admitted.
    let admitted = world.admitted() - before;
    match (counts.calls >= CALLS, refused, admitted == counts.calls) {
        (true, 0, true) => Ok(()),
        _ => Err(format!("{calls} calls, {admitted} admitted, {refused} refused").into()),
    }
}

fn add_to(
    table: &mut Table,
    world: &World,
    counts: &Counts,
    secret: Duration,
    replaced: &Replaced,
) {
    let services = [&world.orders, &world.billing];
    let sum = |of: fn(&crate::service::Service) -> &std::sync::atomic::AtomicU64| {
        let all = services.iter();
        let counts = all.map(|service| of(service).load(Ordering::Relaxed));
        counts.sum::<u64>()
    };
    let kept = |part: usize| {
        let at = counts.kept.len() * part / 100;
        readable(counts.kept.get(at).copied().unwrap_or_default())
    };
    table.add(
        "calls between the services, in both directions",
        grouped(counts.calls),
        readable(counts.took),
        "m2m-tower, m2m-guard",
    );
    table.add(
        "  of them refused",
        counts.refused,
        "",
        "(the program fails if there is one)",
    );
    table.add(
        "  over a kept connection: half of them within, 99 of 100",
        grouped(counts.calls - counts.on_new),
        format!("{}, {}", kept(50), kept(99)),
        "m2m-token, m2m-guard",
    );
    table.add(
        "  over a connection of their own",
        grouped(counts.on_new),
        "",
        "m2m-pki",
    );
    table.add(
        "  with a signed request",
        grouped(sum(|service| &service.signed)),
        "",
        "m2m-secrets",
    );
    table.add(
        "TLS handshakes: full, resumed",
        format!(
            "{}, {}",
            grouped(sum(|service| &service.machine.full)),
            grouped(sum(|service| &service.machine.resumed))
        ),
        "",
        "m2m-pki",
    );
    let mut row = |what, times: &Times, by| table.add(what, times.count, times.mean(), by);
    row(
        "signing keys replaced, each known before it signed",
        &replaced.keys,
        "m2m-token",
    );
    row(
        "certificates and keys replaced, by renewal over mTLS",
        &replaced.leaves,
        "m2m-pki",
    );
    row(
        "authorities replaced: A, A + B, B",
        &replaced.authorities,
        "m2m-pki",
    );
    row(
        "CRLs replaced, with what was superseded",
        &replaced.crls,
        "m2m-pki",
    );
    table.add(
        "shared secrets replaced, the old one retired by proof",
        1,
        readable(secret),
        "m2m-secrets, m2m-store",
    );
}

/// Each kind once.
async fn replace_all(world: &World, load: &Load, replaced: &mut Replaced) -> Outcome<()> {
    let is_first = replaced.authorities.count == 0;
    if world.issuer.keys.jwk_set().len() < MAX_KEYS {
        replace_key(world, replaced).await?;
    }
    let old = replace_leaves(world, replaced).await?;
    supersede(world, load, old, replaced).await?;
    replace_authority(world, load, replaced, is_first).await?;
    load.say_progress(format!(
        "; replaced: {} keys, {} certificates, {} CAs, {} CRLs",
        replaced.keys.count, replaced.leaves.count, replaced.authorities.count, replaced.crls.count
    ));
    Ok(())
}

/// A key that both services have before a token is signed with it.
async fn replace_key(world: &World, replaced: &mut Replaced) -> Outcome<()> {
    let begun = Instant::now();
    let issuer = &world.issuer;
    let next = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let kid = issuer.keys.publish(next, issuer.clock.now()?)?;
    issuer.publish().await?;
    issuer.wait_until_in_place().await?;
    issuer.keys.activate(&kid, issuer.clock.now()?)?;
    for service in [&world.orders, &world.billing] {
        service.refresh_token().await?;
    }
    replaced.keys.add(1, begun);
    Ok(())
}

/// Everybody gets another key and certificate. Gives those of before.
async fn replace_leaves(world: &World, replaced: &mut Replaced) -> Outcome<Vec<Certificate>> {
    let begun = Instant::now();
    let issuer = &world.issuer;
    let machines = [
        &world.orders.machine,
        &world.billing.machine,
        &issuer.machine,
    ];
    let leaf = |machine: &&crate::net::Machine| {
        let material = machine.tls.material();
        material.identity().certificate().clone()
    };
    let old = machines.iter().map(leaf).collect();
    world.orders.renew().await?;
    world.billing.renew().await?;
    let own = issuer
        .authorities
        .lock()
        .await
        .identity(&issuer.machine.name)
        .await?;
    issuer.machine.update(|material| {
        material.set_identity(own);
        Ok(())
    })?;
    replaced.leaves.add(3, begun);
    Ok(old)
}

/// What was replaced is void, once nobody uses it any more: on the next CRL, which everybody takes.
async fn supersede(
    world: &World,
    load: &Load,
    old: Vec<Certificate>,
    replaced: &mut Replaced,
) -> Outcome<()> {
    load.leave_connections().await?;
    let begun = Instant::now();
    let issuer = &world.issuer;
    let mut authorities = issuer.authorities.lock().await;
    for certificate in &old {
        let reason = RevocationReason::Superseded;
        authorities.revoke(certificate, reason).await?;
    }
    authorities.publish_crls().await?;
    let count = authorities.crls().count();
    drop(authorities);
    issuer.publish().await?;
    issuer.wait_until_in_place().await?;
    replaced.crls.add(u64::try_from(count)?, begun);
    Ok(())
}

/// A → A + B → B: known to all before it signs, and used by all before the old one is forgotten.
async fn replace_authority(
    world: &World,
    load: &Load,
    replaced: &mut Replaced,
    is_told: bool,
) -> Outcome<()> {
    let begun = Instant::now();
    let issuer = &world.issuer;
    let tell = |line: String| {
        if is_told {
            say(&line);
        }
    };
    let bundle = issuer.authorities.lock().await.prepare().await?;
    tell(format!(
        "CA: A + B is published as bundle {}; A signs",
        bundle.bundle().sequence().unwrap_or_default()
    ));
    issuer.publish().await?;
    take_step(world, "B may not sign yet", is_told, async || {
        issuer.authorities.lock().await.activate().await
    })
    .await?;
    tell("CA: B signs".to_owned());
    let blocked = issuer.authorities.lock().await.drop_old().await?;
    match blocked {
        Step::Blocked(why) => tell(format!("CA: A stays: {why}")),
        Step::Taken => return Err("an authority was dropped while it was needed".into()),
    }
    let old = replace_leaves(world, replaced).await?;
    supersede(world, load, old, replaced).await?;
    take_step(world, "A stays", is_told, async || {
        issuer.authorities.lock().await.drop_old().await
    })
    .await?;
    issuer.publish().await?;
    issuer.wait_until_in_place().await?;
    tell("CA: B alone is trusted, and A is forgotten".to_owned());
    replaced.authorities.add(1, begun);
    Ok(())
}

/// Takes a step as soon as it is not blocked any more.
async fn take_step(
    world: &World,
    what: &str,
    is_told: bool,
    step: impl AsyncFn() -> Outcome<Step>,
) -> Outcome<()> {
    let mut told = !is_told;
    while let Step::Blocked(why) = step().await? {
        if !told {
            say(&format!("CA: {what}: {why}"));
            told = true;
        }
        world.issuer.wait_for_word().await?;
    }
    Ok(())
}

/// One rotation of the shared secret, from the draw to the proof that nobody uses the old version. How long
/// that took.
async fn rotate_secret(world: &World) -> Outcome<Duration> {
    let begun = Instant::now();
    let secret = Arc::clone(&world.issuer);
    let secret = &secret.secret;
    if let Some(version) = secret.lock().await.stage().await? {
        say(&format!(
            "secret: version {version} is drawn, and nobody signs with it"
        ));
    }
    let version = loop {
        if let Some(version) = secret.lock().await.standby()? {
            break version;
        }
        world.issuer.wait_for_word().await?;
    };
    let old = secret.lock().await.activate(version).await?;
    say(&format!(
        "secret: orders has proved to take version {version}, and billing signs with it"
    ));
    let mut told = String::new();
    let certificate = loop {
        match secret.lock().await.certificate(old)? {
            Ok(certificate) => break certificate,
            Err(why) => {
                // The kind of what is in the way, without names and times.
                let kind: String = why.split(' ').skip(1).take(2).collect();
                if told != kind {
                    say(&format!("secret: version {old} stays: {why}"));
                    told = kind;
                }
            }
        }
        world.issuer.wait_for_word().await?;
    };
    let proof = certificate.to_string().replace('\n', "\n     ");
    say(&format!("secret: {proof}"));
    secret.lock().await.retire(certificate).await?;
    Ok(begun.elapsed())
}
