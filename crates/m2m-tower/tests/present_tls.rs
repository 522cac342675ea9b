//! From a client's layer over mutual TLS to a handler of axum, while everything on the way is replaced.
#![cfg(all(feature = "present", feature = "tls", feature = "secrets"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_guard::{
    AllowList, Caller, CallerSecrets, Credential, Freshness, Grant, Guard, HttpCallers, Resources,
};
use m2m_pki::tls::{Identity, LiveTls};
use m2m_pki::{Certificate, ExpectedPeer};
use m2m_secrets::{
    HttpSignatureKey, HttpSignaturePolicy, HttpSigningKey, ReplayMemory, RequestKey, Ring,
    SecretName, SecretVersion, SharedSecret, TimeWindow,
};
use m2m_token::{Minter, TokenType};
use m2m_tower::{
    Acceptor, Authenticate, ClientError, MintSource, MintSourceError, NotSent, OnConnection,
    Origin, OriginClient, Present, PresentError, RefreshEvent, Refresher, RequestSigner,
    SignRequests, SignedRequests, Tokens, UntilDistrusted,
};
use m2m_types::{Live, ManualClock};
use support::pki::Pki;
use support::*;
use tokio::net::TcpListener;
use tower::{Layer as _, Service as _, ServiceExt as _};

const SHOP: &str = "spiffe://example.org/shop";

