//! What authorities sign, and what they do not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use m2m_crypto::{Algorithm, RandomError, SecureRandom, SystemRandom};
use m2m_pki::{Authority, Certificate, CertificateError, IssueError, LoadError, Serial, SvidError};
use rcgen::{BasicConstraints, CustomExtension, IsCa, KeyUsagePurpose, SanType};
use support::{
    DAY, HOUR, after, blank, csr, csr_of, intermediate_of, intermediate_profile, key, leaf, ledger,
    now, odd_certificate, record, root_of, root_profile, service, workload,
};

struct NoRandom;

impl SecureRandom for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

fn san(uris: &[&str]) -> Vec<SanType> {
    uris.iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect()
}

#[test]
fn pki_013_a_leaf_names_exactly_one_machine() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issued = leaf(&ledger, &root, "billing");
    assert_eq!(issued.service_id(), Ok(service("billing")));
    assert_eq!(
        issued.uris().collect::<Vec<_>>(),
        ["spiffe://example.org/billing"]
    );
    assert!(!issued.is_ca() && issued.dns_names().len() == 0);

    let odd = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = blank();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = san(&["spiffe://example.org/a"]);
        change(&mut params);
        Certificate::from_der(&odd_certificate(&params))
            .unwrap()
            .service_id()
    };
    assert!(odd(&|_| {}).is_ok());
    let two = odd(&|params| {
        params.subject_alt_names = san(&["spiffe://example.org/a", "spiffe://example.org/b"]);
    });
    assert_eq!(two, Err(SvidError::Uris { found: 2 }));
    assert_eq!(
        odd(&|params| params.subject_alt_names.clear()),
        Err(SvidError::Uris { found: 0 })
    );
    let wildcard = odd(&|params| {
        let name = SanType::DnsName("*.example.org".try_into().unwrap());
        params.subject_alt_names.push(name);
    });
    assert_eq!(wildcard, Err(SvidError::Wildcard));
    let ca = odd(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(ca, Err(SvidError::Authority));
    let signs = odd(&|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign));
    assert_eq!(signs, Err(SvidError::KeyUsage));
    let domain = odd(&|params| params.subject_alt_names = san(&["spiffe://example.org"]));
    assert!(matches!(domain, Err(SvidError::NotService(_))));
}

#[test]
fn pki_010_extensions_twice_unknown_and_critical_or_with_trailing_bytes_are_refused() {
    let with = |extensions: Vec<CustomExtension>| {
        let mut params = blank();
        params.custom_extensions = extensions;
        Certificate::from_der(&odd_certificate(&params))
    };
    let extension = |oid: &[u64], critical, value: &[u8]| {
        let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
        extension.set_criticality(critical);
        extension
    };
    let unknown = |critical| extension(&[1, 2, 3, 4], critical, &[5, 0]);
    assert!(with(vec![unknown(false)]).is_ok());
    assert!(matches!(
        with(vec![unknown(true)]),
        Err(CertificateError::UnknownCritical { .. })
    ));
    assert!(matches!(
        with(vec![unknown(false), unknown(false)]),
        Err(CertificateError::ExtensionTwice { .. })
    ));
    for (oid, value) in [
        (&[2, 5, 29, 15][..], &[3, 2, 7, 0x80, 0][..]), // behind keyUsage
        (&[2, 5, 29, 19], &[0x30, 0, 0]),               // behind basicConstraints
        (&[2, 5, 29, 17], &[0x30, 0]),                  // no names
        (&[2, 5, 29, 17], &[0x30, 5, 0x82, 3, b'a', 0, b'b']), // NUL in a DNS name
        (&[2, 5, 29, 17], &[0x30, 4, 0x82, 2, b'a', b'.']), // trailing dot
        (&[2, 5, 29, 17], &[0x30, 2, 0x82, 0]),         // empty
        (&[2, 5, 29, 17], &[0x30, 7, 0x87, 5, 1, 2, 3, 4, 5]), // five bytes of address
        (&[2, 5, 29, 37], &[0x30, 0]),                  // no purposes
        (&[2, 5, 29, 56], &[0x30, 0]),                  // noRevAvail that is not NULL
    ] {
        let error = with(vec![extension(oid, false, value)]).unwrap_err();
        assert!(
            matches!(error, CertificateError::Extension { .. }),
            "{oid:?}: {error}"
        );
    }
    let many = 0..=Certificate::MAX_EXTENSIONS as u64;
    let many = many
        .map(|n| extension(&[1, 2, 3, n], false, &[5, 0]))
        .collect();
    assert!(matches!(
        with(many),
        Err(CertificateError::TooManyExtensions { .. })
    ));
}

