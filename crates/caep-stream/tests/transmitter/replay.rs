//! What was delivered can be had again, with the same names.

use caep_stream::DefaultSubjects;
use caep_stream::poll::PollRequest;
use caep_stream::transmitter::{ReplayFrom, TransmitterError, TransmitterOptions};
use pollster::block_on;

use crate::support::*;

fn replay(world: &World, stream: &str, from: ReplayFrom<'_>) -> Result<usize, TransmitterError> {
    block_on(world.transmitter.replay(stream, from, world.now(), RANDOM))
}

/// A stream that was told of five sessions, a second apart, and acknowledged all; and their names.
fn told() -> (World, String, Vec<String>) {
    let world = World::new();
    let stream = world.polled("rc");
    for session in ["a", "b", "c", "d", "e"] {
        world.revoke(session);
        world.pass(1);
    }
    let request = PollRequest::new().returning_immediately();
    let sets = world.poll("rc", &stream, &request);
    let names: Vec<String> = sets.into_iter().map(|(name, _)| name).collect();
    assert_eq!(world.drain("rc", &stream).len(), 5);
    (world, stream, names)
}

#[test]
fn a_replay_begins_where_it_is_told_and_has_the_same_names() {
    let (world, stream, names) = told();
    let request = PollRequest::new().returning_immediately();
    for (from, first) in [
        (ReplayFrom::Time(at(NOW)), 0),
        (ReplayFrom::Time(at(NOW + 3)), 3),
        (ReplayFrom::Time(at(NOW + 5)), 5),
        (ReplayFrom::TokenId(&names[2]), 2),
        (ReplayFrom::TokenId(&names[4]), 4),
    ] {
        assert_eq!(replay(&world, &stream, from), Ok(5 - first), "{from:?}");
        let again = world.poll("rc", &stream, &request);
        let again: Vec<&str> = again.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(again, names[first..], "{from:?}");
        world.drain("rc", &stream);
    }
}

#[test]
fn a_replay_of_what_is_queued_doubles_nothing() {
    let (world, stream, _) = told();
    world.revoke("f");
    assert_eq!(replay(&world, &stream, ReplayFrom::Time(at(NOW))), Ok(6));
    assert_eq!(replay(&world, &stream, ReplayFrom::Time(at(NOW))), Ok(6));
    assert_eq!(world.drain("rc", &stream).len(), 6);
}

#[test]
fn a_replay_can_be_of_no_other_stream_and_of_no_name_that_is_none() {
    let (world, stream, _) = told();
    let missing = Err(TransmitterError::NoStream);
    assert_eq!(
        replay(&world, "unknown", ReplayFrom::Time(at(NOW))),
        missing
    );
    for name in ["", "4d35", "not-a-name-of-ours"] {
        assert_eq!(
            replay(&world, &stream, ReplayFrom::TokenId(name)),
            missing,
            "{name}"
        );
    }
}

#[test]
fn a_replay_goes_back_as_far_as_events_are_kept_and_fills_no_queue_beyond_its_bound() {
    let (world, stream, _) = told();
    world.pass(7 * 86_400);
    block_on(world.transmitter.tidy(world.now(), RANDOM)).unwrap();
    assert_eq!(replay(&world, &stream, ReplayFrom::Time(at(0))), Ok(0));
    let options = TransmitterOptions::default().with_queue_limit(3);
    let world = World::with(options, DefaultSubjects::All);
    let stream = world.polled("rc");
    for session in ["a", "b", "c", "d"] {
        world.revoke(session);
        world.drain("rc", &stream);
    }
    let replayed = replay(&world, &stream, ReplayFrom::Time(at(NOW)));
    assert_eq!(replayed, Err(TransmitterError::Full));
}

#[test]
fn a_lag_is_told_in_numbers() {
    let world = World::new();
    let (one, two) = (world.polled("one"), world.pushed("two"));
    world.revoke("a");
    world.pass(60);
    world.revoke("b");
    block_on(world.transmitter.dispatch(world.now(), RANDOM)).unwrap();
    Pushing::new(&world).deliver(&world, "two");
    world.pass(40);
    let mut lags = block_on(world.transmitter.lag(world.now())).unwrap();
    lags.sort_by_key(|lag| lag.receiver.clone());
    let told: Vec<_> = lags
        .iter()
        .map(|lag| {
            (
                &*lag.stream_id,
                lag.depth,
                lag.oldest.map(|time| time.as_secs()),
                lag.dead_letters,
            )
        })
        .collect();
    assert_eq!(told, [(&*one, 2, Some(100), 0), (&*two, 0, None, 0)]);
}
