//! Whole paths are held against CRLs, and peers that were verified once are asked again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod path_support;

use std::time::Duration;

use m2m_pki::*;
use path_support::*;
use rcgen::CertificateParams;

struct World {
    root: Made,
    issuing: Made,
    leaf: Made,
}

impl World {
    fn new(leaf: CertificateParams) -> Self {
        let root = Made::root();
        let issuing = root.issue(ca("Issuing"));
        let leaf = issuing.issue(leaf);
        Self {
            root,
            issuing,
            leaf,
        }
    }

    fn chain(&self) -> Vec<rustls_pki_types::CertificateDer<'static>> {
        chain(&[&self.leaf, &self.issuing])
    }

    /// What the root and the issuing CA say.
    fn crls(&self, root: &[&Made], issuing: &[&Made]) -> CrlSet {
        let set = CrlSet::new().with(self.root.crl(root, 1)).unwrap();
        set.with(self.issuing.crl(issuing, 1)).unwrap()
    }
}

fn strict() -> ChainVerifier {
    ChainVerifier::new(ExpectedPeer::service(billing()), RevocationRule::strict())
}

fn revoked(result: Result<VerifiedPeer, ChainError>) -> Option<Place> {
    match result {
        Err(ChainError::Revocation {
            place,
            error: RevocationError::Revoked(_),
        }) => Some(place),
        _ => None,
    }
}

fn unknown<T: std::fmt::Debug>(result: Result<T, ChainError>) -> Option<Place> {
    match result {
        Err(ChainError::Revocation {
            place,
            error: RevocationError::Unknown(_),
        }) => Some(place),
        _ => None,
    }
}

#[test]
fn pki_060_a_chain_is_refused_for_any_of_its_certificates() {
    let world = World::new(leaf());
    let trust = trust(&[&world.root]);
    let verdict = |crls: &CrlSet| judge_at(&strict(), &world.chain(), &trust, crls, now());
    assert!(verdict(&world.crls(&[], &[])).is_ok());
    let crls = world.crls(&[], &[&world.leaf]);
    assert_eq!(revoked(verdict(&crls)), Some(Place::Leaf));
    let crls = world.crls(&[&world.issuing], &[]);
    assert_eq!(revoked(verdict(&crls)), Some(Place::Intermediate(1)));
    // A CRL of one CA alone, and of none.
    let crls = CrlSet::new().with(world.issuing.crl(&[], 1)).unwrap();
    assert_eq!(unknown(verdict(&crls)), Some(Place::Intermediate(1)));
    assert_eq!(unknown(verdict(&CrlSet::new())), Some(Place::Leaf));
    // Stale from the second of `nextUpdate`.
    let crls = world.crls(&[], &[]);
    let verdict = |now| judge_at(&strict(), &world.chain(), &trust, &crls, now);
    assert!(verdict(at(NOW + HOUR - 1)).is_ok());
    assert_eq!(unknown(verdict(at(NOW + HOUR))), Some(Place::Leaf));
}

#[test]
fn what_is_listed_is_refused_though_unknown_is_taken() {
    let world = World::new(leaf());
    let trust = trust(&[&world.root]);
    let crls = world.crls(&[&world.issuing], &[]);
    let refused = judge_at(&verifier(), &world.chain(), &trust, &crls, now());
    assert_eq!(revoked(refused), Some(Place::Intermediate(1)));
    assert!(judge(&verifier(), &world.chain(), &trust).is_ok());
}

#[test]
fn a_leaf_without_revocation_needs_no_crl_if_its_life_is_short() {
    // A day, and it says so.
    let short = with(leaf(), |params| {
        let content = vec![5, 0];
        params
            .custom_extensions
            .push(extension(&[2, 5, 29, 56], false, content));
    });
    let day = Duration::from_secs(86_400);
    let verdict = |params: CertificateParams, rule: RevocationRule, listed: bool| {
        let world = World::new(params);
        let issuer = CrlSet::new().with(world.root.crl(&[], 1)).unwrap();
        let crls = match listed {
            true => issuer.with(world.issuing.crl(&[&world.leaf], 1)).unwrap(),
            false => issuer,
        };
        let verifier = ChainVerifier::new(ExpectedPeer::service(billing()), rule);
        judge_at(
            &verifier,
            &world.chain(),
            &trust(&[&world.root]),
            &crls,
            now(),
        )
    };
    let below = |limit| RevocationRule::strict().with_no_revocation_below(limit);
    let second = Duration::from_secs(1);
    assert!(verdict(short.clone(), below(day + second), false).is_ok());
    // As the profile has it: shorter than, not as long as.
    assert_eq!(
        unknown(verdict(short.clone(), below(day), false)),
        Some(Place::Leaf)
    );
    // The extension alone is no permission, and nor is a short life alone.
    let refused = verdict(short.clone(), RevocationRule::strict(), false);
    assert_eq!(unknown(refused), Some(Place::Leaf));
    assert_eq!(
        unknown(verdict(leaf(), below(day + second), false)),
        Some(Place::Leaf)
    );
    // Listed is listed.
    assert_eq!(
        revoked(verdict(short, below(day + second), true)),
        Some(Place::Leaf)
    );
}

