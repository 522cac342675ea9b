//! Certificates that a proxy forwards: remembered once they held, and asked about again each time.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use m2m_guard::{Freshness, PeerTrust};
use m2m_pki::tls::LiveTls;
use m2m_pki::{
    Certificate, ChainError, ChainVerifier, CrlSet, ExpectedPeer, TrustBundles, VerifiedPeer,
};
use m2m_tower::{Authenticate, ConnectedPeer, ForwardedForm, TrustedProxies};
use m2m_types::{Live, Timestamp};
use support::pki::{DAY, Pki, rule};
use support::*;

const PROXY: &str = "spiffe://example.org/proxy";

/// Refuses nobody: what is refused here is refused by the proxies' own check.
struct Whoever;

impl PeerTrust for Whoever {
    fn recheck(&self, _: &VerifiedPeer, _: Timestamp) -> Result<(), ChainError> {
        Ok(())
    }
}

/// A service behind a proxy whose connection is open.
struct Behind {
    world: World,
    pki: Pki,
    bundles: Arc<Live<TrustBundles>>,
    crls: Arc<Live<CrlSet>>,
    layer: Authenticate,
    told: Arc<Mutex<Vec<&'static str>>>,
    proxy: ConnectedPeer,
}

impl Behind {
    fn new(remembered: usize) -> Self {
        let world = World::new();
        let pki = Pki::new(&world.clock);
        let (orders, _) = pki.machine(ORDERS);
        let (proxy, _) = pki.machine(PROXY);
        let bundles = Arc::new(Live::new(pki.bundles()));
        let crls = Arc::new(Live::new(CrlSet::new()));
        let expected = ExpectedPeer::member_of("example.org".parse().unwrap());
        let verifier = ChainVerifier::new(expected, rule());
        let (form, ours, lists) = (
            ForwardedForm::ClientCert,
            Arc::clone(&bundles),
            Arc::clone(&crls),
        );
        let proxies = TrustedProxies::new(form, verifier, ours, lists)
            .with_remembered(remembered)
            .with_proxy(service(PROXY));
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let guard = world.bearer().with_peers(Whoever, Freshness::in_process());
        Self {
            layer: world
                .layer_of(guard)
                .with_observer(move |refused, _| tell.lock().unwrap().push(refused.code()))
                .behind(proxies),
            told,
            proxy: connected(&proxy, &orders),
            world,
            pki,
            bundles,
            crls,
        }
    }

    /// What is answered to a request that the proxy forwards for `client`.
    fn ask(&self, client: &Certificate) -> u16 {
        let value = format!(":{}:", STANDARD.encode(client.der()));
        self.ask_with(&value)
    }

    fn ask_with(&self, value: &str) -> u16 {
        let mut request: Request<Empty<Bytes>> = get("/orders/17")
            .header("client-cert", value)
            .body(Empty::new())
            .unwrap();
        request.extensions_mut().insert(self.proxy.clone());
        let status = send(&self.layer, request).status.as_u16();
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        if status == 401 {
            assert_eq!(told, ["forwarded_certificate"]);
        }
        status
    }

    fn remembered(&self) -> usize {
        let text = format!("{:?}", self.layer);
        let (_, rest) = text.split_once("Remembered { len: ").unwrap();
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    }
}

/// The peer of a server's connection, after a handshake in memory.
fn connected(client: &LiveTls, server: &LiveTls) -> ConnectedPeer {
    let connector = client
        .connector(ExpectedPeer::service(service(ORDERS)))
        .unwrap();
    let name = "orders.internal".try_into().unwrap();
    let mut ours = rustls::ClientConnection::new(connector.config(), name).unwrap();
    let mut theirs = rustls::ServerConnection::new(server.server_config()).unwrap();
    while ours.is_handshaking() || theirs.is_handshaking() {
        let mut wire = Vec::new();
        ours.write_tls(&mut wire).unwrap();
        theirs.read_tls(&mut wire.as_slice()).unwrap();
        theirs.process_new_packets().unwrap();
        let mut wire = Vec::new();
        theirs.write_tls(&mut wire).unwrap();
        ours.read_tls(&mut wire.as_slice()).unwrap();
        ours.process_new_packets().unwrap();
    }
    let peer = server.peer(&theirs).unwrap();
    let open = server.watch(&peer, |_| ()).unwrap();
    ConnectedPeer::new(peer, Arc::new(open))
}

