//! Chains made to be taken by mistake, or to cost too much: each is refused, by its own rule.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod path_support;

use m2m_pki::*;
use path_support::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints, SanType,
};

const ANY: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::Any;
const CLIENT: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const SERVER: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ServerAuth;

#[test]
fn pki_001_paths_by_the_million_end_at_the_budget_of_signatures() {
    // All named alike and each with another key, so that any may have issued any.
    let vague = |params| {
        with(params, |params: &mut CertificateParams| {
            params.use_authority_key_identifier_extension = false;
        })
    };
    let root = Made::own(ca("Same"));
    let crowd: Vec<Made> = (0..100).map(|_| Made::own(vague(ca("Same")))).collect();
    let leaf = Made::own(ca("Same")).issue(vague(leaf()));
    let mut made = vec![&leaf];
    made.extend(&crowd);
    let (chain, trust) = (chain(&made), trust(&[&root]));

    let refused = judge(&verifier(), &chain, &trust).unwrap_err();
    let (found, limit) = (101, 10);
    assert_eq!(refused, ChainError::TooManyCertificates { found, limit });

    let checked = |verifier: &ChainVerifier, chain| {
        let crls = CrlSet::new();
        let report = verifier.explain(chain, PeerRole::Client, &trust, &crls, now());
        report.signatures_checked()
    };
    // As many as are read: the default budget holds.
    let refused = judge(&verifier(), &chain[..10], &trust).unwrap_err();
    assert_eq!(refused, ChainError::Budget { limit: 32 });
    assert_eq!(checked(&verifier(), &chain[..10]), 32);
    // All of them, with the largest budget there is.
    let patient = verifier().with_limits(ChainLimits::new(usize::MAX, usize::MAX));
    let refused = judge(&patient, &chain, &trust).unwrap_err();
    assert_eq!(refused, ChainError::Budget { limit: 100 });
    assert_eq!(checked(&patient, &chain), 100);

    // With identifiers of keys only the authority is asked, for its name.
    let named = Made::own(ca("Same")).issue(path_support::leaf());
    let chain = path_support::chain(&[&[&named][..], &made[1..]].concat());
    let refused = judge(&patient, &chain, &trust).unwrap_err();
    assert_eq!(refused, ChainError::Signature);
    assert_eq!(checked(&patient, &chain), 1);
}

#[test]
fn pki_001_a_path_among_strangers_is_found() {
    let root = Made::root();
    let issuing = root.issue(ca("Issuing"));
    let leaf = issuing.issue(leaf());
    let strangers: Vec<Made> = (0..4).map(|_| Made::own(ca("Issuing"))).collect();
    let mut made = vec![&leaf];
    made.extend(&strangers);
    made.extend([&issuing, &root]);
    let peer = judge(&verifier(), &chain(&made), &trust(&[&root])).unwrap();
    let path: Vec<_> = peer.path().cloned().collect();
    assert_eq!(path, [leaf.read(), issuing.read(), root.read()]);
}

