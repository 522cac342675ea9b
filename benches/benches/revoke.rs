//! Looking up what is revoked, among ten thousand to ten million, beside a hash set of the same ids.
//!
//! ```text
//! cargo bench -p m2m-benches --bench revoke
//! ```
//!
//! `M2M_BENCH_MAX` bounds the size (10,000,000 by default, which takes a gigabyte while it is built).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use hashbrown::HashSet;
use m2m_benches::{ISSUER, now};
use m2m_revoke::{Revocation, Revocations, Target};
use m2m_types::Timestamp;

/// Ids as issuers make them: 128 bits, which the set beside it takes as a number.
fn id(i: u64, random: &RandomState) -> (u128, String) {
    let number = u128::from(random.hash_one(i)) << 64 | u128::from(random.hash_one(!i));
    (number, format!("{number:032x}"))
}

fn token(jti: &str) -> Target<'_> {
    Target::Token {
        issuer: ISSUER,
        jti,
    }
}

fn lookup(c: &mut Criterion) {
    let most = std::env::var("M2M_BENCH_MAX").map_or(10_000_000, |text| {
        text.parse().expect("M2M_BENCH_MAX is a number")
    });
    let random = RandomState::new();
    for size in [10_000_u64, 100_000, 1_000_000, 10_000_000] {
        if size > most {
            continue;
        }
        let revocations = Revocations::new([7; 16], now());
        let mut peer: HashSet<u128, foldhash::fast::RandomState> = HashSet::default();
        for first in (0..size).step_by(100_000) {
            let chunk: Vec<_> = (first..size.min(first + 100_000))
                .map(|i| id(i, &random))
                .collect();
            peer.extend(chunk.iter().map(|(number, _)| number));
            let all = chunk
                .iter()
                .map(|(_, jti)| Revocation::of(token(jti), Timestamp::MAX));
            revocations.revoke_many(all).expect("room");
        }
        // One in a hundred is revoked, as in a service that is well.
        let asked: Vec<_> = (0..100_000)
            .map(|i| match i % 100 {
                0 => id(i * 7919 % size, &random),
                _ => id(size + i, &random),
            })
            .collect();
        let check = |jti: &str| revocations.check(&token(jti), None, now()).is_err();
        assert_eq!(asked.iter().filter(|(_, jti)| check(jti)).count(), 1000);
        assert_eq!(
            asked
                .iter()
                .filter(|(number, _)| peer.contains(number))
                .count(),
            1000
        );

        let mut next = asked.iter().cycle();
        c.bench_function(&format!("revoke/lookup/{size}"), |b| {
            b.iter(|| check(black_box(&next.next().expect("it goes round").1)));
        });
        c.bench_function(&format!("revoke/lookup/{size}/hashbrown-foldhash"), |b| {
            b.iter(|| peer.contains(black_box(&next.next().expect("it goes round").0)));
        });
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut i = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let jti = format!("written-meanwhile-{}", i % 100_000);
                    revocations
                        .revoke(token(&jti), Timestamp::MAX)
                        .expect("room");
                    i += 1;
                }
            });
            c.bench_function(&format!("revoke/lookup/{size}/beside-a-writer"), |b| {
                b.iter(|| check(black_box(&next.next().expect("it goes round").1)));
            });
            done.store(true, Ordering::Relaxed);
        });
    }
}

criterion_group!(benches, lookup);
criterion_main!(benches);
