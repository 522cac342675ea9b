//! G-4: errors stay short. And whatever others have collected is read or refused, and no panic.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use m2m_pki::{ApproveError, Certificate, RecordError, UnverifiedCsr};
use m2m_types::ServiceId;
use proptest::prelude::*;
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

#[test]
fn no_collected_oddity_makes_a_reader_panic() {
    let mut found = Vec::new();
    if let Some(root) = m2m_testkit::vectors::root() {
        files(&root.join("pki"), &mut found);
    }
    if found.is_empty() {
        eprintln!("SKIPPED: no test vectors in pki (set M2M_VECTORS to their folder)");
        return;
    }
    let (mut read, mut refused) = (0, 0);
    for path in found {
        let bytes = fs::read(&path).unwrap();
        let results = [
            Certificate::from_der(&bytes)
                .map(drop)
                .map_err(|error| error.to_string()),
            Certificate::from_pem(&bytes)
                .map(drop)
                .map_err(|error| error.to_string()),
            UnverifiedCsr::from_der(&bytes)
                .map(drop)
                .map_err(|error| error.to_string()),
            UnverifiedCsr::from_pem(&bytes)
                .map(drop)
                .map_err(|error| error.to_string()),
        ];
        for result in results {
            match result {
                Ok(()) => read += 1,
                Err(error) => {
                    refused += 1;
                    assert!(
                        error.len() <= 512 && !error.contains(char::is_control),
                        "{error:?}"
                    );
                }
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

/// The first certificate in a file of go-spiffe's or rust-spiffe's; [`None`] if there is no such file.
fn first(name: &str) -> Option<Result<ServiceId, String>> {
    let path = m2m_testkit::vectors::root()?.join("pki").join(name);
    let Ok(bytes) = fs::read(&path) else {
        eprintln!("SKIPPED: test vectors {name} not found (set M2M_VECTORS to their folder)");
        return None;
    };
    let der = CertificateDer::pem_slice_iter(&bytes)
        .next()
        .and_then(Result::ok);
    let der = der.map_or(bytes.clone(), |der| der.to_vec());
    let certificate = Certificate::from_der(&der).map_err(|error| error.to_string());
    Some(certificate.and_then(|read| read.service_id().map_err(|error| error.to_string())))
}

#[test]
fn pki_013_go_spiffe_and_rust_spiffe_say_the_same_of_their_leaves() {
    let go = "go-spiffe/svid/x509svid/testdata";
    let rust = "rust-spiffe/spiffe-rustls/tests/fixtures";
    for good in [
        format!("{go}/good-leaf-only.pem"),
        format!("{go}/good-leaf-and-intermediate.pem"),
        format!("{rust}/spiffe_leaf.der"),
        format!("{rust}/spiffe_leaf_uri_only.der"),
    ] {
        let Some(verdict) = first(&good) else {
            continue;
        };
        assert!(verdict.is_ok(), "{good}: {verdict:?}");
    }
    for bad in [
        format!("{go}/wrong-leaf-ca-true.pem"),
        format!("{go}/wrong-leaf-cert-sign.pem"),
        format!("{go}/wrong-leaf-crl-sign.pem"),
        format!("{go}/wrong-leaf-empty-id.pem"),
        format!("{go}/wrong-leaf-no-digital-signature.pem"),
        format!("{rust}/spiffe_leaf_no_digital_signature.der"),
        format!("{rust}/no_spiffe_leaf.der"),
        format!("{rust}/ca.der"),
    ] {
        let Some(verdict) = first(&bad) else { continue };
        assert!(verdict.is_err(), "{bad}: {verdict:?}");
    }
}

#[test]
fn errors_are_short_whatever_the_identity() {
    let long: ServiceId = support::service(&"a".repeat(2000));
    let foreign = format!("spiffe://{}/{}", "b".repeat(255), "c".repeat(1700));
    let foreign: ServiceId = foreign.parse().unwrap();
    let errors = [
        ApproveError::TrustDomain {
            identity: foreign.clone(),
            trust_domain: foreign.trust_domain(),
        }
        .to_string(),
        RecordError::KeyBound {
            bound: long.clone(),
            is_ca: false,
            asked: foreign.clone(),
        }
        .to_string(),
        m2m_pki::RenewError::NotHolder {
            caller: long.clone(),
            holder: foreign.clone(),
        }
        .to_string(),
        m2m_pki::RevokeError::NotHolder {
            asked: long,
            holder: foreign,
        }
        .to_string(),
    ];
    for error in errors {
        assert!(error.len() <= 512, "{} bytes", error.len());
    }
}

proptest! {
    #[test]
    fn no_input_makes_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Certificate::from_der(&bytes);
        let _ = Certificate::from_pem(&bytes);
        let _ = UnverifiedCsr::from_der(&bytes);
        let _ = UnverifiedCsr::from_pem(&bytes);
        let _ = m2m_pki::PublicKey::from_spki_der(&bytes);
        let _ = m2m_pki::Serial::from_bytes(&bytes);
    }
}
