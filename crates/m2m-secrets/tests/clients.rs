//! The keys of clients: rotated, ended, found where they should not be; and who is let in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{RandomError, SecureRandom, SystemRandom};
use m2m_secrets::{
    ClientKeys, IssueError, Issued, KeyEnd, KeyEventKind, KeyFormat, KeyHasher, KeyRefusal,
    KeyRejection, KeyTable, KeyTableError, KeyVersion, LeakAnswer, LeakError, MAX_PEPPERS,
    PepperError, PepperVersion, REMEMBERED_KEYS, SharedSecret,
};
use m2m_types::{ServiceId, Timestamp};
use proptest::prelude::*;

const DAY: Duration = Duration::from_secs(86_400);

struct World {
    peppers: Vec<SharedSecret>,
    hasher: Arc<KeyHasher>,
}

fn version(number: u32) -> PepperVersion {
    PepperVersion::new(number).unwrap()
}

fn format() -> KeyFormat {
    KeyFormat::new("acme", "live").unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000 + seconds).unwrap()
}

fn owner(name: &str) -> ServiceId {
    format!("spiffe://example.org/{name}").parse().unwrap()
}

impl World {
    fn new() -> Self {
        let peppers: Vec<SharedSecret> = (0..3)
            .map(|_| SharedSecret::generate(&SystemRandom).unwrap())
            .collect();
        let hasher = KeyHasher::new(format(), version(1), &peppers[0]).unwrap();
        Self {
            peppers,
            hasher: Arc::new(hasher),
        }
    }

    fn client(&self, name: &str) -> (ClientKeys, Issued) {
        ClientKeys::issue(owner(name), &self.hasher, &SystemRandom, at(0)).unwrap()
    }

    fn table(&self, clients: &[&ClientKeys], now: Timestamp) -> KeyTable {
        let hasher = Arc::clone(&self.hasher);
        KeyTable::build(hasher, clients.iter().copied(), &SystemRandom, now).unwrap()
    }

    fn accepts(&self, client: &ClientKeys, issued: &Issued, now: Timestamp) -> bool {
        check(&self.table(&[client], now), issued, now).is_ok()
    }
}

fn check(table: &KeyTable, issued: &Issued, now: Timestamp) -> Result<KeyVersion, KeyRefusal> {
    let text = issued.key().expose_secret();
    table.check(text.as_bytes(), now).map(|key| key.version())
}

fn kinds(events: &[m2m_secrets::KeyEvent]) -> Vec<(u32, KeyEventKind)> {
    let kinds = events.iter().map(|e| (e.version().number(), e.kind()));
    kinds.collect()
}

/// Fails after so many draws.
struct Failing;

impl SecureRandom for Failing {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }
}

#[test]
fn each_client_is_known_by_its_own_key() {
    let world = World::new();
    let (one, first) = world.client("one");
    let (two, second) = world.client("two");
    let table = world.table(&[&one, &two], at(0));
    for (client, issued) in [(&one, &first), (&two, &second)] {
        let text = issued.key().expose_secret();
        let verified = table.check(text.as_bytes(), at(0)).unwrap();
        assert_eq!(verified.owner(), client.owner());
        assert_eq!(verified.id(), issued.key().id());
        assert_eq!(verified.version(), KeyVersion::FIRST);
        assert_eq!((verified.accepted_until(), verified.rehash()), (None, None));
    }
    assert_eq!(table.len(), 2);
}

#[test]
fn sec_003_two_keys_are_accepted_during_the_overlap_and_one_after_it() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let second = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(10))
        .unwrap();
    assert_eq!(
        kinds(second.events()),
        [
            (1, KeyEventKind::AcceptedUntil(at(10 + 86_400))),
            (2, KeyEventKind::Issued)
        ]
    );
    let table = world.table(&[&client], at(10));
    for now in [at(10), at(10 + 86_399)] {
        assert_eq!(check(&table, &first, now), Ok(KeyVersion::FIRST));
        assert_eq!(check(&table, &second, now), Ok(second.version()));
    }
    let end = at(10 + 86_400);
    assert_eq!(check(&table, &second, end), Ok(second.version()));
    let refused = check(&table, &first, end).unwrap_err();
    let (id, version) = (first.key().id(), first.version());
    let owner = owner("a");
    assert_eq!(
        refused,
        KeyRefusal::Expired {
            owner,
            id,
            version,
            until: end
        }
    );
    assert_eq!(
        kinds(&client.expire(end)),
        [(1, KeyEventKind::Ended(KeyEnd::Expired))]
    );
    assert_eq!(client.live().count(), 1);
}

