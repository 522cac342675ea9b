//! A certificate authority of one's own: root, intermediate, machines; the tree of what it signed; a
//! chain explained; a revocation and the CRL that says it, which OpenSSL reads as we do. It is what
//! `docs/guides/run-your-own-ca.md` walks through.
//!
//! ```text
//! cargo run --release -p m2m-examples --example private_ca             # in a temporary directory
//! cargo run --release -p m2m-examples --example private_ca -- my-ca    # kept there, to look at
//! ```
//!
//! Fails if anything is not as it says. Where the `openssl` program is missing it says so.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, ChainVerifier, CrlIndex, CrlIssuer, CrlLimits, CrlPublisher, CrlSet,
    CrlSigner, CsrBuilder, Entry, ExpectedPeer, Ledger, Operator, PeerRole, Profile, RenewalPlan,
    RevocationReason, RevocationRule, Revoker, Subject, TrustBundle, TrustBundles, UnverifiedCrl,
    UnverifiedCsr,
};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Store};
use m2m_types::{Clock, ServiceId, SystemClock, Timestamp, TrustDomain};
use pollster::block_on;
use rustls_pki_types::CertificateDer;

type Outcome<T> = Result<T, Box<dyn Error>>;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and its key once more to sign CRLs with.
struct Ca {
    authority: Authority,
    key: SigningKey,
    crls: CrlPublisher,
}

struct Place {
    directory: PathBuf,
    ledger: Ledger,
    domain: TrustDomain,
    now: Timestamp,
}

fn main() -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let directory = std::env::args().nth(1).map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| temporary.path().join("my-ca"));
    fs::create_dir_all(&directory)?;
    let place = Place {
        ledger: Ledger::new(open_store(&directory)?),
        domain: "example.org".parse()?,
        now: SystemClock::new().now()?,
        directory,
    };

    let mut root = create_root(&place)?;
    let mut issuing = create_intermediate(&place, &root)?;
    let billing = issue(&place, &issuing, "billing")?;
    let reports = issue(&place, &issuing, "reports")?;
    println!("{}", tree(&place, &root)?);

    let trust = trust_bundle(&place, &root)?;
    let crls = publish(&place, [&mut root, &mut issuing])?;
    for leaf in [&billing, &reports] {
        must(explain(
            &place,
            [leaf, issuing.authority.certificate()],
            &trust,
            &crls,
        )?)?;
    }
    let plan = RenewalPlan::of(&billing, "");
    println!(
        "billing renews at {}, in the window {:?}\n",
        plan.moment(),
        plan.window()
    );

    println!("reports has lost its key.\n");
    let operator = Operator::danger_vouched_for("you")?;
    let id = reports.id().ok_or("a certificate without an authority")?;
    let reason = RevocationReason::KeyCompromise;
    block_on(
        place
            .ledger
            .revoke(&id, reason, Revoker::Operator(&operator), place.now),
    )?;
    let crls = publish(&place, [&mut root, &mut issuing])?;
    println!("{}", tree(&place, &root)?);
    let chain = |leaf| [leaf, issuing.authority.certificate()];
    must(explain(&place, chain(&billing), &trust, &crls)?)?;
    must(!explain(&place, chain(&reports), &trust, &crls)?)?;

    second_judge(&place)?;
    println!("All as it should be.");
    Ok(())
}

/// One sealed file. The key that opens it belongs elsewhere; here it is beside it.
fn open_store(directory: &Path) -> Outcome<Arc<dyn Store>> {
    let path = directory.join("outer.key");
    if !path.exists() {
        let key = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
        fs::write(&path, key.expose_secret())?;
    }
    let key = LocalKey::new(SecretBytes::new(fs::read(&path)?))?;
    let options = EmbeddedOptions::new(Arc::new(key));
    private(directory)?;
    let store = EmbeddedStore::open_or_create(directory.join("ca.m2m"), &options)?;
    Ok(Arc::new(store))
}

