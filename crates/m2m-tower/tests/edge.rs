//! What stands in front of a service: who is let through, and what everybody else is told.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use m2m_guard::{Call, Decision, Denial, Freshness, Guard, Proven, Rejection, Remedy};
use m2m_revoke::Target;
use m2m_token::TokenRequest;
use m2m_tower::{NotAdmitted, PeerAddress, PeerThumbprint, Refused, RequestProblem};
use m2m_types::Timestamp;
use support::*;

#[test]
fn who_is_admitted_reaches_the_service_and_is_known_there() {
    let world = World::new();
    let answer = send(
        &world.layer(),
        with_token("/orders/17?page=2", &world.token()),
    );
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "behind")
    );
    let seen = answer.seen.unwrap();
    assert_eq!(seen.caller.unwrap().service_id(), &service(BILLING));
    assert_eq!(seen.not_admitted, None);
}

#[test]
fn each_refusal_has_one_answer_and_says_no_more_than_its_kind() {
    let world = World::new();
    let layer = world.layer();
    let told = |answer: &support::Answer| {
        assert!(answer.seen.is_none(), "it reached the service");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let challenge = answer.header("www-authenticate").map(str::to_owned);
        (answer.status.as_u16(), challenge, answer.body.clone())
    };
    let nothing = send(&layer, get("/orders").body(Empty::new()).unwrap());
    let body = "{\"error\":\"unauthorized\"}\n".to_owned();
    assert_eq!(told(&nothing), (401, Some("Bearer".into()), body));

    // Forged, expired, revoked, for somebody else: the same to the byte.
    let other_audience =
        TokenRequest::new(BILLING, "spiffe://example.org/x", Duration::from_secs(300));
    let revoked = world
        .mint(&TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300)).with_token_id("r"));
    let target = Target::Token {
        issuer: ISSUER,
        jti: "r",
    };
    world.revocations.revoke(target, Timestamp::MAX).unwrap();
    let invalid = told(&send(&layer, with_token("/orders", "a.b.c")));
    assert_eq!(
        invalid.1.as_deref(),
        Some(r#"Bearer error="invalid_token""#)
    );
    let forged = World::new().token();
    for token in [forged, revoked, world.mint(&other_audience)] {
        assert_eq!(told(&send(&layer, with_token("/orders", &token))), invalid);
    }
    let forbidden = told(&send(&layer, with_token("/customers", &world.token())));
    assert_eq!(forbidden, (403, None, "{\"error\":\"forbidden\"}\n".into()));
    let mut post = with_token("/orders", &world.token());
    *post.method_mut() = Method::POST;
    let challenge = r#"Bearer error="insufficient_scope", scope="orders:write""#;
    let body = "{\"error\":\"insufficient_scope\"}\n".to_owned();
    assert_eq!(
        told(&send(&layer, post)),
        (403, Some(challenge.into()), body)
    );

    // What is wrong here is not the client's fault.
    let stale = Guard::builder(m2m_guard::AllowList::new())
        .with_bearer_tokens(
            world.verifier(),
            Freshness::within(Duration::ZERO, |_| None),
        )
        .danger_without_revocations();
    let answer = send(
        &world.layer_of(stale),
        with_token("/orders", &world.token()),
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        told(&answer),
        (503, None, "{\"error\":\"unavailable\"}\n".into())
    );
}

