//! Events and spans of `tracing`, all of the target `m2m`. A subscriber that panics is not heard of here.
//!
//! No span is ever entered: what a subscriber does then it could do wrong in the middle of a request, and
//! where spans are left cannot be seen to. Events name their span instead.

use std::fmt;
#[cfg(feature = "tls")]
use std::time::Duration;

use m2m_guard::{Age, Basis, Caller, Rejection};
use tracing::field::Empty;
use tracing::{Level, Span};

use super::quietly;
use super::task::{Outcome, Task};
use crate::refused::Refused;

/// A span that was begun. It ends when this is dropped, whatever the subscriber does then.
pub(crate) struct Kept(Option<Span>);

impl Kept {
    fn new(begin: impl FnOnce() -> Span) -> Option<Self> {
        let span = quietly(begin)?;
        (!span.is_disabled()).then(|| Self(Some(span)))
    }

    fn with(&self, use_it: impl FnOnce(&Span)) {
        if let Some(span) = &self.0 {
            quietly(|| use_it(span));
        }
    }

    fn id(&self) -> Option<tracing::Id> {
        self.0.as_ref().and_then(Span::id)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let span = self.0.take();
        quietly(|| drop(span));
    }
}

/// One admission, from the first look at the request to the answer or the service behind.
#[inline]
pub(super) fn admission() -> Option<Kept> {
    Kept::new(|| {
        tracing::debug_span!(
            target: "m2m",
            "m2m.admission",
            admitted = Empty,
            caller = Empty,
            code = Empty,
            detail = Empty,
        )
    })
}

pub(super) fn admitted(span: &Kept, caller: &Caller) {
    span.with(|span| {
        span.record("admitted", true);
        span.record("caller", caller.service_id().as_str());
    });
}

pub(super) fn not_admitted(span: &Kept, refused: &Refused) {
    span.with(|span| {
        span.record("admitted", false);
        span.record("code", refused.code());
        span.record("detail", refused.detail());
        if let Some(caller) = refused.caller() {
            span.record("caller", caller.as_str());
        }
    });
}

/// An event within a span, if there is one; else within what the caller is in.
macro_rules! event_in {
    ($span:expr, $level:expr, $name:literal, $($fields:tt)+) => {
        match $span.and_then(Kept::id) {
            Some(id) => tracing::event!(name: $name, target: "m2m", parent: id, $level, $($fields)+),
            None => tracing::event!(name: $name, target: "m2m", $level, $($fields)+),
        }
    };
}

/// Why a request was refused.
pub(crate) fn refused(refused: &Refused, is_let_through: bool, left_out: u64, span: Option<&Kept>) {
    let age = |basis| {
        let age = refused.ages().map(|ages| ages.of(basis));
        match age {
            Some(Age::Confirmed(age)) => Some(age.as_secs()),
            // As in metrics: older than any.
            Some(Age::Never) => Some(u64::MAX),
            _ => None,
        }
    };
    let (keys, crls, revocations) = (age(Basis::Keys), age(Basis::Crls), age(Basis::Revocations));
    let rejection = refused.rejection();
    let told = rejection.map_or("invalid_request", |rejection| rejection.code());
    macro_rules! tell {
        ($level:expr) => {
            event_in!(
                span,
                $level,
                "m2m.refused",
                code = refused.code(),
                detail = refused.detail(),
                check = refused.check().map(|check| check.code()),
                credential = refused.credential().map(|credential| credential.code()),
                caller = refused.caller().map(|caller| caller.as_str()),
                told,
                is_let_through,
                keys_age_seconds = keys,
                crls_age_seconds = crls,
                revocations_age_seconds = revocations,
                left_out,
                reason = %refused,
            )
        };
    }
    // What is wrong here wakes somebody; what is wrong with a caller is read.
    match rejection {
        Some(Rejection::Unavailable) => tell!(Level::ERROR),
        _ => tell!(Level::WARN),
    }
}

/// How a run of a task in the background ended.
pub(super) fn task(task: Task, outcome: Outcome, error: Option<&dyn fmt::Display>, left_out: u64) {
    macro_rules! tell {
        ($level:expr) => {
            tracing::event!(
                name: "m2m.task",
                target: "m2m",
                $level,
                task = task.code(),
                outcome = outcome.code(),
                reason = error.map(display),
                left_out,
            )
        };
    }
    match outcome {
        Outcome::Done => tell!(Level::DEBUG),
        Outcome::Failed | Outcome::Refused => tell!(Level::WARN),
    }
}

/// A handshake, from the first byte to the peer or the alert.
#[cfg(feature = "tls")]
pub(crate) fn handshake() -> Option<Kept> {
    Kept::new(|| {
        tracing::debug_span!(
            target: "m2m",
            "m2m.handshake",
            outcome = Empty,
            peer = Empty,
        )
    })
}

/// A handshake came to an end.
#[cfg(feature = "tls")]
pub(crate) fn shaken(span: Option<&Kept>, outcome: &'static str, peer: Option<&str>) {
    if let Some(span) = span {
        span.with(|span| {
            span.record("outcome", outcome);
            span.record("peer", peer);
        });
    }
}

/// Why a connection was not accepted.
#[cfg(feature = "tls")]
pub(crate) fn not_accepted(
    outcome: &'static str,
    error: &dyn fmt::Display,
    took: Duration,
    left_out: u64,
    span: Option<&Kept>,
) {
    let took = took.as_secs_f64();
    quietly(|| {
        event_in!(
            span,
            Level::WARN,
            "m2m.not_accepted",
            outcome,
            took_seconds = took,
            left_out,
            reason = %error,
        );
    });
}
