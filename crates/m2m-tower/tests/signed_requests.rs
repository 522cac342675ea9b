//! Signed requests: the handler sees what was signed, or nothing.
#![cfg(feature = "secrets")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body::Frame;
use http_body_util::BodyExt as _;
use m2m_crypto::SystemRandom;
use m2m_guard::{
    AllowList, Caller, CallerSecrets, Credential, Freshness, Grant, Guard, HttpCallers, Resources,
};
use m2m_secrets::{
    ContentDigest, HttpSignatureKey, HttpSignaturePolicy, HttpSigner, HttpSigningKey, ReplayMemory,
    RequestKey, RequestParts, Ring, SecretName, SecretVersion, SharedSecret, TimeWindow,
    sign_request,
};
use m2m_tower::{AuthenticateSigned, NotAdmitted, SignedRequests};
use m2m_types::{Live, Timestamp};
use support::*;
use tower::ServiceExt as _;

const ALL: [&str; 6] = [
    "@method",
    "@authority",
    "@path",
    "@query",
    "content-digest",
    "content-type",
];

/// A service that takes tokens and both forms of signatures, and what it told of refusals.
struct Signed {
    world: World,
    secret: SharedSecret,
    ring: Arc<Live<Ring<RequestKey>>>,
    guard: Arc<Guard>,
    told: Arc<Mutex<Vec<&'static str>>>,
    calls: Arc<AtomicUsize>,
}

impl Signed {
    fn new() -> Self {
        let world = World::new();
        let secret = SharedSecret::generate(&SystemRandom).unwrap();
        let memory =
            || Arc::new(ReplayMemory::new(1_000, TimeWindow::FIVE_MINUTES, &SystemRandom).unwrap());
        let name = SecretName::new("billing").unwrap();
        let first = SecretVersion::FIRST;
        let ring = Ring::fixed_with(&name, [(first, &secret)], first, now(), RequestKey::derive);
        let ring = Arc::new(Live::new(ring.unwrap()));
        let sharers = CallerSecrets::new()
            .with_ring(service(BILLING), Arc::clone(&ring))
            .unwrap();
        let key = HttpSignatureKey::secret(&secret).unwrap();
        let callers = HttpCallers::new()
            .with_key(service(BILLING), "billing.1", key)
            .unwrap();
        // The policy demands next to nothing: what matters is demanded whatever it says.
        let policy = HttpSignaturePolicy::new(&["@method"], memory()).unwrap();
        let orders = || Resources::under("/orders").unwrap();
        let allowed = ["GET", "POST", "PUT", "DELETE"]
            .into_iter()
            .fold(AllowList::new(), |list, method| {
                list.allow(&service(BILLING), Grant::new(method, orders()))
            });
        let guard = Guard::builder(allowed)
            .with_bearer_tokens(world.verifier(), Freshness::in_process())
            .with_signed_requests(Arc::new(Live::new(sharers)), memory())
            .with_http_signatures(Arc::new(Live::new(callers)), policy)
            .with_revocations(Arc::clone(&world.revocations), Freshness::in_process());
        Self {
            guard: Arc::new(guard.build().unwrap()),
            world,
            secret,
            ring,
            told: Arc::default(),
            calls: Arc::default(),
        }
    }

    fn bounds() -> SignedRequests {
        SignedRequests::to(["orders.internal", "orders.internal:8443"])
    }

    fn layer(&self, bounds: SignedRequests) -> AuthenticateSigned {
        let told = Arc::clone(&self.told);
        let clock = Arc::<m2m_types::ManualClock>::clone(&self.world.clock);
        m2m_tower::Authenticate::new(Arc::clone(&self.guard), clock)
            .with_observer(move |refused, _| told.lock().unwrap().push(refused.code()))
            .with_signed_requests(bounds)
    }

