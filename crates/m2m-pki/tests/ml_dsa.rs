//! Keys of ML-DSA (RFC 9881): in a root, an intermediate, machines and CRLs.
#![cfg(feature = "aws-lc-rs")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::*;
use rustls_pki_types::CertificateDer;
use support::{DAY, HOUR, after, csr_of, domain, key, ledger, now, record, service, workload};

const POST_QUANTUM: [Algorithm; 3] = [Algorithm::MlDsa44, Algorithm::MlDsa65, Algorithm::MlDsa87];
const TAKEN: [KeyAlgorithm; 4] = [
    KeyAlgorithm::P256,
    KeyAlgorithm::MlDsa44,
    KeyAlgorithm::MlDsa65,
    KeyAlgorithm::MlDsa87,
];

/// The same key once more.
fn again(key: &SigningKey) -> SigningKey {
    SigningKey::from_pkcs8_der(key.algorithm(), key.to_pkcs8_der().expose_secret()).unwrap()
}

struct World {
    root: Authority,
    issuing: Authority,
    issuing_key: SigningKey,
    ledger: Ledger,
}

fn world(algorithm: Algorithm) -> World {
    let (_, ledger) = ledger();
    let (holder, root_key) = (service("ca/root"), key(algorithm));
    let profile = support::root_profile().with_key_algorithms(&TAKEN);
    let root = Authority::create_root(
        &profile,
        &holder,
        &root_key,
        3650 * DAY,
        now(),
        &SystemRandom,
    );
    let root = Authority::load(record(&ledger, root.unwrap()), root_key).unwrap();
    let issuing_key = key(algorithm);
    let profile = support::intermediate_profile(0).with_key_algorithms(&TAKEN);
    let approved = profile
        .approve(csr_of(&issuing_key), &service("ca/issuing"), 365 * DAY)
        .unwrap();
    let issued = root.issue(approved, now(), &SystemRandom).unwrap();
    let issuing = Authority::load(record(&ledger, issued), again(&issuing_key)).unwrap();
    World {
        root,
        issuing,
        issuing_key,
        ledger,
    }
}

impl World {
    fn leaf(&self, key: &SigningKey) -> Certificate {
        let profile = workload().with_key_algorithms(&TAKEN);
        let approved = profile.approve(csr_of(key), &service("billing"), HOUR);
        let issued = self.issuing.issue(approved.unwrap(), now(), &SystemRandom);
        record(&self.ledger, issued.unwrap())
    }

    fn verify(&self, leaf: &CertificateDer<'_>) -> Result<(), ChainError> {
        let authority = self.root.certificate().clone();
        let trust = TrustBundles::new().with(TrustBundle::new(domain(), [authority]));
        let expected = ExpectedPeer::service(service("billing"));
        let rule = RevocationRule::danger_accept_unknown();
        let issuing = self.issuing.certificate().der();
        let chain = [leaf.clone(), issuing.clone()];
        let verifier = ChainVerifier::new(expected, rule);
        verifier
            .verify(&chain, PeerRole::Client, &trust, &CrlSet::new(), now())
            .map(drop)
    }
}

#[test]
fn chains_of_every_size_are_issued_and_verified() {
    for algorithm in POST_QUANTUM {
        let world = world(algorithm);
        let classical = world.leaf(&key(Algorithm::Es256));
        let post_quantum = world.leaf(&key(algorithm));
        for leaf in [&classical, &post_quantum] {
            assert_eq!(world.verify(leaf.der()), Ok(()));
            let mut bent = leaf.der().to_vec();
            *bent.last_mut().unwrap() ^= 1;
            let refused = world.verify(&bent.into()).unwrap_err();
            assert_eq!(refused, ChainError::Signature);
        }
        // A bundle says them, and is read again.
        let authority = world.root.certificate().clone();
        let bundle = TrustBundle::new(domain(), [authority]);
        let read = TrustBundle::from_json(domain(), bundle.to_json().as_bytes()).unwrap();
        assert_eq!(read.authorities(), bundle.authorities());
    }
}

#[test]
fn pki_034_they_are_taken_only_where_the_profile_says_so() {
    let found = KeyAlgorithm::MlDsa65;
    let error = workload().approve(csr_of(&key(Algorithm::MlDsa65)), &service("billing"), HOUR);
    assert_eq!(error.unwrap_err(), ApproveError::KeyAlgorithm { found });
}

