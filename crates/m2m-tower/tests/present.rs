//! Credentials on requests that go out: to whom, how fresh, and to nobody else.
#![cfg(feature = "present")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use m2m_crypto::CertificateThumbprint;
use m2m_tower::{
    FreshToken, NotSent, Origin, Present, PresentError, RefreshEvent, RefreshFailure, Refresher,
    TokenDemand, TokenFormError, TokenSource, Tokens,
};
use m2m_types::{Clock, ManualClock, Timestamp};
use support::*;
use tower::{Layer as _, Service, ServiceExt as _};

/// What a client was asked to send.
#[derive(Clone, Default)]
struct Wire {
    sent: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    /// Where each request is sent on to.
    redirect: Option<&'static str>,
}

impl Wire {
    fn take(&self) -> Vec<(String, Option<String>)> {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let token = |headers: HeaderMap| {
            let value = headers.get("authorization")?;
            assert!(value.is_sensitive());
            Some(value.to_str().unwrap().to_owned())
        };
        sent.into_iter()
            .map(|(uri, headers)| (uri, token(headers)))
            .collect()
    }
}

impl Service<Request<()>> for Wire {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let (parts, ()) = request.into_parts();
        let sent = (parts.uri.to_string(), parts.headers);
        self.sent.lock().unwrap().push(sent);
        let mut response = Response::new(());
        if let Some(location) = self.redirect {
            *response.status_mut() = StatusCode::FOUND;
            let headers = response.headers_mut();
            headers.insert("location", location.parse().unwrap());
        }
        ready(Ok(response))
    }
}

/// Answers what it was told to, and counts who asks at once.
#[derive(Clone, Default)]
struct Source {
    answers: Arc<Mutex<VecDeque<Result<FreshToken, Down>>>>,
    demands: Arc<Mutex<Vec<Option<CertificateThumbprint>>>>,
    asking: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer is down")]
struct Down;

impl Source {
    fn will(&self, answer: Result<(&str, Timestamp), Down>) {
        let answer =
            answer.map(|(text, expires)| FreshToken::new(text.to_owned(), expires).unwrap());
        self.answers.lock().unwrap().push_back(answer);
    }

    fn asked(&self) -> usize {
        self.demands.lock().unwrap().len()
    }
}

impl TokenSource for Source {
    type Error = Down;

