//! A server and a client of tonic, with the guard between them, over mutual TLS.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::{Buf as _, BufMut as _};
use http::Request;
use hyper_util::rt::TokioIo;
use m2m_guard::{AllowList, Credential, Freshness, Grant, Guard, GuardBuilder, Resources};
use m2m_pki::Certificate;
use m2m_pki::tls::LiveTls;
use m2m_token::TokenRequest;
use m2m_tower::{Acceptor, ServeLimits, Server};
use support::pki::Pki;
use support::serving::*;
use support::*;
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::service_fn;

const H2: &[&[u8]] = &[b"h2"];
const READ: &str = "/orders.Orders/Read";
const WATCH: &str = "/orders.Orders/Watch";
const CUSTOMERS: &str = "/customers.Customers/Read";

/// Messages of text: what generated code does for messages of protobuf.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some)
            .map_err(|_| Status::invalid_argument("not text"))
    }
}

async fn read(request: tonic::Request<String>) -> Result<tonic::Response<String>, Status> {
    let caller = request.extensions().get::<m2m_guard::Caller>();
    let caller = caller.ok_or_else(|| Status::internal("nobody called"))?;
    let name = caller.service_id().as_str().to_owned();
    let text = format!("{} for {name}", request.into_inner());
    Ok(tonic::Response::new(text))
}

/// One message at once, and no end.
async fn watch(
    _: tonic::Request<String>,
) -> Result<tonic::Response<impl tokio_stream::Stream<Item = Result<String, Status>>>, Status> {
    let first = tokio_stream::once(Ok("first".to_owned()));
    Ok(tonic::Response::new(first.chain(tokio_stream::pending())))
}

fn router() -> Router {
    let read = service_fn(async |request: Request<Body>| {
        let mut server = tonic::server::Grpc::new(Text);
        Ok::<_, std::convert::Infallible>(server.unary(service_fn(read), request).await)
    });
    let watch = service_fn(async |request: Request<Body>| {
        let mut server = tonic::server::Grpc::new(Text);
        Ok::<_, std::convert::Infallible>(server.server_streaming(service_fn(watch), request).await)
    });
    Router::new()
        .route_service(READ, read)
        .route_service(CUSTOMERS, read)
        .route_service(WATCH, watch)
}

struct Setting {
    world: World,
    pki: Pki,
    orders: LiveTls,
    running: Running,
}

impl Setting {
    /// Billing may call what is of orders, with a token and a certificate.
    async fn new(change: impl FnOnce(GuardBuilder, &World) -> GuardBuilder) -> Self {
        let world = World::new();
        let pki = Pki::new(&world.clock);
        let (orders, _) = pki.machine_that_speaks(ORDERS, H2);
        let grant = Grant::new("POST", Resources::under("/orders.Orders").unwrap());
        let guard = Guard::builder(AllowList::new().allow(&service(BILLING), grant))
            .with_bound_tokens(world.verifier(), Freshness::in_process())
            .with_peers(orders.clone(), Freshness::in_process())
            .with_revocations(world.revocations.clone(), Freshness::in_process())
            .requiring(Credential::Token)
            .requiring(Credential::Certificate);
        let layer = world.layer_of(change(guard, &world));
        let server = Server::mutual_tls(Acceptor::new(orders.clone()), ServeLimits::new());
        let running = Running::start(server, router().layer(layer)).await;
        Self {
            world,
            pki,
            orders,
            running,
        }
    }

    /// A client of tonic, its certificate, and a token that is bound to it.
    async fn client(&self, name: &str) -> (Client, Certificate) {
        let (machine, certificate) = self.pki.machine_that_speaks(name, H2);
        let token = TokenRequest::new(name, ORDERS, Duration::from_secs(300))
            .with_certificate_binding(*certificate.thumbprint());
        let token = self.world.mint(&token);
        let channel = channel(machine, self.running.address).await.unwrap();
        (Client { channel, token }, certificate)
    }
}