#[test]
fn pki_002_only_cas_issue_and_no_deeper_than_they_may() {
    let root = Made::root();
    let trusted = trust(&[&root]);
    let verdict = |issuing: CertificateParams| {
        let issuing = root.issue(issuing);
        let leaf = issuing.issue(leaf());
        judge(&verifier(), &chain(&[&leaf, &issuing]), &trusted)
    };
    let place = Place::Intermediate(1);
    assert!(verdict(ca("Issuing")).is_ok());

    // A machine that issues: with its own certificate, with CA:FALSE, with nothing said.
    let refused = verdict(leaf()).unwrap_err();
    assert_eq!(refused, ChainError::NotAuthority { place });
    let not_ca = with(ca("Issuing"), |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(
        verdict(not_ca).unwrap_err(),
        ChainError::NotAuthority { place }
    );
    let unsaid = with(ca("Issuing"), |params| params.is_ca = IsCa::NoCa);
    assert_eq!(
        verdict(unsaid).unwrap_err(),
        ChainError::NotAuthority { place }
    );
    // A CA whose key is for CRLs alone.
    let crls_only = with(ca("Issuing"), |params| {
        params.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    assert_eq!(
        verdict(crls_only).unwrap_err(),
        ChainError::KeyUsage { place }
    );
    // Nothing said of key usage is fine.
    let unsaid = with(ca("Issuing"), |params| params.key_usages.clear());
    assert!(verdict(unsaid).is_ok());

    // The same of the authority.
    let place = Place::Authority;
    for (params, error) in [
        (
            with(ca("Root"), |root| {
                root.key_usages = vec![KeyUsagePurpose::CrlSign]
            }),
            ChainError::KeyUsage { place },
        ),
        (
            with(ca("Root"), |root| root.is_ca = IsCa::NoCa),
            ChainError::NotAuthority { place },
        ),
    ] {
        let root = Made::own(params);
        let leaf = root.issue(leaf());
        let refused = judge(&verifier(), &chain(&[&leaf]), &trust(&[&root]));
        assert_eq!(refused.unwrap_err(), error);
    }

    // Two intermediates below one that may have one, and below a root that may.
    let constrained = |mut params: CertificateParams, length| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        params
    };
    for (root, upper, good) in [
        (ca("Root"), constrained(ca("Upper"), 1), true),
        (ca("Root"), constrained(ca("Upper"), 0), false),
        (constrained(ca("Root"), 2), ca("Upper"), true),
        (constrained(ca("Root"), 1), ca("Upper"), false),
    ] {
        let root = Made::own(root);
        let upper = root.issue(upper);
        let lower = upper.issue(ca("Lower"));
        let leaf = lower.issue(leaf());
        let result = judge(
            &verifier(),
            &chain(&[&leaf, &lower, &upper]),
            &trust(&[&root]),
        );
        match good {
            true => assert!(result.is_ok(), "{result:?}"),
            false => assert!(matches!(result.unwrap_err(), ChainError::PathLength { .. })),
        }
    }

    // A leaf that signed itself, trusted or not; the certificate of a CA as a leaf.
    let own = Made::own(leaf());
    assert!(judge(&verifier(), &chain(&[&own]), &trusted).is_err());
    let refused = judge(&verifier(), &chain(&[&own]), &trust(&[&own]));
    assert!(refused.is_err());
    let as_leaf = root.issue(with(ca("Issuing"), |params| {
        params.subject_alt_names = leaf().subject_alt_names;
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    }));
    let any = of(ExpectedPeer::danger_any_name(domain()));
    let refused = judge(&any, &chain(&[&as_leaf]), &trusted).unwrap_err();
    assert_eq!(refused, ChainError::LeafIsAuthority);
    let refused = judge(&verifier(), &chain(&[&as_leaf]), &trusted).unwrap_err();
    assert!(matches!(refused, ChainError::NotService { .. }));
}

/// Whether a leaf is taken below an intermediate with these constraints.
fn constrained(
    constraints: NameConstraints,
    leaf: CertificateParams,
    verifier: &ChainVerifier,
) -> Result<VerifiedPeer, ChainError> {
    let root = Made::root();
    let issuing = root.issue(with(ca("Issuing"), |params| {
        params.name_constraints = Some(constraints);
    }));
    let leaf = issuing.issue(leaf);
    judge(verifier, &chain(&[&leaf, &issuing]), &trust(&[&root]))
}

fn permitted(names: &[&str]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: dns_subtrees(names),
        excluded_subtrees: Vec::new(),
    }
}

fn excluded(names: &[&str]) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: Vec::new(),
        excluded_subtrees: dns_subtrees(names),
    }
}

fn dns_subtrees(names: &[&str]) -> Vec<GeneralSubtree> {
    let names = names.iter().map(|name| (*name).to_owned());
    names.map(GeneralSubtree::DnsName).collect()
}