#[test]
fn sec_004_a_third_key_in_the_overlap_ends_the_oldest_at_once() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let second = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(1))
        .unwrap();
    let third = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(2))
        .unwrap();
    let events = kinds(third.events());
    assert_eq!(events[0], (1, KeyEventKind::Ended(KeyEnd::Superseded)));
    assert_eq!(client.live().count(), 2);
    let table = world.table(&[&client], at(2));
    assert!(matches!(
        check(&table, &first, at(2)),
        Err(KeyRefusal::Ended { .. })
    ));
    assert!(check(&table, &second, at(2)).is_ok() && check(&table, &third, at(2)).is_ok());
}

#[test]
fn sec_007_a_clock_that_goes_back_brings_no_key_back() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    client
        .rotate(&world.hasher, DAY, &SystemRandom, at(0))
        .unwrap();
    let table = world.table(&[&client], at(0));
    assert!(check(&table, &first, at(86_400)).is_err());
    assert!(check(&table, &first, at(5)).is_err(), "the same table");
    let next = table.rebuild([&client], &SystemRandom, at(5)).unwrap();
    assert!(check(&next, &first, at(5)).is_err(), "the table after it");
    client.expire(at(86_400));
    client.expire(at(5));
    assert!(!world.accepts(&client, &first, at(5)), "a table of its own");
    // Nor is a deadline moved by a clock that is behind.
    let third = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(5))
        .unwrap();
    let until = client.live().find_map(|key| key.accepted_until());
    assert_eq!(until, Some(at(2 * 86_400)));
    assert_eq!(third.events()[0].at(), at(86_400));
}

#[test]
fn an_overlap_of_nothing_ends_the_old_key_now() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let second = client
        .rotate(&world.hasher, Duration::ZERO, &SystemRandom, at(1))
        .unwrap();
    assert!(!world.accepts(&client, &first, at(1)));
    assert!(world.accepts(&client, &second, at(1)));
    let ended = (1, KeyEventKind::Ended(KeyEnd::Expired));
    assert!(kinds(second.events()).contains(&ended));
}

#[test]
fn a_revoked_key_is_refused_and_said_to_be_known_only_to_who_has_it() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let id = first.key().id();
    let events = client.revoke(id, at(1)).unwrap();
    assert_eq!(kinds(&events), [(1, KeyEventKind::Ended(KeyEnd::Revoked))]);
    assert_eq!(client.revoke(id, at(2)).unwrap_err().id, id);
    let table = world.table(&[&client], at(1));
    let (owner, version) = (owner("a"), first.version());
    assert_eq!(
        check(&table, &first, at(1)).unwrap_err(),
        KeyRefusal::Ended { owner, id, version }
    );
    // Another secret behind the same id, with its checksum put right.
    let forged = forged_with_id_of(&first);
    let refused = table.check(forged.as_bytes(), at(1)).unwrap_err();
    assert_eq!(refused, KeyRefusal::Wrong { id });
    assert_eq!(refused.rejection(), KeyRejection::InvalidClient);
    assert_eq!(refused.rejection().to_string(), "invalid_client");
}

/// A well-formed key with a known id and another secret.
fn forged_with_id_of(issued: &Issued) -> String {
    let other = format().generate(&SystemRandom).unwrap();
    let before = format!(
        "{}{}",
        &issued.key().expose_secret()[..21],
        &other.expose_secret()[21..54]
    );
    let mut state = u32::MAX;
    for byte in before.bytes() {
        state ^= u32::from(byte);
        for _ in 0..8 {
            state = (state >> 1) ^ (0xedb8_8320 * (state & 1));
        }
    }
    let mut sum = !state;
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [0; 6];
    for place in text.iter_mut().rev() {
        *place = digits[sum as usize % 62];
        sum /= 62;
    }
    format!("{before}_{}", std::str::from_utf8(&text).unwrap())
}

