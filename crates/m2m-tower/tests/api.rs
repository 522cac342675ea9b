//! What is public: the same answers whatever features are on, and nothing that shows or copies a secret.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Empty;
use m2m_guard::{AllowList, Freshness, Guard};
use m2m_revoke::Target;
use m2m_token::TokenRequest;
use m2m_tower::{Authenticate, PeerThumbprint, Refused};
use m2m_types::Timestamp;
use support::*;
use tower::{Layer as _, service_fn};

type Asked = Request<Empty<Bytes>>;

fn of(method: Method, path: &str, authorization: &[&str]) -> Asked {
    let mut request = get(path).method(method);
    for value in authorization {
        request = request.header("authorization", *value);
    }
    request.body(Empty::new()).unwrap()
}

/// What is asked, and the answer: status, code and detail. One that is admitted has no code.
fn cases(world: &World) -> Vec<(Asked, (u16, &'static str, &'static str))> {
    let lasting =
        |subject, audience| TokenRequest::new(subject, audience, Duration::from_secs(300));
    let bearer = |token: &str| format!("Bearer {token}");
    let good = bearer(&world.token());
    let bound = lasting(BILLING, ORDERS).with_certificate_binding(certificate(1));
    let bound = bearer(&world.mint(&bound));
    let shown = |n| {
        let mut request = of(Method::GET, "/orders", &[&bound]);
        request
            .extensions_mut()
            .insert(PeerThumbprint(certificate(n)));
        request
    };
    let revoked = bearer(&world.mint(&lasting(BILLING, ORDERS).with_token_id("r")));
    let target = Target::Token {
        issuer: ISSUER,
        jti: "r",
    };
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    let other = bearer(&world.mint(&lasting(BILLING, "spiffe://example.org/x")));
    let unknown = bearer(&world.mint(&lasting("spiffe://example.org/nobody", ORDERS)));
    let nameless = bearer(&world.mint(&lasting("a user", ORDERS)));
    let forged = bearer(&World::new().token());
    let get = |path: &str, authorization: &str| of(Method::GET, path, &[authorization]);
    vec![
        (get("/orders/17", &good), (200, "", "")),
        (shown(1), (200, "", "")),
        (shown(2), (401, "token", "binding_mismatch")),
        (get("/orders", &bound), (401, "token", "binding_missing")),
        (
            of(Method::GET, "/orders", &[]),
            (401, "nothing_presented", ""),
        ),
        (get("/orders", &forged), (401, "token", "key_unknown")),
        (get("/orders", &revoked), (401, "token", "revoked")),
        (get("/orders", &other), (401, "token", "audience")),
        (get("/orders", &nameless), (401, "not_service", "token")),
        (get("/orders", "Bearer a.b.c"), (401, "token", "base64")),
        (get("/orders", "Bearer a"), (401, "token", "parts")),
        (get("/orders", &unknown), (403, "denied", "")),
        (get("/customers", &good), (403, "denied", "")),
        (of(Method::POST, "/orders", &[&good]), (403, "denied", "")),
        (get("/orders/../x", &good), (400, "path", "")),
        (
            get("/orders?access_token=x", &good),
            (400, "token_in_query", ""),
        ),
        (
            get("/orders", "Basic eA=="),
            (400, "authorization_scheme", ""),
        ),
        (get("/orders", "Bearer  x"), (400, "authorization_form", "")),
        (
            of(Method::GET, "/orders", &[&good, &good]),
            (400, "authorization_repeated", ""),
        ),
    ]
}

/// Everything on that there is, where it is compiled.
fn watched(layer: Authenticate) -> Authenticate {
    #[cfg(feature = "metrics")]
    let layer = layer.with_metrics(&m2m_tower::Metrics::new());
    #[cfg(feature = "tracing")]
    let layer = layer.with_tracing();
    layer
}

