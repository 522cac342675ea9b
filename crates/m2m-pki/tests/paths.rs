//! Every way to a certificate is known, and each asks for what makes it lawful.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Functions that give out something on the way to a certificate, and what stands before it.
const PATHS: &[&str] = &[
    // For an identity the caller has authenticated, by a request whose sender holds the key.
    "Profile::approve -> Approved",
    // For the holder of a recorded certificate that is good.
    "Ledger::renew -> Approved",
    // By the key itself, which is an argument, or by nobody: `Prepared` holds no signature.
    "Authority::create_root -> Issued",
    "Authority::prepare_root -> Prepared",
    // By what was approved.
    "Authority::issue -> Issued",
    "Authority::prepare -> Prepared",
    // By a signature of the authority's key.
    "Prepared::attach -> Issued",
    // Only this gives out bytes.
    "Ledger::record -> Certificate",
    // What somebody else gave out.
    "Certificate::from_der -> Certificate",
    "Certificate::from_pem -> Certificate",
    "UnverifiedCsr::verify -> VerifiedCsr",
    // Views of what was read.
    "ChainReport::path -> Certificate",
    "TrustBundle::authorities -> Certificate",
    "VerifiedPeer::authority -> Certificate",
    "VerifiedPeer::certificate -> Certificate",
    "VerifiedPeer::path -> Certificate",
    // What was given out before.
    "Authority::certificate -> Certificate",
    "Entry::certificate -> Certificate",
    "Identity::certificate -> Certificate",
    "Identity::chain -> Certificate",
    "Peer::certificate -> Certificate",
    // Of a bundle that was read.
    "TrustBundles::authorities_of -> Certificate",
    // Of a rollover that it was handed to.
    "Rollover::signer -> Certificate",
];

#[test]
fn pki_039_every_public_way_to_a_certificate_is_listed_here() {
    let mut found = BTreeSet::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    let listed = PATHS.iter().map(|path| (*path).to_owned()).collect();
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(
        new.is_empty(),
        "say here by whose leave these issue: {new:?}"
    );
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "listed, but not there: {gone:?}");
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, found),
            false => read(&fs::read_to_string(&path).unwrap(), found),
        }
    }
}

/// Notes public functions whose result names a type on the way to a certificate.
fn read(source: &str, found: &mut BTreeSet<String>) {
    let source: Vec<&str> = source.split_whitespace().collect();
    let source = source.join(" ");
    let mut owner = "";
    for (at, _) in source
        .match_indices("impl ")
        .chain(source.match_indices("pub "))
        .collect::<BTreeSet<_>>()
    {
        let rest = &source[at..];
        if let Some(rest) = rest.strip_prefix("impl ") {
            // `impl Trait` in a signature is nobody's methods.
            if source[..at]
                .trim_end()
                .ends_with([':', '>', '&', '(', ',', '<', '=', '+'])
            {
                continue;
            }
            let head = rest.split('{').next().unwrap_or_default();
            let name = head.split(" for ").last().unwrap_or_default();
            owner = name.split(['<', ' ']).next().unwrap_or_default();
            continue;
        }
        let signature = rest.split('{').next().unwrap_or_default();
        let words = ["pub fn ", "pub async fn ", "pub const fn "];
        let Some(function) = words.iter().find_map(|word| signature.strip_prefix(word)) else {
            continue;
        };
        let Some((function, result)) = function.rsplit_once("-> ") else {
            continue;
        };
        let function = function.split(['(', '<']).next().unwrap_or_default();
        let own = if result.contains("Self") { owner } else { "" };
        for kind in [
            "Approved",
            "Issued",
            "Prepared",
            "Certificate",
            "VerifiedCsr",
        ] {
            let names = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == kind)
            };
            if names(result) || own == kind {
                found.insert(format!("{owner}::{function} -> {kind}"));
            }
        }
    }
}
