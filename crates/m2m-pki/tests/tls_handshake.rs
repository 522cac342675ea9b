//! Who gets through a handshake, who does not, and what each side learns.
#![cfg(feature = "rustls")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod tls_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use m2m_pki::tls::*;
use m2m_pki::*;
use m2m_types::{Clock, ClockError, Timestamp};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use tls_support::*;

/// What the server says of `client`, what the client is told, and whether a handler was reached.
fn refused(server: &LiveTls, client: ClientConfig) -> (Error, Error) {
    let mut handled = false;
    let mut pair = Pair::new(Arc::new(client), server.server_config());
    let result = pair.drive();
    if server.peer(&pair.server).is_ok() {
        handled = true;
    }
    assert!(!handled, "the handler was reached");
    let Err(Failed::Server(error)) = result else {
        panic!("{result:?}");
    };
    let Err(told) = carry(&mut pair.server, &mut pair.client) else {
        panic!("the client was told nothing");
    };
    (error, told)
}

fn alert(description: AlertDescription) -> Error {
    Error::AlertReceived(description)
}

#[test]
fn both_sides_know_each_other_after_the_handshake() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let connector = client.connector(world.expect("billing")).unwrap();
    let (_, shop, billing) = meet(&connector, &server).unwrap();
    assert_eq!(shop.service_id(), Some(&service("shop")));
    assert_eq!(billing.service_id(), Some(&service("billing")));
    let material = client.material();
    let own = material.identity().certificate();
    assert_eq!(shop.certificate(), own);
    assert_eq!(shop.thumbprint(), own.thumbprint());
    assert!(!shop.is_resumed() && !billing.is_resumed());
}

#[test]
fn tls_001_a_client_without_a_certificate_never_reaches_a_handler() {
    let server = World::new().live("billing");
    let (error, told) = refused(&server, stranger(None));
    assert_eq!(error, Error::NoCertificatesPresented);
    assert_eq!(told, alert(AlertDescription::CertificateRequired));
}

#[test]
fn tls_001_a_certificate_for_servers_is_no_certificate_for_clients() {
    let mut world = World::new();
    let server = world.live("billing");
    let profile = world.profile().with_server_auth_only();
    let owned = world.own_by(&profile, "shop", HOUR);
    let (error, told) = refused(&server, stranger(Some(&owned)));
    let purpose = CertificateError::InvalidPurpose;
    assert_eq!(error, Error::InvalidCertificate(purpose));
    assert_eq!(told, alert(AlertDescription::UnsupportedCertificate));
}

#[test]
fn tls_001_an_expired_certificate_and_one_from_the_future_are_refused() {
    let mut world = World::new();
    let server = world.live("billing");
    let owned = world.own_by(&world.profile(), "shop", Duration::from_secs(60));
    world.clock.advance(Duration::from_secs(61));
    let (error, told) = refused(&server, stranger(Some(&owned)));
    assert_eq!(error, Error::InvalidCertificate(CertificateError::Expired));
    assert_eq!(told, alert(AlertDescription::CertificateExpired));

    world.clock.advance(HOUR);
    let late = world.own("shop");
    world.clock.set(start());
    let (error, told) = refused(&server, stranger(Some(&late)));
    let early = CertificateError::NotValidYet;
    assert_eq!(error, Error::InvalidCertificate(early));
    assert_eq!(told, alert(AlertDescription::CertificateExpired));
}

#[test]
fn tls_001_a_certificate_of_an_unknown_ca_is_refused() {
    let server = World::new().live("billing");
    // The same names, other keys.
    let owned = World::new().own("shop");
    let (error, told) = refused(&server, stranger(Some(&owned)));
    assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    let unknown = [
        alert(AlertDescription::UnknownCA),
        alert(AlertDescription::DecryptError),
    ];
    assert!(unknown.contains(&told), "{told:?}");
}

