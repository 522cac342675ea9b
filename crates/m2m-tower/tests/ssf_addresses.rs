//! Where SETs go: to addresses that were asked about, over TLS with the host that is meant, and nowhere else.
#![cfg(all(feature = "ssf", feature = "tls"))]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod ssf_support;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use caep_stream::transmitter::TransmitterOptions;
use caep_stream::{Delivery, SecretHeader};
use http::{Request, Response, StatusCode};
use m2m_tower::ssf::{Deliverer, DeliveryEvent, NotDelivered};
use m2m_tower::{FetchFailure, FetchLimits, HttpSender, UrlError};
use ssf_support::*;

/// What comes of the first push to `endpoint`.
async fn first_outcome(provider: &Provider, sender: HttpSender) -> Result<(), NotDelivered> {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let deliverer = Deliverer::new(Arc::clone(&provider.transmitter), sender, clock())
        .with_observer(move |event| {
            let _ = match event {
                DeliveryEvent::Delivered { .. } => tell.send(Ok(())),
                DeliveryEvent::Retried { why, .. } | DeliveryEvent::Dead { why, .. } => {
                    tell.send(Err(*why))
                }
                _ => Ok(()),
            };
        });
    let delivering = tokio::spawn(deliverer.run());
    let outcome = tokio::time::timeout(PATIENCE, told.recv()).await;
    delivering.abort();
    outcome.unwrap().unwrap()
}

/// Takes all pushes at `rc.example`, and counts them.
async fn endpoint(net: &Net, certificate: &str) -> (Serving, String, Arc<AtomicUsize>) {
    let (listener, address) = listen().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = Router::new().fallback(async move |_: Bytes| {
        counted.fetch_add(1, Ordering::SeqCst);
        StatusCode::ACCEPTED
    });
    let serving = serve(listener, net.server(certificate), app);
    (
        serving,
        format!("https://rc.example:{}/events", address.port()),
        count,
    )
}

