//! What we issue is accepted by those who did not write it: OpenSSL and webpki.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use m2m_crypto::{Algorithm, SystemRandom};
use m2m_pki::{Authority, Certificate, CsrBuilder, UnverifiedCsr};
use rustls_pki_types::UnixTime;
use support::{
    HOUR, csr, csr_of, intermediate_of, key, ledger, now, record, root_of, service, workload,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Root, intermediate and leaf.
fn chain(algorithm: Algorithm) -> (Authority, Authority, Certificate) {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, algorithm);
    let issuing = intermediate_of(&ledger, &root, algorithm);
    let profile = workload()
        .with_dns_name("billing.internal")
        .unwrap()
        .with_ip_address([10, 1, 2, 3].into())
        .unwrap()
        .with_crl_uri("http://crl.example.org/issuing.crl")
        .unwrap();
    let approved = profile
        .approve(csr_of(&key(algorithm)), &service("billing"), HOUR)
        .unwrap();
    let leaf = record(
        &ledger,
        issuing.issue(approved, now(), &SystemRandom).unwrap(),
    );
    (root, issuing, leaf)
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519];

#[test]
fn pki_043_webpki_builds_the_path_from_leaf_to_root() {
    for algorithm in ALGORITHMS {
        let (root, issuing, leaf) = chain(algorithm);
        let anchor = anchor_from_trusted_cert(root.certificate().der()).unwrap();
        let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verify = |intermediates: &[_], usage, seconds| {
            EndEntityCert::try_from(leaf.der())
                .unwrap()
                .verify_for_usage(
                    webpki::ALL_VERIFICATION_ALGS,
                    std::slice::from_ref(&anchor),
                    intermediates,
                    at(seconds),
                    usage,
                    None,
                    None,
                )
                .map(|_| ())
        };
        let intermediates = [issuing.certificate().der().clone()];
        let seconds = now().unix_seconds();
        for usage in [KeyUsage::client_auth, KeyUsage::server_auth] {
            assert_eq!(verify(&intermediates, usage(), seconds + 60), Ok(()));
            assert!(verify(&[], usage(), seconds + 60).is_err());
            assert!(verify(&intermediates, usage(), seconds + 3601).is_err());
        }
        let name = "billing.internal".try_into().unwrap();
        let leaf = EndEntityCert::try_from(leaf.der()).unwrap();
        assert!(leaf.verify_is_valid_for_subject_name(&name).is_ok());
    }
}

#[test]
fn pki_043_webpki_holds_machines_to_the_purposes_of_their_profile() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let profile = workload().with_client_auth_only();
    let approved = profile.approve(csr(), &service("billing"), HOUR).unwrap();
    let leaf = record(&ledger, root.issue(approved, now(), &SystemRandom).unwrap());
    let anchor = [anchor_from_trusted_cert(root.certificate().der()).unwrap()];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now().unix_seconds()));
    let verify = |usage| {
        let leaf = EndEntityCert::try_from(leaf.der()).unwrap();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        leaf.verify_for_usage(algorithms, &anchor, &[], time, usage, None, None)
            .map(|_| ())
    };
    assert_eq!(verify(KeyUsage::client_auth()), Ok(()));
    assert!(verify(KeyUsage::server_auth()).is_err());
}

#[test]
fn pki_043_webpki_holds_machines_to_the_name_constraints_of_their_issuer() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let constrained = support::intermediate_profile(0)
        .with_permitted_dns("example.org")
        .unwrap()
        .with_excluded_dns("secret.example.org")
        .unwrap();
    let issuing_key = key(Algorithm::Es256);
    let csr_of_issuing = csr_of(&issuing_key);
    let approved = constrained
        .approve(csr_of_issuing, &service("ca/issuing"), 24 * HOUR)
        .unwrap();
    let issuing = record(&ledger, root.issue(approved, now(), &SystemRandom).unwrap());
    assert!(issuing.has_name_constraints());
    let issuing = Authority::load(issuing, issuing_key).unwrap();
    let anchor = [anchor_from_trusted_cert(root.certificate().der()).unwrap()];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now().unix_seconds()));
    let is_accepted = |name: &str| {
        let profile = workload().with_dns_name(name).unwrap();
        let approved = profile.approve(csr(), &service("billing"), HOUR).unwrap();
        let leaf = record(
            &ledger,
            issuing.issue(approved, now(), &SystemRandom).unwrap(),
        );
        let intermediates = [issuing.certificate().der().clone()];
        let (algorithms, usage) = (webpki::ALL_VERIFICATION_ALGS, KeyUsage::client_auth());
        let leaf = EndEntityCert::try_from(leaf.der()).unwrap();
        leaf.verify_for_usage(algorithms, &anchor, &intermediates, time, usage, None, None)
            .is_ok()
    };
    assert!(is_accepted("billing.example.org"));
    assert!(!is_accepted("billing.example.com"));
    assert!(!is_accepted("a.secret.example.org"));
}

