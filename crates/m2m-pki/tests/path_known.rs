//! Signatures of intermediates are remembered, and nothing else is: what changes is asked every time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod path_support;

use std::sync::Arc;

use m2m_pki::*;
use path_support::*;

fn signatures(verifier: &ChainVerifier, made: &[&Made], trust: &TrustBundles) -> (usize, usize) {
    let crls = CrlSet::new();
    let report = verifier.explain(&chain(made), PeerRole::Client, trust, &crls, now());
    assert!(report.verdict().is_ok(), "{report}");
    (report.signatures_checked(), report.signatures_spared())
}

#[test]
fn the_second_leaf_of_an_intermediate_costs_one_signature() {
    let root = Made::root();
    let issuing = root.issue(ca("Issuing"));
    let (first, second) = (issuing.issue(leaf()), issuing.issue(leaf()));
    let trust = trust(&[&root]);
    let known = Arc::new(VerifiedIntermediates::new(8));
    let verifier = verifier().with_known(known.clone());
    assert_eq!(signatures(&verifier, &[&first, &issuing], &trust), (2, 0));
    assert_eq!(signatures(&verifier, &[&second, &issuing], &trust), (1, 1));
    // Leaves are checked every time.
    assert_eq!(signatures(&verifier, &[&second, &issuing], &trust), (1, 1));
    assert_eq!(known.len(), 1);
    // Another verifier may use what this one learnt.
    let any = of(ExpectedPeer::danger_any_service()).with_known(known);
    assert_eq!(signatures(&any, &[&first, &issuing], &trust), (1, 1));
}

#[test]
fn what_is_known_outlives_no_change_of_trust_time_or_revocation() {
    let root = Made::root();
    let issuing = root.issue(ca("Issuing"));
    let leaf = issuing.issue(leaf());
    let chain = chain(&[&leaf, &issuing]);
    let known = Arc::new(VerifiedIntermediates::new(8));
    let verifier = verifier().with_known(known.clone());
    let trusted = trust(&[&root]);
    assert!(judge(&verifier, &chain, &trusted).is_ok());
    assert_eq!(known.len(), 1);

    // The authority left the bundle; one of the same name is there.
    let refused = judge(&verifier, &chain, &trust(&[]));
    assert!(matches!(refused, Err(ChainError::NoPath { .. })));
    let refused = judge(&verifier, &chain, &trust(&[&Made::root()]));
    assert_eq!(refused.unwrap_err(), ChainError::Signature);
    // The intermediate was revoked, or has expired.
    let crls = CrlSet::new().with(root.crl(&[&issuing], 1)).unwrap();
    let refused = judge_at(&verifier, &chain, &trusted, &crls, now());
    assert!(matches!(
        refused,
        Err(ChainError::Revocation {
            place: Place::Intermediate(1),
            ..
        })
    ));
    let late = at(NOW + 48 * HOUR);
    let refused = judge_at(&verifier, &chain, &trusted, &CrlSet::new(), late);
    assert!(matches!(refused, Err(ChainError::Validity { .. })));
    // One bit of it changed.
    let mut der = issuing.der.to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let changed = [chain[0].clone(), der.into()];
    assert!(judge(&verifier, &changed, &trusted).is_err());
    assert!(judge(&verifier, &chain, &trusted).is_ok());
}

#[test]
fn strangers_cannot_fill_it_and_it_does_not_grow() {
    let root = Made::root();
    let known = Arc::new(VerifiedIntermediates::new(2));
    let verifier = verifier().with_known(known.clone());
    let trusted = trust(&[&root]);
    // A chain of somebody else's, though its signatures are good; a good one for another peer.
    let theirs = Made::root();
    let issuing = theirs.issue(ca("Issuing"));
    let stranger = issuing.issue(leaf());
    assert!(judge(&verifier, &chain(&[&stranger, &issuing]), &trusted).is_err());
    let issuing = root.issue(ca("Issuing"));
    let other = issuing.issue(with(leaf(), |params| {
        params.subject_alt_names = vec![uri("spiffe://example.org/other")];
    }));
    assert!(judge(&verifier, &chain(&[&other, &issuing]), &trusted).is_err());
    assert!(known.is_empty());
    // The oldest goes.
    let made: Vec<(Made, Made)> = (0..3)
        .map(|_| root.issue(ca("Issuing")))
        .map(|issuing| (issuing.issue(leaf()), issuing))
        .collect();
    for (leaf, issuing) in &made {
        assert_eq!(signatures(&verifier, &[leaf, issuing], &trusted), (2, 0));
    }
    assert_eq!(known.len(), 2);
    let (leaf, issuing) = &made[2];
    assert_eq!(signatures(&verifier, &[leaf, issuing], &trusted), (1, 1));
    let (leaf, issuing) = &made[0];
    assert_eq!(signatures(&verifier, &[leaf, issuing], &trusted), (2, 0));
    // With room for none it remembers nothing, and with no bound there is one.
    let none = Arc::new(VerifiedIntermediates::new(0));
    let verifier = path_support::verifier().with_known(none.clone());
    assert_eq!(signatures(&verifier, &[leaf, issuing], &trusted), (2, 0));
    assert!(none.is_empty());
}

#[test]
fn threads_share_it_and_agree() {
    let root = Made::root();
    let trusted = trust(&[&root]);
    let made: Vec<(Made, Made)> = (0..4)
        .map(|_| root.issue(ca("Issuing")))
        .map(|issuing| (issuing.issue(leaf()), issuing))
        .collect();
    let known = Arc::new(VerifiedIntermediates::new(3));
    let verifier = verifier().with_known(known.clone());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (leaf, issuing) in made.iter().cycle().take(40) {
                    let chain = chain(&[leaf, issuing]);
                    let crls = CrlSet::new();
                    let peer = verifier.verify(&chain, PeerRole::Client, &trusted, &crls, now());
                    assert_eq!(peer.unwrap().certificate(), &leaf.read());
                }
            });
        }
    });
    assert!(known.len() <= 3);
}
