//! What other validators let pass and RFC 5280 or good sense does not: each chain differs in one thing
//! from one that is taken.

mod path_support;

use m2m_pki::*;
use path_support::*;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, NameConstraints, SanType,
};

fn chain_of(root: &Made, issuing: CertificateParams, leaf: CertificateParams) -> [Made; 2] {
    let issuing = root.issue(issuing);
    [issuing.issue(leaf), issuing]
}

fn verdict(issuing: CertificateParams, leaf: CertificateParams) -> Result<(), ChainError> {
    let root = Made::root();
    let [leaf, issuing] = chain_of(&root, issuing, leaf);
    judge(&verifier(), &chain(&[&leaf, &issuing]), &trust(&[&root])).map(drop)
}

/// A CA whose `basicConstraints` is not critical, which rcgen would not write.
fn careless(name: &str) -> CertificateParams {
    with(ca(name), |params| {
        params.is_ca = IsCa::NoCa;
        let constraints = element(0x30, &[1, 1, 0xff]);
        params.custom_extensions = vec![extension(&[2, 5, 29, 19], false, constraints)];
    })
}

#[test]
fn pki_002_that_it_is_a_ca_is_said_critically() {
    assert_eq!(verdict(ca("Issuing"), leaf()), Ok(()));
    let not_critical = |place| ChainError::NotCritical {
        place,
        oid: "2.5.29.19",
    };
    let place = Place::Intermediate(1);
    assert_eq!(
        verdict(careless("Issuing"), leaf()),
        Err(not_critical(place))
    );
    let root = Made::own(careless("Root"));
    let leaf = root.issue(leaf());
    let refused = judge(&verifier(), &chain(&[&leaf]), &trust(&[&root])).unwrap_err();
    assert_eq!(refused, not_critical(Place::Authority));
}

#[test]
fn what_a_ca_issues_says_whose_key_signed_it() {
    let silent = |mut params: CertificateParams| {
        params.use_authority_key_identifier_extension = false;
        params
    };
    let place = Place::Intermediate(1);
    assert_eq!(
        verdict(silent(ca("Issuing")), leaf()),
        Err(ChainError::KeyIdentifier { place })
    );
    let place = Place::Leaf;
    assert_eq!(
        verdict(ca("Issuing"), silent(leaf())),
        Err(ChainError::KeyIdentifier { place })
    );
    // An authority is trusted by itself.
    let root = Made::own(silent(ca("Root")));
    let leaf = root.issue(leaf());
    assert!(judge(&verifier(), &chain(&[&leaf]), &trust(&[&root])).is_ok());
}

#[test]
fn pki_011_a_key_for_tls_does_not_sign_code_mail_times_or_answers_too() {
    let precertificates = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 11129, 2, 4, 4]);
    for purpose in [
        ExtendedKeyUsagePurpose::CodeSigning,
        ExtendedKeyUsagePurpose::EmailProtection,
        ExtendedKeyUsagePurpose::TimeStamping,
        ExtendedKeyUsagePurpose::OcspSigning,
        precertificates,
    ] {
        let params = with(leaf(), |params| params.extended_key_usages.push(purpose));
        let place = Place::Leaf;
        assert_eq!(
            verdict(ca("Issuing"), params),
            Err(ChainError::ForeignPurpose { place })
        );
    }
    // Purposes that nobody knows hurt nobody.
    let own = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
    let params = with(leaf(), |params| params.extended_key_usages.push(own));
    assert_eq!(verdict(ca("Issuing"), params), Ok(()));
}

#[test]
fn pki_006_a_constraint_that_begins_with_a_dot_is_malformed() {
    let constrained = |name: &str| {
        with(ca("Issuing"), |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(name.into())],
                excluded_subtrees: Vec::new(),
            });
        })
    };
    let verdict = |issuing| {
        let root = Made::root();
        let [leaf, issuing] = chain_of(&root, issuing, server("a.example.org"));
        let verifier = of_name("a.example.org");
        let verdict = verifier.verify(
            &chain(&[&leaf, &issuing]),
            PeerRole::Server,
            &trust(&[&root]),
            &CrlSet::new(),
            now(),
        );
        (verdict.is_ok(), Certificate::from_der(&issuing.der).is_ok())
    };
    assert_eq!(verdict(constrained("example.org")), (true, true));
    assert_eq!(verdict(constrained(".example.org")), (false, false));
}

/// A server whose common name is this.
fn named(name: &str, names: Vec<SanType>) -> CertificateParams {
    with(leaf(), |params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = names;
    })
}

#[test]
fn pki_014_a_common_name_spells_no_name_in_another_way() {
    let verdict = |name: &str, names: Vec<SanType>| {
        let root = Made::root();
        let leaf = root.issue(named(name, names));
        let anybody = of(ExpectedPeer::danger_any_name(domain()));
        judge(&anybody, &chain(&[&leaf]), &trust(&[&root])).map(drop)
    };
    let address = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let place = Place::Leaf;
    for (name, other) in [
        ("Example.ORG", dns("example.org")),
        ("0xC0A80101", address("192.168.1.1")),
        ("192.168.001.001", address("192.168.1.1")),
        ("2001:DB8::8A2E", address("2001:db8::8a2e")),
        ("2001:db8:0:0:0:0:0:1", address("2001:db8::1")),
    ] {
        let found = verdict(name, vec![dns("other.example.org"), other]);
        assert_eq!(found, Err(ChainError::CommonName { place }), "{name}");
    }
    for (name, other) in [
        ("example.org", dns("example.org")),
        ("192.168.1.1", address("192.168.1.1")),
        ("2001:db8::1", address("2001:db8::1")),
        ("Billing, third floor", dns("example.org")),
        // Another name altogether: nothing here reads it.
        ("other.example.org", dns("example.org")),
    ] {
        assert_eq!(verdict(name, vec![other]), Ok(()), "{name}");
    }
    let both = vec![dns("example.org"), dns("Example.org")];
    assert_eq!(verdict("Example.org", both), Ok(()));
}

#[test]
fn a_crl_is_at_a_uri_or_a_directory_name_and_nowhere_else() {
    let points = |names: &[u8]| -> CustomExtension {
        let full = element(0xa0, &element(0xa0, names));
        extension(&[2, 5, 29, 31], false, element(0x30, &element(0x30, &full)))
    };
    let read = |names: &[u8]| {
        let params = with(leaf(), |params| {
            params.custom_extensions = vec![points(names)];
        });
        Certificate::from_der(&Made::own(params).der)
    };
    let uri = element(0x86, b"http://crl.example.org/1.crl");
    let directory = element(0xa4, &[0x30, 0]);
    let dns = element(0x82, b"crl.example.org");
    assert!(read(&uri).is_ok());
    assert!(read(&[&uri[..], &directory].concat()).is_ok());
    assert!(read(&[&uri[..], &dns].concat()).is_err());
}
