//! `Profile`: by which rules a SET is judged.

use std::time::Duration;

/// By which rules a SET is judged: a dialect, and what a stream was told about itself.
///
/// | dialect | `sub_id` | `sub`, `exp` | events | subject in the payload |
/// |---|---|---|---|---|
/// | [`Profile::ssf`] | required | refused | one | repeats `sub_id` at most |
/// | [`Profile::rfc8417`] | optional | taken | one or more | taken |
/// | [`Profile::scim`] | required | refused | one or more, of one transaction | – |
/// | [`Profile::google_risc`] | optional | taken | one | taken in its older form |
/// | [`Profile::apple`] | optional | taken | one | taken in its older form |
///
/// ```
/// use caep_set::Profile;
///
/// let profile = Profile::ssf().with_critical_subject_members(["tenant"]);
/// # let _ = profile;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) dialect: Dialect,
    pub(crate) leeway: Duration,
    pub(crate) critical: Vec<Box<str>>,
    pub(crate) aliases: Vec<Vec<Box<str>>>,
    pub(crate) only_known_members: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Ssf,
    Rfc8417,
    Scim,
    GoogleRisc,
    Apple,
}

impl Dialect {
    /// Whether the subject must be in `sub_id`.
    pub(crate) fn requires_subject_id(self) -> bool {
        matches!(self, Self::Ssf | Self::Scim)
    }

    /// Whether `sub` and `exp` must not be there.
    pub(crate) fn forbids_sub(self) -> bool {
        matches!(self, Self::Ssf | Self::Scim)
    }

    /// Whether there may be several events that are not the same.
    pub(crate) fn allows_several_events(self) -> bool {
        matches!(self, Self::Rfc8417 | Self::Scim)
    }

    /// Whether forms from before the standards were final are taken.
    pub(crate) fn is_legacy(self) -> bool {
        matches!(self, Self::GoogleRisc | Self::Apple)
    }

    /// Whether `typ` may be missing or `JWT`: a receiver of these takes whatever is signed by the right
    /// key, for it, and has `events`.
    pub(crate) fn allows_untyped(self) -> bool {
        self.is_legacy()
    }
}

impl Profile {
    /// How far ahead the clock of a transmitter may be, by default.
    pub const LEEWAY: Duration = Duration::from_secs(60);

    /// Shared Signals Framework 1.0, strictly. The one to use.
    pub fn ssf() -> Self {
        Self::new(Dialect::Ssf)
    }

    /// RFC 8417 alone: what any SET must be.
    pub fn rfc8417() -> Self {
        Self::new(Dialect::Rfc8417)
    }

    /// SCIM events between peers that do not use SSF (RFC 9967).
    pub fn scim() -> Self {
        Self::new(Dialect::Scim)
    }

    /// Google's RISC: the subject stands in the payload and says `subject_type`.
    pub fn google_risc() -> Self {
        Self::new(Dialect::GoogleRisc)
    }

    /// Apple Business Manager and others that stayed with the first implementer's draft: the subject
    /// stands in the payload, and a complex one does not say so.
    pub fn apple() -> Self {
        Self::new(Dialect::Apple)
    }

    /// How far ahead the clock of a transmitter may be: `iat` and the times of events.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The parts of complex subjects that must be understood (`critical_subject_members`,
    /// SSF 1.0 §3.6): an event with one that is not is to be discarded.
    #[must_use]
    pub fn with_critical_subject_members<'n>(
        mut self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.critical.extend(names.into_iter().map(Box::from));
        self
    }

    /// URIs that name the same type of event, so that they may stand beside each other in one SET
    /// (SSF 1.0 §4.2.1).
    #[must_use]
    pub fn with_event_aliases<'n>(mut self, uris: impl IntoIterator<Item = &'n str>) -> Self {
        self.aliases.push(uris.into_iter().map(Box::from).collect());
        self
    }

    /// Subjects must not have members that their format does not name: RFC 9493 §3 by the letter, which
    /// SSF 1.0 §4.2.3 relaxes.
    #[must_use]
    pub fn with_only_known_subject_members(mut self) -> Self {
        self.only_known_members = true;
        self
    }

    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            leeway: Self::LEEWAY,
            critical: Vec::new(),
            aliases: Vec::new(),
            only_known_members: false,
        }
    }

    /// Whether both URIs name the same type of event.
    pub(crate) fn are_aliases(&self, one: &str, two: &str) -> bool {
        self.aliases.iter().any(|uris| {
            let mut has = [one, two]
                .into_iter()
                .map(|uri| uris.iter().any(|known| **known == *uri));
            has.all(|has| has)
        })
    }
}
