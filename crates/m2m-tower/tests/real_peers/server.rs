//! The server under test: a router of axum behind the layer, over mutual TLS, with tokens that are bound to
//! certificates; and the keys of our issuer, published over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use m2m_guard::{AllowList, Caller, Credential, Freshness, Grant, Guard, Resources};
use m2m_revoke::Revocations;
use m2m_token::{Audience, Issuers, TokenType, Verifier};
use m2m_tower::{Acceptor, Authenticate, OnConnection, Published, TrustedProxies, UntilDistrusted};
use tokio::net::TcpListener;

use crate::world::{BILLING, ISSUER, ORDERS, SHOP, World, service};

/// What operators were told.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// What was said since it was asked last.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    /// How many connections there were.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    /// Takes tokens of our issuer alone.
    pub(crate) async fn start(world: &World) -> Self {
        Self::start_with(world, ours(world), None).await
    }

    /// Takes the tokens of `issuers`, and believes `proxies` whom they forward.
    pub(crate) async fn start_with(
        world: &World,
        issuers: Issuers,
        proxies: Option<TrustedProxies>,
    ) -> Self {
        let log = Log::default();
        let tls = world.tls("orders", &log);
        let orders = || Grant::new("GET", Resources::under("/orders").unwrap());
        let allowed = AllowList::new()
            .allow(&service(BILLING), orders())
            .allow(&service(SHOP), orders());
        let tokens = Verifier::builder(
            issuers,
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        );
        let revocations = Arc::new(Revocations::new([7; 16], world.now()));
        let guard = Guard::builder(allowed)
            .with_bound_tokens(tokens, Freshness::in_process())
            .with_peers(tls.clone(), Freshness::in_process())
            .with_revocations(revocations, Freshness::in_process())
            .requiring(Credential::Token)
            .requiring(Credential::Certificate)
            .build()
            .unwrap();
        let lines = log.clone();
        let mut layer = Authenticate::new(Arc::new(guard), world.clock())
            .with_observer(move |refused, _| lines.add(format!("{}: {refused}", refused.code())));
        if let Some(proxies) = proxies {
            layer = layer.behind(proxies);
        }
        let router = Router::new()
            .route("/orders/{id}", get(order))
            .route("/customers", get(order))
            .layer(layer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(accept(listener, Acceptor::new(tls), router, counted));
        Self {
            address,
            log,
            connections,
        }
    }
}

pub(crate) fn ours(world: &World) -> Issuers {
    Issuers::one(ISSUER, world.ring.verifying_keys())
}

async fn order(request: Request) -> String {
    let caller: &Caller = request.extensions().get().unwrap();
    // Whom a stranger names never comes this far.
    for claim in ["client-cert", "x-forwarded-client-cert"] {
        assert!(!request.headers().contains_key(claim));
    }
    format!("for {}\n", caller.service_id().as_str())
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
    connections: Arc<AtomicUsize>,
) {
    while let Ok((stream, from)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok((stream, peer)) = acceptor.accept(stream).await else {
                return;
            };
            let service = OnConnection::new(router)
                .with_address(from)
                .with_peer(peer.clone());
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30));
            let service = TowerToHyperService::new(service);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            let _ = UntilDistrusted::new(serving, &peer).await;
        });
    }
}

/// Serves the keys of our issuer at `/.well-known/jwks.json`; says where.
pub(crate) async fn publish_keys(world: &World) -> String {
    let keys = Published::jwk_set(&world.ring.jwk_set(), Duration::from_secs(60));
    let router = Router::new().route_service("/.well-known/jwks.json", keys);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/.well-known/jwks.json")
}