    fn router(&self, layer: AuthenticateSigned) -> Router {
        let calls = Arc::clone(&self.calls);
        let handler =
            move |method: Method, uri: Uri, headers: HeaderMap, request: Request<Body>| {
                calls.fetch_add(1, Ordering::Relaxed);
                async move {
                    let caller = request.extensions().get::<Caller>().cloned();
                    let not_admitted = request.extensions().get::<NotAdmitted>().copied();
                    let by = caller.map(|caller| {
                        let by_signature = caller.has(Credential::Signature);
                        format!("{} {by_signature}", caller.service_id().as_str())
                    });
                    let content_type = headers.get("content-type").cloned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    format!("{method} {uri} {content_type:?} {by:?} {not_admitted:?} {body:?}")
                }
            };
        Router::new().fallback(any(handler)).layer(layer)
    }

    async fn ask(&self, request: Request<Body>) -> (u16, String) {
        let router = self.router(self.layer(Self::bounds()));
        answer(router, request).await
    }

    /// The one word that the observer was told since the last time.
    fn why(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    fn http(&self, covered: &[&str], request: &mut Request<Bytes>, at: Timestamp) {
        sign_http(&self.secret, "billing.1", covered, request, at);
    }

    fn compact(&self, request: &mut Request<Bytes>, at: Timestamp) {
        let authority = request.headers()["host"].as_bytes().to_vec();
        let target = request.uri().path_and_query().unwrap().as_str().to_owned();
        let method = request.method().as_str().to_owned();
        let parts = RequestParts::new(method.as_bytes(), &authority, target.as_bytes())
            .with_body(request.body());
        let header = sign_request(&self.ring.load(), &parts, at, &SystemRandom).unwrap();
        request
            .headers_mut()
            .insert("m2m-signature", header.parse().unwrap());
    }
}

fn sign_http(
    secret: &SharedSecret,
    key_id: &str,
    covered: &[&str],
    request: &mut Request<Bytes>,
    at: Timestamp,
) {
    if !request.body().is_empty() || covered.contains(&"content-digest") {
        let digest = ContentDigest::sha256(request.body()).to_string();
        request
            .headers_mut()
            .insert("content-digest", digest.parse().unwrap());
    }
    sign_fields(secret, key_id, covered, request, at);
}

/// Signs a request as it is.
fn sign_fields(
    secret: &SharedSecret,
    key_id: &str,
    covered: &[&str],
    request: &mut Request<Bytes>,
    at: Timestamp,
) {
    let key = HttpSigningKey::secret(secret).unwrap();
    let signer = HttpSigner::new("sig", covered, key_id, key).unwrap();
    let (mut parts, body) = std::mem::take(request).into_parts();
    let fields = signer.sign(&parts, at, &SystemRandom).unwrap();
    let value = |text: &str| text.parse().unwrap();
    parts
        .headers
        .insert("signature-input", value(fields.signature_input()));
    parts.headers.insert("signature", value(fields.signature()));
    *request = Request::from_parts(parts, body);
}

async fn answer(router: Router, request: Request<Body>) -> (u16, String) {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn post() -> Request<Bytes> {
    Request::post("/orders/17?dry=1")
        .header("host", "orders.internal")
        .header("content-type", "text/plain")
        .body(Bytes::from_static(b"two apples"))
        .unwrap()
}

fn sent(request: Request<Bytes>) -> Request<Body> {
    request.map(Body::from)
}

/// A body that comes in pieces, whose length nobody knows, and perhaps never ends.
fn in_pieces(pieces: Vec<Frame<Bytes>>, ends: bool) -> Body {
    struct Pieces(Vec<Frame<Bytes>>, bool);
    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.is_empty() {
                false => Poll::Ready(Some(Ok(self.0.remove(0)))),
                true if self.1 => Poll::Ready(None),
                true => Poll::Pending,
            }
        }
    }
    Body::new(Pieces(pieces, ends))
}

