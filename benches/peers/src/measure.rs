//! Runs contenders group by group and gathers what is known of each.

use crate::contender::{Contender, Recipe};
use crate::fixture::Fixture;
use crate::timing::{Effort, measure};
use crate::{allocations, instructions};

/// What was measured of one contender.
#[derive(Clone, Debug)]
pub struct Row {
    /// `subject/operation/algorithm/library`.
    pub id: String,
    /// Nanoseconds per operation when nothing disturbed.
    pub calm: f64,
    /// The median ratio of its time to that of its group's first contender.
    pub ratio: f64,
    /// Allocations per operation.
    pub allocations: f64,
    /// Instructions per operation, if valgrind is installed.
    pub instructions: Option<u64>,
}

/// Times every recipe's contender and counts its allocations, group by group.
pub fn rows(recipes: &[Recipe], fixture: &Fixture, effort: Effort) -> Vec<Row> {
    recipes
        .chunk_by(|one, next| one.group() == next.group())
        .flat_map(|group| {
            eprintln!("timing {}", group[0].group());
            let mut contenders: Vec<Contender> =
                group.iter().map(|recipe| recipe.make(fixture)).collect();
            let timings = measure(&mut contenders, effort);
            contenders
                .iter_mut()
                .zip(timings)
                .map(|(contender, timing)| Row {
                    id: timing.id,
                    calm: timing.calm,
                    ratio: timing.ratio,
                    allocations: allocations::per_operation(contender),
                    instructions: None,
                })
                .collect::<Vec<Row>>()
        })
        .collect()
}

/// Adds the instruction counts, if valgrind is installed.
pub fn count_instructions(rows: &mut [Row], fixture: &Fixture) {
    if !instructions::available() {
        eprintln!("instructions: skipped, valgrind is not installed");
        return;
    }
    for row in rows {
        eprintln!("counting instructions of {}", row.id);
        row.instructions = instructions::per_operation(&row.id, fixture, row.calm);
    }
}
