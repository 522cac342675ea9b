//! CA rollover: each step waits for what it needs, and no order of steps strands anybody.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic and says what it found"
)]

mod support;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::{Algorithm, SystemRandom};
use m2m_pki::{
    Blocker, Certificate, Living, Rollover, RolloverError, RolloverPhase, RolloverStoreError,
    StoredRollover,
};
use m2m_store::{Failure, MemoryStore};
use m2m_types::{ServiceId, Timestamp};
use pollster::block_on;
use support::{DAY, HOUR, after, domain, intermediate_of, leaf, ledger, now, root_of, service};

fn root() -> Certificate {
    let (_, ledger) = ledger();
    root_of(&ledger, Algorithm::Ed25519).certificate().clone()
}

fn begun() -> (Rollover, Certificate, Certificate) {
    let (old, new) = (root(), root());
    (Rollover::new(domain(), old.clone(), 10), old, new)
}

/// With `peer` on the newest bundle for an hour from `at`.
fn fetched(rollover: &Rollover, peer: &str, at: Timestamp) -> Rollover {
    let sequence = rollover.bundle().sequence().unwrap();
    let lease = at.saturating_add(HOUR);
    rollover
        .acknowledged(&service(peer), sequence, lease, at)
        .unwrap()
}

#[test]
fn a_domain_gets_from_one_authority_to_the_next() {
    let (rollover, old, new) = begun();
    let rollover = fetched(&fetched(&rollover, "a", now()), "b", now());
    let rollover = rollover.prepared(new.clone(), now()).unwrap();
    assert_eq!(rollover.signer(), &old);
    assert_eq!(rollover.bundle().authorities(), [old.clone(), new.clone()]);
    assert_eq!(rollover.bundle().sequence(), Some(11));

    // Both are in the way, by name; then one; then none.
    let blocked = |error: RolloverError| match error {
        RolloverError::Blocked { blockers } => blockers,
        other => panic!("{other:?}"),
    };
    let behind = |peer: &str| Blocker::PeerBehind {
        peer: service(peer),
        has: 10,
        needs: 11,
        lease: after(HOUR),
    };
    let blockers = blocked(rollover.activated(now()).unwrap_err());
    assert_eq!(blockers, [behind("a"), behind("b")]);
    let rollover = fetched(&rollover, "b", now());
    assert_eq!(
        blocked(rollover.activated(now()).unwrap_err()),
        [behind("a")]
    );
    let gone = rollover.activated(after(HOUR)).unwrap();
    assert_eq!(gone.signer(), &new);
    let rollover = fetched(&rollover, "a", now()).activated(now()).unwrap();
    assert_eq!(rollover.signer(), &new);
    assert!(rollover.bundle().holds(&old));

    let living = Living {
        leaves: 2,
        latest_not_after: Some(after(DAY)),
    };
    let blockers = blocked(rollover.dropped(&living, now()).unwrap_err());
    let until = now().saturating_add(Rollover::HANDOVER);
    assert_eq!(
        blockers,
        [Blocker::LeavesLive { living }, Blocker::Handover { until }]
    );
    let nothing = Living::default();
    assert_eq!(
        blocked(rollover.dropped(&nothing, now()).unwrap_err()),
        [Blocker::Handover { until }]
    );
    let rollover = rollover.dropped(&nothing, until).unwrap();
    assert_eq!(
        rollover.phase(),
        &RolloverPhase::Single {
            authority: new.clone()
        }
    );
    assert_eq!(rollover.bundle().authorities(), [new]);
    assert_eq!(rollover.bundle().sequence(), Some(12));
}

#[test]
fn what_never_signed_may_be_withdrawn_and_what_signed_may_not() {
    let (rollover, old, new) = begun();
    let prepared = rollover.prepared(new.clone(), now()).unwrap();
    let withdrawn = prepared.withdrawn().unwrap();
    assert_eq!(withdrawn.bundle().authorities(), [old]);
    // A new number, so that nobody takes it for the first one.
    assert_eq!(withdrawn.bundle().sequence(), Some(12));
    let activated = prepared.activated(now()).unwrap();
    for error in [
        activated.withdrawn().unwrap_err(),
        withdrawn.withdrawn().unwrap_err(),
        withdrawn.activated(now()).unwrap_err(),
        withdrawn.dropped(&Living::default(), now()).unwrap_err(),
        prepared.prepared(root(), now()).unwrap_err(),
        withdrawn
            .danger_abandoned(&Living::default(), now())
            .unwrap_err(),
    ] {
        assert!(matches!(error, RolloverError::Phase { .. }), "{error:?}");
    }
}