#[test]
fn oau_015_a_token_is_taken_from_one_place_in_one_form() {
    let world = World::new();
    let layer = world.layer();
    let token = world.token();
    let good = format!("Bearer {token}");
    for good in [
        &good,
        &format!("bearer {token}"),
        &format!("BEARER {token}"),
    ] {
        let request = get("/orders")
            .header("authorization", good)
            .body(Empty::new())
            .unwrap();
        assert_eq!(send(&layer, request).status, StatusCode::OK);
    }
    let bad = [
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token} "),
        format!("Bearer {token},"),
        "Bearer".into(),
        "Bearer ".into(),
        token.clone(),
        format!("Bearer:{token}"),
        format!("Bearer {token} {token}"),
        format!("Basic {token}"),
        format!("DPoP {token}"),
        format!("Bearer, Bearer {token}"),
        format!("Bearer token={token}"),
        String::new(),
        format!(" Bearer {token}").replace(' ', "\u{a0}"),
    ];
    for bad in bad {
        let request = get("/orders")
            .header("authorization", bad.as_bytes())
            .body(Empty::new())
            .unwrap();
        let answer = send(&layer, request);
        assert!(answer.seen.is_none(), "{bad}");
        let challenge = answer.header("www-authenticate");
        match answer.status.as_u16() {
            400 => assert_eq!(
                challenge,
                Some(r#"Bearer error="invalid_request""#),
                "{bad}"
            ),
            // Of the right form, and no token.
            401 => assert!(bad.starts_with("Bearer token="), "{bad}"),
            other => panic!("{other}: {bad}"),
        }
    }
    // Twice, the same or not, first or last; beside it, in the query.
    for other in [good.as_str(), "Basic dTpw", "Bearer x"] {
        for pair in [[&good, other], [other, &good]] {
            let request = get("/orders")
                .header("authorization", pair[0])
                .header("authorization", pair[1]);
            assert_eq!(
                send(&layer, request.body(Empty::new()).unwrap())
                    .status
                    .as_u16(),
                400
            );
        }
    }
    for query in [
        "access_token=",
        "a=b&access_token=",
        "access%5ftoken=",
        "%61ccess_token=",
        "a;access_token=",
    ] {
        let request = with_token(&format!("/orders?{query}{token}"), &token);
        assert_eq!(send(&layer, request).status.as_u16(), 400, "{query}");
    }
    let request = with_token("/orders?my_access_token=1&x=access_token", &token);
    assert_eq!(send(&layer, request).status, StatusCode::OK);
    // A form is not read, so there is no token in it.
    let form = Request::post("/orders").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(
        send(&layer, form.body(Empty::new()).unwrap())
            .status
            .as_u16(),
        401
    );
}

#[test]
fn net_005_the_path_that_is_decided_about_is_the_one_that_is_routed_by() {
    let world = World::new();
    let layer = world.layer();
    for path in [
        "/orders/../customers",
        "/orders/./x",
        "//orders",
        "/orders//x",
        "/orders/%2e%2e/customers",
        "/orders%2fx",
        "/orders/%2E",
        "/orders/%252e",
        "/orders;x=1",
        "/orders/%00",
        "/orders/..",
        "/orders/%5c",
    ] {
        let answer = send(&layer, with_token(path, &world.token()));
        assert_eq!(answer.status.as_u16(), 400, "{path}");
        // Also where requests are only annotated.
        let annotated = send(
            &world.layer().only_annotating(),
            with_token(path, &world.token()),
        );
        assert!(annotated.seen.is_none(), "{path}");
    }
    // Nobody behind sees another path or method than was decided about.
    let names = [
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-original-uri",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-forwarded-method",
        "x-forwarded-path",
        "x-envoy-original-path",
    ];
    let mut request = with_token("/orders", &world.token());
    for name in names {
        request
            .headers_mut()
            .append(name, "/customers".parse().unwrap());
        request
            .headers_mut()
            .append(name, "DELETE".parse().unwrap());
    }
    request
        .headers_mut()
        .insert("x-request-id", "17".parse().unwrap());
    let seen = send(&layer, request).seen.unwrap();
    for name in names {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
    assert!(
        seen.headers.contains_key("x-request-id") && seen.headers.contains_key("authorization")
    );
}

#[test]
fn net_006_nobody_and_nothing_needs_no_credentials() {
    let world = World::new();
    let layer = world.layer();
    for path in [
        "/",
        "/health",
        "/healthz",
        "/ready",
        "/ping",
        "/metrics",
        "/favicon.ico",
        "/.well-known/x",
        "/robots.txt",
    ] {
        for agent in [
            "kube-probe/1.30",
            "GoogleHC/1.0",
            "ELB-HealthChecker/2.0",
            "",
        ] {
            for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
                let request = Request::builder()
                    .uri(path)
                    .method(method)
                    .header("user-agent", agent);
                let request = request.header("x-forwarded-for", "127.0.0.1");
                let answer = send(&layer, request.body(Empty::new()).unwrap());
                assert_eq!(answer.status.as_u16(), 401, "{path} {agent}");
            }
        }
    }
    let mut options = with_token("/orders", &world.token());
    *options.method_mut() = Method::OPTIONS;
    *options.uri_mut() = "*".parse().unwrap();
    assert_eq!(send(&layer, options).status.as_u16(), 403);
}

