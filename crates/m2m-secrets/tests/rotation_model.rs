//! The rotation engine, tried exhaustively in small worlds: no order of events, however unlucky, leads to
//! a refused call or to a dead version that is accepted. And each of many deliberate mistakes is found.
//!
//! `M2M_MODEL=large` explores larger worlds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)] // helpers of tests

mod model;

use m2m_secrets::Mutation;
use model::{Budget, Explored, Scope, Seat, explore};

/// More states than any scope here has: a bound on the memory of a test that went astray.
const LIMIT: usize = 40_000_000;
/// A lease that no run outlives.
const FOR_EVER: u64 = 1_000;

fn is_large() -> bool {
    std::env::var("M2M_MODEL").is_ok_and(|size| size == "large")
}

/// Rotation after rotation: repeated, reordered and lost news, and giving up what was staged.
fn plain() -> Scope {
    let mut seats = vec![Seat::signer(), Seat::verifier()];
    if is_large() {
        seats.extend([Seat::verifier(), Seat::signer()]);
    }
    let budget = Budget {
        versions: 2,
        ticks: 1,
        letters: 1,
        aborts: 1,
        ..Budget::default()
    };
    Scope::new("plain", seats, budget, [0, 0, FOR_EVER])
}

/// One rotation while messages are under way.
fn talking() -> Scope {
    let budget = Budget {
        versions: if is_large() { 2 } else { 1 },
        ticks: if is_large() { 5 } else { 3 },
        messages: if is_large() { 2 } else { 1 },
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier()];
    Scope::new("talking", seats, budget, [1, 0, FOR_EVER])
}

/// Members that crash, and an issuer that crashes between recording and publishing.
fn crashing() -> Scope {
    let budget = Budget {
        versions: 2,
        ticks: u8::from(is_large()),
        crashes: if is_large() { 2 } else { 1 },
        issuer_crashes: 1,
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier()];
    Scope::new("crashing", seats, budget, [0, 0, FOR_EVER]).with_slow_publishing()
}

/// A swap to the standby while members are silent and leases end.
fn emergency() -> Scope {
    let budget = Budget {
        versions: 1,
        ticks: if is_large() { 5 } else { 3 },
        emergencies: 1,
        letters: u8::from(is_large()),
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier()];
    Scope::new("emergency", seats, budget, [0, 0, 1])
}

/// The same with clocks that differ as far as they may.
fn skewed() -> Scope {
    let budget = Budget {
        versions: 1,
        ticks: if is_large() { 9 } else { 6 },
        emergencies: 1,
        ..Budget::default()
    };
    let verifier = Seat::verifier().off_by(-1);
    let seats = match is_large() {
        true => vec![Seat::signer().off_by(1), verifier],
        false => vec![verifier],
    };
    Scope::new("skewed", seats, budget, [0, 1, 1])
}

/// A verifier that is registered while a rotation runs, with an old file in its hand.
fn joining() -> Scope {
    let budget = Budget {
        versions: if is_large() { 2 } else { 1 },
        ticks: 1,
        letters: u8::from(is_large()),
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier(), Seat::verifier().later()];
    Scope::new("joining", seats, budget, [0, 0, FOR_EVER])
}

/// A silent member is removed so that a rotation can go on without it.
fn removing() -> Scope {
    let budget = Budget {
        versions: 1,
        ticks: if is_large() { 5 } else { 3 },
        removals: 1,
        letters: u8::from(is_large()),
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier()];
    Scope::new("removing", seats, budget, [0, 0, 1])
}

/// A rotation goes on past a verifier that is silent, and which may come back at any time.
fn repairing() -> Scope {
    let budget = Budget {
        versions: 1,
        ticks: if is_large() { 5 } else { 3 },
        repairs: 1,
        crashes: u8::from(is_large()),
        ..Budget::default()
    };
    let seats = vec![Seat::signer(), Seat::verifier()];
    Scope::new("repairing", seats, budget, [0, 0, 1])
}

