//! `Finding`: one rule of a standard that a SET bends or breaks.

use std::fmt;

/// The most findings that are kept of one SET. Whoever breaks more rules has made the point.
const MAX_FINDINGS: usize = 64;
/// How much of a name that a stranger chose is shown, in characters.
const MAX_SHOWN: usize = 64;

/// As many rules as are looked at for most SETs: room for them is made at once.
const USUAL_RULES: usize = 24;

/// How much a [`Finding`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "a rule is broken, or it is not")]
pub enum Severity {
    /// Allowed, but not what the standard recommends, or a slip that is commonly tolerated.
    Advice,
    /// A rule is broken: the SET does not conform.
    Violation,
}

/// One rule that a SET bends or breaks: which, where, and how.
///
/// For operators. It names members, never what they contain, and escapes and shortens names that are not
/// in a standard.
///
/// ```
/// use caep_set::{Profile, Reading, Severity};
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_790_000_000)?;
/// let reading = Reading::of_claims(r#"{"iss": "https://tr.example"}"#, &Profile::ssf(), now);
/// let first = &reading.findings()[0];
/// assert_eq!(first.to_string(), "`jti` is missing (RFC 8417 §2.2)");
/// assert_eq!(first.severity(), Severity::Violation);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    severity: Severity,
    rule: &'static str,
    at: Box<str>,
    problem: &'static str,
}

impl Finding {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Which rule: standard and section.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// Which member, as a path of names with `.` between them. Empty for the whole.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &'static str {
        self.problem
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.at {
            "" => write!(f, "it {} ({})", self.problem, self.rule),
            at => write!(f, "`{at}` {} ({})", self.problem, self.rule),
        }
    }
}

/// Collects findings while a SET is read.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    path: String,
    checked: Vec<&'static str>,
}

impl Findings {
    /// Says that a rule is looked at, whether it is kept or not.
    pub(crate) fn check(&mut self, rule: &'static str) {
        if !self.checked.contains(&rule) {
            if self.checked.is_empty() {
                self.checked.reserve_exact(USUAL_RULES);
            }
            self.checked.push(rule);
        }
    }

    pub(crate) fn violation(&mut self, rule: &'static str, name: &str, problem: &'static str) {
        self.add(Severity::Violation, rule, name, problem);
    }

    pub(crate) fn advice(&mut self, rule: &'static str, name: &str, problem: &'static str) {
        self.add(Severity::Advice, rule, name, problem);
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        rule: &'static str,
        name: &str,
        problem: &'static str,
    ) {
        self.check(rule);
        if self.list.len() == MAX_FINDINGS {
            return;
        }
        let mut at = self.path.clone();
        append(&mut at, name);
        self.list.push(Finding {
            severity,
            rule,
            at: at.into_boxed_str(),
            problem,
        });
    }

    /// What is found from here on is inside the member `name`, until [`Findings::leave`] is called with
    /// what this gives.
    pub(crate) fn enter(&mut self, name: &str) -> Outer {
        let outer = Outer(self.path.len());
        append(&mut self.path, name);
        outer
    }

    pub(crate) fn leave(&mut self, outer: Outer) {
        self.path.truncate(outer.0);
    }

    /// What was found, and the rules that were looked at.
    pub(crate) fn into_parts(self) -> (Vec<Finding>, Vec<&'static str>) {
        (self.list, self.checked)
    }
}

/// Where the path of names ended before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer(usize);

fn append(path: &mut String, name: &str) {
    if name.is_empty() {
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
    if name.len() <= MAX_SHOWN && name.bytes().all(is_plain) {
        path.push_str(name);
        return;
    }
    let mut shown = name.chars();
    for character in shown.by_ref().take(MAX_SHOWN) {
        match character {
            ' '..='~' => path.push(character),
            other => path.extend(other.escape_unicode()),
        }
    }
    if shown.next().is_some() {
        path.push('…');
    }
}