#[test]
fn pki_004_a_wildcard_does_not_slip_past_an_excluded_name() {
    for (excluded_name, name) in [
        ("test.example.com", "*.example.com"),
        ("test.example.com", "*.EXAMPLE.com"),
        ("TEST.Example.COM", "*.example.com"),
        ("example.com", "*.Example.Com"),
        ("example.com", "test.example.COM"),
    ] {
        let any = of(ExpectedPeer::danger_any_name(domain()));
        let refused = constrained(excluded(&[excluded_name]), server(name), &any);
        assert_eq!(
            refused.unwrap_err(),
            ChainError::NameConstraints,
            "{excluded_name} {name}"
        );
    }
    let other = constrained(
        excluded(&["test.example.com"]),
        server("*.example.net"),
        &of_name("a.example.net"),
    );
    assert!(other.is_ok());
    // A wildcard reaches beyond what is permitted below one name.
    let refused = constrained(
        permitted(&["test.example.com"]),
        server("*.example.com"),
        &of_name("test.example.com"),
    );
    assert_eq!(refused.unwrap_err(), ChainError::NameConstraints);
}

#[test]
fn pki_005_constraints_of_uris_refuse_the_chain_and_are_never_passed_over() {
    // [6] in a subtree: what is permitted or excluded is a host (RFC 5280 §4.2.1.10).
    let uri_constraint = |list: u8, host: &str| {
        let base = element(0x86, host.as_bytes());
        let list = element(list, &element(0x30, &base));
        extension(&[2, 5, 29, 30], true, element(0x30, &list))
    };
    let any = of(ExpectedPeer::danger_any_name(domain()));
    for list in [0xa0, 0xa1] {
        for (host, name) in [
            ("example.org", "spiffe://example.org/billing"),
            ("other.org", "spiffe://example.org/billing"),
            ("example.org", "https://[fe80::1%25lo0]/"),
            ("example.org", "urn:example:no-host"),
            (".org", "spiffe://example.org/billing"),
        ] {
            let root = Made::root();
            let issuing = root.issue(with(ca("Issuing"), |params| {
                params.custom_extensions.push(uri_constraint(list, host));
            }));
            let leaf = issuing.issue(with(leaf(), |params| {
                params.subject_alt_names = vec![uri(name)];
            }));
            let refused = judge(&any, &chain(&[&leaf, &issuing]), &trust(&[&root]));
            assert_eq!(
                refused.unwrap_err(),
                ChainError::NameConstraints,
                "{list:x} {host} {name}"
            );
            // The constraint may also stand in the authority.
            let root = Made::own(with(ca("Root"), |params| {
                params.custom_extensions.push(uri_constraint(list, host));
            }));
            let leaf = root.issue(with(path_support::leaf(), |params| {
                params.subject_alt_names = vec![uri(name)];
            }));
            let refused = judge(&any, &chain(&[&leaf]), &trust(&[&root]));
            assert_eq!(refused.unwrap_err(), ChainError::NameConstraints);
        }
    }
    // Constraints of other kinds of names say nothing of URIs.
    let fine = constrained(permitted(&["example.com"]), leaf(), &verifier());
    assert!(fine.is_ok());
}

#[test]
fn pki_006_every_constraint_counts_and_not_only_the_last() {
    let any = of(ExpectedPeer::danger_any_name(domain()));
    let all = ["one.example.com", "two.example.com", "one.example.net"];
    for name in all {
        let refused = constrained(excluded(&all), server(name), &any);
        assert_eq!(refused.unwrap_err(), ChainError::NameConstraints, "{name}");
        assert!(constrained(permitted(&all), server(name), &any).is_ok());
    }
    assert!(constrained(excluded(&all), server("three.example.com"), &any).is_ok());
    let mail = |name: &str| GeneralSubtree::Rfc822Name(name.into());
    for name in ["a@example.com", "b@example.com", "b@example.net"] {
        let constraints = NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: vec![mail("a@example.com"), mail("b@example.com")],
        };
        let leaf = with(leaf(), |params| {
            let name = SanType::Rfc822Name(name.try_into().unwrap());
            params.subject_alt_names.push(name);
        });
        // Not enforced, so refused whatever the address.
        let refused = constrained(constraints, leaf, &verifier());
        assert_eq!(refused.unwrap_err(), ChainError::NameConstraints, "{name}");
    }
    // One of a hundred names of a leaf is enough to be refused.
    let leaf = with(server("a.example.com"), |params| {
        let names = (0..100).map(|number| dns(&format!("n{number}.example.com")));
        params.subject_alt_names.extend(names);
        params.subject_alt_names.push(dns("two.example.com"));
    });
    assert!(constrained(excluded(&all), leaf, &any).is_err());
}

