//! Fetching from elsewhere: from where, how much, how long, and what is not followed.
#![cfg(feature = "fetch")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use m2m_guard::LastConfirmed;
use m2m_token::{RemoteKeySet, Scratch};
use m2m_tower::{
    AddressRule, FetchFailure, FetchLimits, FetchUrl, Fetched, Fetcher, FollowEvent, KeyFollower,
    Resolve, UrlError,
};
use m2m_types::Timestamp;
use rustls::ClientConfig;
use support::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Trusts nobody: what is fetched here is plain, or fails before.
fn tls() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(
        builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    )
}

fn loopback() -> AddressRule {
    AddressRule::public().allowing("127.0.0.0".parse().unwrap(), 8)
}

fn fetcher() -> Fetcher {
    let limits = FetchLimits::new(Duration::from_secs(2), 10_000);
    Fetcher::new(tls())
        .with_addresses(loopback())
        .with_limits(limits)
}

/// Answers each connection with the next of these, as they are; counts the connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn answering(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            address,
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (
            Arc::clone(&server.connections),
            Arc::clone(&server.requests),
        );
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let mut read = vec![0; 4096];
                let length = stream.read(&mut read).await.unwrap_or(0);
                let text = String::from_utf8_lossy(read.get(..length).unwrap()).into_owned();
                requests.lock().unwrap().push(text);
                let answer = answers.pop_front().unwrap_or_default();
                let _ = stream.write_all(&answer).await;
                if answer.ends_with(b"...") {
                    // It goes on, so slowly that nobody should wait.
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
            }
        });
        server
    }

    fn url(&self) -> FetchUrl {
        FetchUrl::danger_parse_plain(&format!("http://{}/keys?a=b", self.address)).unwrap()
    }
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

async fn fetch_one(bytes: Vec<u8>) -> Result<Fetched, FetchFailure> {
    let server = Server::answering([bytes]).await;
    fetcher().fetch(&server.url(), "application/json").await
}

