//! How long a process that starts is not ready: opening a store with a million revocations, and
//! asking the first of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use m2m_crypto::SystemRandom;
use m2m_revoke::{Revocation, StoredOptions, StoredRevocations, Target};
use m2m_store::{EmbeddedStore, Store};
use m2m_types::Timestamp;

use super::{embedded, place};
use crate::timing::processor_time;

const ISSUER: &str = "https://issuer.prod.example.org";
const ROUNDS: usize = 3;

/// Seconds, the shortest of several openings: a machine that does something else only adds.
#[derive(Clone, Copy, Debug)]
pub struct Reopen {
    /// How many revocations there are.
    pub revocations: u64,
    /// Until the store is open, all its pages checked.
    pub opened: f64,
    /// Until the first right answer.
    pub answered: f64,
    /// Of processor time, until it is open: what it takes where nobody else wants the processor.
    pub opened_processor: f64,
    /// And until the first right answer.
    pub answered_processor: f64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Measures with `revocations` of one token each.
///
/// # Panics
///
/// If one is missing.
pub fn measure(revocations: u64, now: Timestamp) -> Reopen {
    let directory = place::directory();
    let store = Arc::new(embedded::open(directory.path()));
    revoke(store, revocations, now);
    let bytes = place::bytes_in(directory.path());
    let starts = (0..ROUNDS).map(|_| Reopen {
        bytes,
        ..start(directory.path(), revocations, now)
    });
    let shortest = starts.min_by(|one, other| one.answered.total_cmp(&other.answered));
    shortest.expect("there were some")
}

fn start(directory: &Path, revocations: u64, now: Timestamp) -> Reopen {
    let (start, busy) = (Instant::now(), processor_time());
    let busy = || (processor_time() - busy).as_secs_f64();
    let store = Arc::new(embedded::open(directory));
    let (opened, opened_processor) = (start.elapsed().as_secs_f64(), busy());
    let stored = stored(store, now);
    let last = jti(revocations - 1);
    let target = Target::Token {
        issuer: ISSUER,
        jti: &last,
    };
    let refused = stored.revocations().check(&target, None, now).is_err();
    let (answered, answered_processor) = (start.elapsed().as_secs_f64(), busy());
    assert!(refused, "a revocation is missing");
    assert_eq!(stored.stats().set().entries(), revocations);
    Reopen {
        revocations,
        opened,
        answered,
        opened_processor,
        answered_processor,
        bytes: 0,
    }
}

fn revoke(store: Arc<EmbeddedStore>, revocations: u64, now: Timestamp) {
    let stored = stored(store, now);
    for first in (0..revocations).step_by(10_000) {
        let last = revocations.min(first + 10_000);
        let names: Vec<String> = (first..last).map(jti).collect();
        let all = names.iter().map(|jti| {
            let target = Target::Token {
                issuer: ISSUER,
                jti,
            };
            Revocation::of(target, Timestamp::MAX)
        });
        pollster::block_on(stored.revoke_many(all)).expect("durable");
    }
}

fn stored(store: Arc<dyn Store>, now: Timestamp) -> StoredRevocations {
    let opened = StoredRevocations::open(store, now, &SystemRandom, StoredOptions::default());
    pollster::block_on(opened).expect("the set")
}

fn jti(number: u64) -> String {
    let mixed = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!("{mixed:032x}")
}
