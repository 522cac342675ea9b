//! Trust bundles: the SPIFFE format in and out, what is refused, and that domains stay apart.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may panic and say so"
)]

mod support;

use std::fs;
use std::time::Duration;

use m2m_crypto::{Algorithm, Jwk, VerifyingKey};
use m2m_pki::{
    AuthorityError, BundleError, Certificate, CertificateError, SkipReason, TrustBundle,
    TrustBundles, TrustBundlesError,
};
use m2m_types::{Live, TrustDomain};
use serde_json::{Value, json};
use support::{domain, key, ledger, odd_certificate, root_of};

fn root(algorithm: Algorithm) -> Certificate {
    let (_, ledger) = ledger();
    root_of(&ledger, algorithm).certificate().clone()
}

fn read(value: &Value) -> Result<TrustBundle, BundleError> {
    TrustBundle::from_json(domain(), value.to_string().as_bytes())
}

fn jwt_key(kid: &str) -> Jwk {
    let jwk = key(Algorithm::Es256).verifying_key().to_jwk();
    jwk.with_kid(kid).unwrap()
}

/// A bundle of one of each kind, as JSON to be spoiled.
fn whole() -> Value {
    let bundle = TrustBundle::new(domain(), [])
        .with_authority(root(Algorithm::Es256))
        .unwrap()
        .with_jwt_authority(jwt_key("jwt-1"))
        .unwrap();
    serde_json::from_str(&bundle.with_sequence(3).to_json()).unwrap()
}

fn vector(name: &str) -> Option<Vec<u8>> {
    let path = m2m_testkit::vectors::root().map(|root| root.join("pki").join(name));
    let found = path.and_then(|path| fs::read(path).ok());
    if found.is_none() {
        eprintln!("SKIPPED: test vectors pki/{name} not found (set M2M_VECTORS to their folder)");
    }
    found
}

#[test]
fn what_is_written_is_read_back() {
    let mut bundle = TrustBundle::new(domain(), []);
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ed25519] {
        bundle = bundle.with_authority(root(algorithm)).unwrap();
    }
    for kid in ["a", "b"] {
        bundle = bundle.with_jwt_authority(jwt_key(kid)).unwrap();
    }
    for bundle in [
        bundle.clone(),
        bundle.clone().with_sequence(0),
        bundle
            .clone()
            .with_sequence(u64::MAX)
            .with_refresh_hint(Duration::from_secs(300)),
        TrustBundle::new(domain(), []),
    ] {
        let read = TrustBundle::from_json(domain(), bundle.to_json().as_bytes());
        assert_eq!(read, Ok(bundle));
    }
    let pem = TrustBundle::from_pem(domain(), bundle.to_pem().as_bytes()).unwrap();
    assert_eq!(pem.authorities(), bundle.authorities());
}

#[test]
fn it_is_published_as_the_standard_says() {
    let bundle = whole();
    assert_eq!(bundle["spiffe_sequence"], 3);
    assert_eq!(bundle.get("spiffe_refresh_hint"), None);
    let [x509, jwt] = bundle["keys"].as_array().unwrap().as_slice() else {
        panic!("two keys");
    };
    // X.509-SVID §6.1, JWT-SVID §6.1, RFC 7517 §4.
    assert_eq!(
        (&x509["use"], &x509["kty"], &x509["crv"]),
        (&json!("x509-svid"), &json!("EC"), &json!("P-256"))
    );
    assert_eq!(x509["x5c"].as_array().unwrap().len(), 1);
    assert!(x509.get("kid").is_none() && x509.get("alg").is_none());
    assert_eq!(
        (&jwt["use"], &jwt["kid"]),
        (&json!("jwt-svid"), &json!("jwt-1"))
    );
}

#[test]
fn jwt_authorities_are_keys_that_verify() {
    let read = read(&whole()).unwrap();
    let [authority] = read.jwt_authorities() else {
        panic!("one");
    };
    assert!(VerifyingKey::from_jwk(authority).is_ok());
    let set: Value = serde_json::from_str(&read.jwk_set_json()).unwrap();
    assert_eq!(set["keys"][0]["kid"], "jwt-1");
    assert_eq!(set["keys"][0]["use"], "sig");
}

