//! What CRLs cost at a million entries, as ratios within one run.
//!
//! `cargo run --release -p m2m-pki --example crl_cost [ENTRIES]`
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/crl_support/mod.rs"]
mod crl_support;

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use crl_support::{Ca, NOW, time, times};
use m2m_crypto::sha256;
use m2m_pki::{
    CrlIndex, CrlLimits, ListedRevocation, RevocationList, RevocationLists, RevocationReason,
    Scope, Serial, ShardPlan, UnverifiedCrl,
};

/// How often something is measured; the shortest counts.
const ROUNDS: usize = 5;
const LOOK_UPS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let entries = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |n| n.parse())?;
    let ca = Ca::new("Example");
    let revocation = |n| ListedRevocation::new(serial(n), time(NOW), RevocationReason::Unspecified);

    let mut list = RevocationList::new(Scope::everything());
    let mut shards = RevocationLists::new(ShardPlan::new("http://crl.example.org/", 8)?);
    for n in 0..entries {
        list.revoke(&revocation(n))?;
        shards.revoke(&revocation(n))?;
    }

    let (mut der, mut signing, mut hashing) = (Vec::new(), f64::MAX, f64::MAX);
    for round in 1..=ROUNDS as u64 {
        list.recycle(std::mem::take(&mut der));
        let (seconds, signed) = timed(|| {
            let prepared = list.prepare(&ca.signer, ca.number(round), times());
            prepared.and_then(|prepared| prepared.sign(&ca.key))
        });
        der = signed?.into_der();
        signing = signing.min(seconds);
        hashing = hashing.min(timed(|| black_box(sha256(&der))).0);
    }
    println!("entries {entries}, CRL {:.1} MB", der.len() as f64 / 1e6);
    println!(
        "rebuild and sign / SHA-256 of it     {:.2}  ({:.1} ms / {:.1} ms)",
        signing / hashing,
        signing * 1e3,
        hashing * 1e3
    );

    let mut one = f64::MAX;
    for n in 0..20 {
        let (seconds, signed) = timed(|| {
            let shard = shards.revoke(&revocation(entries + n)).unwrap_or_default();
            let prepared = shards.prepare(shard, &ca.signer, ca.number(n + 1), times());
            prepared.and_then(|prepared| prepared.sign(&ca.key))
        });
        signed?;
        one = one.min(seconds);
    }
    println!("revoke one of 256 shards and sign it {:.3} ms", one * 1e3);

    let (parse, crl) = timed(|| UnverifiedCrl::parse(&der, &CrlLimits::default()));
    let (verify, crl) = timed(|| crl.and_then(|crl| crl.verify(&ca.issuer)));
    let crl = crl?;
    let (build, index) = timed(|| CrlIndex::build(&crl));
    let index = index?;
    println!(
        "read {:.1} ms, verify {:.1} ms, build the index {:.1} ms",
        parse * 1e3,
        verify * 1e3,
        build * 1e3
    );
    let per_entry = index.as_bytes().len() as f64 / index.len() as f64;
    println!("bytes an entry in the index          {per_entry:.2}");

    let bytes = index.as_bytes().to_vec();
    let absent = serial(entries * 2);
    let (first, found) = timed(|| CrlIndex::open(bytes).and_then(|i| i.find(absent.as_bytes())));
    if found?.is_some() {
        return Err("a serial was found that is not listed".into());
    }
    println!("open and first answer                {:.3} ms", first * 1e3);

    // What webpki's owned CRL holds and asks; its look-up is not public.
    let peer: BTreeMap<Vec<u8>, u64> = crl
        .entries()
        .map(|entry| (entry.serial.to_vec(), entry.at.unix_seconds()))
        .collect();
    let asked: Vec<[u8; 16]> = (0..LOOK_UPS).map(|n| raw(entries * 3 + n)).collect();
    let (mut theirs, mut ours) = (f64::MAX, f64::MAX);
    for _ in 0..3 {
        let count = |found: &dyn Fn(&[u8]) -> bool| asked.iter().filter(|s| found(*s)).count();
        let (seconds, wrong) = timed(|| count(&|serial| peer.contains_key(serial)));
        theirs = theirs.min(seconds);
        let (seconds, wrong_too) = timed(|| {
            let is_good = |serial: &[u8; 16]| matches!(index.find(serial), Ok(None));
            asked.iter().filter(|serial| !is_good(serial)).count()
        });
        ours = ours.min(seconds);
        if wrong + wrong_too > 0 {
            return Err("a serial was found that is not listed".into());
        }
    }
    println!(
        "ordered map / index, not revoked     {:.1}  ({:.0} ns / {:.0} ns)",
        theirs / ours,
        theirs * 1e9 / LOOK_UPS as f64,
        ours * 1e9 / LOOK_UPS as f64
    );
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

/// A serial of 16 octets, as good as random and positive.
fn raw(n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(sha256(&n.to_be_bytes())) {
        *to = from;
    }
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    bytes
}

fn serial(n: u64) -> Serial {
    Serial::from_bytes(&raw(n)).expect("its highest octet is not zero")
}
