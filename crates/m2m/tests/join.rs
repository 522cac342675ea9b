//! A machine joins an issuer of another process by an invitation, over HTTP, and goes by it from then on.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use m2m::Runtime;
use m2m::crypto::SystemRandom;
use m2m::guard::Rejection;
use m2m::runtime::{Invitation, IssuerUrls, RuntimeError, StartError, TaskName};
use m2m::tower::{AddressRule, Fetcher, HttpSender, ServeLimits, Server};
use m2m::types::{Clock, ManualClock, ServiceId};
use support::*;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// An issuer with its endpoints on loopback: those of members by mutual TLS, and joining without.
struct World {
    place: Place,
    clock: Arc<ManualClock>,
    orders: Runtime,
    urls: IssuerUrls,
    join: SocketAddr,
    serving: Vec<JoinHandle<()>>,
    told: Arc<std::sync::Mutex<Vec<String>>>,
}

impl World {
    async fn new() -> Self {
        let (place, clock) = (Place::new(), manual());
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let lines = Arc::clone(&told);
        let orders = orders(&place)
            .with_clock(Arc::<ManualClock>::clone(&clock))
            .with_log(move |event| lines.lock().unwrap().push(event.to_string()))
            .start()
            .await
            .unwrap();
        let router = Router::new().route_service("/m2m/{what}", orders.issuer_endpoints().unwrap());
        let (members, join) = (listener().await, listener().await);
        let addresses = (members.local_addr().unwrap(), join.local_addr().unwrap());
        let forever = std::future::pending;
        let (server, service) = (orders.server(), router.clone());
        let tls =
            tokio::spawn(async move { drop(server.serve(members, service, forever()).await) });
        let plain = Server::plain_on_loopback(ServeLimits::new());
        let plain = tokio::spawn(async move { drop(plain.serve(join, router, forever()).await) });
        let urls = IssuerUrls::new(
            &format!("http://{}/m2m", addresses.1),
            &format!("https://{}/m2m", addresses.0),
        );
        Self {
            place,
            clock,
            orders,
            urls,
            join: addresses.1,
            serving: vec![tls, plain],
            told,
        }
    }

    async fn invite(&self, name: &str) -> Invitation {
        let service: ServiceId = name.parse().unwrap();
        let issuer = self.orders.issuer().unwrap();
        let now = self.clock.now().unwrap();
        issuer
            .invite(&service, &self.urls, now, &SystemRandom)
            .await
            .unwrap()
    }

    async fn billing(&self, invitation: Option<&Invitation>) -> Result<Runtime, StartError> {
        let invitation = invitation.map(|one| one.expose_secret().to_string());
        Runtime::builder(BILLING, self.place.of("billing"))
            .joining_by(invitation)
            .allow(ORDERS, reading_orders())
            .with_clock(Arc::<ManualClock>::clone(&self.clock))
            .start()
            .await
    }