async fn channel(
    machine: LiveTls,
    address: SocketAddr,
) -> Result<Channel, tonic::transport::Error> {
    let connector = service_fn(move |_: http::Uri| {
        let machine = machine.clone();
        async move { tls(&machine, address).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://orders.internal")
        .connect_with_connector(connector)
        .await
}

struct Client {
    channel: Channel,
    token: String,
}

impl Client {
    fn request(tokens: &[&str]) -> tonic::Request<String> {
        let mut request = tonic::Request::new("17".to_owned());
        for token in tokens {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().append("authorization", value);
        }
        request
    }

    async fn call(&self, path: &'static str, tokens: &[&str]) -> Result<String, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .map_err(|error| Status::aborted(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = client.unary(Self::request(tokens), path, Text).await?;
        Ok(answer.into_inner())
    }

    async fn refused(&self, path: &'static str, tokens: &[&str]) -> (Code, String) {
        let status = self.call(path, tokens).await.unwrap_err();
        (status.code(), status.message().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_is_answered_and_told_why_not_in_statuses_of_grpc() {
    let setting = Setting::new(|guard, _| guard).await;
    let (billing, _) = setting.client(BILLING).await;
    let good = billing.token.as_str();
    let answer = billing.call(READ, &[good]).await.unwrap();
    assert_eq!(answer, format!("17 for {BILLING}"));

    let invalid = (Code::Unauthenticated, "invalid_token".to_owned());
    // A certificate alone is not enough, and what is missing is no error of it (RFC 6750 §3.1).
    let lacking = (Code::Unauthenticated, "unauthorized".to_owned());
    assert_eq!(billing.refused(READ, &[]).await, lacking);
    assert_eq!(billing.refused(READ, &["a.b.c"]).await, invalid);
    let (again, _) = setting.client(BILLING).await;
    assert_eq!(billing.refused(READ, &[&again.token]).await, invalid);
    let (shop, _) = setting.client("spiffe://example.org/shop").await;
    assert_eq!(shop.refused(READ, &[good]).await, invalid);
    let forbidden = (Code::PermissionDenied, "forbidden".to_owned());
    assert_eq!(billing.refused(CUSTOMERS, &[good]).await, forbidden);
    assert_eq!(shop.refused(READ, &[&shop.token]).await, forbidden);
    let twice = billing.refused(READ, &[good, good]).await;
    assert_eq!(twice, (Code::InvalidArgument, "invalid_request".into()));
    // What the guard lets through and nobody serves.
    let unknown = billing.refused("/orders.Orders/Write", &[good]).await;
    assert_eq!(unknown.0, Code::Unimplemented);
    assert!(billing.call(READ, &[good]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonic_is_told_that_now_it_is_not_known() {
    let stale = |guard: GuardBuilder, world: &World| {
        let never = Freshness::within(Duration::ZERO, |_| None);
        guard.with_bound_tokens(world.verifier(), never)
    };
    let setting = Setting::new(stale).await;
    let (billing, _) = setting.client(BILLING).await;
    let refused = billing.refused(READ, &[&billing.token]).await;
    assert_eq!(refused, (Code::Unavailable, "unavailable".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pki_061_a_stream_of_tonic_ends_when_its_peer_is_revoked() {
    let setting = Setting::new(|guard, _| guard).await;
    let (billing, certificate) = setting.client(BILLING).await;
    let mut client = tonic::client::Grpc::new(billing.channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(WATCH);
    let request = Client::request(&[&billing.token]);
    let answer = client.server_streaming(request, path, Text).await.unwrap();
    let mut stream = answer.into_inner();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));

    let crl = setting.pki.crl(&certificate);
    let updated = setting.orders.update(|material| material.set_crl(crl));
    assert_eq!(updated.unwrap().closed, 1);
    let next = tokio::time::timeout(PATIENCE, stream.message()).await;
    assert!(next.expect("it ends").is_err());
    // The client connects anew by itself, and is not taken.
    let refused = tokio::time::timeout(PATIENCE, billing.call(READ, &[&billing.token])).await;
    assert!(refused.expect("it is told").is_err());
    let counts = setting.running.server.counts();
    assert_eq!((counts.distrusted, counts.requests), (1, 1));
}