#[test]
fn only_an_authority_that_is_good_and_new_is_prepared() {
    let (rollover, old, new) = begun();
    let (_, ledger) = ledger();
    let authority = root_of(&ledger, Algorithm::Ed25519);
    for wrong in [old, leaf(&ledger, &authority, "billing")] {
        let error = rollover.prepared(wrong, now()).unwrap_err();
        assert!(matches!(error, RolloverError::Authority(_)), "{error:?}");
    }
    let late = new.not_after().saturating_add(Duration::from_secs(1));
    let error = rollover.prepared(new.clone(), late).unwrap_err();
    assert!(matches!(error, RolloverError::Expired { .. }));
    let error = rollover.prepared(new, now()).unwrap().activated(late);
    assert!(matches!(error.unwrap_err(), RolloverError::Expired { .. }));
}

#[test]
fn a_peer_says_what_is_so_or_gets_no_lease() {
    let (rollover, _, new) = begun();
    let peer = service("a");
    let say = |rollover: &Rollover, sequence, lease| {
        rollover
            .acknowledged(&peer, sequence, lease, now())
            .unwrap_err()
    };
    let rollover = fetched(&rollover.prepared(new, now()).unwrap(), "a", now());
    let backwards = RolloverError::Backwards {
        sequence: 10,
        held: 11,
    };
    assert_eq!(say(&rollover, 10, after(HOUR)), backwards);
    let unknown = RolloverError::NotPublished {
        sequence: 12,
        newest: 11,
    };
    assert_eq!(say(&rollover, 12, after(HOUR)), unknown);
    for lease in [now(), after(Rollover::MAX_LEASE + HOUR)] {
        let error = say(&rollover, 11, lease);
        assert!(matches!(error, RolloverError::Lease { .. }));
    }
    // Once the new one signs, nobody joins who does not know it.
    let activated = rollover.activated(now()).unwrap();
    let late = activated.acknowledged(&service("late"), 10, after(HOUR), now());
    let behind = RolloverError::Behind {
        sequence: 10,
        needed: 11,
    };
    assert_eq!(late.unwrap_err(), behind);
    assert_eq!(activated.left(&peer).live_peers(now()).count(), 0);
}

#[test]
fn giving_up_an_authority_at_once_says_whom_it_strands() {
    let (rollover, old, new) = begun();
    let rollover = fetched(&fetched(&rollover, "a", now()), "b", now());
    let rollover = fetched(&rollover.prepared(new.clone(), now()).unwrap(), "a", now());
    let stranded = Living {
        leaves: 7,
        latest_not_after: Some(after(DAY)),
    };
    let (next, consequences) = rollover.danger_abandoned(&stranded, now()).unwrap();
    assert_eq!(consequences.behind, [service("b")]);
    assert_eq!(consequences.stranded, stranded);
    assert_eq!(next.signer(), &new);
    assert!(!next.bundle().holds(&old));
    // Whoever still believes the old one is told to fetch.
    let stale = next.acknowledged(&service("a"), 11, after(HOUR), now());
    assert!(matches!(
        stale.unwrap_err(),
        RolloverError::Behind { needed: 12, .. }
    ));
}

#[test]
fn the_ledger_says_what_lives_of_an_authority_and_its_intermediates() {
    let (_, ledger) = ledger();
    let root = root_of(&ledger, Algorithm::Ed25519);
    let issuing = intermediate_of(&ledger, &root, Algorithm::Ed25519);
    let living = |at| block_on(ledger.living_under(root.certificate(), at)).unwrap();
    assert_eq!(living(now()), Living::default());
    let kept = leaf(&ledger, &issuing, "billing");
    let revoked = leaf(&ledger, &root, "reports");
    let latest_not_after = Some(kept.not_after());
    assert_eq!(
        living(now()),
        Living {
            leaves: 2,
            latest_not_after
        }
    );
    let by = m2m_pki::Operator::danger_vouched_for("alice").unwrap();
    let by = m2m_pki::Revoker::Operator(&by);
    let reason = m2m_pki::RevocationReason::Superseded;
    block_on(ledger.revoke(&revoked.id().unwrap(), reason, by, now())).unwrap();
    assert_eq!(
        living(now()),
        Living {
            leaves: 1,
            latest_not_after
        }
    );
    assert_eq!(living(kept.not_after()).leaves, 1);
    let dead = kept.not_after().saturating_add(Duration::from_secs(1));
    assert_eq!(living(dead), Living::default());
}

