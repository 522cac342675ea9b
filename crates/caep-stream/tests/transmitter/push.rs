//! Pushes: one after the other, again and again, and in the end among the dead letters.

use std::time::Duration;

use caep_stream::DefaultSubjects;
use caep_stream::transmitter::{PushTargets, Pushed, TransmitterOptions};
use http::{Method, Response};
use pollster::block_on;
use serde_json::json;

use crate::support::*;

#[test]
fn a_push_is_what_rfc_8935_says() {
    let world = World::new();
    world.pushed("rc");
    world.revoke("a");
    let mut pushing = Pushing::new(&world);
    let delivery = pushing.next(&world).unwrap();
    let request = delivery.request();
    assert_eq!(
        (request.method(), request.uri().to_string().as_str()),
        (&Method::POST, PUSH)
    );
    assert_eq!(
        request.headers()["content-type"],
        "application/secevent+jwt"
    );
    assert_eq!(request.headers()["accept"], "application/json");
    assert_eq!(request.headers()["authorization"], "Bearer pushed");
    assert!(request.headers()["authorization"].is_sensitive());
    let set = world.read("rc", std::str::from_utf8(request.body()).unwrap());
    assert_eq!(set.token().unwrap().token_id(), delivery.id().token_id());
    assert!(pushing.next(&world).is_none(), "one at a time");
    assert_eq!(
        pushing.answer(&world, &delivery, 202, ""),
        Pushed::Delivered
    );
    assert!(pushing.next(&world).is_none());
    assert_eq!(pushing.pusher.poll_timeout(), None);
    assert_eq!(world.records("queue"), 0);
}

#[test]
fn a_stream_without_a_secret_is_pushed_to_without_one() {
    let world = World::new();
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": PUSH});
    world.create("rc", &json!({"delivery": delivery}));
    world.revoke("a");
    let delivery = Pushing::new(&world).next(&world).unwrap();
    assert!(!delivery.request().headers().contains_key("authorization"));
}

#[test]
fn sets_arrive_in_the_order_in_which_they_were_published() {
    let world = World::new();
    world.pushed("rc");
    for session in ["a", "b", "c"] {
        world.revoke(session);
    }
    let told = Pushing::new(&world).deliver(&world, "rc");
    assert_eq!(told, ["revoked a", "revoked b", "revoked c"]);
}

#[test]
fn one_that_fails_holds_up_its_stream_and_no_other() {
    let world = World::new();
    let (one, two) = (world.pushed("one"), world.pushed("two"));
    world.revoke("a");
    world.revoke("b");
    let mut pushing = Pushing::new(&world);
    let mut to_two = 0;
    for _ in 0..20 {
        let Some(delivery) = pushing.next(&world) else {
            break;
        };
        match delivery.id().stream_id() {
            id if id == one => {
                assert!(matches!(
                    pushing.answer(&world, &delivery, 500, ""),
                    Pushed::Again(_)
                ));
            }
            id => {
                assert_eq!(id, two);
                to_two += 1;
                assert_eq!(
                    pushing.answer(&world, &delivery, 202, ""),
                    Pushed::Delivered
                );
            }
        }
    }
    assert_eq!(to_two, 2);
    world.pass(1);
    assert_eq!(pushing.deliver(&world, "one"), ["revoked a", "revoked b"]);
}

#[test]
fn what_is_not_a_set_is_not_sent_again_and_what_is_behind_it_is_sent() {
    let world = World::new();
    let stream = world.pushed("rc");
    world.revoke("a");
    world.revoke("b");
    let mut pushing = Pushing::new(&world);
    let delivery = pushing.next(&world).unwrap();
    let body = r#"{"err":"invalid_request","description":"no\nSET"}"#;
    assert_eq!(pushing.answer(&world, &delivery, 400, body), Pushed::Dead);
    assert_eq!(pushing.deliver(&world, "rc"), ["revoked b"]);
    let letters = block_on(world.transmitter.dead_letters(&stream, 10)).unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].token_id(), delivery.id().token_id());
    assert_eq!(letters[0].reason(), r"invalid_request: no\nSET");
    assert_eq!(letters[0].published_at(), at(NOW));
}