#[test]
fn pki_016_serials_are_never_zero_negative_or_too_long() {
    let with = |serial: &[u8]| {
        let mut params = blank();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(serial));
        Certificate::from_der(&odd_certificate(&params))
    };
    for bad in [&[0][..], &[1; 21], &[0x80; 20]] {
        assert!(
            matches!(with(bad), Err(CertificateError::Serial { .. })),
            "{bad:?}"
        );
    }
    let read = with(&[0, 0, 0x9a, 1]).unwrap();
    assert_eq!(Some(read.serial()), Serial::from_bytes(&[0x9a, 1]).as_ref());

    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    for _ in 0..20 {
        let serial = leaf(&ledger, &root, "billing").serial().clone();
        assert_eq!(serial.as_bytes().len(), Serial::ISSUED_BYTES);
        assert!(serial.as_bytes()[0] < 0x80);
    }
    let approved = workload()
        .approve(csr(), &service("billing"), HOUR)
        .unwrap();
    let error = root.issue(approved, now(), &NoRandom).unwrap_err();
    assert_eq!(error, IssueError::Random(RandomError));
}

#[test]
fn pki_017_a_certificate_cut_off_or_damaged_anywhere_is_no_panic() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issued = leaf(&ledger, &root, "billing");
    let der = issued.der();
    for length in 0..der.len() {
        assert!(Certificate::from_der(&der[..length]).is_err());
    }
    for at in 0..der.len() {
        let mut damaged = der.to_vec();
        damaged[at] ^= 0x11;
        let signed = Certificate::from_der(&damaged)
            .is_ok_and(|certificate| certificate.is_signed_by(root.public_key()));
        assert!(!signed, "byte {at}");
    }
    assert!(Certificate::from_der(&[der, &[0][..]].concat()).is_err());
    let large = vec![0x30; Certificate::MAX_BYTES + 1];
    assert!(matches!(
        Certificate::from_der(&large),
        Err(CertificateError::TooLong { .. })
    ));
    let pem = issued.to_pem();
    assert_eq!(Certificate::from_pem(pem.as_bytes()), Ok(issued));
    let error = Certificate::from_pem(pem.repeat(3).as_bytes()).unwrap_err();
    assert_eq!(error, CertificateError::Pem { found: 3 });
}

#[test]
fn pki_018_the_algorithm_inside_and_outside_must_be_the_same() {
    let mut der = odd_certificate(&blank());
    let sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let at = der.windows(8).rposition(|bytes| bytes == sha256).unwrap();
    der[at + 7] = 3;
    assert_eq!(
        Certificate::from_der(&der),
        Err(CertificateError::AlgorithmsDiffer)
    );
}

#[test]
fn a_certificate_lives_as_long_as_was_asked_or_is_not_issued() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issued = leaf(&ledger, &root, "billing");
    assert_eq!(issued.not_after(), after(HOUR));
    // Never before its issuer, which was made in the same second.
    assert_eq!(issued.not_before(), root.certificate().not_before());
    let approve = || {
        workload()
            .approve(csr(), &service("billing"), HOUR)
            .unwrap()
    };
    let later = after(DAY);
    let issued = record(
        &ledger,
        root.issue(approve(), later, &SystemRandom).unwrap(),
    );
    assert_eq!(
        Some(issued.not_before()),
        later.checked_sub(Authority::BACKDATE)
    );
    let late = after(3650 * DAY - HOUR / 2);
    let error = root.issue(approve(), late, &SystemRandom).unwrap_err();
    assert!(matches!(error, IssueError::BeyondIssuer { .. }));
    for wrong in [after(3651 * DAY), now().checked_sub(DAY).unwrap()] {
        let error = root.issue(approve(), wrong, &SystemRandom).unwrap_err();
        assert!(matches!(error, IssueError::NotCurrent { .. }));
    }
}

#[test]
fn pki_034_the_authoritys_own_key_gets_no_certificate() {
    let (_, ledger) = ledger();
    let own = key(Algorithm::Es256);
    let holder = service("ca/root");
    let issued =
        Authority::create_root(&root_profile(), &holder, &own, DAY, now(), &SystemRandom).unwrap();
    let csr = csr_of(&own);
    let root = Authority::load(record(&ledger, issued), own).unwrap();
    let approved = workload().approve(csr, &holder, HOUR).unwrap();
    let error = root.issue(approved, now(), &SystemRandom).unwrap_err();
    assert_eq!(error, IssueError::OwnKey);
}

