//! What a receiver answers to those who push.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use caep_set::{SecurityEvent, SessionRevoked, SubjectId};
use caep_stream::SecretHeader;
use caep_stream::receiver::{Outcome, Pushed, Received, Receiver, Refusal};
use common::{
    A, B, NOW, RECEIVER, Transmitter, at, is_session_revoked, memory, open, push, revocations,
};
use m2m_crypto::SystemRandom;
use m2m_store::Failure;
use pollster::block_on;

fn secret(text: &str) -> SecretHeader {
    SecretHeader::new(text).unwrap()
}

struct World {
    a: Transmitter,
    b: Transmitter,
}

impl World {
    fn new() -> Self {
        let (a, b) = (Transmitter::new(A), Transmitter::new(B));
        Self { a, b }
    }

    fn receiver(&self, store: &std::sync::Arc<dyn m2m_store::Store>) -> Receiver {
        let a = self.a.source().pushed_with(secret("Bearer of-a"));
        let b = self.b.source().pushed_with(secret("Bearer of-b"));
        open(store, vec![a, b])
    }
}

fn session(id: &str) -> SubjectId {
    SubjectId::opaque(id).unwrap()
}

fn handle(receiver: &Receiver, request: &http::Request<&[u8]>) -> Pushed {
    block_on(receiver.handle_push(request, at(NOW), &SystemRandom))
}

fn code(pushed: &Pushed) -> String {
    let body: serde_json::Value = serde_json::from_slice(pushed.response.body()).unwrap();
    body["err"].as_str().unwrap().to_owned()
}

#[test]
fn a_pushed_set_is_answered_202_and_voids_its_session() {
    let world = World::new();
    let (_, store) = memory();
    let receiver = world.receiver(&store);
    let set = world.a.set("1", session("7f3a"), SessionRevoked::new());
    let pushed = handle(&receiver, &push(&set, Some("Bearer of-a")));
    assert_eq!(pushed.response.status(), 202);
    assert!(pushed.response.body().is_empty());
    assert_eq!(pushed.received, Some(Received::New));
    let again = handle(&receiver, &push(&set, Some("Bearer of-a")));
    assert_eq!(again.response.status(), 202);
    assert_eq!(again.received, Some(Received::Repeated));

    let revocations = revocations(&store);
    let report = block_on(receiver.act(&revocations, 100, at(NOW), &SystemRandom));
    assert_eq!(report.problem, None);
    assert!(matches!(report.acted[0].outcome(), Outcome::Voided(all) if all.len() == 1));
    assert!(is_session_revoked(revocations.revocations(), A, "7f3a"));
    assert!(!is_session_revoked(revocations.revocations(), B, "7f3a"));
    let report = block_on(receiver.act(&revocations, 100, at(NOW), &SystemRandom));
    assert!(report.acted.is_empty(), "once");
}

#[test]
fn set_014_a_stranger_gets_the_same_answer_whatever_it_sends() {
    let world = World::new();
    let (_, store) = memory();
    let receiver = world.receiver(&store);
    let set = world.a.set("1", session("7f3a"), SessionRevoked::new());
    let other = http::Request::get("/events").body(b"".as_slice()).unwrap();
    let mut twice = push(&set, Some("Bearer of-a"));
    let value = http::HeaderValue::from_static("Bearer of-a");
    twice.headers_mut().append("authorization", value);
    let long = "x".repeat(100_000);
    for request in [
        push(&set, None),
        push(&set, Some("Bearer of-c")),
        push(&set, Some("bearer of-a")),
        push(&set, Some("Bearer of-")),
        push(&set, Some("Bearer of-ab")),
        push(&set, Some("")),
        push("no set", None),
        push(&long, None),
        other,
        twice,
    ] {
        let pushed = handle(&receiver, &request);
        assert_eq!(pushed.response.status(), 401);
        assert_eq!(pushed.response.headers()["www-authenticate"], "Bearer");
        assert_eq!(pushed.response.headers()["content-language"], "en");
        assert_eq!(
            pushed.response.body(),
            br#"{"err":"authentication_failed","description":"the sender is not authenticated"}"#
        );
        assert_eq!(pushed.received, None);
    }
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
}