#[test]
fn whoever_does_not_know_us_yet_is_asked_again() {
    for (status, body) in [
        (400, r#"{"err":"authentication_failed","description":""}"#),
        (400, r#"{"err":"access_denied","description":""}"#),
        (400, r#"{"err":"invalid_key","description":""}"#),
        (400, ""),
        (401, ""),
        (403, ""),
        (404, ""),
        (302, ""),
        (429, ""),
        (503, ""),
    ] {
        let world = World::new();
        world.pushed("rc");
        world.revoke("a");
        let mut pushing = Pushing::new(&world);
        let delivery = pushing.next(&world).unwrap();
        let answered = pushing.answer(&world, &delivery, status, body);
        assert_eq!(answered, Pushed::Again(at(NOW + 1)), "{status} {body}");
        world.pass(1);
        let again = pushing.next(&world).unwrap();
        assert_eq!(again.id(), delivery.id());
    }
}

#[test]
fn a_receiver_may_ask_to_be_left_alone_for_a_while() {
    let world = World::new();
    world.pushed("rc");
    world.revoke("a");
    let mut pushing = Pushing::new(&world);
    let delivery = pushing.next(&world).unwrap();
    let response = Response::builder()
        .status(503)
        .header("retry-after", "120")
        .body(b"".as_slice())
        .unwrap();
    let handled = pushing
        .pusher
        .handle_response(delivery.id(), &response, world.now(), RANDOM);
    assert_eq!(block_on(handled), Ok(Pushed::Again(at(NOW + 120))));
    assert_eq!(pushing.pusher.poll_timeout(), Some(at(NOW + 120)));
    world.pass(119);
    assert!(pushing.next(&world).is_none());
    world.pass(1);
    assert_eq!(pushing.deliver(&world, "rc"), ["revoked a"]);
}

/// What became of the only SET of a world whose receiver never answers.
fn a_week(options: TransmitterOptions) -> (Vec<u64>, Pushed, World, String) {
    let world = World::with(options, DefaultSubjects::All);
    let stream = world.pushed("rc");
    world.revoke("a");
    let mut pushing = Pushing::new(&world);
    let mut tries = Vec::new();
    loop {
        let delivery = pushing.next(&world).unwrap();
        tries.push(world.now().unix_seconds() - NOW);
        let failed = pushing
            .pusher
            .handle_failure(delivery.id(), world.now(), RANDOM);
        match block_on(failed).unwrap() {
            Pushed::Again(time) => {
                assert_eq!(pushing.pusher.poll_timeout(), Some(time));
                world.pass(time.checked_since(world.now()).unwrap().as_secs());
            }
            end => return (tries, end, world, stream),
        }
    }
}

#[test]
fn a_week_of_retries_takes_longer_and_longer_and_ends() {
    let week = Duration::from_secs(7 * 86_400);
    let options = TransmitterOptions::default().with_give_up_after(week);
    let (tries, end, world, stream) = a_week(options.clone());
    assert_eq!(end, Pushed::Dead);
    let last = *tries.last().unwrap();
    assert!((week.as_secs()..week.as_secs() + 3600).contains(&last));
    let pauses: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (nth, pause) in pauses.iter().enumerate() {
        let longest = 1_u64
            .checked_shl(nth.try_into().unwrap())
            .unwrap_or(u64::MAX)
            .min(3600);
        let shortest = (longest * 3 / 4).max(1);
        assert!((shortest..=longest).contains(pause), "{nth}: {pause}");
    }
    assert!((190..260).contains(&tries.len()), "{} tries", tries.len());
    let distinct: std::collections::BTreeSet<_> = pauses[12..].iter().collect();
    assert!(distinct.len() > 50, "there is chance in it");
    let letters = block_on(world.transmitter.dead_letters(&stream, 10)).unwrap();
    assert_eq!(letters[0].reason(), "not delivered; there was no answer");
    // Put back by hand, it is the same SET.
    assert_eq!(
        block_on(world.transmitter.revive(&letters[0], RANDOM)),
        Ok(true)
    );
    assert_eq!(Pushing::new(&world).deliver(&world, "rc"), ["revoked a"]);
}

#[test]
fn what_takes_too_long_has_failed_and_an_answer_after_that_changes_nothing() {
    let world = World::new();
    world.pushed("rc");
    world.revoke("a");
    let mut pushing = Pushing::new(&world);
    let delivery = pushing.next(&world).unwrap();
    assert_eq!(pushing.pusher.poll_timeout(), Some(at(NOW + 30)));
    world.pass(30);
    assert!(pushing.next(&world).is_none());
    assert_eq!(pushing.answer(&world, &delivery, 202, ""), Pushed::Late);
    world.pass(1);
    let again = pushing.next(&world).unwrap();
    assert_eq!(again.id(), delivery.id());
    assert_eq!(again.request().body(), delivery.request().body());
}

#[test]
fn several_are_under_way_at_a_time_if_that_is_wanted() {
    let options = TransmitterOptions::default().with_in_flight(3);
    let world = World::with(options, DefaultSubjects::All);
    world.pushed("rc");
    for session in ["a", "b", "c", "d"] {
        world.revoke(session);
    }
    let mut pushing = Pushing::new(&world);
    let under_way: Vec<_> = std::iter::from_fn(|| pushing.next(&world)).collect();
    assert_eq!(under_way.len(), 3);
    assert_eq!(
        pushing.answer(&world, &under_way[1], 202, ""),
        Pushed::Delivered
    );
    let next = pushing.next(&world).unwrap();
    assert!(under_way.iter().all(|delivery| delivery.id() != next.id()));
    assert!(pushing.next(&world).is_none());
}

#[test]
fn set_016_what_was_recorded_and_not_sent_is_sent_by_whoever_comes_next() {
    let mut world = World::new();
    world.pushed("rc");
    world.revoke("a");
    // Killed between persist and dispatch.
    world.restart();
    let mut pushing = Pushing::new(&world);
    let delivery = pushing.next(&world).unwrap();
    // Killed between send and answer: sent again, with the same name.
    world.restart();
    let mut pushing = Pushing::new(&world);
    let again = pushing.next(&world).unwrap();
    assert_eq!(again.id(), delivery.id());
    assert_eq!(again.request().body(), delivery.request().body());
    assert_eq!(pushing.answer(&world, &again, 202, ""), Pushed::Delivered);
    world.restart();
    assert!(Pushing::new(&world).next(&world).is_none());
}

#[test]
fn set_019_an_address_that_is_allowed_no_more_gets_nothing() {
    let loopback = PushTargets::public().danger_with_loopback();
    let options = TransmitterOptions::default().with_push_targets(loopback);
    let world = World::with(options, DefaultSubjects::All);
    let delivery = json!({"method": "urn:ietf:rfc:8935", "endpoint_url": "http://127.0.0.1:9/e"});
    let stream = world.create("rc", &json!({"delivery": delivery}));
    world.revoke("a");
    assert!(Pushing::new(&world).next(&world).is_some());
    let strict = World::strict_again(&world);
    assert!(Pushing::new(&strict).next(&strict).is_none());
    let letters = block_on(strict.transmitter.dead_letters(&stream, 10)).unwrap();
    assert_eq!(letters.len(), 1);
}
