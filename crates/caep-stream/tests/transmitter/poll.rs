//! Polls: what is published is given until it is acknowledged.

use caep_set::{ErrorCode, SetError, SetVerifier};
use caep_stream::poll::PollRequest;
use caep_stream::transmitter::Answer;
use http::{Method, StatusCode};
use m2m_crypto::{Algorithm, SigningKey};
use m2m_token::Scratch;
use pollster::block_on;
use serde_json::json;

use crate::support::*;

fn now() -> PollRequest {
    PollRequest::new().returning_immediately()
}

#[test]
fn what_is_published_is_given_until_it_is_acknowledged() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    world.revoke("b");
    let first = world.poll("rc", &stream, &now());
    let said: Vec<String> = first.iter().map(|(_, set)| world.said("rc", set)).collect();
    assert_eq!(said, ["revoked a", "revoked b"], "in their order");
    for (jti, set) in &first {
        assert_eq!(world.read("rc", set).token().unwrap().token_id(), jti);
    }
    assert_eq!(world.poll("rc", &stream, &now()), first, "the same SETs");
    let acks = PollRequest::new().with_max_events(0).acknowledging([
        first[0].0.as_str(),
        "never-heard-of",
        "",
    ]);
    assert!(world.poll("rc", &stream, &acks).is_empty());
    assert_eq!(world.poll("rc", &stream, &now()), first[1..]);
    let both = now().acknowledging(first.iter().map(|(jti, _)| jti.as_str()));
    assert!(
        world.poll("rc", &stream, &both).is_empty(),
        "again is no error"
    );
    assert_eq!(world.records("queue"), 0);
}

#[test]
fn each_receiver_gets_a_set_of_its_own() {
    let world = World::new();
    let (one, two) = (world.polled("one"), world.polled("two"));
    world.revoke("a");
    let to_one = world.poll("one", &one, &now());
    let to_two = world.poll("two", &two, &now());
    assert_ne!(to_one[0].0, to_two[0].0, "another jti");
    let verifier: SetVerifier = world.verifier("https://two.example");
    let shown = verifier.verify(&to_one[0].1, world.now(), &mut Scratch::new());
    assert_eq!(
        shown.map_err(|error: SetError| error.code()).err(),
        Some(ErrorCode::InvalidAudience)
    );
}

#[test]
fn a_page_says_that_there_is_more() {
    let world = World::new();
    let stream = world.polled("rc");
    for session in 0..25 {
        world.revoke(&session.to_string());
    }
    let (page, more) = world.poll_page("rc", &stream, &now().with_max_events(10));
    assert_eq!((page.len(), more), (10, true));
    let next = now().acknowledging(page.iter().map(|(jti, _)| jti.as_str()));
    let (page, more) = world.poll_page("rc", &stream, &next);
    assert_eq!((page.len(), more), (15, false));
    assert_eq!(world.said("rc", &page[0].1), "revoked 10");
}

#[test]
fn what_a_receiver_will_not_take_is_a_dead_letter() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    world.revoke("b");
    let sets = world.poll("rc", &stream, &now());
    let refused = now().refusing(&sets[0].0, ErrorCode::InvalidKey);
    assert_eq!(world.poll("rc", &stream, &refused), sets[1..]);
    let letters = block_on(world.transmitter.dead_letters(&stream, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].token_id(), sets[0].0);
    assert!(
        letters[0].reason().starts_with("invalid_key: "),
        "{letters:?}"
    );
    assert_eq!(
        block_on(world.transmitter.revive(&letters[0], RANDOM)),
        Ok(true)
    );
    assert_eq!(
        block_on(world.transmitter.revive(&letters[0], RANDOM)),
        Ok(false)
    );
    assert_eq!(
        world.poll("rc", &stream, &now()),
        sets,
        "at its place, the same"
    );
}

#[test]
fn a_long_poll_waits_for_something_to_give() {
    let world = World::new();
    let stream = world.polled("rc");
    let path = format!("/ssf/poll/{stream}");
    let answer = world.answer("rc", Method::POST, &path, b"{}").unwrap();
    let Answer::Waiting(poll) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(poll.until(), at(NOW + 25));
    let again = block_on(world.transmitter.resume(poll, at(NOW + 1), RANDOM)).unwrap();
    let Answer::Waiting(poll) = again else {
        panic!("woken for nothing");
    };
    // Published by another process, which shares nothing but the store.
    let other = world.another();
    let name = m2m_store::IdempotencyKey::from_bytes([9; 16]);
    block_on(other.publish(&revoked("a"), name, world.now())).unwrap();
    block_on(world.transmitter.changed(&poll)).unwrap();
    let Answer::Ready(response) =
        block_on(world.transmitter.resume(poll, at(NOW + 2), RANDOM)).unwrap()
    else {
        panic!("it is there");
    };
    assert!(Reply::new(response).json["sets"].as_object().unwrap().len() == 1);
}

#[test]
fn a_long_poll_ends_with_nothing_when_its_time_is_up() {
    let world = World::new();
    let stream = world.polled("rc");
    let path = format!("/ssf/poll/{stream}");
    let Answer::Waiting(poll) = world.answer("rc", Method::POST, &path, b"{}").unwrap() else {
        panic!("nothing is there");
    };
    let Answer::Ready(response) =
        block_on(world.transmitter.resume(poll, at(NOW + 25), RANDOM)).unwrap()
    else {
        panic!("its time is up");
    };
    assert_eq!(Reply::new(response).json, json!({"sets": {}}));
}

#[test]
fn a_poll_that_is_none_is_refused() {
    let world = World::new();
    let stream = world.polled("rc");
    let path = format!("/ssf/poll/{stream}");
    for body in [
        ";{ broken",
        "",
        "[]",
        r#"{"maxEvents":-1}"#,
        r#"{"ack":"a"}"#,
    ] {
        let answer = world.answer("rc", Method::POST, &path, body.as_bytes());
        let Answer::Ready(response) = answer.unwrap() else {
            panic!("{body}");
        };
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let pushed = world.pushed("other");
    let reply = world.post("other", &format!("/ssf/poll/{pushed}"), &json!({}));
    assert_eq!(reply.status, StatusCode::NOT_FOUND, "it is pushed to");
}

#[test]
fn set_023_a_key_that_is_rolled_or_gone_between_signing_and_polling_does_no_harm() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    let before = world.poll("rc", &stream, &now());
    let next = SigningKey::generate(Algorithm::Ed25519, RANDOM).unwrap();
    let kid = world.keys.publish(next, world.now()).unwrap();
    world.keys.activate(&kid, world.now()).unwrap();
    world.pass(1);
    assert_eq!(
        world.poll("rc", &stream, &now()),
        before,
        "both keys are in the JWK set"
    );
    // By now the first key is gone, and nobody could verify what it signed.
    world.pass(7200);
    world.keys.tidy(world.now());
    let after = world.poll("rc", &stream, &now());
    assert_eq!(after[0].0, before[0].0, "the same jti");
    assert_ne!(after[0].1, before[0].1, "signed anew");
    assert_eq!(world.said("rc", &after[0].1), "revoked a");
    let token = world.read("rc", &after[0].1);
    assert_eq!(
        token.token().unwrap().issued_at(),
        at(NOW),
        "it says what it said"
    );
    assert_eq!(token.token().unwrap().transaction(), Some("cause"));
}
