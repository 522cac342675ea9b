//! What a look-up costs, beside a plain hash set of the same ids in the same run.
//!
//! `cargo run --release -p m2m-revoke --example lookup_cost -- 10000000`
//!
//! The peer is `hashbrown` with `foldhash`, the fastest plain set we know. It holds the ids as
//! numbers and cannot be written to while it is read. Ours is asked the whole question: issuer and
//! `jti` as text, hashed under a key, with an expiry, while writers may come; `reader` is
//! `RevocationReader::check_token_of`. *Same question* is the peer behind `Live`, holding keyed hashes
//! (SipHash) of issuer and `jti`.
//!
//! The questions come in a row, so the processor works on several at once as far as their
//! instructions fit into it: that flatters whoever needs the fewest. All contenders are asked in turn,
//! in rounds, so that a busy machine slows all; the calmest round counts.
#![allow(clippy::print_stdout)] // this is a program

use std::hash::Hasher;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use m2m_revoke::{
    Revocation, RevocationReader, RevocationSnapshot, Revocations, Target, TokenFacts,
};
use m2m_types::{Live, Timestamp};
use siphasher::sip128::{Hasher128, SipHasher13};

const ISSUER: &str = "https://issuer.example";
const QUESTIONS: usize = 1 << 20;
const ROUNDS: usize = 9;
const CHUNK: u64 = 1_000_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let entries: u64 = match std::env::args().nth(1) {
        Some(argument) => argument.parse()?,
        None => 1_000_000,
    };
    let now = Timestamp::from_unix_seconds(1_700_000_000)?;
    let expires = Timestamp::from_unix_seconds(1_700_003_600)?;

    let revocations = Revocations::new([0x5a; 16], now).with_capacity_limit(entries);
    let revocations = Arc::new(revocations);
    let built = build(&revocations, entries, expires)?;
    let loaded = load(&revocations)?;
    let peer = peer(entries);

    let issuer = revocations.prepare_issuer(ISSUER);
    let hits = Questions::new(|n| scatter(n) % entries);
    let misses = Questions::new(|n| entries + n);
    let shared = Live::new(
        peer.iter()
            .map(|id| keyed(&Jti(digits(*id))))
            .collect::<Peer>(),
    );
    let mut reader = RevocationReader::new(Arc::clone(&revocations));
    let mut rows = Vec::new();
    for (name, questions, answer) in [("hit", &hits, true), ("miss", &misses, false)] {
        let mut columns = [const { Vec::new() }; 6];
        for _ in 0..ROUNDS {
            let round = [
                questions.ask(answer, |id, _| peer.contains(&id))?,
                questions.ask(answer, |_, jti| shared.load().contains(&keyed(jti)))?,
                questions.ask(answer, |_, jti| {
                    let jti = jti.as_str();
                    let target = Target::Token {
                        issuer: ISSUER,
                        jti,
                    };
                    revocations.check(&target, Some(now), now).is_err()
                })?,
                questions.ask(answer, |_, jti| {
                    let facts = facts(jti.as_str(), now);
                    revocations.check_token(&facts, now).is_err()
                })?,
                questions.ask(answer, |_, jti| {
                    let facts = facts(jti.as_str(), now);
                    revocations.check_token_of(&issuer, &facts, now).is_err()
                })?,
                questions.ask(answer, |_, jti| {
                    let facts = facts(jti.as_str(), now);
                    reader.check_token_of(&issuer, &facts, now).is_err()
                })?,
            ];
            for (column, value) in columns.iter_mut().zip(round) {
                column.push(value);
            }
        }
        rows.push((name, columns.map(calmest)));
    }

    let stats = revocations.stats();
    println!(
        "{entries} entries, {:.1} bytes each",
        stats.bytes() as f64 / entries as f64
    );
    println!("built {CHUNK} at a time in {built:?}");
    println!("loaded from its bytes, checked, in {loaded:?}");
    println!("ns a look-up, the calmest of {ROUNDS} rounds");
    println!(
        "        set  set, same question   check  check_token  check_token_of  reader : set  : same"
    );
    for (name, [set, same, check, token, of, reader]) in &rows {
        let (to_set, to_same) = (reader / set, reader / same);
        println!(
            "{name:4} {set:6.1} {same:19.1} {check:7.1} {token:12.1} {of:15.1} {reader:7.1} {to_set:5.2} {to_same:7.2}"
        );
    }
    println!("empty: {:.1} ns", empty(now)?);
    Ok(ExitCode::SUCCESS)
}