/// `.ci/run` runs this with all features and with none: the answers stand here, so they are the same.
#[test]
fn api_001_answers_are_the_same_whatever_features_are_on() {
    let world = World::new();
    let told = Arc::new(Mutex::new(("", "")));
    let keep = Arc::clone(&told);
    let layer = world.layer().with_observer(move |refused: &Refused, _| {
        *keep.lock().unwrap() = (refused.code(), refused.detail());
    });
    for layer in [layer.clone(), watched(layer)] {
        for (request, expected) in cases(&world) {
            *told.lock().unwrap() = ("", "");
            let shown = format!("{request:?}");
            let answer = send(&layer, request);
            let (code, detail) = *told.lock().unwrap();
            assert_eq!((answer.status.as_u16(), code, detail), expected, "{shown}");
            assert_eq!(answer.seen.is_some(), code.is_empty());
            assert!(
                code.is_empty() || Refused::codes().any(|pair| pair == (code, detail)),
                "not listed: {code} {detail}"
            );
        }
    }
    let stale = Guard::builder(AllowList::new())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::within(Duration::ZERO, |_| None),
        )
        .danger_without_revocations();
    let answer = send(
        &watched(world.layer_of(stale)),
        with_token("/orders", &world.token()),
    );
    assert_eq!(answer.status, 503);
}

/// What holds a guard, a key or what a request came with.
const SECRET: &[&str] = &[
    "Acceptor",
    "Authenticate",
    "AuthenticateFuture",
    "AuthenticateSigned",
    "Authenticated",
    "AuthenticatedSigned",
    "ConnectedPeer",
    "Fetcher",
    "FreshToken",
    "HttpSender",
    "Identified",
    "KeyFollower",
    "MintSource",
    "OnConnection",
    "OriginClient",
    "Present",
    "PresentFuture",
    "Presenting",
    "Refresher",
    "RequestSigner",
    "Server",
    "SignFuture",
    "SignRequests",
    "SignedFuture",
    "Signing",
    "Tokens",
    "TrustedProxies",
];

/// What holds nothing that anybody might not read.
const PLAIN: &[&str] = &[
    "AcceptError",
    "AddressRule",
    "BodyError",
    "ClientBody",
    "ClientError",
    "DescribeCall",
    "Drained",
    "FetchFailure",
    "FetchLimits",
    "FetchUrl",
    "Fetched",
    "FollowEvent",
    "ForwardedForm",
    "GuardedBody",
    "MetricInfo",
    "MetricKind",
    "Metrics",
    "MintSourceError",
    "NotAdmitted",
    "NotIdentified",
    "NotSent",
    "Origin",
    "OriginError",
    "PeerAddress",
    "PeerThumbprint",
    "PresentError",
    "Published",
    "RefreshEvent",
    "RefreshFailure",
    "Refused",
    "RequestProblem",
    "RequestSignerError",
    "Resolve",
    "ServeCounts",
    "ServeError",
    "ServeLimits",
    "ServedBody",
    "SignedRequests",
    "StoreMetrics",
    "Task",
    "TaskReporter",
    "TokenDemand",
    "TokenFormError",
    "TokenSource",
    "UnknownKeys",
    "UnsignedPart",
    "UntilDistrusted",
    "UrlError",
    "WholeBody",
];

#[test]
fn api_003_each_public_type_is_said_to_hold_secrets_or_none() {
    let text = include_str!("../src/lib.rs");
    let uses = text.split("pub use ").skip(1);
    let lists = uses.filter_map(|rest| rest.split(';').next());
    let words = lists.flat_map(|list| list.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let exported: BTreeSet<_> = words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    let listed: BTreeSet<_> = SECRET.iter().chain(PLAIN).copied().collect();
    assert_eq!(listed.len(), SECRET.len() + PLAIN.len());
    assert_eq!(exported, listed);
    // And nothing can be serialised: there is nothing to do it with.
    let manifest = include_str!("../Cargo.toml");
    let dependencies = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("[dev-dependencies]").next())
        .unwrap();
    assert!(dependencies.contains("m2m-guard") && !dependencies.contains("serde"));
}

#[test]
fn api_003_what_a_request_came_with_is_not_shown() {
    let world = World::new();
    let layer = watched(world.layer());
    let token = world.token();
    let answer = send(&layer, with_token("/orders", &token));
    let service = layer.layer(service_fn(|_: Asked| async {
        Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
    }));
    let future = {
        use tower::Service as _;
        service.clone().call(with_token("/orders", &token))
    };
    let caller = answer.seen.unwrap().caller.unwrap();
    let shown = format!("{layer:?} {layer:#?} {service:?} {future:?} {caller:?}");
    for part in token.split('.') {
        assert!(!shown.contains(part), "{shown}");
    }
}
