//! Our contenders.

pub mod revocation;
pub mod token;

use crate::contender::Recipe;
use crate::fixture::Fixture;
use crate::report::{Facts, Threads};
use crate::threads::scaling;

/// Every operation of ours, with the operations of others that only they are compared with.
pub fn recipes() -> Vec<Recipe> {
    token::recipes()
        .into_iter()
        .chain(revocation::recipes())
        .collect()
}

/// What is not the time of one operation.
pub fn facts(fixture: &Fixture) -> Facts {
    eprintln!("measuring memory, two threads, and a reader beside a writer");
    Facts {
        revocation_bytes_per_entry: Some(revocation::bytes_per_entry(fixture.revoked, fixture.now)),
        lookup_beside_writer: Some(revocation::lookup_beside_writer(fixture.now)),
        threads: Some(Threads {
            shared: scaling(token::warm_workers_sharing(fixture)),
            apart: scaling(token::warm_workers_apart(fixture)),
        }),
    }
}