#[test]
fn net_004_a_stranger_says_nothing_by_headers_and_nobody_behind_reads_them() {
    let world = World::new();
    let layer = world.layer();
    let bound = TokenRequest::new(BILLING, ORDERS, Duration::from_secs(300))
        .with_certificate_binding(certificate(1));
    let token = world.mint(&bound);
    for (name, value) in [
        ("client-cert", ":MAMCAQE=:"),
        ("client-cert-chain", ":MAMCAQE=:"),
        (
            "x-forwarded-client-cert",
            "URI=spiffe://example.org/billing",
        ),
    ] {
        let mut request = with_token("/orders", &token);
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(
            send(&layer, request).status.as_u16(),
            401,
            "jwt_071: {name}"
        );
        let mut request = with_token("/orders", &world.token());
        request.headers_mut().insert(name, value.parse().unwrap());
        assert!(
            !send(&layer, request)
                .seen
                .unwrap()
                .headers
                .contains_key(name)
        );
    }
    // What the acceptor says counts.
    let mut request = with_token("/orders", &token);
    request
        .extensions_mut()
        .insert(PeerThumbprint(certificate(1)));
    assert_eq!(send(&layer, request).status, StatusCode::OK);
    // What somebody put there earlier does not.
    let mut request = get("/orders").body(Empty::new()).unwrap();
    let caller = send(&layer, with_token("/orders", &world.token()))
        .seen
        .unwrap()
        .caller
        .unwrap();
    request.extensions_mut().insert(caller);
    let seen = send(&world.layer().only_annotating(), request)
        .seen
        .unwrap();
    assert!(seen.caller.is_none());
}

#[test]
fn who_only_annotates_lets_through_and_says_who_would_not_have_been() {
    let world = World::new();
    let layer = world.layer().only_annotating();
    let seen = send(&layer, get("/orders").body(Empty::new()).unwrap())
        .seen
        .unwrap();
    assert_eq!(
        seen.not_admitted,
        Some(NotAdmitted(Rejection::CredentialRequired))
    );
    let seen = send(&layer, with_token("/orders", "a.b.c")).seen.unwrap();
    assert_eq!(
        seen.not_admitted,
        Some(NotAdmitted(Rejection::Unauthenticated))
    );
    assert!(seen.caller.is_none());
    let seen = send(&layer, with_token("/orders", &world.token()))
        .seen
        .unwrap();
    assert!(seen.caller.is_some() && seen.not_admitted.is_none());
}

#[test]
fn grpc_is_told_in_its_own_way() {
    let world = World::new();
    let ask = |kind: &str, token: &str| {
        let mut request = with_token("/orders.Orders/Read", token);
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        send(&world.layer(), request)
    };
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x=y",
    ] {
        let answer = ask(kind, "a.b.c");
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
        assert_eq!(answer.header("grpc-status"), Some("16"));
        assert_eq!(answer.header("grpc-message"), Some("invalid_token"));
        assert!(answer.seen.is_none());
        assert_eq!(ask(kind, &world.token()).header("grpc-status"), Some("7"));
    }
    assert_eq!(ask("application/grpc-web", "a.b.c").status.as_u16(), 401);
}