/// A third rotation inside the overlap, which ends the oldest version.
fn forcing() -> Scope {
    let budget = Budget {
        versions: if is_large() { 3 } else { 2 },
        ticks: 1,
        forced: 1,
        ..Budget::default()
    };
    let mut seats = vec![Seat::signer(), Seat::verifier()];
    if is_large() {
        seats.push(Seat::signer());
    }
    Scope::new("forcing", seats, budget, [0, 0, FOR_EVER])
}

fn report(scope: &Scope, found: &Explored, seconds: f32) {
    println!(
        "{:<10} {:>24} {:>9} states {:>10} transitions {:>6} driven to the end {seconds:>6.1} s",
        scope.name,
        format!("{:?}", scope.mutation),
        found.states,
        found.transitions,
        found.driven,
    );
}

fn holds(scope: &Scope) {
    let begun = std::time::Instant::now();
    let found = explore(scope, LIMIT);
    report(scope, &found, begun.elapsed().as_secs_f32());
    if let Some((why, way)) = found.violation {
        panic!("{}: {why}\nafter {} steps: {way:?}", scope.name, way.len());
    }
    assert!(found.states > 1_000 && found.driven > 0);
}

fn is_caught(scope: Scope, mutation: Mutation, expected: &str) {
    let scope = scope.with_mutation(mutation);
    let begun = std::time::Instant::now();
    let found = explore(&scope, LIMIT);
    report(&scope, &found, begun.elapsed().as_secs_f32());
    let (why, way) = found
        .violation
        .unwrap_or_else(|| panic!("{mutation:?} is not found"));
    println!("  {mutation:?}: {why}, in {} steps: {way:?}", way.len());
    assert!(
        why.starts_with(expected),
        "{mutation:?} was found as: {why}"
    );
}

#[test]
fn no_order_of_events_refuses_a_call() {
    holds(&plain());
}

#[test]
fn no_message_under_way_is_refused() {
    holds(&talking());
}

#[test]
fn no_crash_refuses_a_call() {
    holds(&crashing());
}

#[test]
fn an_emergency_refuses_no_call_and_ends_in_time() {
    holds(&emergency());
}

#[test]
fn clocks_that_differ_refuse_no_call() {
    holds(&skewed());
}

#[test]
fn a_late_joiner_refuses_no_call() {
    holds(&joining());
}

#[test]
fn removing_a_silent_member_refuses_no_call() {
    holds(&removing());
}

#[test]
fn repairing_past_a_silent_verifier_makes_nothing_worse() {
    holds(&repairing());
}

#[test]
fn a_forced_rotation_ends_nothing_that_a_signer_may_use() {
    holds(&forcing());
}

#[test]
fn every_mistake_is_found() {
    is_caught(plain(), Mutation::ActivateUnacknowledged, "I1");
    is_caught(plain(), Mutation::RetireUnacknowledged, "I1");
    is_caught(crashing(), Mutation::AcknowledgeUnrecorded, "I1");
    is_caught(plain(), Mutation::AdoptOlder, "I4");
    is_caught(talking(), Mutation::RetireInFlight, "I1");
    is_caught(plain(), Mutation::SignWithNewest, "I1");
    is_caught(forcing(), Mutation::TwoSlots, "I1");
    is_caught(emergency(), Mutation::EmergencyFresh, "I1");
    is_caught(plain(), Mutation::Union, "I2");
    is_caught(emergency(), Mutation::EmergencyDropsFirst, "I1");
    is_caught(joining(), Mutation::JoinFromFile, "I1");
    is_caught(joining(), Mutation::JoinerUncounted, "I2");
    is_caught(removing(), Mutation::RemoveUnfenced, "I1");
    is_caught(plain(), Mutation::ClaimAtPublish, "I2");
}

#[test]
fn mistakes_beyond_the_known_ones_are_found_too() {
    is_caught(crashing(), Mutation::PublishUnrecorded, "I4");
    is_caught(skewed(), Mutation::NoSkew, "I2");
    is_caught(emergency(), Mutation::LeaseForOldRing, "I2");
    is_caught(repairing(), Mutation::RepairUnfenced, "I1");
}