#[tokio::test]
async fn what_is_there_is_fetched_with_how_long_it_is_fresh() {
    let head = "200 OK\r\ncache-control: public, max-age=600\r\nage: 60\r\ndate: Thu, 01 Jan 2026 00:01:00 GMT";
    let server = Server::answering([answer(head, b"{}")]).await;
    let fetched = fetcher()
        .fetch(&server.url(), "application/json")
        .await
        .unwrap();
    assert_eq!(fetched.body, b"{}");
    assert_eq!(fetched.max_age, Some(Duration::from_secs(540)));
    assert_eq!(fetched.generated, Some(now()));
    let requests = server.requests.lock().unwrap();
    let request = requests.first().unwrap();
    assert!(
        request.starts_with("GET /keys?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let lower = request.to_lowercase();
    assert!(
        lower.contains(&format!("host: {}\r\n", server.address)),
        "{request}"
    );
    // Nothing of ours goes there, and nothing compressed is asked for.
    for absent in ["authorization", "cookie", "accept-encoding", "user-agent"] {
        assert!(!lower.contains(absent), "{request}");
    }
}

#[tokio::test]
async fn jwt_089_no_redirect_is_followed_and_no_other_answer_taken() {
    for (head, status) in [
        ("301 Moved\r\nlocation: http://169.254.169.254/", 301),
        ("302 Found\r\nlocation: file:///etc/passwd", 302),
        ("307 Temporary\r\nlocation: /keys2", 307),
        ("204 No Content", 204),
        ("206 Partial", 206),
        ("304 Not Modified", 304),
        ("401 No", 401),
        ("500 No", 500),
    ] {
        let server = Server::answering([answer(head, b"")]).await;
        let failure = fetcher().fetch(&server.url(), "application/json").await;
        assert_eq!(failure, Err(FetchFailure::Status { status }));
        assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn net_009_what_is_too_long_too_slow_or_encoded_is_not_read_and_never_shown() {
    let secret = b"s3cr3t of the other side".repeat(1000);
    let too_long = FetchFailure::TooLong { limit: 10_000 };
    let failure = fetch_one(answer("200 OK", &secret)).await.unwrap_err();
    assert_eq!(failure, too_long);
    assert!(!format!("{failure} {failure:?}").contains("s3cr3t"));
    // It says no length, and goes on.
    let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        endless.extend_from_slice(b"400\r\n");
        endless.extend_from_slice(&[b'x'; 0x400]);
        endless.extend_from_slice(b"\r\n");
    }
    assert_eq!(fetch_one(endless).await, Err(too_long));
    let failure = fetch_one(answer("500 Oh\r\nx-secret: s3cr3t", &secret))
        .await
        .unwrap_err();
    assert!(!format!("{failure} {failure:?}").contains("s3cr3t"));

    let gzip = answer("200 OK\r\ncontent-encoding: gzip", &[0x1f, 0x8b]);
    assert_eq!(fetch_one(gzip).await, Err(FetchFailure::Encoded));
    let heads = format!("200 OK\r\n{}", "x-many: y\r\n".repeat(20_000));
    assert_eq!(
        fetch_one(answer(heads.trim_end(), b"{}")).await,
        Err(FetchFailure::Http)
    );
    for no_http in [
        &b""[..],
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
    ] {
        assert_eq!(fetch_one(no_http.to_vec()).await, Err(FetchFailure::Http));
    }
    let limit = Duration::from_secs(2);
    for slow in [
        &b"HTTP/1.1 200 OK\r\n..."[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab...",
    ] {
        assert_eq!(
            fetch_one(slow.to_vec()).await,
            Err(FetchFailure::Slow { limit })
        );
    }
}

/// Says something else each time it is asked.
struct Rebinding(Mutex<VecDeque<Vec<IpAddr>>>, AtomicUsize);

impl Rebinding {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |one: &&[&str]| one.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self(
            Mutex::new(answers.iter().map(parse).collect()),
            AtomicUsize::new(0),
        ))
    }
}

impl Resolve for Rebinding {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let next = self.0.lock().unwrap().pop_front().unwrap_or_default();
        Box::pin(async move { Ok(next) })
    }
}

#[tokio::test]
async fn net_007_a_connection_goes_to_the_address_that_was_checked_and_to_no_private_one() {
    let server = Server::answering([answer("200 OK", b"{}"), answer("200 OK", b"{}")]).await;
    let port = server.address.port();
    let strict = || Fetcher::new(tls()).with_limits(FetchLimits::new(Duration::from_secs(2), 100));
    // As addresses.
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
        "[fd00::1]",
        "10.0.0.1",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "192.168.0.1",
        "[fe80::1]",
    ] {
        for scheme in ["http", "https"] {
            let text = format!("{scheme}://{host}:{port}/");
            let url = FetchUrl::parse(&text)
                .or_else(|_| FetchUrl::danger_parse_plain(&text))
                .unwrap();
            let failure = strict().fetch(&url, "*/*").await.unwrap_err();
            assert!(
                matches!(failure, FetchFailure::Address { .. }),
                "{url}: {failure}"
            );
        }
    }
    // As names that lead there, alone or beside a public one, the machine's own among them.
    let url = |host| FetchUrl::danger_parse_plain(&format!("http://{host}:{port}/")).unwrap();
    for answers in [
        &["127.0.0.1"][..],
        &["1.1.1.1", "127.0.0.1"],
        &["::1"],
        &["::ffff:127.0.0.1"],
    ] {
        let resolver = Rebinding::new(&[answers]);
        let fetcher = strict().with_resolver(Arc::<Rebinding>::clone(&resolver));
        let failure = fetcher
            .fetch(&url("evil.example"), "*/*")
            .await
            .unwrap_err();
        assert!(
            matches!(failure, FetchFailure::Address { .. }),
            "{answers:?}: {failure}"
        );
    }
    let failure = strict().fetch(&url("localhost"), "*/*").await.unwrap_err();
    assert!(matches!(failure, FetchFailure::Address { .. }), "{failure}");
    assert_eq!(server.connections.load(Ordering::Relaxed), 0);

    // A name that says one thing when it is checked and another thing afterwards is asked once.
    let resolver = Rebinding::new(&[&["127.0.0.1"], &["10.0.0.1"], &["10.0.0.1"]]);
    let allowing = strict()
        .with_addresses(loopback())
        .with_resolver(Arc::<Rebinding>::clone(&resolver));
    let fetched = allowing
        .fetch(&url("changing.example"), "*/*")
        .await
        .unwrap();
    assert_eq!(
        (fetched.body.as_slice(), resolver.1.load(Ordering::Relaxed)),
        (&b"{}"[..], 1)
    );
    let failure = allowing
        .fetch(&url("changing.example"), "*/*")
        .await
        .unwrap_err();
    assert_eq!(
        failure,
        FetchFailure::Address {
            address: "10.0.0.1".parse().unwrap()
        }
    );
    let nowhere = strict().with_resolver(Rebinding::new(&[]));
    let failure = nowhere
        .fetch(&url("nowhere.example"), "*/*")
        .await
        .unwrap_err();
    assert_eq!(failure, FetchFailure::Resolve(io::ErrorKind::NotFound));
}

#[test]
fn net_007_addresses_in_disguise_are_no_names() {
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0",
        "1",
        "127.0.0.0x1",
        "evil.1",
        "evil.0x1",
        "[127.0.0.1]",
        "[::1",
        "::1",
        "[fe80::1%25eth0]",
        "[v1.x]",
        "",
        ".",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        "%6c%6f%63alhost",
        "\u{2460}27.0.0.1",
        "a b",
        "a\tb",
        "a\\b",
    ] {
        let url = FetchUrl::parse(&format!("https://{host}/"));
        assert!(
            matches!(
                url,
                Err(UrlError::Host | UrlError::Character { .. } | UrlError::Port)
            ),
            "{host}: {url:?}"
        );
    }
}