#[test]
fn tls_001_a_revoked_certificate_is_refused_and_operators_learn_why() {
    let mut world = World::new();
    let notes = Notes::default();
    let server = world.builder("billing").with_observer(notes.observe());
    let server = server.build().unwrap();
    let owned = world.own("shop");
    world.revoke(&owned.leaf(), &[&server]);
    let (error, told) = refused(&server, stranger(Some(&owned)));
    assert_eq!(error, Error::InvalidCertificate(CertificateError::Revoked));
    assert_eq!(told, alert(AlertDescription::CertificateRevoked));
    assert!(notes.has("KeyCompromise"), "{:?}", notes.all());
}

#[test]
fn tls_001_not_knowing_whether_a_certificate_is_revoked_is_a_refusal() {
    let mut world = World::new();
    let server = world.live("billing");
    // All CRLs are stale by then, and the certificate is not.
    world.clock.advance(DAY);
    let owned = world.own("shop");
    let (error, told) = refused(&server, stranger(Some(&owned)));
    let stale = CertificateError::ExpiredRevocationList;
    assert_eq!(error, Error::InvalidCertificate(stale));
    assert_eq!(told, alert(AlertDescription::UnknownCA));
}

#[test]
fn tls_001_a_chain_without_its_key_is_refused() {
    let mut world = World::new();
    let server = world.live("billing");
    let (owned, other) = (world.own("shop"), world.own("thief"));
    let stolen = Owned {
        chain: owned.chain,
        key: other.key,
    };
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&pkcs8(&stolen.key).into()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(stolen.ders(), key);
    let mut config = stranger(None);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let (error, told) = refused(&server, config);
    let wrong = CertificateError::BadSignature;
    assert_eq!(error, Error::InvalidCertificate(wrong));
    assert_eq!(told, alert(AlertDescription::DecryptError));
}

#[test]
fn tls_002_there_is_no_early_data_and_no_tls_1_2() {
    let mut world = World::new();
    let (server, client) = (world.live("billing"), world.live("shop"));
    let config = server.server_config();
    assert_eq!(config.max_early_data_size, 0);
    assert!(!config.send_half_rtt_data && !config.ticketer.enabled());
    let connector = client.connector(world.expect("billing")).unwrap();
    assert!(!connector.config().enable_early_data);

    // A client that would send some gets no ticket that lets it.
    let mut eager = stranger(Some(&world.own("shop")));
    eager.enable_early_data = true;
    let eager = Arc::new(eager);
    for handshake in 0..3 {
        let mut pair = Pair::new(eager.clone(), server.server_config());
        assert!(pair.client.early_data().is_none(), "{handshake}");
        pair.handshake().unwrap();
        assert_eq!(pair.is_resumed(), handshake > 0);
        assert!(pair.server.early_data().is_none());
        assert!(!pair.client.is_early_data_accepted());
    }

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (error, told) = refused(&server, old);
    assert!(matches!(error, Error::PeerIncompatible(_)), "{error:?}");
    assert_eq!(told, alert(AlertDescription::ProtocolVersion));
}

#[test]
fn tls_007_a_server_that_is_another_service_is_refused() {
    let mut world = World::new();
    let notes = Notes::default();
    let (server, client) = (world.live("mail"), world.builder("shop"));
    let client = client.with_observer(notes.observe()).build().unwrap();
    let connector = client.connector(world.expect("billing")).unwrap();
    let mut pair = Pair::new(connector.config(), server.server_config());
    let wrong = CertificateError::NotValidForName;
    let expected = Failed::Client(Error::InvalidCertificate(wrong));
    assert_eq!(pair.drive(), Err(expected));
    assert_eq!(
        connector.peer(&pair.client).unwrap_err(),
        PeerError::Handshaking
    );
    let told = carry(&mut pair.client, &mut pair.server).unwrap_err();
    assert_eq!(told, alert(AlertDescription::BadCertificate));
    assert!(notes.has("example.org/mail"), "{:?}", notes.all());

    // Whoever says so takes others too.
    for expected in [
        ExpectedPeer::one_of([service("billing"), service("mail")]),
        ExpectedPeer::member_of("example.org".parse().unwrap()),
        ExpectedPeer::danger_any_service(),
    ] {
        let connector = client.connector(expected).unwrap();
        let (_, _, peer) = meet(&connector, &server).unwrap();
        assert_eq!(peer.service_id(), Some(&service("mail")));
    }
    for expected in [
        ExpectedPeer::one_of([]),
        ExpectedPeer::member_of("example.com".parse().unwrap()),
    ] {
        let connector = client.connector(expected).unwrap();
        assert!(meet(&connector, &server).is_err());
    }
}

