//! Runs one operation so and so often, for instruction counting:
//!
//! ```text
//! cargo build --release -p m2m-benches --bin count
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/count verify-es256-warm 1000
//! ```
//!
//! The difference between two numbers of repetitions is what the operation itself costs.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;

use m2m_benches::{ALGORITHMS, World, now, request};
use m2m_crypto::{Backend, SystemRandom};
use m2m_token::Scratch;

#[expect(clippy::print_stderr, reason = "a program for people")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(id), Some(Ok(times))) = (
        arguments.first(),
        arguments.get(1).map(|times| times.parse::<u32>()),
    ) else {
        eprintln!("usage: count (verify|mint)-<algorithm>-(bare|cold|warm|garbage|ring) <times>");
        return ExitCode::FAILURE;
    };
    let found = ALGORITHMS
        .iter()
        .find(|(_, name)| id.contains(&format!("-{name}-")));
    let Some((algorithm, _)) = found else {
        eprintln!("no such operation: {id}");
        return ExitCode::FAILURE;
    };
    let world = World::new(*algorithm, Backend::Ring);
    let token = world.token();
    let mut scratch = Scratch::new();
    // What is to be done is decided before it is done, so that only the operation itself is counted.
    let operation = id.rsplit('-').next().unwrap_or_default();
    let verifier = match operation {
        "warm" => &world.warm,
        "bare" => &world.bare,
        _ => &world.cold,
    };
    if id.starts_with("mint-") {
        for _ in 0..times {
            let minted = world.minter.mint(&request(), now(), &SystemRandom);
            black_box(minted.expect("it can be minted"));
        }
    } else if operation == "ring" {
        let (input, _) = token.rsplit_once('.').expect("three parts");
        for _ in 0..times {
            raw_hmac(input.as_bytes());
        }
    } else if operation == "garbage" {
        for _ in 0..times {
            let refused = verifier.verify(&black_box(&token)[1..], now(), &mut scratch);
            black_box(refused.expect_err("it is garbage"));
        }
    } else {
        for _ in 0..times {
            let verified = verifier.verify(black_box(&token), black_box(now()), &mut scratch);
            black_box(verified.expect("it verifies").expires_at());
        }
    }
    ExitCode::SUCCESS
}

/// What ring alone takes for the signature of an HS256 token, with the key of [`World`].
fn raw_hmac(input: &[u8]) {
    use std::sync::OnceLock;
    static KEY: OnceLock<(ring::hmac::Key, [u8; 32])> = OnceLock::new();
    let (key, tag) = KEY.get_or_init(|| {
        let secret: Vec<u8> = (1..=32).collect();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let mut tag = [0; 32];
        tag.copy_from_slice(ring::hmac::sign(&key, input).as_ref());
        (key, tag)
    });
    ring::hmac::verify(key, black_box(input), black_box(tag)).expect("it verifies");
}
