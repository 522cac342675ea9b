//! STO-004, STO-005, STO-025: each call to the disk fails, once, a few times or from then on. Nothing
//! panics, no answer is wrong, and what was refused never appears.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use m2m_store::{Batch, Disk, EmbeddedStore, Revision, Store, StoreError};
use pollster::block_on;

use crate::disk::{Fault, Faults, Random, SimDisk};
use crate::model::{Model, batch, options, outer};
use crate::thoroughness;

const FOREVER: usize = usize::MAX;

/// What was asked for after the store was opened.
#[derive(Clone, Debug)]
enum Step {
    Commit(u64),
    Prune(u64),
    ChangeOuterKey,
}

const STEPS: [Step; 8] = [
    Step::Commit(6),
    Step::Commit(7),
    Step::Prune(6),
    Step::Commit(8),
    Step::ChangeOuterKey,
    Step::Commit(9),
    Step::Commit(10),
    Step::Commit(11),
];

/// What the answers leave possible, and what became of each kind of them.
struct Told {
    /// What was acknowledged, and with it what may have happened.
    possible: Vec<Model>,
    refused: Vec<Batch>,
    answers: BTreeMap<&'static str, usize>,
}

impl Told {
    fn apply(step: &Step, to: &mut Model) {
        match step {
            Step::Commit(number) => to.commit(&batch(*number)),
            Step::Prune(until) => to.prune(*until),
            Step::ChangeOuterKey => to.outer = 1,
        }
    }

    fn tell(&mut self, step: &Step, answer: Result<(), StoreError>) -> Result<(), String> {
        let name = match &answer {
            Ok(()) => "done",
            Err(StoreError::Full { .. }) => "full",
            Err(StoreError::Unavailable { .. }) => "unavailable",
            Err(StoreError::OutcomeUnknown { .. }) => "unknown",
            Err(StoreError::Poisoned { reason }) if !reason.to_string().contains("panicked") => {
                "poisoned"
            }
            Err(other) => return Err(format!("{step:?}: {other:?}")),
        };
        *self.answers.entry(name).or_default() += 1;
        match answer {
            Ok(()) => {
                if self.possible.len() > 1 {
                    return Err(format!("{step:?} was done after an unknown outcome"));
                }
                self.possible
                    .iter_mut()
                    .for_each(|model| Self::apply(step, model));
            }
            Err(StoreError::OutcomeUnknown { .. }) => {
                let mut other = self.possible[0].clone();
                Self::apply(step, &mut other);
                self.possible.push(other);
            }
            Err(_) => {
                if let Step::Commit(number) = step {
                    self.refused.push(batch(*number));
                }
            }
        }
        Ok(())
    }
}

fn perform(store: &EmbeddedStore, step: &Step) -> Result<(), StoreError> {
    match step {
        Step::Commit(number) => block_on(store.commit(batch(*number))).map(drop),
        Step::Prune(until) => {
            block_on(store.prune_tombstones(Revision::new(*until).unwrap())).map(drop)
        }
        Step::ChangeOuterKey => block_on(store.change_outer_key(outer(0), outer(1))),
    }
}

