//! What strangers, other receivers, slow bodies, failing stores and sudden ends can do to Shared Signals over
//! HTTP: nothing but what is said here.
#![cfg(all(feature = "ssf", feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod ssf_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use caep_stream::Delivery;
use caep_stream::transmitter::TransmitterOptions;
use http::{Method, Request, Response, StatusCode};
use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_store::{EmbeddedOptions, EmbeddedStore, Failure, LocalKey, MemoryStore, Store};
use m2m_token::SigningKeyRing;
use m2m_tower::ssf::{DeliveryEvent, ManagementEvent, NotDelivered, PushEvent};
use ssf_support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const OTHER: &str = "spiffe://example.org/other";
const BILLING: &str = "spiffe://example.org/billing";

/// Asks the transmitter as `service`.
async fn ask(
    net: &Net,
    provider: &Provider,
    service: &str,
    method: Method,
    path: &str,
    body: &str,
) -> Response<Vec<u8>> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{}/{path}", provider.issuer))
        .header(
            "authorization",
            format!("Bearer {}", provider.token(service)),
        )
        .header("content-type", "application/json")
        .body(body.as_bytes().to_vec());
    net.sender().send(&request.unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn set_018_the_stream_of_another_looks_like_one_that_is_not_there() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    let stream = consumer.stream(Delivery::poll()).await;
    let mut seen = Vec::new();
    for id in [&*stream.stream_id, "no-such-stream"] {
        let about = format!(
            r#"{{"stream_id":"{id}","status":"paused","state":"x","description":"mine",
            "subject":{{"format":"opaque","id":"a"}},
            "delivery":{{"method":"urn:ietf:rfc:8936"}},"events_requested":["https://schemas.openid.net/secevent/caep/event-type/session-revoked"]}}"#
        );
        for (method, path, body) in [
            (Method::GET, format!("ssf/streams?stream_id={id}"), ""),
            (Method::PATCH, "ssf/streams".into(), &*about),
            (Method::PUT, "ssf/streams".into(), &*about),
            (Method::DELETE, format!("ssf/streams?stream_id={id}"), ""),
            (Method::GET, format!("ssf/status?stream_id={id}"), ""),
            (Method::POST, "ssf/status".into(), &*about),
            (Method::POST, "ssf/add".into(), &*about),
            (Method::POST, "ssf/remove".into(), &*about),
            (Method::POST, "ssf/verify".into(), &*about),
            (Method::POST, format!("ssf/poll/{id}"), "{}"),
        ] {
            let response = ask(&net, &provider, OTHER, method.clone(), &path, body).await;
            let path = path.replace(id, "ID");
            let mut head: Vec<_> = response.headers().iter().collect();
            head.retain(|(name, _)| *name != "date");
            let what = format!("{:?} {head:?} {:?}", response.status(), response.body());
            assert_eq!(
                response.status(),
                StatusCode::NOT_FOUND,
                "{method} {path} {what}"
            );
            seen.push((method, path, what));
        }
    }
    let (known, unknown) = seen.split_at(seen.len() / 2);
    assert_eq!(known, unknown);
    // It is as it was.
    let read = ask(&net, &provider, ORDERS, Method::GET, "ssf/streams", "").await;
    let read = String::from_utf8(read.into_body()).unwrap();
    assert!(
        read.contains(&*stream.stream_id) && !read.contains("mine"),
        "{read}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_mapped_to_nobody_manages_nothing_and_who_is_not_known_is_asked_who_it_is() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let stranger = "spiffe://example.org/stranger";
    let response = ask(&net, &provider, stranger, Method::GET, "ssf/streams", "").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.body(), b"{\"error\":\"forbidden\"}\n");
    let nobody = Request::get(format!("{}/ssf/streams", provider.issuer)).body(Vec::new());
    let response = net.sender().send(&nobody.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    // Metadata and keys are everybody's, and nothing else is there.
    for (path, status) in [
        (".well-known/ssf-configuration", 200),
        ("jwks.json", 200),
        ("streams", 404),
    ] {
        let request = Request::get(format!("{}/{path}", provider.issuer)).body(Vec::new());
        let response = net.sender().send(&request.unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    // Without a guard in front nobody is admitted.
    let (listener, address) = listen().await;
    let app = Router::new().fallback_service(provider.management.clone());
    let _serving = serve(listener, net.server("tr.example"), app);
    let url = format!("https://tr.example:{}/ssf/streams", address.port());
    let response = net
        .sender()
        .send(&Request::get(url).body(Vec::new()).unwrap())
        .await;
    assert_eq!(response.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Sends `head` and `body` as they are, and gives all that comes until the other side ends the connection.
async fn raw(net: &Net, name: &str, port: u16, head: &str, body: &[u8]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = TlsConnector::from(net.client());
    let host = name.to_owned().try_into().unwrap();
    let mut stream = connector.connect(host, stream).await.unwrap();
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(PATIENCE, read).await;
    // It may end without a word of TLS: what had come had come.
    let _ = read.expect("the connection was not ended");
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn set_016_bodies_that_are_slow_or_too_long_are_refused_and_their_connections_end() {
    let net = Net::new();
    let (listener, _) = listen().await;
    let limit = Duration::from_millis(300);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let configure = |service: m2m_tower::ssf::ManagementService| {
        service
            .with_body_time(limit)
            .with_observer(move |event, _| {
                if let ManagementEvent::Body { problem, .. } = event {
                    seen.lock().unwrap().push(problem.to_string());
                }
            })
    };
    let store = Arc::new(MemoryStore::new());
    let options = TransmitterOptions::default();
    let provider = Provider::start_with(&net, store, options, listener, keys(), configure);
    let store = Arc::new(MemoryStore::new());
    let push = |service: m2m_tower::ssf::PushService| service.with_body_time(limit);
    let consumer = Consumer::start_with(&net, &provider, store, push).await;

    let token = provider.token(ORDERS);
    let manage = |rest: &str| {
        format!(
            "POST /ssf/streams HTTP/1.1\r\nhost: tr.example\r\nauthorization: Bearer {token}\r\n{rest}"
        )
    };
    let deliver = |secret: &str, rest: &str| {
        format!(
            "POST /events HTTP/1.1\r\nhost: rc.example\r\nauthorization: {secret}\r\ncontent-type: application/secevent+jwt\r\n{rest}"
        )
    };
    let (tr, rc) = (provider.address.port(), consumer.address.port());
    for (name, port, head, body, status) in [
        // It says so.
        (
            "tr.example",
            tr,
            manage("content-length: 1048577"),
            &b"{"[..],
            413,
        ),
        (
            "rc.example",
            rc,
            deliver(PUSH_SECRET, "content-length: 8195"),
            b"e",
            413,
        ),
        // It does not, and goes on.
        (
            "rc.example",
            rc,
            deliver(PUSH_SECRET, "transfer-encoding: chunked"),
            &[b"3000\r\n", [b'x'; 0x3000].as_slice(), b"\r\n"].concat(),
            413,
        ),
        // It never ends.
        ("tr.example", tr, manage("content-length: 100"), b"{", 408),
        (
            "rc.example",
            rc,
            deliver(PUSH_SECRET, "transfer-encoding: chunked"),
            b"1\r\ne\r\n",
            408,
        ),
        // From a stranger nothing is waited for.
        (
            "rc.example",
            rc,
            deliver("Bearer guessed", "content-length: 8000"),
            b"e",
            401,
        ),
        (
            "rc.example",
            rc,
            deliver("Bearer guessed", "content-length: 99999999"),
            b"e",
            401,
        ),
    ] {
        let answer = raw(&net, name, port, &head, body).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
        assert!(answer.contains("connection: close\r\n"), "{head}: {answer}");
    }
    assert_eq!(
        *events.lock().unwrap(),
        [
            "the body is longer than 1048576 bytes",
            "the body took longer than 300ms"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_wait_are_bounded_and_leave_their_places() {
    let net = Net::new();
    let (listener, _) = listen().await;
    let store = Arc::new(MemoryStore::new());
    let options = TransmitterOptions::default();
    let configure = |it: m2m_tower::ssf::ManagementService| it.with_waiting_polls(3, 2);
    let provider = Provider::start_with(&net, store, options, listener, keys(), configure);
    let consumer = Consumer::start(&net, &provider).await;
    let stream = consumer.stream(Delivery::poll()).await;
    let poll = || {
        let request = Request::post(stream.delivery.endpoint_url().unwrap())
            .header(
                "authorization",
                format!("Bearer {}", provider.token(ORDERS)),
            )
            .header("content-type", "application/json")
            .body(b"{}".to_vec())
            .unwrap();
        let sender = net.sender();
        let limits = m2m_tower::FetchLimits::new(PATIENCE, 1 << 20);
        async move { sender.send_within(&request, limits).await.unwrap() }
    };
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(poll())).collect();
    let wait = async |count| {
        until("they do not wait", async || {
            provider.management.waiting_polls() == count
        })
        .await;
    };
    wait(2).await;
    let response = poll().await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    // Who goes leaves a place.
    for one in &waiting {
        one.abort();
    }
    wait(0).await;
    let waiting = tokio::spawn(poll());
    wait(1).await;
    provider.publish("session-1").await;
    let response = waiting.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().len() > 200, "it brings a SET");
    assert_eq!(provider.management.waiting_polls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_whose_store_fails_says_503_and_the_set_comes_again() {
    let net = Net::new();
    let second = Duration::from_secs(1);
    let options = TransmitterOptions::default().with_retries(second, second);
    let provider = Provider::start(&net, options).await;
    let store = Arc::new(MemoryStore::new());
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let push = |service: m2m_tower::ssf::PushService| {
        service.with_observer(move |event: &PushEvent, _| {
            seen.lock().unwrap().push(format!("{event:?}"));
        })
    };
    let kept: Arc<dyn Store> = Arc::<MemoryStore>::clone(&store);
    let consumer = Consumer::start_with(&net, &provider, kept, push).await;
    consumer.pushed_stream().await;
    let token = provider.mint(BILLING, ORDERS, Some("session-1"));
    store.fail_next(Failure::NotWritten);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let deliverer = provider
        .deliverer(&net)
        .with_observer(move |event| match event {
            DeliveryEvent::Retried { why, .. } => drop(tell.send(Some(*why))),
            DeliveryEvent::Delivered { .. } => drop(tell.send(None)),
            _ => {}
        });
    let delivering = tokio::spawn(deliverer.run());
    provider.publish("session-1").await;
    let mut next = async || {
        tokio::time::timeout(PATIENCE, told.recv())
            .await
            .unwrap()
            .unwrap()
    };
    let why = next().await;
    assert_eq!(
        why,
        Some(NotDelivered::Status(StatusCode::SERVICE_UNAVAILABLE))
    );
    assert_eq!(next().await, None, "{:?}", events.lock().unwrap());
    assert_eq!(consumer.call(&net, &token).await, 401);
    delivering.abort();
}

fn keys() -> Arc<SigningKeyRing> {
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom).unwrap();
    Arc::new(SigningKeyRing::new(key, Duration::from_secs(3600)).unwrap())
}

async fn again(port: u16) -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return listener;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmitter_that_is_started_again_has_lost_nothing() {
    let net = Net::new();
    let directory = tempfile::tempdir().unwrap();
    let outer = SecretBytes::random(LocalKey::BYTES, &SystemRandom).unwrap();
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(outer).unwrap()));
    let file = directory.path().join("state.m2m");
    let open = || EmbeddedStore::open_or_create(&file, &options).unwrap();
    let start = |listener, keys| {
        let store = Arc::new(open());
        Provider::start_with(
            &net,
            store,
            TransmitterOptions::default(),
            listener,
            keys,
            |it| it,
        )
    };
    let (listener, address) = listen().await;
    let keys = keys();
    let provider = start(listener, Arc::clone(&keys));
    let consumer = Consumer::start(&net, &provider).await;
    let stream = consumer.pushed_stream().await;
    let sessions = ["session-1", "session-2", "session-3"];
    let tokens = sessions.map(|session| provider.mint(BILLING, ORDERS, Some(session)));
    for session in sessions {
        provider.publish(session).await;
    }
    // Nobody has delivered it when the process ends.
    drop(provider);
    for token in &tokens {
        assert_eq!(consumer.call(&net, token).await, 200);
    }
    let provider = start(again(address.port()).await, keys);
    let delivering = tokio::spawn(provider.deliverer(&net).run());
    for token in &tokens {
        until("a session goes on", async || {
            consumer.call(&net, token).await == 401
        })
        .await;
    }
    // The stream is the one that there was.
    assert_eq!(consumer.pushed_stream().await.stream_id, stream.stream_id);
    delivering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_dropped_midway_is_done_by_the_next() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    // What takes the push first does not answer.
    let arrived = Arc::new(AtomicUsize::new(0));
    let (listener, address) = listen().await;
    let counted = Arc::clone(&arrived);
    let deaf = Router::new().fallback(move |_: Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>()
    });
    let silent = serve(listener, net.server("rc.example"), deaf);
    let endpoint = format!("https://rc.example:{}/events", address.port());
    let secret = caep_stream::SecretHeader::new(PUSH_SECRET).unwrap();
    consumer
        .stream(Delivery::push(&endpoint, Some(secret)))
        .await;
    let token = provider.mint(BILLING, ORDERS, Some("session-1"));
    provider.publish("session-1").await;
    let delivering = tokio::spawn(provider.deliverer(&net).run());
    until("nothing arrives", async || {
        arrived.load(Ordering::SeqCst) == 1
    })
    .await;
    delivering.abort();
    drop(silent);
    assert_eq!(consumer.call(&net, &token).await, 200);
    // The real receiver is there now.
    let app = Router::new().route_service("/events", consumer.signals.push_service());
    let _serving = serve(again(address.port()).await, net.server("rc.example"), app);
    let delivering = tokio::spawn(provider.deliverer(&net).run());
    until("a session goes on", async || {
        consumer.call(&net, &token).await == 401
    })
    .await;
    until("it is not taken for delivered", async || {
        let lag = provider.transmitter.lag(now()).await.unwrap();
        lag.iter()
            .all(|one| one.depth == 0 && one.dead_letters == 0)
    })
    .await;
    delivering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_go_over_one_connection() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    // A listener that counts, in front of the same service.
    let (listener, address) = listen().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let (behind, behind_address) = listen().await;
    let app = Router::new().route_service("/events", consumer.signals.push_service());
    let _serving = serve(behind, net.server("rc.example"), app);
    let proxy = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut to = TcpStream::connect(behind_address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            });
        }
    });
    let endpoint = format!("https://rc.example:{}/events", address.port());
    let secret = caep_stream::SecretHeader::new(PUSH_SECRET).unwrap();
    consumer
        .stream(Delivery::push(&endpoint, Some(secret)))
        .await;
    let delivering = tokio::spawn(provider.deliverer(&net).run());
    for nth in 0..10 {
        let session = format!("session-{nth}");
        let token = provider.mint(BILLING, ORDERS, Some(&session));
        provider.publish(&session).await;
        until("a session goes on", async || {
            consumer.call(&net, &token).await == 401
        })
        .await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    delivering.abort();
    proxy.abort();
}
