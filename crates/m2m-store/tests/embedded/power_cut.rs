//! STO-001, STO-002: whatever a power cut leaves, the store is as it was at the last answer, or as
//! if the one thing that was under way had been answered too.

use std::task::{Context, Waker};
use std::time::Instant;

use m2m_store::{Batch, Disk, EmbeddedStore, Expected, IdempotencyKey, Revision, Store};
use pollster::block_on;

use crate::disk::{Interval, Random, SimDisk, Syncs};
use crate::model::{Model, batch, key, options, outer};
use crate::thoroughness;

/// The most states looked at between two syncs; all there are if there are fewer.
const STATES: usize = 150;

/// Something done to a store, and what the store must hold after each of its steps.
struct Script {
    disk: SimDisk,
    /// What must be there after step 0, 1, …; [`None`] where there need not be a store yet.
    steps: Vec<Option<Model>>,
    /// How many steps may be under way at once.
    under_way: usize,
    /// What is certainly not there yet.
    unwritten: Vec<Batch>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    intervals: usize,
    exhausted: usize,
    states: usize,
    broken: Vec<String>,
}

impl Script {
    /// Looks at what a power cut may leave, at every point; opens it, and looks.
    fn explore(&self, limit: usize, random: &mut Random) -> Seen {
        self.look(|interval| interval.crashes(limit, random))
    }

    fn look(&self, mut images: impl FnMut(&Interval) -> Vec<Vec<u8>>) -> Seen {
        let mut seen = Seen::default();
        for interval in self.disk.intervals() {
            seen.intervals += 1;
            seen.exhausted += usize::from(interval.pending() <= 8);
            for image in images(&interval) {
                seen.states += 1;
                if let Err(broken) = self.check(image, interval.reached) {
                    seen.broken
                        .push(format!("after step {}: {broken}", interval.reached));
                }
            }
        }
        seen
    }

    fn check(&self, image: Vec<u8>, reached: usize) -> Result<(), String> {
        self.check_on(&SimDisk::new(image), reached)
    }

    fn check_on(&self, disk: &SimDisk, reached: usize) -> Result<(), String> {
        let possible = &self.steps[reached..self.steps.len().min(reached + 1 + self.under_way)];
        let mut wrong = Vec::new();
        for model in possible {
            let Some(model) = model else {
                // Nothing was promised: refusing is right, and so is an empty store.
                match EmbeddedStore::open_on(as_disk(disk), &options(0)) {
                    Err(_) => return Ok(()),
                    Ok(_) => continue,
                }
            };
            let store = match EmbeddedStore::open_on(as_disk(disk), &options(model.outer)) {
                Ok(store) => store,
                Err(error) => {
                    wrong.push(error.to_string());
                    continue;
                }
            };
            match model.check(&store) {
                Ok(()) => return model.check_and_go_on(&store, &self.unwritten),
                Err(error) => wrong.push(error),
            }
        }
        Err(wrong.join("; and "))
    }
}

fn as_disk(disk: &SimDisk) -> std::sync::Arc<dyn Disk> {
    std::sync::Arc::new(disk.clone())
}

/// A store in which `batches` were committed, and what it holds.
fn prepared(batches: std::ops::Range<u64>) -> (Vec<u8>, Model) {
    let disk = SimDisk::new(Vec::new());
    let store = EmbeddedStore::create_on(as_disk(&disk), &options(0)).unwrap();
    let mut model = Model {
        life: Some(store.head().incarnation()),
        ..Model::default()
    };
    for number in batches {
        block_on(store.commit(batch(number))).unwrap();
        model.commit(&batch(number));
    }
    // As after a crash: nothing was put in order.
    (disk.written(), model)
}

fn creating(syncs: Syncs) -> Script {
    let disk = SimDisk::new(Vec::new()).with_syncs(syncs);
    let store = EmbeddedStore::create_on(as_disk(&disk), &options(0)).unwrap();
    disk.reached(1);
    let empty = Model {
        life: Some(store.head().incarnation()),
        ..Model::default()
    };
    block_on(store.commit(batch(1))).unwrap();
    disk.reached(2);
    let one = empty.with(&[batch(1)]);
    Script {
        disk,
        steps: vec![None, Some(empty), Some(one)],
        under_way: 1,
        unwritten: vec![batch(900)],
    }
}

