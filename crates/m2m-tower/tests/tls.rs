//! Real connections on loopback: who came, until when, and through whom.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use m2m_guard::{Caller, Credential, Freshness};
use m2m_pki::tls::LiveTls;
use m2m_pki::{Certificate, ChainVerifier, CrlSet, ExpectedPeer};
use m2m_token::TokenRequest;
use m2m_tower::{
    Acceptor, Authenticate, ForwardedForm, OnConnection, TrustedProxies, UntilDistrusted,
};
use m2m_types::Live;
use support::pki::{Pki, rule};
use support::*;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tower::{Layer as _, service_fn};

const SHOP: &str = "spiffe://example.org/shop";
const PROXY: &str = "spiffe://example.org/proxy";

/// Serves whatever the layer lets through: who it was, and by what.
async fn serve(tls: LiveTls, layer: Authenticate) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = Acceptor::new(tls).with_handshake_timeout(Duration::from_millis(500));
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let (acceptor, layer) = (acceptor.clone(), layer.clone());
            tokio::spawn(async move {
                let Ok((stream, peer)) = acceptor.accept(stream).await else {
                    return;
                };
                let service = layer.layer(service_fn(who));
                let service = OnConnection::new(service)
                    .with_address(from)
                    .with_peer(peer.clone());
                let service = TowerToHyperService::new(service);
                let builder = hyper::server::conn::http1::Builder::new();
                let serving = builder.serve_connection(TokioIo::new(stream), service);
                let _ = UntilDistrusted::new(serving, &peer).await;
            });
        }
    });
    address
}

async fn who(request: Request<hyper::body::Incoming>) -> Result<Response<String>, Infallible> {
    let caller = request.extensions().get::<Caller>().unwrap();
    let by = [Credential::Token, Credential::Certificate].map(|kind| caller.has(kind));
    let claims = ["client-cert", "x-forwarded-client-cert"];
    assert!(
        claims
            .iter()
            .all(|name| !request.headers().contains_key(*name))
    );
    Ok(Response::new(format!(
        "{} {by:?}",
        caller.service_id().as_str()
    )))
}

type Client = SendRequest<Empty<Bytes>>;

async fn connect(tls: &LiveTls, address: SocketAddr) -> std::io::Result<Client> {
    let connector = tls
        .connector(ExpectedPeer::service(service(ORDERS)))
        .unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = "orders.internal".try_into().unwrap();
    let stream = TlsConnector::from(connector.config())
        .connect(name, stream)
        .await?;
    let shake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (client, connection) = shake.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(client)
}

/// The status and the body, or that the connection is gone.
async fn ask(
    client: &mut Client,
    token: Option<&str>,
    headers: &[(&str, &str)],
) -> Option<(u16, String)> {
    let mut request = Request::get("/orders/17").header("host", "orders.internal");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.ready().await.ok()?;
    let response = client
        .send_request(request.body(Empty::new()).unwrap())
        .await
        .ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

fn bound(world: &World, to: &Certificate) -> String {
    let request = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300));
    world.mint(&request.with_certificate_binding(*to.thumbprint()))
}