#[test]
fn a_client_is_verified_once_and_remembered_by_the_very_bytes() {
    let behind = Behind::new(10);
    let (client, _) = behind.pki.leaf(BILLING);
    assert_eq!(behind.remembered(), 0);
    for _ in 0..3 {
        assert_eq!(behind.ask(&client), 200);
        assert_eq!(behind.remembered(), 1);
    }
    // Who is refused is not remembered: a certificate of another authority, and one that is none.
    let (foreign, _) = Pki::new(&behind.world.clock).leaf(BILLING);
    assert_eq!(behind.ask(&foreign), 401);
    assert_eq!(behind.ask_with(":AAEC:"), 401);
    assert_eq!(behind.ask_with("AAEC"), 400);
    assert_eq!(behind.remembered(), 1);
    // Nor is one found by almost the same bytes.
    let mut der = client.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    assert_eq!(behind.ask_with(&format!(":{}:", STANDARD.encode(der))), 401);
}

#[test]
fn pki_062_a_client_that_is_revoked_or_expires_is_refused_although_it_is_remembered() {
    let behind = Behind::new(10);
    let ((client, _), (other, _)) = (behind.pki.leaf(BILLING), behind.pki.leaf(BILLING));
    assert_eq!((behind.ask(&client), behind.ask(&other)), (200, 200));
    let crl = behind.pki.crl(&client);
    behind.crls.store(CrlSet::new().with(crl).unwrap());
    assert_eq!((behind.ask(&client), behind.ask(&other)), (401, 200));
    assert_eq!(behind.remembered(), 2);

    // To its last second, and no longer.
    let (short, _) = behind.pki.leaf_for(BILLING, DAY / 2);
    assert_eq!(behind.ask(&short), 200);
    behind.world.clock.set(short.not_after());
    assert_eq!(behind.ask(&short), 200);
    behind.world.clock.advance(Duration::from_secs(1));
    assert_eq!((behind.ask(&short), behind.ask(&other)), (401, 200));
}

#[test]
fn when_trust_is_replaced_everything_is_forgotten() {
    let behind = Behind::new(10);
    let (client, _) = behind.pki.leaf(BILLING);
    assert_eq!(behind.ask(&client), 200);
    // The same bundles again: forgotten, and found out anew.
    behind.bundles.store(behind.pki.bundles());
    assert_eq!(behind.ask(&client), 200);
    let (another, _) = behind.pki.leaf(BILLING);
    assert_eq!(behind.ask(&another), 200);
    assert_eq!(behind.remembered(), 2);
    behind.bundles.store(behind.pki.bundles());
    assert_eq!(behind.ask(&another), 200);
    assert_eq!(behind.remembered(), 1, "what was known under other bundles");
    // Without the authority, and with it again.
    behind.bundles.store(TrustBundles::new());
    assert_eq!(behind.ask(&client), 401);
    assert_eq!(behind.ask(&another), 401);
    behind.bundles.store(behind.pki.bundles());
    assert_eq!(behind.ask(&client), 200);
}

#[test]
fn dos_no_more_clients_are_remembered_than_was_said_and_the_oldest_goes() {
    let behind = Behind::new(3);
    let clients: Vec<_> = (0..5).map(|_| behind.pki.leaf(BILLING).0).collect();
    for client in clients.iter().chain(&clients) {
        assert_eq!(behind.ask(client), 200);
        assert!(behind.remembered() <= 3);
    }
    let forgetful = Behind::new(0);
    let (client, _) = forgetful.pki.leaf(BILLING);
    assert_eq!(forgetful.ask(&client), 200);
    assert_eq!(forgetful.remembered(), 0);
}