#[test]
fn set_014_what_is_no_push_is_refused_by_its_form() {
    let world = World::new();
    let (_, store) = memory();
    let receiver = world.receiver(&store);
    let set = world.a.set("1", session("7f3a"), SessionRevoked::new());
    let two = format!("{set}{set}");
    let lines = format!("{set}\n{set}");
    let long = "x.".repeat(100_000);
    for (body, content_type, status) in [
        (&*set, "application/jwt", 415),
        (&set, "application/json", 415),
        (&long, "application/secevent+jwt", 413),
        (&two, "application/secevent+jwt", 400),
        (&lines, "application/secevent+jwt", 400),
        ("", "application/secevent+jwt", 400),
        ("a.b.c", "application/secevent+jwt", 400),
    ] {
        let request = http::Request::post("/events")
            .header("content-type", content_type)
            .header("authorization", "Bearer of-a")
            .body(body.as_bytes())
            .unwrap();
        let pushed = handle(&receiver, &request);
        assert_eq!(pushed.response.status(), status, "{content_type}");
        if status == 400 {
            assert_eq!(code(&pushed), "invalid_request");
            assert_eq!(pushed.response.headers()["content-language"], "en");
        }
    }
    let request = http::Request::put("/events")
        .header("authorization", "Bearer of-a")
        .body(set.as_bytes())
        .unwrap();
    assert_eq!(handle(&receiver, &request).response.status(), 405);
}

#[test]
fn set_007_each_reason_has_its_code_in_the_order_of_rfc_8935() {
    let world = World::new();
    let (_, store) = memory();
    let receiver = world.receiver(&store);
    let event = || SecurityEvent::new(session("7f3a"), SessionRevoked::new());
    let stranger = Transmitter::new("https://c.example");
    let impostor = Transmitter::new(A);
    let good = world.a.set("1", session("7f3a"), SessionRevoked::new());
    let mut broken = good.clone().into_bytes();
    let last = broken.len() - 5;
    broken[last] = if broken[last] == b'A' { b'B' } else { b'A' };
    let broken = String::from_utf8(broken).unwrap();
    for (set, expected) in [
        (
            stranger.set("1", session("s"), SessionRevoked::new()),
            "invalid_issuer",
        ),
        (
            impostor.set("1", session("s"), SessionRevoked::new()),
            "invalid_key",
        ),
        (broken, "invalid_key"),
        (
            impostor.sign(&event(), "1", "https://other.example", NOW),
            "invalid_key",
        ),
        (
            world.a.sign(&event(), "1", "https://other.example", NOW),
            "invalid_audience",
        ),
        (
            world.a.sign(&event(), "1", RECEIVER, NOW + 3600),
            "invalid_request",
        ),
    ] {
        let pushed = handle(&receiver, &push(&set, Some("Bearer of-a")));
        assert_eq!(pushed.response.status(), 400, "{expected}");
        assert_eq!(code(&pushed), expected);
        let text = String::from_utf8_lossy(pushed.response.body()).into_owned();
        for configured in [A, B, RECEIVER, "kid", "Ed"] {
            assert!(!text.contains(configured), "{text}");
        }
    }
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
}

#[test]
fn set_008_nobody_speaks_for_another() {
    let world = World::new();
    let (_, store) = memory();
    let receiver = world.receiver(&store);
    // A's key under B's name.
    let forger = Transmitter {
        issuer: B,
        ring: world.a.ring.clone(),
        minter: caep_set::SetMinter::new(B, world.a.ring.clone()).unwrap(),
    };
    let forged = forger.set("1", session("7f3a"), SessionRevoked::new());
    for header in ["Bearer of-a", "Bearer of-b"] {
        let pushed = handle(&receiver, &push(&forged, Some(header)));
        assert_eq!(code(&pushed), "invalid_key", "{header}");
    }
    // B's own, brought by A.
    let set = world.b.set("1", session("7f3a"), SessionRevoked::new());
    let pushed = handle(&receiver, &push(&set, Some("Bearer of-a")));
    assert_eq!(code(&pushed), "access_denied");
    assert_eq!(pushed.received, Some(Received::Refused(Refusal::Sender)));
    let pushed = handle(&receiver, &push(&set, Some("Bearer of-b")));
    assert_eq!(pushed.received, Some(Received::New));
    // A about a subject of B's.
    let alice = SubjectId::issuer_subject(B, "alice").unwrap();
    let foreign = world.a.set("2", alice, SessionRevoked::new());
    let pushed = handle(&receiver, &push(&foreign, Some("Bearer of-a")));
    assert_eq!(pushed.received, Some(Received::New), "it is authentic");
    let revocations = revocations(&store);
    let report = block_on(receiver.act(&revocations, 9, at(NOW), &SystemRandom));
    assert_eq!(report.acted.len(), 2);
    assert_eq!(
        report.acted[1].outcome(),
        &Outcome::Ignored,
        "and nobody asked A"
    );
    let alice = m2m_revoke::Target::Subject {
        issuer: B,
        subject: "alice",
    };
    assert!(
        revocations
            .revocations()
            .check(&alice, None, at(NOW))
            .is_ok()
    );
}