#[test]
fn a_path_around_a_revoked_or_expired_issuer_is_taken() {
    let (old, new) = (Made::root(), Made::root());
    let old_issuing = old.issue(ca("Issuing"));
    // The same CA, certified by the other root too.
    let params = with(old_issuing.params.clone(), |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7, 7]));
    });
    let leaf = old_issuing.issue(leaf());
    let Made {
        key,
        der,
        params: old_params,
    } = old_issuing;
    let new_issuing = new.issue_to(params, key);
    let chain = vec![leaf.der.clone(), der.clone(), new_issuing.der.clone()];
    let trust = trust(&[&old, &new]);
    let listed = Made {
        key: path_support::key(),
        params: old_params,
        der,
    };
    for (first, second, used) in [
        (&listed, None, &new),
        (&new_issuing, None, &old),
        (&listed, Some(&new_issuing), &new),
    ] {
        let of_old: Vec<&Made> = [first]
            .into_iter()
            .filter(|one| one.der == listed.der)
            .collect();
        let of_new: Vec<&Made> = [Some(first), second]
            .into_iter()
            .flatten()
            .filter(|one| one.der == new_issuing.der)
            .collect();
        let crls = CrlSet::new().with(old.crl(&of_old, 1)).unwrap();
        let crls = crls.with(new.crl(&of_new, 1)).unwrap();
        let crls = crls.with(new_issuing.crl(&[], 1)).unwrap();
        let result = judge_at(&strict(), &chain, &trust, &crls, now());
        match second {
            None => assert_eq!(result.unwrap().authority(), &used.read()),
            Some(_) => assert_eq!(revoked(result), Some(Place::Intermediate(1))),
        }
    }
}

#[test]
fn a_verified_peer_is_asked_again_without_a_signature() {
    let world = World::new(leaf());
    let trusted = trust(&[&world.root]);
    let crls = world.crls(&[], &[]);
    let peer = judge_at(&strict(), &world.chain(), &trusted, &crls, now()).unwrap();
    assert_eq!(peer.recheck(&trusted, &crls, now()), Ok(()));

    // Revoked since: the leaf, or who issued it.
    let issuing = world.issuing.crl(&[&world.leaf], 2);
    let later = crls.with(issuing).unwrap();
    let refused = peer.recheck(&trusted, &later, now());
    assert!(matches!(
        refused,
        Err(ChainError::Revocation {
            place: Place::Leaf,
            error: RevocationError::Revoked(_)
        })
    ));
    let later = crls.with(world.root.crl(&[&world.issuing], 2)).unwrap();
    assert!(matches!(
        peer.recheck(&trusted, &later, now()),
        Err(ChainError::Revocation {
            place: Place::Intermediate(1),
            ..
        })
    ));
    // CRLs that went stale or away.
    assert_eq!(
        unknown(peer.recheck(&trusted, &crls, at(NOW + HOUR))),
        Some(Place::Leaf)
    );
    assert_eq!(
        unknown(peer.recheck(&trusted, &CrlSet::new(), now())),
        Some(Place::Leaf)
    );
    // The authority went, or the whole trust domain; another of the same name came.
    let twin = Made::root();
    assert!(matches!(
        peer.recheck(&trust(&[&twin]), &crls, now()),
        Err(ChainError::AuthorityGone { .. })
    ));
    assert!(matches!(
        peer.recheck(&TrustBundles::new(), &crls, now()),
        Err(ChainError::NoBundle { .. })
    ));
    assert_eq!(
        peer.recheck(&trust(&[&twin, &world.root]), &crls, now()),
        Ok(())
    );
    // Past the life of the shortest; the rule stays that of the verifier.
    assert_eq!(peer.not_after(), world.leaf.read().not_after());
    let trusting = judge(&verifier(), &world.chain(), &trusted).unwrap();
    let last = world.leaf.read().not_after();
    assert_eq!(trusting.recheck(&trusted, &CrlSet::new(), last), Ok(()));
    let past = last.saturating_add(Duration::from_secs(1));
    assert!(matches!(
        trusting.recheck(&trusted, &CrlSet::new(), past),
        Err(ChainError::Validity { .. })
    ));
}

#[test]
fn a_trust_domain_speaks_for_itself_alone() {
    let world = World::new(leaf());
    let other: m2m_types::TrustDomain = "other.org".parse().unwrap();
    let theirs = TrustBundle::new(other.clone(), [world.root.read()]);
    // The authority is one of another domain, and ours has another.
    let mixed = trust(&[&Made::root()]).with(theirs.clone());
    let any = of(ExpectedPeer::danger_any_service());
    assert!(judge(&any, &world.chain(), &mixed).is_err());
    let refused = judge(&any, &world.chain(), &TrustBundles::new().with(theirs)).unwrap_err();
    assert_eq!(
        refused,
        ChainError::NoBundle {
            trust_domain: domain()
        }
    );
    // A server's name is for the domain that was named with it.
    let world = World::new(server("db.example.org"));
    let named = |domain| of(ExpectedPeer::dns_name("db.example.org", domain).unwrap());
    let trusted = trust(&[&world.root]);
    assert!(judge(&named(domain()), &world.chain(), &trusted).is_ok());
    assert!(judge(&named(other), &world.chain(), &trusted).is_err());
}
