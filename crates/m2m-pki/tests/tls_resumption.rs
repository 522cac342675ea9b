//! Sessions are resumed while nothing speaks against it, and never a moment longer.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use std::sync::Arc;
use std::time::Duration;

use m2m_pki::tls::*;
use m2m_pki::*;
use rustls::{CertificateError, Error};
use tls_support::*;

/// Two services, and one that calls the other.
struct Two {
    world: World,
    server: LiveTls,
    client: LiveTls,
    connector: Connector,
}

impl Two {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(build: impl Fn(LiveTlsBuilder) -> LiveTlsBuilder) -> Self {
        let mut world = World::new();
        let server = build(world.builder("billing")).build().unwrap();
        let client = build(world.builder("shop")).build().unwrap();
        let connector = client.connector(world.expect("billing")).unwrap();
        Self {
            world,
            server,
            client,
            connector,
        }
    }

    /// Whether the next handshake resumes a session.
    fn resumes(&self) -> bool {
        let (pair, shop, billing) = meet(&self.connector, &self.server).unwrap();
        assert_eq!(shop.service_id(), Some(&service("shop")));
        assert_eq!(billing.service_id(), Some(&service("billing")));
        let resumed = pair.is_resumed();
        assert_eq!(
            (shop.is_resumed(), billing.is_resumed()),
            (resumed, resumed)
        );
        resumed
    }

    fn both(&self) -> [&LiveTls; 2] {
        [&self.server, &self.client]
    }
}

#[test]
fn pki_062_sessions_are_resumed_while_nothing_changed() {
    let two = Two::new();
    assert!(!two.resumes(), "there was nothing to resume");
    for _ in 0..20 {
        assert!(two.resumes());
    }
}

#[test]
fn pki_062_a_revoked_client_gets_a_full_handshake_and_is_refused_there() {
    let mut two = Two::new();
    two.resumes();
    assert!(two.resumes());
    let own = two.client.material().identity().certificate().clone();
    // Only the server knows: the client tries its session.
    two.world.revoke(&own, &[&two.server]);
    for _ in 0..5 {
        let mut pair = Pair::new(two.connector.config(), two.server.server_config());
        let revoked = Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(pair.handshake(), Err(Failed::Server(revoked)));
        assert!(!pair.is_resumed());
        assert!(two.server.peer(&pair.server).is_err());
    }
}

#[test]
fn pki_062_sessions_of_others_go_on_when_one_peer_is_revoked() {
    let mut two = Two::new();
    let other = two.world.live("mail");
    let others = other.connector(two.world.expect("billing")).unwrap();
    let _ = meet(&others, &two.server).unwrap();
    two.resumes();
    let revoked = other.material().identity().certificate().clone();
    let who = [&two.server, &two.client, &other];
    two.world.revoke(&revoked, &who);
    assert!(two.resumes(), "nothing speaks against these two");
    assert!(meet(&others, &two.server).is_err());
}

#[test]
fn pki_062_a_revoked_server_is_refused_though_its_sessions_are_there() {
    let mut two = Two::new();
    two.resumes();
    assert!(two.resumes());
    let own = two.server.material().identity().certificate().clone();
    // Only the client knows: the server would resume.
    two.world.revoke(&own, &[&two.client]);
    for _ in 0..5 {
        let mut pair = Pair::new(two.connector.config(), two.server.server_config());
        let revoked = Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(pair.handshake(), Err(Failed::Client(revoked)));
    }
}

#[test]
fn pki_062_a_revoked_intermediate_ends_the_sessions_below_it() {
    let mut two = Two::new();
    two.resumes();
    let (now, issuing) = (two.world.now(), two.world.issuing.certificate().clone());
    two.world.root.revoke(&issuing, now);
    let crl = two.world.root.crl(now, DAY);
    two.server
        .update(|material| material.set_crl(crl.clone()))
        .unwrap();
    let mut pair = Pair::new(two.connector.config(), two.server.server_config());
    let revoked = Error::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(pair.handshake(), Err(Failed::Server(revoked)));
}

#[test]
fn pki_062_after_a_change_of_trust_or_identity_the_next_handshake_is_full() {
    let two = Two::new();
    let (domain, world) = (&two.world.domain, &two.world);
    let other_root = new_root(&world.ledger, domain, "Root B");
    let both = bundle_of(
        domain,
        [
            world.root.certificate().clone(),
            other_root.certificate().clone(),
        ],
    );
    for live in two.both() {
        for change in 0..2 {
            two.resumes();
            assert!(two.resumes());
            let updated = live.update(|material| {
                match change {
                    0 => material.set_bundles(bundles_of([both.clone()])),
                    _ => material.set_identity(match live.material().identity().service_id() {
                        id if *id == service("shop") => world.identity("shop"),
                        _ => world.identity("billing"),
                    }),
                }
                Ok(())
            });
            assert_eq!(updated.unwrap().own_fault, None);
            assert!(!two.resumes(), "change {change}");
            assert!(two.resumes());
        }
    }
}

#[test]
fn pki_062_new_crls_that_revoke_nobody_cost_no_full_handshake() {
    let mut two = Two::new();
    two.resumes();
    for _ in 0..3 {
        let other = two.world.own("nobody").leaf();
        let (server, client) = (two.server.clone(), two.client.clone());
        two.world.revoke(&other, &[&server, &client]);
        assert!(two.resumes());
    }
    // The same bundle again is no change either.
    let bundles = two.world.bundles();
    two.server
        .update(|material| {
            material.set_bundles(bundles);
            Ok(())
        })
        .unwrap();
    assert!(two.resumes());
}