/// A service that takes bound tokens over the connection they are bound to, and signed requests.
struct Orders {
    world: World,
    pki: Pki,
    tls: LiveTls,
    leaf: Certificate,
    origin: Origin,
    secret: SharedSecret,
    ring: Arc<Live<Ring<RequestKey>>>,
    told: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Orders {
    async fn new() -> Self {
        let world = World::new();
        let pki = Pki::new(&world.clock);
        let (tls, leaf) = pki.machine(ORDERS);
        let secret = SharedSecret::generate(&SystemRandom).unwrap();
        let (name, first) = (SecretName::new("billing").unwrap(), SecretVersion::FIRST);
        let versions = [(first, &secret)];
        let ring = Ring::fixed_with(&name, versions, first, now(), RequestKey::derive).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let orders = Self {
            origin: Origin::parse(&format!("https://{address}")).unwrap(),
            world,
            pki,
            tls,
            leaf,
            secret,
            ring: Arc::new(Live::new(ring)),
            told: Arc::default(),
            connections: Arc::default(),
        };
        orders.serve(listener, address);
        orders
    }

    fn guard(&self) -> Guard {
        let all = || Resources::under("/orders").unwrap();
        let allowed = AllowList::new()
            .allow(&service(BILLING), Grant::new("GET", all()))
            .allow(&service(BILLING), Grant::new("POST", all()));
        let memory = || {
            let memory = ReplayMemory::new(10_000, TimeWindow::FIVE_MINUTES, &SystemRandom);
            Arc::new(memory.unwrap())
        };
        let policy = HttpSignaturePolicy::new(&["@method", "@path"], memory()).unwrap();
        let sharers = CallerSecrets::new()
            .with_ring(service(BILLING), Arc::clone(&self.ring))
            .unwrap();
        let key = HttpSignatureKey::secret(&self.secret).unwrap();
        let callers = HttpCallers::new()
            .with_key(service(BILLING), "billing.1", key)
            .unwrap();
        Guard::builder(allowed)
            .with_bound_tokens(self.world.verifier(), Freshness::in_process())
            .with_peers(self.tls.clone(), Freshness::in_process())
            .with_http_signatures(Arc::new(Live::new(callers)), policy)
            .with_signed_requests(Arc::new(Live::new(sharers)), memory())
            .with_revocations(Arc::clone(&self.world.revocations), Freshness::in_process())
            .requiring(Credential::Token)
            .build()
            .unwrap()
    }

    fn serve(&self, listener: TcpListener, address: SocketAddr) {
        let told = Arc::clone(&self.told);
        let clock = Arc::<ManualClock>::clone(&self.world.clock);
        let authority = address.to_string();
        let layer = Authenticate::new(Arc::new(self.guard()), clock)
            .with_observer(move |refused, _| told.lock().unwrap().push(refused.to_string()))
            .with_signed_requests(SignedRequests::to([authority.as_str()]));
        let router = Router::new().fallback(any(echo)).layer(layer);
        let acceptor = Acceptor::new(self.tls.clone()).with_handshake_timeout(DEADLINE);
        let connections = Arc::clone(&self.connections);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (acceptor, router) = (acceptor.clone(), router.clone());
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok((stream, peer)) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = OnConnection::new(router)
                        .with_address(from)
                        .with_peer(peer.clone());
                    let service = TowerToHyperService::new(service);
                    let builder = hyper::server::conn::http1::Builder::new();
                    let serving = builder.serve_connection(TokioIo::new(stream), service);
                    let _ = UntilDistrusted::new(serving, &peer).await;
                });
            }
        });
    }

    /// A machine of that name, and the tokens for what it calls.
    fn machine(&self, name: &str) -> Machine {
        let (tls, _) = self.pki.machine(name);
        let ring = Arc::clone(&self.world.ring);
        let minter = Minter::new(ISSUER, TokenType::access_token(), ring).unwrap();
        let lifetime = Duration::from_secs(300);
        let source = MintSource::new(Arc::new(minter), name, lifetime, Arc::new(SystemRandom));
        let events = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&events);
        let clock = Arc::<ManualClock>::clone(&self.world.clock);
        let refresher = Refresher::new(source, ORDERS, clock)
            .bound_to_certificate_of(tls.clone())
            .with_observer(move |event| keep.lock().unwrap().push(event.clone()));
        let tokens = refresher.tokens();
        Machine {
            refreshing: tokio::spawn(refresher.run()),
            tls,
            tokens,
            events,
        }
    }

    fn client(&self, machine: &Machine) -> OriginClient<Full<Bytes>> {
        let expected = ExpectedPeer::service(service(ORDERS));
        let clock = Arc::<ManualClock>::clone(&self.world.clock);
        OriginClient::new(&machine.tls, expected, self.origin.clone(), clock)
            .unwrap()
            .with_limits(OriginClient::<Full<Bytes>>::REQUESTS, DEADLINE)
    }

    fn present(&self, machine: &Machine) -> Present {
        let clock = Arc::<ManualClock>::clone(&self.world.clock);
        Present::new(clock).with_tokens(self.origin.clone(), machine.tokens.clone())
    }

    fn request(&self, method: &str, target: &str, content: &'static str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.origin))
            .body(Full::from(content))
            .unwrap()
    }

    /// Replaces the certificate of a machine, and its key.
    fn renew(&self, machine: &Machine, name: &str) {
        let (leaf, key) = self.pki.leaf(name);
        let identity = Identity::new(vec![leaf], key).unwrap();
        machine
            .tls
            .update(|material| {
                material.set_identity(identity);
                Ok(())
            })
            .unwrap();
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

struct Machine {
    tls: LiveTls,
    tokens: Tokens,
    refreshing: tokio::task::JoinHandle<std::convert::Infallible>,
    events: Arc<Mutex<Vec<RefreshEvent<MintSourceError>>>>,
}

async fn echo(request: Request<Body>) -> String {
    let caller = request.extensions().get::<Caller>().cloned().unwrap();
    let kinds = [
        Credential::Token,
        Credential::Certificate,
        Credential::Signature,
    ];
    let by = kinds.map(|kind| caller.has(kind));
    let name = caller.service_id().as_str().to_owned();
    let content = request.into_body().collect().await.unwrap().to_bytes();
    format!("{name} {by:?} {content:?}")
}

async fn told(
    response: http::Response<m2m_tower::ClientBody<Full<Bytes>>>,
) -> (StatusCode, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_comes_with_a_bound_token_over_the_connection_that_it_is_bound_to() {
    let orders = Orders::new().await;
    let billing = orders.machine(BILLING);
    billing.tokens.ready().await;
    let client = orders.present(&billing).layer(orders.client(&billing));
    for _ in 0..3 {
        let request = orders.request("GET", "/orders/17", "");
        let response = client.clone().oneshot(request).await.unwrap();
        let expected = format!("{BILLING} [true, true, false] b\"\"");
        assert_eq!(told(response).await, (StatusCode::OK, expected));
    }
    // One connection was enough for all of them.
    assert_eq!(orders.connections.load(Ordering::Relaxed), 1);

    // What goes elsewhere goes nowhere, by the layer as by the client.
    let elsewhere = Request::get("https://localhost/orders/17")
        .body(Full::from(""))
        .unwrap();
    let refused = client.clone().oneshot(elsewhere.clone()).await;
    let refused = refused.map(|_| ()).unwrap_err();
    assert_eq!(refused, PresentError::NotSent(NotSent::OtherOrigin));
    let refused = orders.client(&billing).oneshot(elsewhere).await;
    assert!(matches!(refused, Err(ClientError::OtherOrigin { .. })));

    // Somebody else's service at that place: no handshake, and so no token.
    let (shop, _) = orders.pki.machine(SHOP);
    let clock = Arc::<ManualClock>::clone(&orders.world.clock);
    let expected = ExpectedPeer::service(service(SHOP));
    let wrong: OriginClient<Full<Bytes>> =
        OriginClient::new(&shop, expected, orders.origin.clone(), clock).unwrap();
    let wrong = orders.present(&billing).layer(wrong);
    let failed = wrong.oneshot(orders.request("GET", "/orders/17", "")).await;
    let failed = failed.map(|_| ()).unwrap_err();
    let is_handshake = matches!(&failed, PresentError::Inner(ClientError::Handshake(_)));
    assert!(is_handshake, "{failed}");
    assert_eq!(*orders.told.lock().unwrap(), [""; 0]);

    // A token that was bound to another machine's certificate does not help who took it.
    let thief = orders.machine(SHOP);
    let stolen = Present::new(Arc::<ManualClock>::clone(&orders.world.clock))
        .with_tokens(orders.origin.clone(), billing.tokens.clone());
    let bare = ThiefsClient(orders.client(&thief));
    let response = stolen
        .layer(tower::service_fn(move |request| {
            let mut bare = bare.clone();
            async move { bare.call(request).await }
        }))
        .oneshot(orders.request("GET", "/orders/17", ""))
        .await
        .unwrap();
    assert_eq!(told(response).await.0, StatusCode::UNAUTHORIZED);
}

/// Sends the token that it was given, whatever the connection shows.
#[derive(Clone)]
struct ThiefsClient(OriginClient<Full<Bytes>>);

impl ThiefsClient {
    async fn call(
        &mut self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<http::Response<m2m_tower::ClientBody<Full<Bytes>>>, ClientError> {
        request.extensions_mut().clear();
        self.0.call(request).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_keys_and_certificates_are_replaced_under_calls_and_none_is_refused() {
    const CALLERS: usize = 4;
    const RENEWALS: usize = 12;
    let orders = Arc::new(Orders::new().await);
    let billing = Arc::new(orders.machine(BILLING));
    billing.tokens.ready().await;
    let client = orders.present(&billing).layer(orders.client(&billing));
    let (made, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let (orders, client) = (Arc::clone(&orders), client.clone());
        let (made, done) = (Arc::clone(&made), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            let mut calls = 0;
            while done.load(Ordering::Relaxed) == 0 {
                let request = orders.request("POST", &format!("/orders/{caller}"), "apples");
                let response = client.clone().oneshot(request).await.unwrap();
                let (status, saw) = told(response).await;
                assert_eq!(status, StatusCode::OK, "{saw}");
                made.fetch_add(1, Ordering::Relaxed);
                calls += 1;
            }
            calls
        }));
    }
    for renewal in 0..RENEWALS {
        let before = made.load(Ordering::Relaxed);
        orders.renew(&billing, BILLING);
        orders.world.clock.advance(Duration::from_secs(1));
        if renewal % 3 == 0 {
            // The key that signs tokens too.
            let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
            let now = m2m_types::Clock::now(&*orders.world.clock).unwrap();
            let kid = orders.world.ring.publish(key, now).unwrap();
            // In this process every verifier knows it at once.
            orders.world.ring.activate(&kid, now).unwrap();
            billing.tokens.refresh();
        }
        if renewal % 2 == 0 {
            // Otherwise the next certificate comes before the token for this one, perhaps.
            let current = *billing.tls.material().identity().certificate().thumbprint();
            eventually_bound(&billing, &current).await;
        }
        let begun = std::time::Instant::now();
        while made.load(Ordering::Relaxed) < before + 2 * CALLERS {
            assert!(begun.elapsed() < 2 * DEADLINE, "calls do not go on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    done.store(1, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    let refused = orders.told.lock().unwrap().clone();
    assert_eq!(refused, [""; 0]);
    assert!(made.load(Ordering::Relaxed) >= 2 * CALLERS * RENEWALS);
    // There was one token for each certificate at least, and the connections were replaced.
    let events = billing.events.lock().unwrap().clone();
    let certificates: std::collections::HashSet<_> = events
        .iter()
        .map(|event| match event {
            RefreshEvent::Refreshed { certificate, .. } => certificate.unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    let current = *billing.tls.material().identity().certificate().thumbprint();
    assert!(certificates.len() > RENEWALS / 2 && certificates.len() <= RENEWALS + 1);
    assert!(orders.connections.load(Ordering::Relaxed) > RENEWALS / 2);

    // In the end everything shows the newest.
    eventually_bound(&billing, &current).await;
}

async fn eventually_bound(machine: &Machine, to: &m2m_crypto::CertificateThumbprint) {
    let begun = std::time::Instant::now();
    let is_it = |event: &RefreshEvent<_>| matches!(event, RefreshEvent::Refreshed { certificate, .. } if certificate.as_ref() == Some(to));
    while !machine.events.lock().unwrap().last().is_some_and(is_it) {
        assert!(
            begun.elapsed() < DEADLINE,
            "no token for the newest certificate"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_without_a_token_keeps_the_connections_that_are_open_and_opens_none() {
    let orders = Orders::new().await;
    let billing = orders.machine(BILLING);
    billing.tokens.ready().await;
    // From now on no token comes.
    billing.refreshing.abort();
    let client = orders
        .client(&billing)
        .with_limits(8, Duration::from_secs(5));
    let client = orders.present(&billing).layer(client);
    let call = || {
        client
            .clone()
            .oneshot(orders.request("GET", "/orders/17", ""))
    };
    assert_eq!(told(call().await.unwrap()).await.0, StatusCode::OK);
    orders.renew(&billing, BILLING);
    // The old token over the old connection.
    assert_eq!(told(call().await.unwrap()).await.0, StatusCode::OK);
    assert_eq!(orders.connections.load(Ordering::Relaxed), 1);
    // A second one at the same time needs a new connection, for which there is no token.
    let first = call().await.unwrap();
    let second = call().await.map(|_| ()).unwrap_err();
    assert!(
        matches!(second, PresentError::Inner(ClientError::Slow { .. })),
        "{second}"
    );
    drop(first);
    assert_eq!(*orders.told.lock().unwrap(), [""; 0]);
    // And when the last token has expired, nothing is sent at all.
    orders.world.clock.advance(Duration::from_secs(300));
    let expired = call().await.map(|_| ()).unwrap_err();
    let is_expired = matches!(expired, PresentError::NotSent(NotSent::Expired { .. }));
    assert!(is_expired, "{expired}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_post_with_a_bound_token_is_taken_and_not_with_another_key() {
    let orders = Orders::new().await;
    let billing = orders.machine(BILLING);
    billing.tokens.ready().await;
    let signer = |secret: &SharedSecret| {
        let key = HttpSigningKey::secret(secret).unwrap();
        RequestSigner::http("billing.1", key, &["content-type"]).unwrap()
    };
    let live = Arc::new(Live::new(signer(&orders.secret)));
    let clock = Arc::<ManualClock>::clone(&orders.world.clock);
    let sign = SignRequests::new(clock, Arc::new(SystemRandom))
        .with_signer(orders.origin.clone(), Arc::clone(&live))
        .with_content(1_000, DEADLINE);
    let client = orders
        .present(&billing)
        .layer(sign.layer(orders.client(&billing)));
    let post = |content: &'static str| {
        let mut request = orders.request("POST", "/orders/17?dry=1", content);
        let headers = request.headers_mut();
        headers.insert("content-type", "text/plain".parse().unwrap());
        client.clone().oneshot(request)
    };
    let expected = format!("{BILLING} [true, true, true] b\"two apples\"");
    for _ in 0..2 {
        let response = post("two apples").await.unwrap();
        assert_eq!(told(response).await, (StatusCode::OK, expected.clone()));
    }
    let empty = post("").await.unwrap();
    assert_eq!(told(empty).await.0, StatusCode::OK);
    // It is signed still when certificate and token are replaced.
    orders.renew(&billing, BILLING);
    let current = *billing.tls.material().identity().certificate().thumbprint();
    eventually_bound(&billing, &current).await;
    let response = post("two apples").await.unwrap();
    assert_eq!(told(response).await, (StatusCode::OK, expected.clone()));
    // In the compact form.
    live.store(RequestSigner::compact(Arc::clone(&orders.ring)));
    let response = post("two apples").await.unwrap();
    assert_eq!(told(response).await, (StatusCode::OK, expected));
    assert_eq!(told(post("").await.unwrap()).await.0, StatusCode::OK);
    assert_eq!(*orders.told.lock().unwrap(), [""; 0]);

    live.store(signer(&SharedSecret::generate(&SystemRandom).unwrap()));
    let response = post("two apples").await.unwrap();
    assert_eq!(told(response).await.0, StatusCode::UNAUTHORIZED);
    let refused = orders.told.lock().unwrap().clone();
    assert!(refused.len() == 1 && refused.iter().all(|why| why.starts_with("signature")));

    // What is not signed is not sent.
    let long: &'static str = "x".repeat(1_001).leak();
    let error = post(long).await.map(|_| ()).unwrap_err();
    let limit = 1_000;
    let inner = PresentError::NotSent(NotSent::ContentTooLong { limit });
    assert_eq!(error, PresentError::Inner(inner));
    // What has a signature already, and what goes elsewhere.
    for (uri, header, expected) in [
        (orders.origin.to_string(), "signature", None),
        (orders.origin.to_string(), "content-digest", None),
        (
            "https://evil.example/".to_owned(),
            "x",
            Some(NotSent::OtherOrigin),
        ),
    ] {
        let request = Request::post(uri).header(header, "x").body(Full::from(""));
        let alone = sign.layer(orders.client(&billing));
        let error = alone
            .oneshot(request.unwrap())
            .await
            .map(|_| ())
            .unwrap_err();
        let expected = expected.unwrap_or(NotSent::Credentials { header });
        assert_eq!(error, PresentError::NotSent(expected));
    }
    // Without the field that has to be covered.
    let bare = client
        .oneshot(orders.request("POST", "/orders/17", ""))
        .await;
    let error = bare.map(|_| ()).unwrap_err();
    let is_signing = |error: &NotSent| matches!(error, NotSent::HttpSign(_));
    assert!(matches!(&error, PresentError::Inner(PresentError::NotSent(why)) if is_signing(why)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_closed_is_replaced_and_one_to_a_revoked_service_is_not() {
    let orders = Orders::new().await;
    let billing = orders.machine(BILLING);
    billing.tokens.ready().await;
    let client = orders.present(&billing).layer(orders.client(&billing));
    for _ in 0..3 {
        let mut request = orders.request("POST", "/orders/17", "apples");
        let headers = request.headers_mut();
        headers.insert("connection", "close".parse().unwrap());
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(told(response).await.0, StatusCode::OK);
    }
    assert_eq!(orders.connections.load(Ordering::Relaxed), 3);
    let call = || {
        client
            .clone()
            .oneshot(orders.request("GET", "/orders/17", ""))
    };
    assert_eq!(told(call().await.unwrap()).await.0, StatusCode::OK);
    assert_eq!(billing.tls.connections(), 1);

    // The service's certificate is revoked: its connection ends, and no other begins.
    let crl = orders.pki.crl(&orders.leaf);
    let updated = billing.tls.update(|material| material.set_crl(crl));
    assert_eq!(updated.unwrap().closed, 1);
    let error = call().await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&error, PresentError::Inner(ClientError::Handshake(_))),
        "{error}"
    );
    assert_eq!(*orders.told.lock().unwrap(), [""; 0]);
}
