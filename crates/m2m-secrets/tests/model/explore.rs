//! Breadth first through all that can happen: the first violation found is one of the shortest.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use m2m_secrets::{Advice, Stage};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::action::Action;
use super::scope::Scope;
use super::world::World;

/// What was found.
#[derive(Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    /// Why, and the shortest way there.
    pub(crate) violation: Option<(String, Vec<Action>)>,
    /// How often a rotation was driven to its end.
    pub(crate) driven: usize,
}

/// Every how many states a fair driver has to finish what was begun (I12).
const DRIVEN: usize = 97;

pub(crate) fn explore(scope: &Scope, limit: usize) -> Explored {
    let mut seen: HashSet<u128> = HashSet::new();
    let mut ways: Vec<(usize, Action)> = vec![(0, Action::Tick)];
    let mut queue = VecDeque::new();
    let mut found = Explored {
        states: 1,
        transitions: 0,
        violation: None,
        driven: 0,
    };
    let mut beginning = World::begin(scope);
    beginning.settle_clocks(scope);
    seen.insert(fingerprint(&beginning));
    queue.push_back((0, beginning));
    while let Some((index, world)) = queue.pop_front() {
        for action in world.possible() {
            let Some(next) = world.after(action, scope) else {
                continue;
            };
            found.transitions += 1;
            let wrong = next.wrong_step(&world, scope);
            if let Some(why) = wrong.or_else(|| next.violation(scope)) {
                let mut way = way_to(index, &ways);
                way.push(action);
                found.violation = Some((why, way));
                return found;
            }
            if !seen.insert(fingerprint(&next)) {
                continue;
            }
            ways.push((index, action));
            if found.states % DRIVEN == 0 {
                found.driven += 1;
                if let Some(why) = unfinished(&next, scope) {
                    found.violation = Some((why, way_to(ways.len() - 1, &ways)));
                    return found;
                }
            }
            found.states += 1;
            assert!(
                found.states <= limit,
                "{}: more than {limit} states",
                scope.name
            );
            queue.push_back((ways.len() - 1, next));
        }
    }
    found
}

fn way_to(mut index: usize, ways: &[(usize, Action)]) -> Vec<Action> {
    let mut way = Vec::new();
    while index != 0 {
        let (before, action) = ways[index];
        way.push(action);
        index = before;
    }
    way.reverse();
    way
}

/// 128 bits, so that two states among some millions share one with a chance below 2⁻⁸⁰.
fn fingerprint(world: &World) -> u128 {
    let mut hasher = SipHasher13::new();
    world.hash(&mut hasher);
    hasher.finish128().as_u128()
}

/// I12: with everybody reachable and time passing, whatever was begun comes to its end.
fn unfinished(world: &World, scope: &Scope) -> Option<String> {
    const ROUNDS: usize = 40;
    if scope.mutation != m2m_secrets::Mutation::None {
        return None;
    }
    let mut world = world.clone();
    for _ in 0..ROUNDS {
        world.left.ticks = 2;
        world.left.messages = 0;
        for action in [
            Action::Publish,
            Action::Activate,
            Action::Settle,
            Action::Retire,
        ] {
            world = world.after(action, scope).unwrap_or(world);
        }
        for seat in 0..world.nodes.len() {
            let newest = world.network.len() - 1;
            for action in [
                Action::Adopt(seat, newest),
                Action::Talk(seat),
                Action::Shout(seat),
            ] {
                world = world.after(action, scope).unwrap_or(world);
            }
        }
        if is_finished(&world, scope) {
            return None;
        }
        world = world.after(Action::Tick, scope).unwrap_or(world);
    }
    Some(format!("I12: not finished: {}", world.describe()))
}

fn is_finished(world: &World, scope: &Scope) -> bool {
    let now = scope.time(world.ticks);
    let issuer = &world.issuer;
    let open = |stage: Option<Stage>| !matches!(stage, Some(Stage::Active | Stage::Ready));
    let waits = issuer
        .living()
        .any(|version| open(issuer.stage(version, now)));
    let advised = issuer.advice(now);
    let acts = advised
        .iter()
        .any(|advice| !matches!(advice, Advice::Draft));
    !waits && !acts
}
