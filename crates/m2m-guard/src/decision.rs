//! `Decide`: the application's word on whether a caller who is proven may do what it asks for.

use std::borrow::Cow;
use std::time::Duration;

use crate::call::Call;
use crate::proven::Proven;

/// Says whether a caller may do what it asks for. Asked last, when everything else held.
///
/// It is on the way of every call: it should not block. If it panics, that one call is refused and nothing
/// else happens. Every `Fn(&Proven<'_>, &Call<'_>) -> Decision` is one; [`crate::AllowList`] is the one to
/// begin with.
///
/// ```
/// use m2m_guard::{Call, Decision, Denial, Guard, Proven};
///
/// let readers = |caller: &Proven<'_>, call: &Call<'_>| match call.action() {
///     "read" if caller.has_scope("orders:read") => Decision::Allow,
///     _ => Decision::Deny(Denial::new("only reading is for everybody")),
/// };
/// let builder = Guard::builder(readers);
/// # let _ = builder;
/// ```
pub trait Decide: Send + Sync {
    /// Whether `caller` may do `call`.
    fn decide(&self, caller: &Proven<'_>, call: &Call<'_>) -> Decision;
}

impl<F> Decide for F
where
    F: Fn(&Proven<'_>, &Call<'_>) -> Decision + Send + Sync,
{
    fn decide(&self, caller: &Proven<'_>, call: &Call<'_>) -> Decision {
        self(caller, call)
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny(Denial),
}

/// Why a caller may not: a reason for operators, and, where it helps, what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    reason: Cow<'static, str>,
    remedy: Remedy,
}

/// What a caller who was denied can do to come back. **The caller is told.**
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing that it should know of.
    #[default]
    Nothing,
    /// Come with a token that has this scope (RFC 6750 §3.1).
    Scope(Box<str>),
    /// Authenticate anew: what it has is good, and too old for this.
    Reauthenticate,
    /// Ask again after this time.
    Later(Duration),
}

impl Denial {
    /// For this reason, which operators read and the caller does not.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
            remedy: Remedy::Nothing,
        }
    }

    /// The caller is told what to do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = remedy;
        self
    }

    /// Why, for operators.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What the caller is told.
    pub const fn remedy(&self) -> &Remedy {
        &self.remedy
    }
}