fn build(revocations: &Revocations, entries: u64, expires: Timestamp) -> Result<Duration, Failure> {
    let begin = Instant::now();
    for first in (0..entries).step_by(CHUNK as usize) {
        let names: Vec<Jti> = (first..entries.min(first + CHUNK)).map(Jti::of).collect();
        revocations.revoke_many(names.iter().map(|jti| {
            let target = Target::Token {
                issuer: ISSUER,
                jti: jti.as_str(),
            };
            Revocation::of(target, expires)
        }))?;
    }
    Ok(begin.elapsed())
}

fn load(revocations: &Revocations) -> Result<Duration, Failure> {
    let bytes = revocations.snapshot()?.as_bytes().to_vec();
    let bytes: Arc<[u8]> = bytes.into();
    let mut calmest = Duration::MAX;
    for _ in 0..ROUNDS {
        let bytes = Arc::clone(&bytes);
        let begin = Instant::now();
        let snapshot = RevocationSnapshot::from_bytes(bytes)?;
        calmest = calmest.min(begin.elapsed());
        black_box(Revocations::from_snapshot(snapshot));
    }
    Ok(calmest)
}

type Peer = HashSet<u128, RandomState>;

fn peer(entries: u64) -> Peer {
    let mut set = HashSet::with_capacity_and_hasher(entries as usize, RandomState::default());
    set.extend((0..entries).map(id));
    set
}

fn empty(now: Timestamp) -> Result<f64, Failure> {
    let revocations = Revocations::new([1; 16], now);
    let questions = Questions::new(|n| n);
    let rounds = (0..ROUNDS).map(|_| {
        questions.ask(false, |_, jti| {
            revocations
                .check_token(&facts(jti.as_str(), now), now)
                .is_err()
        })
    });
    Ok(calmest(rounds.collect::<Result<Vec<_>, _>>()?))
}

fn facts(jti: &str, now: Timestamp) -> TokenFacts<'_> {
    TokenFacts {
        issuer: ISSUER,
        jti: Some(jti),
        subject: Some("spiffe://example.org/billing"),
        session: None,
        key: None,
        issued_at: Some(now),
    }
}

/// The ids to ask for, made before the clock runs.
struct Questions(Vec<(u128, Jti)>);

impl Questions {
    fn new(number: impl Fn(u64) -> u64) -> Self {
        let numbers = (0..QUESTIONS as u64).map(number);
        Self(numbers.map(|n| (id(n), Jti::of(n))).collect())
    }

    /// Nanoseconds a question; fails if one is answered other than `expected`.
    fn ask(
        &self,
        expected: bool,
        mut look: impl FnMut(u128, &Jti) -> bool,
    ) -> Result<f64, Failure> {
        let begin = Instant::now();
        let mut right = 0;
        for (id, jti) in &self.0 {
            right += usize::from(look(black_box(*id), black_box(jti)) == expected);
        }
        let elapsed = begin.elapsed();
        if right != self.0.len() {
            return Err(format!("{right} of {} answers are right", self.0.len()).into());
        }
        Ok(elapsed.as_nanos() as f64 / self.0.len() as f64)
    }
}

/// A keyed hash of a token, so that strangers who choose names cannot choose places.
fn keyed(jti: &Jti) -> u128 {
    let mut hasher = SipHasher13::new_with_key(&[0x5a; 16]);
    hasher.write(&(ISSUER.len() as u64).to_le_bytes());
    hasher.write(ISSUER.as_bytes());
    hasher.write(&(jti.0.len() as u64).to_le_bytes());
    hasher.write(&jti.0);
    hasher.finish128().as_u128()
}

/// An id as tokens carry it: 32 hexadecimal digits.
struct Jti([u8; 32]);

impl Jti {
    fn of(number: u64) -> Self {
        Self(digits(id(number)))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn digits(id: u128) -> [u8; 32] {
    let mut digits = [b'0'; 32];
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (id >> (4 * at)) as u8 & 0xf;
        *digit = if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        };
    }
    digits
}

fn id(number: u64) -> u128 {
    (u128::from(scatter(number)) << 64) | u128::from(scatter(number ^ u64::MAX))
}

/// SplitMix64: numbers without an order, the same in every run.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The least of several measurements: what it takes when nobody else uses the machine.
fn calmest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::INFINITY, f64::min)
}