#[test]
fn tls_008_what_the_client_says_by_sni_and_alpn_is_nobodys_identity() {
    let mut world = World::new();
    let server = world.builder("billing").with_alpn(&[b"m2m/1"]);
    let server = server.build().unwrap();
    let client = world
        .builder("shop")
        .with_alpn(&[b"m2m/1"])
        .build()
        .unwrap();
    let connector = client.connector(world.expect("billing")).unwrap();
    for tenant in ["mail.internal", "billing.internal", "10.0.0.1"] {
        let mut pair = Pair::named(connector.config(), server.server_config(), tenant);
        pair.handshake().unwrap();
        let shop = server.peer(&pair.server).unwrap();
        assert_eq!(shop.service_id(), Some(&service("shop")), "{tenant}");
        let billing = connector.peer(&pair.client).unwrap();
        assert_eq!(billing.service_id(), Some(&service("billing")));
        assert_eq!(pair.server.alpn_protocol(), Some(&b"m2m/1"[..]));
        // Nor does a session of one name serve another.
        assert!(!pair.is_resumed(), "{tenant}");
    }
    // An application protocol that is not spoken here is no way in either.
    let other = world
        .builder("shop")
        .with_alpn(&[b"mail/1"])
        .build()
        .unwrap();
    let connector = other.connector(world.expect("billing")).unwrap();
    let mut pair = Pair::new(connector.config(), server.server_config());
    assert!(matches!(
        pair.drive(),
        Err(Failed::Server(Error::NoApplicationProtocol))
    ));
}

/// Notes which authorities a server says it knows, and shows nothing.
#[derive(Debug, Default)]
struct Listener(std::sync::Mutex<Vec<Vec<u8>>>);

