//! Streams are made, read, changed and deleted.

use caep_set::SessionRevoked;
use caep_stream::transmitter::{
    Answer, Caller, PushTargets, TransmitterError, TransmitterOptions, forbidden, unauthorized,
};
use caep_stream::{DefaultSubjects, StreamConfiguration, TransmitterMetadata, well_known_url};
use http::{HeaderValue, Method, Request, StatusCode};
use m2m_store::Failure;
use serde_json::{Value, json};

use crate::support::*;

const STREAMS: &str = "/ssf/streams";

fn read(world: &World, name: &str, stream: &str) -> Reply {
    world.get(name, &format!("{STREAMS}?stream_id={stream}"))
}

#[test]
fn metadata_is_where_it_belongs_and_for_everybody() {
    let world = World::new();
    let url = well_known_url(ISSUER).unwrap();
    assert_eq!(
        url,
        "https://tr.example/.well-known/ssf-configuration/issuer1"
    );
    let ask = |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(b"".as_slice()).unwrap();
        world.transmitter.metadata(&request)
    };
    let path = url.strip_prefix("https://tr.example").unwrap();
    let response = ask(Method::GET, path).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let metadata = TransmitterMetadata::from_json(ISSUER, response.body()).unwrap();
    assert_eq!(metadata.default_subjects(), Some(DefaultSubjects::All));
    assert_eq!(metadata.spec_version(), "1_0");
    let refused = ask(Method::POST, path).unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "GET");
    assert!(ask(Method::GET, "/issuer1/.well-known/ssf-configuration").is_none());
    assert!(ask(Method::GET, "/.well-known/ssf-configuration").is_none());
}

#[test]
fn a_stream_lives_as_the_conformance_suite_has_it() {
    let world = World::new();
    let body = json!({
        "events_requested": [SessionRevoked::URI, "https://unknown.example/event"],
        "delivery": {"method": "urn:ietf:rfc:8936"},
        "description": "first",
    });
    let made = world.post("rc", STREAMS, &body);
    assert_eq!(made.status, StatusCode::CREATED);
    let stream = made.json["stream_id"].as_str().unwrap().to_owned();
    assert!(stream.bytes().all(|byte| byte.is_ascii_alphanumeric()) && stream.len() == 32);
    assert_eq!(made.json["iss"], ISSUER);
    assert_eq!(made.json["aud"], "https://rc.example");
    assert_eq!(made.json["events_delivered"], json!([SessionRevoked::URI]));
    assert_eq!(made.json["min_verification_interval"], 30);
    let url = format!("https://tr.example/ssf/poll/{stream}");
    let delivery = json!({"method": "urn:ietf:rfc:8936", "endpoint_url": url});
    assert_eq!(made.json["delivery"], delivery);
    StreamConfiguration::from_json(ISSUER, &made.body).unwrap();

    let found = read(&world, "rc", &stream);
    assert_eq!((found.status, &found.json), (StatusCode::OK, &made.json));
    let all = world.get("rc", STREAMS);
    assert_eq!(
        (all.status, &all.json),
        (StatusCode::OK, &json!([made.json]))
    );

    let patch = json!({"stream_id": stream, "description": "second", "delivery": delivery});
    let patched = world.ask("rc", Method::PATCH, STREAMS, &patch);
    assert_eq!(patched.status, StatusCode::OK);
    assert_eq!(patched.json["description"], "second");
    assert_eq!(
        patched.json["events_requested"], made.json["events_requested"],
        "it stays"
    );

    // All that was read may be sent back.
    let mut put = patched.json.clone();
    put.as_object_mut().unwrap().remove("description");
    let replaced = world.ask("rc", Method::PUT, STREAMS, &put);
    assert_eq!(replaced.status, StatusCode::OK);
    assert_eq!(replaced.json.get("description"), None, "it goes");
    assert_eq!(read(&world, "rc", &stream).json, replaced.json);

    let path = format!("{STREAMS}?stream_id={stream}");
    let gone = world.ask("rc", Method::DELETE, &path, &Value::Null);
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
    for method in [Method::GET, Method::DELETE] {
        let missing = world.ask("rc", method, &path, &Value::Null);
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.get("rc", STREAMS).json, json!([]));
    world.polled("rc");
}