#[test]
fn pki_007_an_empty_name_below_a_constraint_is_an_error() {
    let any = of(ExpectedPeer::danger_any_name(domain()));
    let empty = with(leaf(), |params| {
        params.subject_alt_names.clear();
        params.custom_extensions.push(raw_names(&[(0x82, b"")]));
    });
    for constraints in [excluded(&["example.com"]), permitted(&["example.com"])] {
        let refused = constrained(constraints, empty.clone(), &any).unwrap_err();
        assert!(matches!(
            refused,
            ChainError::Malformed {
                place: Place::Leaf,
                ..
            }
        ));
    }
    // An intermediate that cannot be read is not there.
    let root = Made::root();
    let issuing = root.issue(with(ca("Issuing"), |params| {
        params.custom_extensions.push(raw_names(&[(0x82, b"")]));
    }));
    let leaf = issuing.issue(leaf());
    let refused = judge(&verifier(), &chain(&[&leaf, &issuing]), &trust(&[&root]));
    assert!(matches!(refused.unwrap_err(), ChainError::NoPath { .. }));
}

#[test]
fn pki_009_names_by_the_thousand_make_no_long_error() {
    let root = Made::root();
    let named = |count: usize| {
        root.issue(with(server("first.example.com"), |params| {
            let names = (0..count).map(|number| dns(&format!("n{number}.example.com")));
            params.subject_alt_names.extend(names);
        }))
    };
    let trust = trust(&[&root]);
    let leaf = named(600);
    assert!(judge(&of_name("n599.example.com"), &chain(&[&leaf]), &trust).is_ok());
    // `judge` looks at the length of every error.
    let refused = judge(&of_name("other.example.com"), &chain(&[&leaf]), &trust);
    assert_eq!(refused.unwrap_err(), ChainError::Unexpected { found: None });
    // As many as the attack has are not read at all.
    let mut huge = leaf.der.to_vec();
    huge.resize(3 << 20, 0);
    let refused = judge(&of_name("a.example.com"), &[huge.into()], &trust);
    assert!(matches!(refused.unwrap_err(), ChainError::Malformed { .. }));
}

#[test]
fn pki_011_purposes_are_as_the_table_says() {
    let root = Made::root();
    let trust = trust(&[&root]);
    let verdict = |issuing: &[ExtendedKeyUsagePurpose], own: &[ExtendedKeyUsagePurpose], role| {
        let issuing = root.issue(with(ca("Issuing"), |params| {
            params.extended_key_usages = issuing.to_vec();
        }));
        let leaf = issuing.issue(with(leaf(), |params| {
            params.extended_key_usages = own.to_vec();
        }));
        let chain = chain(&[&leaf, &issuing]);
        verifier().verify(&chain, role, &trust, &CrlSet::new(), now())
    };
    // Intermediate, leaf; good for clients, for servers. Nothing said is good for both.
    let table: &[(
        &[ExtendedKeyUsagePurpose],
        &[ExtendedKeyUsagePurpose],
        bool,
        bool,
    )] = &[
        (&[], &[], true, true),
        (&[], &[CLIENT, SERVER], true, true),
        (&[], &[CLIENT], true, false),
        (&[], &[SERVER], false, true),
        (&[], &[ANY], false, false),
        (&[], &[ANY, CLIENT, SERVER], false, false),
        (&[], &[ExtendedKeyUsagePurpose::CodeSigning], false, false),
        (&[CLIENT], &[CLIENT, SERVER], true, false),
        (&[SERVER], &[CLIENT, SERVER], false, true),
        (&[SERVER], &[], false, true),
        (&[CLIENT, SERVER], &[], true, true),
        (&[ANY], &[CLIENT, SERVER], false, false),
        (&[ANY, CLIENT], &[CLIENT, SERVER], true, false),
        (
            &[ExtendedKeyUsagePurpose::OcspSigning],
            &[CLIENT, SERVER],
            false,
            false,
        ),
    ];
    for (issuing, own, client, server) in table {
        for (role, good) in [(PeerRole::Client, client), (PeerRole::Server, server)] {
            let result = verdict(issuing, own, role);
            match good {
                true => assert!(result.is_ok(), "{issuing:?} {own:?} {role}: {result:?}"),
                false => assert!(
                    matches!(
                        result,
                        Err(ChainError::Purpose { .. } | ChainError::ForeignPurpose { .. })
                    ),
                    "{issuing:?} {own:?} {role}: {result:?}"
                ),
            }
        }
    }
    // Any purpose or none: the other checks stay.
    let stranger = Made::own(ca("Issuing"));
    let leaf = stranger.issue(with(leaf(), |params| {
        params.extended_key_usages = vec![ANY]
    }));
    assert!(judge(&verifier(), &chain(&[&leaf, &stranger]), &trust).is_err());
}