#[test]
fn a_leaked_current_key_hands_over_to_the_older_one_without_an_end() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let second = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(1))
        .unwrap();
    let answer = client
        .report_leak(second.key().id(), &world.hasher, &SystemRandom, at(2))
        .unwrap();
    let LeakAnswer::TookOver { current, events } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(current, first.version());
    assert_eq!(
        kinds(&events),
        [
            (2, KeyEventKind::Ended(KeyEnd::Leaked)),
            (1, KeyEventKind::TookOver)
        ]
    );
    assert!(!world.accepts(&client, &second, at(2)));
    assert!(
        world.accepts(&client, &first, at(2 * 86_400)),
        "it has no end any more"
    );
}

#[test]
fn a_leaked_older_key_ends_and_the_current_one_goes_on() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let second = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(1))
        .unwrap();
    let answer = client
        .report_leak(first.key().id(), &world.hasher, &SystemRandom, at(2))
        .unwrap();
    assert!(matches!(answer, LeakAnswer::TookOver { current, .. } if current == second.version()));
    assert_eq!(
        kinds(answer.events()),
        [(1, KeyEventKind::Ended(KeyEnd::Leaked))]
    );
    assert!(!world.accepts(&client, &first, at(2)) && world.accepts(&client, &second, at(2)));
}

#[test]
fn a_leaked_only_key_is_replaced_and_reported_once_more_is_dead() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let id = first.key().id();
    let answer = client
        .report_leak(id, &world.hasher, &SystemRandom, at(2))
        .unwrap();
    let LeakAnswer::Replaced(second) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(
        kinds(second.events()),
        [
            (1, KeyEventKind::Ended(KeyEnd::Leaked)),
            (2, KeyEventKind::Issued)
        ]
    );
    assert!(!world.accepts(&client, &first, at(2)) && world.accepts(&client, &second, at(2)));

    let before = client.clone();
    let again = client
        .report_leak(id, &world.hasher, &SystemRandom, at(2))
        .unwrap();
    assert!(matches!(
        again,
        LeakAnswer::Dead {
            why: KeyEnd::Leaked,
            ..
        }
    ));
    assert_eq!(client, before);
    let stranger = format().generate(&SystemRandom).unwrap().id();
    let unknown = client
        .report_leak(stranger, &world.hasher, &SystemRandom, at(2))
        .unwrap_err();
    assert_eq!(unknown, LeakError::Unknown { id: stranger });
}

#[test]
fn sec_024_a_leaked_key_ends_even_if_no_new_one_can_be_drawn() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let answer = client
        .report_leak(first.key().id(), &world.hasher, &Failing, at(2))
        .unwrap();
    assert!(matches!(
        answer,
        LeakAnswer::LockedOut {
            reason: IssueError::Random(RandomError),
            ..
        }
    ));
    assert!(!world.accepts(&client, &first, at(2)));
    // A rotation that cannot draw changes nothing.
    let before = client.clone();
    assert!(client.rotate(&world.hasher, DAY, &Failing, at(3)).is_err());
    assert_eq!(client, before);
    let second = client
        .rotate(&world.hasher, DAY, &SystemRandom, at(3))
        .unwrap();
    assert_eq!(second.version().number(), 2);
    assert!(world.accepts(&client, &second, at(3)));
}

#[test]
fn a_found_key_is_traced_to_its_owner_and_version_even_when_it_has_ended() {
    let world = World::new();
    let (mut client, first) = world.client("a");
    let (other, _) = world.client("b");
    client.revoke(first.key().id(), at(1)).unwrap();
    let table = world.table(&[&other, &client], at(1));
    let format = format();
    let key = format
        .parse(first.key().expose_secret().as_bytes())
        .unwrap();
    let traced = table.trace(key).unwrap();
    assert_eq!(
        (traced.owner(), traced.version()),
        (&owner("a"), first.version())
    );
    assert!(!traced.is_live());
    // Who knows only the id reports nothing.
    let forged = forged_with_id_of(&first);
    let refused = table
        .trace(format.parse(forged.as_bytes()).unwrap())
        .unwrap_err();
    assert!(matches!(refused, KeyRefusal::Wrong { .. }));
}

