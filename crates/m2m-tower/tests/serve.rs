//! A server on loopback: both versions, every limit, and its end.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as AxumRequest;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use m2m_guard::Freshness;
use m2m_pki::ExpectedPeer;
use m2m_pki::tls::LiveTls;
use m2m_tower::{
    Acceptor, Drained, PeerAddress, ServeCounts, ServeError, ServeLimits, ServedBody, Server,
};
use support::pki::Pki;
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
/// Longer than anything takes here, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(300);

/// A server that runs.
struct Running {
    server: Server,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<Drained, ServeError>>,
}

impl Running {
    async fn start(server: Server, router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.clone();
        let ended = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            running.serve(listener, router, until).await
        });
        let stop = Some(stop);
        Self {
            server,
            address,
            stop,
            ended,
        }
    }

    async fn plain(limits: ServeLimits) -> Self {
        Self::start(Server::plain_on_loopback(limits), router()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Waits until the counts are as `expected` says.
    async fn until(&self, what: &str, expected: impl Fn(&ServeCounts) -> bool) {
        let begun = std::time::Instant::now();
        while !expected(&self.server.counts()) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.server.counts()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(mut self) -> Drained {
        let _ = self.stop.take().unwrap().send(());
        let ended = tokio::time::timeout(PATIENCE, self.ended).await;
        ended.expect("it ends").unwrap().unwrap()
    }
}

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "here" }))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/panic", get(panics))
        .route("/endless", get(endless))
        .route("/hangs", get(|| std::future::pending::<&'static str>()))
        .route(
            "/version",
            get(|request: AxumRequest| async move { format!("{:?}", request.version()) }),
        )
}

async fn panics() -> &'static str {
    panic!("a bug in a service")
}

/// More than any buffer takes.
async fn endless() -> Body {
    Body::new(Endless(Bytes::from(vec![b'x'; 64 << 10])))
}