fn committing(syncs: Syncs) -> Script {
    let (image, mut model) = prepared(0..6);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let mut steps = vec![Some(model.clone())];
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
    for number in 6..14 {
        block_on(store.commit(batch(number))).unwrap();
        disk.reached(steps.len());
        model.commit(&batch(number));
        steps.push(Some(model.clone()));
    }
    // Closing changes nothing that anyone sees.
    store.close().unwrap();
    Script {
        disk,
        steps,
        under_way: 1,
        unwritten: vec![batch(900), batch(901)],
    }
}

fn committing_a_group(syncs: Syncs) -> Script {
    let (image, model) = prepared(0..6);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
    let held = disk.hold();
    let mut context = Context::from_waker(Waker::noop());
    let mut futures: Vec<_> = (6..12).map(|number| store.commit(batch(number))).collect();
    for future in &mut futures {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    held.release();
    let mut revisions = Vec::new();
    for future in futures {
        revisions.push(block_on(future).unwrap().revision().number());
    }
    assert_eq!(revisions, (7..13).collect::<Vec<_>>());
    // The writer took the first when it came, perhaps with some more; the rest waited together.
    let groups = store.stats().unwrap().groups;
    assert!((1..=2).contains(&groups), "{groups}");
    let numbers: Vec<_> = (6..12).map(batch).collect();
    let steps: Vec<_> = (0..=6)
        .map(|done| Some(model.with(&numbers[..done])))
        .collect();
    disk.reached(6);
    Script {
        disk,
        steps,
        under_way: 6,
        unwritten: vec![batch(900)],
    }
}

/// Commits for which the file becomes longer, and closing, for which it becomes shorter.
fn growing(syncs: Syncs) -> Script {
    let (image, mut model) = prepared(0..3);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let mut steps = vec![Some(model.clone())];
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
    let long = disk.written().len();
    let name = |number| Batch::new(IdempotencyKey::from_bytes([number; 16]));
    let large = (0..2).fold(name(1), |batch, part| {
        batch.put(key("a", 50 + part), Expected::Absent, vec![7; 400_000])
    });
    let gone = (0..2).fold(name(2), |batch, part| {
        batch.delete(key("a", 50 + part), Expected::Present)
    });
    for batch in [large, gone, batch(6)] {
        block_on(store.commit(batch.clone())).unwrap();
        disk.reached(steps.len());
        model.commit(&batch);
        steps.push(Some(model.clone()));
    }
    assert!(disk.written().len() > long);
    let long = disk.written().len();
    store.close().unwrap();
    assert!(disk.written().len() < long);
    Script {
        disk,
        steps,
        under_way: 1,
        unwritten: vec![batch(900)],
    }
}

fn pruning(syncs: Syncs) -> Script {
    let (image, model) = prepared(0..12);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
    let mut pruned = model.clone();
    pruned.prune(9);
    let forgotten = block_on(store.prune_tombstones(Revision::new(9).unwrap())).unwrap();
    assert_eq!(forgotten, 3);
    disk.reached(1);
    Script {
        disk,
        steps: vec![Some(model), Some(pruned)],
        under_way: 1,
        unwritten: vec![batch(900)],
    }
}

fn changing_the_outer_key(syncs: Syncs) -> Script {
    let (image, model) = prepared(0..6);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
    block_on(store.change_outer_key(outer(0), outer(1))).unwrap();
    disk.reached(1);
    let mut changed = model.clone();
    changed.outer = 1;
    Script {
        disk,
        steps: vec![Some(model), Some(changed)],
        under_way: 1,
        unwritten: vec![batch(900)],
    }
}

fn restoring(syncs: Syncs) -> Script {
    let (image, model) = prepared(0..6);
    let disk = SimDisk::new(image).with_syncs(syncs);
    let store = EmbeddedStore::open_on(as_disk(&disk), &options(0).danger_as_restored_copy());
    let store = store.unwrap();
    disk.reached(1);
    let mut restored = model.clone();
    restored.life = Some(store.head().incarnation());
    restored.head = store.head().revision().number();
    Script {
        disk,
        steps: vec![Some(model), Some(restored)],
        under_way: 1,
        unwritten: vec![batch(900)],
    }
}

/// Opening what a crash in the middle of a commit left.
fn recovering(syncs: Syncs, random: &mut Random) -> Vec<Script> {
    let commits = committing(Syncs::Honest);
    let mut scripts = Vec::new();
    for interval in commits.disk.intervals() {
        for image in interval.crashes(2, random).into_iter().take(3) {
            let disk = SimDisk::new(image).with_syncs(syncs);
            let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
            let head = store.head().revision().number();
            let found = commits.steps.iter().flatten();
            let found = found.clone().find(|model| model.head == head).unwrap();
            disk.reached(1);
            scripts.push(Script {
                disk,
                steps: vec![Some(found.clone()), Some(found.clone())],
                under_way: 1,
                unwritten: vec![batch(900)],
            });
        }
    }
    scripts
}

type Operation = (&'static str, fn(Syncs) -> Script);

const OPERATIONS: [Operation; 7] = [
    ("create", creating),
    ("commit", committing),
    ("commit of a group", committing_a_group),
    ("commit with a longer file, close with a shorter", growing),
    ("prune tombstones", pruning),
    ("change the outer key", changing_the_outer_key),
    ("open a restored copy", restoring),
];

fn report(what: &str, seen: &Seen, begun: Instant) {
    eprintln!(
        "power cut: {what}: {} states between {} syncs ({} with every subset), {} broken promises, {:.1?}",
        seen.states,
        seen.intervals,
        seen.exhausted,
        seen.broken.len(),
        begun.elapsed(),
    );
}

/// With a real file and a real death: `.ci/crash_matrix`.
#[test]
fn sto_001_the_death_of_the_program_at_any_write_loses_nothing() {
    for (name, script) in OPERATIONS {
        let begun = Instant::now();
        let seen = script(Syncs::Honest).look(Interval::kills);
        report(&format!("death of the program: {name}"), &seen, begun);
        assert_eq!(seen.broken.first(), None, "{name}");
    }
}

#[test]
fn sto_002_a_power_cut_leaves_what_was_acknowledged_and_nothing_by_half() {
    for (name, script) in OPERATIONS {
        let begun = Instant::now();
        // Large images take long.
        let states = match name.contains("longer") {
            true => STATES / 8,
            false => STATES,
        };
        let seen = script(Syncs::Honest).explore(states * thoroughness(), &mut Random::new(2));
        report(name, &seen, begun);
        assert_eq!(seen.broken.first(), None, "{name}");
    }
}

#[test]
fn sto_002_a_second_power_cut_during_recovery_changes_nothing() {
    let begun = Instant::now();
    let mut random = Random::new(3);
    let mut all = Seen::default();
    for script in recovering(Syncs::Honest, &mut random) {
        let seen = script.explore(3 * thoroughness(), &mut random);
        all.intervals += seen.intervals;
        all.exhausted += seen.exhausted;
        all.states += seen.states;
        all.broken.extend(seen.broken);
    }
    report("recovery", &all, begun);
    assert_eq!(all.broken.first(), None);
}

/// The control: where syncs do nothing, the same look finds what is lost.
#[test]
fn sto_002_disks_that_lie_are_found_out() {
    // Large images take long.
    let quick = |operation: &&Operation| !operation.0.contains("longer");
    for (name, script) in OPERATIONS.iter().filter(quick) {
        for syncs in [Syncs::Lie, Syncs::LieEveryOtherTime] {
            let begun = Instant::now();
            let seen = script(syncs).explore(30, &mut Random::new(4));
            report(&format!("control, {syncs:?}: {name}"), &seen, begun);
            assert_ne!(seen.broken.len(), 0, "{name}, {syncs:?}");
        }
    }
}
