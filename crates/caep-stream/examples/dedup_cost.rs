//! What it costs to know of a SET whether it came before.
//!
//! `cargo run --release -p caep-stream --features store --example dedup_cost -- 10000000`
//!
//! Times are those of this thread of the processor, where the system tells them, so that it hardly matters
//! what else the machine does; the shortest of several rounds counts. The hash of the SET's name is part of
//! each.
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::process::ExitCode;
use std::time::Duration;

use caep_stream::receiver::SeenSets;
use m2m_crypto::{SystemRandom, sha256};
use m2m_types::Timestamp;

const ISSUER: &str = "https://transmitter.prod.example.org";
const ROUNDS: u64 = 9;
const ASKED: u64 = 200_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let count = std::env::args().nth(1).map(|number| number.parse());
    let count: u64 = count.unwrap_or(Ok(10_000_000))?;
    let now = Timestamp::from_unix_seconds(1_790_000_000)?;
    let mut seen = SeenSets::new(usize::MAX, &SystemRandom)?;

    let mut largest: f64 = 0.0;
    let begin = processor_time();
    for number in 0..count {
        if !seen.insert(ISSUER, &jti(number), now) {
            return Err("there was no room".into());
        }
        if number >= count / 10 {
            largest = largest.max(seen.memory() as f64 / (number + 1) as f64);
        }
    }
    let inserting = processor_time() - begin;

    let naming = shortest(|round| names(round * ASKED));
    // As large as the table's larger half, and read at random places: less than this it cannot cost.
    let memory: Vec<u128> = (0..seen.memory() as u128 / 20).collect();
    let reading = shortest(|round| read(&memory, round * ASKED));
    let known = shortest(|round| asked(&seen, round * ASKED % count, count, true));
    let unknown = shortest(|round| asked(&seen, count + round * ASKED, u64::MAX, false));
    // What the program itself does to make a name is not the table's.
    let each = |time: Duration| (time.saturating_sub(naming)).as_nanos() as f64 / ASKED as f64;
    let hashing = shortest(|round| hashed(round * ASKED));
    println!("figure dedup_hash_ns {:.0}", each(hashing));
    println!(
        "figure dedup_read_ns {:.0}",
        reading.as_nanos() as f64 / ASKED as f64
    );
    println!("figure dedup_entries {}", seen.len());
    println!(
        "figure dedup_insert_ns {:.0}",
        inserting.as_nanos() as f64 / count as f64
    );
    println!("figure dedup_known_ns {:.0}", each(known));
    println!("figure dedup_unknown_ns {:.0}", each(unknown));
    println!(
        "figure dedup_bytes_each {:.1}",
        seen.memory() as f64 / count as f64
    );
    println!("figure dedup_bytes_each_most {largest:.1}");
    let is_right = seen.len() as u64 == count;
    Ok(if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shortest(work: impl Fn(u64) -> bool) -> Duration {
    let rounds = (0..ROUNDS).map(|round| {
        let begin = processor_time();
        let is_right = work(round);
        let time = processor_time() - begin;
        assert!(is_right, "an answer is wrong");
        time
    });
    rounds.min().unwrap_or_default()
}

/// Only makes the names that are asked for.
fn names(from: u64) -> bool {
    (from..from + ASKED).all(|number| !std::hint::black_box(jti(number)).is_empty())
}

/// One read of memory for each, at places that nobody can foresee.
fn read(memory: &[u128], from: u64) -> bool {
    let mut at = from as usize % memory.len();
    for number in from..from + ASKED {
        let step = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let found = memory.get(at).copied().unwrap_or_default() as usize;
        at = (found + step as usize) % memory.len();
    }
    std::hint::black_box(at) < memory.len()
}

/// Only makes and hashes them, as a receiver does in any case: records are found by that hash.
fn hashed(from: u64) -> bool {
    (from..from + ASKED).all(|number| {
        let name = format!("........{ISSUER}{}", jti(number));
        std::hint::black_box(sha256(name.as_bytes())) != [0; 32]
    })
}

fn asked(seen: &SeenSets, from: u64, end: u64, expected: bool) -> bool {
    // Spread over all of them, as they come in life.
    let number = |nth: u64| match end {
        u64::MAX => from + nth,
        end => (from + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) % end,
    };
    (0..ASKED).all(|nth| seen.contains(ISSUER, &jti(number(nth))) == expected)
}

fn jti(number: u64) -> String {
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!("{spread:032x}")
}

/// What this thread has used of the processor; the time of day where that is not known.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|told| told.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(
        || std::time::UNIX_EPOCH.elapsed().unwrap_or_default(),
        Duration::from_nanos,
    )
}