fn as_disk(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn prepared() -> (Vec<u8>, Model) {
    let disk = SimDisk::new(Vec::new());
    let store = EmbeddedStore::create_on(as_disk(&disk), &options(0)).unwrap();
    let life = Some(store.head().incarnation());
    let mut model = Model {
        life,
        ..Model::default()
    };
    for number in 0..6 {
        block_on(store.commit(batch(number))).unwrap();
        model.commit(&batch(number));
    }
    (disk.written(), model)
}

/// How a run went on.
struct Run {
    failed: usize,
    answers: BTreeMap<&'static str, usize>,
}

/// Opens a store on a disk that fails so, does all steps, and compares each answer with what is
/// there afterwards, to a program that opens it anew and after a power cut.
fn run(image: &[u8], model: &Model, faults: Faults) -> Result<Run, String> {
    let disk = SimDisk::new(image.to_vec());
    disk.fail(Some(faults));
    let mut told = Told {
        possible: vec![model.clone()],
        refused: Vec::new(),
        answers: BTreeMap::new(),
    };
    match EmbeddedStore::open_on(as_disk(&disk), &options(0)) {
        Err(_) => *told.answers.entry("not opened").or_default() += 1,
        Ok(store) => {
            for step in &STEPS {
                told.tell(step, perform(&store, step))?;
                // Once the disk works again, reading does, unless nothing can be believed.
                let poisoned = matches!(store.stats(), Err(StoreError::Poisoned { .. }));
                if disk.failed() == faults.count && !poisoned {
                    // The first to read after a failed read may hear of it.
                    if told.possible[0].check(&store).is_err() {
                        let _ = perform(&store, &Step::Prune(0));
                        told.possible[0]
                            .check(&store)
                            .map_err(|wrong| format!("after {step:?}: {wrong}"))?;
                    }
                }
            }
            if disk.failed() == faults.count && told.answers.contains_key("full") {
                let lost = ["poisoned", "unknown"];
                if !lost.iter().any(|answer| told.answers.contains_key(answer)) {
                    let again = block_on(store.commit(batch(50)));
                    if again.is_err() {
                        return Err(format!("there is room again: {again:?}"));
                    }
                    told.possible[0].commit(&batch(50));
                }
            }
        }
    }
    let failed = disk.failed();
    disk.fail(None);
    // Another process opens it; or the power fails, with or without what was not synced.
    let mut images = vec![disk.written()];
    if let Some(last) = disk.intervals().last() {
        images.extend(last.crashes(2, &mut Random::new(5)));
    }
    for image in images {
        reopened(&told, image)?;
    }
    Ok(Run {
        failed,
        answers: told.answers,
    })
}

fn reopened(told: &Told, image: Vec<u8>) -> Result<(), String> {
    let mut wrong = Vec::new();
    for model in &told.possible {
        let disk = SimDisk::new(image.clone());
        let store = match EmbeddedStore::open_on(as_disk(&disk), &options(model.outer)) {
            Ok(store) => store,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        // What was refused is not there: it is written now.
        match model.check(&store) {
            Ok(()) => return model.check_and_go_on(&store, &told.refused),
            Err(error) => wrong.push(error),
        }
    }
    Err(format!("opened anew: {}", wrong.join("; and ")))
}

fn every_call_fails(kind: Fault, counts: &[usize], every: usize) {
    let (image, model) = prepared();
    for &count in counts {
        // What a failed sync leaves matters only where syncs fail.
        let keeps: &[bool] = match kind {
            Fault::Io | Fault::Interrupted => &[true, false],
            _ => &[true],
        };
        for &keeps in keeps {
            let begun = Instant::now();
            let (mut from, mut runs) = (0, 0);
            let mut answers = BTreeMap::<_, usize>::new();
            loop {
                let faults = Faults {
                    from,
                    count,
                    kind,
                    keeps,
                };
                let run = run(&image, &model, faults);
                let run = run.unwrap_or_else(|wrong| panic!("{faults:?}: {wrong}"));
                for (answer, count) in run.answers {
                    *answers.entry(answer).or_default() += count;
                }
                runs += 1;
                if run.failed == 0 {
                    break;
                }
                from += (every / thoroughness()).max(1);
            }
            let count = match count {
                FOREVER => "from then on".into(),
                count => format!("{count} times"),
            };
            eprintln!(
                "failing disk: {kind:?}, {count}, lost {}: {runs} runs, {answers:?}, {:.1?}",
                !keeps,
                begun.elapsed()
            );
            assert!(runs > 2);
        }
    }
}

#[test]
fn sto_005_without_space_reading_goes_on_and_writing_when_there_is_some_again() {
    every_call_fails(Fault::NoSpace, &[1, 2, 5, FOREVER], 1);
}

#[test]
fn sto_005_the_same_where_no_block_is_written_twice() {
    every_call_fails(Fault::NoSpaceAtAll, &[1, 3, FOREVER], 5);
}

#[test]
fn sto_005_a_write_that_stops_half_way() {
    every_call_fails(Fault::Short, &[1, 3, FOREVER], 5);
}

#[test]
fn sto_005_a_call_that_is_interrupted() {
    every_call_fails(Fault::Interrupted, &[1], 2);
}

#[test]
fn sto_025_every_call_to_the_disk_fails() {
    every_call_fails(Fault::Io, &[1, 2, FOREVER], 3);
}

#[test]
fn sto_004_after_a_failed_sync_the_handle_says_so_to_everyone() {
    let (image, model) = prepared();
    for keeps in [true, false] {
        // In a commit: the first sync, after which it is all there but not the newest; the second.
        for from in 0..2 {
            let disk = SimDisk::new(image.clone());
            let store = EmbeddedStore::open_on(as_disk(&disk), &options(0)).unwrap();
            disk.fail(Some(Faults {
                from,
                count: 1,
                kind: Fault::Sync,
                keeps,
            }));
            let refused = block_on(store.commit(batch(6))).unwrap_err();
            assert!(
                matches!(refused, StoreError::Poisoned { .. }),
                "{refused:?}"
            );
            // The disk syncs again, and nobody believes it.
            assert_eq!(block_on(store.commit(batch(7))), Err(refused.clone()));
            let key = crate::model::key("a", 1);
            assert_eq!(block_on(store.get(&key)), Err(refused.clone()));
            let scan = m2m_store::Scan::new(m2m_store::Space::new("a").unwrap());
            assert_eq!(block_on(store.scan(&scan)), Err(refused.clone()));
            let head = store.head();
            assert_eq!(block_on(store.changed(head)), Err(refused.clone()));
            assert_eq!(store.stats(), Err(refused.clone()));
            assert_eq!(perform(&store, &Step::Prune(1)), Err(refused.clone()));
            assert_eq!(perform(&store, &Step::ChangeOuterKey), Err(refused.clone()));
            assert!(block_on(store.compact()).is_err());
            assert_eq!(store.close(), Err(refused));

            disk.fail(None);
            let told = Told {
                possible: vec![model.clone()],
                refused: vec![batch(6), batch(7)],
                answers: BTreeMap::new(),
            };
            reopened(&told, disk.written()).unwrap();
            if let Some(interval) = disk.intervals().last() {
                for image in interval.crashes(20, &mut Random::new(6)) {
                    reopened(&told, image).unwrap();
                }
            }
        }
    }
}