async fn stream_to(consumer: &Consumer, endpoint: &str) {
    let secret = SecretHeader::new(PUSH_SECRET).unwrap();
    consumer
        .stream(Delivery::push(endpoint, Some(secret)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_019_net_007_net_010_no_stream_is_made_to_an_address_that_is_not_pushed_to() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    for endpoint in [
        "http://rc.example/events",
        "ftp://rc.example/events",
        "file:///etc/passwd",
        "https://user:password@rc.example/events",
        "https://rc.example/events#fragment",
        "https://127.0.0.1/events",
        "https://[::1]/events",
        "https://[::ffff:127.0.0.1]/events",
        "https://0.0.0.0/events",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/events",
        "https://2130706433/events",
        "https://0x7f000001/events",
        "https://0177.0.0.1/events",
        "https://localhost/events",
    ] {
        let body = format!(
            r#"{{"delivery":{{"method":"urn:ietf:rfc:8935","endpoint_url":"{endpoint}"}}}}"#
        );
        let request = Request::post(format!("{}/ssf/streams", provider.issuer))
            .header(
                "authorization",
                format!("Bearer {}", provider.token(ORDERS)),
            )
            .body(body.into_bytes())
            .unwrap();
        let response = net.sender().send(&request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_019_net_007_a_name_that_leads_inside_is_not_connected_to() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    let (_serving, endpoint, count) = endpoint(&net, "rc.example").await;
    // It was a public name when the stream was made, and is one still by how it is written.
    net.names
        .tell("rc.example", "93.184.215.14".parse().unwrap());
    stream_to(&consumer, &endpoint).await;
    for inside in [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "10.0.0.1",
        "fd00::1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
    ] {
        let address: IpAddr = inside.parse().unwrap();
        net.names.tell("rc.example", address);
        provider.publish(inside).await;
        let sender = HttpSender::new(net.strict_fetcher());
        let outcome = first_outcome(&provider, sender).await;
        let refused = NotDelivered::NoAnswer(FetchFailure::Address { address });
        assert_eq!(outcome, Err(refused));
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn net_007_a_name_that_changes_is_asked_about_again_for_each_connection() {
    let net = Net::new();
    let (_serving, endpoint, count) = endpoint(&net, "rc.example").await;
    let request = Request::post(&endpoint).body(b"a".to_vec()).unwrap();
    let sender = net.sender();
    assert_eq!(
        sender.send(&request).await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    // The open connection goes where it was checked to go.
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    net.names.tell("rc.example", address);
    assert_eq!(
        sender.send(&request).await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(count.load(Ordering::SeqCst), 2);
    // A new one does not go to the new address.
    let failure = net.sender().send(&request).await.unwrap_err();
    assert_eq!(failure, FetchFailure::Address { address });
}

#[tokio::test(flavor = "multi_thread")]
async fn net_010_what_is_not_https_is_not_sent_to() {
    let net = Net::new();
    for (url, problem) in [
        ("http://rc.example/events", UrlError::Scheme),
        ("ftp://rc.example/events", UrlError::Scheme),
        ("/events", UrlError::Scheme),
        ("https://user@rc.example/events", UrlError::UserInfo),
        ("https://0x7f.1/events", UrlError::Host),
    ] {
        let request = Request::post(url).body(Vec::new()).unwrap();
        let failure = net.sender().send(&request).await.unwrap_err();
        assert_eq!(failure, FetchFailure::Url(problem), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_the_certificate_of_another_gets_nothing() {
    let net = Net::new();
    let (_serving, endpoint, count) = endpoint(&net, "other.example").await;
    let request = Request::post(&endpoint).body(b"secret".to_vec()).unwrap();
    let failure = net.sender().send(&request).await.unwrap_err();
    assert!(matches!(failure, FetchFailure::Tls(_)), "{failure:?}");
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn net_009_what_a_receiver_answers_is_read_within_bounds_and_never_shown() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    let (listener, address) = listen().await;
    let app = Router::new().fallback(async |_: Bytes| {
        let body = "s3cr3t of the other side".repeat(200_000);
        Response::builder().status(500).body(body).unwrap()
    });
    let _serving = serve(listener, net.server("rc.example"), app);
    let endpoint = format!("https://rc.example:{}/events", address.port());
    stream_to(&consumer, &endpoint).await;
    provider.publish("session-1").await;
    // The head says what came of it; of the body nothing is kept.
    let outcome = first_outcome(&provider, net.sender()).await;
    let why = outcome.unwrap_err();
    assert_eq!(why, NotDelivered::Status(StatusCode::INTERNAL_SERVER_ERROR));
    assert!(!format!("{why} {why:?}").contains("s3cr3t"));
    // Who wants the body is told that it is too long.
    let request = Request::get(&endpoint).body(Vec::new()).unwrap();
    let failure = net.sender().send(&request).await.unwrap_err();
    assert_eq!(failure, FetchFailure::TooLong { limit: 1 << 20 });
    let slow = FetchLimits::new(Duration::from_nanos(1), 1 << 20);
    let failure = net.sender().send_within(&request, slow).await.unwrap_err();
    assert!(matches!(failure, FetchFailure::Slow { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_an_answer_and_not_followed() {
    let net = Net::new();
    let provider = Provider::start(&net, TransmitterOptions::default()).await;
    let consumer = Consumer::start(&net, &provider).await;
    let (_there, elsewhere, count) = endpoint(&net, "rc.example").await;
    let (listener, address) = listen().await;
    let app = Router::new().fallback(async move |_: Bytes| {
        Response::builder()
            .status(307)
            .header("location", elsewhere)
            .body(String::new())
            .unwrap()
    });
    let _serving = serve(listener, net.server("rc.example"), app);
    stream_to(
        &consumer,
        &format!("https://rc.example:{}/events", address.port()),
    )
    .await;
    provider.publish("session-1").await;
    let outcome = first_outcome(&provider, net.sender()).await;
    assert_eq!(
        outcome,
        Err(NotDelivered::Status(StatusCode::TEMPORARY_REDIRECT))
    );
    assert_eq!(count.load(Ordering::SeqCst), 0);
}