impl rustls::client::ResolvesClientCert for Listener {
    fn resolve(
        &self,
        hints: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let hints = hints.iter().map(|hint| hint.to_vec());
        self.0.lock().unwrap().extend(hints);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_server_tells_which_authorities_it_knows_and_follows_when_they_change() {
    let mut world = World::new();
    let server = world.live("billing");
    let hints = || {
        let listener = Arc::new(Listener::default());
        let mut config = stranger(None);
        config.client_auth_cert_resolver = listener.clone();
        let _ = refused(&server, config);
        listener.0.lock().unwrap().clone()
    };
    let root = world.root.certificate();
    assert_eq!(hints(), [root.subject_der()]);
    let other = new_root(&world.ledger, &world.domain, "Root B");
    let both = [root.clone(), other.certificate().clone()];
    let both = bundles_of([bundle_of(&world.domain, both)]);
    server
        .update(|material| {
            material.set_bundles(both);
            Ok(())
        })
        .unwrap();
    assert_eq!(
        hints(),
        [root.subject_der(), other.certificate().subject_der()]
    );
}

#[test]
fn machines_of_another_trust_domain_are_taken_only_where_that_was_said() {
    let mut world = World::new();
    let mut partner = World::of("partner.example");
    let bundles = bundles_of([world.bundle(), partner.bundle()]);
    let (ours, theirs) = (world.crls(), partner.crls());
    let crls = theirs
        .crls()
        .fold(ours, |all, crl| all.with(crl.clone()).unwrap());
    let material = Material::new(world.identity("billing"), bundles, crls);
    let strict = RevocationRule::strict();
    let build = |clients| {
        let builder = LiveTls::builder(material.clone(), strict, world.clock.clone());
        match clients {
            Some(clients) => builder.with_clients(clients).build().unwrap(),
            None => builder.build().unwrap(),
        }
    };
    let client = stranger(Some(&partner.own("shop")));
    let (error, _) = refused(&build(None), client.clone());
    let elsewhere = CertificateError::NotValidForName;
    assert_eq!(error, Error::InvalidCertificate(elsewhere));

    let server = build(Some(ExpectedPeer::member_of(partner.domain.clone())));
    let mut pair = Pair::new(Arc::new(client), server.server_config());
    pair.handshake().unwrap();
    let peer = server.peer(&pair.server).unwrap();
    assert_eq!(peer.service_id(), Some(&partner.service("shop")));
}

/// A clock that can be broken.
struct Fragile {
    is_broken: AtomicBool,
}

impl Clock for Fragile {
    fn now(&self) -> Result<Timestamp, ClockError> {
        match self.is_broken.load(Ordering::Relaxed) {
            true => Err(ClockError::BeforeEpoch { by: HOUR }),
            false => Ok(start()),
        }
    }
}

#[test]
fn tls_009_without_the_time_no_handshake_succeeds_and_no_update() {
    let mut world = World::new();
    let clock = Arc::new(Fragile {
        is_broken: AtomicBool::new(false),
    });
    let material = world.material("billing");
    let server = LiveTls::builder(material, RevocationRule::strict(), clock.clone());
    let server = server.build().unwrap();
    let shop = Arc::new(stranger(Some(&world.own("shop"))));
    let mut open = Pair::new(shop.clone(), server.server_config());
    open.handshake().unwrap();
    let _ = server.peer(&open.server).unwrap();

    clock.is_broken.store(true, Ordering::Relaxed);
    // Neither a resumed one nor a full one.
    for client in [shop, Arc::new(stranger(Some(&world.own("shop"))))] {
        let mut pair = Pair::new(client, server.server_config());
        let result = pair.drive();
        assert!(matches!(result, Err(Failed::Server(_))), "{result:?}");
        assert!(server.peer(&pair.server).is_err());
    }
    let by = HOUR;
    let unknown = ClockError::BeforeEpoch { by };
    assert_eq!(
        server.peer(&open.server).unwrap_err(),
        PeerError::Clock(unknown)
    );
    assert_eq!(server.update(|_| Ok(())), Err(UpdateError::Clock(unknown)));
    assert_eq!(server.close_overdue(), Err(unknown));
}

#[test]
fn tls_009_an_index_that_cannot_be_read_is_a_refusal() {
    let mut world = World::new();
    let root = CrlSet::new().with(world.root.crl(start(), DAY)).unwrap();
    // The bytes behind the header are not what was written.
    let index = world.issuing.crl(start(), DAY);
    let mut bytes = index.as_bytes().to_vec();
    let identity = world.identity("billing");
    let shop = world.own("shop");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let damaged = CrlIndex::open(bytes).unwrap();
    assert!(damaged.check_all().is_err());
    let crls = root.with(Arc::new(damaged)).unwrap();
    let healthy = root.with(index).unwrap();

    let material = Material::new(identity, world.bundles(), healthy);
    let server = LiveTls::builder(material, RevocationRule::strict(), world.clock.clone());
    let server = server.build().unwrap();
    server
        .update(|material| {
            material.set_crls(crls);
            Ok(())
        })
        .unwrap();
    let (error, told) = refused(&server, stranger(Some(&shop)));
    let unknown = CertificateError::UnknownRevocationStatus;
    assert_eq!(error, Error::InvalidCertificate(unknown));
    assert_eq!(told, alert(AlertDescription::UnknownCA));
}
