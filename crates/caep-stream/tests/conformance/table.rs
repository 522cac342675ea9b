//! The table: rows that are run side by side and told in their order, and how many passed.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::report::Report;

/// One row of the table: a module, how SETs are delivered, and how to find out.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) how: &'static str,
    pub(crate) run: Box<dyn FnOnce() -> Report + Send>,
}

/// A row that is run, or was.
enum Running {
    Not(Box<dyn FnOnce() -> Report + Send>),
    Meanwhile,
    Done(Report),
}

impl Running {
    fn finish(&mut self) {
        if let Self::Not(run) = std::mem::replace(self, Self::Meanwhile) {
            *self = Self::Done(run());
        }
    }
}

/// How many rows run at a time.
const AT_A_TIME: usize = 12;

/// What became of all of them.
pub(crate) struct Table {
    filter: Option<String>,
    quiet: bool,
    begun: Instant,
    passed: usize,
    failed: Vec<String>,
}

impl Table {
    pub(crate) fn new(filter: Option<String>, quiet: bool) -> Self {
        Self {
            filter,
            quiet,
            begun: Instant::now(),
            passed: 0,
            failed: Vec::new(),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        let filter = self.filter.as_ref();
        filter.is_none_or(|part| name.contains(part.as_str()))
    }

    pub(crate) fn heading(&self, text: &str) {
        println!("\n{text}");
    }

    /// Runs rows, some at a time: each has its own ports, and mostly waits. They are told in their order.
    pub(crate) fn run(&mut self, rows: Vec<Row>) {
        let (told, running): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .map(|row| ((row.name, row.how), Mutex::new(Running::Not(row.run))))
            .unzip();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (next, running) = (&next, &running);
            for _ in 0..AT_A_TIME {
                scope.spawn(move || {
                    while let Some(place) = running.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
                        place.finish();
                    }
                });
            }
        });
        for ((name, how), running) in told.into_iter().zip(running) {
            let running = running.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Running::Done(report) = running else {
                self.failed.push(format!("{name}, {how}: it did not run"));
                continue;
            };
            self.row(&name, how, &report);
        }
    }

    fn row(&mut self, name: &str, how: &str, report: &Report) {
        let passed = report.passed();
        match passed {
            true => self.passed += 1,
            false => self.failed.push(format!("{name}, {how}")),
        }
        if !passed || !self.quiet {
            println!("  {name:<58} {how:<9} {report}");
        }
    }

    pub(crate) fn end(&self) -> ExitCode {
        let seconds = self.begun.elapsed().as_secs_f64();
        println!(
            "\n{} rows passed, {} failed, in {seconds:.1} s",
            self.passed,
            self.failed.len()
        );
        for name in &self.failed {
            println!("  FAILED {name}");
        }
        match self.failed.is_empty() && (self.passed > 0 || self.filter.is_some()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    /// Says of how many modules all runs passed: those of the plan, and the one of the profile.
    pub(crate) fn count(&self, of: &str, names: &BTreeSet<&str>) {
        let failed = |name: &&&str| {
            let name = format!("{name}, ");
            self.failed.iter().any(|failed| failed.starts_with(&name))
        };
        let passed = names.iter().filter(|name| !failed(name));
        let (interop, plan): (Vec<&&str>, Vec<&&str>) =
            passed.partition(|name| name.ends_with("caep-interop"));
        println!("  {of}: {}+{} modules passed", plan.len(), interop.len());
    }
}
