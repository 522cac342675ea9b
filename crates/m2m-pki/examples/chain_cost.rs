//! What a chain costs, as ratios within one run: leaf and intermediate below a root, all on P-256.
//!
//! `cargo run --release -p m2m-pki --example chain_cost`
//!
//! With `OPERATION COUNT` it does one operation so often and prints nothing, for tools that count
//! instructions.
#![expect(clippy::print_stdout, reason = "it prints a table")]

#[path = "../tests/path_support/mod.rs"]
mod path_support;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::{Algorithm, ecdsa_fixed_to_der};
use m2m_pki::{
    Certificate, ChainVerifier, CrlSet, PeerRole, RevocationRule, TrustBundles,
    VerifiedIntermediates, VerifiedPeer,
};
use path_support::{Made, billing, ca, chain, leaf, now, trust, verifier};
use rustls_pki_types::{CertificateDer, UnixTime};

const OPERATIONS: [&str; 7] = [
    "raw", "webpki", "verify", "known", "crls", "recheck", "read",
];
/// How often something is measured; the shortest counts.
const ROUNDS: usize = 7;
const COUNT: usize = 500;

struct Bench {
    root: Made,
    leaf: Made,
    chain: Vec<CertificateDer<'static>>,
    trust: TrustBundles,
    none: CrlSet,
    crls: CrlSet,
    verifier: ChainVerifier,
    known: ChainVerifier,
    strict: ChainVerifier,
    peer: VerifiedPeer,
    key: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let bench = Bench::new()?;
    let mut arguments = std::env::args().skip(1);
    if let (Some(operation), Some(count)) = (arguments.next(), arguments.next()) {
        let count = count.parse()?;
        return bench.run(&operation, count).ok_or("refused".into());
    }
    let measured: Option<Vec<f64>> = OPERATIONS.iter().map(|name| bench.measure(name)).collect();
    let measured = measured.ok_or("refused")?;
    let Some(raw) = measured.first() else {
        return Err("nothing measured".into());
    };
    println!("operation   microseconds   ÷ two raw signature checks");
    for (name, seconds) in OPERATIONS.iter().zip(&measured) {
        let ratio = seconds / (2.0 * raw);
        println!("{name:10}  {:12.1}   {ratio:.3}", seconds * 1e6);
    }
    Ok(())
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let root = Made::root();
        let issuing = root.issue(ca("Issuing"));
        let leaf = issuing.issue(leaf());
        let (trust, chain) = (trust(&[&root]), chain(&[&leaf, &issuing]));
        let crls = CrlSet::new().with(root.crl(&[], 1))?;
        let crls = crls.with(issuing.crl(&[], 1))?;
        let none = CrlSet::new();
        let memory = Arc::new(VerifiedIntermediates::new(16));
        let known = verifier().with_known(memory.clone());
        let expected = m2m_pki::ExpectedPeer::service(billing());
        let strict = ChainVerifier::new(expected, RevocationRule::strict()).with_known(memory);
        let peer = known.verify(&chain, PeerRole::Client, &trust, &none, now())?;
        // As long as what is signed of a certificate.
        let message = vec![7; 400];
        let mut fixed = [0; 64];
        root.key.sign(&message, &mut fixed)?;
        let spki = root.key.verifying_key().to_spki_der().to_vec();
        Ok(Self {
            key: spki.get(spki.len() - 65..).ok_or("no key")?.to_vec(),
            signature: ecdsa_fixed_to_der(Algorithm::Es256, &fixed)?,
            message,
            verifier: verifier(),
            root,
            leaf,
            chain,
            trust,
            none,
            crls,
            known,
            strict,
            peer,
        })
    }

    fn measure(&self, operation: &str) -> Option<f64> {
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            self.run(operation, COUNT)?;
            best = best.min(start.elapsed());
        }
        Some(best.as_secs_f64() / COUNT as f64)
    }

    fn run(&self, operation: &str, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| match operation {
            "raw" => webpki::ring::ECDSA_P256_SHA256
                .verify_signature(&self.key, &self.message, &self.signature)
                .ok(),
            "webpki" => self.stock(),
            "verify" => self.verify(&self.verifier, &self.none),
            "known" => self.verify(&self.known, &self.none),
            "crls" => self.verify(&self.strict, &self.crls),
            "recheck" => self.peer.recheck(&self.trust, &self.crls, now()).ok(),
            "read" => Certificate::from_der(black_box(&self.leaf.der))
                .map(drop)
                .ok(),
            _ => None,
        })
    }

    fn verify(&self, verifier: &ChainVerifier, crls: &CrlSet) -> Option<()> {
        let chain = black_box(&self.chain);
        let peer = verifier.verify(chain, PeerRole::Client, &self.trust, crls, now());
        peer.map(|peer| drop(black_box(peer))).ok()
    }

    /// The path builder by itself.
    fn stock(&self) -> Option<()> {
        let (leaf, above) = self.chain.split_first()?;
        let leaf = webpki::EndEntityCert::try_from(leaf).ok()?;
        let anchor = webpki::anchor_from_trusted_cert(&self.root.der).ok()?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now().unix_seconds()));
        let usage = webpki::KeyUsage::client_auth();
        let algorithms = &[webpki::ring::ECDSA_P256_SHA256];
        leaf.verify_for_usage(algorithms, &[anchor], above, time, usage, None, None)
            .map(drop)
            .ok()
    }
}
