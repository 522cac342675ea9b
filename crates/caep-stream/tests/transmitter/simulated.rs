//! Whatever happens in whatever order: each event arrives, is a dead letter, or a gap was told.

use std::collections::{BTreeMap, BTreeSet};

use caep_stream::DefaultSubjects;
use caep_stream::poll::PollRequest;
use caep_stream::transmitter::{Pushed, TransmitterOptions};
use proptest::prelude::*;

use crate::support::*;

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Revoke,
    Change,
    /// The receiver answers the next push like this.
    Push(u16),
    /// The receiver polls, and acknowledges every nth SET.
    Poll(usize),
    Pause,
    Enable,
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Revoke),
        2 => Just(Step::Change),
        4 => prop_oneof![Just(202), Just(202), Just(202), Just(500), Just(429), Just(401)].prop_map(Step::Push),
        4 => (1_usize..4).prop_map(Step::Poll),
        1 => Just(Step::Pause),
        2 => Just(Step::Enable),
        2 => (1_u64..100).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_revocation_is_lost_and_none_comes_under_two_names(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        // Nothing overflows here: what does is told, and tested elsewhere.
        let options = TransmitterOptions::default().with_queue_limit(1000);
        let mut world = World::with(options, DefaultSubjects::All);
        let streams = [world.pushed("push"), world.polled("poll")];
        let mut pushing = Pushing::new(&world);
        let mut heard: [BTreeMap<String, BTreeSet<String>>; 2] = Default::default();
        let (mut revoked, mut changed) = (0, 0);
        let end = [Step::Enable, Step::Pass(5000)].into_iter();
        let end = end.chain(std::iter::repeat_n(Step::Push(202), 80));
        let end = end.chain(std::iter::repeat_n(Step::Poll(1), 2));
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Revoke => {
                    world.revoke(&format!("s{revoked}"));
                    revoked += 1;
                }
                Step::Change => {
                    let status = if changed % 2 == 0 { "not-compliant" } else { "compliant" };
                    world.publish(&compliance("d", status));
                    changed += 1;
                }
                Step::Push(status) => {
                    if let Some(delivery) = pushing.next(&world) {
                        let set = std::str::from_utf8(delivery.request().body()).unwrap();
                        let said = world.said("push", set);
                        let answered = pushing.answer(&world, &delivery, status, "");
                        if status == 202 {
                            prop_assert_eq!(answered, Pushed::Delivered);
                            heard[0].entry(said).or_default().insert(delivery.id().token_id());
                        } else {
                            prop_assert!(matches!(answered, Pushed::Again(_)));
                        }
                    }
                }
                Step::Poll(nth) => {
                    let request = PollRequest::new().returning_immediately();
                    let sets = world.poll("poll", &streams[1], &request);
                    let taken: Vec<_> = sets.iter().step_by(nth).collect();
                    for (name, set) in &taken {
                        let said = world.said("poll", set);
                        heard[1].entry(said).or_default().insert(name.clone());
                    }
                    let ack = PollRequest::new()
                        .with_max_events(0)
                        .acknowledging(taken.iter().map(|(name, _)| name.as_str()));
                    world.poll("poll", &streams[1], &ack);
                }
                Step::Pause => {
                    world.status("push", &streams[0], "paused");
                    world.status("poll", &streams[1], "paused");
                }
                Step::Enable => {
                    world.status("push", &streams[0], "enabled");
                    world.status("poll", &streams[1], "enabled");
                }
                Step::Pass(seconds) => world.pass(seconds),
                Step::Restart => {
                    world.restart();
                    pushing = Pushing::new(&world);
                }
            }
        }
        prop_assert_eq!(world.records("queue"), 0);
        for heard in &heard {
            for nth in 0..revoked {
                let names = heard.get(&format!("revoked s{nth}"));
                prop_assert_eq!(names.map(BTreeSet::len), Some(1), "s{}", nth);
            }
            if changed > 0 {
                let last = if changed % 2 == 1 { "d is not-compliant" } else { "d is compliant" };
                prop_assert!(heard.contains_key(last), "the last state is known");
            }
        }
    }
}