    async fn token(&self, demand: &TokenDemand<'_>) -> Result<FreshToken, Down> {
        assert_eq!(demand.audience(), ORDERS);
        let asking = self.asking.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(asking, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.asking.fetch_sub(1, Ordering::SeqCst);
        let certificate = demand.certificate().copied();
        let answer = self.answers.lock().unwrap().pop_front();
        self.demands.lock().unwrap().push(certificate);
        match answer {
            Some(answer) => answer,
            None => Err(Down),
        }
    }
}

type Events = Arc<Mutex<Vec<RefreshEvent<Down>>>>;

fn refresher(source: &Source, clock: &Arc<ManualClock>) -> (Refresher<Source>, Events) {
    let events = Events::default();
    let keep = Arc::clone(&events);
    let clock = Arc::<ManualClock>::clone(clock);
    let refresher = Refresher::new(source.clone(), ORDERS, clock)
        .with_observer(move |event| keep.lock().unwrap().push(event.clone()));
    (refresher, events)
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(now()))
}

fn in_seconds(seconds: u64) -> Timestamp {
    now().saturating_add(Duration::from_secs(seconds))
}

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

/// A token that is there, and whose refresher is gone.
async fn held(text: &str, expires: Timestamp, clock: &Arc<ManualClock>) -> Tokens {
    let source = Source::default();
    source.will(Ok((text, expires)));
    let (refresher, _) = refresher(&source, clock);
    let tokens = refresher.tokens();
    let running = tokio::spawn(refresher.run());
    tokens.ready().await;
    running.abort();
    tokens
}

fn request(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

async fn call(
    layer: &Present,
    wire: &Wire,
    request: Request<()>,
) -> Result<Response<()>, PresentError<Infallible>> {
    layer.layer(wire.clone()).oneshot(request).await
}

fn why(result: Result<Response<()>, PresentError<Infallible>>) -> NotSent {
    match result {
        Err(PresentError::NotSent(why)) => why,
        other => panic!("it was sent: {other:?}"),
    }
}

#[tokio::test]
async fn each_origin_gets_its_token_and_no_other_origin_gets_any() {
    let clock = clock();
    let orders = held("orders-token", in_seconds(300), &clock).await;
    let mail = held("mail-token", in_seconds(300), &clock).await;
    let wire = Wire::default();
    let strict = Present::new(Arc::<ManualClock>::clone(&clock))
        .with_tokens(origin("https://orders.internal:8443"), orders)
        .with_tokens(origin("https://mail.internal"), mail);
    for (uri, token) in [
        (
            "https://orders.internal:8443/orders/17",
            "Bearer orders-token",
        ),
        ("https://mail.internal/inbox?x", "Bearer mail-token"),
        ("https://MAIL.internal:443/", "Bearer mail-token"),
    ] {
        call(&strict, &wire, request(uri)).await.unwrap();
        let sent = wire.take();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent.first().unwrap().1.as_deref(), Some(token));
    }
    let elsewhere = [
        "http://orders.internal:8443/",
        "https://orders.internal/",
        "https://orders.internal:8444/",
        "https://mail.internal.evil.example/",
        "https://evil.example/?https://mail.internal",
        "https://mail.internal@evil.example/",
        "https://x@mail.internal/",
        "https://127.0.0.1:8443/",
        "/orders/17",
    ];
    let lax = strict
        .clone()
        .danger_passing_other_origins_without_credentials();
    for uri in elsewhere {
        let refused = why(call(&strict, &wire, request(uri)).await);
        assert_eq!(refused, NotSent::OtherOrigin, "{uri}");
        assert_eq!(wire.take(), []);
        // Or, if the application wants it so, as it came.
        call(&lax, &wire, request(uri)).await.unwrap();
        let sent = wire.take();
        assert_eq!(sent.first().unwrap().1, None, "{uri}");
    }

    // `Host` says another, or two; and what is there is not replaced.
    let uri = "https://mail.internal/";
    for hosts in [&["evil.example"][..], &["mail.internal", "mail.internal"]] {
        let mut request = request(uri);
        for host in hosts {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        assert_eq!(why(call(&strict, &wire, request).await), NotSent::Host);
    }
    let mut own = request(uri);
    let headers = own.headers_mut();
    headers.insert("authorization", "Basic x".parse().unwrap());
    headers.insert("host", "Mail.internal".parse().unwrap());
    let header = "authorization";
    assert_eq!(
        why(call(&strict, &wire, own).await),
        NotSent::Credentials { header }
    );
    assert_eq!(wire.take(), []);
}

#[tokio::test]
async fn plain_http_gets_a_token_on_loopback_alone_and_where_that_was_said() {
    let clock = clock();
    let tokens = held("token", in_seconds(300), &clock).await;
    let plain = Origin::danger_plain_on_loopback("http://127.0.0.1:8080").unwrap();
    let layer = Present::new(clock).with_tokens(plain, tokens);
    let wire = Wire::default();
    call(&layer, &wire, request("http://127.0.0.1:8080/x"))
        .await
        .unwrap();
    let sent = wire.take();
    assert_eq!(sent.first().unwrap().1.as_deref(), Some("Bearer token"));
    for other in [
        "http://127.0.0.1/x",
        "http://localhost:8080/x",
        "https://127.0.0.1:8080/x",
    ] {
        let refused = why(call(&layer, &wire, request(other)).await);
        assert_eq!(refused, NotSent::OtherOrigin, "{other}");
    }
}

#[tokio::test]
async fn nothing_follows_a_redirect_to_another_origin() {
    let clock = clock();
    let tokens = held("token", in_seconds(300), &clock).await;
    let mut layer = Present::new(clock).with_tokens(origin("https://orders.internal"), tokens);
    let wire = Wire {
        redirect: Some("https://evil.example/"),
        ..Wire::default()
    };
    for is_lax in [false, true] {
        if is_lax {
            layer = layer.danger_passing_other_origins_without_credentials();
        }
        // Whoever follows redirects, outside of the layer.
        let mut uri = "https://orders.internal/".to_owned();
        for _ in 0..2 {
            let Ok(response) = call(&layer, &wire, request(&uri)).await else {
                break;
            };
            let location = response.headers().get("location").unwrap();
            uri = location.to_str().unwrap().to_owned();
        }
        let sent = wire.take();
        let first = sent.first().unwrap();
        assert_eq!(first.1.as_deref(), Some("Bearer token"));
        let second = sent.get(1).map(|(_, token)| token.clone());
        assert_eq!(second, is_lax.then_some(None));
    }
}

#[tokio::test]
async fn without_a_token_that_holds_nothing_is_sent() {
    let clock = clock();
    let wire = Wire::default();
    let uri = "https://orders.internal/";
    let (refresher, _) = refresher(&Source::default(), &clock);
    let layer =
        |tokens| Present::new(Arc::<ManualClock>::clone(&clock)).with_tokens(origin(uri), tokens);
    let never = layer(refresher.tokens());
    assert_eq!(
        why(call(&never, &wire, request(uri)).await),
        NotSent::NoToken
    );
    let expires = in_seconds(300);
    let layer = layer(held("token", expires, &clock).await);
    clock.set(in_seconds(299));
    call(&layer, &wire, request(uri)).await.unwrap();
    assert_eq!(wire.take().len(), 1);
    clock.set(expires);
    let expired = NotSent::Expired {
        expires,
        now: expires,
    };
    assert_eq!(why(call(&layer, &wire, request(uri)).await), expired);
    // A clock that is broken.
    clock.set(Timestamp::MAX);
    clock.advance(Duration::from_secs(1));
    let refused = why(call(&layer, &wire, request(uri)).await);
    assert!(matches!(refused, NotSent::Clock(_)));
    assert_eq!(wire.take(), []);
}

#[tokio::test]
async fn a_token_is_refreshed_ahead_by_one_at_a_time_and_used_until_it_expires() {
    let (clock, source) = (clock(), Source::default());
    source.will(Ok(("first", in_seconds(300))));
    let (refresher, events) = refresher(&source, &clock);
    let tokens = refresher.tokens();
    // Nothing happens before it is polled.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((source.asked(), tokens.expires()), (0, None));
    let running = tokio::spawn(refresher.run());
    tokens.ready().await;
    assert_eq!(tokens.expires(), Some(in_seconds(300)));
    let Some(RefreshEvent::Refreshed { due, .. }) = events.lock().unwrap().first().cloned() else {
        panic!("not refreshed");
    };
    assert!((in_seconds(170)..=in_seconds(200)).contains(&due), "{due}");

    // The issuer is down when the next is due: the last one stays in use.
    clock.set(due);
    eventually("it asked", || source.asked() == 2).await;
    eventually("it said so", || events.lock().unwrap().len() == 2).await;
    let failed = events.lock().unwrap().last().cloned();
    let expected = RefreshEvent::Failed {
        failure: RefreshFailure::Source(Down),
        expires: Some(in_seconds(300)),
        due: due.saturating_add(Duration::from_secs(1)),
    };
    assert_eq!(failed, Some(expected));
    let wire = Wire::default();
    let uri = "https://orders.internal/";
    let layer =
        Present::new(Arc::<ManualClock>::clone(&clock)).with_tokens(origin(uri), tokens.clone());
    call(&layer, &wire, request(uri)).await.unwrap();
    assert_eq!(
        wire.take().first().unwrap().1.as_deref(),
        Some("Bearer first")
    );

    // It is up again, with a token that had expired, and then with a good one.
    source.will(Ok(("expired", due)));
    clock.advance(Duration::from_secs(1));
    eventually("it asked", || events.lock().unwrap().len() == 3).await;
    assert_eq!(tokens.expires(), Some(in_seconds(300)));
    source.will(Ok(("second", in_seconds(900))));
    clock.advance(Duration::from_secs(2));
    eventually("another", || tokens.expires() == Some(in_seconds(900))).await;
    call(&layer, &wire, request(uri)).await.unwrap();
    assert_eq!(
        wire.take().first().unwrap().1.as_deref(),
        Some("Bearer second")
    );

    // However many want a new one, one asks, and once a second.
    source.will(Ok(("third", in_seconds(900))));
    clock.advance(Duration::from_secs(1));
    let asked = source.asked();
    for _ in 0..100 {
        tokens.refresh();
        tokio::task::yield_now().await;
    }
    eventually("a third", || source.asked() > asked).await;
    for _ in 0..100 {
        tokens.refresh();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(source.asked(), asked + 1);
    assert_eq!(source.most.load(Ordering::SeqCst), 1);

    // Dropped, it asks no more, and what is there is used until it expires.
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    clock.set(in_seconds(899));
    tokens.refresh();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(source.asked(), asked + 1);
    call(&layer, &wire, request(uri)).await.unwrap();
    clock.set(in_seconds(900));
    assert!(call(&layer, &wire, request(uri)).await.is_err());
}

#[tokio::test]
async fn a_source_that_hangs_is_given_up_and_asked_again() {
    struct Hangs(Source);
    impl TokenSource for Hangs {
        type Error = Down;
        async fn token(&self, demand: &TokenDemand<'_>) -> Result<FreshToken, Down> {
            if self.0.asked() == 0 {
                self.0.demands.lock().unwrap().push(None);
                std::future::pending::<()>().await;
            }
            self.0.token(demand).await
        }
    }
    let (clock, source) = (clock(), Source::default());
    source.will(Ok(("token", in_seconds(300))));
    let failures = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&failures);
    let limit = Duration::from_millis(50);
    let hangs = Hangs(source.clone());
    let refresher = Refresher::new(hangs, ORDERS, Arc::<ManualClock>::clone(&clock))
        .with_limit(limit)
        .with_observer(move |event| {
            if let RefreshEvent::Failed { failure, .. } = event {
                keep.lock().unwrap().push(failure.clone());
            }
        });
    let tokens = refresher.tokens();
    let running = tokio::spawn(refresher.run());
    eventually("it gave up", || !failures.lock().unwrap().is_empty()).await;
    assert_eq!(*failures.lock().unwrap(), [RefreshFailure::Slow { limit }]);
    clock.advance(Duration::from_secs(1));
    // The second attempt may be slower than 50 ms on a busy machine, and is then made again.
    for _ in 0..100 {
        if tokio::time::timeout(Duration::from_secs(1), tokens.ready())
            .await
            .is_ok()
        {
            break;
        }
        source.will(Ok(("token", in_seconds(300))));
        clock.advance(Duration::from_secs(1));
    }
    assert!(tokens.expires().is_some());
    running.abort();
}

#[tokio::test]
async fn another_certificate_asks_for_another_token_at_once() {
    let (clock, source) = (clock(), Source::default());
    let current = Arc::new(Mutex::new(certificate(1)));
    let shown = Arc::clone(&current);
    let (refresher, _) = refresher(&source, &clock);
    let refresher = refresher.bound_to(move || *shown.lock().unwrap());
    let tokens = refresher.tokens();
    source.will(Ok(("one", in_seconds(300))));
    let running = tokio::spawn(refresher.run());
    tokens.ready().await;
    source.will(Ok(("two", in_seconds(301))));
    *current.lock().unwrap() = certificate(2);
    eventually("another", || tokens.expires() == Some(in_seconds(301))).await;
    let demands = source.demands.lock().unwrap().clone();
    assert_eq!(demands, [Some(certificate(1)), Some(certificate(2))]);
    running.abort();
}

#[test]
fn what_cannot_stand_in_authorization_is_no_token() {
    let new = |text: &str| FreshToken::new(text.to_owned(), now());
    assert!(new("eyJhbGciOiJFUzI1NiJ9.e30.c2ln_-~+/==").is_ok());
    for (text, at) in [("a b", 1), ("a\r\nx: y", 1), ("abc,", 3), ("a\u{e9}", 1)] {
        let error = new(text).unwrap_err();
        assert_eq!(error, TokenFormError::Character { at }, "{text:?}");
    }
    for length in [0, 8193] {
        let error = new(&"a".repeat(length)).unwrap_err();
        assert_eq!(error, TokenFormError::Length { length });
    }
    let token = new("secret").unwrap();
    assert!(!format!("{token:?}").contains("secret"));
}

/// A fresh token is attached by a pointer: the text is not copied, and what is allocated is the place for
/// one header.
#[test]
fn a_fresh_token_is_attached_without_copying_it_and_with_two_allocations_at_most() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let clock = clock();
    let text = "t".repeat(4000);
    let tokens = runtime.block_on(held(&text, in_seconds(300), &clock));
    struct Gone;
    impl Service<Request<()>> for Gone {
        type Response = ();
        type Error = Infallible;
        type Future = Ready<Result<(), Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: Request<()>) -> Self::Future {
            assert!(request.headers().contains_key("authorization"));
            ready(Ok(()))
        }
    }
    let clock: Arc<dyn Clock> = clock;
    let layer = Present::new(clock).with_tokens(origin("https://orders.internal"), tokens);
    let mut service = layer.layer(Gone);
    for _ in 0..3 {
        let request = request("https://orders.internal/orders/17");
        let mut future = None;
        let counted = allocation_counter::measure(|| future = Some(service.call(request)));
        pollster::block_on(future.unwrap()).unwrap();
        assert!(counted.count_total <= 2, "{counted:?}");
        assert!(counted.bytes_total < 1024, "{counted:?}");
    }
}
