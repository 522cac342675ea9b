//! Peers by their certificates: asked again at each call, and of one name with whatever else came.
#![cfg(feature = "pki")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_guard::{
    Age, Basis, Call, Credential, Freshness, Guard, GuardScratch, LastConfirmed, LiveTrust,
    PeerTrust, Presented, RefusalReason, Rejection,
};
use m2m_pki::{
    Authority, Certificate, ChainError, ChainVerifier, CrlIndex, CrlIssuer, CrlLimits, CrlNumber,
    CrlNumbers, CrlSet, CrlSigner, CsrBuilder, ExpectedPeer, Ledger, ListedRevocation, PeerRole,
    Profile, RevocationError, RevocationList, RevocationReason, RevocationRule, Scope, Subject,
    TrustBundle, TrustBundles, UnverifiedCrl, UpdateTimes, VerifiedPeer,
};
use m2m_revoke::{Kind, Target};
use m2m_types::{Live, Timestamp};
use support::*;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, what it revoked, and who trusts it.
struct Pki {
    ledger: Ledger,
    key: SigningKey,
    authority: Authority,
    bundles: Arc<Live<TrustBundles>>,
    crls: Arc<Live<CrlSet>>,
}

impl Pki {
    fn new() -> Self {
        let ledger = Ledger::new(Arc::new(m2m_store::MemoryStore::new()));
        let domain = || "example.org".parse().unwrap();
        let key = || SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let root =
            Profile::root("root", domain(), Subject::new("Root").unwrap(), 3650 * DAY).unwrap();
        let ca_key = key();
        let der = ca_key.to_pkcs8_der();
        let holder = service("spiffe://example.org/ca");
        let issued =
            Authority::create_root(&root, &holder, &ca_key, 3650 * DAY, now(), &SystemRandom);
        let certificate = pollster::block_on(ledger.record(issued.unwrap())).unwrap();
        let authority = Authority::load(certificate.clone(), ca_key).unwrap();
        let bundle = TrustBundle::new(domain(), [certificate]);
        let pki = Self {
            ledger,
            key: SigningKey::from_pkcs8_der(Algorithm::Es256, der.expose_secret()).unwrap(),
            authority,
            bundles: Arc::new(Live::new(TrustBundles::new().with(bundle))),
            crls: Arc::new(Live::new(CrlSet::new())),
        };
        pki.publish(&[], 1);
        pki
    }

    fn leaf(&self, name: &str) -> Certificate {
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
        let csr = CsrBuilder::new().sign(&key).unwrap().verify().unwrap();
        let profile = Profile::workload("workload", "example.org".parse().unwrap(), DAY).unwrap();
        let approved = profile.approve(csr, &service(name), DAY).unwrap();
        let issued = self
            .authority
            .issue(approved, now(), &SystemRandom)
            .unwrap();
        pollster::block_on(self.ledger.record(issued)).unwrap()
    }

    /// What a handshake finds out, in which the peer shows `leaf`.
    fn shake(&self, leaf: &Certificate, role: PeerRole) -> VerifiedPeer {
        let verifier =
            ChainVerifier::new(ExpectedPeer::danger_any_service(), RevocationRule::strict());
        let (bundles, crls) = (self.bundles.load(), self.crls.load());
        let chain = [leaf.der().clone()];
        verifier
            .verify(&chain, role, &bundles, &crls, now())
            .unwrap()
    }

    fn client(&self, leaf: &Certificate) -> VerifiedPeer {
        self.shake(leaf, PeerRole::Client)
    }

    /// A CRL that lists these certificates, for two hours.
    fn publish(&self, revoked: &[&Certificate], number: u64) {
        let issuer = CrlIssuer::from_certificate(self.authority.certificate()).unwrap();
        let signer = CrlSigner::new(issuer.clone(), self.key.verifying_key()).unwrap();
        let mut list = RevocationList::new(Scope::everything());
        for one in revoked {
            let reason = RevocationReason::KeyCompromise;
            let entry = ListedRevocation::new(one.serial().clone(), now(), reason);
            list.revoke(&entry).unwrap();
        }
        let number = CrlNumbers::first()
            .claim_exactly(CrlNumber::from(number))
            .unwrap();
        let times = UpdateTimes::new(now(), at(7200)).unwrap();
        let der = list
            .prepare(&signer, number, times)
            .unwrap()
            .sign(&self.key)
            .unwrap()
            .into_der();
        let crl = UnverifiedCrl::parse(&der, &CrlLimits::default()).unwrap();
        let index = CrlIndex::build(&crl.verify(&issuer).unwrap()).unwrap();
        self.crls
            .store(self.crls.load().with(Arc::new(index)).unwrap());
    }

