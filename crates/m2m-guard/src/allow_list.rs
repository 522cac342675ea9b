//! `AllowList`: a caller may do what is named for it, and nothing else.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::RandomState;
use m2m_types::{ServiceId, ServiceIdRef, TrustDomain};

use crate::call::Call;
use crate::canonical_path::{CanonicalPath, PathProblem};
use crate::decision::{Decide, Decision, Denial, Remedy};
use crate::proven::Proven;

/// Allows what the application names, caller by caller. An empty one allows nothing.
///
/// A look-up costs the same whatever the number of callers, and allocates nothing. What is asked for is
/// compared byte by byte; a path is looked up only in its one canonical form ([`CanonicalPath`]).
///
/// ```
/// use m2m_guard::{AllowList, Grant, Resources};
///
/// let billing = "spiffe://example.org/billing".parse()?;
/// let list = AllowList::new()
///     .allow(&billing, Grant::new("GET", Resources::under("/orders")?))
///     .allow(&billing, Grant::new("POST", Resources::exactly("/orders")).requiring_scope("orders:write"));
/// # let _ = list;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    // Who is asked for chooses a name, and not where the names lie that are there.
    callers: HashMap<Box<str>, Grants, RandomState>,
    domains: HashMap<Box<str>, Grants, RandomState>,
}

/// One action on some resources, maybe with a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    action: Box<str>,
    resources: Resources,
    scope: Option<Box<str>>,
}

/// Which resources a [`Grant`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    reach: Reach,
    name: Box<str>,
    /// See [`is_clear`].
    is_clear: bool,
}

/// A path that nothing can be under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path that others lie under: {0}")]
pub struct ResourcesError(PathProblem);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Exactly,
    Under,
    All,
}

impl Resources {
    /// The one with this name. A path that is not a [`CanonicalPath`] is never asked for.
    pub fn exactly(name: &str) -> Self {
        Self {
            reach: Reach::Exactly,
            name: name.into(),
            is_clear: is_clear(name),
        }
    }

    /// The one at `path` and all whose paths go on from there, by whole segments: `/orders` covers
    /// `/orders/17`, and not `/orders-of-others`.
    ///
    /// # Errors
    ///
    /// [`ResourcesError`] if `path` is not a [`CanonicalPath`].
    pub fn under(path: &str) -> Result<Self, ResourcesError> {
        let path = CanonicalPath::parse(path).map_err(ResourcesError)?;
        let path = path.as_str();
        Ok(Self {
            reach: Reach::Under,
            name: path.strip_suffix('/').unwrap_or(path).into(),
            is_clear: true,
        })
    }

    /// All there are, also those that come later.
    pub fn all() -> Self {
        Self {
            reach: Reach::All,
            name: Box::default(),
            is_clear: true,
        }
    }
}

impl Grant {
    /// `action` on `resources`.
    pub fn new(action: &str, resources: Resources) -> Self {
        Self {
            action: action.into(),
            resources,
            scope: None,
        }
    }

    /// Only with a token whose `scope` contains `scope`.
    #[must_use]
    pub fn requiring_scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.into());
        self
    }

    fn place(&self) -> (&str, Reach, &str) {
        (&self.action, self.resources.reach, &self.resources.name)
    }

    /// Whether it is about `resource`. Of a path with two meanings nobody knows what it is about; what
    /// stands in the grant has one, so only what goes beyond that is looked at.
    #[inline]
    fn covers(&self, resource: &str) -> bool {
        let name = &*self.resources.name;
        match self.resources.reach {
            Reach::All => is_clear(resource),
            Reach::Exactly => *name == *resource && self.resources.is_clear,
            Reach::Under => {
                let beyond = resource.strip_prefix(name);
                // Below the root all of it goes beyond.
                let is_whole = |beyond: &str| beyond.is_empty() && !name.is_empty();
                beyond.is_some_and(|b| is_whole(b) || CanonicalPath::parse(b).is_ok())
            }
        }
    }
}

/// Whether `resource` is no path, or one with one meaning.
fn is_clear(resource: &str) -> bool {
    !resource.starts_with('/') || CanonicalPath::parse(resource).is_ok()
}

impl AllowList {
    /// Allows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// `caller` may do this as well.
    #[must_use]
    pub fn allow(mut self, caller: &ServiceId, grant: Grant) -> Self {
        let name = caller.as_str();
        self.callers.entry(name.into()).or_default().add(grant);
        self
    }

