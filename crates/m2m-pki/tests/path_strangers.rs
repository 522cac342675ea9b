//! Whatever others have collected, as a chain and as an authority: a verdict, and no panic.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

use std::fs;
use std::path::{Path, PathBuf};

use m2m_pki::*;
use m2m_types::{Timestamp, TrustDomain};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

fn found() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(root) = m2m_testkit::vectors::root() {
        for folder in ["cryptography", "go-spiffe", "rust-spiffe", "webpki"] {
            files(&root.join("pki").join(folder), &mut found);
        }
    }
    if found.is_empty() {
        eprintln!("SKIPPED: no test vectors in pki (set M2M_VECTORS to their folder)");
    }
    found
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    let bytes = fs::read(path).unwrap();
    let pem: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .filter_map(Result::ok)
        .collect();
    match pem.is_empty() {
        true => vec![CertificateDer::from(bytes)],
        false => pem,
    }
}

/// In the middle of the life of `certificate`.
fn middle(certificate: &Certificate) -> Timestamp {
    let (from, to) = (certificate.not_before(), certificate.not_after());
    let middle = (from.unix_seconds() + to.unix_seconds()) / 2;
    Timestamp::from_unix_seconds(middle).unwrap()
}

#[test]
fn no_collected_oddity_makes_verification_panic() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for path in found() {
        let chain = certificates(&path);
        let read = chain
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok());
        let read: Vec<Certificate> = read.collect();
        let now = read.first().map_or(Timestamp::MIN, middle);
        let trust = TrustBundles::new().with(TrustBundle::new(domain.clone(), read));
        for expected in [
            ExpectedPeer::danger_any_name(domain.clone()),
            ExpectedPeer::danger_any_service(),
            ExpectedPeer::dns_name("example.org", domain.clone()).unwrap(),
        ] {
            let verifier = ChainVerifier::new(expected, RevocationRule::danger_accept_unknown());
            let crls = CrlSet::new();
            for role in [PeerRole::Client, PeerRole::Server] {
                let result = verifier.verify(&chain, role, &trust, &crls, now);
                let report = verifier.explain(&chain, role, &trust, &crls, now);
                assert_eq!(result.as_ref().err(), report.verdict().err(), "{path:?}");
                match result {
                    Ok(_) => accepted += 1,
                    Err(error) => {
                        refused += 1;
                        assert!(error.to_string().len() <= 512);
                        assert!(!report.to_string().contains('\0'));
                    }
                }
            }
        }
    }
    eprintln!("{accepted} accepted, {refused} refused");
}

/// The verdict on the leaf in `name`, trusting the CAs that stand in `authorities`.
fn verdict(name: &str, authorities: &[&str], domain: &str) -> Option<Result<(), ChainError>> {
    let root = m2m_testkit::vectors::root()?.join("pki");
    if !root.join(name).is_file() {
        eprintln!("SKIPPED: test vectors {name} not found (set M2M_VECTORS to their folder)");
        return None;
    }
    let domain: TrustDomain = domain.parse().unwrap();
    let chain = certificates(&root.join(name));
    let authorities = authorities
        .iter()
        .flat_map(|name| certificates(&root.join(name)));
    let authorities = authorities.filter_map(|der| Certificate::from_der(&der).ok());
    let now = Certificate::from_der(chain.first()?).map_or(Timestamp::MIN, |leaf| middle(&leaf));
    let trust = TrustBundles::new().with(TrustBundle::new(domain, authorities));
    let expected = ExpectedPeer::danger_any_service();
    let verifier = ChainVerifier::new(expected, RevocationRule::danger_accept_unknown());
    let crls = CrlSet::new();
    let result = verifier.verify(&chain, PeerRole::Client, &trust, &crls, now);
    Some(result.map(drop))
}

#[test]
fn pki_013_rust_spiffes_leaves_are_judged_through_their_chain() {
    let folder = "rust-spiffe/spiffe-rustls/tests/fixtures";
    for (leaf, ca, good) in [
        ("spiffe_leaf", "ca", true),
        ("spiffe_leaf_uri_only", "ca_uri_only", true),
        ("spiffe_leaf_uri_only", "ca", false),
        ("spiffe_leaf", "ca_uri_only", false),
        ("spiffe_leaf_no_digital_signature", "ca", false),
        ("spiffe_leaf_no_key_usage", "ca", false),
        ("no_spiffe_leaf", "ca", false),
        ("ca", "ca", false),
    ] {
        let [name, ca] = [leaf, ca].map(|name| format!("{folder}/{name}.der"));
        if let Some(verdict) = verdict(&name, &[&ca], "example.org") {
            assert_eq!(verdict.is_ok(), good, "{leaf}: {verdict:?}");
        }
    }
}

#[test]
fn pki_013_go_spiffes_leaves_are_judged_through_their_chain() {
    let folder = "go-spiffe/svid/x509svid/testdata";
    // Whoever issued the intermediate is not there: the intermediate is what is trusted.
    for (name, good) in [
        ("good-leaf-and-intermediate", true),
        ("wrong-intermediate-no-ca", false),
        ("wrong-intermediate-no-key-cert-sign", false),
        ("wrong-leaf-ca-true", false),
        ("wrong-leaf-cert-sign", false),
        ("wrong-leaf-crl-sign", false),
        ("wrong-leaf-empty-id", false),
        ("wrong-leaf-no-digital-signature", false),
        ("good-leaf-only", false),
    ] {
        let name = format!("{folder}/{name}.pem");
        if let Some(verdict) = verdict(&name, &[&name], "example.org") {
            assert_eq!(verdict.is_ok(), good, "{name}: {verdict:?}");
        }
    }
}