#[test]
fn steps_are_durable_and_taken_from_where_the_store_says() {
    let store = Arc::new(MemoryStore::new());
    let stored = StoredRollover::new(store.clone(), &domain()).unwrap();
    let (first, _, new) = begun();
    assert_eq!(block_on(stored.load()), Ok(None));
    let early = block_on(stored.step(|rollover| rollover.withdrawn(), &SystemRandom));
    assert_eq!(early.unwrap_err(), RolloverStoreError::Absent);
    block_on(stored.begin(&first, &SystemRandom)).unwrap();
    let again = block_on(stored.begin(&first, &SystemRandom));
    assert_eq!(again.unwrap_err(), RolloverStoreError::Present);

    let other = StoredRollover::new(store.clone(), &domain()).unwrap();
    let prepare = |rollover: &Rollover| rollover.prepared(new.clone(), now());
    store.fail_next(Failure::WrittenButUnknown);
    let prepared = block_on(stored.step(prepare, &SystemRandom)).unwrap();
    assert_eq!(block_on(other.load()), Ok(Some(prepared.clone())));
    let error = block_on(other.step(prepare, &SystemRandom)).unwrap_err();
    assert!(matches!(
        error,
        RolloverStoreError::Step(RolloverError::Phase { .. })
    ));
    store.fail_next(Failure::NotWritten);
    let join = |rollover: &Rollover| rollover.acknowledged(&service("a"), 11, after(HOUR), now());
    assert!(block_on(other.step(join, &SystemRandom)).is_err());
    assert_eq!(block_on(other.load()), Ok(Some(prepared)));
    let joined = block_on(other.step(join, &SystemRandom)).unwrap();
    let activated = block_on(stored.step(|rollover| rollover.activated(now()), &SystemRandom));
    assert_eq!(activated.as_ref().unwrap().live_peers(now()).count(), 1);
    assert_ne!(activated.unwrap(), joined);
}

// ------------------------------------------------------------------ every order of steps

/// Who does not do what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    Nobody,
    /// The ledger says that nothing lives.
    LedgerLies,
    /// Peers say that they have a bundle which they do not have.
    PeersLie,
    /// Peers verify after their lease has run out.
    LeasesMeanNothing,
    /// Peers are struck off which go on verifying.
    PeersAreForgotten,
    /// The old authority is given up at once.
    Danger,
}

/// The world: what is on record, and what is so.
#[derive(Clone)]
struct World {
    rollover: Rollover,
    time: u64,
    /// Which authorities, by their place in `AUTHORITIES`, are in the bundle of each number.
    bundles: BTreeMap<u64, Vec<usize>>,
    peers: [Held; 2],
    /// Who signed, and until when it lives.
    leaves: Vec<(usize, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    sequence: u64,
    lease: u64,
}

const LIFE: u64 = 2;
const END: u64 = 4;
const LAST_SEQUENCE: u64 = 4;

struct Checker {
    authorities: Vec<Certificate>,
    mutant: Mutant,
}

fn at(time: u64) -> Timestamp {
    after(Duration::from_secs(time))
}

fn name(peer: usize) -> ServiceId {
    service(["a", "b"][peer])
}

impl Checker {
    fn place(&self, authority: &Certificate) -> usize {
        self.authorities
            .iter()
            .position(|one| one == authority)
            .unwrap()
    }

    fn begin(&self) -> World {
        let rollover = Rollover::new(domain(), self.authorities[0].clone(), 1);
        World {
            rollover: rollover.with_handover(Duration::ZERO),
            time: 0,
            bundles: BTreeMap::from([(1, vec![0])]),
            peers: [Held {
                sequence: 1,
                lease: 0,
            }; 2],
            leaves: Vec::new(),
        }
    }

