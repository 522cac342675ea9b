//! What it costs to open 100,000 sealed secrets, and to replace all of them.
//!
//! ```text
//! cargo run --release -p m2m-secrets --features store --example sealed_cost
//! ```

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::io::{IsTerminal, Write};
use std::time::Instant;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    NamedSecret, SecretName, SecretVersion, SharedSecret, draw_next_versions, read_sealed_file,
    seal, write_sealed_file,
};
use m2m_store::LocalKey;

const SECRETS: usize = 100_000;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("secrets.sealed");
    let outer = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
    let mut secrets = Vec::with_capacity(SECRETS);
    for number in 0..SECRETS {
        let name = SecretName::new(&format!("tenant-{number}/billing"))?;
        let secret = SharedSecret::generate(&SystemRandom)?;
        secrets.push(NamedSecret::new(name, SecretVersion::FIRST, secret));
    }
    write_sealed_file(&path, &seal(&secrets, &outer, &SystemRandom, |_, _| ())?)?;

    let (mut opened, mut replaced) = (Cost::MOST, Cost::MOST);
    for _ in 0..ROUNDS {
        let begun = Begun::now();
        let read = read_sealed_file(&path, &outer)?;
        opened = opened.best(&begun);
        assert_eq!(read.len(), SECRETS, "all are there");

        let begun = Begun::now();
        let drawn = draw_next_versions(&read, &SystemRandom, progress("drawn"))?;
        let sealed = seal(&drawn, &outer, &SystemRandom, progress("sealed"))?;
        write_sealed_file(&path, &sealed)?;
        replaced = replaced.best(&begun);
        let next = read_sealed_file(&path, &outer)?;
        let moved = |(old, new): (&NamedSecret, &NamedSecret)| {
            old.name() == new.name() && old.version() < new.version()
        };
        assert!(read.iter().zip(&next).all(moved), "each has moved on");
    }
    println!(
        "the best of {ROUNDS} rounds, in milliseconds; others at work show in the time on the wall"
    );
    for (name, cost) in [("open", &opened), ("rotate", &replaced)] {
        println!(
            "figure sealed-{name}-100000-processor-ms {:.1}",
            cost.processor
        );
        println!("figure sealed-{name}-100000-ms {:.1}", cost.wall);
    }
    Ok(())
}

/// In milliseconds.
struct Cost {
    wall: f64,
    processor: f64,
}

struct Begun {
    wall: Instant,
    processor: f64,
}

impl Cost {
    const MOST: Self = Self {
        wall: f64::INFINITY,
        processor: f64::INFINITY,
    };

    fn best(&self, begun: &Begun) -> Self {
        Self {
            wall: self.wall.min(begun.wall.elapsed().as_secs_f64() * 1e3),
            processor: self.processor.min(processor() - begun.processor),
        }
    }
}

impl Begun {
    fn now() -> Self {
        Self {
            processor: processor(),
            wall: Instant::now(),
        }
    }
}

/// How long this thread has run, in milliseconds, where the kernel tells (proc(5)); not a number else.
fn processor() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e6
}

/// A line that counts, for whoever looks on.
fn progress(what: &'static str) -> impl FnMut(usize, usize) {
    let shown = std::io::stdout().is_terminal();
    move |done, all| {
        if shown {
            print!("\r{what} {done} of {all}");
            let _ = std::io::stdout().flush();
        }
        if shown && done == all {
            println!();
        }
    }
}
