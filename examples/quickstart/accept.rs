//! The loop that accepts connections by mutual TLS and serves a router on each, for as long as its client
//! is trusted.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use m2m_tower::{AcceptError, Acceptor, OnConnection, UntilDistrusted};
use tokio::net::TcpListener;

/// Serves `router` until the listener fails. Who sends its head byte by byte has `head` for it; `refused`
/// hears of handshakes that came to nothing.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    router: Router,
    head: Duration,
    refused: impl Fn(AcceptError) + Send + Sync + 'static,
) {
    let refused = Arc::new(refused);
    while let Ok((stream, from)) = listener.accept().await {
        let (acceptor, router, refused) = (acceptor.clone(), router.clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            // Small answers go out at once.
            let _ = stream.set_nodelay(true);
            let (stream, peer) = match acceptor.accept(stream).await {
                Ok(accepted) => accepted,
                Err(error) => return refused(error),
            };
            let service = OnConnection::new(router)
                .with_address(from)
                .with_peer(peer.clone());
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(head);
            let service = TowerToHyperService::new(service);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            let _ = UntilDistrusted::new(serving, &peer).await;
        });
    }
}
