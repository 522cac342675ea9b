//! Sessions are revoked without a pause, and all processes are killed at random moments, again and again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::family::{Clients, Family, everybody};
use crate::network::SERVICES;
use crate::random::Random;

/// Kills until all is quiet, and everything is looked at.
const KILLS_IN_A_ROW: u64 = 50;

pub(crate) fn run(kills: u64, seed: u64) -> Outcome<()> {
    println!("{kills} kills, seed {seed}");
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let mut family = Family::start()?;
    let clients = family.clients();
    let mut sessions = Vec::new();
    let mut killed = 0;
    while killed < kills {
        let next = KILLS_IN_A_ROW.min(kills - killed);
        kill_some(&mut family, next, &mut random, &mut sessions)
            .map_err(|error| format!("around kill {killed} (seed {seed}): {error}"))?;
        killed += next;
        for session in &sessions {
            for service in SERVICES {
                let token = clients.token(service, session)?;
                clients.wait_until_refused(service, &token)?;
            }
        }
        let seconds = begun.elapsed().as_secs();
        println!(
            "{killed:>6} kills, {:>6} sessions revoked and refused everywhere, {seconds} s",
            sessions.len()
        );
    }
    family.count(&sessions)?;
    println!("Nothing was lost, and nothing was done twice.");
    Ok(())
}

/// Kills somebody again and again while somebody else revokes.
fn kill_some(
    family: &mut Family,
    kills: u64,
    random: &mut Random,
    sessions: &mut Vec<String>,
) -> Outcome<()> {
    let (clients, first) = (family.clients(), sessions.len());
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let revoking = scope.spawn(|| revoke(&clients, first, &over, &count));
        let killed = (0..kills).try_for_each(|_| {
            let names: Vec<&'static str> = everybody().collect();
            let nth = random.below(names.len() as u64);
            let name = names.get(usize::try_from(nth)?).ok_or("nobody")?;
            // Mostly at work, sometimes while it still begins.
            let micros = match random.below(4) {
                0 => random.below(5_000),
                _ => 5_000 + random.below(100_000),
            };
            std::thread::sleep(Duration::from_micros(micros));
            family.kill(name)?;
            family.revive(name)
        });
        over.store(true, Ordering::SeqCst);
        let revoked = revoking.join().map_err(|_| "it panicked")?;
        let last = first + count.load(Ordering::SeqCst);
        sessions.extend((first..last).map(name_of));
        killed.and(revoked.map_err(Into::into))
    })
}

/// Revokes one session after the other until it is over.
fn revoke(
    clients: &Clients,
    first: usize,
    over: &AtomicBool,
    count: &AtomicUsize,
) -> Result<(), String> {
    for nth in first.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let revoked = clients.revoke(&name_of(nth));
        revoked.map_err(|error| error.to_string())?;
        count.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn name_of(nth: usize) -> String {
    format!("session-{nth}")
}