fn pieces(parts: &[&'static str]) -> Vec<Frame<Bytes>> {
    let frame = |part: &&'static str| Frame::data(Bytes::from_static(part.as_bytes()));
    parts.iter().map(frame).collect()
}

/// Signs a request in a form.
type Sign = fn(&Signed, &mut Request<Bytes>, Timestamp);

const FORMS: [Sign; 2] = [
    |signed, request, at| signed.http(&ALL, request, at),
    |signed, request, at| signed.compact(request, at),
];

#[tokio::test]
async fn a_signed_request_reaches_the_handler_as_it_was_signed() {
    let signed = Signed::new();
    for sign in FORMS {
        let mut request = post();
        sign(&signed, &mut request, now());
        let (parts, body) = request.into_parts();
        assert_eq!(body.len(), 10);
        // In one piece or in several: the digest is over the content.
        let body = in_pieces(pieces(&["two", " ", "", "apples"]), true);
        let (status, saw) = signed.ask(Request::from_parts(parts, body)).await;
        let expected = format!(
            "POST /orders/17?dry=1 Some(\"text/plain\") Some(\"{BILLING} true\") None b\"two apples\""
        );
        assert_eq!((status, saw), (200, expected));

        // Without content.
        let mut get = Request::get("/orders/17")
            .header("host", "ORDERS.internal:8443")
            .header("content-type", "text/plain")
            .body(Bytes::new())
            .unwrap();
        sign(&signed, &mut get, now());
        assert_eq!(signed.ask(sent(get)).await.0, 200);
    }
    // By a signature that covers no digest, since there is nothing to digest.
    let mut get = Request::get("/orders/17")
        .header("host", "orders.internal")
        .body(Bytes::new())
        .unwrap();
    signed.http(&["@method", "@target-uri"], &mut get, now());
    assert_eq!(signed.ask(sent(get)).await.0, 200);
    assert_eq!(signed.why(), [""; 0]);
}

#[tokio::test]
async fn a_signed_request_is_refused_with_anything_changed_and_nothing_reaches_the_handler() {
    type Change = fn(&mut Request<Bytes>);
    let changes: [(&str, Change); 9] = [
        ("body", |request| {
            *request.body_mut() = Bytes::from_static(b"ten apples")
        }),
        ("longer", |request| {
            *request.body_mut() = Bytes::from_static(b"two apples ")
        }),
        ("no body", |request| *request.body_mut() = Bytes::new()),
        ("path", |request| {
            *request.uri_mut() = Uri::from_static("/orders/18?dry=1")
        }),
        ("query", |request| {
            *request.uri_mut() = Uri::from_static("/orders/17?dry=0")
        }),
        ("no query", |request| {
            *request.uri_mut() = Uri::from_static("/orders/17")
        }),
        ("method", |request| *request.method_mut() = Method::PUT),
        ("host", |request| {
            request
                .headers_mut()
                .insert("host", "orders.internal:8443".parse().unwrap());
        }),
        ("signature", |request| {
            for name in ["signature", "m2m-signature"] {
                if let Some(value) = request.headers_mut().get_mut(name) {
                    let text = value.to_str().unwrap();
                    let at = text.len() - 6;
                    let other = if &text[at..=at] == "A" { "B" } else { "A" };
                    let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                    *value = changed.parse().unwrap();
                }
            }
        }),
    ];
    for sign in FORMS {
        let signed = Signed::new();
        for (what, change) in &changes {
            let mut request = post();
            sign(&signed, &mut request, now());
            change(&mut request);
            let (status, body) = signed.ask(sent(request)).await;
            let told = "{\"error\":\"invalid_token\"}\n".to_owned();
            assert_eq!((status, body), (401, told), "{what}");
            assert!(
                matches!(signed.why()[..], ["signature" | "content"]),
                "{what}"
            );
        }
        // Signed too long ago, or ahead of the clock.
        for at in [
            now().saturating_sub(Duration::from_secs(301)),
            now().saturating_add(Duration::from_secs(301)),
        ] {
            let mut request = post();
            sign(&signed, &mut request, at);
            assert_eq!(signed.ask(sent(request)).await.0, 401);
        }
        assert_eq!(signed.why(), ["signature"; 2]);
        assert_eq!(signed.calls.load(Ordering::Relaxed), 0);

        // Once, and no second time.
        let mut request = post();
        sign(&signed, &mut request, now());
        let again = request.clone();
        assert_eq!(signed.ask(sent(request)).await.0, 200);
        assert_eq!(signed.ask(sent(again)).await.0, 401);
        assert_eq!(signed.why(), ["signature"]);
        assert_eq!(signed.calls.load(Ordering::Relaxed), 1);
    }

    // What only RFC 9421 can cover, and keys of others.
    let signed = Signed::new();
    let mut request = post();
    signed.http(&ALL, &mut request, now());
    request
        .headers_mut()
        .insert("content-type", "text/html".parse().unwrap());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    let stranger = SharedSecret::generate(&SystemRandom).unwrap();
    for (secret, key_id) in [(&stranger, "billing.1"), (&signed.secret, "shop.1")] {
        let mut request = post();
        sign_http(secret, key_id, &ALL, &mut request, now());
        assert_eq!(signed.ask(sent(request)).await.0, 401);
    }
    let mut request = post();
    Signed::new().compact(&mut request, now());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    assert_eq!(signed.why(), ["signature"; 4]);
}

#[tokio::test]
async fn a_signature_that_leaves_out_what_matters_is_refused_whatever_the_policy_says() {
    let signed = Signed::new();
    for left_out in ["@authority", "@path", "@query", "content-digest"] {
        let covered: Vec<_> = ALL.into_iter().filter(|name| *name != left_out).collect();
        let mut request = post();
        signed.http(&covered, &mut request, now());
        assert_eq!(signed.ask(sent(request)).await.0, 401, "{left_out}");
        assert_eq!(signed.why(), ["unsigned"], "{left_out}");
    }
    // Not the thing itself.
    let mut request = post();
    let member = "\"content-digest\";key=\"sha-256\"";
    let covered = ["@method", "@target-uri", member];
    signed.http(&covered, &mut request, now());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    assert_eq!(signed.why(), ["unsigned"]);
    // The policy's own demand.
    let mut request = post();
    signed.http(&ALL[1..], &mut request, now());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    assert_eq!(signed.why(), ["signature"]);
    // Covered, and not there; and there, with no hash that counts.
    let mut request = post();
    signed.http(&ALL[..5], &mut request, now());
    request.headers_mut().remove("content-digest");
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    assert_eq!(signed.why(), ["signature"]);
    let mut request = post();
    request
        .headers_mut()
        .insert("content-digest", "md5=:AAAA:".parse().unwrap());
    sign_fields(&signed.secret, "billing.1", &ALL, &mut request, now());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    // Not covered by a signature that needs it not, and wrong: one of the two was changed.
    let mut request = Request::get("/orders/17")
        .header("host", "orders.internal")
        .body(Bytes::new())
        .unwrap();
    let other = ContentDigest::sha256(b"apples").to_string();
    let headers = request.headers_mut();
    headers.insert("content-digest", other.parse().unwrap());
    sign_fields(&signed.secret, "billing.1", &ALL[..4], &mut request, now());
    assert_eq!(signed.ask(sent(request)).await.0, 401);
    assert_eq!(signed.why(), ["content"; 2]);
    let mut request = post();
    request
        .headers_mut()
        .insert("content-digest", "md5=:AAAA:".parse().unwrap());
    signed.compact(&mut request, now());
    assert_eq!(
        signed.ask(sent(request)).await.0,
        200,
        "the compact form goes by the content"
    );
    assert_eq!(signed.why(), [""; 0]);
    assert_eq!(signed.calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_signed_for_another_service_or_in_two_ways_is_no_request() {
    let signed = Signed::new();
    for host in [
        "mail.internal",
        "orders.internal.evil.example",
        "orders.internal:80",
    ] {
        for sign in FORMS {
            let mut request = post();
            request.headers_mut().insert("host", host.parse().unwrap());
            sign(&signed, &mut request, now());
            assert_eq!(signed.ask(sent(request)).await.0, 400, "{host}");
            assert_eq!(signed.why(), ["signature_authority"], "{host}");
        }
    }
    let mut twice = post();
    signed.compact(&mut twice, now());
    let mut both = twice.clone();
    let again = twice.headers()["m2m-signature"].clone();
    twice.headers_mut().append("m2m-signature", again);
    assert_eq!(signed.ask(sent(twice)).await.0, 400);
    signed.http(&ALL, &mut both, now());
    assert_eq!(signed.ask(sent(both)).await.0, 400);
    let mut hosts = post();
    signed.compact(&mut hosts, now());
    hosts
        .headers_mut()
        .append("host", "mail.internal".parse().unwrap());
    assert_eq!(signed.ask(sent(hosts)).await.0, 400);
    // The target names one host and `Host` another.
    let mut absolute = post();
    signed.http(&ALL, &mut absolute, now());
    *absolute.uri_mut() = Uri::from_static("https://mail.internal/orders/17?dry=1");
    assert_eq!(signed.ask(sent(absolute)).await.0, 400);
    let why = [
        "signature_repeated",
        "signature_forms",
        "signature_authority",
        "signature_authority",
    ];
    assert_eq!(signed.why(), why);
    // Half of a signature is one, and does not hold.
    for name in ["signature", "signature-input"] {
        let mut half = post();
        signed.http(&ALL, &mut half, now());
        half.headers_mut().remove(name);
        assert_eq!(signed.ask(sent(half)).await.0, 401);
    }
    assert_eq!(signed.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn dos_content_is_read_within_bounds_of_size_time_and_number() {
    let signed = Signed::new();
    let bounds = Signed::bounds().with_content(10, Duration::from_millis(50));
    for sign in FORMS {
        // Ten bytes fit, and one more does not, announced or not.
        let mut fits = post();
        sign(&signed, &mut fits, now());
        let mut long = post();
        *long.body_mut() = Bytes::from_static(b"ten apples!");
        sign(&signed, &mut long, now());
        let mut streamed = post();
        *streamed.body_mut() = Bytes::from_static(b"ten apples!");
        sign(&signed, &mut streamed, now());
        let streamed = streamed.map(|_| in_pieces(pieces(&["ten ", "apples", "!"]), false));
        let mut slow = post();
        sign(&signed, &mut slow, now());
        let slow = slow.map(|_| in_pieces(pieces(&["two"]), false));
        let mut trailed = post();
        sign(&signed, &mut trailed, now());
        let mut frames = pieces(&["two apples"]);
        frames.push(Frame::trailers(HeaderMap::new()));
        let trailed = trailed.map(|_| in_pieces(frames, true));

        let router = signed.router(signed.layer(bounds.clone()));
        assert_eq!(answer(router.clone(), sent(fits)).await.0, 200);
        assert_eq!(answer(router.clone(), sent(long)).await.0, 413);
        assert_eq!(answer(router.clone(), streamed).await.0, 413);
        assert_eq!(answer(router.clone(), slow).await.0, 408);
        assert_eq!(answer(router, trailed).await.0, 400);
        let why = [
            "content_too_long",
            "content_too_long",
            "content_slow",
            "content_broken",
        ];
        assert_eq!(signed.why(), why);

        // Two requests of ten bytes are more than fifteen; when one is done, there is room again.
        let bounds = Signed::bounds()
            .with_content(10, Duration::from_secs(30))
            .with_total(15);
        let router = signed.router(signed.layer(bounds));
        let mut first = post();
        sign(&signed, &mut first, now());
        let waits = first.map(|_| in_pieces(pieces(&["two"]), false));
        let mut waiting = Box::pin(answer(router.clone(), waits));
        let is_waiting = std::future::poll_fn(|context| {
            Poll::Ready(waiting.as_mut().poll(context).is_pending())
        });
        assert!(is_waiting.await);
        let mut second = post();
        sign(&signed, &mut second, now());
        assert_eq!(answer(router.clone(), sent(second)).await.0, 503);
        assert_eq!(signed.why(), ["content_room"]);
        drop(waiting);
        let mut third = post();
        sign(&signed, &mut third, now());
        assert_eq!(answer(router, sent(third)).await.0, 200);
    }
}

#[tokio::test]
async fn dos_a_stranger_has_no_content_read_for_a_signature_of_rfc_9421() {
    let signed = Signed::new();
    let mut forged = post();
    let stranger = SharedSecret::generate(&SystemRandom).unwrap();
    sign_http(&stranger, "billing.1", &ALL, &mut forged, now());
    // It would never end.
    let forged = forged.map(|_| in_pieces(Vec::new(), false));
    assert_eq!(signed.ask(forged).await.0, 401);
    assert_eq!(signed.why(), ["signature"]);
}

#[tokio::test]
async fn what_is_not_signed_goes_the_way_of_a_token_its_body_unread() {
    let signed = Signed::new();
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    let handler = move |body: Body| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            // The first piece is there, and of the rest nobody has asked.
            let mut body = body;
            body.frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len()
                .to_string()
        }
    };
    let layer = signed.layer(Signed::bounds());
    let router = Router::new().fallback(any(handler)).layer(layer);
    let request = Request::post("/orders/17")
        .header("authorization", format!("Bearer {}", signed.world.token()))
        .body(in_pieces(pieces(&["two"]), false))
        .unwrap();
    assert_eq!(answer(router.clone(), request).await, (200, "3".to_owned()));
    let nobody = Request::post("/orders/17")
        .body(in_pieces(Vec::new(), false))
        .unwrap();
    assert_eq!(answer(router, nobody).await.0, 401);
    assert_eq!(reached.load(Ordering::Relaxed), 1);
    assert_eq!(signed.why(), ["nothing_presented"]);
}

#[tokio::test]
async fn a_signature_and_a_token_must_be_of_one_machine() {
    let signed = Signed::new();
    for sign in FORMS {
        let with_token = |token: String| {
            let mut request = post();
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
            sign(&signed, &mut request, now());
            sent(request)
        };
        assert_eq!(signed.ask(with_token(signed.world.token())).await.0, 200);
        let other = m2m_token::TokenRequest::new(
            "spiffe://example.org/shop",
            ORDERS,
            Duration::from_secs(300),
        );
        let other = with_token(signed.world.mint(&other));
        assert_eq!(signed.ask(other).await.0, 401);
        assert_eq!(signed.why(), ["disagree"]);
    }
}

#[tokio::test]
async fn where_the_layer_only_annotates_the_handler_gets_the_content_and_no_caller() {
    let signed = Signed::new();
    let clock = Arc::<m2m_types::ManualClock>::clone(&signed.world.clock);
    let layer = m2m_tower::Authenticate::new(Arc::clone(&signed.guard), clock)
        .only_annotating()
        .with_signed_requests(Signed::bounds());
    let router = signed.router(layer);
    for sign in FORMS {
        let mut changed = post();
        sign(&signed, &mut changed, now());
        *changed.body_mut() = Bytes::from_static(b"ten apples");
        let (status, saw) = answer(router.clone(), sent(changed)).await;
        assert_eq!(status, 200);
        let expected = "None Some(NotAdmitted(Unauthenticated)) b\"ten apples\"";
        assert!(saw.ends_with(expected), "{saw}");
    }
}

#[tokio::test]
async fn a_guard_that_takes_no_signatures_refuses_them_before_any_content_is_read() {
    let signed = Signed::new();
    let clock = Arc::<m2m_types::ManualClock>::clone(&signed.world.clock);
    let told = Arc::clone(&signed.told);
    let guard = Arc::new(signed.world.bearer().build().unwrap());
    let layer = m2m_tower::Authenticate::new(guard, clock)
        .with_observer(move |refused, _| told.lock().unwrap().push(refused.code()))
        .with_signed_requests(Signed::bounds());
    let router = signed.router(layer);
    for sign in FORMS {
        let mut request = post();
        sign(&signed, &mut request, now());
        let token = format!("Bearer {}", signed.world.token());
        let headers = request.headers_mut();
        headers.insert("authorization", token.parse().unwrap());
        let request = request.map(|_| in_pieces(Vec::new(), false));
        assert_eq!(answer(router.clone(), request).await.0, 401);
        assert_eq!(signed.why(), ["not_taken"]);
    }
}
