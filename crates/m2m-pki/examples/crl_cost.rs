//! What CRLs cost at a million entries, as ratios within one run.
//!
//! `cargo run --release -p m2m-pki --example crl_cost [ENTRIES]`
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/crl_support/mod.rs"]
mod crl_support;
mod figures;

use std::error::Error;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use crl_support::{Ca, NOW, time, times};
use figures::{Run, figure, take_turns};
use m2m_crypto::sha256;
use m2m_pki::{
    CrlIndex, CrlLimits, ListedRevocation, RevocationList, RevocationLists, RevocationReason,
    Scope, Serial, ShardPlan, UnverifiedCrl,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

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
    figure(
        "crl_rebuild_vs_sha256",
        signing / hashing,
        &format!(
            "rebuild and sign ÷ SHA-256 of it ({:.1} ÷ {:.1} ms)",
            signing * 1e3,
            hashing * 1e3
        ),
        "≤ 1.5",
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
    figure(
        "crl_shard_ms",
        one * 1e3,
        "revoke in one of 256 shards and sign that, in ms",
        "≤ 1",
    );

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
    read_by_others(&der, entries)?;
    let per_entry = index.as_bytes().len() as f64 / index.len() as f64;
    figure(
        "index_bytes_per_entry",
        per_entry,
        "bytes an entry in the index",
        "≤ 20",
    );

    let bytes = index.as_bytes().to_vec();
    let absent = serial(entries * 2);
    let (first, found) = timed(|| CrlIndex::open(bytes).and_then(|i| i.find(absent.as_bytes())));
    if found?.is_some() {
        return Err("a serial was found that is not listed".into());
    }
    figure(
        "index_first_answer_ms",
        first * 1e3,
        "open the index → first answer, in ms",
        "< 1",
    );

    look_up(&der, &index, entries)
}

/// How long others take to read the same list; the command line of OpenSSL with the start of its process, where
/// there is one.
fn read_by_others(der: &[u8], entries: u64) -> Result<(), Box<dyn Error>> {
    let (parser, read) = timed(|| {
        let crl = CertificateRevocationList::from_der(der);
        crl.map(|(_, crl)| crl.iter_revoked_certificates().count() as u64)
    });
    if read != Ok(entries) {
        return Err("x509-parser reads another number of entries".into());
    }
    println!("  read by x509-parser {:>25.1} ms", parser * 1e3);
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), der)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["crl", "-inform", "DER", "-noout", "-in"]);
    openssl.arg(file.path());
    let (seconds, ended) = timed(|| openssl.output());
    match ended {
        Ok(output) if output.status.success() => {
            println!("  read by openssl crl {:>25.1} ms", seconds * 1e3);
        }
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into()),
        Err(_) => println!("  openssl is not here"),
    }
    Ok(())
}

/// "Not revoked", by rustls-webpki's owned form of the same CRL and by the index, for the same serials.
fn look_up(der: &[u8], index: &CrlIndex, entries: u64) -> Result<(), Box<dyn Error>> {
    let owned = webpki::OwnedCertRevocationList::from_der(der)?;
    let peer = webpki::CertRevocationList::Owned(owned);
    let listed = raw(entries / 2);
    if peer.find_serial(&listed)?.is_none() || index.find(&listed)?.is_none() {
        return Err("a serial was not found that is listed".into());
    }
    let asked: Vec<[u8; 16]> = (0..LOOK_UPS).map(|n| raw(entries * 3 + n)).collect();
    let ask = |is_good: &dyn Fn(&[u8; 16]) -> bool| {
        let wrong = asked.iter().filter(|serial| !is_good(serial)).count();
        assert_eq!(wrong, 0, "a serial was found that is not listed");
    };
    let mut runs = [
        Run::new("rustls-webpki", |_| {
            ask(&|serial| matches!(peer.find_serial(serial), Ok(None)));
        }),
        Run::new("index", |_| {
            ask(&|serial| matches!(index.find(serial), Ok(None)));
        }),
    ];
    take_turns(&mut runs, 1, ROUNDS);
    for Run { name, least, .. } in &runs {
        println!("  {name:<14} {:>7.0} ns", least * 1e3 / LOOK_UPS as f64);
    }
    let [theirs, ours] = runs.map(|run| run.least);
    figure(
        "lookup_webpki_vs_index",
        theirs / ours,
        "not revoked: rustls-webpki's owned CRL ÷ index",
        "≥ 10",
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
