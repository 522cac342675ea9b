//! Requests: who holds the key, and what is asked for beyond it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use m2m_crypto::{Algorithm, SystemRandom};
use m2m_pki::{
    ApproveError, CsrBuilder, CsrError, KeyAlgorithm, Profile, PublicKey, Rejection, RequestedName,
    UnverifiedCsr, VerifiedCsr,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use support::{DAY, HOUR, blank, csr, domain, key, request, service, workload};

fn verified(params: CertificateParams) -> VerifiedCsr {
    UnverifiedCsr::from_der(&request(params))
        .unwrap()
        .verify()
        .unwrap()
}

/// Why the usual profile does not approve a request for what `change` adds.
fn refused(change: impl FnOnce(&mut CertificateParams)) -> ApproveError {
    let mut params = blank();
    change(&mut params);
    let error = workload()
        .approve(verified(params), &service("billing"), HOUR)
        .unwrap_err();
    assert_eq!(error.rejection(), Rejection::Refused);
    assert!(error.to_string().len() <= 512);
    error
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

#[test]
fn pki_030_a_request_that_its_own_key_did_not_sign_is_refused() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let sound = CsrBuilder::new()
            .sign(&key(algorithm))
            .unwrap()
            .der()
            .to_vec();
        assert!(UnverifiedCsr::from_der(&sound).unwrap().verify().is_ok());
        // The last bytes are the signature's s, or the end of S.
        let mut damaged = sound.clone();
        let at = damaged.len() - 9;
        damaged[at] ^= 1;
        let error = UnverifiedCsr::from_der(&damaged)
            .unwrap()
            .verify()
            .unwrap_err();
        assert!(matches!(error, CsrError::Signature { .. }), "{error}");
    }
    // The signature of another key over the same bytes.
    let (one, other) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
    let [mut one, other] =
        [one, other].map(|key| CsrBuilder::new().sign(&key).unwrap().der().to_vec());
    let at = one.len() - 64;
    one[at..].copy_from_slice(&other[at..]);
    assert!(UnverifiedCsr::from_der(&one).unwrap().verify().is_err());
}

#[test]
fn pki_030_the_key_says_what_the_signature_must_be() {
    // A P-256 request whose signature is said to be ecdsa-with-SHA384.
    let mut der = CsrBuilder::new()
        .sign(&key(Algorithm::Es256))
        .unwrap()
        .der()
        .to_vec();
    let sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let at = der.windows(8).position(|bytes| bytes == sha256).unwrap();
    der[at + 7] = 3;
    let error = UnverifiedCsr::from_der(&der).unwrap().verify().unwrap_err();
    let (key, algorithm) = (KeyAlgorithm::P256, Algorithm::Es384);
    assert_eq!(error, CsrError::Signature { key, algorithm });
    der[at + 7] = 1;
    let error = UnverifiedCsr::from_der(&der).unwrap_err();
    assert!(matches!(error, CsrError::Algorithm { .. }), "{error}");
}

#[test]
fn pki_017_a_request_cut_off_or_damaged_anywhere_is_an_error_and_no_panic() {
    let der = CsrBuilder::new()
        .with_service_id(&service("billing"))
        .sign(&key(Algorithm::Es256))
        .unwrap();
    for length in 0..der.der().len() {
        assert!(UnverifiedCsr::from_der(&der.der()[..length]).is_err());
    }
    for at in 0..der.der().len() {
        for bit in [1, 0x20, 0x80] {
            let mut damaged = der.der().to_vec();
            damaged[at] ^= bit;
            // Whatever is still read is not signed any more.
            assert!(
                UnverifiedCsr::from_der(&damaged)
                    .and_then(UnverifiedCsr::verify)
                    .is_err()
            );
        }
    }
    let longer = [der.der(), &[0]].concat();
    assert!(UnverifiedCsr::from_der(&longer).is_err());
    let error = UnverifiedCsr::from_der(&[0x30; UnverifiedCsr::MAX_BYTES + 1]).unwrap_err();
    assert!(matches!(error, CsrError::TooLong { .. }));
    let twice = der.to_pem().repeat(2);
    let error = UnverifiedCsr::from_pem(twice.as_bytes()).unwrap_err();
    assert_eq!(error, CsrError::Pem { found: 2 });
}

