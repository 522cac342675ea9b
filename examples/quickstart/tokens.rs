//! Tokens alone, in one process: one issuer, two services that verify, everything that makes a token be
//! refused, a key that rotates while calls go on, and a revocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use m2m_crypto::{Algorithm, SecureRandom, SigningKey, SystemRandom};
use m2m_revoke::{Revocations, Target};
use m2m_token::{
    Audience, Issuers, Minter, Scratch, SigningKeyRing, TokenRequest, TokenType, Verifier,
    VerifyError,
};
use m2m_types::{Clock, SystemClock, Timestamp};

use crate::Outcome;
use crate::table::{Table, grouped, readable};

const ISSUER: &str = "https://issuer.example";
const BILLING: &str = "spiffe://example.org/billing";
const ORDERS: &str = "spiffe://example.org/orders";
const MINUTES: Duration = Duration::from_secs(300);

/// Everything in one process: who issues, and the two services that verify.
struct World {
    keys: Arc<SigningKeyRing>,
    minter: Minter,
    revocations: Arc<Revocations>,
    orders: Verifier,
    billing: Verifier,
    now: Timestamp,
}

pub(crate) fn run(table: &mut Table) -> Outcome<()> {
    println!("1. Tokens alone, in one process");
    let now = SystemClock::new().now()?;
    let world = World::new(now)?;
    call_each_other(&world)?;
    show_refusals(&world, table)?;
    rotate_under_load(&world, table)?;
    revoke(&world, table)?;
    time_it(&world, table)
}

impl World {
    fn new(now: Timestamp) -> Outcome<Self> {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let keys = Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600))?);
        let minter = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&keys))?;
        let mut seed = [0; 16];
        SystemRandom.fill(&mut seed)?;
        let revocations = Arc::new(Revocations::new(seed, now));
        let verifier = |audience| -> Outcome<Verifier> {
            Ok(Verifier::builder(
                Issuers::one(ISSUER, keys.verifying_keys()),
                Audience::exactly(audience),
                TokenType::access_token(),
            )
            .with_trust_domain("example.org".parse()?)
            .with_revocations(Arc::clone(&revocations))
            .with_cache(16 << 20, &SystemRandom)?
            .build()?)
        };
        Ok(Self {
            orders: verifier(ORDERS)?,
            billing: verifier(BILLING)?,
            keys,
            minter,
            revocations,
            now,
        })
    }

    fn mint(&self, subject: &str, audience: &str) -> Outcome<String> {
        let request = TokenRequest::new(subject, audience, MINUTES)
            .with_client_id(subject)
            .with_scope("orders:read invoices:write");
        Ok(self.minter.mint(&request, self.now, &SystemRandom)?)
    }
}

fn call_each_other(world: &World) -> Outcome<()> {
    let mut scratch = Scratch::new();
    for (caller, callee, verifier) in [
        (BILLING, ORDERS, &world.orders),
        (ORDERS, BILLING, &world.billing),
    ] {
        let token = world.mint(caller, callee)?;
        let verified = verifier.verify(&token, world.now, &mut scratch)?;
        println!(
            "   {} accepts {} until {} (token of {} bytes, scope orders:read: {})",
            callee.rsplit('/').next().unwrap_or_default(),
            verified.service_id()?,
            verified.claims().expires_at().ok_or("no exp")?,
            token.len(),
            verified.has_scope("orders:read"),
        );
    }
    Ok(())
}

fn show_refusals(world: &World, table: &mut Table) -> Outcome<()> {
    println!(
        "   what is refused, and what the operator reads (the caller reads 401 invalid_token):"
    );
    let token = world.mint(BILLING, ORDERS)?;
    let (rest, _) = token.rsplit_once('.').ok_or("no signature")?;
    let other = world.mint(BILLING, ORDERS)?;
    let (_, other_signature) = other.rsplit_once('.').ok_or("no signature")?;
    let request = TokenRequest::new(BILLING, ORDERS, MINUTES);
    let with = |request: &TokenRequest<'_>| world.minter.mint(request, world.now, &SystemRandom);

    let other_type = Minter::new(ISSUER, TokenType::jwt(), Arc::clone(&world.keys))?;
    let other_key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let other_keys = Arc::new(SigningKeyRing::new(other_key, Duration::from_secs(3600))?);
    let stranger = Minter::new(ISSUER, TokenType::access_token(), Arc::clone(&other_keys))?;
    let elsewhere = Minter::new(
        "https://elsewhere.example",
        TokenType::access_token(),
        other_keys,
    )?;
    let mint = |minter: &Minter| minter.mint(&request, world.now, &SystemRandom);
    let late = world.now.saturating_add(MINUTES);

    let cases = [
        ("expired", token.clone(), late),
        (
            "not valid yet",
            with(&request.with_not_before(late.saturating_sub(MINUTES / 2)))?,
            world.now,
        ),
        (
            "meant for another service",
            world.mint(BILLING, BILLING)?,
            world.now,
        ),
        ("from another issuer", mint(&elsewhere)?, world.now),
        ("signed with an unknown key", mint(&stranger)?, world.now),
        ("of another type", mint(&other_type)?, world.now),
        (
            "with the signature of another",
            format!("{rest}.{other_signature}"),
            world.now,
        ),
        (
            "with `alg` set to none",
            "eyJhbGciOiJub25lIn0.e30.AA".to_owned(),
            world.now,
        ),
        (
            "from another trust domain",
            with(&TokenRequest::new(
                "spiffe://evil.example/billing",
                ORDERS,
                MINUTES,
            ))?,
            world.now,
        ),
        (
            "bound to a certificate nobody showed",
            with(&request.with_certificate_binding([7; 32]))?,
            world.now,
        ),
        ("cut short", rest.to_owned(), world.now),
        ("not a token", "hello".to_owned(), world.now),
        ("a megabyte", "x".repeat(1 << 20), world.now),
    ];
    table.add(
        "tokens refused, each for its own reason",
        cases.len(),
        "",
        "m2m-token",
    );
    let mut scratch = Scratch::new();
    for (what, token, now) in cases {
        let Err(error) = world.orders.verify(&token, now, &mut scratch) else {
            return Err(format!("a token {what} was accepted").into());
        };
        println!("     {what:<37} {:<18} {error}", error.code());
    }
    Ok(())
}

