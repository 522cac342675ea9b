//! Many nodes on one store, doing anything in any order, against a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_store::{Revision, Store};
use pollster::block_on;

use crate::support::{Fault, Faulty, NOW, Seeded, at, is_revoked, records, token};

const NODES: usize = 3;
const NAMES: u64 = 12;

/// What was acknowledged: until when each name stays revoked, for every node and the store; and
/// what each node alone knows of.
struct World {
    random: Seeded,
    store: Arc<Faulty>,
    nodes: Vec<StoredRevocations>,
    now: u64,
    acknowledged: BTreeMap<u64, u64>,
    /// What a node refuses and perhaps nobody else: of unknown outcome, or acknowledged here.
    here: Vec<BTreeMap<u64, u64>>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Seeded::new(seed),
            store: Faulty::new(),
            nodes: Vec::new(),
            now: NOW,
            acknowledged: BTreeMap::new(),
            here: vec![BTreeMap::new(); NODES],
        };
        world.nodes = (0..NODES).map(|_| world.open()).collect();
        world
    }

    fn open(&self) -> StoredRevocations {
        let store: Arc<dyn Store> = self.store.clone();
        let options = StoredOptions::default().with_compact_records(60);
        let random = Seeded::new(self.random.number());
        block_on(StoredRevocations::open(
            store,
            at(self.now),
            &random,
            options,
        ))
        .unwrap()
    }

    fn step(&mut self) {
        let node = self.random.below(NODES as u64) as usize;
        match self.random.below(12) {
            0..=3 => self.revoke(node),
            4 => {
                self.inject();
                self.revoke(node);
                self.settle();
            }
            5 | 6 => self.catch_up(node),
            7 => {
                block_on(self.nodes[node].compact(at(self.now))).unwrap();
            }
            8 => {
                self.inject();
                // May fail; it forgets nothing that matters either way.
                let _ = block_on(self.nodes[node].compact(at(self.now)));
                self.settle();
            }
            9 => {
                self.nodes[node] = self.open();
                self.here[node] = self.acknowledged.clone();
            }
            10 => self.store.inner.prune(Revision::MAX),
            _ => self.now += self.random.below(900),
        }
        self.check();
    }

    fn revoke(&mut self, node: usize) {
        let name = self.random.below(NAMES);
        let expires = self.now + self.random.below(2_000);
        let revoked = block_on(self.nodes[node].revoke(token(&name.to_string()), at(expires)));
        let later = |map: &mut BTreeMap<u64, u64>| {
            let end = map.entry(name).or_default();
            *end = expires.max(*end);
        };
        match revoked {
            Ok(()) => {
                later(&mut self.acknowledged);
                later(&mut self.here[node]);
            }
            Err(m2m_revoke::StoredRevokeError::Unknown(_)) => later(&mut self.here[node]),
            Err(_) => {}
        }
    }

    fn catch_up(&mut self, node: usize) {
        block_on(self.nodes[node].catch_up(at(self.now))).unwrap();
        for (name, end) in &self.acknowledged {
            let here = self.here[node].entry(*name).or_default();
            *here = (*here).max(*end);
        }
    }

    /// The next commits fail, up to six of them.
    fn inject(&self) {
        for _ in 0..=self.random.below(6) {
            self.store.fail([match self.random.below(3) {
                0 => Fault::Refused,
                1 => Fault::WrittenUnknown,
                _ => Fault::LostUnknown,
            }]);
        }
    }

    fn settle(&self) {
        self.store.forget_faults();
    }

    /// Within its lifetime, and the leeway of verifiers, nothing that a node knows of is accepted.
    fn check(&self) {
        for (node, here) in self.nodes.iter().zip(&self.here) {
            for (name, end) in here.iter().filter(|(_, end)| self.now < **end + 600) {
                let is_revoked = is_revoked(node.revocations(), &name.to_string(), self.now);
                assert!(is_revoked, "{name} until {end}, now {}", self.now);
            }
        }
    }

    fn converge(&mut self) {
        for node in 0..NODES {
            self.catch_up(node);
        }
        self.nodes.push(self.open());
        self.here.push(self.acknowledged.clone());
        self.check();
        // All know the same of what is still kept.
        let kept: Vec<Vec<bool>> = self
            .nodes
            .iter()
            .map(|node| {
                let name = |name: u64| is_revoked(node.revocations(), &name.to_string(), self.now);
                (0..NAMES).map(name).collect()
            })
            .collect();
        let fresh = kept.last().unwrap();
        for (node, here) in kept.iter().zip(&self.here) {
            for (name, (mine, theirs)) in (0..NAMES).zip(node.iter().zip(fresh)) {
                // Only what failed here may be known here alone.
                let alone = here.get(&name) != self.acknowledged.get(&name);
                assert!(mine == theirs || (alone && *mine), "{name}");
            }
        }
    }
}

#[test]
fn sto_010_whatever_happens_in_whatever_order_nothing_acknowledged_comes_back() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        world.converge();
        world.settle();
        for _ in 0..20 {
            block_on(world.nodes[0].compact(at(world.now))).unwrap();
        }
        assert!(records(&*world.store).len() < 8, "merged");
        world.converge();
    }
}
