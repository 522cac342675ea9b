//! Following what changes: processor time of the follower's thread for each change.

use std::sync::Arc;

use m2m_store::{Changes, Cursor, Follower, MemoryStore, Step, Store};

use super::{embedded, place};
use crate::timing::processor_time;

/// How many changes are followed.
const CHANGES: u64 = 200_000;
/// How many of them one by one.
const SINGLE: u64 = 20_000;

/// Seconds of one core for one change.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// For a follower that was away, and reads pages of a thousand.
    pub backlog: f64,
    /// For one that is woken for each change and finds no other.
    pub single: f64,
}

/// Measures a follower of an embedded store, and one of a store in memory.
///
/// # Panics
///
/// If a change is missed.
pub fn measure() -> (Feed, Feed) {
    let directory = place::directory();
    let embedded = of(Arc::new(embedded::open(directory.path())));
    (embedded, of(Arc::new(MemoryStore::new())))
}

fn of(store: Arc<dyn Store>) -> Feed {
    embedded::fill(&*store, CHANGES);
    let mut follower = Follower::new(Arc::clone(&store), embedded::space());
    let start = processor_time();
    let mut seen = 0;
    loop {
        let step = pollster::block_on(follower.look()).expect("it can be read");
        follower.done(&step);
        let Step::Changes { changes, more, .. } = step else {
            panic!("the place is known");
        };
        seen += changes.len() as u64;
        if !more {
            break;
        }
    }
    let backlog = (processor_time() - start).as_secs_f64() / CHANGES as f64;
    assert_eq!(seen, CHANGES);

    // One commit each, all of them there already: what waiting costs is not the store's.
    for number in 0..SINGLE / 64 {
        let commits = (number * 64..number * 64 + 64).map(embedded::batch);
        embedded::commit_all(&*store, commits);
    }
    let mut place = follower.place();
    let start = processor_time();
    let mut seen = 0;
    while let Some(next) = step(&*store, place) {
        place = next;
        seen += 1;
    }
    let single = (processor_time() - start).as_secs_f64() / seen as f64;
    assert_eq!(seen, SINGLE / 64 * 64);
    Feed { backlog, single }
}

/// Reads the next change alone.
fn step(store: &dyn Store, place: Cursor) -> Option<Cursor> {
    let space = embedded::space();
    let changes = pollster::block_on(store.changes(&space, place, 1)).expect("it can be read");
    let Changes::Some(page) = changes else {
        panic!("the place is known");
    };
    (!page.changes().is_empty()).then(|| page.next())
}