#[test]
fn crls_are_signed_and_checked() {
    let world = world(Algorithm::MlDsa65);
    let issuer = CrlIssuer::from_certificate(world.issuing.certificate()).unwrap();
    let signer = CrlSigner::new(issuer.clone(), world.issuing_key.verifying_key()).unwrap();
    let leaf = world.leaf(&key(Algorithm::Es256));
    let mut list = RevocationList::new(Scope::everything());
    let reason = RevocationReason::KeyCompromise;
    list.revoke(&ListedRevocation::new(leaf.serial().clone(), now(), reason))
        .unwrap();
    let number = CrlNumbers::first().claim().unwrap();
    let times = UpdateTimes::new(now(), after(DAY)).unwrap();
    let crl = list.prepare(&signer, number, times).unwrap();
    let der = crl.sign(&world.issuing_key).unwrap().into_der();
    let crl = UnverifiedCrl::parse(&der, &CrlLimits::default()).unwrap();
    let index = CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap();
    let set = CrlSet::new().with(Arc::new(index)).unwrap();
    let subject = RevocationSubject::new(&leaf, &issuer).unwrap();
    assert!(matches!(
        set.check(&subject, now()),
        RevocationStatus::Revoked(_)
    ));
}

#[test]
fn a_key_that_only_signs_is_not_for_agreeing_or_encrypting() {
    let world = world(Algorithm::MlDsa44);
    let leaf = world.leaf(&key(Algorithm::MlDsa44));
    // digitalSignature; then with keyEncipherment, dataEncipherment or keyAgreement.
    for (usage, good) in [(0x80, true), (0xa0, false), (0x90, false), (0x88, false)] {
        let unused = u8::try_from(u8::trailing_zeros(usage)).unwrap();
        let der = resigned(leaf.der(), &[3, 2, unused, usage], &world.issuing_key);
        let refused = ChainError::KeyUsage { place: Place::Leaf };
        let expected = if good { Ok(()) } else { Err(refused) };
        assert_eq!(world.verify(&der.into()), expected, "{usage:#x}");
    }
}

/// The certificate with another `keyUsage`, signed anew.
fn resigned(der: &[u8], usage: &[u8; 4], key: &SigningKey) -> Vec<u8> {
    let (_, whole) = x509_parser::parse_x509_certificate(der).unwrap();
    let mut tbs = whole.tbs_certificate.as_ref().to_vec();
    let at = tbs.windows(4).position(|bytes| bytes == [3, 2, 7, 0x80]);
    for (to, from) in tbs.iter_mut().skip(at.unwrap()).zip(usage) {
        *to = *from;
    }
    let mut signature = vec![0; key.signature_bytes()];
    key.sign(&tbs, &mut signature).unwrap();
    let old = whole.signature_value.data.len();
    let front = der.len() - old - tbs.len();
    // Header, then what is signed, then algorithm and the head of the signature, as they were.
    let (head, rest) = der.split_at(4);
    let middle = rest.get(tbs.len()..rest.len() - old).unwrap();
    assert_eq!(head.len() + middle.len(), front);
    [head, &tbs, middle, &signature].concat()
}

#[test]
fn pki_043_openssl_agrees() {
    let version = Command::new("openssl").arg("version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let number = version.as_deref().unwrap_or_default().split(' ').nth(1);
    let mut parts = number.unwrap_or_default().split('.').map(str::parse::<u32>);
    if !matches!(
        (parts.next(), parts.next()),
        (Some(Ok(3)), Some(Ok(5..))) | (Some(Ok(4..)), _)
    ) {
        eprintln!("SKIPPED: no OpenSSL from 3.5 on, which knows ML-DSA: {version:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let world = world(Algorithm::MlDsa65);
    let leaf = world.leaf(&key(Algorithm::MlDsa87));
    let put = |name: &str, certificate: &Certificate| {
        let path = folder.path().join(name);
        fs::write(&path, certificate.to_pem()).unwrap();
        path
    };
    let status = Command::new("openssl")
        .args(["verify", "-x509_strict", "-attime", "1767225600", "-CAfile"])
        .arg(put("root.pem", world.root.certificate()))
        .arg("-untrusted")
        .arg(put("issuing.pem", world.issuing.certificate()))
        .arg(put("leaf.pem", &leaf))
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}