struct Endless(Bytes);

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// Asks in the form of HTTP/1.1, and reads until the answer is complete.
async fn ask<I: AsyncRead + AsyncWrite + Unpin>(stream: &mut I, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).await.ok()?;
        answer.extend_from_slice(piece.get(..count)?);
        let text = String::from_utf8(answer.clone()).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if count == 0 {
                return None;
            }
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        if body.len() >= length.1.parse().ok()? {
            return Some(text);
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

async fn is_served<I: AsyncRead + AsyncWrite + Unpin>(stream: &mut I) -> bool {
    let answer = ask(stream, GET).await;
    answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Waits until the other end closed the connection.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    closed.expect("it is closed").ok();
}

/// The same, whether the reset came before the connection was known here or after.
async fn is_refused(stream: std::io::Result<TcpStream>) {
    if let Ok(mut stream) = stream {
        is_closed(&mut stream).await;
    }
}

type Http2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn http2<I>(stream: I) -> Http2
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

fn request(path: &str) -> Request<Full<Bytes>> {
    let uri = format!("http://orders.internal{path}");
    Request::get(uri).body(Full::default()).unwrap()
}

async fn body_of(client: &mut Http2, request: Request<Full<Bytes>>) -> hyper::Result<String> {
    client.ready().await?;
    let body = client.send_request(request).await?.into_body();
    let body = body.collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

async fn tls(
    machine: &LiveTls,
    address: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let expected = ExpectedPeer::service(service(ORDERS));
    let connector = machine.connector(expected).unwrap();
    let stream = TcpStream::connect(address).await?;
    let name = "orders.internal".try_into().unwrap();
    TlsConnector::from(connector.config())
        .connect(name, stream)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_are_served_to_who_the_guard_lets_through() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine_that_speaks(ORDERS, BOTH);
    let guard = world
        .bearer()
        .with_peers(orders.clone(), Freshness::in_process());
    let version = |request: AxumRequest| async move {
        let address = request.extensions().get::<PeerAddress>().is_some();
        format!("{:?} {address}", request.version())
    };
    let router = Router::new()
        .route("/orders", get(version))
        .layer(world.layer_of(guard));
    let server = Server::mutual_tls(Acceptor::new(orders.clone()), ServeLimits::new());
    let running = Running::start(server, router).await;

    let (billing, _) = pki.machine_that_speaks(BILLING, BOTH);
    let mut client = http2(tls(&billing, running.address).await.unwrap()).await;
    let answer = body_of(&mut client, request("/orders")).await.unwrap();
    assert_eq!(answer, "HTTP/2.0 true");
    let http1: &[u8] = b"http/1.1";
    for protocols in [&[][..], &[http1]] {
        let (billing, _) = pki.machine_that_speaks(BILLING, protocols);
        let mut stream = tls(&billing, running.address).await.unwrap();
        let answer = ask(&mut stream, "GET /orders HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.unwrap().ends_with("HTTP/1.1 true"));
    }
    // Who speaks what is not offered, and who is nobody's.
    let (other, _) = pki.machine_that_speaks(BILLING, &[b"smtp"]);
    assert!(tls(&other, running.address).await.is_err());
    let (stranger, _) = Pki::new(&world.clock).machine(BILLING);
    assert!(tls(&stranger, running.address).await.is_err());
    running
        .until("two failed", |counts| counts.handshakes_failed == 2)
        .await;
    let counts = running.server.counts();
    assert_eq!((counts.requests, counts.accepted), (3, 5));
    assert_eq!(counts.opening, 0);
    drop(client);
    assert_eq!(running.stop().await.cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pki_061_connections_end_with_the_trust_in_their_peers_also_by_time_alone() {
    let world = World::new();
    let pki = Pki::new(&world.clock);
    let (orders, _) = pki.machine_that_speaks(ORDERS, BOTH);
    let server = Server::mutual_tls(Acceptor::new(orders.clone()), ServeLimits::new());
    let running = Running::start(server, router()).await;
    let ((billing, revoked), (again, other)) = (
        pki.machine_that_speaks(BILLING, BOTH),
        pki.machine_that_speaks(BILLING, BOTH),
    );
    let mut one = http2(tls(&billing, running.address).await.unwrap()).await;
    let mut two = http2(tls(&again, running.address).await.unwrap()).await;
    assert_eq!(body_of(&mut one, request("/")).await.unwrap(), "here");
    assert_eq!(body_of(&mut two, request("/")).await.unwrap(), "here");
    // A call that lasts is no exception.
    let endless = one.send_request(request("/endless")).await.unwrap();
    let hanging = tokio::spawn(one.send_request(request("/hangs")));

    let crl = pki.crl(&revoked);
    let updated = orders.update(|material| material.set_crl(crl)).unwrap();
    assert_eq!(updated.closed, 1);
    let rest = tokio::time::timeout(PATIENCE, endless.into_body().collect()).await;
    assert!(rest.expect("it ends").is_err());
    let hanging = tokio::time::timeout(PATIENCE, hanging).await;
    assert!(hanging.expect("it ends").unwrap().is_err());
    running
        .until("one is gone", |counts| {
            (counts.distrusted, counts.open) == (1, 1)
        })
        .await;
    assert_eq!(body_of(&mut two, request("/")).await.unwrap(), "here");

    // Nobody but the server looks at the clock here.
    let later = other.not_after().saturating_add(Duration::from_secs(1));
    world.clock.set(later);
    running
        .until("both are gone", |counts| {
            (counts.distrusted, counts.open) == (2, 0)
        })
        .await;
    assert!(body_of(&mut two, request("/")).await.is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_only_loopback_is_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let server = Server::plain_on_loopback(ServeLimits::new());
    let refused = server
        .serve(listener, router(), std::future::pending())
        .await;
    assert!(matches!(refused, Err(ServeError::NotLoopback { .. })));

    let running = Running::plain(ServeLimits::new()).await;
    let mut first = running.connect().await;
    assert!(is_served(&mut first).await && is_served(&mut first).await);
    let mut client = http2(running.connect().await).await;
    let answer = body_of(&mut client, request("/version")).await.unwrap();
    assert_eq!(answer, format!("{:?}", Version::HTTP_2));
    let post = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
    assert!(ask(&mut first, post).await.unwrap().ends_with("\r\n\r\n5"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_limit_new_connections_are_reset_and_old_ones_go_on() {
    let limits = ServeLimits::new()
        .with_connections(4)
        .with_connections_by_address(2);
    let running = Running::plain(limits).await;
    let from = async |address: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(format!("{address}:0").parse().unwrap())
            .unwrap();
        socket.connect(running.address).await
    };
    let mut good = running.connect().await;
    assert!(is_served(&mut good).await);
    let mut held = [from("127.0.0.2").await, from("127.0.0.2").await];
    for stream in held.iter_mut().flatten() {
        assert!(is_served(stream).await);
    }
    is_refused(from("127.0.0.2").await).await;
    running
        .until("by address", |counts| counts.refused_by_address == 1)
        .await;
    let mut last = from("127.0.0.3").await.unwrap();
    assert!(is_served(&mut last).await);
    is_refused(from("127.0.0.4").await).await;
    running
        .until("in all", |counts| counts.refused_connections == 1)
        .await;
    assert!(is_served(&mut good).await);
    // A place that was given back is taken.
    drop(last);
    running.until("one less", |counts| counts.open == 3).await;
    assert!(is_served(&mut from("127.0.0.4").await.unwrap()).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_does_not_finish_is_dropped_in_time() {
    let limits = ServeLimits::new()
        .with_head(8 << 10, SOON)
        .with_openings(3, 3);
    let running = Running::plain(limits).await;
    let mut silent = [
        running.connect().await,
        running.connect().await,
        running.connect().await,
    ];
    running.until("three", |counts| counts.opening == 3).await;
    is_refused(TcpStream::connect(running.address).await).await;
    running
        .until("one", |counts| counts.refused_by_address == 1)
        .await;
    for stream in &mut silent {
        is_closed(stream).await;
    }
    running
        .until("silent", |counts| counts.slow_openings == 3)
        .await;

    // A head that does not end: the first one, the preface of HTTP/2, and a later one.
    for (asked_before, part) in [(false, "GET / HT"), (false, "PRI * HTTP/2.0"), (true, "G")] {
        let before = running.server.counts().slow_heads;
        let mut stream = running.connect().await;
        if asked_before {
            assert!(is_served(&mut stream).await);
        }
        for byte in part.bytes() {
            stream.write_all(&[byte]).await.unwrap();
        }
        is_closed(&mut stream).await;
        running
            .until(part, |counts| counts.slow_heads == before + 1)
            .await;
    }
    assert_eq!(running.server.counts().open, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_bounded_in_bytes_and_fields() {
    let limits = ServeLimits::new()
        .with_head(8 << 10, PATIENCE)
        .with_head_fields(20);
    let running = Running::plain(limits).await;
    let field = |index: usize| format!("x-{index}: y\r\n");
    let many = |count: usize| {
        let fields: String = (1..count).map(field).collect();
        format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n")
    };
    assert!(
        ask(&mut running.connect().await, &many(20))
            .await
            .unwrap()
            .contains("200")
    );
    for head in [
        many(21),
        many(400),
        format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100 << 10)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(100 << 10)),
    ] {
        let mut stream = running.connect().await;
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
    }
    // Nothing of that reached the service; the fields of HTTP/2 are counted too.
    let before = running.server.counts().requests;
    assert_eq!(before, 1);
    let mut client = http2(running.connect().await).await;
    let mut request = request("/");
    for index in 0..30 {
        let name = format!("x-{index}").parse::<http::HeaderName>().unwrap();
        request.headers_mut().insert(name, "y".parse().unwrap());
    }
    let response = client.send_request(request.clone()).await.unwrap();
    assert_eq!(
        response.status(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let long = "y".repeat(20 << 10).parse().unwrap();
    request.headers_mut().insert("x", long);
    assert!(client.send_request(request).await.map_or(true, |response| {
        response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    }));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_ends() {
    let limits = ServeLimits::new().with_body_pace(SOON, 1 << 20);
    let running = Running::plain(limits.with_idle(SOON)).await;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    // None at all, and one byte now and then: it never pauses, and is too slow in all.
    for pause in [PATIENCE, SOON / 10] {
        let before = running.server.counts().slow_bodies;
        let (mut reader, mut writer) = running.connect().await.into_split();
        writer.write_all(head.as_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut answer)).await;
        let _ = closed.expect("it is closed");
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        dripping.abort();
        running
            .until("slow", |counts| counts.slow_bodies == before + 1)
            .await;
    }
    running.until("closed", |counts| counts.open == 0).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_hurry_is_waited_for() {
    let limits = ServeLimits::new().with_body_pace(SOON, 1 << 20);
    let unhurried = tower::service_fn(|request: Request<ServedBody>| async move {
        let body = request.into_body().unhurried().collect().await.unwrap();
        let text = body.to_bytes().len().to_string();
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(text))))
    });
    let server = Server::plain_on_loopback(limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let running = server.clone();
    let until = std::future::pending();
    let serving = tokio::spawn(async move { running.serve(listener, unhurried, until).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\na";
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(SOON * 3).await;
    assert!(ask(&mut stream, "b").await.unwrap().ends_with("\r\n\r\n2"));
    assert_eq!(server.counts().slow_bodies, 0);
    server.stop();
    assert!(serving.await.unwrap().unwrap().cut == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_what_was_asked_for_is_dropped() {
    let running = Running::plain(ServeLimits::new().with_response_pause(SOON)).await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    running
        .until("one", |counts| counts.slow_readers == 1)
        .await;
    // In HTTP/2 the connection is free, and the stream is not.
    let mut client = http2(running.connect().await).await;
    let unread = client.send_request(request("/endless")).await.unwrap();
    running
        .until("two", |counts| counts.slow_readers == 2)
        .await;
    drop((stream, unread));
    // A service that takes its time is nobody's fault.
    let mut patient = http2(running.connect().await).await;
    let hanging = tokio::spawn(patient.send_request(request("/hangs")));
    tokio::time::sleep(SOON * 3).await;
    assert_eq!(body_of(&mut patient, request("/")).await.unwrap(), "here");
    assert_eq!(running.server.counts().slow_readers, 2);
    hanging.abort();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_nothing_more_is_closed() {
    let running = Running::plain(ServeLimits::new().with_idle(SOON)).await;
    let mut one = running.connect().await;
    assert!(is_served(&mut one).await);
    let mut two = http2(running.connect().await).await;
    assert_eq!(body_of(&mut two, request("/")).await.unwrap(), "here");
    is_closed(&mut one).await;
    running
        .until("both", |counts| (counts.idle, counts.open) == (2, 0))
        .await;
    assert!(body_of(&mut two, request("/")).await.is_err());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_waits_finishes_what_is_under_way_and_cuts_what_hangs() {
    let limits = ServeLimits::new()
        .with_drain(SOON)
        .with_head(8 << 10, PATIENCE);
    let running = Running::plain(limits).await;
    let (mut silent, mut idle) = (running.connect().await, running.connect().await);
    assert!(is_served(&mut idle).await);
    let mut hanging = running.connect().await;
    hanging
        .write_all(b"GET /hangs HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    running
        .until("there", |counts| (counts.requests, counts.open) == (2, 3))
        .await;
    let server = running.server.clone();
    let address = running.address;
    let drained = running.stop().await;
    assert_eq!((drained.open, drained.cut), (3, 1));
    for stream in [&mut silent, &mut idle, &mut hanging] {
        is_closed(stream).await;
    }
    assert!(TcpStream::connect(address).await.is_err());
    let counts = server.counts();
    assert_eq!((counts.open, counts.opening, counts.overdue), (0, 0, 1));

    // What is under way in time is finished, in both versions.
    let gate = Arc::new(Notify::new());
    let waits = Arc::clone(&gate);
    let router = Router::new().route(
        "/",
        get(move || async move {
            waits.notified().await;
            "late"
        }),
    );
    let server = Server::plain_on_loopback(ServeLimits::new().with_drain(PATIENCE));
    let running = Running::start(server, router).await;
    let mut stream = running.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let mut client = http2(running.connect().await).await;
    let late = tokio::spawn(async move { body_of(&mut client, request("/")).await });
    running.until("both", |counts| counts.requests == 2).await;
    running.server.stop();
    running.server.stop();
    gate.notify_waiters();
    assert!(ask(&mut stream, "").await.unwrap().ends_with("late"));
    assert_eq!(late.await.unwrap().unwrap(), "late");
    assert_eq!(running.stop().await.cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drops_the_server_cuts_all() {
    let running = Running::plain(ServeLimits::new()).await;
    let mut stream = running.connect().await;
    assert!(is_served(&mut stream).await);
    running.ended.abort();
    is_closed(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dos_005_a_service_that_panics_ends_its_connection_and_no_other() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let running = Running::plain(ServeLimits::new()).await;
    let mut other = running.connect().await;
    assert!(is_served(&mut other).await);
    let mut stream = running.connect().await;
    let panics = "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(ask(&mut stream, panics).await, None);
    running
        .until("one", |counts| (counts.panicked, counts.open) == (1, 1))
        .await;
    let mut client = http2(running.connect().await).await;
    assert!(body_of(&mut client, request("/panic")).await.is_err());
    assert_eq!(body_of(&mut client, request("/")).await.unwrap(), "here");
    assert!(is_served(&mut other).await);
    std::panic::set_hook(before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_back_more_than_is_answered_is_dropped() {
    let running = Running::plain(ServeLimits::new().with_cancellations(10)).await;
    let mut client = http2(running.connect().await).await;
    let mut taken_back = 0;
    while running.server.counts().cancelling == 0 {
        taken_back += 1;
        assert!(taken_back < 10_000);
        let asked = running.server.counts().requests;
        let Ok(()) = client.ready().await else { break };
        let hanging = tokio::spawn(client.send_request(request("/hangs")));
        running
            .until("asked", |counts| {
                counts.requests > asked || counts.cancelling > 0
            })
            .await;
        hanging.abort();
    }
    running.until("one", |counts| counts.cancelling == 1).await;
    assert!(taken_back > 10, "{taken_back}");
    // Who gets answers may take back as many.
    let mut client = http2(running.connect().await).await;
    for _ in 0..40 {
        assert_eq!(body_of(&mut client, request("/")).await.unwrap(), "here");
        let asked = running.server.counts().requests;
        let hanging = tokio::spawn(client.send_request(request("/hangs")));
        running
            .until("asked", |counts| counts.requests > asked)
            .await;
        hanging.abort();
    }
    assert_eq!(running.server.counts().cancelling, 1);
    running.stop().await;
}