#[test]
fn what_is_unknown_is_skipped_and_said() {
    let mut bundle = whole();
    let x509 = bundle["keys"][0].clone();
    let keys = bundle["keys"].as_array_mut().unwrap();
    let changed = |from: &Value, member: &str, to: Value| {
        let mut key = from.clone();
        key[member] = to;
        key
    };
    let mut without_x5c = x509.clone();
    without_x5c.as_object_mut().unwrap().remove("x5c");
    let mut without_use = x509.clone();
    without_use.as_object_mut().unwrap().remove("use");
    keys.push(changed(&x509, "use", json!("wit-svid")));
    keys.push(changed(&x509, "kty", json!("LATTICE")));
    keys.push(changed(&x509, "kty", json!("oct")));
    keys.push(changed(&x509, "d", json!("AAAA")));
    keys.push(changed(&x509, "x5c", json!([])));
    keys.push(without_x5c);
    keys.push(without_use);
    // Whatever an unknown kind has for members.
    keys.push(json!({"kty": "EC", "use": "new", "kid": 7, "x": {"deep": [null]}}));
    let read = read(&bundle).unwrap();
    assert_eq!(
        (read.authorities().len(), read.jwt_authorities().len()),
        (1, 1)
    );
    let reasons: Vec<_> = read
        .skipped()
        .iter()
        .map(|skipped| skipped.reason)
        .collect();
    assert_eq!(
        reasons,
        [
            SkipReason::Usage,
            SkipReason::KeyType,
            SkipReason::KeyType,
            SkipReason::PrivateKey,
            SkipReason::NoCertificate,
            SkipReason::NoCertificate,
            SkipReason::Usage,
            SkipReason::Usage,
        ]
    );
}

