//! Streams are paused, disabled, full, and enabled again.

use std::time::Duration;

use caep_stream::DefaultSubjects;
use caep_stream::poll::PollRequest;
use caep_stream::transmitter::{Status, TransmitterOptions};
use http::{Method, StatusCode};
use pollster::block_on;
use serde_json::{Value, json};

use crate::support::*;

fn small() -> World {
    let options = TransmitterOptions::default().with_queue_limit(8);
    World::with(options, DefaultSubjects::All)
}

#[test]
fn every_status_can_be_set_and_is_echoed() {
    let world = World::new();
    let stream = world.polled("rc");
    let path = format!("/ssf/status?stream_id={stream}");
    assert_eq!(
        world.get("rc", &path).json,
        json!({"stream_id": stream, "status": "enabled"})
    );
    for status in [
        "enabled", "paused", "disabled", "paused", "disabled", "enabled",
    ] {
        let body = json!({"stream_id": stream, "status": status, "reason": "because"});
        // The suite has the stream in the query as well.
        let reply = world.post("rc", &path, &body);
        assert_eq!((reply.status, &reply.json), (StatusCode::OK, &body));
        assert_eq!(world.get("rc", &path).json, body);
    }
    for status in ["stopped", "", "Enabled"] {
        let body = json!({"stream_id": stream, "status": status});
        assert_eq!(
            world.post("rc", "/ssf/status", &body).status,
            StatusCode::BAD_REQUEST
        );
    }
}

#[test]
fn a_paused_stream_holds_and_still_takes_acknowledgements() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    let given = world.poll("rc", &stream, &PollRequest::new().returning_immediately());
    world.status("rc", &stream, "paused");
    world.revoke("b");
    let ack = PollRequest::new()
        .returning_immediately()
        .acknowledging([given[0].0.as_str()]);
    assert!(
        world.poll("rc", &stream, &ack).is_empty(),
        "it does not send"
    );
    assert_eq!(world.records("queue"), 1, "what was acknowledged is gone");
    world.status("rc", &stream, "enabled");
    assert_eq!(world.drain("rc", &stream), ["revoked b"]);
}

#[test]
fn a_paused_stream_is_not_pushed_to() {
    let world = World::new();
    let stream = world.pushed("rc");
    let mut pushing = Pushing::new(&world);
    world.status("rc", &stream, "paused");
    world.revoke("a");
    assert!(pushing.next(&world).is_none());
    world.status("rc", &stream, "enabled");
    assert_eq!(pushing.deliver(&world, "rc"), ["revoked a"]);
}

#[test]
fn a_stream_that_is_enabled_again_tells_of_states_only_the_last_and_of_all_revocations() {
    let world = World::new();
    let stream = world.polled("rc");
    world.status("rc", &stream, "paused");
    world.publish(&compliance("d1", "not-compliant"));
    world.revoke("a");
    world.publish(&compliance("d2", "not-compliant"));
    world.revoke("a");
    world.publish(&compliance("d1", "compliant"));
    world.status("rc", &stream, "enabled");
    assert_eq!(
        world.drain("rc", &stream),
        [
            "revoked a",
            "d2 is not-compliant",
            "revoked a",
            "d1 is compliant"
        ]
    );
}

#[test]
fn a_stream_that_is_enabled_and_has_room_tells_of_every_state() {
    let mut world = World::new();
    let stream = world.polled("rc");
    world.publish(&compliance("d", "not-compliant"));
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    world.restart();
    world.publish(&compliance("d", "compliant"));
    assert_eq!(
        world.drain("rc", &stream),
        ["d is not-compliant", "d is compliant"]
    );
}

#[test]
fn set_022_a_disabled_stream_holds_nothing_and_is_told_so_when_it_is_enabled() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    world.status("rc", &stream, "disabled");
    world.pass(10);
    world.revoke("b");
    world.revoke("c");
    assert!(world.drain("rc", &stream).is_empty());
    world.status("rc", &stream, "enabled");
    world.revoke("d");
    let gap = format!(
        "stream enabled events since {} (seconds since 1970) were not kept: read the state anew",
        NOW + 10
    );
    assert_eq!(world.drain("rc", &stream), [gap.as_str(), "revoked d"]);
    // The next time nothing is missing, and nothing is said.
    world.status("rc", &stream, "disabled");
    world.status("rc", &stream, "enabled");
    assert!(world.drain("rc", &stream).is_empty());
    block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!((world.records("queue"), world.records("sweep")), (0, 0));
}

#[test]
fn a_transmitter_that_pauses_a_stream_says_so_first_and_when_it_goes_on() {
    let world = World::new();
    let stream = world.pushed("rc");
    world.revoke("a");
    let set = |status, reason| {
        let set = world
            .transmitter
            .set_status(&stream, status, reason, world.now(), RANDOM);
        block_on(set).unwrap();
    };
    set(Status::Paused, Some("maintenance"));
    let mut pushing = Pushing::new(&world);
    assert_eq!(pushing.deliver(&world, "rc"), ["stream paused maintenance"]);
    set(Status::Enabled, None);
    assert_eq!(
        pushing.deliver(&world, "rc"),
        ["stream enabled ", "revoked a"]
    );
    set(Status::Disabled, Some("the end"));
    world.revoke("b");
    assert_eq!(pushing.deliver(&world, "rc"), ["stream disabled the end"]);
    let unknown =
        world
            .transmitter
            .set_status("unknown", Status::Paused, None, world.now(), RANDOM);
    assert!(block_on(unknown).is_err());
}