#[test]
fn ended_keys_are_remembered_up_to_a_bound() {
    let world = World::new();
    let (mut client, mut last) = world.client("a");
    for round in 0..2 * REMEMBERED_KEYS as u64 {
        let next = client
            .rotate(&world.hasher, Duration::ZERO, &SystemRandom, at(round))
            .unwrap();
        assert_eq!(
            client.ended().last().map(|key| key.id()),
            Some(last.key().id())
        );
        last = next;
    }
    assert_eq!(client.ended().len(), REMEMBERED_KEYS);
    assert_eq!(world.table(&[&client], at(99)).len(), REMEMBERED_KEYS + 1);
}

#[test]
fn a_key_moves_to_the_new_pepper_when_it_is_used() {
    let world = World::new();
    let (mut client, issued) = world.client("a");
    let old = &world.peppers[0];
    let new = KeyHasher::new(format(), version(2), &world.peppers[1]).unwrap();
    let new = Arc::new(new.with_former(version(1), old).unwrap());
    assert_eq!(new.current(), version(2));
    let build = |client: &ClientKeys, hasher: &Arc<KeyHasher>| {
        KeyTable::build(Arc::clone(hasher), [client], &SystemRandom, at(1)).unwrap()
    };
    let table = build(&client, &new);
    let text = issued.key().expose_secret().as_bytes();
    let rehash = table.check(text, at(1)).unwrap().rehash().unwrap().clone();
    assert_eq!(
        (rehash.id(), rehash.from()),
        (issued.key().id(), version(1))
    );
    let event = client.apply_rehash(&rehash).unwrap();
    let (from, to) = (version(1), version(2));
    assert_eq!(event.kind(), KeyEventKind::Rehashed { from, to });
    assert_eq!(client.apply_rehash(&rehash), None, "it was taken once");

    // With the former pepper gone the key still works, and needs no more moving.
    let alone = KeyHasher::new(format(), version(2), &world.peppers[1]).unwrap();
    let alone = Arc::new(alone);
    let table = build(&client, &alone);
    assert_eq!(table.check(text, at(1)).unwrap().rehash(), None);
}

#[test]
fn an_unknown_pepper_is_a_refusal() {
    let world = World::new();
    let (client, issued) = world.client("a");
    let other = KeyHasher::new(format(), version(2), &world.peppers[1]).unwrap();
    let table = KeyTable::build(Arc::new(other), [&client], &SystemRandom, at(0)).unwrap();
    let id = issued.key().id();
    let refused = check(&table, &issued, at(0)).unwrap_err();
    assert_eq!(refused, KeyRefusal::PepperUnknown { id });
    assert_eq!(table.without_pepper().collect::<Vec<_>>(), [id]);
    // The right version with other bytes.
    let wrong = KeyHasher::new(format(), version(1), &world.peppers[1]).unwrap();
    let table = KeyTable::build(Arc::new(wrong), [&client], &SystemRandom, at(0)).unwrap();
    assert_eq!(
        check(&table, &issued, at(0)).unwrap_err(),
        KeyRefusal::Wrong { id }
    );
}

#[test]
fn sec_010_hashes_are_bound_to_format_and_id() {
    let world = World::new();
    let (_, issued) = world.client("a");
    let pepper = &world.peppers[0];
    let test = KeyFormat::new("acme", "test").unwrap();
    let test = KeyHasher::new(test, version(1), pepper).unwrap();
    assert_ne!(test.hash(issued.key()), world.hasher.hash(issued.key()));
}

#[test]
fn peppers_are_bounded_and_of_different_versions() {
    let pepper = SharedSecret::generate(&SystemRandom).unwrap();
    let mut hasher = KeyHasher::new(format(), version(1), &pepper).unwrap();
    let repeated = KeyHasher::new(format(), version(1), &pepper).unwrap();
    let repeated = repeated.with_former(version(1), &pepper).unwrap_err();
    assert_eq!(
        repeated,
        PepperError::Repeated {
            version: version(1)
        }
    );
    for number in 2..=MAX_PEPPERS as u32 {
        hasher = hasher.with_former(version(number), &pepper).unwrap();
    }
    let many = hasher.with_former(version(99), &pepper).unwrap_err();
    assert_eq!(many, PepperError::TooMany);
    assert_eq!(PepperVersion::new(0), None);
}

