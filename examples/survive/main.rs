//! A child process revokes, writes, deletes and follows under load; its parent kills it with SIGKILL
//! at a random moment, opens what it left behind, and checks that nothing that was acknowledged is
//! lost and nothing that is dead is alive. Again and again.
//!
//! ```text
//! cargo run --release -p m2m-examples --example survive            # 100 kills
//! cargo run --release -p m2m-examples --example survive -- 1000    # as many as you like
//! ```
//!
//! Each kind of state is an `Actor` in `examples/state`: it works in the child, says on standard
//! output what was acknowledged to it, and checks in the parent.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod child;
mod file;
#[path = "../state/states.rs"]
mod state;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use state::{Outcome, Random, World, actors, is_revoked};

/// Kills per store: then a new one, so that being created is interrupted too.
const KILLS_PER_STORE: u64 = 25;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["child", directory, seed] => child::run(Path::new(directory), seed.parse()?),
        [] => kill_again_and_again(100, seed_of_now()?),
        [kills] => kill_again_and_again(kills.parse()?, seed_of_now()?),
        [kills, seed] => kill_again_and_again(kills.parse()?, seed.parse()?),
        _ => Err("usage: survive [KILLS [SEED]]".into()),
    }
}

fn seed_of_now() -> Outcome<u64> {
    Ok(std::time::UNIX_EPOCH.elapsed()?.as_secs())
}

/// What was said about a store: actor → its lines, in their order.
#[derive(Default)]
struct Told {
    lines: BTreeMap<String, Vec<String>>,
    acknowledged: u64,
}

fn kill_again_and_again(kills: u64, seed: u64) -> Outcome<()> {
    println!("{kills} kills, seed {seed}");
    let begun = Instant::now();
    let mut random = Random::new(seed);
    let (mut total, mut killed) = (0, 0);
    while killed < kills {
        let directory = tempfile::tempdir()?;
        file::prepare(directory.path(), random.below(2) == 0)?;
        let mut told = Told::default();
        for _ in 0..KILLS_PER_STORE.min(kills - killed) {
            run_and_kill(directory.path(), &mut random, &mut told)?;
            killed += 1;
            check(directory.path(), &told)
                .map_err(|error| format!("after kill {killed} (seed {seed}): {error}"))?;
            if killed.is_multiple_of(KILLS_PER_STORE) || killed == kills {
                let done = total + told.acknowledged;
                let seconds = begun.elapsed().as_secs();
                println!(
                    "{killed:>6} kills, {done:>8} acknowledged, 0 lost, 0 alive again, {seconds} s"
                );
            }
        }
        total += told.acknowledged;
    }
    println!("All that was acknowledged is there, and nothing that was dead is alive.");
    Ok(())
}

/// Starts a child, lets it work for a moment, and kills it.
fn run_and_kill(directory: &Path, random: &mut Random, told: &mut Told) -> Outcome<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .arg(directory)
        .arg(random.next().to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let (line, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut text = String::new();
        // A line without an end was cut by the kill: its write had not returned.
        while output.read_line(&mut text).is_ok_and(|read| read > 0) && text.ends_with('\n') {
            if line.send(text.trim_end().to_owned()).is_err() {
                break;
            }
            text.clear();
        }
    });
    // Mostly at work, sometimes while it still opens the store.
    let patience = match random.below(5) {
        0 => Duration::from_micros(random.below(20_000)),
        _ => {
            let ready = lines.recv_timeout(Duration::from_secs(60));
            if !matches!(ready.as_deref(), Ok("ready")) {
                child.kill()?;
                child.wait()?;
                return Err(format!("the child does not begin: {ready:?}").into());
            }
            Duration::from_micros(1_000 + random.below(80_000))
        }
    };
    std::thread::sleep(patience);
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    reader.join().map_err(|_| "the reader panicked")?;
    for text in lines.try_iter().filter(|text| text != "ready") {
        let (actor, what) = text.split_once(' ').ok_or("a malformed line")?;
        if actor == "violation" {
            return Err(what.into());
        }
        told.acknowledged += 1;
        told.lines
            .entry(actor.into())
            .or_default()
            .push(what.into());
    }
    match ended {
        Some(status) => Err(format!("the child ended by itself: {status}").into()),
        None => Ok(()),
    }
}

/// Opens what the child left behind and has each actor look at it.
fn check(directory: &Path, told: &Told) -> Outcome<()> {
    let Some(store) = file::open(directory)? else {
        return match told.acknowledged {
            0 => Ok(()),
            lost => Err(format!("the store is missing, and {lost} were acknowledged").into()),
        };
    };
    let store = Arc::new(store);
    let world = World::load(store.clone(), None)?;
    if is_revoked(&world, "never-revoked") {
        return Err("what was never revoked is refused".into());
    }
    for actor in actors() {
        let lines = told.lines.get(actor.name()).map(Vec::as_slice);
        actor
            .check(&world, lines.unwrap_or_default())
            .map_err(|error| format!("{}: {error}", actor.name()))?;
    }
    drop(world);
    let store = Arc::into_inner(store).ok_or("the store is still in use")?;
    Ok(store.close()?)
}