#[test]
fn net_010_only_https_without_a_user_is_fetched() {
    for (text, error) in [
        ("http://issuer.example/", UrlError::Scheme),
        ("ftp://issuer.example/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("gopher://x/", UrlError::Scheme),
        ("//issuer.example/", UrlError::Scheme),
        ("https:issuer.example", UrlError::Scheme),
        ("HTTPS://issuer.example/", UrlError::Scheme),
        ("", UrlError::Scheme),
        ("https://user@issuer.example/", UrlError::UserInfo),
        ("https://u:p@issuer.example/", UrlError::UserInfo),
        ("https://issuer.example@evil.example/", UrlError::UserInfo),
        ("https://issuer.example/#x", UrlError::Fragment),
        ("https://issuer.example:0/", UrlError::Port),
        ("https://issuer.example:65536/", UrlError::Port),
        ("https://issuer.example:/", UrlError::Port),
        ("https://issuer.example:+1/", UrlError::Port),
        ("https://[::1]x/", UrlError::Port),
        (" https://issuer.example/", UrlError::Character { at: 0 }),
        (
            "https://issuer.example/\r\nx",
            UrlError::Character { at: 23 },
        ),
    ] {
        assert_eq!(FetchUrl::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(
        FetchUrl::danger_parse_plain("https://issuer.example/"),
        Err(UrlError::Scheme)
    );
    let long = format!("https://issuer.example/{}", "a".repeat(FetchUrl::MAX_BYTES));
    assert!(matches!(
        FetchUrl::parse(&long),
        Err(UrlError::TooLong { .. })
    ));
    for (text, shown) in [
        ("https://Issuer.Example:443", "https://issuer.example/"),
        ("https://issuer.example?x=1", "https://issuer.example/?x=1"),
        (
            "https://issuer.example:8443/a%20b?c",
            "https://issuer.example:8443/a%20b?c",
        ),
        ("https://[2a00::1]/", "https://[2a00::1]/"),
    ] {
        assert_eq!(FetchUrl::parse(text).unwrap().to_string(), shown);
    }
}

#[tokio::test]
async fn a_follower_brings_new_keys_and_says_when_they_were_confirmed() {
    let (old, new) = (World::new(), World::new());
    let set = |world: &World| answer("200 OK", world.ring.jwk_set().to_json().as_bytes());
    let html = answer("200 OK\r\ncontent-type: text/html", b"<html>");
    let server = Server::answering([set(&old), html, set(&new)]).await;
    let clock = Arc::clone(&old.clock);
    let events = Arc::new(Mutex::new(Vec::new()));
    let remote = RemoteKeySet::new().with_cooldown(Duration::from_secs(5));
    let follower = {
        let events = Arc::clone(&events);
        KeyFollower::new(fetcher(), server.url(), remote, clock.clone())
            .with_observer(move |event| events.lock().unwrap().push(event.clone()))
    };
    let (keys, confirmed, unknown) = (
        follower.keys(),
        follower.confirmed(),
        follower.unknown_keys(),
    );
    assert_eq!(confirmed.age(now()), None);
    let running = tokio::spawn(follower.run());
    let until = |count: usize| {
        let events = Arc::clone(&events);
        async move {
            for _ in 0..500 {
                if events.lock().unwrap().len() >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{:?}", events.lock().unwrap());
        }
    };
    until(1).await;
    assert_eq!(
        events.lock().unwrap().last(),
        Some(&FollowEvent::Confirmed { keys: 1 })
    );
    assert_eq!(age(&confirmed, now()), Some(0));
    let takes = |world: &World, now: Timestamp| {
        let issuers = m2m_token::Issuers::one(ISSUER, Arc::clone(&keys));
        let audience = m2m_token::Audience::exactly(ORDERS);
        let verifier =
            m2m_token::Verifier::builder(issuers, audience, m2m_token::TokenType::access_token());
        verifier
            .build()
            .unwrap()
            .verify(&world.token(), now, &mut Scratch::new())
            .is_ok()
    };
    assert!(takes(&old, now()) && !takes(&new, now()));

    // Strangers' keys lead to one fetch, when the cool-down is over; what is no key set changes nothing.
    clock.advance(Duration::from_secs(6));
    for _ in 0..1000 {
        unknown.met_one();
    }
    until(2).await;
    assert!(matches!(
        events.lock().unwrap().last(),
        Some(FollowEvent::Refused(_))
    ));
    assert!(takes(&old, now()));
    assert_eq!(
        age(&confirmed, m2m_types::Clock::now(&*clock).unwrap()),
        Some(6)
    );
    clock.advance(Duration::from_secs(10));
    unknown.met_one();
    until(3).await;
    assert!(takes(&new, now()) && !takes(&old, now()));
    assert_eq!(server.connections.load(Ordering::Relaxed), 3);
    running.abort();
}

fn age(confirmed: &LastConfirmed, now: Timestamp) -> Option<u64> {
    confirmed.age(now).map(|age| age.as_secs())
}