#[test]
fn pki_014_names_are_compared_as_the_table_says() {
    let root = Made::root();
    let trust = trust(&[&root]);
    let any = of(ExpectedPeer::danger_any_name(domain()));
    let leaf_with = |names: &[(u8, &[u8])]| {
        root.issue(with(leaf(), |params| {
            params.subject_alt_names.clear();
            params.custom_extensions.push(raw_names(names));
        }))
    };
    // Not read at all.
    for name in [
        &b"a\0.example.com"[..],
        b"example.com.",
        "b\u{fc}cher.example".as_bytes(),
        b"a%2eexample.com",
        b"a b.example.com",
        b".example.com",
        b"a..example.com",
        b"*",
        b"a.*.example.com",
        b"a*.example.com",
        b"-a.example.com",
    ] {
        let refused = judge(&any, &chain(&[&leaf_with(&[(0x82, name)])]), &trust);
        assert!(
            matches!(refused, Err(ChainError::Malformed { .. })),
            "{name:?}: {refused:?}"
        );
    }
    for length in [0, 3, 5, 8, 15, 17, 32] {
        let address = vec![1; length];
        let refused = judge(&any, &chain(&[&leaf_with(&[(0x87, &address)])]), &trust);
        assert!(
            matches!(refused, Err(ChainError::Malformed { .. })),
            "{length}"
        );
    }
    // Read, and compared without regard to letter case; a wildcard is one label.
    for (presented, asked, good) in [
        ("Example.COM", "example.com", true),
        ("example.com", "EXAMPLE.com", true),
        ("example.com", "example.com.", true),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "A.example.com", true),
        ("*.example.com", "a.b.example.com", false),
        ("*.example.com", "example.com", false),
        ("a_b.example.com", "a_b.example.com", true),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", true),
    ] {
        let leaf = leaf_with(&[(0x82, presented.as_bytes())]);
        let result = judge(&of_name(asked), &chain(&[&leaf]), &trust);
        assert_eq!(result.is_ok(), good, "{presented} for {asked}: {result:?}");
    }
    for asked in ["b\u{fc}cher.example", "", "a..b", "a b", "*.example.com"] {
        assert!(
            ExpectedPeer::dns_name(asked, domain()).is_err(),
            "{asked:?}"
        );
    }
    // Addresses are bytes: four, or sixteen, and neither stands for the other.
    let four = leaf_with(&[(0x87, &[192, 0, 2, 1])]);
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1]].concat();
    let mapped = leaf_with(&[(0x87, &mapped)]);
    for (leaf, asked, good) in [
        (&four, "192.0.2.1", true),
        (&four, "::ffff:192.0.2.1", false),
        (&mapped, "192.0.2.1", false),
        (&mapped, "::ffff:192.0.2.1", true),
    ] {
        let verifier = of(ExpectedPeer::ip_address(asked.parse().unwrap(), domain()));
        assert_eq!(
            judge(&verifier, &chain(&[leaf]), &trust).is_ok(),
            good,
            "{asked}"
        );
    }
    // An address written as a DNS name is none.
    let written = leaf_with(&[(0x82, b"192.0.2.1")]);
    let verifier = of(ExpectedPeer::ip_address(
        "192.0.2.1".parse().unwrap(),
        domain(),
    ));
    assert!(judge(&verifier, &chain(&[&written]), &trust).is_err());
}

