//! Minting and verifying tokens, cold and warm, on one thread and on two; reading JWK sets.
//!
//! ```text
//! cargo bench -p m2m-benches --bench token
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use m2m_benches::{ALGORITHMS, World, now, request};
use m2m_crypto::{Algorithm, Backend, SystemRandom};
use m2m_token::{JwkSet, Scratch, SigningKeyRing, Verifier};

/// The libraries that prepare keys, with their names in bench ids.
const BACKENDS: [(Backend, &str); 2] = [(Backend::Ring, ""), (Backend::AwsLcRs, "-aws-lc-rs")];

fn verify(c: &mut Criterion) {
    for (algorithm, name) in ALGORITHMS {
        for (backend, suffix) in BACKENDS {
            if algorithm == Algorithm::Hs256 && backend != Backend::Ring {
                continue;
            }
            let world = World::new(algorithm, backend);
            let token = world.token();
            let mut scratch = Scratch::new();
            for (verifier, temperature) in [(&world.cold, "cold"), (&world.warm, "warm")] {
                c.bench_function(&format!("token/verify/{name}{suffix}/{temperature}"), |b| {
                    b.iter(|| {
                        let verified = verifier.verify(black_box(&token), now(), &mut scratch);
                        black_box(verified.expect("it verifies").expires_at())
                    });
                });
            }
        }
    }
    let world = World::new(Algorithm::Es256, Backend::Ring);
    let token = world.token();
    let mut scratch = Scratch::new();
    for (garbage, name) in [
        ("Zm9vYmFy.Zm9vYmFy.Zm9vYmFy", "not-json"),
        (&token[1..], "cut"),
        ("", "empty"),
    ] {
        c.bench_function(&format!("token/refuse/{name}"), |b| {
            b.iter(|| {
                let refused = world.cold.verify(black_box(garbage), now(), &mut scratch);
                black_box(refused.expect_err("it is garbage").code())
            });
        });
    }
}

/// The warm way on one thread and on two: as much again, if they do not get in each other's way.
fn threads(c: &mut Criterion) {
    let world = World::new(Algorithm::Es256, Backend::Ring);
    let token = world.token();
    for count in [1, 2] {
        c.bench_function(&format!("token/verify/es256/warm/{count}-threads"), |b| {
            b.iter_custom(|times| run_on(count, times, &world.warm, &token));
        });
    }
}

/// The time that `times` verifications take when each of `count` threads does as many.
fn run_on(count: usize, times: u64, verifier: &Verifier, token: &str) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut scratch = Scratch::new();
                for _ in 0..times {
                    let verified = verifier.verify(black_box(token), now(), &mut scratch);
                    black_box(verified.expect("it verifies").expires_at());
                }
            });
        }
    });
    start.elapsed()
}

fn mint(c: &mut Criterion) {
    for (algorithm, name) in ALGORITHMS {
        for (backend, suffix) in BACKENDS {
            if algorithm == Algorithm::Hs256 && backend != Backend::Ring {
                continue;
            }
            let world = World::new(algorithm, backend);
            world.token();
            c.bench_function(&format!("token/mint/{name}{suffix}"), |b| {
                b.iter(|| {
                    let token = world.minter.mint(&request(), now(), &SystemRandom);
                    black_box(token.expect("it can be minted"))
                });
            });
        }
    }
}

fn jwk_set(c: &mut Criterion) {
    let hour = Duration::from_secs(3600);
    let key = || m2m_benches::signing_key(Algorithm::Es256, Backend::Ring);
    for count in [1, 10, 100] {
        let ring = SigningKeyRing::new(key(), hour).expect("a sound first key");
        for _ in 1..count {
            ring.publish(key(), now()).expect("room");
        }
        let json = ring.jwk_set().to_json();
        assert_eq!(JwkSet::parse(json.as_bytes()).expect("ours").len(), count);
        c.bench_function(&format!("token/jwk-set/parse/es256/{count}-keys"), |b| {
            b.iter(|| JwkSet::parse(black_box(json.as_bytes())).expect("ours"));
        });
    }
}

criterion_group!(benches, verify, threads, mint, jwk_set);
criterion_main!(benches);