#[test]
fn what_is_malformed_makes_the_whole_refused() {
    let good = whole();
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        read(&bundle).unwrap_err()
    };
    let form = |error: &BundleError| matches!(error, BundleError::Json { .. });
    assert!(form(&spoil(&|bundle| *bundle = json!([]))));
    assert!(form(&spoil(&|bundle| *bundle = json!([bundle["keys"], 3]))));
    assert!(form(&spoil(&|bundle| bundle["keys"] = json!({}))));
    assert!(form(&spoil(&|bundle| bundle["keys"] = Value::Null)));
    for sequence in [json!(-1), json!(1.5), json!("1"), Value::Null] {
        assert!(form(&spoil(
            &|bundle| bundle["spiffe_sequence"] = sequence.clone()
        )));
        assert!(form(&spoil(
            &|bundle| bundle["spiffe_refresh_hint"] = sequence.clone()
        )));
    }
    let removed = spoil(&|bundle| drop(bundle.as_object_mut().unwrap().remove("keys")));
    assert_eq!(removed, BundleError::KeysMissing);
    let entry = spoil(&|bundle| bundle["keys"][1] = json!(7));
    assert!(matches!(entry, BundleError::Entry { index: 1, .. }));
    let kid = spoil(&|bundle| drop(bundle["keys"][1].as_object_mut().unwrap().remove("kid")));
    let no_kid = |error: &BundleError| {
        matches!(
            error,
            BundleError::Authority {
                index: 1,
                problem: AuthorityError::KidMissing
            }
        )
    };
    assert!(no_kid(&kid));
    assert!(no_kid(&spoil(
        &|bundle| bundle["keys"][1]["kid"] = json!("")
    )));
    for index in 0..2 {
        let twice = spoil(&|bundle| {
            let again = bundle["keys"][index].clone();
            bundle["keys"].as_array_mut().unwrap().push(again);
        });
        let problem = AuthorityError::Duplicate;
        assert_eq!(twice, BundleError::Authority { index: 2, problem });
    }
    for (x5c, found) in [(json!(["?"]), 0), (json!(["AAAA", "AAAA"]), 2)] {
        let error = spoil(&|bundle| bundle["keys"][0]["x5c"] = x5c.clone());
        assert_eq!(error, BundleError::X5c { index: 0, found });
    }
    let other = root(Algorithm::Es256);
    let other = TrustBundle::new(domain(), [])
        .with_authority(other)
        .unwrap();
    let other: Value = serde_json::from_str(&other.to_json()).unwrap();
    let mixed = spoil(&|bundle| bundle["keys"][0]["x5c"] = other["keys"][0]["x5c"].clone());
    assert_eq!(mixed, BundleError::KeyMismatch { index: 0 });

    let text = good.to_string();
    for text in [
        text.replace(
            r#""spiffe_sequence":3"#,
            r#""spiffe_sequence":3,"spiffe_sequence":4"#,
        ),
        text.replace(r#""keys":"#, r#""keys":[],"keys":"#),
        format!("{text} x"),
        text[..text.len() - 1].to_owned(),
    ] {
        assert!(form(
            &TrustBundle::from_json(domain(), text.as_bytes()).unwrap_err()
        ));
    }
    let twice = text.replace(r#""use":"x509-svid""#, r#""use":"x","use":"x509-svid""#);
    let error = TrustBundle::from_json(domain(), twice.as_bytes()).unwrap_err();
    assert!(matches!(error, BundleError::Entry { index: 0, .. }));
}

#[test]
fn everything_is_bounded() {
    let long = vec![b' '; TrustBundle::MAX_BYTES + 1];
    for error in [
        TrustBundle::from_json(domain(), &long).unwrap_err(),
        TrustBundle::from_pem(domain(), &long).unwrap_err(),
    ] {
        assert!(matches!(error, BundleError::TooLong { .. }));
    }
    let many = json!({"keys": vec![json!({"kty": "x"}); TrustBundle::MAX_ENTRIES + 1]});
    let error = read(&many).unwrap_err();
    assert!(matches!(
        error,
        BundleError::TooManyEntries { found: 257, .. }
    ));
    let mut bundle = TrustBundle::new(domain(), []);
    let jwk = jwt_key("0");
    for kid in 0..TrustBundle::MAX_AUTHORITIES {
        bundle = bundle
            .with_jwt_authority(jwk.clone().with_kid(&kid.to_string()).unwrap())
            .unwrap();
    }
    let error = bundle.with_jwt_authority(jwk.with_kid("more").unwrap());
    assert_eq!(error.unwrap_err(), AuthorityError::TooMany);
    let deep = format!(
        r#"{{"keys":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(TrustBundle::from_json(domain(), deep.as_bytes()).is_err());
}

fn authority(
    change: impl Fn(&mut rcgen::CertificateParams),
) -> Result<TrustBundle, AuthorityError> {
    let mut params = support::blank();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    let certificate = Certificate::from_der(&odd_certificate(&params)).unwrap();
    TrustBundle::new(domain(), []).with_authority(certificate)
}

#[test]
fn pki_022_only_a_ca_of_the_domain_is_put_in_the_trust_list() {
    let uri = |uri: &str| rcgen::SanType::URI(uri.try_into().unwrap());
    assert!(authority(|_| ()).is_ok());
    assert!(
        authority(|params| params.subject_alt_names = vec![uri("spiffe://example.org")]).is_ok()
    );
    let leaf = authority(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa);
    assert_eq!(leaf.unwrap_err(), AuthorityError::NotAuthority);
    let leaf = authority(|params| params.is_ca = rcgen::IsCa::NoCa);
    assert_eq!(leaf.unwrap_err(), AuthorityError::NotAuthority);
    for usages in [vec![], vec![rcgen::KeyUsagePurpose::CrlSign]] {
        let error = authority(|params| params.key_usages = usages.clone());
        assert_eq!(error.unwrap_err(), AuthorityError::KeyCertSignMissing);
    }
    for uris in [
        vec![uri("spiffe://other.example")],
        vec![uri("spiffe://example.org.evil.example")],
        vec![uri("spiffe://example.org/path")],
        vec![uri("https://example.org")],
        vec![uri("spiffe://example.org"), uri("spiffe://example.org")],
    ] {
        let found = uris.len();
        let error = authority(|params| params.subject_alt_names = uris.clone());
        assert_eq!(error.unwrap_err(), AuthorityError::OtherDomain { found });
    }
}

#[test]
fn pki_022_only_the_identical_certificate_is_trusted() {
    // The same name, number and key identifier; another key.
    let make = || {
        let mut params = support::blank();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        Certificate::from_der(&odd_certificate(&params)).unwrap()
    };
    let (ours, theirs) = (make(), make());
    assert_eq!(ours.serial(), theirs.serial());
    assert_eq!(ours.subject_key_id(), theirs.subject_key_id());
    let bundle = TrustBundle::new(domain(), [])
        .with_authority(ours.clone())
        .unwrap();
    assert!(bundle.holds(&ours) && !bundle.holds(&theirs));
    // Neither does the other one take its place, nor leave with it.
    let both = bundle.clone().with_authority(theirs.clone()).unwrap();
    assert_eq!(both.authorities().len(), 2);
    assert_eq!(both.without_authority(&theirs), bundle);
}

#[test]
fn trust_domains_are_never_mixed() {
    let other: TrustDomain = "other.example".parse().unwrap();
    let (ours, theirs) = (root(Algorithm::Es256), root(Algorithm::Es256));
    let bundles = Live::new(TrustBundles::new());
    for (domain, root) in [(domain(), &ours), (other.clone(), &theirs)] {
        let bundle = TrustBundle::new(domain, [])
            .with_authority(root.clone())
            .unwrap();
        let next = bundles.load().updated(bundle).unwrap();
        bundles.store(next);
    }
    let bundles = bundles.load();
    assert_eq!(bundles.authorities_of(&domain()), [ours]);
    assert_eq!(bundles.authorities_of(&other), [theirs]);
    assert!(
        bundles
            .authorities_of(&"third.example".parse().unwrap())
            .is_empty()
    );
    let less = TrustBundles::clone(&bundles).without(&other);
    assert_eq!((less.len(), bundles.len()), (1, 2));
}

#[test]
fn there_is_no_way_back_to_an_older_bundle() {
    let empty = || TrustBundle::new(domain(), []);
    let full = || empty().with_authority(root(Algorithm::Es256)).unwrap();
    let unnumbered = TrustBundles::new().updated(full()).unwrap();
    let held = unnumbered.updated(full().with_sequence(5)).unwrap();
    let (domain, held_at) = (domain(), 5);
    assert_eq!(
        held.updated(empty().with_sequence(4)),
        Err(TrustBundlesError::Older {
            domain: domain.clone(),
            offered: 4,
            held: held_at
        })
    );
    assert_eq!(
        held.updated(empty()),
        Err(TrustBundlesError::SequenceMissing {
            domain: domain.clone(),
            held: held_at
        })
    );
    assert_eq!(
        held.updated(empty().with_sequence(5)),
        Err(TrustBundlesError::SequenceRepeats {
            domain: domain.clone(),
            sequence: held_at
        })
    );
    let again = held.of(&domain).unwrap().clone();
    assert_eq!(held.updated(again), Ok(held.clone()));
    assert!(held.updated(empty().with_sequence(6)).is_ok());
    assert!(held.clone().without(&domain).updated(empty()).is_ok());
}

#[test]
fn bundles_that_others_collected_get_the_right_verdict() {
    let local: TrustDomain = "local".parse().unwrap();
    let folder = "go-spiffe/bundle/spiffebundle/testdata";
    let verdict = |name: &str, domain: &TrustDomain| {
        let json = vector(&format!("{folder}/{name}.json"))?;
        Some(TrustBundle::from_json(domain.clone(), &json))
    };
    for (name, x509, jwt, sequence, skipped) in [
        ("spiffebundle_valid_1", 1, 1, None, 0),
        ("spiffebundle_valid_2", 1, 6, Some(1), 0),
        ("spiffebundle_valid_with_wit", 1, 2, Some(1), 2),
    ] {
        let Some(read) = verdict(name, &local) else {
            return;
        };
        let read = read.unwrap();
        assert_eq!(read.authorities().len(), x509, "{name}");
        assert_eq!(read.jwt_authorities().len(), jwt, "{name}");
        assert_eq!(
            (read.sequence(), read.skipped().len()),
            (sequence, skipped),
            "{name}"
        );
        assert_eq!(
            read.refresh_hint(),
            sequence.map(|_| Duration::from_secs(60))
        );
        let again = TrustBundle::from_json(local.clone(), read.to_json().as_bytes()).unwrap();
        assert!(again.has_same_authorities(&read));
        // The certificate says `spiffe://local`.
        let elsewhere = verdict(name, &domain()).unwrap().unwrap_err();
        let problem = AuthorityError::OtherDomain { found: 1 };
        assert_eq!(
            elsewhere,
            BundleError::Authority { index: 0, problem },
            "{name}"
        );
    }
    let refused = |name| verdict(name, &local).unwrap().unwrap_err();
    assert_eq!(refused("spiffebundle_no_keys"), BundleError::KeysMissing);
    assert_eq!(
        refused("spiffebundle_multiple_x509"),
        BundleError::X5c { index: 0, found: 2 }
    );
    assert_eq!(
        refused("spiffebundle_missing_kid"),
        BundleError::Authority {
            index: 1,
            problem: AuthorityError::KidMissing
        }
    );
}

#[test]
fn lists_of_certificates_that_others_collected_get_the_right_verdict() {
    let folder = "go-spiffe/bundle/x509bundle/testdata";
    // Certificates of version 1 with keys of 768 bits, which are nobody's authority here.
    let version = AuthorityError::Certificate(CertificateError::Version { found: 1 });
    for (name, expected) in [
        (
            "cert",
            BundleError::Authority {
                index: 0,
                problem: version.clone(),
            },
        ),
        (
            "certs",
            BundleError::Authority {
                index: 0,
                problem: version.clone(),
            },
        ),
        ("empty", BundleError::Pem),
        ("not-pem", BundleError::Pem),
        ("key", BundleError::Pem),
    ] {
        let Some(pem) = vector(&format!("{folder}/{name}.pem")) else {
            return;
        };
        let read = TrustBundle::from_pem(domain(), &pem);
        assert_eq!(read.unwrap_err(), expected, "{name}");
    }
    let corrupted = vector(&format!("{folder}/corrupted.pem")).unwrap();
    assert!(TrustBundle::from_pem(domain(), &corrupted).is_err());

    let fixtures = "rust-spiffe/spiffe-rustls/tests/fixtures";
    for (name, expected) in [
        ("ca", None),
        ("ca_uri_only", Some(AuthorityError::KeyCertSignMissing)),
        (
            "ca_with_spiffe_signing",
            Some(AuthorityError::OtherDomain { found: 1 }),
        ),
        ("spiffe_leaf", Some(AuthorityError::NotAuthority)),
    ] {
        let Some(der) = vector(&format!("{fixtures}/{name}.der")) else {
            return;
        };
        let certificate = Certificate::from_der(&der).unwrap();
        let added = TrustBundle::new(domain(), []).with_authority(certificate);
        assert_eq!(added.err(), expected, "{name}");
    }
}

#[test]
fn a_key_among_the_certificates_is_refused() {
    let pem = root(Algorithm::Es256).to_pem();
    let key = key(Algorithm::Es256).verifying_key().to_pem();
    for mixed in [format!("{pem}{key}"), format!("{key}{pem}")] {
        let read = TrustBundle::from_pem(domain(), mixed.as_bytes());
        assert_eq!(read.unwrap_err(), BundleError::Pem);
    }
    let truncated = &pem[..pem.len() - 30];
    assert!(TrustBundle::from_pem(domain(), format!("{pem}{truncated}").as_bytes()).is_err());
}
