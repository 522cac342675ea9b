//! `Matching`: whether an event about one subject is for whoever asked about another.

use std::net::IpAddr;

use crate::subject::{Format, SubjectId};

/// How subjects are matched (SSF 1.0 §8.1.3.1): whether an event about one is to go to a stream that
/// another was added to.
///
/// Simple subjects match if they are equal. Complex ones match if every part that both have is equal,
/// and at least one is. That last condition is not in the text of SSF 1.0, by which `{user}` and
/// `{group}` match each other; the working group agreed on it as an erratum (issue 312), because else an
/// event about one subject reaches all that have nothing in common with it. A simple and a complex
/// subject do not match.
///
/// ```
/// use caep_set::{Matching, SubjectId};
///
/// let tenant = SubjectId::complex([("tenant", SubjectId::opaque("acme")?)])?;
/// let alice = SubjectId::complex([
///     ("tenant", SubjectId::opaque("acme")?),
///     ("user", SubjectId::email("alice@acme.example")?),
/// ])?;
/// let group = SubjectId::complex([("group", SubjectId::opaque("admins")?)])?;
/// assert!(Matching::ssf().matches(&tenant, &alice));
/// assert!(!Matching::ssf().matches(&tenant, &group));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matching {
    erratum: bool,
    aliases: bool,
}

impl Matching {
    /// SSF 1.0 with the agreed erratum.
    pub const fn ssf() -> Self {
        Self {
            erratum: true,
            aliases: false,
        }
    }

    /// Without the erratum: complex subjects that have no part in common match. An event about one
    /// tenant then reaches streams about another's users.
    #[must_use]
    pub const fn danger_matching_disjoint(mut self) -> Self {
        self.erratum = false;
        self
    }

    /// `aliases` match whatever one of their identifiers matches. By the text of SSF 1.0 they match
    /// only equal `aliases`.
    #[must_use]
    pub const fn with_any_alias(mut self) -> Self {
        self.aliases = true;
        self
    }

    /// Whether they match. It does not matter which is which.
    pub fn matches(self, one: &SubjectId, two: &SubjectId) -> bool {
        match (one.format(), two.format()) {
            (Format::Complex { parts }, Format::Complex { .. }) => self.match_parts(parts, two),
            (Format::Aliases { identifiers }, _) if self.aliases => identifiers
                .iter()
                .any(|identifier| self.matches(two, identifier)),
            (_, Format::Aliases { identifiers }) if self.aliases => {
                identifiers.iter().any(|identifier| one == identifier)
            }
            _ => one == two,
        }
    }

    fn match_parts(self, parts: &[(Box<str>, SubjectId)], two: &SubjectId) -> bool {
        let mut common = parts
            .iter()
            .filter_map(|(name, part)| Some((part, two.part(name)?)))
            .peekable();
        let enough = common.peek().is_some() || !self.erratum;
        enough && common.all(|(one, two)| one == two)
    }
}

impl Default for Matching {
    fn default() -> Self {
        Self::ssf()
    }
}

/// Whether two lists name the same addresses, however they write them and in whatever order. An entry
/// that is no address equals none.
pub(super) fn same_addresses(one: &[Box<str>], two: &[Box<str>]) -> bool {
    let holds_all = |these: &[Box<str>], those: &[Box<str>]| {
        these.iter().all(|text| {
            let Ok(address) = text.parse::<IpAddr>() else {
                return false;
            };
            let mut others = those.iter();
            others.any(|other| other.parse() == Ok(address))
        })
    };
    holds_all(one, two) && holds_all(two, one)
}
