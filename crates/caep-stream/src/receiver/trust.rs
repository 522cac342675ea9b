//! `TrustMatrix`: whose word counts for what: issuer, type of event, whom it is about, tenant.

use caep_set::{Event, SecurityEventToken, SubjectId};

use crate::receiver::namespace::Namespace;

/// What is done with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "receivers say what they do with each"
)]
pub enum Trust {
    /// What it voids is voided.
    Act,
    /// It is told to the application, and nothing is done.
    Advise,
    /// It is acknowledged, counted, and forgotten.
    Ignore,
}

/// Whose word counts for what. What no rule speaks of is ignored.
///
/// Rules are looked at in their order, and the first that fits decides. A rule fits if the issuer is its
/// issuer, the type of the event one of its types, **every part** of the subject in one of its
/// namespaces, and the tenant its tenant: a transmitter speaks for its own names, and a subject of which a
/// part is not understood is nobody's.
///
/// ```
/// use caep_set::{Event, SessionRevoked};
/// use caep_stream::receiver::{Namespace, Trust, TrustMatrix, TrustRule};
///
/// let matrix = TrustMatrix::new()
///     .with(
///         TrustRule::new("https://idp.example", Trust::Act)
///             .about(Namespace::issuer("https://idp.example"))
///             .about(Namespace::own()),
///     )
///     // The device management may say what it likes; it revokes nothing.
///     .with(TrustRule::new("https://mdm.example", Trust::Advise).about(Namespace::danger_any()));
/// # let _ = (matrix, Event::from(SessionRevoked::new()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TrustMatrix {
    rules: Vec<TrustRule>,
}

/// One line of a [`TrustMatrix`].
#[derive(Clone, Debug)]
pub struct TrustRule {
    issuer: Box<str>,
    trust: Trust,
    /// Of any type, if there is none.
    events: Option<Vec<Box<str>>>,
    namespaces: Vec<Namespace>,
    tenant: Option<SubjectId>,
}

impl TrustRule {
    /// Events of `issuer` get `trust`: those of any type, about nobody yet.
    pub fn new(issuer: &str, trust: Trust) -> Self {
        Self {
            issuer: Box::from(issuer),
            trust,
            events: None,
            namespaces: Vec::new(),
            tenant: None,
        }
    }

    /// Only events of these types, by their URIs; called again, of these as well.
    #[must_use]
    pub fn for_events<'u>(mut self, uris: impl IntoIterator<Item = &'u str>) -> Self {
        let uris = uris.into_iter().map(Box::from);
        self.events.get_or_insert_default().extend(uris);
        self
    }

    /// Events about subjects in `namespace` as well.
    #[must_use]
    pub fn about(mut self, namespace: Namespace) -> Self {
        self.namespaces.push(namespace);
        self
    }

    /// Only events whose subject has exactly this `tenant` as a part of it. Such an event is taken to be
    /// about this tenant alone, so that its other parts may be acted upon.
    #[must_use]
    pub fn in_tenant(mut self, tenant: SubjectId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    fn fits(&self, issuer: &str, event: &str, subject: &SubjectId) -> bool {
        let is_event = match &self.events {
            Some(uris) => uris.iter().any(|uri| **uri == *event),
            None => true,
        };
        let is_tenant = match &self.tenant {
            Some(tenant) => subject.part("tenant") == Some(tenant),
            None => true,
        };
        *self.issuer == *issuer && is_event && is_tenant && self.covers(subject)
    }

    fn covers(&self, subject: &SubjectId) -> bool {
        let has = |simple: &SubjectId| self.namespaces.iter().any(|space| space.has(simple));
        match subject.format() {
            caep_set::Format::Complex { parts } => parts.iter().all(|(name, part)| {
                // It was compared as a whole.
                &**name == "tenant" && self.tenant.is_some() || has(part)
            }),
            caep_set::Format::Aliases { identifiers } => identifiers.iter().all(has),
            _ => has(subject),
        }
    }
}

/// What a [`TrustMatrix`] says of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) trust: Trust,
    /// The tenant of the subject is the one that the rule is for.
    pub(crate) is_tenant_settled: bool,
}

impl TrustMatrix {
    /// Nobody is believed anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more rule, behind those that there are.
    #[must_use]
    pub fn with(mut self, rule: TrustRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// What is done with what `token` says: with that of its events that is believed most. Whether it is
    /// authentic is not asked here.
    pub fn judge(&self, token: &SecurityEventToken) -> Trust {
        let all = token.events().iter();
        let all: Vec<Trust> = all
            .map(|event| self.judgement_of(token, event).trust)
            .collect();
        let mut most = [Trust::Act, Trust::Advise].into_iter();
        most.find(|trust| all.contains(trust))
            .unwrap_or(Trust::Ignore)
    }

    pub(crate) fn judgement_of(&self, token: &SecurityEventToken, event: &Event) -> Judgement {
        let found = token.subject().and_then(|subject| {
            let mut rules = self.rules.iter();
            rules.find(|rule| rule.fits(token.issuer(), event.uri(), subject))
        });
        Judgement {
            trust: found.map_or(Trust::Ignore, |rule| rule.trust),
            is_tenant_settled: found.is_some_and(|rule| rule.tenant.is_some()),
        }
    }
}
