//! `Health`: what the background work last did, and when it is due next.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use m2m_types::Timestamp;

use super::tasks::TaskName;

/// What is known of the background work at one moment: a copy, which does not change.
///
/// Its text has a line for each task, for a status page or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    tasks: Vec<TaskReport>,
}

impl Health {
    /// Each task.
    pub fn tasks(&self) -> &[TaskReport] {
        &self.tasks
    }

    /// The task of this name, if this runtime has it.
    pub fn task(&self, name: TaskName) -> Option<&TaskReport> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Whether every task runs, and each did what it had to when it last tried.
    pub fn is_well(&self) -> bool {
        let is_well = |task: &TaskReport| task.is_running && task.failures == 0;
        self.tasks.iter().all(is_well)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tasks.iter().try_for_each(|task| writeln!(f, "{task}"))
    }
}

/// What one task did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    name: TaskName,
    is_taken: bool,
    is_running: bool,
    last_success: Option<Timestamp>,
    last_error: Option<(Timestamp, Box<str>)>,
    failures: u32,
    next_due: Option<Timestamp>,
}

impl TaskReport {
    const fn new(name: TaskName) -> Self {
        Self {
            name,
            is_taken: false,
            is_running: false,
            last_success: None,
            last_error: None,
            failures: 0,
            next_due: None,
        }
    }

    /// Its name.
    pub const fn name(&self) -> TaskName {
        self.name
    }

    /// Whether somebody runs it: not before the application does, and not after it has dropped it or it
    /// has panicked.
    pub const fn is_running(&self) -> bool {
        self.is_running
    }

    /// When it last did what was due.
    pub const fn last_success(&self) -> Option<Timestamp> {
        self.last_success
    }

    /// When it last failed, and why. Kept when it succeeds again.
    pub fn last_error(&self) -> Option<(Timestamp, &str)> {
        let (at, why) = self.last_error.as_ref()?;
        Some((*at, why))
    }

    /// How often it has failed since it last succeeded.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// When it is due next, unless something happens before.
    pub const fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = if self.is_running { "" } else { "not running, " };
        write!(f, "{}: {running}", self.name)?;
        match self.last_success {
            Some(at) => write!(f, "done {at}")?,
            None => f.write_str("not done yet")?,
        }
        if let Some((at, why)) = &self.last_error {
            write!(f, ", failed {at} ({} in a row): {why}", self.failures)?;
        }
        match self.next_due {
            Some(at) => write!(f, ", due {at}"),
            None => Ok(()),
        }
    }
}

/// Where tasks report.
pub(super) struct Board {
    reports: Mutex<Vec<TaskReport>>,
}

/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Board {
    pub(super) fn new(names: impl IntoIterator<Item = TaskName>) -> Self {
        let reports = names.into_iter().map(TaskReport::new).collect();
        Self {
            reports: Mutex::new(reports),
        }
    }

    pub(super) fn health(&self) -> Health {
        Health {
            tasks: self.lock().clone(),
        }
    }

    /// Whether it was there to be taken.
    pub(super) fn take(&self, name: TaskName) -> bool {
        let mut was_free = false;
        self.change(name, |report| {
            was_free = !report.is_taken;
            report.is_taken = true;
        });
        was_free
    }

    pub(super) fn give_back(&self, name: TaskName) {
        self.change(name, |report| {
            (report.is_taken, report.is_running) = (false, false)
        });
    }

    pub(super) fn runs(&self, name: TaskName) {
        self.change(name, |report| report.is_running = true);
    }

    /// The work there is.
    pub(super) fn names(&self) -> Vec<TaskName> {
        self.lock().iter().map(|report| report.name).collect()
    }

    pub(super) fn succeeded(&self, name: TaskName, now: Timestamp, next: Timestamp) {
        self.change(name, |report| {
            report.last_success = Some(now);
            report.failures = 0;
            report.next_due = Some(next);
        });
    }

    /// It failed; says when to try again: after a second, and twice as long each time.
    pub(super) fn failed(&self, name: TaskName, now: Timestamp, why: &str) -> Timestamp {
        let mut next = now.saturating_add(FIRST_PAUSE);
        self.change(name, |report| {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(report.failures.min(16));
            next = now.saturating_add(pause.min(LONGEST_PAUSE));
            report.failures = report.failures.saturating_add(1);
            report.last_error = Some((now, why.into()));
            report.next_due = Some(next);
        });
        next
    }

    fn change(&self, name: TaskName, change: impl FnOnce(&mut TaskReport)) {
        if let Some(report) = self.lock().iter_mut().find(|report| report.name == name) {
            change(report);
        }
    }

    /// Whoever panicked with it left whole values.
    fn lock(&self) -> MutexGuard<'_, Vec<TaskReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
