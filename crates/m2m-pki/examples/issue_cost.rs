//! What it costs to issue from a request, as a ratio within one run: from its bytes to a signed
//! certificate, ÷ one bare signature check (proof of possession) and one bare signature.
//!
//! `cargo run --release -p m2m-pki --example issue_cost`
//!
//! With `OPERATION COUNT` it does one operation so often and prints nothing, for tools that count
//! instructions.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![allow(dead_code, reason = "not all that is shared is used here")]

mod figures;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use figures::{Run, figure, take_turns};
use m2m_crypto::{Algorithm, SystemRandom, ecdsa_fixed_to_der};
use m2m_pki::{Authority, CsrBuilder, Issued, Profile, UnverifiedCsr};
use m2m_types::ServiceId;
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivatePkcs8KeyDer;
use support::{HOUR, now, service, workload};

/// `read` by itself is too short for the clock, and is there to be counted.
const OPERATIONS: [&str; 5] = ["verify", "sign", "possession", "approve", "issue"];
const ROUNDS: usize = 24;
/// A round takes a tenth of a second, more than the ticks by which processor time is counted.
const TURNS: usize = 1000;

struct Bench {
    authority: Authority,
    profile: Profile,
    identity: ServiceId,
    request: Vec<u8>,
    /// The key of the authority as the library underneath has it, and what it signs: as much as
    /// there is to sign of a certificate.
    bare: Arc<dyn SigningKey>,
    message: Vec<u8>,
    /// A signature as that of a request.
    point: Vec<u8>,
    signature: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let bench = Bench::new()?;
    let mut arguments = std::env::args().skip(1);
    if let (Some(operation), Some(count)) = (arguments.next(), arguments.next()) {
        let count: usize = count.parse()?;
        for _ in 0..count {
            bench.run(&operation)?;
        }
        return Ok(());
    }
    for operation in OPERATIONS {
        bench.run(operation)?;
    }
    let mut runs = OPERATIONS.map(|name| {
        let bench = &bench;
        // It was asserted above that each succeeds, and a round that failed would not count.
        Run::new(name, move |_| {
            bench.run(name).expect("it succeeded a moment ago");
        })
    });
    take_turns(&mut runs, TURNS, ROUNDS);
    println!(
        "P-256, one name, a certificate of {} bytes to sign",
        bench.message.len()
    );
    for Run { name, least, .. } in &runs {
        println!("  {name:<12} {least:>8.1} µs of processor");
    }
    let [verify, sign, .., issue] = runs.map(|run| run.least);
    figure(
        "issue_vs_verify_and_sign",
        issue / (verify + sign),
        "issue from a request ÷ (verify + sign)",
        "≤ 1.10",
    );
    Ok(())
}

impl Bench {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (_, ledger) = support::ledger();
        let key = support::key(Algorithm::Es256);
        let pkcs8 = key.to_pkcs8_der();
        let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8.expose_secret().to_vec());
        let bare = rustls::crypto::ring::sign::any_ecdsa_type(&pkcs8.into())?;
        let profile = support::root_profile();
        let holder = service("ca/root");
        let day = support::DAY;
        let root =
            Authority::create_root(&profile, &holder, &key, 3650 * day, now(), &SystemRandom)?;
        let authority = Authority::load(support::record(&ledger, root), key)?;
        let machine = support::key(Algorithm::Es256);
        let request = CsrBuilder::new().sign(&machine)?.der().to_vec();
        let approved = workload().approve(support::csr(), &service("billing"), HOUR)?;
        let message = authority.prepare(approved, now(), &SystemRandom)?;
        let message = message.signing_input().to_vec();
        let mut fixed = [0; 64];
        machine.sign(&request, &mut fixed)?;
        let spki = machine.verifying_key().to_spki_der();
        Ok(Self {
            authority,
            profile: workload(),
            identity: service("billing"),
            bare,
            message,
            point: spki.get(spki.len() - 65..).ok_or("no point")?.to_vec(),
            signature: ecdsa_fixed_to_der(Algorithm::Es256, &fixed)?,
            request,
        })
    }

    fn run(&self, operation: &str) -> Result<(), Box<dyn Error>> {
        match operation {
            "verify" => webpki::ring::ECDSA_P256_SHA256
                .verify_signature(&self.point, &self.request, &self.signature)
                .map_err(|_| "the signature does not hold")?,
            "sign" => {
                let scheme = [SignatureScheme::ECDSA_NISTP256_SHA256];
                let signer = self.bare.choose_scheme(&scheme).ok_or("no signer")?;
                black_box(signer.sign(&self.message)?);
            }
            "read" => drop(black_box(UnverifiedCsr::from_der(&self.request)?)),
            "possession" => drop(black_box(UnverifiedCsr::from_der(&self.request)?.verify()?)),
            "approve" => drop(black_box(self.approve()?)),
            "issue" => drop(black_box(self.issue()?)),
            _ => return Err("no such operation".into()),
        }
        Ok(())
    }

    fn approve(&self) -> Result<m2m_pki::Approved, Box<dyn Error>> {
        let request = UnverifiedCsr::from_der(black_box(&self.request))?.verify()?;
        Ok(self.profile.approve(request, &self.identity, HOUR)?)
    }

    /// From the bytes of a request to a signed certificate.
    fn issue(&self) -> Result<Issued, Box<dyn Error>> {
        Ok(self
            .authority
            .issue(self.approve()?, now(), &SystemRandom)?)
    }
}