/// What `openssl` with `arguments` says, run in `folder`; [`None`] if there is no openssl.
fn openssl(folder: &Path, arguments: &str) -> Option<(bool, String)> {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args(arguments.split(' '))
        .output();
    let Ok(output) = output else {
        eprintln!("SKIPPED: there is no openssl to ask");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[test]
fn pki_043_openssl_accepts_the_chain_and_reads_what_we_wrote() {
    for algorithm in ALGORITHMS {
        let (root, issuing, leaf) = chain(algorithm);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("root.pem"), root.certificate().to_pem()).unwrap();
        fs::write(path.join("issuing.pem"), issuing.certificate().to_pem()).unwrap();
        fs::write(path.join("leaf.pem"), leaf.to_pem()).unwrap();
        let time = now().unix_seconds() + 60;
        for purpose in ["sslclient", "sslserver"] {
            let verify = format!(
                "verify -x509_strict -purpose {purpose} -attime {time} -CAfile root.pem -untrusted issuing.pem leaf.pem"
            );
            let Some((good, said)) = openssl(path, &verify) else {
                return;
            };
            assert!(good, "{said}");
        }
        let (_, text) = openssl(path, "x509 -noout -text -in leaf.pem").unwrap();
        for wanted in [
            "URI:spiffe://example.org/billing, DNS:billing.internal, IP Address:10.1.2.3",
            "CA:FALSE",
            "TLS Web Client Authentication, TLS Web Server Authentication",
            "URI:http://crl.example.org/issuing.crl",
            "X509v3 Subject Alternative Name: critical",
            "Not After : Jan  1 01:00:00 2026 GMT",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
        let hex = |bytes: &[u8]| {
            let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            digits.join(":")
        };
        assert!(text.contains(&hex(leaf.subject_key_id().unwrap())));
        assert!(text.contains(&hex(issuing.key_id())));
        let (_, serial) = openssl(path, "x509 -noout -serial -in leaf.pem").unwrap();
        assert_eq!(
            serial.trim().to_lowercase(),
            format!("serial={}", leaf.serial())
        );
        let (_, text) = openssl(path, "x509 -noout -text -in issuing.pem").unwrap();
        assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign, CRL Sign"));
    }
}

#[test]
fn pki_043_openssl_reads_our_requests_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for algorithm in ALGORITHMS {
        let request = CsrBuilder::new()
            .with_service_id(&service("billing"))
            .sign(&key(algorithm));
        fs::write(path.join("ours.pem"), request.unwrap().to_pem()).unwrap();
        let Some((good, said)) = openssl(path, "req -verify -noout -text -in ours.pem") else {
            return;
        };
        assert!(
            good && said.contains("URI:spiffe://example.org/billing"),
            "{said}"
        );
    }
    let kinds = [
        "ec -pkeyopt ec_paramgen_curve:P-256",
        "ec -pkeyopt ec_paramgen_curve:P-384 -sha384",
        "ed25519",
        "rsa:2048 -sha256",
        "rsa:2048 -sha384",
        "rsa:2048 -sha512",
    ];
    let read = |kind: &str| {
        let make = format!("req -new -nodes -subj / -keyout key.pem -out csr.pem -newkey {kind}");
        let (good, said) = openssl(path, &make).unwrap();
        assert!(good, "{said}");
        UnverifiedCsr::from_pem(&fs::read(path.join("csr.pem")).unwrap())
    };
    for kind in kinds {
        assert!(read(kind).unwrap().verify().is_ok(), "{kind}");
    }
    // Hashes and keys that are not taken.
    for kind in [
        "ec -pkeyopt ec_paramgen_curve:P-256 -sha512",
        "ec -pkeyopt ec_paramgen_curve:P-384 -sha256",
        "ec -pkeyopt ec_paramgen_curve:secp521r1",
        "rsa:1024 -sha256",
        "rsa:2048 -sha1",
    ] {
        assert!(
            read(kind).and_then(UnverifiedCsr::verify).is_err(),
            "{kind}"
        );
    }
}

#[test]
fn pki_043_openssl_reads_a_certificate_for_an_rsa_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let make = "req -new -nodes -subj / -keyout key.pem -out csr.pem -newkey rsa:2048";
    let Some((true, _)) = openssl(path, make) else {
        return;
    };
    let csr = UnverifiedCsr::from_pem(&fs::read(path.join("csr.pem")).unwrap()).unwrap();
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let profile = workload().with_key_algorithms(&[m2m_pki::KeyAlgorithm::Rsa]);
    let approved = profile
        .approve(csr.verify().unwrap(), &service("billing"), HOUR)
        .unwrap();
    let leaf = record(&ledger, root.issue(approved, now(), &SystemRandom).unwrap());
    fs::write(path.join("leaf.pem"), leaf.to_pem()).unwrap();
    let (_, public) = openssl(path, "x509 -noout -pubkey -in leaf.pem").unwrap();
    let (_, own) = openssl(path, "pkey -in key.pem -pubout").unwrap();
    assert_eq!(public, own);
}