#[test]
fn what_is_not_said_is_everything_and_polled() {
    let world = World::new();
    let made = world.post("rc", STREAMS, &json!({}));
    assert_eq!(made.json["delivery"]["method"], "urn:ietf:rfc:8936");
    assert_eq!(made.json["events_delivered"], made.json["events_supported"]);
    assert_eq!(made.json.get("events_requested"), None);
}

#[test]
fn a_second_stream_is_made_only_where_there_is_room_for_it() {
    let world = World::new();
    world.polled("rc");
    let second = world.post("rc", STREAMS, &json!({}));
    assert_eq!(second.status, StatusCode::CONFLICT);
    let options = TransmitterOptions::default().with_streams_per_receiver(2);
    let world = World::with(options, DefaultSubjects::All);
    let (one, two) = (world.polled("rc"), world.pushed("rc"));
    assert_ne!(one, two);
    assert_eq!(
        world.post("rc", STREAMS, &json!({})).status,
        StatusCode::CONFLICT
    );
    assert_eq!(world.get("rc", STREAMS).json.as_array().unwrap().len(), 2);
    let path = format!("{STREAMS}?stream_id={one}");
    world.ask("rc", Method::DELETE, &path, &Value::Null);
    world.polled("rc");
}

#[test]
fn a_body_that_is_none_is_refused() {
    let world = World::new();
    let stream = world.polled("rc");
    for method in [Method::POST, Method::PATCH, Method::PUT] {
        for body in [
            &b";{ broken"[..],
            b"",
            b"[]",
            b"null",
            b"\xff",
            b"{\"a\":1,\"a\":1}",
        ] {
            let answer = world.answer("rc", method.clone(), STREAMS, body).unwrap();
            let Answer::Ready(response) = answer else {
                panic!("a long poll");
            };
            let reply = Reply::new(response);
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{method} {body:?}");
            assert_eq!(reply.json["err"], "invalid_request");
        }
        let long = vec![b' '; 300_000];
        let Answer::Ready(response) = world.answer("rc", method, STREAMS, &long).unwrap() else {
            panic!("a long poll");
        };
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    for (method, body) in [
        (Method::PATCH, json!({"description": "whose?"})),
        (Method::PUT, json!({"stream_id": stream})),
        (
            Method::PATCH,
            json!({"stream_id": stream, "delivery": {"method": "pigeon"}}),
        ),
        (
            Method::POST,
            json!({"delivery": {"method": "urn:ietf:rfc:8935"}}),
        ),
        (Method::POST, json!({"stream_id": "mine"})),
    ] {
        let reply = world.ask("rc", method.clone(), STREAMS, &body);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{method} {body}");
    }
    let unknown = json!({"stream_id": "unknown", "delivery": {"method": "urn:ietf:rfc:8936"}});
    for method in [Method::PATCH, Method::PUT] {
        let reply = world.ask("rc", method, STREAMS, &unknown);
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
    }
}

#[test]
fn set_025_members_that_are_the_transmitters_cannot_be_assigned() {
    let world = World::new();
    let assigned = [
        ("iss", json!("https://evil.example")),
        ("aud", json!("https://other.example")),
        (
            "aud",
            json!(["https://rc.example", "https://other.example"]),
        ),
        ("events_supported", json!([])),
        ("events_delivered", json!(["https://more.example"])),
        ("min_verification_interval", json!(0)),
        ("inactivity_timeout", json!(1_000_000)),
        ("status", json!("enabled")),
    ];
    for (member, value) in &assigned {
        let reply = world.post("rc", STREAMS, &json!({*member: value}));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "POST {member}");
    }
    let stream = world.polled("rc");
    let before = read(&world, "rc", &stream).json;
    for (member, value) in &assigned {
        let mut body = json!({"stream_id": stream, "delivery": {"method": "urn:ietf:rfc:8936"}});
        body[*member] = value.clone();
        for method in [Method::PATCH, Method::PUT] {
            let reply = world.ask("rc", method.clone(), STREAMS, &body);
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{method} {member}");
        }
    }
    assert_eq!(read(&world, "rc", &stream).json, before);
}