#[test]
fn what_a_request_asks_for_is_the_applications_to_say() {
    fn describe(parts: &http::request::Parts) -> Call<'_> {
        Call::new("anything", parts.uri.path())
    }
    let world = World::new();
    let from_here = |caller: &Proven<'_>, call: &Call<'_>| {
        let here = "192.0.2.1".parse().ok();
        match (caller.name(), call.action(), call.address() == here) {
            (BILLING, "anything", true) => Decision::Allow,
            _ => Decision::Deny(
                Denial::new("elsewhere").with_remedy(Remedy::Later(Duration::from_secs(7))),
            ),
        }
    };
    let guard = Guard::builder(from_here)
        .with_bearer_tokens(world.verifier(), Freshness::in_process())
        .danger_without_revocations();
    let layer = world.layer_of(guard).with_calls(describe);
    let ask = |address: Option<&str>| {
        let mut request = with_token("/x", &world.token());
        // Nobody's word on where it comes from.
        request
            .headers_mut()
            .insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
        if let Some(address) = address {
            request
                .extensions_mut()
                .insert(PeerAddress(address.parse().unwrap()));
        }
        send(&layer, request)
    };
    assert_eq!(ask(Some("192.0.2.1:4711")).status, StatusCode::OK);
    assert_eq!(ask(Some("[::ffff:192.0.2.1]:4711")).status, StatusCode::OK);
    for elsewhere in [None, Some("192.0.2.2:4711")] {
        let answer = ask(elsewhere);
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (403, Some("7"))
        );
    }
}

#[test]
fn dos_006_a_flood_of_refusals_is_no_flood_of_lines() {
    let world = World::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let layer = {
        let told = Arc::clone(&told);
        world.layer().with_observer(move |refused, unseen| {
            told.lock()
                .unwrap()
                .push((refused.code(), refused.to_string(), unseen));
        })
    };
    for _ in 0..1000 {
        assert_eq!(
            send(&layer, with_token("/orders", "a.b.c")).status.as_u16(),
            401
        );
    }
    assert_eq!(told.lock().unwrap().len(), 100);
    world.clock.advance(Duration::from_secs(1));
    send(
        &layer,
        with_token("/orders//x\u{1b}".replace('\u{1b}', "").as_str(), "a.b.c"),
    );
    let told = told.lock().unwrap();
    let (code, text, unseen) = told.last().unwrap();
    assert_eq!((*code, *unseen), ("path", 900));
    assert!(
        text.len() <= 512 && !text.contains(char::is_control),
        "{text}"
    );
}

#[test]
fn dos_005_an_observer_that_panics_changes_no_answer() {
    let world = World::new();
    let layer = world.layer().with_observer(|_, _| panic!("a bug"));
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let refused = send(&layer, with_token("/orders", "a.b.c"));
    std::panic::set_hook(before);
    assert_eq!(refused.status.as_u16(), 401);
    assert_eq!(
        send(&layer, with_token("/orders", &world.token())).status,
        StatusCode::OK
    );
}

#[test]
fn what_operators_read_has_no_token_in_it() {
    let world = World::new();
    let told = Arc::new(Mutex::new(String::new()));
    let layer = {
        let told = Arc::clone(&told);
        world.layer().with_observer(move |refused, _| {
            *told.lock().unwrap() += &format!("{refused} {refused:?}");
        })
    };
    let token = world.token();
    send(
        &layer,
        with_token(&format!("/orders?access_token={token}"), &token),
    );
    send(&layer, with_token("/customers", &token));
    let told = told.lock().unwrap();
    assert!(told.contains("access_token") && told.contains("denied"));
    assert!(token.split('.').all(|part| !told.contains(part)));
    let problem = Refused::Request(RequestProblem::TokenInQuery);
    assert_eq!(
        (problem.code(), problem.rejection()),
        ("token_in_query", None)
    );
}
