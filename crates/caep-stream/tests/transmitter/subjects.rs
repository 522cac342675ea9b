//! Subjects are added and removed, and verifications asked for.

use caep_set::{SecurityEvent, SubjectId};
use caep_stream::DefaultSubjects;
use caep_stream::transmitter::TransmitterOptions;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::*;

fn none() -> World {
    World::with(TransmitterOptions::default(), DefaultSubjects::None)
}

fn add(world: &World, stream: &str, subject: &Value) -> Reply {
    let body = json!({"stream_id": stream, "subject": subject, "verified": true});
    world.post("rc", "/ssf/subjects/add", &body)
}

fn remove(world: &World, stream: &str, subject: &Value) -> Reply {
    let body = json!({"stream_id": stream, "subject": subject});
    world.post("rc", "/ssf/subjects/remove", &body)
}

fn opaque(id: &str) -> Value {
    json!({"format": "opaque", "id": id})
}

#[test]
fn only_what_was_added_is_told_and_for_a_while_what_was_removed() {
    let world = none();
    let stream = world.polled("rc");
    world.revoke("a");
    assert!(world.drain("rc", &stream).is_empty());
    let added = add(&world, &stream, &opaque("a"));
    assert_eq!((added.status, added.body.len()), (StatusCode::OK, 0));
    world.revoke("a");
    world.revoke("b");
    assert_eq!(world.drain("rc", &stream), ["revoked a"]);
    let removed = remove(&world, &stream, &opaque("a"));
    assert_eq!(
        (removed.status, removed.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    world.pass(3599);
    world.revoke("a");
    assert_eq!(
        world.drain("rc", &stream),
        ["revoked a"],
        "whoever removed it may be somebody else"
    );
    world.pass(1);
    world.revoke("a");
    assert!(world.drain("rc", &stream).is_empty());
    add(&world, &stream, &opaque("a"));
    world.revoke("a");
    assert_eq!(world.drain("rc", &stream), ["revoked a"]);
}

#[test]
fn subjects_survive_a_restart_and_are_known_to_all_processes() {
    let mut world = none();
    let stream = world.polled("rc");
    add(&world, &stream, &opaque("a"));
    world.restart();
    world.revoke("a");
    assert_eq!(world.drain("rc", &stream), ["revoked a"]);
}

#[test]
fn complex_subjects_reach_who_has_a_part_in_common_and_nobody_else() {
    let world = none();
    let stream = world.polled("rc");
    let tenant = |id: &str| json!({"format": "complex", "tenant": opaque(id)});
    add(&world, &stream, &tenant("acme"));
    let event = |json: &str| -> SecurityEvent { about(SubjectId::from_json(json).unwrap()) };
    let user = |tenant: &str| {
        format!(
            r#"{{"format":"complex","tenant":{{"format":"opaque","id":"{tenant}"}},"user":{{"format":"email","email":"a@b.example"}}}}"#
        )
    };
    world.publish(&event(&user("acme")));
    world.publish(&event(&user("other")));
    world.publish(&event(
        r#"{"format":"complex","group":{"format":"opaque","id":"acme"}}"#,
    ));
    assert_eq!(world.drain("rc", &stream).len(), 1);
}

#[test]
fn set_020_a_subject_that_nobody_knows_is_answered_like_any_other() {
    let world = none();
    let stream = world.polled("rc");
    // Of one there were events, of the other there never will be.
    world.revoke("known");
    let commits = || {
        let look = m2m_store::Scan::new(m2m_store::Space::new("ssf-stream-test").unwrap());
        let page = pollster::block_on(m2m_store::Store::scan(&*world.store, &look)).unwrap();
        page.as_of().revision().number()
    };
    let mut seen = Vec::new();
    for id in ["known", "unknown"] {
        let before = commits();
        let added = add(&world, &stream, &opaque(id));
        let removed = remove(&world, &stream, &opaque(id));
        seen.push((
            (added.status, added.headers, added.body),
            (removed.status, removed.headers, removed.body),
            commits() - before,
        ));
    }
    assert_eq!(seen[0], seen[1], "the same answer, and the same work");
    assert_eq!(
        remove(&world, &stream, &opaque("never added")).status,
        StatusCode::NO_CONTENT
    );
}

#[test]
fn a_subject_that_is_none_is_refused() {
    let world = none();
    let stream = world.polled("rc");
    for subject in [
        json!({}),
        json!("a"),
        json!({"format": "email"}),
        json!({"format": "opaque", "id": ""}),
    ] {
        assert_eq!(
            add(&world, &stream, &subject).status,
            StatusCode::BAD_REQUEST,
            "{subject}"
        );
        assert_eq!(
            remove(&world, &stream, &subject).status,
            StatusCode::BAD_REQUEST,
            "{subject}"
        );
    }
    let long = opaque(&"x".repeat(5000));
    assert_eq!(add(&world, &stream, &long).status, StatusCode::BAD_REQUEST);
    assert_eq!(world.records("subject"), 0);
}

#[test]
fn a_receiver_adds_no_more_subjects_than_there_is_room_for() {
    let options = TransmitterOptions::default().with_subject_limit(2);
    let world = World::with(options, DefaultSubjects::None);
    let stream = world.polled("rc");
    for (id, status) in [
        ("a", StatusCode::OK),
        ("b", StatusCode::OK),
        ("c", StatusCode::TOO_MANY_REQUESTS),
        ("a", StatusCode::OK),
    ] {
        assert_eq!(add(&world, &stream, &opaque(id)).status, status, "{id}");
    }
    // What was removed makes room once its grace is over.
    remove(&world, &stream, &opaque("a"));
    world.pass(3601);
    pollster::block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!(add(&world, &stream, &opaque("c")).status, StatusCode::OK);
}

#[test]
fn to_add_a_subject_gives_no_right_to_it() {
    let options = TransmitterOptions::default()
        .with_gate(|caller, event| caller.receiver() == "rc" || event.subject().is_simple());
    let world = World::with(options, DefaultSubjects::All);
    let (mine, other) = (world.polled("rc"), world.polled("other"));
    world.revoke("a");
    let complex = SubjectId::complex([("user", SubjectId::opaque("x").unwrap())]).unwrap();
    world.publish(&about(complex));
    assert_eq!(world.drain("rc", &mine).len(), 2);
    assert_eq!(world.drain("other", &other), ["revoked a"]);
}

#[test]
fn a_verification_comes_back_with_its_state() {
    let world = none();
    let stream = world.polled("rc");
    let body = json!({"stream_id": stream, "state": "VGhpcyBpcw"});
    let asked = world.post("rc", "/ssf/verify", &body);
    assert_eq!(
        (asked.status, asked.body.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    let request = caep_stream::poll::PollRequest::new().returning_immediately();
    let sets = world.poll("rc", &stream, &request);
    let set = world.read("rc", &sets[0].1);
    assert_eq!(
        set.token().unwrap().subject(),
        Some(&SubjectId::opaque(&stream).unwrap()),
        "the stream's own subject is always in it"
    );
    assert_eq!(
        world.said("rc", &sets[0].1),
        r#"verification Some("VGhpcyBpcw")"#
    );
    world.pass(30);
    let again = world.post("rc", "/ssf/verify", &json!({"stream_id": stream}));
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    assert_eq!(
        world.drain("rc", &stream).last().unwrap(),
        "verification None"
    );
}

#[test]
fn a_verification_is_pushed_too_even_if_no_events_are_wanted() {
    let world = none();
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": PUSH});
    let stream = world.create("rc", &json!({"delivery": delivery, "events_requested": []}));
    let body = json!({"stream_id": stream, "state": "s"});
    assert_eq!(
        world.post("rc", "/ssf/verify", &body).status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        Pushing::new(&world).deliver(&world, "rc"),
        [r#"verification Some("s")"#]
    );
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let world = World::new();
    let stream = world.polled("rc");
    let ask = || world.post("rc", "/ssf/verify", &json!({"stream_id": stream}));
    assert_eq!(ask().status, StatusCode::NO_CONTENT);
    world.pass(29);
    let early = ask();
    assert_eq!(early.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(early.headers["retry-after"], "1");
    world.pass(1);
    assert_eq!(ask().status, StatusCode::NO_CONTENT);
    assert_eq!(world.drain("rc", &stream).len(), 2);
}

#[test]
fn set_013_a_state_is_bounded_and_a_stream_that_stands_still_is_not_verified() {
    let world = World::new();
    let stream = world.polled("rc");
    for state in [
        json!("x".repeat(1025)),
        json!("x".repeat(1 << 17)),
        json!(""),
        json!(7),
    ] {
        let body = json!({"stream_id": stream, "state": state});
        let reply = world.post("rc", "/ssf/verify", &body);
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    }
    let longest = json!({"stream_id": stream, "state": "\u{1f600}".repeat(256)});
    assert_eq!(
        world.post("rc", "/ssf/verify", &longest).status,
        StatusCode::NO_CONTENT
    );
    world.pass(60);
    for status in ["paused", "disabled"] {
        world.status("rc", &stream, status);
        let reply = world.post("rc", "/ssf/verify", &json!({"stream_id": stream}));
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{status}");
    }
}
