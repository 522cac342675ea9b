//! The service: a router of axum behind the layer, over mutual TLS.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Credential, Freshness, Grant, Guard, Resources};
use m2m_pki::tls::LiveTls;
use m2m_revoke::Revocations;
use m2m_token::{Audience, Issuers, SigningKeyRing, TokenType, Verifier};
use m2m_tower::{Acceptor, Authenticate, Identified, ServeLimits, Server};
use m2m_types::SystemClock;
use tokio::net::TcpListener;

use crate::{BILLING, ISSUER, ORDERS, Outcome, SHOP};

/// A server that runs, and what it told its operators.
pub(crate) struct Orders {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Orders {
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
        let server = Server::mutual_tls(Acceptor::new(tls), ServeLimits::new());
        tokio::spawn(async move { server.serve(listener, router, pending()).await });
        Ok(Self { address, log })
    }
}

async fn order(Identified(caller): Identified) -> String {
    format!("order 17 for {}", caller.service_id().as_str())
}
