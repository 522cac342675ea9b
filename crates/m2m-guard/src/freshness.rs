//! `Freshness`: how old what a check goes by may be, and how old it was.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2m_types::Timestamp;

use crate::guard::hook::{self, catching};
use crate::refusal::Refusal;

/// How old what a check goes by may be, before the check says no.
///
/// There is no default: whoever builds a guard says where the truth is, or out loud that its age is of no
/// matter.
#[derive(Clone)]
pub struct Freshness {
    rule: Rule,
}

#[derive(Clone)]
enum Rule {
    InProcess,
    Within(Duration, Source),
    AnyAge(Source),
}

#[derive(Clone)]
enum Source {
    Confirmed(Arc<LastConfirmed>),
    Asked(Arc<dyn Fn(Timestamp) -> Option<Duration> + Send + Sync>),
}

impl Freshness {
    /// It is the truth itself, changed in this process and nowhere else: it has no age.
    pub const fn in_process() -> Self {
        Self {
            rule: Rule::InProcess,
        }
    }

    /// It follows a truth elsewhere, and is refused when nobody has confirmed it for longer than `limit`,
    /// or ever.
    pub fn confirmed_within(limit: Duration, confirmed: Arc<LastConfirmed>) -> Self {
        Self {
            rule: Rule::Within(limit, Source::Confirmed(confirmed)),
        }
    }

    /// As [`Freshness::confirmed_within`], where `age` says how old it is; [`None`] if nobody knows. It is
    /// asked for every call: it should be a load or two, as `StoredRevocations::staleness` is.
    pub fn within(
        limit: Duration,
        age: impl Fn(Timestamp) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rule: Rule::Within(limit, Source::Asked(Arc::new(age))),
        }
    }

    /// It may be as old as it is: its age is only told. **Who keeps news from this process decides what
    /// it goes by.**
    pub fn danger_any_age(
        age: impl Fn(Timestamp) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rule: Rule::AnyAge(Source::Asked(Arc::new(age))),
        }
    }

    /// The age now, and the limit that it exceeds, if it does.
    #[inline]
    pub(crate) fn look(&self, now: Timestamp) -> Result<(Age, Option<Duration>), Refusal> {
        let (limit, source) = match &self.rule {
            Rule::InProcess => return Ok((Age::InProcess, None)),
            Rule::Within(limit, source) => (Some(*limit), source),
            Rule::AnyAge(source) => (None, source),
        };
        let age = match source {
            Source::Confirmed(confirmed) => confirmed.age(now),
            Source::Asked(ask) => catching(hook::AGES, || ask(now))?,
        };
        Ok(match age {
            Some(age) => (Age::Confirmed(age), limit.filter(|limit| age > *limit)),
            None => (Age::Never, limit),
        })
    }
}

impl fmt::Debug for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Rule::InProcess => f.write_str("Freshness(in process)"),
            Rule::Within(limit, _) => write!(f, "Freshness(within {limit:?})"),
            Rule::AnyAge(_) => f.write_str("Freshness(any age)"),
        }
    }
}

/// When something that is followed was last known to be as it is at its origin. Whoever follows it tells;
/// a guard asks, at the price of a load.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use m2m_guard::{Freshness, LastConfirmed};
/// use m2m_types::Timestamp;
///
/// let now = Timestamp::from_unix_seconds(1_700_000_000)?;
/// let confirmed = Arc::new(LastConfirmed::never());
/// let freshness = Freshness::confirmed_within(Duration::from_secs(300), Arc::clone(&confirmed));
/// assert_eq!(confirmed.age(now), None);
///
/// // Each time the keys, lists or revocations were fetched, also when nothing had changed:
/// confirmed.confirm(now);
/// assert_eq!(confirmed.age(now.saturating_add(Duration::from_secs(7))), Some(Duration::from_secs(7)));
/// # let _ = freshness;
/// # Ok::<(), m2m_types::TimestampError>(())
/// ```
#[derive(Debug, Default)]
pub struct LastConfirmed {
    /// Seconds, and one more; 0 is never.
    seconds: AtomicU64,
}

impl LastConfirmed {
    /// Nobody has confirmed it yet.
    pub const fn never() -> Self {
        Self {
            seconds: AtomicU64::new(0),
        }
    }

    /// At `at` it was as it is at its origin. An earlier time than one that was told changes nothing.
    pub fn confirm(&self, at: Timestamp) {
        self.seconds
            .fetch_max(at.unix_seconds() + 1, Ordering::Release);
    }

    /// How long ago that was at `now`; [`None`] if it never was.
    #[inline]
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let seconds = self.seconds.load(Ordering::Acquire).checked_sub(1)?;
        let age = now.unix_seconds().saturating_sub(seconds);
        Some(Duration::from_secs(age))
    }
}

/// How old something was when it was asked.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Age {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It is changed in this process: it has none.
    InProcess,
    /// It was confirmed that long ago.
    Confirmed(Duration),
    /// Nobody has confirmed it.
    Never,
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked"),
            Self::InProcess => f.write_str("in process"),
            Self::Confirmed(age) => write!(f, "{} s old", age.as_secs()),
            Self::Never => f.write_str("never confirmed"),
        }
    }
}

/// What a check goes by.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The keys of issuers.
    Keys,
    /// Certificate revocation lists.
    Crls,
    /// The revocations that all kinds of credentials are looked up in.
    Revocations,
}

impl Basis {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Keys, Self::Crls, Self::Revocations];

    m2m_types::codes! {
        pub fn code;
        Self::Keys => "keys",
        Self::Crls => "crls",
        Self::Revocations => "revocations",
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "keys",
            Self::Crls => "CRLs",
            Self::Revocations => "revocations",
        })
    }
}

/// How old each thing was that an answer went by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ages {
    pub(crate) keys: Age,
    pub(crate) crls: Age,
    pub(crate) revocations: Age,
}

impl Ages {
    /// Of one of them.
    pub const fn of(&self, basis: Basis) -> Age {
        match basis {
            Basis::Keys => self.keys,
            Basis::Crls => self.crls,
            Basis::Revocations => self.revocations,
        }
    }

    pub(crate) fn set(&mut self, basis: Basis, age: Age) {
        match basis {
            Basis::Keys => self.keys = age,
            Basis::Crls => self.crls = age,
            Basis::Revocations => self.revocations = age,
        }
    }
}

impl fmt::Display for Ages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "keys {}, CRLs {}, revocations {}",
            self.keys, self.crls, self.revocations
        )
    }
}