#[test]
fn pki_032_names_beyond_the_profile_refuse_the_request_whole() {
    let names = |names: Vec<SanType>| refused(|params| params.subject_alt_names = names);
    let own = || uri("spiffe://example.org/billing");
    assert!(matches!(
        names(vec![own(), dns("billing.example")]),
        ApproveError::DnsName { .. }
    ));
    assert!(matches!(
        names(vec![dns("*.example.org")]),
        ApproveError::DnsName { .. }
    ));
    assert!(matches!(
        names(vec![SanType::IpAddress([10, 0, 0, 1].into())]),
        ApproveError::IpAddress { .. }
    ));
    for foreign in [
        "spiffe://example.org/admin",
        "spiffe://other.org/billing",
        "spiffe://example.org",
        "spiffe://example.org/billing/",
        "https://example.org/billing",
    ] {
        assert!(
            matches!(names(vec![own(), uri(foreign)]), ApproveError::Uri { .. }),
            "{foreign}"
        );
    }
    let mail = SanType::Rfc822Name("root@example.org".try_into().unwrap());
    assert_eq!(
        names(vec![own(), mail]),
        ApproveError::OtherNames { found: 1 }
    );
    let other = SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "root".into()));
    assert_eq!(names(vec![other]), ApproveError::OtherNames { found: 1 });
}

#[test]
fn pki_032_powers_beyond_the_profile_refuse_the_request_whole() {
    let ca = |constraints| refused(|params| params.is_ca = IsCa::Ca(constraints));
    assert!(matches!(
        ca(BasicConstraints::Unconstrained),
        ApproveError::Authority { .. }
    ));
    assert!(matches!(
        ca(BasicConstraints::Constrained(0)),
        ApproveError::Authority { .. }
    ));
    for usage in [
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::KeyAgreement,
    ] {
        let error = refused(|params| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, usage];
        });
        assert!(matches!(error, ApproveError::KeyUsage { .. }));
    }
    for purpose in [
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::CodeSigning,
    ] {
        let error = refused(|params| params.extended_key_usages = vec![purpose]);
        assert_eq!(error, ApproveError::ExtendedKeyUsage);
    }
    // Extensions that are the issuer's to choose, and one that nobody knows.
    for oid in [&[2, 5, 29, 14][..], &[2, 5, 29, 56], &[1, 2, 3, 4]] {
        let value = if oid == [2, 5, 29, 14] {
            vec![4, 1, 7]
        } else {
            vec![5, 0]
        };
        let error = refused(|params| {
            params.custom_extensions = vec![CustomExtension::from_oid_content(oid, value)];
        });
        assert!(matches!(error, ApproveError::Extension { .. }), "{error}");
    }
}

#[test]
fn pki_032_what_the_profile_gives_anyway_may_be_asked_for() {
    let mut params = blank();
    params.subject_alt_names = vec![uri("spiffe://example.org/billing")];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    assert!(
        workload()
            .approve(verified(params), &service("billing"), HOUR)
            .is_ok()
    );
}

#[test]
fn names_are_taken_only_where_the_profile_allows_them_to_that_machine() {
    let profile = workload()
        .with_requested_names(|id, name| {
            id.path() == "/billing" && name == RequestedName::Dns("billing.internal")
        })
        .unwrap();
    let asking = |name: &str| {
        let builder = CsrBuilder::new().with_dns_name(name).unwrap();
        builder
            .sign(&key(Algorithm::Es256))
            .unwrap()
            .verify()
            .unwrap()
    };
    assert!(
        profile
            .approve(asking("billing.internal"), &service("billing"), HOUR)
            .is_ok()
    );
    assert!(
        profile
            .approve(asking("Billing.Internal"), &service("billing"), HOUR)
            .is_ok()
    );
    assert!(
        profile
            .approve(asking("billing.internal"), &service("reports"), HOUR)
            .is_err()
    );
    assert!(
        profile
            .approve(asking("reports.internal"), &service("billing"), HOUR)
            .is_err()
    );
    // Not even a profile that allows everything gives out a wildcard.
    let all = workload().with_requested_names(|_, _| true).unwrap();
    assert!(
        all.approve(asking("*.internal"), &service("billing"), HOUR)
            .is_err()
    );
}