    fn trust(&self) -> LiveTrust {
        LiveTrust::new(Arc::clone(&self.bundles), Arc::clone(&self.crls))
    }

    /// Certificates and, with them or alone, bearer tokens.
    fn guard(&self, world: &World) -> Guard {
        let peers = self.trust();
        world
            .bearer()
            .with_peers(peers, Freshness::in_process())
            .build()
            .unwrap()
    }
}

fn refused_at(
    guard: &Guard,
    presented: &Presented<'_>,
    now: Timestamp,
) -> (RefusalReason, Rejection) {
    let mut scratch = GuardScratch::new();
    let refusal = guard
        .admit(presented, &READ, now, &mut scratch)
        .unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.len() <= 512 && !text.contains(char::is_control),
        "{text}"
    );
    (refusal.reason().clone(), refusal.rejection())
}

fn name_of(guard: &Guard, presented: &Presented<'_>) -> String {
    let mut scratch = GuardScratch::new();
    let admitted = guard.admit(presented, &READ, now(), &mut scratch).unwrap();
    admitted.name().to_owned()
}

#[test]
fn a_peer_is_admitted_by_its_certificate_alone_or_with_a_token_of_its_own() {
    let (world, pki) = (World::new(), Pki::new());
    let guard = pki.guard(&world);
    let leaf = pki.leaf(BILLING);
    let peer = pki.client(&leaf);
    let presented = Presented::nothing().with_peer(&peer);
    assert_eq!(name_of(&guard, &presented), BILLING);
    let (bearer, bound) = (
        world.bearer_token(BILLING),
        world.bound_token(BILLING, *leaf.thumbprint()),
    );
    for token in [&bearer, &bound] {
        assert_eq!(name_of(&guard, &presented.with_token(token)), BILLING);
    }
    let mut scratch = GuardScratch::new();
    let presented = presented.with_token(&bound);
    let admitted = guard.admit(&presented, &READ, now(), &mut scratch).unwrap();
    let credentials: Vec<_> = admitted.credentials().collect();
    assert_eq!(credentials, [Credential::Token, Credential::Certificate]);
    assert_eq!(
        admitted.peer().map(VerifiedPeer::not_after),
        Some(leaf.not_after())
    );
    assert_eq!(admitted.ages().of(Basis::Crls), Age::InProcess);
}

#[test]
fn jwt_071_a_token_bound_to_another_certificate_of_the_same_ca_is_refused() {
    let (world, pki) = (World::new(), Pki::new());
    let guard = pki.guard(&world);
    let (own, other) = (pki.leaf(BILLING), pki.leaf(BILLING));
    let token = world.bound_token(BILLING, *own.thumbprint());
    let peer = pki.client(&other);
    // The right thumbprint, said beside the connection, is not what the connection shows.
    let presented = Presented::nothing()
        .with_certificate(*own.thumbprint())
        .with_peer(&peer);
    for presented in [presented, Presented::nothing().with_peer(&peer)] {
        let (reason, rejection) = refused_at(&guard, &presented.with_token(&token), now());
        assert!(matches!(reason, RefusalReason::Token(_)), "{reason:?}");
        assert_eq!(rejection, Rejection::Unauthenticated);
    }
}

#[test]
fn a_stolen_bearer_token_does_not_ride_on_somebody_elses_certificate() {
    let (world, pki) = (World::new(), Pki::new());
    let leaf = pki.leaf(SHOP);
    let peer = pki.client(&leaf);
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_peer(&peer).with_token(&token);
    let (reason, rejection) = refused_at(&pki.guard(&world), &presented, now());
    let RefusalReason::Disagree(disagreement) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(disagreement.first_names, service(BILLING));
    assert_eq!(disagreement.second_names, service(SHOP));
    assert_eq!(rejection, Rejection::Unauthenticated);

    // Where that was said out loud, the caller is whom the token names.
    let peers = pki.trust();
    let passed_on = world.bearer().with_peers(peers, Freshness::in_process());
    let passed_on = passed_on.danger_accepting_disagreement().build().unwrap();
    assert_eq!(name_of(&passed_on, &presented), BILLING);
}