#[test]
fn set_018_another_receivers_stream_looks_like_one_that_does_not_exist() {
    let world = World::new();
    let (mine, other) = (world.polled("rc"), world.polled("other"));
    assert_ne!(mine, other);
    world.revoke("a");
    let subject = json!({"format": "opaque", "id": "a"});
    let asked = |stream: &str| {
        let query = format!("?stream_id={stream}");
        let config = format!("{STREAMS}{query}");
        let delivery = json!({"method": "urn:ietf:rfc:8936"});
        [
            (Method::GET, config.clone(), Value::Null),
            (Method::DELETE, config, Value::Null),
            (
                Method::PATCH,
                STREAMS.into(),
                json!({"stream_id": stream, "description": "x"}),
            ),
            (
                Method::PUT,
                STREAMS.into(),
                json!({"stream_id": stream, "delivery": delivery}),
            ),
            (Method::GET, format!("/ssf/status{query}"), Value::Null),
            (
                Method::POST,
                "/ssf/status".into(),
                json!({"stream_id": stream, "status": "disabled"}),
            ),
            (
                Method::POST,
                "/ssf/subjects/add".into(),
                json!({"stream_id": stream, "subject": subject}),
            ),
            (
                Method::POST,
                "/ssf/subjects/remove".into(),
                json!({"stream_id": stream, "subject": subject}),
            ),
            (
                Method::POST,
                "/ssf/verify".into(),
                json!({"stream_id": stream}),
            ),
            (
                Method::POST,
                format!("/ssf/poll/{stream}"),
                json!({"returnImmediately": true, "ack": ["0"]}),
            ),
        ]
    };
    let missing = "0".repeat(32);
    // The same client, but with a token for another audience, is another receiver.
    let elsewhere = Caller::new("rc", "https://elsewhere.example").unwrap();
    for (theirs, none) in asked(&other).iter().zip(asked(&missing)) {
        let (method, path, body) = theirs;
        let reply = world.ask("rc", method.clone(), path, body);
        let nothing = world.ask("rc", none.0, &none.1, &none.2);
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
        assert_eq!(
            (reply.status, reply.headers, reply.body),
            (nothing.status, nothing.headers, nothing.body)
        );
    }
    for (method, path, body) in asked(&mine) {
        let body = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(&body).unwrap(),
        };
        let request = Request::builder().method(method.clone()).uri(&path);
        let request = request.body(body.as_slice()).unwrap();
        let answer = world
            .transmitter
            .handle(&request, &elsewhere, world.now(), RANDOM);
        let Answer::Ready(response) = pollster::block_on(answer).unwrap() else {
            panic!("a long poll");
        };
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    // Nothing of all that had an effect.
    assert_eq!(world.drain("other", &other), ["revoked a"]);
    assert_eq!(world.get("rc", STREAMS).json.as_array().unwrap().len(), 1);
}

#[test]
fn set_019_receivers_cannot_make_us_send_requests_inside() {
    let world = World::new();
    for url in [
        "http://rc.example/events",
        "https://127.0.0.1/",
        "https://[::ffff:169.254.169.254]/",
        "https://2130706433/",
        "https://metadata.google.internal/",
        "file:///etc/passwd",
    ] {
        let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": url});
        let reply = world.post("rc", STREAMS, &json!({"delivery": delivery}));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{url}");
        assert!(!reply.json.to_string().contains(url), "it is not repeated");
    }
    let poll = json!({"method": "urn:ietf:rfc:8936", "endpoint_url": "https://evil.example/"});
    let reply = world.post("rc", STREAMS, &json!({"delivery": poll}));
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let loopback = PushTargets::public().danger_with_loopback();
    let options = TransmitterOptions::default().with_push_targets(loopback);
    let world = World::with(options, DefaultSubjects::All);
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": "http://127.0.0.1:9/"});
    world.create("rc", &json!({"delivery": delivery}));
}