#[test]
fn pki_022_an_authority_is_its_bytes_and_nothing_less() {
    let root = Made::root();
    let leaf = root.issue(leaf());
    // The same name, number, identifiers and life; another key.
    let twin = Made::own(root.params.clone());
    let forged = twin.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&forged, &twin]), &trust(&[&root]));
    assert!(refused.is_err());
    let refused = judge(&verifier(), &chain(&[&leaf]), &trust(&[&twin])).unwrap_err();
    assert_eq!(refused, ChainError::Signature);
    // A machine's certificate in the list makes the machine no authority.
    let machine = root.issue(path_support::leaf());
    let below = machine.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&below]), &trust(&[&machine]));
    assert!(
        matches!(refused, Err(ChainError::NotAuthority { .. })),
        "{refused:?}"
    );
    // Both in the list: each for its own.
    let both = trust(&[&twin, &root]);
    let peer = judge(&verifier(), &chain(&[&leaf]), &both).unwrap();
    assert_eq!(peer.authority(), &root.read());
}

#[test]
fn pki_024_what_is_told_of_a_peer_stands_in_what_was_checked() {
    let root = Made::root();
    let issuing = root.issue(ca("Issuing"));
    let leaf = issuing.issue(path_support::leaf());
    // Beside the path: another leaf of the same issuer, and one that nobody signed.
    let other = issuing.issue(with(path_support::leaf(), |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org/admin")];
    }));
    let stranger = Made::own(with(path_support::leaf(), |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org/root")];
    }));
    let chain = chain(&[&leaf, &other, &stranger, &issuing]);
    let peer = judge(&verifier(), &chain, &trust(&[&root])).unwrap();
    assert_eq!(peer.service_id(), Some(&billing()));
    assert_eq!(peer.certificate(), &leaf.read());
    assert_eq!(peer.serial(), leaf.read().serial());
    assert_eq!(peer.thumbprint(), leaf.read().thumbprint());
    assert_eq!(
        peer.issuer(),
        CrlIssuer::from_certificate(&issuing.read()).unwrap().id()
    );
    let path: Vec<_> = peer.path().cloned().collect();
    assert_eq!(path, [leaf.read(), issuing.read(), root.read()]);
    // One bit of the leaf that was signed over.
    let mut changed = chain.clone();
    let mut der = leaf.der.to_vec();
    let at = der
        .windows(7)
        .position(|bytes| bytes == b"billing")
        .unwrap();
    der[at] ^= 1;
    changed[0] = der.into();
    let any = of(ExpectedPeer::danger_any_service());
    assert!(judge(&any, &changed, &trust(&[&root])).is_err());
}

#[test]
fn pki_025_a_list_of_purposes_that_is_empty_is_an_error() {
    let root = Made::root();
    let empty = |mut params: CertificateParams| {
        params.extended_key_usages.clear();
        let purposes = extension(&[2, 5, 29, 37], false, element(0x30, &[]));
        params.custom_extensions.push(purposes);
        params
    };
    let leaf = root.issue(empty(leaf()));
    let refused = judge(&verifier(), &chain(&[&leaf]), &trust(&[&root]));
    assert!(matches!(refused, Err(ChainError::Malformed { .. })));
    let issuing = root.issue(empty(ca("Issuing")));
    let leaf = issuing.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&leaf, &issuing]), &trust(&[&root]));
    assert!(matches!(refused, Err(ChainError::NoPath { .. })));
    assert_eq!(
        judge(&verifier(), &[], &trust(&[&root])).unwrap_err(),
        ChainError::NoCertificate
    );
}