/// The store wants a directory that nobody else reads.
fn private(directory: &Path) -> Outcome<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn create_root(place: &Place) -> Outcome<Ca> {
    let profile = Profile::root(
        "root",
        place.domain.clone(),
        Subject::new("Example Root")?,
        3650 * DAY,
    )?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let holder = holder("root", &key)?;
    let issued = Authority::create_root(
        &profile,
        &holder,
        &key,
        3650 * DAY,
        place.now,
        &SystemRandom,
    )?;
    let certificate = block_on(place.ledger.record(issued))?;
    Ca::new(place, "root", certificate, key)
}

fn create_intermediate(place: &Place, root: &Ca) -> Outcome<Ca> {
    let subject = Subject::new("Example Issuing")?;
    let domain = place.domain.clone();
    let profile = Profile::intermediate("issuing", domain, subject, 0, 365 * DAY)?;
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let csr = CsrBuilder::new().sign(&key)?.verify()?;
    let approved = profile.approve(csr, &holder("issuing", &key)?, 365 * DAY)?;
    let issued = root.authority.issue(approved, place.now, &SystemRandom)?;
    let certificate = block_on(place.ledger.record(issued))?;
    Ca::new(place, "issuing", certificate, key)
}

/// Who holds a CA's key, for the ledger.
fn holder(name: &str, key: &SigningKey) -> Outcome<ServiceId> {
    let thumbprint = key.verifying_key().thumbprint();
    Ok(format!("spiffe://example.org/ca/{name}/{thumbprint}").parse()?)
}

/// A machine makes its key and a request; who it is was found out by other means.
fn issue(place: &Place, ca: &Ca, name: &str) -> Outcome<Certificate> {
    let own_key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let request = CsrBuilder::new().sign(&own_key)?.to_pem();
    let csr = UnverifiedCsr::from_pem(request.as_bytes())?.verify()?;

    let profile = Profile::workload("workload", place.domain.clone(), 30 * DAY)?
        .with_crl_uri("http://crl.example.org/issuing.crl")?;
    let identity = format!("spiffe://example.org/{name}").parse()?;
    let approved = profile.approve(csr, &identity, 30 * DAY)?;
    let issued = ca.authority.issue(approved, place.now, &SystemRandom)?;
    let certificate = block_on(place.ledger.record(issued))?;
    place.write(&format!("{name}.pem"), &certificate.to_pem())?;
    Ok(certificate)
}

/// What verifiers are given, in the SPIFFE format.
fn trust_bundle(place: &Place, root: &Ca) -> Outcome<TrustBundles> {
    let bundle = TrustBundle::new(place.domain.clone(), [])
        .with_authority(root.authority.certificate().clone())?
        .with_sequence(1);
    place.write("bundle.json", &bundle.to_json())?;
    let read = TrustBundle::from_json(place.domain.clone(), bundle.to_json().as_bytes())?;
    Ok(TrustBundles::new().updated(read)?)
}

/// Publishes what is due, and reads it as a verifier does.
fn publish(place: &Place, authorities: [&mut Ca; 2]) -> Outcome<CrlSet> {
    let mut set = CrlSet::new();
    for (ca, name) in authorities.into_iter().zip(["root", "issuing"]) {
        let crl = block_on(ca.crls.publish(0, &ca.key, place.now, &SystemRandom))?;
        place.write(&format!("{name}.crl.pem"), &crl.to_pem())?;
        let issuer = CrlIssuer::from_certificate(ca.authority.certificate())?;
        let read = UnverifiedCrl::parse(crl.der(), &CrlLimits::default())?.verify(&issuer)?;
        let index = CrlIndex::build(&read)?;
        println!("CRL {} of {name}: {} revoked", crl.number(), index.len());
        set = set.with(Arc::new(index))?;
    }
    println!();
    Ok(set)
}

/// Verifies as a server would whom a client presents, and prints every rule.
fn explain(
    place: &Place,
    chain: [&Certificate; 2],
    trust: &TrustBundles,
    crls: &CrlSet,
) -> Outcome<bool> {
    let expected = ExpectedPeer::member_of(place.domain.clone());
    let verifier = ChainVerifier::new(expected, RevocationRule::strict());
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|one| one.der().clone()).collect();
    let report = verifier.explain(&chain, PeerRole::Client, trust, crls, place.now);
    println!("{report}");
    Ok(report.verdict().is_ok())
}

