//! A key was found where it should not be: recognised without a database, traced to its owner and
//! version, and swapped.
//!
//! ```text
//! cargo run --release -p m2m-examples --example leaked_key -- [FILE]
//! ```
//!
//! Searches FILE, or standard input if it is `-`, for keys of `acme_live_…`, and says which are real and
//! which are typos. Without FILE it shows all the steps with two clients of its own and a log into which
//! the key of one of them has found its way. A key is never taken from the command line, where every
//! other user of the machine can read it. Exits with 1 if a key was found in FILE.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::SystemRandom;
use m2m_secrets::{
    ClientKeys, KeyFormat, KeyHasher, KeyScanner, KeyTable, LeakAnswer, MalformedKey,
    PepperVersion, SharedSecret,
};
use m2m_types::{Clock, Live, SystemClock};

/// Logs are cut into files long before.
const MAX_TEXT_BYTES: u64 = 256 << 20;
const DAY: Duration = Duration::from_secs(86_400);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match (arguments.next(), arguments.next()) {
        (None, _) => demonstrate().map(|()| ExitCode::SUCCESS),
        (Some(name), None) => search(&name),
        (Some(_), Some(_)) => Err("usage: leaked_key [FILE]".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("leaked_key: {error}");
        ExitCode::from(2)
    })
}

fn scanner() -> Result<KeyScanner, Box<dyn Error>> {
    Ok(KeyScanner::new(vec![KeyFormat::new("acme", "live")?])?)
}

/// What somebody does who has found a file and has no database.
fn search(name: &str) -> Result<ExitCode, Box<dyn Error>> {
    let scanner = scanner()?;
    // Whoever gives a key for a file name has it in the list of processes by now.
    if scanner.find_in(name.as_bytes()).next().is_some()
        || matches!(
            scanner.recognise(name.as_bytes()),
            Err(MalformedKey::Checksum)
        )
    {
        return Err(
            "a key on the command line has leaked: revoke it. Give a file, or - for input".into(),
        );
    }
    let mut text = Vec::new();
    let source: Box<dyn Read> = match name {
        "-" => Box::new(std::io::stdin()),
        name => Box::new(std::fs::File::open(name)?),
    };
    let read = source.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text)?;
    if read as u64 > MAX_TEXT_BYTES {
        return Err(format!("more than {MAX_TEXT_BYTES} bytes").into());
    }
    let mut count = 0;
    for found in scanner.find_in(&text) {
        let before = text.get(..found.start()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        println!("line {line}: {} {}", found.format(), found.key().id());
        count += 1;
    }
    println!("{count} keys in {read} bytes");
    Ok(ExitCode::from(u8::from(count > 0)))
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    let (random, now) = (SystemRandom, SystemClock::new().now()?);
    let scanner = scanner()?;
    let format = scanner.formats().first().ok_or("no format")?.clone();

    // The pepper comes from the program's configuration, never from the database.
    let pepper = SharedSecret::generate(&random)?;
    let version = PepperVersion::new(1).ok_or("no version")?;
    let hasher = Arc::new(KeyHasher::new(format, version, &pepper)?);

    // Billing is in the middle of a rotation, reports has one key.
    let billing = "spiffe://example.org/billing".parse()?;
    let reports = "spiffe://example.org/reports".parse()?;
    let (mut billing, old) = ClientKeys::issue(billing, &hasher, &random, now)?;
    let new = billing.rotate(&hasher, DAY, &random, now)?;
    let (mut reports, only) = ClientKeys::issue(reports, &hasher, &random, now)?;
    let table = KeyTable::build(Arc::clone(&hasher), [&billing, &reports], &random, now)?;
    let table = Live::new(table);
    println!("1. two clients, {} keys", table.load().len());

    // Somebody logs a header and somebody pastes a key with a slip.
    let slip = slip_of(old.key().expose_secret());
    let log = format!(
        "GET /orders 200\nAuthorization: Bearer {}\n{{\"note\":\"use\\n{} please\"}}\n{slip}\n",
        new.key().expose_secret(),
        only.key().expose_secret(),
    );
    println!(
        "2. a log of {} bytes, searched without a database:",
        log.len()
    );
    let found: Vec<_> = scanner.find_in(log.as_bytes()).collect();
    for key in &found {
        println!(
            "   byte {}: {} {}: real",
            key.start(),
            key.format(),
            key.key().id()
        );
    }
    match scanner.recognise(slip.as_bytes()) {
        Err(typo) => println!("   the last line: {typo}"),
        Ok(_) => return Err("a slip was taken for a key".into()),
    }
    if found.len() != 2 {
        return Err("not all keys were found".into());
    }

    for key in found {
        let snapshot = table.load();
        let traced = snapshot.trace(key.key())?;
        println!(
            "3. {} is version {} of {}",
            key.key().id(),
            traced.version(),
            traced.owner()
        );
        let client = match traced.owner() == billing.owner() {
            true => &mut billing,
            false => &mut reports,
        };
        // Keep the client's state and these events, then publish the table, then tell the client.
        let answer = client.report_leak(key.key().id(), &hasher, &random, now)?;
        for event in answer.events() {
            println!("   {event}");
        }
        match answer {
            LeakAnswer::TookOver { current, .. } => {
                println!("   nothing to hand out: version {current} goes on")
            }
            LeakAnswer::Replaced(issued) => println!("   to hand out: {:?}", issued.key()),
            other => return Err(format!("not swapped: {other:?}").into()),
        }
        let next = snapshot.rebuild([&billing, &reports], &random, now)?;
        table.store(next);
    }

    let snapshot = table.load();
    for (leaked, name) in [(&new, "billing's"), (&only, "reports'")] {
        match snapshot.check(leaked.key().expose_secret().as_bytes(), now) {
            Err(refusal) => println!("4. {name} leaked key: {refusal}"),
            Ok(_) => return Err(format!("{name} leaked key is still accepted").into()),
        }
    }
    let served = snapshot.check(old.key().expose_secret().as_bytes(), now)?;
    println!("5. billing goes on with version {}", served.version());

    let clean = String::from_utf8(scanner.redact(log.as_bytes()))?;
    if scanner.find_in(clean.as_bytes()).next().is_some() {
        return Err("a key is left in the clean log".into());
    }
    println!("6. the log, fit to be kept:");
    // The slip is no key, and still nearly one.
    for line in clean.lines().filter(|line| *line != slip) {
        println!("   {line}");
    }
    println!("7. a rule for gitleaks, so that the next one is found before it is pushed:");
    for line in scanner.gitleaks_rules().lines() {
        println!("   {line}");
    }
    Ok(())
}

/// The key with two neighbours exchanged.
fn slip_of(key: &str) -> String {
    let mut bytes = key.as_bytes().to_vec();
    let at = (22..53).find(|at| bytes.get(*at) != bytes.get(at + 1));
    if let Some(at) = at {
        bytes.swap(at, at + 1);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
