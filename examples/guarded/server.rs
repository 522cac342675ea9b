//! The service: a router of axum behind the layer, over mutual TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Credential, Freshness, Grant, Guard, Resources};
use m2m_pki::tls::LiveTls;
use m2m_revoke::Revocations;
use m2m_token::{Audience, Issuers, SigningKeyRing, TokenType, Verifier};
use m2m_tower::{Acceptor, Authenticate, Identified, OnConnection, UntilDistrusted};
use m2m_types::SystemClock;
use tokio::net::TcpListener;

use crate::{BILLING, ISSUER, ORDERS, Outcome, SHOP};

/// A server that runs, and what it told its operators.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start(
        tls: LiveTls,
        ring: &Arc<SigningKeyRing>,
        revocations: &Arc<Revocations>,
        clock: Arc<SystemClock>,
    ) -> Outcome<Self> {
        let orders = || Grant::new("GET", Resources::exactly("/orders/17"));
        let allowed = AllowList::new()
            .allow(&BILLING.parse()?, orders())
            .allow(&SHOP.parse()?, orders());
        let tokens = Verifier::builder(
            Issuers::one(ISSUER, ring.verifying_keys()),
            Audience::exactly(ORDERS),
            TokenType::access_token(),
        )
        .with_cache(1 << 20, &SystemRandom)?;
        let guard = Guard::builder(allowed)
            .with_bound_tokens(tokens, Freshness::in_process())
            .with_peers(tls.clone(), Freshness::in_process())
            .with_revocations(Arc::clone(revocations), Freshness::in_process())
            .requiring(Credential::Token)
            .requiring(Credential::Certificate)
            .build()?;

        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let layer = Authenticate::new(Arc::new(guard), clock).with_observer(move |refused, _| {
            if let Ok(mut lines) = lines.lock() {
                lines.push(format!("{}: {refused}", refused.code()));
            }
        });
        let router = Router::new()
            .route("/orders/{id}", get(order))
            .route("/customers", get(order))
            .layer(layer);

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(accept(listener, Acceptor::new(tls), router));
        Ok(Self { address, log })
    }
}

async fn order(Identified(caller): Identified) -> String {
    format!("order 17 for {}", caller.service_id().as_str())
}

async fn accept(listener: TcpListener, acceptor: Acceptor, router: Router) {
    while let Ok((stream, from)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok((stream, peer)) = acceptor.accept(stream).await else {
                return;
            };
            let service = OnConnection::new(router)
                .with_address(from)
                .with_peer(peer.clone());
            let mut builder = hyper::server::conn::http1::Builder::new();
            // Who sends its head byte by byte does not stay for ever.
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5));
            let service = TowerToHyperService::new(service);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            let _ = UntilDistrusted::new(serving, &peer).await;
        });
    }
}
