//! `KeyFollower`: keeps an issuer's keys as they are at the issuer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_guard::LastConfirmed;
use m2m_token::{FetchError, KeySet, RemoteKeySet, Response};
use m2m_types::{Clock, ClockError, Live, Timestamp};
use tokio::sync::Notify;

use super::client::{FetchFailure, Fetcher};
use super::url::FetchUrl;
use crate::observe::{Task, TaskReporter, quietly};

/// Keeps the keys of an issuer elsewhere as they are there: [`RemoteKeySet`], with the fetching done.
///
/// Nothing happens until [`KeyFollower::run`] is polled, and nothing goes on when it is dropped.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use m2m_guard::Freshness;
/// # use m2m_token::{Issuers, RemoteKeySet};
/// # use m2m_tower::{FetchUrl, Fetcher, KeyFollower};
/// # async fn example(fetcher: Fetcher, clock: Arc<dyn m2m_types::Clock>) -> Result<(), Box<dyn std::error::Error>> {
/// let url = FetchUrl::parse("https://issuer.example/.well-known/jwks.json")?;
/// let follower = KeyFollower::new(fetcher, url, RemoteKeySet::new(), clock);
/// let issuers = Issuers::one("https://issuer.example", follower.keys());
/// let fresh = Freshness::confirmed_within(Duration::from_secs(3600), follower.confirmed());
/// // … build the guard with these, and then, beside the server:
/// follower.run().await;
/// # let _ = (issuers, fresh);
/// # Ok(())
/// # }
/// ```
pub struct KeyFollower {
    fetcher: Fetcher,
    url: FetchUrl,
    remote: RemoteKeySet,
    clock: Arc<dyn Clock>,
    confirmed: Arc<LastConfirmed>,
    unknown: UnknownKeys,
    observe: Box<dyn Fn(&FollowEvent) + Send + Sync>,
    reporter: TaskReporter,
}

/// Tells a [`KeyFollower`] that a token named a key that is not known. Cloning copies a pointer.
#[derive(Clone, Debug, Default)]
pub struct UnknownKeys {
    notify: Arc<Notify>,
}

impl UnknownKeys {
    /// A token named a key that is not known ([`m2m_token::VerifyError::KeyUnknown`]). Any number of calls
    /// lead to one fetch, and not before the cool-down of [`RemoteKeySet`] is over.
    pub fn met_one(&self) {
        self.notify.notify_one();
    }
}

/// What happened to a [`KeyFollower`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The issuer's keys were confirmed.
    Confirmed {
        /// How many there are.
        keys: usize,
    },
    /// They could not be fetched. Those that are held stay in use until they are too old.
    Failed(FetchFailure),
    /// What was fetched was not taken.
    Refused(FetchError),
    /// What time it is is not known, so nothing is done.
    Clock(ClockError),
}

impl KeyFollower {
    /// How soon to try again when the clock does not work.
    const PAUSE: Duration = Duration::from_secs(1);
    const MEDIA_TYPES: &str = "application/jwk-set+json, application/json";

    /// Fetches the set of `remote` from `url`.
    pub fn new(
        fetcher: Fetcher,
        url: FetchUrl,
        remote: RemoteKeySet,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            fetcher,
            url,
            remote,
            clock,
            confirmed: Arc::default(),
            unknown: UnknownKeys::default(),
            observe: Box::new(|_| ()),
            reporter: TaskReporter::new(Task::KeyFetch),
        }
    }

    /// Tells `observe` what happens. If it panics, the keys are followed nevertheless.
    #[must_use]
    pub fn with_observer(mut self, observe: impl Fn(&FollowEvent) + Send + Sync + 'static) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// Tells `reporter` how fetches end; it should be one of [`Task::KeyFetch`].
    #[must_use]
    pub fn with_reporter(mut self, reporter: TaskReporter) -> Self {
        self.reporter = reporter;
        self
    }

    /// The keys, for verifiers.
    pub fn keys(&self) -> Arc<Live<KeySet>> {
        self.remote.keys()
    }

    /// When they were last confirmed, for [`m2m_guard::Freshness::confirmed_within`].
    pub fn confirmed(&self) -> Arc<LastConfirmed> {
        Arc::clone(&self.confirmed)
    }

    /// What to tell of keys that are not known.
    pub fn unknown_keys(&self) -> UnknownKeys {
        self.unknown.clone()
    }

    /// Follows, for ever: drop it to stop.
    pub async fn run(mut self) -> std::convert::Infallible {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    self.tell(&FollowEvent::Clock(error), None);
                    Self::PAUSE
                }
            };
            let notified = self.unknown.notify.notified();
            if tokio::time::timeout(pause, notified).await.is_ok() {
                self.remote.handle_unknown_key();
            }
        }
    }

    /// What those who are told do wrong is not to stop the following.
    fn tell(&self, event: &FollowEvent, now: Option<Timestamp>) {
        quietly(|| (self.observe)(event));
        match (event, now) {
            (FollowEvent::Confirmed { .. }, Some(now)) => self.reporter.done(now),
            (FollowEvent::Confirmed { .. }, None) => (),
            (FollowEvent::Failed(failure), _) => self.reporter.failed(failure),
            (FollowEvent::Refused(error), _) => self.reporter.refused(error),
            (FollowEvent::Clock(error), _) => self.reporter.failed(error),
        }
    }

    /// Fetches if it is time to, and says how long to wait for the next.
    async fn step(&mut self) -> Result<Duration, ClockError> {
        while let Some(fetch) = self.remote.poll_fetch(self.clock.now()?) {
            let fetched = self.fetcher.fetch(&self.url, Self::MEDIA_TYPES).await;
            let now = self.clock.now()?;
            let event = match fetched {
                Err(failure) => {
                    self.remote.handle_failure(fetch.id(), now);
                    FollowEvent::Failed(failure)
                }
                Ok(fetched) => {
                    let mut response = Response::new(&fetched.body);
                    if let Some(max_age) = fetched.max_age {
                        response = response.with_max_age(max_age);
                    }
                    if let Some(generated) = fetched.generated {
                        response = response.with_generated_at(generated);
                    }
                    match self.remote.handle_response(fetch.id(), &response, now) {
                        Ok(set) => {
                            self.confirmed.confirm(now);
                            FollowEvent::Confirmed { keys: set.len() }
                        }
                        Err(error) => FollowEvent::Refused(error),
                    }
                }
            };
            self.tell(&event, Some(now));
        }
        let (next, now) = (self.remote.poll_timeout(), self.clock.now()?);
        Ok(next.checked_since(now).unwrap_or_default().max(Self::PAUSE))
    }
}

impl fmt::Debug for KeyFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFollower")
            .field("url", &self.url)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
