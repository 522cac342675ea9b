//! The hooks: code of the application that a guard asks, and what happens when it panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::refusal::{Check, Refusal, RefusalReason};

pub(crate) const DECISION: &str = "the decision";
pub(crate) const AGES: &str = "a source of ages";
#[cfg(any(feature = "pki", test))]
pub(crate) const TRUST: &str = "the trust in peers";

#[cfg(test)]
pub(crate) const ALL: [&str; 3] = [DECISION, AGES, TRUST];

/// Asks code of the application. Nothing here is left half changed if it panics: it is given shared
/// references alone, and no lock is held.
#[inline]
pub(crate) fn catching<T>(hook: &'static str, ask: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|_| RefusalReason::Panicked { hook }.into())
}

/// Which check asked it.
pub(crate) fn check(hook: &str) -> Check {
    match hook {
        AGES => Check::Freshness,
        DECISION => Check::Decision,
        _ => Check::Certificate,
    }
}