/// What is on record, from the root down.
fn tree(place: &Place, root: &Ca) -> Outcome<String> {
    let certificate = root.authority.certificate();
    let id = certificate.id().ok_or("a root without an identifier")?;
    let entry = block_on(place.ledger.find(&id))?.ok_or("the root is not recorded")?;
    let mut text = format!("{}\n└─ {}\n", place.domain, line(&entry));
    branch(place, certificate, "   ", &mut text)?;
    Ok(text)
}

fn branch(place: &Place, ca: &Certificate, indent: &str, text: &mut String) -> Outcome<()> {
    let key_id = ca.subject_key_id().ok_or("a CA without an identifier")?;
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let page = block_on(place.ledger.certificates_by(key_id, after.as_ref()))?;
        entries.extend_from_slice(page.entries());
        match page.next() {
            Some(next) => after = Some(next.clone()),
            None => break,
        }
    }
    // A root signed itself too.
    entries.retain(|entry| entry.certificate() != ca);
    for (left, entry) in (0..entries.len()).rev().zip(&entries) {
        let (fork, bar) = match left {
            0 => ("└─ ", "   "),
            _ => ("├─ ", "│  "),
        };
        text.push_str(&format!("{indent}{fork}{}\n", line(entry)));
        if entry.certificate().is_ca() {
            branch(place, entry.certificate(), &format!("{indent}{bar}"), text)?;
        }
    }
    Ok(())
}

fn line(entry: &Entry) -> String {
    let certificate = entry.certificate();
    let state = entry.revocation().map_or_else(
        || format!("until {}", certificate.not_after()),
        |revocation| format!("REVOKED: {}", revocation.reason()),
    );
    let who = match certificate.is_ca() {
        true => format!("{} (CA)", entry.profile()),
        false => entry.identity().to_string(),
    };
    format!("{who}  {}  {state}", certificate.serial())
}

/// OpenSSL reads the same files and comes to the same verdicts.
fn second_judge(place: &Place) -> Outcome<()> {
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command
            .args(arguments)
            .current_dir(&place.directory)
            .output()
    };
    let Ok(version) = openssl(&["version"]) else {
        eprintln!("SKIPPED: the openssl program is not there to be asked too");
        return Ok(());
    };
    print!("{}", String::from_utf8_lossy(&version.stdout));
    let crls = ["root.crl.pem", "issuing.crl.pem"].map(|name| fs::read_to_string(place.path(name)));
    let [root, issuing] = crls;
    place.write("crls.pem", &[root?, issuing?].concat())?;
    let check = |leaf: &str| {
        openssl(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "issuing.pem",
            "-CRLfile",
            "crls.pem",
            leaf,
        ])
    };
    for (leaf, expected) in [
        ("billing.pem", "billing.pem: OK"),
        ("reports.pem", "certificate revoked"),
    ] {
        let output = check(leaf)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        println!("openssl verify -crl_check_all {leaf}:\n{said}");
        must(said.contains(expected) && output.status.success() == expected.ends_with("OK"))?;
    }
    Ok(())
}

fn must(held: bool) -> Outcome<()> {
    match held {
        true => Ok(()),
        false => Err("this is not as it should be; see above".into()),
    }
}

impl Ca {
    fn new(place: &Place, name: &str, certificate: Certificate, key: SigningKey) -> Outcome<Self> {
        place.write(&format!("{name}.pem"), &certificate.to_pem())?;
        let again =
            SigningKey::from_pkcs8_der(Algorithm::Es256, key.to_pkcs8_der().expose_secret())?;
        let issuer = CrlIssuer::from_certificate(&certificate)?;
        let signer = CrlSigner::new(issuer, key.verifying_key())?;
        Ok(Self {
            authority: Authority::load(certificate, again)?,
            crls: block_on(CrlPublisher::open(place.ledger.clone(), signer, None, DAY))?,
            key,
        })
    }
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Outcome<()> {
        Ok(fs::write(self.path(name), text)?)
    }
}