    /// What a body sent to join is answered.
    async fn post(&self, body: Vec<u8>) -> (u16, Vec<u8>) {
        let loopback = "127.0.0.0".parse().unwrap();
        let config = self
            .orders
            .tls()
            .connector(m2m::pki::ExpectedPeer::danger_any_service());
        let fetcher = Fetcher::new(config.unwrap().config());
        let fetcher = fetcher.with_addresses(AddressRule::public().allowing(loopback, 8));
        let sender = HttpSender::new(fetcher).danger_with_plain();
        let request = http::Request::post(format!("http://{}/m2m/join", self.join)).body(body);
        let answer = sender.send(&request.unwrap()).await.unwrap();
        (answer.status().as_u16(), answer.into_body())
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for serving in &self.serving {
            serving.abort();
        }
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_invited_joins_and_calls_and_is_a_member_after_a_restart_without_the_invitation() {
    let world = World::new().await;
    let invitation = world.invite(BILLING).await;
    let billing = world.billing(Some(&invitation)).await.unwrap();
    assert!(billing.issuer().is_none());
    let audience = world.orders.service_id().clone();
    let token = billing.token_for(&audience).await.unwrap();
    assert_eq!(
        call(&world.orders, &token, thumbprint(&billing)).unwrap(),
        BILLING
    );
    assert!(
        Arc::ptr_eq(&token, &billing.token_for(&audience).await.unwrap()),
        "it is kept"
    );

    // It takes tokens itself as soon as it has the issuer's keys.
    let back = world.orders.token_for(billing.service_id()).await.unwrap();
    let not_yet = call(&billing, &back, thumbprint(&world.orders)).unwrap_err();
    assert_eq!(
        (not_yet.code(), not_yet.rejection()),
        ("stale", Rejection::Unavailable)
    );
    round(&billing).await;
    assert_eq!(
        call(&billing, &back, thumbprint(&world.orders)).unwrap(),
        ORDERS
    );
    assert!(billing.health().task(TaskName::IssuerKeys).is_some());

    let shown = thumbprint(&billing);
    drop(billing);
    let billing = world.billing(None).await.unwrap();
    assert_eq!(thumbprint(&billing), shown);
    // Also with an invitation that was used: it is not needed.
    drop(billing);
    assert!(world.billing(Some(&invitation)).await.is_ok());
    assert_eq!(world.told(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_works_once_for_one_name_and_an_hour() {
    let world = World::new().await;
    let nobody = world.billing(None).await;
    assert_eq!(nobody.unwrap_err(), StartError::IssuerUnsaid);
    let refused = |started: Result<Runtime, StartError>| match started.unwrap_err() {
        StartError::Runtime(RuntimeError::Refused { status }) => status,
        other => panic!("{other}"),
    };

    let used = world.invite(BILLING).await;
    drop(world.billing(Some(&used)).await.unwrap());
    std::fs::remove_dir_all(world.place.of("billing")).unwrap();
    assert_eq!(refused(world.billing(Some(&used)).await), 403);
    let told = world.told();
    assert!(
        told[0].starts_with("issuer: /join refused: there is no such invitation"),
        "{told:?}"
    );

    std::fs::remove_dir_all(world.place.of("billing")).unwrap();
    let others = world.invite("spiffe://example.org/shop").await;
    let other = world.billing(Some(&others)).await.unwrap_err();
    assert!(other.to_string().contains("for another service"), "{other}");

    let late = world.invite(BILLING).await;
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(late.expires_at(), world.clock.now().unwrap());
    assert_eq!(refused(world.billing(Some(&late)).await), 403);
    for text in [
        "",
        "m2m-invitation-1.",
        "m2m-invitation-1.e30",
        "m2m-invitation-2.e30",
    ] {
        assert_eq!(
            Invitation::parse(text).unwrap_err(),
            RuntimeError::Invitation
        );
    }
    let shown = format!("{late:?}");
    assert!(!shown.contains(&late.expose_secret()[40..]), "{shown}");
}

/// Whoever is on the way between both: has the request, and not the code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_a_request_cannot_join_with_a_key_of_its_own_and_the_invited_still_can() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
    let world = World::new().await;
    // A request is taken from the wire: by a server that keeps what it gets.
    let listener = listener().await;
    let urls = IssuerUrls::new(
        &format!("http://{}", listener.local_addr().unwrap()),
        "https://127.0.0.1:1",
    );
    let service: ServiceId = BILLING.parse().unwrap();
    let issuer = world.orders.issuer().unwrap();
    let now = world.clock.now().unwrap();
    let invitation = issuer
        .invite(&service, &urls, now, &SystemRandom)
        .await
        .unwrap();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let router = Router::new().fallback(move |body: axum::body::Bytes| {
        keep.lock().unwrap().extend_from_slice(&body);
        // What an impostor answers: a certificate of its own making would not do either.
        std::future::ready("{\"chain\":[],\"crl\":\"\"}")
    });
    let plain = Server::plain_on_loopback(ServeLimits::new());
    let serving =
        tokio::spawn(
            async move { drop(plain.serve(listener, router, std::future::pending()).await) },
        );
    let refused = world.billing(Some(&invitation)).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("no certificate of the invitation's root"),
        "{refused}"
    );
    serving.abort();

    let request: serde_json::Value = serde_json::from_slice(&seen.lock().unwrap()).unwrap();
    let text = request.to_string();
    let secret = invitation.expose_secret();
    let json = BASE64URL
        .decode(secret.strip_prefix("m2m-invitation-1.").unwrap())
        .unwrap();
    let facts: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(
        !text.contains(facts["code"].as_str().unwrap()),
        "the code is not sent"
    );

    let key =
        m2m::crypto::SigningKey::generate(m2m::crypto::Algorithm::Es256, &SystemRandom).unwrap();
    let csr = m2m::pki::CsrBuilder::new().sign(&key).unwrap();
    let mut forged = request.clone();
    forged["csr"] = BASE64URL.encode(csr.der()).into();
    assert_eq!(world.post(forged.to_string().into_bytes()).await.0, 403);
    let told = world.told();
    assert!(told[0].contains("was not made with the code"), "{told:?}");
    for body in [&b""[..], b"{}", b"[]", &[b'x'; 100_000]] {
        assert_eq!(world.post(body.to_vec()).await.0, 400);
    }
    // The request as it was made is good still, once.
    let (status, body) = world.post(text.clone().into_bytes()).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(world.post(text.into_bytes()).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_renews_by_its_certificate_until_trust_in_it_is_taken_back() {
    let world = World::new().await;
    let invitation = world.invite(BILLING).await;
    let billing = world.billing(Some(&invitation)).await.unwrap();
    let first = thumbprint(&billing);
    world.clock.advance(Duration::from_secs(16 * 3600));
    round(&world.orders).await;
    round(&billing).await;
    assert_ne!(thumbprint(&billing), first);
    let audience = world.orders.service_id().clone();
    let token = billing.token_for(&audience).await.unwrap();
    assert_eq!(
        call(&world.orders, &token, thumbprint(&billing)).unwrap(),
        BILLING
    );

    world
        .orders
        .revoke_service(billing.service_id())
        .await
        .unwrap();
    assert!(call(&world.orders, &token, thumbprint(&billing)).is_err());
    // It is not even spoken to.
    world.clock.advance(Duration::from_secs(300));
    assert!(billing.token_for(&audience).await.is_err());
    drop(billing);
    // And no invitation brings the name back.
    let again = world.invite(BILLING).await;
    std::fs::remove_dir_all(world.place.of("billing")).unwrap();
    let refused = world.billing(Some(&again)).await.unwrap_err();
    assert_eq!(
        refused,
        StartError::Runtime(RuntimeError::Refused { status: 403 })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_there_is_neither_renewal_nor_token() {
    let world = World::new().await;
    let loopback = "127.0.0.0".parse().unwrap();
    let config = world
        .orders
        .tls()
        .connector(m2m::pki::ExpectedPeer::danger_any_service());
    let fetcher = Fetcher::new(config.unwrap().config());
    let fetcher = fetcher.with_addresses(AddressRule::public().allowing(loopback, 8));
    let sender = HttpSender::new(fetcher).danger_with_plain();
    let ask = async |method: &str, what: &str| {
        let url = format!("http://{}/m2m/{what}", world.join);
        let request = http::Request::builder().method(method).uri(url);
        let request = request.body(b"{\"audience\":\"spiffe://example.org/orders\"}".to_vec());
        sender.send(&request.unwrap()).await.unwrap()
    };
    for what in ["renew", "token"] {
        assert_eq!(ask("POST", what).await.status(), 401);
    }
    assert_eq!(ask("GET", "token").await.status(), 404);
    assert_eq!(ask("POST", "other").await.status(), 404);
    // What is published is for everybody.
    let keys = ask("GET", "jwks.json").await;
    let set = m2m::token::JwkSet::parse(keys.body()).unwrap();
    assert_eq!(set.len(), 1);
    let crl = ask("GET", "crl").await;
    assert_eq!(
        **crl.body(),
        *world.orders.issuer().unwrap().authority().crl_der()
    );
    let bundle = ask("GET", "bundle.json").await;
    let domain = "example.org".parse().unwrap();
    let bundle = m2m::pki::TrustBundle::from_json(domain, bundle.body()).unwrap();
    assert!(bundle.holds(world.orders.issuer().unwrap().authority().certificate()));
}