#[test]
fn two_keys_of_one_id_make_no_table() {
    let world = World::new();
    let (client, issued) = world.client("a");
    let hasher = Arc::clone(&world.hasher);
    let repeated = KeyTable::build(hasher, [&client, &client], &SystemRandom, at(0));
    let id = issued.key().id();
    assert_eq!(repeated.unwrap_err(), KeyTableError::Repeated { id });
    let hasher = Arc::clone(&world.hasher);
    let empty = KeyTable::build(hasher, [], &SystemRandom, at(0)).unwrap();
    assert!(empty.is_empty());
    let unknown = check(&empty, &issued, at(0)).unwrap_err();
    assert_eq!(unknown, KeyRefusal::Unknown { id });
}

#[test]
fn thousands_of_clients_are_told_apart() {
    let world = World::new();
    let clients: Vec<_> = (0..2_000).map(|n| world.client(&format!("c{n}"))).collect();
    let states: Vec<&ClientKeys> = clients.iter().map(|(client, _)| client).collect();
    let table = world.table(&states, at(0));
    for (client, issued) in &clients {
        let text = issued.key().expose_secret().as_bytes();
        assert_eq!(table.check(text, at(0)).unwrap().owner(), client.owner());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Rotate { overlap: u64 },
    Wait { seconds: u64 },
    Back { seconds: u64 },
    Revoke { key: usize },
    Leak { key: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..50).prop_map(|overlap| Step::Rotate { overlap }),
        3 => (0_u64..60).prop_map(|seconds| Step::Wait { seconds }),
        1 => (0_u64..60).prop_map(|seconds| Step::Back { seconds }),
        1 => any::<usize>().prop_map(|key| Step::Revoke { key }),
        2 => any::<usize>().prop_map(|key| Step::Leak { key }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens: never three keys, at most one current, and what was refused once is for ever.
    #[test]
    fn sec_003_004_007_never_three_and_never_back(steps in proptest::collection::vec(step(), 1..25)) {
        let world = World::new();
        let (mut client, first) = world.client("a");
        let mut keys = vec![first];
        let mut dead = std::collections::HashSet::new();
        let mut now = 1_000;
        let mut table = world.table(&[&client], at(now));
        for step in steps {
            // As `ClientKeys` asks for.
            let clock = at(now).max(table.latest());
            match step {
                Step::Rotate { overlap } => {
                    let overlap = Duration::from_secs(overlap);
                    keys.push(client.rotate(&world.hasher, overlap, &SystemRandom, clock).unwrap());
                }
                Step::Wait { seconds } => now += seconds,
                Step::Back { seconds } => now = now.saturating_sub(seconds),
                Step::Revoke { key } => {
                    let id = keys[key % keys.len()].key().id();
                    let was_live = client.live().any(|key| key.id() == id);
                    let revoked = client.revoke(id, clock);
                    prop_assert!(was_live || revoked.is_err());
                }
                Step::Leak { key } => {
                    let id = keys[key % keys.len()].key().id();
                    match client.report_leak(id, &world.hasher, &SystemRandom, clock) {
                        Ok(LeakAnswer::Replaced(issued)) => keys.push(issued),
                        Ok(_) | Err(LeakError::Unknown { .. }) => {}
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                    prop_assert!(client.live().all(|key| key.id() != id));
                }
            }
            table = table.rebuild([&client], &SystemRandom, at(now)).unwrap();
            let accepted: Vec<bool> =
                keys.iter().map(|key| check(&table, key, at(now)).is_ok()).collect();
            prop_assert!(accepted.iter().filter(|is| **is).count() <= 2);
            for (at, is_accepted) in accepted.into_iter().enumerate() {
                if !is_accepted {
                    dead.insert(at);
                }
                prop_assert!(!(is_accepted && dead.contains(&at)), "key {} came back", at);
            }
        }
    }
}
