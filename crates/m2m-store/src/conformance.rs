//! What every store promises, as programs that a store which breaks a promise does not pass.
//!
//! For those who write a backend. Each [`Case`] is given a fresh, empty store and uses nothing but
//! [`Store`]; it needs no particular runtime. It waits for many futures at once, inside the task in
//! which it is polled or, with [`Case::run_on`], in as many tasks as it wants:
//!
//! ```
//! use std::sync::Arc;
//! use m2m_store::{MemoryStore, conformance};
//!
//! for case in conformance::cases() {
//!     let store = Arc::new(MemoryStore::new());
//!     if let Err(violation) = pollster::block_on(case.run(store)) {
//!         panic!("{violation}");
//!     }
//! }
//! ```
//!
//! On tokio, `case.run_on(store, |task| drop(tokio::spawn(task)))`. Where each case is to be a test
//! of its own, [`Case::name`] tells them apart; a name that begins with `STO-` is that of a case of
//! abuse. Stores that forget deletions also run [`check_pruning`].
//!
//! A store that never answers makes a case wait forever; only for [`Store::changed`] does it stop
//! waiting after some seconds. All cases together commit some three thousand times.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Revision, Store};

use self::setting::{Setting, Spawn};

/// The cases of a file, in its order.
macro_rules! cases {
    ($($name:literal => $run:ident),* $(,)?) => {
        &[$($crate::conformance::Case {
            name: $name,
            run: |setting| Box::pin($run(setting)),
        }),*]
    };
}

mod commit;
mod feed;
mod idempotency;
mod limits;
mod model;
mod pruning;
mod race;
mod scan;
mod setting;

/// One promise of a store, as a program that fails if it is not kept.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(Setting) -> Running,
}

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {promise}: expected {expected}, found {found}")]
pub struct Violation {
    case: &'static str,
    promise: String,
    expected: String,
    found: String,
}

// Boxed so that all cases are of one type.
type Running = Pin<Box<dyn Future<Output = Result<(), Violation>> + Send>>;

/// A part of a case that runs beside the others, for [`Case::run_on`].
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// All cases. Each wants a store of its own.
pub fn cases() -> impl Iterator<Item = Case> {
    [
        commit::CASES,
        idempotency::CASES,
        limits::CASES,
        scan::CASES,
        feed::CASES,
        race::CASES,
        model::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// One more case, for stores that can forget what was deleted: `prune` has to forget all deletions
/// up to a revision, or up to the head if that is before, and no other. `store` is empty and used
/// by nobody else.
///
/// ```
/// use std::sync::Arc;
/// use m2m_store::{MemoryStore, conformance};
///
/// let store = Arc::new(MemoryStore::new());
/// let prune = async |until| store.prune(until);
/// let kept = pollster::block_on(conformance::check_pruning(store.clone(), prune));
/// assert_eq!(kept, Ok(()));
/// ```
///
/// # Errors
///
/// [`Violation`], for the first promise that is not kept.
pub async fn check_pruning<F: Future<Output = ()>>(
    store: Arc<dyn Store>,
    prune: impl Fn(Revision) -> F,
) -> Result<(), Violation> {
    let named = |violation| Violation {
        case: "what was deleted can be forgotten, and nobody misses it",
        ..violation
    };
    let setting = Setting::new(store, None);
    pruning::check(setting, prune).await.map_err(named)
}

impl Case {
    /// What is promised.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Tries it on `store`, which is empty and used by nobody else.
    ///
    /// # Errors
    ///
    /// [`Violation`], for the first promise that is not kept.
    pub async fn run(self, store: Arc<dyn Store>) -> Result<(), Violation> {
        self.start(Setting::new(store, None)).await
    }

    /// [`Case::run`], where `spawn` runs a task beside the others, on another thread if possible:
    /// finds races that one thread does not show.
    ///
    /// # Errors
    ///
    /// [`Violation`], for the first promise that is not kept.
    pub async fn run_on(
        self,
        store: Arc<dyn Store>,
        spawn: impl Fn(Task) + Send + Sync + 'static,
    ) -> Result<(), Violation> {
        let spawn: Spawn = Arc::new(spawn);
        self.start(Setting::new(store, Some(spawn))).await
    }

    async fn start(self, setting: Setting) -> Result<(), Violation> {
        let named = |violation| Violation {
            case: self.name,
            ..violation
        };
        (self.run)(setting).await.map_err(named)
    }
}

impl Violation {
    /// In which case.
    pub fn case(&self) -> &'static str {
        self.case
    }

    /// What was looked at.
    pub fn promise(&self) -> &str {
        &self.promise
    }

    /// What should have been found.
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// What was found.
    pub fn found(&self) -> &str {
        &self.found
    }

    fn new(
        promise: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            case: "",
            promise: promise.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({:?})", self.name)
    }
}
