//! NIST PKITS: paths and CRLs made to be misjudged. Read from `$M2M_PKITS`, a folder with `certs` and
//! `crls` (`PKITS_data` of the package `cryptography_vectors`), or `pki/pkits` among the vectors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m2m_pki::*;
use m2m_types::{Timestamp, TrustDomain};
use rustls_pki_types::CertificateDer;

/// Invalid chains that are taken, and why: none.
const ACCEPTED: &[&str] = &[];

/// Of the valid ones, as many as are taken at least. The others need what is refused on purpose:
/// constraints of directory names, URIs and mail addresses, critical policies, names compared by other
/// than their bytes, self-issued rollover, CRLs of other keys than the issuer's, DSA, serials below 1.
const VALID_TAKEN: usize = 22;

fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("M2M_PKITS").map(PathBuf::from);
    let found = named.or_else(|| m2m_testkit::vectors::root().map(|root| root.join("pki/pkits")));
    let found = found.filter(|folder| folder.join("certs").is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: PKITS not found (set M2M_PKITS to its folder)");
    }
    found
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// The newest CRLs that can be read, of every CA that signed one.
fn crls(ders: &BTreeMap<String, Vec<u8>>, cas: &[Certificate]) -> (CrlSet, usize) {
    let (mut set, mut taken) = (CrlSet::new(), 0);
    let issuers: Vec<CrlIssuer> = cas
        .iter()
        .filter_map(|ca| CrlIssuer::from_certificate(ca).ok())
        .collect();
    let verified: Vec<VerifiedCrl<'_>> = ders
        .values()
        .filter_map(|der| UnverifiedCrl::parse(der, &CrlLimits::default()).ok())
        .filter_map(|crl| issuers.iter().find_map(|one| crl.clone().verify(one).ok()))
        .collect();
    // Complete ones first, then what changes them.
    for crl in &verified {
        let index = CrlIndex::build(crl).ok();
        if let Some(with) = index.and_then(|index| set.with(Arc::new(index)).ok()) {
            (set, taken) = (with, taken + 1);
        }
    }
    for delta in &verified {
        let changed = set.crls().find_map(|held| held.with_delta(delta).ok());
        if let Some(with) = changed.and_then(|index| set.with(Arc::new(index)).ok()) {
            (set, taken) = (with, taken + 1);
        }
    }
    (set, taken)
}

/// Whoever may have issued the leaf, and who may have issued them.
fn pool(leaf: &Certificate, cas: &[Certificate]) -> Vec<CertificateDer<'static>> {
    let mut found: Vec<&Certificate> = vec![leaf];
    let mut next = 0;
    while let Some(below) = found.get(next).copied() {
        let above = cas
            .iter()
            .filter(|ca| ca.subject_der() == below.issuer_der());
        let above: Vec<&Certificate> = above.filter(|ca| !found.contains(ca)).collect();
        found.extend(above);
        next += 1;
    }
    found.iter().map(|one| one.der().clone()).collect()
}

#[test]
fn pkits_no_invalid_path_is_taken() {
    let Some(folder) = folder() else { return };
    let certificates = files(&folder.join("certs"));
    assert!(certificates.len() >= 400, "{}", certificates.len());
    let read = |name: &str| Certificate::from_der(&certificates[name]);
    let root = read("TrustAnchorRootCertificate").unwrap();
    let cas: Vec<Certificate> = certificates
        .keys()
        .filter(|name| name.ends_with("Cert") || *name == "TrustAnchorRootCertificate")
        .filter_map(|name| read(name).ok())
        .collect();
    let (crls, taken) = crls(&files(&folder.join("crls")), &cas);
    let domain: TrustDomain = "pkits.test".parse().unwrap();
    let trust = TrustBundles::new().with(TrustBundle::new(domain.clone(), [root]));
    let limits = ChainLimits::new(ChainLimits::MAX_CERTIFICATES, ChainLimits::MAX_SIGNATURES);
    let expected = ExpectedPeer::danger_any_name(domain);
    let verifier = ChainVerifier::new(expected, RevocationRule::strict()).with_limits(limits);
    // Within the life of all that are meant to be valid.
    let now = Timestamp::from_unix_seconds(1_780_000_000).unwrap();
    let (mut accepted, mut refused, mut good, mut bad) = (Vec::new(), Vec::new(), 0, 0);
    for (name, der) in &certificates {
        let valid = name.starts_with("Valid");
        if !valid && !name.starts_with("Invalid") {
            continue;
        }
        let chain = match Certificate::from_der(der) {
            Ok(leaf) => pool(&leaf, &cas),
            Err(_) => vec![CertificateDer::from(der.as_slice())],
        };
        let result = verifier.verify(&chain, PeerRole::Client, &trust, &crls, now);
        let report = verifier.explain(&chain, PeerRole::Client, &trust, &crls, now);
        assert_eq!(result.as_ref().err(), report.verdict().err(), "{name}");
        match (valid, result) {
            (true, Ok(_)) => good += 1,
            (true, Err(error)) => refused.push(format!("{name}: {error}")),
            (false, Ok(_)) => accepted.push(name.as_str()),
            (false, Err(_)) => bad += 1,
        }
    }
    eprintln!(
        "{taken} CRLs read; {good} valid taken, {bad} invalid refused; valid, yet refused: {refused:#?}"
    );
    assert_eq!(accepted, ACCEPTED, "invalid, yet taken");
    assert!(good >= VALID_TAKEN, "{good} valid paths are taken");
}