#[test]
fn pki_034_weak_and_foreign_keys_are_refused() {
    // RSA with a modulus of 1024 bits.
    let number = [&[2, 0x81, 0x81, 0][..], &[0xc5; 128]].concat();
    let key = [&[0x30, 0x81, 0x89][..], &number, &[2, 3, 1, 0, 1]].concat();
    let bits = [&[3, 0x81, 0x8d, 0][..], &key].concat();
    let rsa = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    let spki = [&[0x30, 0x81, 0x9f][..], &rsa, &bits].concat();
    assert!(PublicKey::from_spki_der(&spki).is_err());
    // P-192 (secp192r1).
    let p192 = [
        0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3,
        1, 1,
    ];
    let spki = [&[0x30, 73][..], &p192, &[3, 50, 0, 4], &[1; 48]].concat();
    assert_eq!(
        PublicKey::from_spki_der(&spki).unwrap_err(),
        m2m_crypto::KeyError::AlgorithmUnknown
    );
    // A sound key of a kind that the profile does not take.
    let profile = workload().with_key_algorithms(&[KeyAlgorithm::Ed25519]);
    let error = profile
        .approve(csr(), &service("billing"), HOUR)
        .unwrap_err();
    let found = KeyAlgorithm::P256;
    assert_eq!(error, ApproveError::KeyAlgorithm { found });
}

#[test]
fn pki_035_the_subject_never_comes_from_the_request() {
    for name in ["*", "CN=admin", "a/b,c+d", "admin\0"] {
        let error = refused(|params| params.distinguished_name.push(DnType::CommonName, name));
        assert!(matches!(error, ApproveError::Subject { .. }));
    }
    // Where it is ignored, it is left out.
    let mut params = blank();
    params.distinguished_name.push(DnType::CommonName, "admin");
    let profile = workload().with_requested_subject_ignored();
    let approved = profile
        .approve(verified(params), &service("billing"), HOUR)
        .unwrap();
    let (_, ledger) = support::ledger();
    let root = support::root_of(&ledger, Algorithm::Es256);
    let issued = root.issue(approved, support::now(), &SystemRandom).unwrap();
    let leaf = support::record(&ledger, issued);
    assert_eq!(leaf.subject_der(), [0x30, 0]);
    assert!(!leaf.der().windows(5).any(|bytes| bytes == b"admin"));
}

#[test]
fn the_identity_is_the_callers_and_must_be_in_the_profiles_trust_domain() {
    let foreign = "spiffe://other.org/billing".parse().unwrap();
    let error = workload().approve(csr(), &foreign, HOUR).unwrap_err();
    assert!(matches!(error, ApproveError::TrustDomain { .. }));
    for lifetime in [DAY + HOUR, HOUR / 3_600_000, std::time::Duration::ZERO] {
        let error = workload()
            .approve(csr(), &service("billing"), lifetime)
            .unwrap_err();
        assert!(matches!(error, ApproveError::Lifetime { .. }));
    }
    let error = support::root_profile()
        .approve(csr(), &service("ca"), HOUR)
        .unwrap_err();
    assert_eq!(error, ApproveError::Root);
}

#[test]
fn profiles_refuse_what_no_certificate_may_say() {
    assert!(Profile::workload("Workload", domain(), HOUR).is_err());
    assert!(Profile::workload("workload", domain(), HOUR / 10_000).is_err());
    assert!(workload().with_dns_name("*.example.org").is_err());
    for uri in [
        "",
        "ldap://x/",
        "http://",
        "http:///x",
        "http://a b/",
        "http://a/\u{fc}",
    ] {
        assert!(workload().with_crl_uri(uri).is_err(), "{uri}");
    }
    assert!(workload().with_permitted_dns("example.org").is_err());
    assert!(
        support::intermediate_profile(0)
            .with_dns_name("example.org")
            .is_err()
    );
}