#[test]
fn pki_061_a_certificate_that_is_revoked_or_expires_refuses_the_next_call_of_an_open_connection() {
    let (world, pki) = (World::new(), Pki::new());
    let guard = pki.guard(&world);
    let leaf = pki.leaf(BILLING);
    let peer = pki.client(&leaf);
    let presented = Presented::nothing().with_peer(&peer);
    assert_eq!(name_of(&guard, &presented), BILLING);

    // The list goes stale: nobody knows any more, and it is not the caller's fault.
    let (reason, rejection) = refused_at(&guard, &presented, at(7200));
    assert!(matches!(
        reason,
        RefusalReason::Peer(ChainError::Revocation {
            error: RevocationError::Unknown(_),
            ..
        })
    ));
    assert_eq!(rejection, Rejection::Unavailable);

    pki.publish(&[&leaf], 2);
    let (reason, rejection) = refused_at(&guard, &presented, now());
    assert!(matches!(
        reason,
        RefusalReason::Peer(ChainError::Revocation {
            error: RevocationError::Revoked(_),
            ..
        })
    ));
    assert_eq!(rejection, Rejection::Unauthenticated);

    let later = leaf.not_after().saturating_add(Duration::from_secs(1));
    let (reason, _) = refused_at(&guard, &presented, later);
    assert!(
        matches!(reason, RefusalReason::Peer(ChainError::Validity { .. })),
        "{reason:?}"
    );

    pki.bundles.store(TrustBundles::new());
    let (reason, _) = refused_at(&guard, &presented, now());
    assert!(
        matches!(reason, RefusalReason::Peer(ChainError::NoBundle { .. })),
        "{reason:?}"
    );
}

#[test]
fn a_peer_is_named_in_a_refusal_as_soon_as_its_certificate_holds() {
    let pki = Pki::new();
    let (world, leaf) = (World::new(), pki.leaf(BILLING));
    let peer = pki.client(&leaf);
    let guard = pki.guard(&world);
    let mut scratch = GuardScratch::new();
    let mut caller = |presented: &Presented<'_>, now| {
        let refusal = guard.admit(presented, &READ, now, &mut scratch);
        let refusal = refusal.unwrap_err();
        (refusal.code(), refusal.caller().cloned())
    };
    let presented = Presented::nothing().with_peer(&peer).with_token("a.b.c");
    assert_eq!(caller(&presented, now()), ("token", Some(service(BILLING))));
    let later = leaf.not_after().saturating_add(Duration::from_secs(1));
    assert_eq!(caller(&presented, later), ("peer", None));
}

#[test]
fn a_certificate_is_revoked_by_event_as_well_as_by_list() {
    let pki = Pki::new();
    let leaf = pki.leaf(BILLING);
    let peer = pki.client(&leaf);
    let presented = Presented::nothing().with_peer(&peer);
    let (billing, root) = (service(BILLING), pki.authority.certificate().clone());
    let cases = [
        (
            Target::CertificateThumbprint(leaf.thumbprint().as_bytes()),
            Kind::CertificateThumbprint,
        ),
        (
            Target::CertificateThumbprint(root.thumbprint().as_bytes()),
            Kind::CertificateThumbprint,
        ),
        (
            Target::Certificate {
                issuer: leaf.issuer_der(),
                serial: leaf.serial().as_bytes(),
            },
            Kind::Certificate,
        ),
        (Target::Service(billing.as_ref()), Kind::Service),
    ];
    for (target, kind) in cases {
        let world = World::new();
        let guard = pki.guard(&world);
        assert_eq!(name_of(&guard, &presented), BILLING);
        world.revocations.revoke(target, Timestamp::MAX).unwrap();
        match refused_at(&guard, &presented, now()).0 {
            RefusalReason::Revoked {
                credential,
                revoked,
            } => {
                assert_eq!(
                    (credential, revoked.kind()),
                    (Credential::Certificate, kind)
                );
            }
            other => panic!("{other:?}"),
        }
    }
    // What was issued later is not meant.
    let world = World::new();
    let until = leaf.not_before().saturating_sub(Duration::from_secs(1));
    let target = Target::Service(billing.as_ref());
    world
        .revocations
        .revoke_issued_until(target, until, Timestamp::MAX)
        .unwrap();
    assert_eq!(name_of(&pki.guard(&world), &presented), BILLING);
}

