//! How a receiver polls.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use caep_set::{SessionRevoked, SubjectId};
use caep_stream::poll::{PollRequest, PollResponse};
use caep_stream::receiver::{
    PollReport, Poller, PollerError, Postponed, Received, Receiver, Refusal, Waiting,
};
use caep_stream::{Delivery, StreamConfiguration};
use common::{A, B, NOW, Transmitter, at, memory, open, stream};
use http::{HeaderValue, Request, Response};
use m2m_crypto::SystemRandom;
use m2m_store::{Failure, Store};
use pollster::block_on;

const HERE: Waiting = Waiting::Here {
    interval: Duration::from_secs(20),
};

fn poller(waiting: Waiting) -> Poller {
    let mut poller = Poller::new(&stream(A), waiting).unwrap();
    poller.set_authorization(HeaderValue::from_static("Bearer token"));
    poller
}

fn ask(poller: &mut Poller, now: u64) -> PollRequest {
    let request = poller.poll_request(at(now)).unwrap();
    sent(&request)
}

fn sent(request: &Request<Vec<u8>>) -> PollRequest {
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "https://a.example/poll");
    assert_eq!(request.headers()["authorization"], "Bearer token");
    assert_eq!(request.headers()["content-type"], "application/json");
    let request_body = PollRequest::from_json(request.body()).unwrap();
    let has_errors = request_body.failed().next().is_some();
    assert_eq!(
        request.headers().contains_key("content-language"),
        has_errors
    );
    request_body
}

fn answer(poller: &mut Poller, receiver: &Receiver, sets: &[(&str, &str)], now: u64) -> PollReport {
    let body = serde_json::to_vec(&PollResponse::new(sets.iter().copied())).unwrap();
    respond(poller, receiver, 200, &body, now)
}

fn respond(
    poller: &mut Poller,
    receiver: &Receiver,
    status: u16,
    body: &[u8],
    now: u64,
) -> PollReport {
    let response = Response::builder().status(status).body(body).unwrap();
    block_on(poller.handle_response(receiver, &response, at(now), &SystemRandom))
}

fn acknowledged(request: &PollRequest) -> Vec<&str> {
    request.acknowledged().collect()
}

fn receiver(a: &Transmitter, b: &Transmitter, store: &Arc<dyn Store>) -> Receiver {
    open(store, vec![a.source(), b.source()])
}

fn session(a: &Transmitter, jti: &str) -> String {
    a.set(
        jti,
        SubjectId::opaque("7f3a").unwrap(),
        SessionRevoked::new(),
    )
}

#[test]
fn what_is_recorded_is_acknowledged_until_that_is_heard() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let mut poller = poller(HERE);
    let first = ask(&mut poller, NOW);
    assert!(first.returns_immediately());
    assert_eq!(first.max_events(), Some(100));
    assert!(poller.poll_request(at(NOW)).is_none(), "one at a time");
    let (one, two) = (session(&a, "1"), session(&a, "2"));
    let report = answer(&mut poller, &receiver, &[("1", &one), ("2", &two)], NOW);
    assert!(
        report
            .received
            .iter()
            .all(|(_, what)| *what == Received::New)
    );
    // Asked again at once, to acknowledge; that request is lost, and the next one says it again.
    let request = ask(&mut poller, NOW);
    assert_eq!(acknowledged(&request), ["1", "2"]);
    poller.handle_failure(at(NOW), &SystemRandom);
    assert!(poller.poll_request(at(NOW)).is_none(), "it waits");
    let request = ask(&mut poller, NOW + 2);
    assert_eq!(acknowledged(&request), ["1", "2"]);
    let report = respond(&mut poller, &receiver, 500, b"", NOW + 2);
    assert!(matches!(report.problem, Some(PollerError::Status { .. })));
    let request = ask(&mut poller, NOW + 10);
    assert_eq!(acknowledged(&request), ["1", "2"]);
    answer(&mut poller, &receiver, &[("2", &two)], NOW + 10);
    let request = ask(&mut poller, NOW + 10);
    assert_eq!(
        acknowledged(&request),
        ["2"],
        "what comes again is acknowledged again"
    );
    answer(&mut poller, &receiver, &[], NOW + 10);
    assert_eq!(poller.poll_timeout(), at(NOW + 30));
    assert!(
        poller.last_request(at(NOW + 10)).is_none(),
        "nothing is left"
    );
    assert_eq!(block_on(receiver.inbox().pending(9)).unwrap().len(), 2);
}