#[test]
fn pki_062_a_configuration_that_somebody_kept_resumes_nothing_and_trusts_nobody_longer() {
    let mut two = Two::new();
    let (client, server) = (two.connector.config(), two.server.server_config());
    let (client, server) = (Arc::new((*client).clone()), Arc::new((*server).clone()));
    let handshake = || {
        let mut pair = Pair::new(client.clone(), server.clone());
        pair.handshake().map(|()| pair.is_resumed())
    };
    assert_eq!(handshake(), Ok(false));
    assert_eq!(handshake(), Ok(true));
    for live in two.both() {
        let identity = match live.material().identity().service_id().path() {
            "/shop" => two.world.identity("shop"),
            _ => two.world.identity("billing"),
        };
        live.update(|material| {
            material.set_identity(identity);
            Ok(())
        })
        .unwrap();
        assert_eq!(handshake(), Ok(false));
        assert_eq!(handshake(), Ok(false), "its sessions are over");
    }
    let own = two.client.material().identity().certificate().clone();
    two.world.revoke(&own, &[&two.server]);
    let revoked = Error::InvalidCertificate(CertificateError::Revoked);
    assert_eq!(handshake(), Err(Failed::Server(revoked)));
}

#[test]
fn pki_062_a_session_ends_with_the_certificate_and_some_time_after_the_key_was_shown() {
    let two = Two::with(|builder| builder.with_resumption(Duration::from_secs(600)));
    two.resumes();
    two.world.clock.advance(Duration::from_secs(600));
    assert!(two.resumes(), "in its last second");
    two.world.clock.advance(Duration::from_secs(1));
    assert!(!two.resumes());
    assert!(two.resumes());
    // Resuming is not showing the key.
    for _ in 0..3 {
        two.world.clock.advance(Duration::from_secs(200));
        assert!(two.resumes());
    }
    two.world.clock.advance(Duration::from_secs(1));
    assert!(!two.resumes());

    let two = Two::with(|builder| builder.with_resumption(DAY));
    two.resumes();
    let own = two.client.material().identity().certificate().clone();
    two.world.clock.set(own.not_after());
    assert!(two.resumes());
    two.world.clock.advance(Duration::from_secs(1));
    let mut pair = Pair::new(two.connector.config(), two.server.server_config());
    assert!(pair.handshake().is_err());
    assert!(!pair.is_resumed());
}

#[test]
fn pki_062_a_session_is_not_resumed_once_nobody_knows_who_is_revoked() {
    let two = Two::new();
    two.resumes();
    two.world.clock.advance(DAY);
    let mut pair = Pair::new(two.connector.config(), two.server.server_config());
    assert!(pair.handshake().is_err());
    assert!(!pair.is_resumed());
}

#[test]
fn pki_062_what_a_server_resumes_by_itself_is_judged_again_by_the_client() {
    let mut two = Two::new();
    let (mut pair, _, billing) = meet(&two.connector, &two.server).unwrap();
    let own = billing.certificate().clone();
    // The connection is there, its server is revoked, and the application asks only now.
    two.world.revoke(&own, &[&two.client]);
    pair.drive().unwrap();
    let error = two.connector.peer(&pair.client).unwrap_err();
    assert!(matches!(
        error,
        PeerError::Chain(ChainError::Revocation { .. })
    ));
}

#[test]
fn resumption_can_be_turned_off() {
    let two = Two::with(LiveTlsBuilder::without_resumption);
    for _ in 0..3 {
        assert!(!two.resumes());
    }
}

#[test]
fn as_many_sessions_are_kept_as_allowed() {
    let mut world = World::new();
    let server = world.builder("billing").with_session_limit(4).build();
    let server = server.unwrap();
    let connectors: Vec<_> = (0..6)
        .map(|number| {
            let client = world.live(&format!("shop-{number}"));
            client.connector(world.expect("billing")).unwrap()
        })
        .collect();
    for connector in &connectors {
        let _ = meet(connector, &server).unwrap();
    }
    // The newest first, since each handshake brings a new session and drops the oldest.
    let resumed: Vec<_> = connectors
        .iter()
        .rev()
        .map(|connector| meet(connector, &server).unwrap().0.is_resumed())
        .collect();
    assert_eq!(resumed, [true, true, true, true, false, false]);
}

#[test]
fn a_session_is_given_out_once() {
    let two = Two::new();
    two.resumes();
    // The same ticket offered twice: by two connections that begin before either ends.
    let config = stranger(Some(&two.world.own("shop")));
    let config = Arc::new(config);
    let mut first = Pair::new(config.clone(), two.server.server_config());
    first.handshake().unwrap();
    let mut hello = Vec::new();
    let mut second = Pair::new(config, two.server.server_config());
    second.client.write_tls(&mut hello).unwrap();
    let mut replayed = Pair::new(two.connector.config(), two.server.server_config());
    feed(&mut second.server, &hello).unwrap();
    feed(&mut replayed.server, &hello).unwrap();
    second.handshake().unwrap();
    assert!(second.is_resumed());
    let resumed = Some(rustls::HandshakeKind::Resumed);
    assert_ne!(replayed.server.handshake_kind(), resumed);
}
