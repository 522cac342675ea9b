//! A chain that holds is accepted, with its facts; each rule that does not hold is told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::time::Duration;

use m2m_crypto::Algorithm;
use m2m_pki::*;
use m2m_types::Timestamp;
use rustls_pki_types::CertificateDer;
use support::*;

/// A root, an intermediate below it, and who trusts the root.
struct World {
    ledger: Ledger,
    root: Authority,
    issuing: Authority,
}

impl World {
    fn new() -> Self {
        let (_, ledger) = ledger();
        let root = root_of(&ledger, Algorithm::Es256);
        let issuing = intermediate_of(&ledger, &root, Algorithm::Es256);
        Self {
            ledger,
            root,
            issuing,
        }
    }

    fn trust(&self) -> TrustBundles {
        let authority = self.root.certificate().clone();
        TrustBundles::new().with(TrustBundle::new(domain(), [authority]))
    }

    fn leaf(&self, path: &str) -> Certificate {
        leaf(&self.ledger, &self.issuing, path)
    }

    fn chain(&self, leaf: &Certificate) -> Vec<CertificateDer<'static>> {
        vec![leaf.der().clone(), self.issuing.certificate().der().clone()]
    }
}

fn unrevoked(expected: ExpectedPeer) -> ChainVerifier {
    ChainVerifier::new(expected, RevocationRule::danger_accept_unknown())
}

fn verify(
    verifier: &ChainVerifier,
    chain: &[CertificateDer<'_>],
    trust: &TrustBundles,
    now: Timestamp,
) -> Result<VerifiedPeer, ChainError> {
    let crls = CrlSet::new();
    let result = verifier.verify(chain, PeerRole::Client, trust, &crls, now);
    let report = verifier.explain(chain, PeerRole::Client, trust, &crls, now);
    assert_eq!(
        result.as_ref().err(),
        report.verdict().err(),
        "verify and explain agree"
    );
    result
}

#[test]
fn a_machine_is_who_its_chain_says() {
    let world = World::new();
    let leaf = world.leaf("billing");
    let verifier = unrevoked(ExpectedPeer::service(service("billing")));
    let peer = verify(&verifier, &world.chain(&leaf), &world.trust(), now()).unwrap();
    assert_eq!(peer.service_id(), Some(&service("billing")));
    assert_eq!(peer.trust_domain(), &domain());
    assert_eq!(peer.thumbprint(), leaf.thumbprint());
    assert_eq!(peer.serial(), leaf.serial());
    assert_eq!(peer.not_after(), leaf.not_after());
    assert_eq!(peer.authority(), world.root.certificate());
    let path: Vec<_> = peer.path().collect();
    assert_eq!(
        path,
        [&leaf, world.issuing.certificate(), world.root.certificate()]
    );
    let issuer = CrlIssuer::from_certificate(world.issuing.certificate()).unwrap();
    assert_eq!(peer.issuer(), issuer.id());
}

#[test]
fn somebody_else_with_a_good_chain_is_refused() {
    let world = World::new();
    let leaf = world.leaf("billing");
    let chain = world.chain(&leaf);
    let trust = world.trust();
    let other = "other.org".parse().unwrap();
    for (expected, good) in [
        (ExpectedPeer::service(service("billing")), true),
        (ExpectedPeer::service(service("shipping")), false),
        (
            ExpectedPeer::one_of([service("shipping"), service("billing")]),
            true,
        ),
        (ExpectedPeer::one_of([]), false),
        (ExpectedPeer::member_of(domain()), true),
        (ExpectedPeer::member_of(other), false),
        (ExpectedPeer::danger_any_service(), true),
        (ExpectedPeer::danger_any_name(domain()), true),
        (ExpectedPeer::dns_name("billing", domain()).unwrap(), false),
    ] {
        let result = verify(&unrevoked(expected.clone()), &chain, &trust, now());
        match good {
            true => assert!(result.is_ok(), "{expected:?}: {result:?}"),
            false => assert_eq!(
                result.unwrap_err(),
                ChainError::Unexpected {
                    found: Some(service("billing"))
                }
            ),
        }
    }
}

#[test]
fn a_report_draws_the_path_and_every_rule() {
    let world = World::new();
    let leaf = world.leaf("billing");
    let verifier = unrevoked(ExpectedPeer::service(service("billing")));
    let chain = world.chain(&leaf);
    let crls = CrlSet::new();
    let report = verifier.explain(&chain, PeerRole::Client, &world.trust(), &crls, now());
    assert!(report.verdict().is_ok());
    let drawn = report.to_string();
    assert!(drawn.starts_with("accepted\n"), "{drawn}");
    assert!(
        drawn.contains("└─ leaf  spiffe://example.org/billing"),
        "{drawn}"
    );
    assert!(
        Rule::ALL
            .iter()
            .all(|rule| drawn.contains(&rule.to_string()))
    );
    assert_eq!(report.signatures_checked(), 2);

    // Two faults at once: both are told, and the verdict is the first.
    let late = after(Duration::from_secs(7200));
    let verifier = unrevoked(ExpectedPeer::service(service("shipping")));
    let report = verifier.explain(&chain, PeerRole::Client, &world.trust(), &crls, late);
    let failures: Vec<_> = report.failures().collect();
    assert!(
        failures
            .iter()
            .any(|one| matches!(one, ChainError::Validity { .. }))
    );
    assert!(
        failures
            .iter()
            .any(|one| matches!(one, ChainError::Unexpected { .. }))
    );
    assert!(matches!(
        report.verdict().unwrap_err(),
        ChainError::Validity {
            place: Place::Leaf,
            ..
        }
    ));
}

#[test]
fn every_certificate_of_the_path_must_be_known_not_to_be_revoked() {
    let world = World::new();
    let leaf = world.leaf("billing");
    let expected = ExpectedPeer::service(service("billing"));
    let strict = ChainVerifier::new(expected, RevocationRule::strict());
    let refused = verify(&strict, &world.chain(&leaf), &world.trust(), now());
    assert!(matches!(
        refused.unwrap_err(),
        ChainError::Revocation {
            place: Place::Leaf,
            error: RevocationError::Unknown(UnknownRevocation::NoCrl { .. })
        }
    ));
}

#[test]
fn pki_022_only_the_identical_certificate_is_an_authority() {
    let world = World::new();
    let leaf = world.leaf("billing");
    let verifier = unrevoked(ExpectedPeer::service(service("billing")));
    // The same names, another key.
    let imposter = World::new();
    let refused = verify(&verifier, &world.chain(&leaf), &imposter.trust(), now());
    assert_eq!(refused.unwrap_err(), ChainError::Signature);
    // The leaf itself in the list: it is no CA, and no path ends in it.
    let listed = TrustBundles::new().with(TrustBundle::new(domain(), [leaf.clone()]));
    let refused = verify(&verifier, &world.chain(&leaf), &listed, now());
    assert!(matches!(refused.unwrap_err(), ChainError::NoPath { .. }));
}