#[test]
fn what_cannot_be_taken_is_reported_and_does_not_come_for_ever() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let impostor = Transmitter::new(A);
    let mut poller = poller(HERE);
    ask(&mut poller, NOW);
    let (good, forged) = (session(&a, "1"), session(&impostor, "2"));
    let (of_b, misnamed) = (session(&b, "3"), session(&a, "5"));
    let sets: [(&str, &str); 5] = [
        ("1", &good),
        ("2", &forged),
        ("3", &of_b),
        ("4", &misnamed),
        ("6", "rubbish"),
    ];
    let report = answer(&mut poller, &receiver, &sets, NOW);
    let what: Vec<_> = report.received.iter().map(|(_, what)| what).collect();
    assert_eq!(what[0], &Received::New);
    assert_eq!(
        what[2],
        &Received::Refused(Refusal::Sender),
        "not A's to bring"
    );
    assert_eq!(what[3], &Received::Refused(Refusal::Name));
    let request = ask(&mut poller, NOW);
    assert_eq!(acknowledged(&request), ["1"]);
    let failed: Vec<_> = request
        .failed()
        .map(|(name, failure)| (name, failure.code_text()))
        .collect();
    assert_eq!(
        failed,
        [
            ("2", "invalid_key"),
            ("3", "access_denied"),
            ("4", "invalid_request"),
            ("6", "invalid_request"),
        ]
    );
    answer(&mut poller, &receiver, &[], NOW);
    let request = ask(&mut poller, NOW + 20);
    assert_eq!(request.failed().count(), 0, "it was heard");
    assert_eq!(block_on(receiver.inbox().pending(9)).unwrap().len(), 1);
}

#[test]
fn what_could_not_be_recorded_is_neither_acknowledged_nor_refused() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    for failure in [
        Failure::NotWritten,
        Failure::NotWrittenAndUnknown,
        Failure::WrittenButUnknown,
    ] {
        let (memory, store) = memory();
        let receiver = receiver(&a, &b, &store);
        let mut poller = poller(HERE);
        ask(&mut poller, NOW);
        memory.fail_next(failure);
        let (one, two) = (session(&a, "1"), session(&a, "2"));
        let sets: [(&str, &str); 2] = [("1", &one), ("2", &two)];
        let report = answer(&mut poller, &receiver, &sets, NOW);
        let recorded = block_on(receiver.inbox().pending(9)).unwrap().len();
        if let Received::Later(Postponed::NotRecorded(_)) = report.received[0].1 {
            assert_eq!(
                report.received.len(),
                1,
                "the others do not wait for it as well"
            );
            assert_eq!(recorded, 0);
            assert_eq!(poller.poll_timeout(), at(NOW + 10), "and it does not hurry");
        }
        let request = ask(&mut poller, NOW + 10);
        assert_eq!(acknowledged(&request).len(), recorded, "{failure:?}");
        assert_eq!(request.failed().count(), 0);
        answer(&mut poller, &receiver, &sets, NOW + 10);
        let request = ask(&mut poller, NOW + 10);
        assert_eq!(acknowledged(&request), ["1", "2"]);
        assert_eq!(block_on(receiver.inbox().pending(9)).unwrap().len(), 2);
    }
}

#[test]
fn a_long_poll_waits_there_and_a_transmitter_that_does_not_is_not_hammered() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let mut poller = poller(Waiting::There);
    assert!(!ask(&mut poller, NOW).returns_immediately());
    answer(&mut poller, &receiver, &[], NOW + 10);
    assert_eq!(poller.poll_timeout(), at(NOW + 10), "it waited there");
    ask(&mut poller, NOW + 10);
    answer(&mut poller, &receiver, &[], NOW + 10);
    assert_eq!(poller.poll_timeout(), at(NOW + 11), "it did not");
    // An answer that never comes is given up.
    ask(&mut poller, NOW + 11);
    assert_eq!(poller.poll_timeout(), at(NOW + 311));
    assert!(poller.poll_request(at(NOW + 310)).is_none());
    assert!(poller.poll_request(at(NOW + 311)).is_some());
}

#[test]
fn a_transmitter_that_always_has_more_gets_a_pause_now_and_then() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let mut poller = poller(HERE);
    let same = session(&a, "1");
    let mut requests = 0;
    while let Some(request) = poller.poll_request(at(NOW)) {
        sent(&request);
        let body = PollResponse::new([("1", &*same)]).with_more_available();
        let body = serde_json::to_vec(&body).unwrap();
        respond(&mut poller, &receiver, 200, &body, NOW);
        requests += 1;
        assert!(requests <= 100);
    }
    assert_eq!(requests, 100);
    assert_eq!(poller.poll_timeout(), at(NOW + 1));
}