fn layer(world: &World, tls: &LiveTls) -> Authenticate {
    world.layer_of(
        world
            .bearer()
            .with_peers(tls.clone(), Freshness::in_process()),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_001_a_peer_is_known_by_its_certificate_and_a_token_is_bound_to_it() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let address = serve(orders.clone(), layer(&world, &orders)).await;
    let (billing, own) = pki.machine(BILLING);
    let mut client = connect(&billing, address).await.unwrap();
    let by_certificate = Some((200, format!("{BILLING} [false, true]")));
    let by_both = Some((200, format!("{BILLING} [true, true]")));
    assert_eq!(ask(&mut client, None, &[]).await, by_certificate);
    assert_eq!(
        ask(&mut client, Some(&bound(&world, &own)), &[]).await,
        by_both
    );
    assert_eq!(ask(&mut client, Some(&world.token()), &[]).await, by_both);

    // jwt_071: another certificate of the same machine, and of another machine.
    let (again, other) = pki.machine(BILLING);
    let refused = ask(&mut client, Some(&bound(&world, &other)), &[])
        .await
        .unwrap();
    assert_eq!(refused.0, 401);
    let mut client = connect(&again, address).await.unwrap();
    assert_eq!(
        ask(&mut client, Some(&bound(&world, &other)), &[]).await,
        by_both
    );
    let (shop, _) = pki.machine(SHOP);
    let mut client = connect(&shop, address).await.unwrap();
    for token in [bound(&world, &own), world.token()] {
        assert_eq!(ask(&mut client, Some(&token), &[]).await.unwrap().0, 401);
    }
    assert_eq!(ask(&mut client, None, &[]).await.unwrap().0, 403);

    // An authority of another make: no handshake.
    let (stranger, _) = Pki::new(&world.clock).machine(BILLING);
    assert!(connect(&stranger, address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pki_061_an_open_connection_ends_when_its_peer_is_revoked_and_no_new_one_begins() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let address = serve(orders.clone(), layer(&world, &orders)).await;
    let ((billing, revoked), (again, _)) = (pki.machine(BILLING), pki.machine(BILLING));
    let mut client = connect(&billing, address).await.unwrap();
    let mut other = connect(&again, address).await.unwrap();
    assert_eq!(ask(&mut client, None, &[]).await.unwrap().0, 200);
    assert_eq!(ask(&mut other, None, &[]).await.unwrap().0, 200);
    assert_eq!(orders.connections(), 2);

    let crl = pki.crl(&revoked);
    let updated = orders.update(|material| material.set_crl(crl)).unwrap();
    assert_eq!(updated.closed, 1);
    assert_eq!(ask(&mut client, None, &[]).await, None);
    assert_eq!(ask(&mut other, None, &[]).await.unwrap().0, 200);
    // pki_062: neither anew nor by a session of before.
    let anew = connect(&billing, address).await;
    let answer = match anew {
        Ok(mut client) => ask(&mut client, None, &[]).await,
        Err(_) => None,
    };
    assert_eq!(answer, None);
    // From the second after it expires, without anybody having looked.
    let later = revoked.not_after().saturating_add(Duration::from_secs(1));
    world.clock.set(later);
    assert_eq!(ask(&mut other, None, &[]).await.unwrap().0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn net_004_a_forwarded_identity_counts_from_a_proxy_that_its_own_certificate_proves() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let (client_leaf, _) = pki.leaf(BILLING);
    let encoded = format!(":{}:", STANDARD.encode(client_leaf.der()));
    let pem: String = client_leaf
        .to_pem()
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let xfcc = format!("By={ORDERS};Hash=00;URI={SHOP};Cert=\"{pem}\"");
    let forms = [
        (ForwardedForm::ClientCert, "client-cert", encoded.as_str()),
        (
            ForwardedForm::ForwardedClientCert,
            "x-forwarded-client-cert",
            xfcc.as_str(),
        ),
    ];
    for (form, name, value) in forms {
        let expected = ExpectedPeer::member_of("example.org".parse().unwrap());
        let verifier = ChainVerifier::new(expected, rule());
        let bundles = Arc::new(Live::new(pki.bundles()));
        let crls = Arc::new(Live::new(CrlSet::new()));
        let proxies = TrustedProxies::new(form, verifier, bundles, crls).with_proxy(service(PROXY));
        let layer = layer(&world, &orders).behind(proxies);
        let address = serve(orders.clone(), layer).await;

        let (proxy, proxys) = pki.machine(PROXY);
        let mut client = connect(&proxy, address).await.unwrap();
        // The name comes from the certificate, and not from what is said about it.
        let forwarded = Some((200, format!("{BILLING} [false, true]")));
        assert_eq!(ask(&mut client, None, &[(name, value)]).await, forwarded);
        let token = bound(&world, &client_leaf);
        assert_eq!(
            ask(&mut client, Some(&token), &[(name, value)])
                .await
                .unwrap()
                .0,
            200
        );
        // The proxy itself is nobody's client, and what is bound to it is not theirs.
        assert_eq!(ask(&mut client, None, &[]).await.unwrap().0, 401);
        assert_eq!(ask(&mut client, Some(&token), &[]).await.unwrap().0, 401);
        let its = bound(&world, &proxys);
        assert_eq!(
            ask(&mut client, Some(&its), &[(name, value)])
                .await
                .unwrap()
                .0,
            401
        );
        let (twice, garbage) = ([(name, value), (name, value)], [(name, "x")]);
        assert_eq!(ask(&mut client, None, &twice).await.unwrap().0, 400);
        assert_eq!(ask(&mut client, None, &garbage).await.unwrap().0, 400);
        // A certificate of somebody else's making.
        let (foreign, _) = Pki::new(&world.clock).leaf(BILLING);
        let foreign = match form {
            ForwardedForm::ClientCert => format!(":{}:", STANDARD.encode(foreign.der())),
            _ => format!(
                "Cert=\"{}\"",
                foreign.to_pem().replace('\n', "%0A").replace(' ', "%20")
            ),
        };
        assert_eq!(
            ask(&mut client, None, &[(name, &foreign)]).await.unwrap().0,
            401
        );

        // From the same address, by a machine that is no proxy: its own certificate counts.
        let (shop, _) = pki.machine(SHOP);
        let mut client = connect(&shop, address).await.unwrap();
        assert_eq!(
            ask(&mut client, None, &[(name, value)]).await.unwrap().0,
            403
        );
        assert_eq!(
            ask(&mut client, Some(&token), &[(name, value)])
                .await
                .unwrap()
                .0,
            401
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_003_clients_that_say_nothing_keep_nobody_waiting_and_are_dropped() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine(ORDERS);
    let address = serve(orders.clone(), layer(&world, &orders)).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let (billing, _) = pki.machine(BILLING);
    let mut client = connect(&billing, address).await.unwrap();
    assert_eq!(ask(&mut client, None, &[]).await.unwrap().0, 200);
    for stream in silent {
        let mut byte = [0];
        stream.readable().await.unwrap();
        assert!(
            matches!(stream.try_read(&mut byte), Ok(0) | Err(_)),
            "it was not dropped"
        );
    }
    assert_eq!(ask(&mut client, None, &[]).await.unwrap().0, 200);
}