#[test]
fn pki_027_policies_by_the_thousand_are_refused_or_passed_by() {
    let root = Made::root();
    // 10,000 policies do not fit into what is read of a leaf, and not into a CA's either.
    let policies = |count: u16| {
        let policy = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let oid = [
                0x2a,
                3,
                0x80 | high >> 6,
                0x80 | (high << 1 | low >> 7) & 0x7f,
                low & 0x7f,
            ];
            element(0x30, &element(6, &oid))
        };
        let all: Vec<u8> = (0x4000..0x4000 + count).flat_map(policy).collect();
        extension(&[2, 5, 29, 32], false, element(0x30, &all))
    };
    for (count, good) in [(1000, true), (6000, true), (10_000, false)] {
        let issuing = root.issue(with(ca("Issuing"), |params| {
            params.custom_extensions.push(policies(count));
        }));
        let leaf = issuing.issue(leaf());
        let chain = chain(&[&leaf, &issuing]);
        let result = judge(&verifier(), &chain, &trust(&[&root]));
        assert_eq!(result.is_ok(), good, "{count}: {result:?}");
        let crls = CrlSet::new();
        let report = verifier().explain(&chain, PeerRole::Client, &trust(&[&root]), &crls, now());
        assert!(report.signatures_checked() <= 2);
    }
    // What restricts policies is not followed, so it is never passed by.
    for (oid, content) in [
        (&[2, 5, 29, 36], element(0x30, &element(0x80, &[0]))),
        (&[2, 5, 29, 54], element(2, &[0])),
    ] {
        for critical in [false, true] {
            let issuing = root.issue(with(ca("Issuing"), |params| {
                params.custom_extensions = vec![extension(oid, critical, content.clone())];
            }));
            let leaf = issuing.issue(leaf());
            let refused = judge(&verifier(), &chain(&[&leaf, &issuing]), &trust(&[&root]));
            assert!(matches!(refused, Err(ChainError::NoPath { .. })), "{oid:?}");
        }
    }
}

#[test]
fn what_the_path_builder_leaves_out_is_held_too() {
    let root = Made::root();
    let trusted = trust(&[&root]);
    // An authority that has expired, or is not yet valid.
    for (from, to) in [(2020, 2025), (2027, 2030)] {
        let root = Made::own(with(ca("Root"), |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        }));
        let leaf = root.issue(leaf());
        let refused = judge(&verifier(), &chain(&[&leaf]), &trust(&[&root])).unwrap_err();
        assert!(matches!(
            refused,
            ChainError::Validity {
                place: Place::Authority,
                ..
            }
        ));
    }
    // Name constraints in a leaf, and a CA that publishes no revocation.
    let leaf_with = root.issue(with(leaf(), |params| {
        let subtree = element(0x30, &element(0x82, b"example.com"));
        let content = element(0x30, &element(0xa0, &subtree));
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 30], true, content));
    }));
    let refused = judge(&verifier(), &chain(&[&leaf_with]), &trusted).unwrap_err();
    assert!(matches!(
        refused,
        ChainError::Misplaced {
            place: Place::Leaf,
            ..
        }
    ));
    let issuing = root.issue(with(ca("Issuing"), |params| {
        let content = vec![5, 0];
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 56], false, content));
    }));
    let leaf = issuing.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&leaf, &issuing]), &trusted).unwrap_err();
    assert!(matches!(
        refused,
        ChainError::Misplaced {
            place: Place::Intermediate(1),
            ..
        }
    ));
    // A leaf whose key signs certificates; an issuer without a name; key identifiers that differ.
    let signs = root.issue(with(path_support::leaf(), |params| {
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }));
    let any = of(ExpectedPeer::danger_any_name(domain()));
    let refused = judge(&any, &chain(&[&signs]), &trusted).unwrap_err();
    assert_eq!(refused, ChainError::KeyUsage { place: Place::Leaf });
    let nameless = root.issue(with(ca(""), |params| {
        params.distinguished_name = DistinguishedName::new();
    }));
    let leaf = nameless.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&leaf, &nameless]), &trusted).unwrap_err();
    assert_eq!(
        refused,
        ChainError::Nameless {
            place: Place::Intermediate(1)
        }
    );
    let issuing = root.issue(ca("Issuing"));
    let otherwise = Made {
        params: with(issuing.params.clone(), |params| {
            params.key_identifier_method = key_id([1; 4]);
        }),
        ..issuing
    };
    let leaf = otherwise.issue(path_support::leaf());
    let refused = judge(&verifier(), &chain(&[&leaf, &otherwise]), &trusted).unwrap_err();
    assert_eq!(refused, ChainError::KeyIdentifier { place: Place::Leaf });
}