#[test]
fn the_secret_of_pushes_is_kept_and_goes_to_no_other_address() {
    let world = World::new();
    let stream = world.pushed("rc");
    let found = read(&world, "rc", &stream);
    assert!(!found.json.to_string().contains("Bearer pushed"));
    let header = |world: &World| {
        world.revoke("a");
        let delivery = Pushing::new(world).next(world).unwrap();
        let header = delivery.request().headers().get("authorization");
        header.map(|value| value.to_str().unwrap().to_owned())
    };
    let patch = |delivery: &Value| {
        let body = json!({"stream_id": stream, "delivery": delivery});
        let reply = world.ask("rc", Method::PATCH, STREAMS, &body);
        assert_eq!(reply.status, StatusCode::OK);
    };
    // What was read, sent back.
    patch(&found.json["delivery"]);
    assert_eq!(header(&world).as_deref(), Some("Bearer pushed"));
    let method = "urn:ietf:rfc:8935";
    patch(&json!({"method": method, "endpoint_url": PUSH, "authorization_header": "Bearer new"}));
    assert_eq!(header(&world).as_deref(), Some("Bearer new"));
    patch(&json!({"method": method, "endpoint_url": "https://elsewhere.example/"}));
    assert_eq!(header(&world), None);
}

#[test]
fn what_is_asked_in_a_wrong_way_is_told_the_right_one() {
    let world = World::new();
    let stream = world.polled("rc");
    for (method, path, allowed) in [
        (
            Method::OPTIONS,
            STREAMS.to_owned(),
            "GET, POST, PATCH, PUT, DELETE",
        ),
        (Method::DELETE, "/ssf/status".into(), "GET, POST"),
        (Method::GET, "/ssf/subjects/add".into(), "POST"),
        (Method::GET, "/ssf/subjects/remove".into(), "POST"),
        (Method::PUT, "/ssf/verify".into(), "POST"),
        (Method::GET, format!("/ssf/poll/{stream}"), "POST"),
    ] {
        let reply = world.ask("rc", method.clone(), &path, &Value::Null);
        assert_eq!(
            reply.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{method} {path}"
        );
        assert_eq!(reply.headers["allow"], allowed);
    }
    for path in [
        "/",
        "/ssf",
        "/ssf/poll",
        "/ssf/poll/",
        "/ssf/poll/a/b",
        "/ssf/streams/a",
    ] {
        for method in [Method::GET, Method::POST] {
            let reply = world.ask("rc", method.clone(), path, &Value::Null);
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{method} {path}");
        }
    }
    let twice = world.get("rc", &format!("{STREAMS}?stream_id={stream}&stream_id=x"));
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
}

#[test]
fn whoever_is_not_known_learns_nothing_but_how_to_be() {
    let response = unauthorized(HeaderValue::from_static("Bearer"));
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(Reply::new(response).status, StatusCode::UNAUTHORIZED);
    let response = forbidden("ssf.manage");
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Bearer error="insufficient_scope", scope="ssf.manage""#
    );
    assert_eq!(Reply::new(response).status, StatusCode::FORBIDDEN);
    let odd = forbidden("a\" b\r\n");
    assert_eq!(
        odd.headers()["www-authenticate"],
        r#"Bearer error="insufficient_scope""#
    );
}

#[test]
fn a_store_that_is_away_is_said_to_be_and_nothing_was_done() {
    let world = World::new();
    world.store.fail_next(Failure::NotWritten);
    let answer = world.answer("rc", Method::POST, STREAMS, b"{}");
    let error = answer.unwrap_err();
    assert!(matches!(error, TransmitterError::Store(_)));
    let reply = Reply::new(error.response());
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.body.is_empty() && reply.headers.contains_key("retry-after"));
    world.store.fail_next(Failure::WrittenButUnknown);
    world.polled("rc");
    assert_eq!(world.get("rc", STREAMS).json.as_array().unwrap().len(), 1);
}