#[test]
fn set_008_what_nobody_believes_can_be_refused() {
    let world = World::new();
    let (_, store) = memory();
    let source = world.a.source().pushed_with(secret("Bearer of-a"));
    let receiver = open(&store, vec![source.refusing_what_is_ignored()]);
    let about = |jti: &str, iss: &str| {
        let alice = SubjectId::issuer_subject(iss, "alice").unwrap();
        world.a.set(jti, alice, SessionRevoked::new())
    };
    let pushed = handle(&receiver, &push(&about("1", B), Some("Bearer of-a")));
    assert_eq!(code(&pushed), "access_denied");
    assert_eq!(pushed.received, Some(Received::Refused(Refusal::Ignored)));
    let pushed = handle(&receiver, &push(&about("2", A), Some("Bearer of-a")));
    assert_eq!(pushed.received, Some(Received::New));
    let verification = world.a.verification("3", None, NOW);
    let pushed = handle(&receiver, &push(&verification, Some("Bearer of-a")));
    assert_eq!(
        pushed.response.status(),
        202,
        "the stream itself is no matter of belief"
    );
}

#[test]
fn each_issuer_is_one_source() {
    let world = World::new();
    let (_, store) = memory();
    let sources = vec![world.a.source(), world.b.source(), world.a.source()];
    let opened = block_on(Receiver::open(store, "test", sources, &SystemRandom));
    let issuer = A.into();
    assert_eq!(
        opened.map(drop).unwrap_err(),
        caep_stream::InboxError::SameIssuer { issuer }
    );
}

#[test]
fn while_a_secret_is_replaced_both_are_taken() {
    let world = World::new();
    let (_, store) = memory();
    let source = world.a.source();
    let source = source
        .pushed_with(secret("Bearer old"))
        .pushed_with(secret("Bearer new"));
    let receiver = open(&store, vec![source]);
    for (jti, header, status) in [
        ("1", "Bearer old", 202),
        ("2", "Bearer new", 202),
        ("3", "Bearer both", 401),
    ] {
        let set = world.a.set(jti, session("7f3a"), SessionRevoked::new());
        let pushed = handle(&receiver, &push(&set, Some(header)));
        assert_eq!(pushed.response.status(), status, "{header}");
    }
    assert!(!format!("{receiver:?}").contains("old"));
}

#[test]
fn set_016_what_is_not_durable_is_not_acknowledged() {
    let world = World::new();
    for failure in [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ] {
        let (memory, store) = memory();
        let set = world.a.set("1", session("7f3a"), SessionRevoked::new());
        memory.fail_next(failure);
        let receiver = world.receiver(&store);
        let first = handle(&receiver, &push(&set, Some("Bearer of-a")));
        let status = first.response.status();
        let pending = block_on(receiver.inbox().pending(9)).unwrap().len();
        match status.as_u16() {
            202 => assert_eq!(pending, 1, "{failure:?}"),
            503 => {
                assert_eq!(pending, 0, "{failure:?}");
                assert!(first.response.headers().contains_key("retry-after"));
                assert!(first.response.body().is_empty());
            }
            other => panic!("{other}"),
        }
        // It comes again, to a process that was started meanwhile.
        let receiver = world.receiver(&store);
        let again = handle(&receiver, &push(&set, Some("Bearer of-a")));
        assert_eq!(again.response.status(), 202);
        assert_eq!(block_on(receiver.inbox().pending(9)).unwrap().len(), 1);
    }
}
