//! What is issued says what it should, before any ledger comes into it.

use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_types::Timestamp;

use crate::encoder::Placeholder;
use crate::{Authority, CsrBuilder, Profile, Subject, strict};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_leaf_says_what_was_approved() {
    let now = Timestamp::from_unix_seconds(1_767_225_600).unwrap();
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        let key = SigningKey::generate(algorithm, &SystemRandom).unwrap();
        let domain: m2m_types::TrustDomain = "example.org".parse().unwrap();
        let holder = "spiffe://example.org/ca".parse().unwrap();
        let subject = Subject::new("Root").unwrap();
        let root = Profile::root("root", domain.clone(), subject, 100 * HOUR).unwrap();
        let root =
            Authority::create_root(&root, &holder, &key, 100 * HOUR, now, &SystemRandom).unwrap();
        let root = Authority::load(root.certificate, key).unwrap();
        let certificate = root.certificate();
        assert!(certificate.is_ca() && certificate.is_signed_by(root.public_key()));
        assert_eq!(certificate.issuer_der(), certificate.subject_der());
        assert_eq!(certificate.authority_key_id(), certificate.subject_key_id());

        let leaf_key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let id = "spiffe://example.org/billing".parse().unwrap();
        let csr = CsrBuilder::new().sign(&leaf_key).unwrap().verify().unwrap();
        let profile = Profile::workload("workload", domain, HOUR).unwrap();
        let approved = profile.approve(csr, &id, HOUR).unwrap();
        let leaf = root
            .issue(approved, now, &SystemRandom)
            .unwrap()
            .certificate;
        assert_eq!(leaf.service_id().unwrap(), id);
        assert!(leaf.is_signed_by(root.public_key()));
        assert_eq!(leaf.issuer_der(), root.certificate().subject_der());
        assert_eq!(leaf.authority_key_id(), Some(root.key_id()));
        assert_eq!(leaf.spki_der(), &*leaf_key.verifying_key().to_spki_der());
        assert_eq!(leaf.not_after(), now.checked_add(HOUR).unwrap());
        assert_eq!(
            leaf.not_before(),
            now.checked_sub(Authority::BACKDATE).unwrap()
        );
    }
}

/// What rcgen writes of `params`, without its algorithm, issuer and key.
fn rcgens(mut params: rcgen::CertificateParams, own: &Authority) -> Vec<u8> {
    params.use_authority_key_identifier_extension = true;
    let mut issuer = rcgen::CertificateParams::default();
    issuer.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(own.key_id().to_vec());
    let placeholder = Placeholder::default();
    let issuer = rcgen::Issuer::from_params(&issuer, &placeholder);
    params.signed_by(&placeholder, &issuer).unwrap();
    placeholder.into_message()
}

#[test]
fn what_is_written_is_what_rcgen_writes() {
    let now = Timestamp::from_unix_seconds(1_767_225_600).unwrap();
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    let domain: m2m_types::TrustDomain = "example.org".parse().unwrap();
    let holder = "spiffe://example.org/ca".parse().unwrap();
    let subject = |name| {
        Subject::new(name)
            .unwrap()
            .with_organization("Über")
            .unwrap()
    };
    let root = Profile::root("root", domain.clone(), subject("Root"), 900_000 * HOUR).unwrap();
    let life = 800_000 * HOUR;
    let root = Authority::create_root(&root, &holder, &key, life, now, &SystemRandom).unwrap();
    let root = Authority::load(root.certificate, key).unwrap();

    let uri = "http://crl.example.org/1.crl";
    let plain = Profile::workload("workload", domain.clone(), 10 * HOUR).unwrap();
    let full = plain.clone().with_dns_name("billing.internal").unwrap();
    let full = full.with_ip_address([10, 0, 0, 1].into()).unwrap();
    let full = full
        .with_ip_address("2001:db8::1".parse().unwrap())
        .unwrap();
    let full = full.with_crl_uri(uri).unwrap();
    let short = plain.clone().with_no_revocation_below(20 * HOUR);
    let client = plain.clone().with_client_auth_only();
    let issuing = Profile::intermediate("issuing", domain, subject("Issuing"), 3, life).unwrap();
    let narrow = issuing.clone().with_permitted_dns("example.org").unwrap();
    let narrow = narrow.with_excluded_dns("a.example.org").unwrap();
    for (profile, life) in [
        (&plain, HOUR),
        (&full, HOUR),
        (&short, HOUR),
        (&client, HOUR),
        (&issuing, 700_000 * HOUR),
        (&narrow, HOUR),
    ] {
        let leaf = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&leaf).unwrap().verify().unwrap();
        let key_id = csr.public_key().key_identifier().to_vec();
        let approved = profile.approve(csr, &holder, life).unwrap();
        let prepared = root.prepare(approved, now, &SystemRandom).unwrap();

        let mut params = rcgen::CertificateParams::default();
        params.serial_number = Some(prepared.serial().as_bytes().to_vec().into());
        let start = rcgen::date_time_ymd(2026, 1, 1);
        (params.not_before, params.not_after) = (start - Authority::BACKDATE, start + life);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id);
        if profile.is_for_authorities() {
            let mut push = |part, text: &str| params.distinguished_name.push(part, text);
            push(rcgen::DnType::OrganizationName, "Über");
            push(rcgen::DnType::CommonName, "Issuing");
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(3));
            params.key_usages = vec![
                rcgen::KeyUsagePurpose::KeyCertSign,
                rcgen::KeyUsagePurpose::CrlSign,
            ];
            let subtrees = |names: &[Box<str>]| {
                let names = names.iter().map(ToString::to_string);
                names.map(rcgen::GeneralSubtree::DnsName).collect()
            };
            params.name_constraints = Some(rcgen::NameConstraints {
                permitted_subtrees: subtrees(&profile.permitted_dns),
                excluded_subtrees: subtrees(&profile.excluded_dns),
            });
        } else {
            params.is_ca = rcgen::IsCa::ExplicitNoCa;
            params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            if profile.server_auth {
                let server = rcgen::ExtendedKeyUsagePurpose::ServerAuth;
                params.extended_key_usages.push(server);
            }
            let names = &mut params.subject_alt_names;
            names.push(rcgen::SanType::URI(holder.as_str().try_into().unwrap()));
            for name in &profile.dns_names {
                names.push(rcgen::SanType::DnsName((**name).try_into().unwrap()));
            }
            let addresses = profile.ip_addresses.iter();
            names.extend(addresses.map(|address| rcgen::SanType::IpAddress(*address)));
            if profile.crl_uri.is_some() {
                let uris = vec![uri.to_owned()];
                params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris }];
            }
            if profile.no_revocation_below > life {
                let oid = [2, 5, 29, 56];
                let extension = rcgen::CustomExtension::from_oid_content(&oid, vec![5, 0]);
                params.custom_extensions = vec![extension];
            }
        }
        let theirs = rcgens(params, &root);
        let ours: [_; 8] = strict::fields(&prepared.tbs, 0x30).unwrap();
        let theirs: [_; 8] = strict::fields(&theirs, 0x30).unwrap();
        // Version, number, validity, subject and extensions.
        for field in [0, 1, 4, 5, 7] {
            assert_eq!(ours[field], theirs[field], "{} {field}", profile.name);
        }
        assert_eq!(ours[3], root.certificate().subject_der());
        assert_eq!(ours[6], &*leaf.verifying_key().to_spki_der());
    }
}
