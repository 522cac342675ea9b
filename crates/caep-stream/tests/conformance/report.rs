//! What a module found: failures, warnings and remarks, as the suite grades them.

use std::fmt;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The module fails.
    Failure,
    /// It is not as it should be, and passes.
    Warning,
    /// It is said.
    Info,
}

/// The module cannot go on. Why, its report says.
#[derive(Debug)]
pub(crate) struct Stop;

/// What one run of one module found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<(Severity, String)>,
    checks: usize,
    skipped: Option<&'static str>,
}

impl Report {
    /// Failure: it fails the module, which goes on.
    pub(crate) fn must(&mut self, holds: bool, what: impl fmt::Display) {
        self.check(Severity::Failure, holds, &what);
    }

    /// Failure, and there is no point in going on.
    pub(crate) fn need(&mut self, holds: bool, what: impl fmt::Display) -> Result<(), Stop> {
        self.must(holds, what);
        holds.then_some(()).ok_or(Stop)
    }

    /// What must be there to go on.
    pub(crate) fn want<T>(&mut self, value: Option<T>, what: impl fmt::Display) -> Result<T, Stop> {
        self.must(value.is_some(), what);
        value.ok_or(Stop)
    }

    /// Warning.
    pub(crate) fn should(&mut self, holds: bool, what: impl fmt::Display) {
        self.check(Severity::Warning, holds, &what);
    }

    /// Remark.
    pub(crate) fn may(&mut self, holds: bool, what: impl fmt::Display) {
        self.check(Severity::Info, holds, &what);
    }

    /// There is nothing to look at.
    pub(crate) fn skip(&mut self, why: &'static str) {
        self.skipped = Some(why);
    }

    /// Takes over what somebody else found on behalf of this module.
    pub(crate) fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.checks += other.checks;
    }

    fn check(&mut self, severity: Severity, holds: bool, what: &dyn fmt::Display) {
        self.checks += 1;
        if !holds {
            self.findings.push((severity, what.to_string()));
        }
    }

    /// Whether it found what it looked for, and looked for anything.
    pub(crate) fn passed(&self) -> bool {
        self.count(Severity::Failure) == 0 && (self.checks > 0 || self.skipped.is_some())
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        let failures = self.findings.iter();
        failures
            .filter(|(severity, _)| *severity == Severity::Failure)
            .map(|(_, what)| what.as_str())
    }

    fn count(&self, severity: Severity) -> usize {
        let all = self.findings.iter();
        all.filter(|(found, _)| *found == severity).count()
    }
}

/// One word and the count of checks; what was found is on lines of its own.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.passed(), self.skipped) {
            (true, Some(why)) => write!(f, "skipped: {why}")?,
            (true, None) => write!(f, "ok, {} checks", self.checks)?,
            (false, _) => write!(f, "FAILED, {} checks", self.checks)?,
        }
        for (severity, what) in &self.findings {
            let letter = match severity {
                Severity::Failure => 'F',
                Severity::Warning => 'W',
                Severity::Info => 'I',
            };
            write!(f, "\n      {letter} {what}")?;
        }
        Ok(())
    }
}