#[test]
fn failures_make_it_wait_longer_each_time_and_a_new_access_token_goes_on_at_once() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let mut poller = poller(HERE);
    let mut now = NOW;
    let mut waits = Vec::new();
    for _ in 0..12 {
        ask(&mut poller, now);
        respond(&mut poller, &receiver, 503, b"", now);
        let due = poller.poll_timeout().unix_seconds();
        waits.push(due - now);
        now = due;
    }
    assert!(waits.is_sorted_by(|one, two| two + 75 >= *one), "{waits:?}");
    assert!(
        waits[0] <= 2 && waits[4] >= 16 && waits[11] >= 256,
        "{waits:?}"
    );
    assert!(waits.iter().all(|wait| *wait <= 375), "{waits:?}");
    ask(&mut poller, now);
    let report = respond(&mut poller, &receiver, 401, b"", now);
    assert!(matches!(
        report.problem,
        Some(PollerError::Unauthorized { .. })
    ));
    assert!(poller.poll_request(at(now)).is_none());
    poller.set_authorization(HeaderValue::from_static("Bearer token"));
    ask(&mut poller, now);
    let response = Response::builder()
        .status(429)
        .header("retry-after", "99999999");
    let response = response.body(b"".as_slice()).unwrap();
    block_on(poller.handle_response(&receiver, &response, at(now), &SystemRandom));
    assert_eq!(poller.poll_timeout(), at(now + 3600), "an hour at most");
    ask(&mut poller, now + 3600);
    let report = respond(&mut poller, &receiver, 404, b"", now + 3600);
    assert_eq!(report.problem, Some(PollerError::Gone));
    assert!(!format!("{poller:?}").contains("token"));
}

#[test]
fn an_answer_that_is_none_brings_nothing() {
    let (a, b) = (Transmitter::new(A), Transmitter::new(B));
    let (_, store) = memory();
    let receiver = receiver(&a, &b, &store);
    let mut poller = poller(HERE);
    let set = session(&a, "1");
    let twice = format!(r#"{{"sets":{{"1":"{set}","1":"{set}"}}}}"#);
    let long = "x".repeat(caep_stream::poll::MAX_RESPONSE + 1);
    let mut now = NOW;
    for body in [
        "",
        "[]",
        "{}",
        r#"{"sets":[]}"#,
        r#"{"sets":{"1":7}}"#,
        &twice,
        &long,
    ] {
        ask(&mut poller, now);
        let report = respond(&mut poller, &receiver, 200, body.as_bytes(), now);
        assert!(matches!(report.problem, Some(PollerError::Body(_))));
        assert!(report.received.is_empty());
        now = poller.poll_timeout().unix_seconds();
    }
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
    // Three hundred are a redirection; it is not followed.
    ask(&mut poller, now);
    let report = respond(&mut poller, &receiver, 307, b"", now);
    assert!(matches!(report.problem, Some(PollerError::Status { .. })));
}

#[test]
fn a_stream_that_is_not_polled_over_https_is_not_polled() {
    let with = |delivery| StreamConfiguration {
        delivery,
        ..stream(A)
    };
    for (delivery, expected) in [
        (
            Delivery::push("https://rc.example/events", None),
            PollerError::NoEndpoint,
        ),
        (Delivery::poll(), PollerError::NoEndpoint),
        (
            Delivery::poll_at("http://a.example/poll"),
            PollerError::Endpoint,
        ),
        (
            Delivery::poll_at("file:///etc/passwd"),
            PollerError::Endpoint,
        ),
        (Delivery::poll_at("/poll"), PollerError::Endpoint),
    ] {
        assert_eq!(Poller::new(&with(delivery), HERE).unwrap_err(), expected);
    }
    // One that is polled for nobody records nothing.
    let a = Transmitter::new(A);
    let (_, store) = memory();
    let receiver = open(&store, vec![Transmitter::new(B).source()]);
    let mut poller = poller(HERE);
    ask(&mut poller, NOW);
    let report = answer(&mut poller, &receiver, &[("1", &session(&a, "1"))], NOW);
    assert_eq!(report.problem, Some(PollerError::NoSource));
}