#[test]
fn set_022_a_queue_is_bounded_pauses_itself_and_keeps_revocations_longest() {
    let world = small();
    let stream = world.polled("rc");
    for nth in 0..8 {
        world.publish(&compliance(
            &format!("d{}", nth % 4),
            if nth < 4 {
                "compliant"
            } else {
                "not-compliant"
            },
        ));
    }
    // It is full of what is moot, and that goes first.
    world.revoke("r0");
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    assert_eq!(world.records("queue"), 5);
    for nth in 1..4 {
        world.revoke(&format!("r{nth}"));
    }
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    assert_eq!(world.records("queue"), 8, "full, and not one too many");
    for nth in 4..100 {
        world.revoke(&format!("r{nth}"));
    }
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    assert_eq!(world.records("queue"), 16, "the reserve is full");
    let lag = block_on(world.transmitter.lag(world.now())).unwrap();
    assert_eq!((lag[0].status, lag[0].depth), (Status::Paused, 16));
    assert_eq!(lag[0].gap_since, Some(at(NOW)));
    assert_eq!(
        world.drain("rc", &stream),
        ["stream paused the queue is full"]
    );
    world.status("rc", &stream, "enabled");
    let told = world.drain("rc", &stream);
    assert!(
        told[0].starts_with("stream enabled events since "),
        "{told:?}"
    );
    let revoked = told
        .iter()
        .filter(|told| told.starts_with("revoked"))
        .count();
    assert_eq!(revoked, 11);
    assert_eq!(
        told[1..5]
            .iter()
            .filter(|told| told.ends_with("is not-compliant"))
            .count(),
        4
    );
    // What was lost can be had again.
    let replay = world.transmitter.replay(
        &stream,
        caep_stream::transmitter::ReplayFrom::Time(at(NOW)),
        world.now(),
        RANDOM,
    );
    assert!(block_on(replay).is_err(), "108 do not fit into 8");
}

#[test]
fn what_is_no_revocation_does_not_fit_into_a_full_queue() {
    let options = TransmitterOptions::default().with_queue_limit(4);
    let world = World::with(options, DefaultSubjects::All);
    let stream = world.polled("rc");
    world.status("rc", &stream, "paused");
    for session in ["a", "b", "c", "d", "e"] {
        world.revoke(session);
    }
    // States of five devices: room for three in the reserve.
    for device in ["d1", "d2", "d3", "d4", "d5"] {
        world.publish(&compliance(device, "not-compliant"));
    }
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    assert_eq!(world.records("queue"), 8);
}

#[test]
fn who_is_not_heard_of_is_paused_and_who_says_a_word_is_not() {
    let hour = Duration::from_secs(3600);
    let options = TransmitterOptions::default().with_inactivity_timeout(hour);
    let world = World::with(options, DefaultSubjects::All);
    let (silent, alive) = (world.pushed("silent"), world.polled("alive"));
    let reply = world.get("silent", &format!("/ssf/streams?stream_id={silent}"));
    assert_eq!(reply.json["inactivity_timeout"], 3600);
    for _ in 0..4 {
        world.pass(1000);
        world.drain("alive", &alive);
    }
    let tidied = block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!(tidied.paused, 1);
    let status = |name: &str, stream: &str| {
        let reply = world.get(name, &format!("/ssf/status?stream_id={stream}"));
        reply.json["status"].clone()
    };
    assert_eq!(
        (status("silent", &silent), status("alive", &alive)),
        (json!("paused"), json!("enabled"))
    );
    let told = Pushing::new(&world).deliver(&world, "silent");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("stream paused "), "{told:?}");
    assert_eq!(
        block_on(world.transmitter.tidy(world.now(), RANDOM))
            .unwrap()
            .paused,
        0
    );
}

#[test]
fn what_nobody_polls_is_a_dead_letter_in_the_end_and_then_forgotten() {
    let world = World::new();
    let stream = world.polled("rc");
    world.revoke("a");
    world.pass(3 * 86_400 - 1);
    let tidy = || block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!(tidy().unpolled, 0);
    world.pass(1);
    assert_eq!(tidy().unpolled, 1);
    let letters = block_on(world.transmitter.dead_letters(&stream, 10)).unwrap();
    assert_eq!(letters[0].reason(), "nobody polled it");
    assert_eq!((world.records("past"), world.records("dead")), (1, 1));
    world.pass(4 * 86_400 + 1);
    assert_eq!(tidy().removed, 2);
    assert_eq!((world.records("past"), world.records("dead")), (0, 0));
}

#[test]
fn a_deleted_stream_leaves_nothing_behind() {
    let world = World::with(TransmitterOptions::default(), DefaultSubjects::None);
    let (gone, stays) = (world.polled("gone"), world.polled("stays"));
    for (name, stream) in [("gone", &gone), ("stays", &stays)] {
        let subject = json!({"format": "opaque", "id": "a"});
        let body = json!({"stream_id": stream, "subject": subject});
        assert_eq!(
            world.post(name, "/ssf/subjects/add", &body).status,
            StatusCode::OK
        );
    }
    for _ in 0..300 {
        world.revoke("a");
    }
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    let path = format!("/ssf/streams?stream_id={gone}");
    let reply = world.ask("gone", Method::DELETE, &path, &Value::Null);
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let tidied = block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!(tidied.removed, 301);
    assert_eq!((world.records("queue"), world.records("subject")), (300, 1));
    assert_eq!((world.records("slot"), world.records("sweep")), (1, 0));
    assert_eq!(world.drain("stays", &stays).len(), 300);
}