#[test]
fn tls_008_a_peer_counts_by_its_verified_certificate_and_only_as_a_client() {
    let (world, pki) = (World::new(), Pki::new());
    let guard = pki.guard(&world);
    let leaf = pki.leaf(BILLING);
    let server = pki.shake(&leaf, PeerRole::Server);
    let (reason, _) = refused_at(&guard, &Presented::nothing().with_peer(&server), now());
    assert_eq!(reason, RefusalReason::PeerRole);
    // A guard that was not told about peers does not pass one over.
    let tokens = world.bearer().build().unwrap();
    let peer = pki.client(&leaf);
    let token = world.bearer_token(BILLING);
    let presented = Presented::nothing().with_peer(&peer).with_token(&token);
    let credential = Credential::Certificate;
    let (reason, _) = refused_at(&tokens, &presented, now());
    assert_eq!(reason, RefusalReason::NotTaken { credential });
    // And one that requires it is not content with a token.
    let peers = pki.trust();
    let both = world.bearer().with_peers(peers, Freshness::in_process());
    let both = both.requiring(credential).build().unwrap();
    let (reason, rejection) = refused_at(&both, &Presented::nothing().with_token(&token), now());
    assert_eq!(reason, RefusalReason::Required { credential });
    assert_eq!(rejection, Rejection::Unauthenticated);
    // Who shows no token has shown no wrong one.
    let credential = Credential::Token;
    let both = world
        .bearer()
        .with_peers(pki.trust(), Freshness::in_process());
    let both = both.requiring(credential).build().unwrap();
    let (reason, rejection) = refused_at(&both, &Presented::nothing().with_peer(&peer), now());
    assert_eq!(reason, RefusalReason::Required { credential });
    assert_eq!(rejection, Rejection::CredentialRequired);
}

#[test]
fn tls_009_trust_that_panics_or_is_old_refuses() {
    struct Broken;
    impl PeerTrust for Broken {
        fn recheck(&self, _: &VerifiedPeer, _: Timestamp) -> Result<(), ChainError> {
            panic!("a bug")
        }
    }
    let (world, pki) = (World::new(), Pki::new());
    let leaf = pki.leaf(BILLING);
    let peer = pki.client(&leaf);
    let presented = Presented::nothing().with_peer(&peer);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let broken = world
        .bearer()
        .with_peers(Broken, Freshness::in_process())
        .build()
        .unwrap();
    let (reason, rejection) = refused_at(&broken, &presented, now());
    std::panic::set_hook(before);
    assert!(matches!(reason, RefusalReason::Panicked { .. }));
    assert_eq!(rejection, Rejection::Unavailable);

    let confirmed = Arc::new(LastConfirmed::never());
    let crls = Freshness::confirmed_within(MINUTE, Arc::clone(&confirmed));
    let followed = world
        .bearer()
        .with_peers(pki.trust(), crls)
        .build()
        .unwrap();
    let stale = |age| RefusalReason::Stale {
        basis: Basis::Crls,
        age,
        limit: MINUTE,
    };
    assert_eq!(
        refused_at(&followed, &presented, now()).0,
        stale(Age::Never)
    );
    confirmed.confirm(now());
    assert_eq!(name_of(&followed, &presented), BILLING);
    let age = Age::Confirmed(MINUTE + Duration::from_secs(1));
    assert_eq!(refused_at(&followed, &presented, at(61)).0, stale(age));
    // Who comes with a token alone goes by no CRL.
    let token = world.bearer_token(BILLING);
    let mut scratch = GuardScratch::new();
    let presented = Presented::nothing().with_token(&token);
    let call = Call::new("GET", "/orders");
    assert!(
        followed
            .admit(&presented, &call, at(61), &mut scratch)
            .is_ok()
    );
}
