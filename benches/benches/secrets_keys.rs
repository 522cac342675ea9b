//! API keys checked among many, and keys of pairs that are derived and forgotten; each beside the bare
//! HMAC that cannot be spared.
//!
//! ```text
//! cargo bench -p m2m-benches --bench secrets_keys
//! ```

#![allow(clippy::indexing_slicing, reason = "a bench that panics has failed")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use m2m_crypto::{Algorithm, MacKey, SystemRandom};
use m2m_secrets::{
    ClientKeys, Generation, KeyFormat, KeyHasher, KeyScanner, KeyTable, PairRoot, Parties,
    PeerFloors, PepperVersion, RootVersion, SharedSecret,
};
use m2m_types::{Live, ServiceId, Timestamp};

const CLIENTS: usize = 100_000;
/// A canonical request, as it is signed.
const MESSAGE: [u8; 200] = [7; 200];

fn api_keys(c: &mut Criterion) {
    let now = Timestamp::from_unix_seconds(1_700_000_000).expect("in range");
    let pepper = SharedSecret::generate(&SystemRandom).expect("randomness");
    let format = KeyFormat::new("acme", "live").expect("two labels");
    let version = PepperVersion::new(1).expect("not zero");
    let hasher = KeyHasher::new(format.clone(), version, &pepper).expect("a pepper");
    let hasher = Arc::new(hasher);
    let (mut clients, mut keys) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        let owner: ServiceId = format!("spiffe://example.org/client/{number}")
            .parse()
            .expect("a name");
        let (client, issued) =
            ClientKeys::issue(owner, &hasher, &SystemRandom, now).expect("randomness");
        clients.push(client);
        keys.push(issued.key().expose_secret().to_owned());
    }
    let table = KeyTable::build(hasher, &clients, &SystemRandom, now).expect("a table");
    let table = Live::new(table);

    // What a check hashes: id, `_` and secret.
    let bare = MacKey::generate(Algorithm::Hs256, &SystemRandom).expect("randomness");
    let bodies: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[10..54]).collect();
    let mut tag = [0; 32];
    bare.sign(bodies[0], &mut tag).expect("32 bytes");
    c.bench_function("secrets/api-key/bare-hmac", |b| {
        b.iter(|| bare.verify(black_box(bodies[0]), &tag).expect("its tag"));
    });
    // All of them in turn (memory is waited for), and always the same one (it is in the cache).
    for (stride, name) in [(7_919, "all"), (0, "one")] {
        let mut at = 0;
        c.bench_function(&format!("secrets/api-key/check-100000/{name}"), |b| {
            b.iter(|| {
                at = (at + stride) % CLIENTS;
                let snapshot = table.load();
                let verified = snapshot.check(black_box(keys[at].as_bytes()), now);
                black_box(verified.expect("a client").version())
            });
        });
    }
    let mut typo = keys[0].clone().into_bytes();
    typo.swap(30, 31);
    let stranger = format.generate(&SystemRandom).expect("randomness");
    for (text, name) in [
        (typo.as_slice(), "typo"),
        (&keys[0].as_bytes()[1..], "no-key"),
        (stranger.expose_secret().as_bytes(), "unknown"),
    ] {
        c.bench_function(&format!("secrets/api-key/refuse/{name}"), |b| {
            b.iter(|| {
                let refused = table.load().check(black_box(text), now).is_err();
                assert!(refused);
            });
        });
    }

    let scanner = KeyScanner::new(vec![format]).expect("one format");
    let line = "2026-01-01T00:00:00Z INFO request served in 12 ms path=/orders/17 status=200\n";
    let log = line.repeat(1 << 20 >> 6);
    assert_eq!(scanner.find_in(log.as_bytes()).count(), 0);
    c.bench_function("secrets/api-key/find-in-1-MiB", |b| {
        b.iter(|| scanner.find_in(black_box(log.as_bytes())).count());
    });
}

fn pairs(c: &mut Criterion) {
    let secret = SharedSecret::generate(&SystemRandom).expect("randomness");
    let root = PairRoot::new(&secret, RootVersion(1));
    let billing: ServiceId = "spiffe://example.org/billing".parse().expect("a name");
    let ledger: ServiceId = "spiffe://example.org/ledger".parse().expect("a name");
    let first = Generation::FIRST;
    let parties = Parties::pair(&billing, &ledger).expect("two");
    let floors = PeerFloors::new(&SystemRandom).expect("randomness");
    let kept = root.key(&parties, first);
    let tag = root.sign(&parties, first, &MESSAGE);
    c.bench_function("secrets/pair/verify-kept", |b| {
        b.iter(|| kept.verify(black_box(&MESSAGE), &tag).expect("its tag"));
    });
    c.bench_function("secrets/pair/derive-and-verify", |b| {
        b.iter(|| {
            let parties = Parties::pair(black_box(&billing), &ledger).expect("two");
            let verdict = root.verify(&parties, first, &floors, black_box(&MESSAGE), &tag);
            verdict.expect("its tag");
        });
    });
}

criterion_group!(benches, api_keys, pairs);
criterion_main!(benches);