#[test]
fn path_lengths_only_become_shorter() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let issuing = intermediate_of(&ledger, &root, Algorithm::Es256);
    assert_eq!(issuing.certificate().path_len(), Some(0));
    let approve = |path_len| {
        intermediate_profile(path_len)
            .approve(csr(), &service("ca/x"), HOUR)
            .unwrap()
    };
    for path_len in [0, 1] {
        let error = issuing
            .issue(approve(path_len), now(), &SystemRandom)
            .unwrap_err();
        assert_eq!(error, IssueError::PathLength { path_len, limit: 0 });
    }
    assert!(root.issue(approve(1), now(), &SystemRandom).is_ok());
}

#[test]
fn a_key_elsewhere_signs_what_was_prepared_and_nothing_else_is_taken() {
    let (_, ledger) = ledger();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let key = key(algorithm);
        let public = m2m_pki::PublicKey::of(&key).unwrap();
        let sign = |message: &[u8]| {
            let mut signature = vec![0; key.signature_bytes()];
            key.sign(message, &mut signature).unwrap();
            match algorithm {
                Algorithm::Ed25519 => signature,
                _ => m2m_crypto::ecdsa_fixed_to_der(algorithm, &signature).unwrap(),
            }
        };
        let holder = service("ca/hsm");
        let prepared =
            Authority::prepare_root(&root_profile(), &holder, public, DAY, now(), &SystemRandom)
                .unwrap();
        let signature = sign(prepared.signing_input());
        let root = record(&ledger, prepared.attach(&signature).unwrap());
        let root = Authority::load_external(root).unwrap();
        let approve = || {
            workload()
                .approve(csr(), &service("billing"), HOUR)
                .unwrap()
        };
        let error = root.issue(approve(), now(), &SystemRandom).unwrap_err();
        assert_eq!(error, IssueError::KeyElsewhere);
        for wrong in [
            &[][..],
            &sign(b"something else"),
            &[0x30, 6, 2, 1, 1, 2, 1, 1],
        ] {
            let prepared = root.prepare(approve(), now(), &SystemRandom).unwrap();
            let error = prepared.attach(wrong).unwrap_err();
            assert!(matches!(error, IssueError::Signature { .. }));
        }
        let prepared = root.prepare(approve(), now(), &SystemRandom).unwrap();
        assert_eq!(prepared.algorithm(), algorithm);
        let signature = sign(prepared.signing_input());
        let leaf = record(&ledger, prepared.attach(&signature).unwrap());
        assert!(leaf.is_signed_by(root.public_key()));
    }
}

#[test]
fn an_authority_is_a_certificate_and_its_key() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let other = key(Algorithm::Es256);
    let error = Authority::load(root.certificate().clone(), other).unwrap_err();
    assert!(matches!(error, LoadError::OtherKey { .. }));
    let leaf_key = key(Algorithm::Es256);
    let approved = workload()
        .approve(csr_of(&leaf_key), &service("billing"), HOUR)
        .unwrap();
    let leaf = record(&ledger, root.issue(approved, now(), &SystemRandom).unwrap());
    let error = Authority::load(leaf, leaf_key).unwrap_err();
    assert_eq!(error, LoadError::NotAuthority { is_ca: false });
    let mut params = blank();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let odd = Certificate::from_der(&odd_certificate(&params)).unwrap();
    assert!(matches!(
        Authority::load_external(odd),
        Err(LoadError::NotAuthority { .. })
    ));
}

#[test]
fn short_lives_say_that_there_is_no_revocation_and_others_say_where_it_is() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let profile = workload()
        .with_no_revocation_below(2 * HOUR)
        .with_crl_uri_by_serial(|serial| {
            format!("http://crl.example/{:x}", serial.as_bytes()[0] % 4)
        });
    let issue = |lifetime| {
        let approved = profile
            .approve(csr(), &service("billing"), lifetime)
            .unwrap();
        record(&ledger, root.issue(approved, now(), &SystemRandom).unwrap())
    };
    let short = issue(HOUR);
    assert!(short.has_no_rev_avail() && short.crl_distribution_points().len() == 0);
    let long = issue(2 * HOUR);
    assert!(!long.has_no_rev_avail());
    let shard = format!("http://crl.example/{:x}", long.serial().as_bytes()[0] % 4);
    assert_eq!(long.crl_distribution_points().collect::<Vec<_>>(), [shard]);

    let profile = workload().with_crl_uri_by_serial(|_| "not a uri".into());
    let approved = profile.approve(csr(), &service("billing"), HOUR).unwrap();
    let error = root.issue(approved, now(), &SystemRandom).unwrap_err();
    assert!(matches!(error, IssueError::CrlUri { .. }));
}

#[test]
fn the_thumbprint_is_what_a_bound_token_says() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Es256);
    let certificate = root.certificate();
    assert_eq!(
        *certificate.thumbprint().as_bytes(),
        m2m_crypto::sha256(certificate.der())
    );
    assert_eq!(certificate.x5t_s256().len(), 43);
}