fn rotate_under_load(world: &World, table: &mut Table) -> Outcome<()> {
    let (stop, calls, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let rotations = 5;
    std::thread::scope(|scope| -> Outcome<()> {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut scratch = Scratch::new();
                    let mut held = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        // A new token, and one that was made some calls ago.
                        held.extend(world.mint(BILLING, ORDERS));
                        let old = held.get(held.len().saturating_sub(50));
                        for token in held.last().into_iter().chain(old) {
                            calls.fetch_add(1, Ordering::Relaxed);
                            if world.orders.verify(token, world.now, &mut scratch).is_err() {
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        let rotated = (0..rotations).try_for_each(|_| -> Outcome<()> {
            std::thread::sleep(Duration::from_millis(100));
            let next = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
            let kid = world.keys.publish(next, world.now)?;
            world.keys.activate(&kid, world.now)?;
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.join().map_err(|_| "a caller panicked")?;
        }
        rotated
    })?;
    let (calls, refused) = (calls.into_inner(), refused.into_inner());
    println!(
        "   the signing key rotates while tokens are verified: {rotations} times, {} tokens, {refused} refused",
        grouped(calls)
    );
    table.add(
        format!("tokens minted and verified during {rotations} key rotations"),
        grouped(calls),
        "",
        "m2m-token",
    );
    if refused > 0 || calls == 0 {
        return Err("a rotation refused calls".into());
    }
    Ok(())
}

fn revoke(world: &World, table: &mut Table) -> Outcome<()> {
    let token = world.mint(BILLING, ORDERS)?;
    let mut scratch = Scratch::new();
    let verified = world.orders.verify(&token, world.now, &mut scratch)?;
    let jti = verified.token_id().ok_or("no jti")?.to_owned();
    let expires = verified.expires_at().ok_or("no exp")?;
    let before = world.orders.verify(&token, world.now, &mut scratch)?;
    if !before.was_cached() {
        return Err("a token that was just verified is not remembered".into());
    }
    let begun = Instant::now();
    let target = Target::Token {
        issuer: ISSUER,
        jti: &jti,
    };
    world.revocations.revoke(target, expires)?;
    let next = world.orders.verify(&token, world.now, &mut scratch);
    let took = begun.elapsed();
    match next {
        Err(error @ VerifyError::Revoked(_)) => {
            println!("   a token from the cache is revoked; the next call: {error}");
        }
        _ => return Err("a revoked token was not refused as such".into()),
    }
    table.add(
        "a token revoked → its next use refused, cached or not",
        1,
        readable(took),
        "m2m-revoke, m2m-token",
    );
    Ok(())
}

fn time_it(world: &World, table: &mut Table) -> Outcome<()> {
    let mut scratch = Scratch::new();
    let tokens = (0..50)
        .map(|_| world.mint(BILLING, ORDERS))
        .collect::<Outcome<Vec<_>>>()?;
    let cold_verifier = Verifier::builder(
        Issuers::one(ISSUER, world.keys.verifying_keys()),
        Audience::exactly(ORDERS),
        TokenType::access_token(),
    )
    .with_revocations(Arc::clone(&world.revocations))
    .build()?;
    let mut least = |verifier: &Verifier| -> Outcome<Duration> {
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for token in &tokens {
                verifier.verify(token, world.now, &mut scratch)?;
            }
            best = best.min(start.elapsed() / u32::try_from(tokens.len())?);
        }
        Ok(best)
    };
    let cold = least(&cold_verifier)?;
    let warm = least(&world.orders)?;
    println!(
        "   verifying takes {} with its signature, {} from the cache (ES256; dates, binding and revocation each time)",
        readable(cold),
        readable(warm)
    );
    table.add(
        "a token verified: with its signature, from the cache",
        "",
        format!("{}, {}", readable(cold), readable(warm)),
        "m2m-token",
    );
    Ok(())
}
