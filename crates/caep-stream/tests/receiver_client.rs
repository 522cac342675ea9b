//! How a receiver finds a transmitter and manages its streams.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use caep_set::{StreamStatus, SubjectId};
use caep_stream::receiver::{
    Answer, ClientError, Discovery, DiscoveryError, StreamClient, Transmitter,
};
use caep_stream::{
    Delivery, MetadataError, SecretHeader, StreamConfiguration, StreamRequest, VerificationRequest,
};
use common::{A, RECEIVER, stream};
use http::{HeaderValue, Response};
use serde_json::{Value, json};

const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

fn metadata(changes: &Value) -> Vec<u8> {
    let mut all = json!({
        "issuer": A,
        "spec_version": "1_0",
        "jwks_uri": "https://a.example/jwks",
        "configuration_endpoint": "https://a.example/streams",
        "status_endpoint": "https://a.example/status?v=1",
        "add_subject_endpoint": "https://a.example/add",
        "remove_subject_endpoint": "https://a.example/remove",
        "verification_endpoint": "https://a.example/verify",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    serde_json::to_vec(&all).unwrap()
}

fn json_response(body: &[u8]) -> Response<&[u8]> {
    let response = Response::builder().header("content-type", "application/json; charset=utf-8");
    response.body(body).unwrap()
}

fn discover(discovery: &mut Discovery, changes: &Value) -> Result<Transmitter, DiscoveryError> {
    discovery.read(&json_response(&metadata(changes)))
}

fn client() -> StreamClient {
    let transmitter = discover(&mut Discovery::new(A).unwrap(), &json!({})).unwrap();
    StreamClient::new(transmitter).with_authorization(HeaderValue::from_static("Bearer token"))
}

#[test]
fn metadata_is_fetched_from_the_issuer_and_speaks_for_it_alone() {
    let discovery = Discovery::new("https://a.example/tenant/").unwrap();
    let request = discovery.request();
    assert_eq!(
        request.uri(),
        "https://a.example/.well-known/ssf-configuration/tenant"
    );
    assert!(!request.headers().contains_key("authorization"));
    for issuer in [
        "http://a.example",
        "https://a.example?x",
        "https://u@a.example",
        "a.example",
        "https://",
    ] {
        assert!(Discovery::new(issuer).is_err(), "{issuer}");
    }
    let mut discovery = Discovery::new(A).unwrap();
    for other in [
        "https://a.example/",
        "https://A.example",
        "https://b.example",
    ] {
        let error = discover(&mut discovery, &json!({"issuer": other})).unwrap_err();
        assert!(
            matches!(
                error,
                DiscoveryError::Metadata(MetadataError::OtherIssuer { .. })
            ),
            "{other}"
        );
    }
}

#[test]
fn endpoints_are_https_and_at_an_origin_that_was_allowed() {
    for member in [
        "jwks_uri",
        "configuration_endpoint",
        "status_endpoint",
        "add_subject_endpoint",
        "remove_subject_endpoint",
        "verification_endpoint",
    ] {
        let mut discovery = Discovery::new(A).unwrap();
        for elsewhere in [
            "https://evil.example/x",
            "https://a.example:8443/x",
            "https://a.example.evil.example/x",
            "https://169.254.169.254/latest",
        ] {
            let error = discover(&mut discovery, &json!({member: elsewhere}));
            assert_eq!(error, Err(DiscoveryError::Origin { member }), "{elsewhere}");
        }
        for bad in [
            "http://a.example/x",
            "https://u@a.example/x",
            "/x",
            "ftp://a.example/x",
        ] {
            let error = discover(&mut discovery, &json!({member: bad})).unwrap_err();
            assert!(matches!(error, DiscoveryError::Metadata(_)), "{bad}");
        }
        let mut discovery = discovery
            .allowing_origin("https://cdn.example:8443")
            .unwrap();
        let there = json!({member: "https://CDN.example:8443/x"});
        assert!(discover(&mut discovery, &there).is_ok());
        // The same origin in other words.
        let same = json!({member: "https://A.example:443/x"});
        assert!(discover(&mut Discovery::new(A).unwrap(), &same).is_ok());
    }
    for origin in [
        "http://a.example",
        "https://a.example/",
        "a.example",
        "https://",
    ] {
        let error = Discovery::new(A).unwrap().allowing_origin(origin);
        assert_eq!(error.unwrap_err(), DiscoveryError::NoOrigin, "{origin}");
    }
}

#[test]
fn keys_that_move_to_another_origin_are_not_followed() {
    let mut discovery = Discovery::new(A)
        .unwrap()
        .allowing_origin("https://keys.example")
        .unwrap();
    let first = discover(&mut discovery, &json!({})).unwrap();
    assert_eq!(first.keys_origin(), "https://a.example:443");
    let moved = json!({"jwks_uri": "https://keys.example/jwks"});
    let error = discover(&mut discovery, &moved).unwrap_err();
    assert!(matches!(error, DiscoveryError::KeysMoved { .. }));
    // Another path there is no move; and what was known stays known.
    assert!(
        discover(
            &mut discovery,
            &json!({"jwks_uri": "https://a.example/new"})
        )
        .is_ok()
    );
    // The pin survives a restart if it is given.
    let mut restarted = Discovery::new(A)
        .unwrap()
        .allowing_origin("https://keys.example")
        .unwrap()
        .pinned_to(first.keys_origin())
        .unwrap();
    assert!(matches!(
        discover(&mut restarted, &moved),
        Err(DiscoveryError::KeysMoved { .. })
    ));
}

#[test]
fn what_is_not_metadata_of_1_0_is_not_used() {
    let mut discovery = Discovery::new(A).unwrap();
    let body = metadata(&json!({}));
    for status in [204, 301, 302, 404, 500] {
        let response = Response::builder().status(status).body(&body[..]).unwrap();
        assert!(matches!(
            discovery.read(&response),
            Err(DiscoveryError::Status { .. })
        ));
    }
    let html = Response::builder().header("content-type", "text/html");
    let html = html.body(&body[..]).unwrap();
    assert_eq!(discovery.read(&html), Err(DiscoveryError::MediaType));
    assert_eq!(
        discovery.read(&Response::new(&body[..])),
        Err(DiscoveryError::MediaType)
    );
    let no_keys = discover(&mut discovery, &json!({"jwks_uri": null}));
    assert_eq!(no_keys, Err(DiscoveryError::NoKeys));
    for version in [
        json!("1_0-ID2"),
        json!("2_0"),
        json!("1_"),
        json!("1_x"),
        json!(null),
    ] {
        let changes = json!({"spec_version": version});
        let error = discover(&mut discovery, &changes);
        assert_eq!(error, Err(DiscoveryError::Version), "{version}");
    }
    assert!(discover(&mut discovery, &json!({"spec_version": "1_1"})).is_ok());
    let mut drafts = discovery.allowing_drafts();
    assert!(discover(&mut drafts, &json!({"spec_version": null})).is_ok());
    assert!(discover(&mut drafts, &json!({"spec_version": "1_0-ID9"})).is_err());
    let long = vec![b' '; caep_stream::receiver::MAX_METADATA + 1];
    assert!(drafts.read(&json_response(&long)).is_err());
}

fn body_of<T>(call: &caep_stream::receiver::Call<T>) -> Value {
    serde_json::from_slice(call.request().body()).unwrap()
}

#[test]
fn requests_say_what_is_a_receivers_to_say_and_no_more() {
    let client = client();
    let secret = SecretHeader::new("Bearer pushed").unwrap();
    let wanted = StreamRequest::new()
        .requesting([EVENT])
        .delivered_by(Delivery::push("https://rc.example/events", Some(secret)))
        .described("orders");
    let call = client.create(&wanted).unwrap();
    assert_eq!(call.request().method(), "POST");
    assert_eq!(call.request().headers()["authorization"], "Bearer token");
    assert_eq!(
        body_of(&call),
        json!({
            "events_requested": [EVENT],
            "delivery": {
                "method": "urn:ietf:rfc:8935",
                "endpoint_url": "https://rc.example/events",
                "authorization_header": "Bearer pushed",
            },
            "description": "orders",
        })
    );
    assert!(!format!("{call:?}").contains("pushed"));
    let call = client.read("a b&c=d/ü").unwrap();
    assert_eq!(
        call.request().uri(),
        "https://a.example/streams?stream_id=a%20b%26c%3Dd%2F%C3%BC"
    );
    assert!(!call.request().headers().contains_key("content-type"));
    let call = client.read_status("s-1").unwrap();
    assert_eq!(
        call.request().uri(),
        "https://a.example/status?v=1&stream_id=s-1"
    );
    assert_eq!(
        client.read_all().unwrap().request().uri(),
        "https://a.example/streams"
    );
    let stream = stream(A);
    let call = client
        .update(&stream, StreamRequest::new().described("x"))
        .unwrap();
    assert_eq!(call.request().method(), "PATCH");
    assert_eq!(
        body_of(&call),
        json!({"stream_id": "s-1", "description": "x"})
    );
    let whole = StreamRequest::new()
        .requesting([EVENT])
        .delivered_by(Delivery::poll());
    let call = client.replace(&stream, whole).unwrap();
    assert_eq!(call.request().method(), "PUT");
    assert_eq!(
        body_of(&call),
        json!({
            "stream_id": "s-1",
            "events_requested": [EVENT],
            "delivery": {"method": "urn:ietf:rfc:8936"},
        })
    );
    let call = client
        .update_status("s-1", StreamStatus::Paused, None)
        .unwrap();
    assert_eq!(
        body_of(&call),
        json!({"stream_id": "s-1", "status": "paused"})
    );
    let alice = SubjectId::email("alice@a.example").unwrap();
    let call = client.add_subject("s-1", &alice, Some(true)).unwrap();
    let subject = json!({"format": "email", "email": "alice@a.example"});
    assert_eq!(
        body_of(&call),
        json!({"stream_id": "s-1", "subject": subject, "verified": true})
    );
    let call = client.remove_subject("s-1", &alice).unwrap();
    assert_eq!(
        body_of(&call),
        json!({"stream_id": "s-1", "subject": subject})
    );
    let wanted = VerificationRequest {
        stream_id: "s-1".into(),
        state: Some("x".into()),
    };
    let call = client.verify(&wanted).unwrap();
    assert_eq!(body_of(&call), json!({"stream_id": "s-1", "state": "x"}));
    assert_eq!(client.delete("s-1").unwrap().request().method(), "DELETE");
}

#[test]
fn what_is_not_ours_to_say_is_not_sent() {
    let client = client();
    let request = |delivery| {
        StreamRequest::new()
            .requesting([EVENT])
            .delivered_by(delivery)
    };
    let theirs = Delivery::poll_at("https://a.example/poll");
    let misplaced = |member| ClientError::Misplaced { member };
    let error = client.create(&request(theirs)).unwrap_err();
    assert_eq!(error, misplaced("endpoint_url"));
    let error = client.create(&request(Delivery::poll()).about("s-1"));
    assert_eq!(error.unwrap_err(), misplaced("stream_id"));
    let error = client.create(&StreamRequest::new()).unwrap_err();
    assert_eq!(error, ClientError::NoEvents);
    let none = StreamRequest::new().requesting([]);
    assert_eq!(client.create(&none).unwrap_err(), ClientError::NoEvents);
    let transmitter = discover(
        &mut Discovery::new(A).unwrap(),
        &json!({"status_endpoint": null}),
    );
    let error = StreamClient::new(transmitter.unwrap()).read_status("s-1");
    let endpoint = "status_endpoint";
    assert_eq!(error.unwrap_err(), ClientError::NoEndpoint { endpoint });
}

fn configuration(changes: &Value) -> Vec<u8> {
    let mut all: Value = serde_json::to_value(stream(A)).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::to_vec(&all).unwrap()
}

fn read(
    client: &StreamClient,
    changes: &Value,
) -> Result<Answer<StreamConfiguration>, ClientError> {
    let body = configuration(changes);
    let call = client.update(&stream(A), StreamRequest::new()).unwrap();
    call.read(&Response::new(&body[..]))
}

#[test]
fn configurations_of_others_are_not_believed() {
    let client = client().with_audience([RECEIVER, "https://rc2.example"]);
    assert!(matches!(read(&client, &json!({})), Ok(Answer::Done(_))));
    let is_body = |error| matches!(error, Err(ClientError::Body(_)));
    assert!(is_body(read(&client, &json!({"iss": "https://b.example"}))));
    assert!(is_body(read(
        &client,
        &json!({"iss": "https://a.example/"})
    )));
    for (changes, expected) in [
        (json!({"stream_id": "s-2"}), ClientError::OtherStream),
        (
            json!({"aud": "https://other.example"}),
            ClientError::OtherAudience,
        ),
        (
            json!({"aud": [RECEIVER, "https://other.example"]}),
            ClientError::OtherAudience,
        ),
        // One of ours, but not what it was.
        (
            json!({"aud": "https://rc2.example"}),
            ClientError::OtherAudience,
        ),
        (
            json!({"delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "https://evil.example/p"}}),
            ClientError::Origin,
        ),
    ] {
        assert_eq!(read(&client, &changes).unwrap_err(), expected, "{changes}");
    }
    let all = client.read_all().unwrap();
    let list = |body: &str| all.read(&Response::new(body.as_bytes()));
    assert!(matches!(list("[]"), Ok(Answer::Done(all)) if all.is_empty()));
    let one = String::from_utf8(configuration(&json!({}))).unwrap();
    assert!(matches!(list(&format!("[{one}]")), Ok(Answer::Done(all)) if all.len() == 1));
    assert_eq!(list(&one).unwrap_err(), ClientError::NotAList);
    let foreign = String::from_utf8(configuration(&json!({"iss": "https://b.example"}))).unwrap();
    assert!(list(&format!("[{one},{foreign}]")).is_err());
}

/// The conformance suite's transmitter answers errors with an empty body, does not do half of the API,
/// and says 405 to that.
#[test]
fn what_transmitters_commonly_answer_is_no_error() {
    let client = client();
    let call = client
        .create(&StreamRequest::new().requesting([EVENT]))
        .unwrap();
    let answer = |status: u16, header: Option<(&str, &str)>| {
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = header {
            response = response.header(name, value);
        }
        call.read(&response.body(b"".as_slice()).unwrap()).unwrap()
    };
    assert!(matches!(answer(202, None), Answer::Accepted));
    assert!(matches!(answer(401, None), Answer::Unauthenticated));
    assert!(matches!(answer(403, None), Answer::Forbidden));
    assert!(matches!(answer(404, None), Answer::NotFound));
    assert!(matches!(answer(405, None), Answer::NotSupported));
    assert!(matches!(answer(409, None), Answer::Exists));
    assert!(matches!(answer(400, None), Answer::Refused { .. }));
    assert!(matches!(answer(302, None), Answer::Refused { .. }));
    let later = answer(429, Some(("retry-after", "30")));
    assert!(matches!(
        later,
        Answer::Later {
            retry_after: Some(30),
            ..
        }
    ));
    let later = answer(503, Some(("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")));
    assert!(matches!(
        later,
        Answer::Later {
            retry_after: None,
            ..
        }
    ));
    // Deleting, verifying and adding subjects succeed with nothing in the body.
    let empty = Response::builder()
        .status(204)
        .body(b"".as_slice())
        .unwrap();
    let done = client.delete("s-1").unwrap().read(&empty).unwrap();
    assert_eq!(done, Answer::Done(()));
    // A success that says nothing of the stream is none.
    assert!(matches!(call.read(&empty), Err(ClientError::Body(_))));
    let long = vec![b' '; (256 << 10) + 1];
    assert_eq!(
        call.read(&Response::new(&long)).unwrap_err(),
        ClientError::TooLong
    );
    let status = client.read_status("s-1").unwrap();
    let other = br#"{"stream_id": "s-2", "status": "enabled"}"#;
    let error = status.read(&Response::new(&other[..])).unwrap_err();
    assert_eq!(error, ClientError::OtherStream);
}
