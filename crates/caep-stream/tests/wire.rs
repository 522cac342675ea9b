//! Bodies and messages of the standards, and what strangers make of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests

use caep_set::{ErrorCode, StreamStatus};
use caep_stream::poll::{PollRequest, PollResponse};
use caep_stream::{
    BodyError, Delivery, DeliveryMethod, MetadataError, SecretHeader, SetFailure, StatusUpdate,
    StreamConfiguration, StreamRequest, SubjectRequest, TransmitterMetadata, VerificationRequest,
    push, well_known_url,
};
use http::{Method, Request, Response, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Reads `text` as what its kind says, and gives what is written of it.
fn round_trip(kind: &str, text: &str) -> Option<Result<Value, String>> {
    let body = text.as_bytes();
    let show = |error: &dyn std::error::Error| error.to_string();
    let value = |value: &dyn Fn() -> Result<Value, serde_json::Error>| value().unwrap();
    Some(match kind {
        "poll-request" => PollRequest::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "poll-response" => PollResponse::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "set-error" => SetFailure::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "transmitter-metadata" => TransmitterMetadata::from_json("https://tr.example.com", body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "stream-status" => StatusUpdate::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "subject-request" => SubjectRequest::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "verification-request" => VerificationRequest::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        "stream-configuration" if text.contains("\"iss\"") => {
            let issuer = "https://tr.example.com";
            StreamConfiguration::from_json(issuer, body)
                .map(|read| value(&|| serde_json::to_value(&read)))
                .map_err(|error| show(&error))
        }
        "stream-configuration" => StreamRequest::from_json(body)
            .map(|read| value(&|| serde_json::to_value(&read)))
            .map_err(|error| show(&error)),
        _ => return None,
    })
}

#[test]
fn bodies_of_the_standards_are_read_and_written() {
    let Some(index) = m2m_testkit::vectors::read_json("ssf/index.json") else {
        return;
    };
    let mut seen = 0;
    for vector in index["vectors"].as_array().unwrap() {
        let (file, kind) = (
            vector["file"].as_str().unwrap(),
            vector["kind"].as_str().unwrap(),
        );
        let text = m2m_testkit::vectors::read(&format!("ssf/{file}")).unwrap();
        let Some(read) = round_trip(kind, &text) else {
            continue;
        };
        seen += 1;
        if vector["valid"] == "invalid" {
            assert!(read.is_err(), "{file}");
            continue;
        }
        let written = read.unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut printed: Value = serde_json::from_str(&text).unwrap();
        // What is the default anyway is not written.
        for member in ["returnImmediately", "moreAvailable"] {
            if printed[member] == false {
                printed.as_object_mut().unwrap().remove(member);
            }
        }
        assert_eq!(written, printed, "{file}");
    }
    println!("{seen} bodies");
    assert!(seen >= 20, "{seen}");
}

fn pushed<'b>(content_type: &str, body: &'b [u8]) -> Request<&'b [u8]> {
    Request::post("/events")
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

#[test]
fn set_014_what_is_no_push_is_answered_and_bounded() {
    let set = b"eyJh.eyJi.c2ln".as_slice();
    let right = "application/secevent+jwt";
    for content_type in [
        right,
        "APPLICATION/SECEVENT+JWT",
        "application/secevent+jwt; charset=utf-8",
    ] {
        assert_eq!(push::read(&pushed(content_type, set)), Ok("eyJh.eyJi.c2ln"));
    }
    assert_eq!(
        push::read(&pushed(right, b"eyJh.eyJi.c2ln\r\n")),
        Ok("eyJh.eyJi.c2ln")
    );
    let status = |request: &Request<&[u8]>| push::read(request).unwrap_err().response().status();
    for content_type in ["application/jwt", "application/json", "", "secevent+jwt"] {
        let request = pushed(content_type, set);
        assert_eq!(
            status(&request),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
    let none = Request::post("/").body(set).unwrap();
    assert_eq!(status(&none), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let twice = Request::post("/")
        .header("content-type", right)
        .header("content-type", right)
        .body(set)
        .unwrap();
    assert_eq!(status(&twice), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut read = pushed(right, set);
    *read.method_mut() = Method::GET;
    assert_eq!(status(&read), StatusCode::METHOD_NOT_ALLOWED);
    let long = vec![b'a'; push::MAX_BODY + 1];
    assert_eq!(status(&pushed(right, &long)), StatusCode::PAYLOAD_TOO_LARGE);
    for body in [
        b"".as_slice(),
        b"eyJh.eyJi",
        b"eyJh.eyJi.c2ln.x",
        b"eyJh.eyJi.c2ln\neyJh.eyJi.c2ln",
        b"eyJh.eyJi.c2ln eyJh.eyJi.c2ln",
        b" eyJh.eyJi.c2ln",
        b"{\"sets\":{}}",
        b"eyJh.eyJi.c2ln\n\n",
        &[0xff, b'.', b'.'],
    ] {
        let response = push::read(&pushed(right, body)).unwrap_err().response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let told = String::from_utf8(response.into_body()).unwrap();
        assert_eq!(
            told,
            r#"{"err":"invalid_request","description":"the request is not a valid Security Event Token"}"#
        );
    }
    // The answers themselves (RFC 8935 §2.2, §2.3).
    assert_eq!(push::accepted().status(), StatusCode::ACCEPTED);
    assert!(push::accepted().body().is_empty());
    let refused = push::refused(ErrorCode::InvalidKey);
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(refused.headers()["content-type"], "application/json");
    assert_eq!(refused.headers()["content-language"], "en");
}

#[test]
fn answers_to_pushes_say_whether_to_send_again() {
    let answer = |status: u16, body: &'static [u8]| {
        push::outcome(&Response::builder().status(status).body(body).unwrap())
    };
    for status in [200, 202, 204] {
        assert_eq!(answer(status, b""), push::PushOutcome::Delivered);
    }
    for status in [301, 400, 401, 403, 404, 429, 500, 503] {
        assert!(
            matches!(answer(status, b""), push::PushOutcome::Later { .. }),
            "{status}"
        );
    }
    let failure = |code: &str| serde_json::to_vec(&json!({"err": code})).unwrap();
    for (code, is_final) in [
        ("invalid_request", true),
        ("invalid_audience", true),
        ("invalid_issuer", true),
        ("invalid_state", true),
        ("authentication_failed", false),
        ("access_denied", false),
        ("invalid_key", false),
        ("jws_signature_failed", false),
        ("made_up", true),
    ] {
        let body: &'static [u8] = Box::leak(failure(code).into_boxed_slice());
        let refused = matches!(answer(400, body), push::PushOutcome::Refused(_));
        assert_eq!(refused, is_final, "{code}");
    }
    assert!(matches!(answer(413, b""), push::PushOutcome::Refused(_)));
    let busy = Response::builder()
        .status(503)
        .header("retry-after", "4000000")
        .body(b"".as_slice());
    assert_eq!(
        push::outcome(&busy.unwrap()),
        push::PushOutcome::Later {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(3600)
        }
    );
}

#[test]
fn a_push_shows_what_the_receiver_asked_for() {
    let secret = SecretHeader::new("Bearer push_token_1").unwrap();
    let value = http::HeaderValue::from_bytes(secret.expose_secret()).unwrap();
    let request = push::request(
        "https://rc.example/events".parse().unwrap(),
        Some(value),
        "a.b.c",
    );
    assert_eq!(
        request.headers()["content-type"],
        "application/secevent+jwt"
    );
    assert_eq!(request.headers()["accept"], "application/json");
    assert_eq!(request.headers()["authorization"], "Bearer push_token_1");
    assert!(
        !format!("{request:?}").contains("push_token"),
        "it does not reach a log"
    );
    let without = push::request("https://rc.example/events".parse().unwrap(), None, "a.b.c");
    assert!(!without.headers().contains_key("authorization"));
    assert!(secret.is(b"Bearer push_token_1") && !secret.is(b"Bearer push_token_2"));
    assert!(!format!("{secret:?}").contains("push_token"));
    for wrong in ["", " a", "a\r\nX: y", "a\0", "\u{e9}"] {
        assert!(SecretHeader::new(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn polls_are_what_rfc_8936_says() {
    let request = PollRequest::from_json(b"{}").unwrap();
    assert_eq!(
        (request.max_events(), request.returns_immediately()),
        (None, false)
    );
    let request = PollRequest::from_json(br#"{"maxEvents":0,"ack":["a","a"],"x":1}"#).unwrap();
    assert_eq!(request.max_events(), Some(0));
    assert_eq!(request.acknowledged().count(), 2);
    for wrong in [
        "",
        "[]",
        "{}x",
        r#"{"maxEvents":-1}"#,
        r#"{"maxEvents":"1"}"#,
        r#"{"maxEvents":1.5}"#,
        r#"{"returnImmediately":1}"#,
        r#"{"ack":"a"}"#,
        r#"{"ack":[1]}"#,
        r#"{"setErrs":[]}"#,
        r#"{"setErrs":{"a":{}}}"#,
        r#"{"setErrs":{"a":{"err":"x"},"a":{"err":"x"}}}"#,
        r#"{"ack":[],"ack":[]}"#,
    ] {
        let error = PollRequest::from_json(wrong.as_bytes()).unwrap_err();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let many = json!({"ack": vec!["a"; 10_001]}).to_string();
    assert!(PollRequest::from_json(many.as_bytes()).is_err());
    let long = vec![b' '; (1 << 20) + 1];
    let error = PollRequest::from_json(&long).unwrap_err();
    assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // More errors than an object usually has members.
    let mut errors = PollRequest::new();
    for at in 0..1000 {
        errors = errors.refusing(&format!("set-{at}"), ErrorCode::InvalidRequest);
    }
    let body = serde_json::to_vec(&errors).unwrap();
    assert_eq!(PollRequest::from_json(&body).unwrap(), errors);

    // An answer without SETs says so, and whether there are more is a boolean.
    assert_eq!(
        serde_json::to_string(&PollResponse::new([])).unwrap(),
        r#"{"sets":{}}"#
    );
    let response =
        PollResponse::from_json(br#"{"sets":{"a":"x.y.z"},"moreAvailable":true}"#).unwrap();
    assert!(response.more_available());
    for wrong in [
        "{}",
        r#"{"sets":[]}"#,
        r#"{"sets":{"a":1}}"#,
        r#"{"sets":{"a":"b","a":"b"}}"#,
        r#"{"sets":{"":"b"}}"#,
        r#"{"sets":{},"moreAvailable":"yes"}"#,
    ] {
        assert!(
            PollResponse::from_json(wrong.as_bytes()).is_err(),
            "{wrong}"
        );
    }
}

fn configuration() -> StreamConfiguration {
    StreamConfiguration {
        stream_id: "s-1".into(),
        issuer: "https://tr.example".into(),
        audience: vec!["https://rc.example".into()],
        delivery: Delivery::push(
            "https://rc.example/events",
            Some(SecretHeader::new("Bearer secret-of-a-receiver").unwrap()),
        ),
        events_supported: None,
        events_requested: None,
        events_delivered: vec!["urn:x:1".into()],
        min_verification_interval: Some(60),
        inactivity_timeout: None,
        description: None,
    }
}

#[test]
fn set_025_a_receiver_cannot_say_what_is_the_transmitters() {
    let current = configuration();
    for (change, member) in [
        (json!({"iss": "https://other.example"}), "iss"),
        (
            json!({"aud": ["https://rc.example", "https://other.example"]}),
            "aud",
        ),
        (
            json!({"events_delivered": ["urn:x:1", "urn:x:2"]}),
            "events_delivered",
        ),
        (
            json!({"min_verification_interval": 0}),
            "min_verification_interval",
        ),
        (json!({"inactivity_timeout": 9}), "inactivity_timeout"),
    ] {
        let request = StreamRequest::from_json(change.to_string().as_bytes()).unwrap();
        let error = request.check_against(Some(&current)).unwrap_err();
        assert!(matches!(error, BodyError::Member { member: found, .. } if found == member));
        assert!(
            request.check_against(None).is_err(),
            "nor of a new one: {member}"
        );
    }
    // What is so may be repeated, and is not sent by us.
    let repeated = json!({"stream_id": "s-1", "iss": "https://tr.example", "aud": "https://rc.example",
        "events_delivered": ["urn:x:1"], "description": "new"});
    let request = StreamRequest::from_json(repeated.to_string().as_bytes()).unwrap();
    request.check_against(Some(&current)).unwrap();
    let sent = serde_json::to_value(&request).unwrap();
    assert_eq!(sent, json!({"stream_id": "s-1", "description": "new"}));
    // `status` is another endpoint's: here it says nothing.
    let request = StreamRequest::from_json(br#"{"status":"disabled"}"#).unwrap();
    assert_eq!(serde_json::to_string(&request).unwrap(), "{}");
}

#[test]
fn secrets_of_a_receiver_go_to_its_transmitter_and_never_back() {
    let current = configuration();
    assert!(
        !serde_json::to_string(&current)
            .unwrap()
            .contains("secret-of-a-receiver")
    );
    assert!(!format!("{current:?}").contains("secret-of-a-receiver"));
    let request = StreamRequest::new().delivered_by(configuration().delivery);
    let sent = serde_json::to_string(&request).unwrap();
    assert!(sent.contains(r#""authorization_header":"Bearer secret-of-a-receiver""#));
    assert!(!format!("{request:?}").contains("secret-of-a-receiver"));
    let read = StreamRequest::from_json(sent.as_bytes()).unwrap();
    let delivery = read.delivery().unwrap();
    assert_eq!(delivery.method(), DeliveryMethod::Push);
    assert!(
        delivery
            .authorization()
            .unwrap()
            .is(b"Bearer secret-of-a-receiver")
    );
}

#[test]
fn streams_that_cannot_be_are_refused() {
    for wrong in [
        r#"{"delivery":{}}"#,
        r#"{"delivery":{"method":"urn:x"}}"#,
        r#"{"delivery":{"method":"urn:ietf:rfc:8935"}}"#,
        r#"{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":""}}"#,
        r#"{"delivery":{"method":"urn:ietf:rfc:8936","authorization_header":"a\r\nb"}}"#,
        r#"{"events_requested":"x"}"#,
        r#"{"events_requested":[""]}"#,
        r#"{"stream_id":7}"#,
        ";{ broken",
    ] {
        let error = StreamRequest::from_json(wrong.as_bytes()).unwrap_err();
        assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    let json = serde_json::to_vec(&configuration()).unwrap();
    assert!(StreamConfiguration::from_json("https://tr.example", &json).is_ok());
    let error = StreamConfiguration::from_json("https://tr.example/", &json).unwrap_err();
    assert!(
        matches!(error, BodyError::Member { member: "iss", .. }),
        "byte by byte"
    );
    assert!(StatusUpdate::from_json(br#"{"stream_id":"a","status":"off"}"#).is_err());
    let update = StatusUpdate::from_json(br#"{"stream_id":"a","status":"paused"}"#).unwrap();
    assert_eq!(update.status, StreamStatus::Paused);
}

#[test]
fn set_013_the_state_of_a_verification_is_bounded() {
    let request = json!({"stream_id": "a", "state": "x".repeat(1 << 16)}).to_string();
    assert!(VerificationRequest::from_json(request.as_bytes()).is_err());
    let request = json!({"stream_id": "a", "state": "x"}).to_string();
    assert!(VerificationRequest::from_json(request.as_bytes()).is_ok());
}

#[test]
fn metadata_speaks_for_the_issuer_that_was_asked() {
    for (issuer, url) in [
        (
            "https://tr.example.com",
            "https://tr.example.com/.well-known/ssf-configuration",
        ),
        (
            "https://tr.example.com/",
            "https://tr.example.com/.well-known/ssf-configuration",
        ),
        (
            "https://tr.example.com/a/b/",
            "https://tr.example.com/.well-known/ssf-configuration/a/b",
        ),
        (
            "https://tr.example.com:8443/a",
            "https://tr.example.com:8443/.well-known/ssf-configuration/a",
        ),
    ] {
        assert_eq!(well_known_url(issuer).unwrap(), url);
    }
    for wrong in [
        "",
        "http://tr.example",
        "https://",
        "https:///a",
        "https://tr.example?x",
        "https://tr.example#x",
        "https://a@tr.example",
        "https://tr.example/ b",
        "tr.example",
        "HTTPS://tr.example",
    ] {
        assert_eq!(well_known_url(wrong), Err(MetadataError::Issuer), "{wrong}");
    }
    let metadata = TransmitterMetadata::new("https://tr.example", "https://tr.example/jwks")
        .unwrap()
        .with_endpoints(
            "https://tr.example/1",
            "https://tr.example/2",
            "https://tr.example/3",
            "https://tr.example/4",
            "https://tr.example/5",
        )
        .unwrap();
    let json = serde_json::to_vec(&metadata).unwrap();
    let read = TransmitterMetadata::from_json("https://tr.example", &json).unwrap();
    assert_eq!(read, metadata);
    assert_eq!(read.verification_endpoint(), Some("https://tr.example/5"));
    assert!(read.supports(DeliveryMethod::Push) && read.supports(DeliveryMethod::Poll));
    assert_eq!(read.spec_version(), "1_0");
    for other in [
        "https://tr.example/",
        "https://TR.example",
        "https://other.example",
    ] {
        let error = TransmitterMetadata::from_json(other, &json).unwrap_err();
        assert!(
            matches!(error, MetadataError::OtherIssuer { .. }),
            "{other}"
        );
    }
    for (name, url) in [
        ("jwks_uri", "http://tr.example/jwks"),
        ("status_endpoint", "file:///etc/passwd"),
        ("add_subject_endpoint", "https://a@b.example"),
        ("configuration_endpoint", ""),
    ] {
        let json = json!({"issuer": "https://tr.example", name: url}).to_string();
        assert!(
            TransmitterMetadata::from_json("https://tr.example", json.as_bytes()).is_err(),
            "{url}"
        );
    }
    let empty = json!({"issuer": "https://tr.example", "critical_subject_members": []}).to_string();
    let read = TransmitterMetadata::from_json("https://tr.example", empty.as_bytes()).unwrap();
    assert!(
        !serde_json::to_string(&read).unwrap().contains("[]"),
        "empty arrays are left out"
    );
}

proptest! {
    #[test]
    fn no_body_makes_anything_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PollRequest::from_json(&body);
        let _ = PollResponse::from_json(&body);
        let _ = StreamRequest::from_json(&body);
        let _ = StreamConfiguration::from_json("https://tr.example", &body);
        let _ = TransmitterMetadata::from_json("https://tr.example", &body);
        let _ = push::read(&pushed("application/secevent+jwt", &body));
    }

    #[test]
    fn polls_survive_the_wire(
        max in prop::option::of(any::<u32>()),
        names in prop::collection::vec("[a-z0-9\"\\\\é]{1,20}", 0..20),
    ) {
        let mut request = PollRequest::new().acknowledging(names.iter().map(String::as_str));
        if let Some(max) = max {
            request = request.with_max_events(max);
        }
        let body = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(PollRequest::from_json(&body).unwrap(), request);
    }
}
