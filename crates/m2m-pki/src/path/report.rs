//! `ChainReport`: every rule, and what became of it, for operators.

use std::fmt;
use std::ops::ControlFlow;

use super::error::ChainError;
use super::peer::VerifiedPeer;
use super::place::Place;
use super::rules::{Path, Question, Rule, judge};
use crate::{Certificate, CertificateError};

/// What was found out about a chain, rule by rule. [`fmt::Display`] draws it for a terminal or a log.
///
/// Its verdict is that of [`ChainVerifier::verify`](crate::ChainVerifier::verify): both come from the
/// same examination. What stands in it is for operators, not for the peer.
#[derive(Clone, Debug)]
pub struct ChainReport {
    pub(super) verdict: Result<VerifiedPeer, ChainError>,
    pub(super) findings: Vec<Finding>,
    pub(super) path: Vec<(Place, Certificate)>,
    pub(super) unreadable: Vec<(usize, CertificateError)>,
    pub(super) signatures_checked: usize,
    pub(super) signatures_spared: usize,
}

/// What became of one rule for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule.
    pub rule: Rule,
    /// For which certificate, if it is about one.
    pub place: Option<Place>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Outcome {
    /// It held.
    Held,
    /// It did not.
    Failed(ChainError),
    /// It could not be asked, because one before it failed.
    NotReached,
}

impl ChainReport {
    pub(super) fn new(verdict: Result<VerifiedPeer, ChainError>) -> Self {
        Self {
            verdict,
            findings: Vec::new(),
            path: Vec::new(),
            unreadable: Vec::new(),
            signatures_checked: 0,
            signatures_spared: 0,
        }
    }

    /// The peer, or why it is refused.
    ///
    /// # Errors
    ///
    /// What [`ChainVerifier::verify`](crate::ChainVerifier::verify) says.
    pub fn verdict(&self) -> Result<&VerifiedPeer, &ChainError> {
        self.verdict.as_ref()
    }

    /// Every rule, in the order in which they are asked.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What did not hold. The verdict is about one of these.
    pub fn failures(&self) -> impl Iterator<Item = &ChainError> {
        self.findings
            .iter()
            .filter_map(|finding| match &finding.outcome {
                Outcome::Failed(error) => Some(error),
                Outcome::Held | Outcome::NotReached => None,
            })
    }

    /// The path that the report is about: the one that was found, or the one that was meant.
    pub fn path(&self) -> impl ExactSizeIterator<Item = (Place, &Certificate)> {
        self.path
            .iter()
            .map(|(place, certificate)| (*place, certificate))
    }

    /// Certificates that were presented and could not be read, by their place: the leaf is 0.
    pub fn unreadable(&self) -> impl ExactSizeIterator<Item = (usize, &CertificateError)> {
        self.unreadable
            .iter()
            .map(|(number, error)| (*number, error))
    }

    /// How many signatures were computed for the verdict.
    pub fn signatures_checked(&self) -> usize {
        self.signatures_checked
    }

    /// How many were known from before ([`VerifiedIntermediates`](crate::VerifiedIntermediates)).
    pub fn signatures_spared(&self) -> usize {
        self.signatures_spared
    }

    pub(super) fn note(&mut self, rule: Rule, place: Option<Place>, outcome: Outcome) {
        self.findings.push(Finding {
            rule,
            place,
            outcome,
        });
    }

    /// Asks every rule about `path`.
    pub(super) fn judge(&mut self, path: &Path<'_>, question: &Question<'_>) {
        self.path = path
            .certificates()
            .map(|(place, certificate)| (place, certificate.clone()))
            .collect();
        judge(path, question, |rule, place, answer| {
            let outcome = answer.map_or_else(Outcome::Failed, |()| Outcome::Held);
            self.note(rule, Some(place), outcome);
            ControlFlow::Continue(())
        });
    }

    /// Rules that were not asked.
    pub(super) fn fill(&mut self) {
        for rule in Rule::ALL {
            if !self.findings.iter().any(|finding| finding.rule == rule) {
                self.note(rule, None, Outcome::NotReached);
            }
        }
        self.findings.sort_by_key(|finding| finding.rule);
    }
}

impl fmt::Display for ChainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(_) => writeln!(f, "accepted")?,
            Err(error) => writeln!(f, "refused: {error}")?,
        }
        for (depth, (place, certificate)) in self.path.iter().rev().enumerate() {
            let indent = 3 * depth.saturating_sub(1);
            let branch = if depth == 0 { "" } else { "└─ " };
            write!(f, "  {:indent$}{branch}{place}  ", "")?;
            if let Ok(service) = certificate.service_id() {
                write!(f, "{}  ", crate::profile::short(&service))?;
            }
            let (from, to) = (certificate.not_before(), certificate.not_after());
            writeln!(f, "serial {}, {from} to {to}", certificate.serial())?;
        }
        for (number, error) in &self.unreadable {
            writeln!(f, "  certificate {number} cannot be read: {error}")?;
        }
        for finding in &self.findings {
            let mark = match &finding.outcome {
                Outcome::Held => "✓",
                Outcome::Failed(_) => "✗",
                Outcome::NotReached => "·",
            };
            write!(f, "  {mark} {:16}", finding.rule)?;
            match (&finding.outcome, finding.place) {
                (Outcome::Held, Some(place)) => writeln!(f, "  {place}")?,
                (Outcome::Held, None) => writeln!(f)?,
                (Outcome::Failed(error), _) => writeln!(f, "  {error}")?,
                (Outcome::NotReached, _) => writeln!(f, "  not reached")?,
            }
        }
        let (checked, spared) = (self.signatures_checked, self.signatures_spared);
        write!(f, "  {checked} signatures checked, {spared} known")
    }
}