    /// Every world that one step leads to.
    fn steps(&self, world: &World) -> Vec<(String, World)> {
        let mut next = Vec::new();
        let now = at(world.time);
        let signer = self.place(world.rollover.signer());
        let newest = world.rollover.bundle().sequence().unwrap();
        let mut step = |name: String, rollover: Result<Rollover, RolloverError>| {
            let Ok(rollover) = rollover else { return };
            let mut after = world.clone();
            let bundle = rollover.bundle();
            let places = bundle.authorities().iter().map(|one| self.place(one));
            after
                .bundles
                .insert(bundle.sequence().unwrap(), places.collect());
            after.rollover = rollover;
            next.push((name, after));
        };
        if newest < LAST_SEQUENCE {
            let new = self.authorities[(signer + 1) % 3].clone();
            step("prepare".into(), world.rollover.prepared(new, now));
            step("withdraw".into(), world.rollover.withdrawn());
        }
        step("activate".into(), world.rollover.activated(now));
        let old = match world.rollover.phase() {
            RolloverPhase::Prepared { old, .. } | RolloverPhase::Activated { old, .. } => {
                Some(self.place(old))
            }
            _ => None,
        };
        let living = world.leaves.iter().filter(|(issuer, until)| {
            Some(*issuer) == old && *until >= world.time && self.mutant != Mutant::LedgerLies
        });
        let living = Living {
            leaves: living.count() as u64,
            latest_not_after: None,
        };
        step("drop".into(), world.rollover.dropped(&living, now));
        if self.mutant == Mutant::Danger {
            let abandoned = world.rollover.danger_abandoned(&living, now);
            step("abandon".into(), abandoned.map(|(rollover, _)| rollover));
        }
        for peer in 0..2 {
            for (what, says, has) in [
                ("fetches", newest, newest),
                (
                    "stays",
                    world.peers[peer].sequence,
                    world.peers[peer].sequence,
                ),
                ("lies", newest, world.peers[peer].sequence),
            ] {
                if what == "lies" && self.mutant != Mutant::PeersLie {
                    continue;
                }
                let lease = world.time + 2;
                let told = world
                    .rollover
                    .acknowledged(&name(peer), says, at(lease), now);
                if let Ok(rollover) = told {
                    let mut after = world.clone();
                    after.rollover = rollover;
                    after.peers[peer] = Held {
                        sequence: has,
                        lease,
                    };
                    next.push((format!("{peer} {what}"), after));
                }
            }
            let mut after = world.clone();
            after.rollover = after.rollover.left(&name(peer));
            if self.mutant != Mutant::PeersAreForgotten {
                after.peers[peer].lease = 0;
            }
            next.push((format!("{peer} leaves"), after));
        }
        if world.leaves.len() < 2 {
            let mut after = world.clone();
            after.leaves.push((signer, world.time + LIFE));
            after.leaves.sort_unstable();
            next.push((format!("{signer} signs"), after));
        }
        if world.time < END {
            let mut after = world.clone();
            after.time += 1;
            after.leaves.retain(|(_, until)| *until >= after.time);
            next.push(("tick".into(), after));
        }
        next
    }

    /// Whether a live peer would refuse a live leaf.
    fn strands(&self, world: &World) -> bool {
        let counts = |peer: &Held| match self.mutant {
            Mutant::LeasesMeanNothing => peer.lease > 0,
            _ => peer.lease > world.time,
        };
        world.peers.iter().filter(|peer| counts(peer)).any(|peer| {
            let believed = &world.bundles[&peer.sequence];
            world
                .leaves
                .iter()
                .any(|(issuer, _)| !believed.contains(issuer))
        })
    }

    /// What tells two worlds apart.
    fn key(&self, world: &World) -> String {
        let phase = match world.rollover.phase() {
            RolloverPhase::Single { authority } => (0, self.place(authority), 0, 0),
            RolloverPhase::Prepared { old, new, since } => {
                (1, self.place(old), self.place(new), *since)
            }
            RolloverPhase::Activated { old, new, .. } => (2, self.place(old), self.place(new), 0),
            _ => (3, 0, 0, 0),
        };
        let live: Vec<_> = world.rollover.live_peers(at(world.time)).collect();
        let (time, peers, leaves) = (world.time, world.peers, &world.leaves);
        let sequence = world.rollover.bundle().sequence();
        format!(
            "{phase:?} {live:?} {time} {peers:?} {leaves:?} {sequence:?} {:?}",
            world.bundles
        )
    }

    /// Goes every way there is. Returns how many worlds it saw and how to the first stranded peer.
    fn search(&self) -> (usize, usize, Option<Vec<String>>) {
        let mut seen = HashSet::new();
        let mut queue = VecDeque::from([(self.begin(), Vec::new())]);
        let mut finished = 0;
        while let Some((world, way)) = queue.pop_front() {
            for (name, next) in self.steps(&world) {
                if !seen.insert(self.key(&next)) {
                    continue;
                }
                let mut way: Vec<String> = way.clone();
                way.push(name);
                if self.strands(&next) {
                    return (seen.len(), finished, Some(way));
                }
                let signs = self.place(next.rollover.signer());
                finished += usize::from(
                    signs != 0 && matches!(next.rollover.phase(), RolloverPhase::Single { .. }),
                );
                queue.push_back((next, way));
            }
        }
        (seen.len(), finished, None)
    }
}

#[test]
fn no_order_of_steps_strands_a_live_peer_but_by_danger_or_a_lie() {
    let authorities = vec![root(), root(), root()];
    let check = |mutant| {
        let authorities = authorities.clone();
        let (worlds, finished, way) = Checker {
            authorities,
            mutant,
        }
        .search();
        println!("{mutant:?}: {worlds} worlds, {finished} with a finished rollover: {way:?}");
        (finished, way)
    };
    let (finished, way) = check(Mutant::Nobody);
    assert_eq!(way, None);
    assert!(finished > 100, "rollovers are finished at all");
    for mutant in [
        Mutant::LedgerLies,
        Mutant::PeersLie,
        Mutant::LeasesMeanNothing,
        Mutant::PeersAreForgotten,
        Mutant::Danger,
    ] {
        assert_ne!(check(mutant).1, None, "{mutant:?} was not found");
    }
}