    /// Every machine of `domain` may do this as well, also those that join later.
    #[must_use]
    pub fn allow_members_of(mut self, domain: &TrustDomain, grant: Grant) -> Self {
        let name = domain.as_str();
        self.domains.entry(name.into()).or_default().add(grant);
        self
    }

    /// How many callers are named.
    pub fn len(&self) -> usize {
        self.callers.len()
    }

    /// Whether nobody may do anything.
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty() && self.domains.is_empty()
    }

    fn of_domain(&self, caller: &str) -> Option<&Grants> {
        if self.domains.is_empty() {
            return None;
        }
        let caller = ServiceIdRef::parse(caller).ok()?;
        let (_, rest) = caller.as_str().split_once("://")?;
        let (domain, _) = rest.split_once('/')?;
        self.domains.get(domain)
    }
}

impl Decide for AllowList {
    fn decide(&self, caller: &Proven<'_>, call: &Call<'_>) -> Decision {
        let name = caller.name();
        let own = self.callers.get(name);
        let mut lacks = None;
        for grants in own.into_iter().chain(self.of_domain(name)) {
            match grants.find(call, |scope| caller.has_scope(scope)) {
                Found::Granted => return Decision::Allow,
                Found::Lacks(scope) => lacks = lacks.or(Some(scope)),
                Found::Nothing => {}
            }
        }
        Decision::Deny(denial(own.is_some(), lacks))
    }
}

#[cold]
#[inline(never)]
fn denial(is_known: bool, lacks: Option<&str>) -> Denial {
    match lacks {
        Some(scope) => Denial::new("the token lacks a scope that the grant requires")
            .with_remedy(Remedy::Scope(scope.into())),
        None if is_known => Denial::new("the caller may not do this to that"),
        None => Denial::new("the caller may do nothing here"),
    }
}

/// The grants of one caller, sorted by [`Grant::place`].
#[derive(Clone, Default)]
struct Grants {
    sorted: Vec<Grant>,
    /// The most slashes in a path that others lie under.
    deepest: usize,
}

/// As many grants are looked at one by one sooner than they are searched.
const FEW: usize = 8;

enum Found<'a> {
    Granted,
    Lacks(&'a str),
    Nothing,
}

impl Grants {
    fn add(&mut self, grant: Grant) {
        if grant.resources.reach == Reach::Under {
            let depth = grant.resources.name.matches('/').count();
            self.deepest = self.deepest.max(depth);
        }
        // Behind its equals: the same with and without a scope are two ways in.
        let at = self.sorted.partition_point(|g| g.place() <= grant.place());
        self.sorted.insert(at, grant);
    }

    fn find(&self, call: &Call<'_>, has_scope: impl Fn(&str) -> bool) -> Found<'_> {
        let (action, resource) = (call.action(), call.resource());
        if self.sorted.len() <= FEW {
            let fits = |grant: &&Grant| *grant.action == *action && grant.covers(resource);
            return judge(self.sorted.iter().filter(fits), has_scope);
        }
        let exactly = self.at((action, Reach::Exactly, resource));
        let all = self.at((action, Reach::All, ""));
        let ends = resource.match_indices('/').map(|(at, _)| at);
        let ends = ends.take(self.deepest + 1).chain([resource.len()]);
        let above = ends.flat_map(|end| {
            let above = resource.get(..end).unwrap_or_default();
            self.at((action, Reach::Under, above))
        });
        let fitting = exactly.chain(all).chain(above);
        judge(fitting.filter(|grant| grant.covers(resource)), has_scope)
    }

    /// The grants of this place.
    fn at<'q>(
        &self,
        place: (&'q str, Reach, &'q str),
    ) -> impl Iterator<Item = &Grant> + use<'_, 'q> {
        let from = self.sorted.partition_point(|grant| grant.place() < place);
        let rest = self.sorted.get(from..).unwrap_or_default();
        rest.iter().take_while(move |grant| grant.place() == place)
    }
}

/// Whether one of these grants, which all fit, has its scope.
fn judge<'g>(
    fitting: impl Iterator<Item = &'g Grant>,
    has_scope: impl Fn(&str) -> bool,
) -> Found<'g> {
    let mut found = Found::Nothing;
    for grant in fitting {
        match &grant.scope {
            Some(scope) if !has_scope(scope) => found = Found::Lacks(scope),
            _ => return Found::Granted,
        }
    }
    found
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.sorted).finish()
    }
}
