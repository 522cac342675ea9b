//! `Refresher`: asks for tokens ahead of their end, in the background.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::CertificateThumbprint;
use m2m_types::{Clock, ClockError, Timestamp};

use super::schedule::Schedule;
use super::source::{FreshToken, TokenDemand, TokenSource};
use super::tokens::Tokens;

/// Keeps the [`Tokens`] for one service fresh: asks a [`TokenSource`] for the next one when the last has lived
/// between 57 and 67 hundredths of its life, always at the same point for one name.
///
/// Nothing happens until [`Refresher::run`] is polled, and nothing goes on when that is dropped; the last token
/// is then used until it expires. There is one question at a time. While the source fails, it is asked again
/// after 1, 2, 4, … and at last every 60 seconds, and the last good token stays in use until it expires; from
/// then on calls fail before anything is sent.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use m2m_tower::{MintSource, Origin, Present, RefreshEvent, Refresher};
/// # use m2m_types::{Clock, SystemClock};
/// # async fn example(source: MintSource) -> Result<(), Box<dyn std::error::Error>> {
/// let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
/// let refresher = Refresher::new(source, "spiffe://example.org/orders", Arc::clone(&clock))
///     .with_observer(|event| println!("{event:?}"));
/// let tokens = refresher.tokens();
/// let running = tokio::spawn(refresher.run());
/// tokens.ready().await;
///
/// let layer = Present::new(clock).with_tokens(Origin::parse("https://orders.internal")?, tokens);
/// // … requests through `layer`, and in the end:
/// running.abort();
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Refresher<S: TokenSource> {
    source: S,
    audience: Box<str>,
    clock: Arc<dyn Clock>,
    tokens: Tokens,
    schedule: Schedule,
    binding: Option<Binding>,
    /// The certificate that a token was last asked for.
    asked_for: Option<CertificateThumbprint>,
    limit: Duration,
    observe: Box<Observe<S::Error>>,
}

type Binding = Box<dyn Fn() -> CertificateThumbprint + Send + Sync>;
type Observe<E> = dyn Fn(&RefreshEvent<E>) + Send + Sync;

/// What happened to a [`Refresher`].
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshEvent<E> {
    /// A token came.
    Refreshed {
        /// When it ends.
        expires: Timestamp,
        /// When the next is asked for.
        due: Timestamp,
        /// What it is bound to, if it was to be.
        certificate: Option<CertificateThumbprint>,
    },
    /// None came. The last one stays in use.
    Failed {
        /// Why.
        failure: RefreshFailure<E>,
        /// When the last one ends, if there is one.
        expires: Option<Timestamp>,
        /// When it is tried again.
        due: Timestamp,
    },
    /// What time it is is not known, so nothing is done.
    Clock(ClockError),
}

/// Why no token came.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshFailure<E> {
    /// What the source says.
    #[error("{0}")]
    Source(E),
    /// The source took too long.
    #[error("the source took longer than {limit:?}")]
    Slow {
        /// How long it may take.
        limit: Duration,
    },
    /// The source gave a token that had expired.
    #[error("the source gave a token that expired at {expires}; now is {now}")]
    Expired {
        /// When.
        expires: Timestamp,
        /// The time it was checked against.
        now: Timestamp,
    },
}

impl<S: TokenSource> Refresher<S> {
    /// How long a source may take, unless told otherwise.
    pub const LIMIT: Duration = Duration::from_secs(10);
    /// How often it is looked whether there is another certificate, and what time it is.
    const LOOK: Duration = Duration::from_secs(1);

    /// Tokens of `source` for `audience`.
    pub fn new(source: S, audience: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            audience: audience.into(),
            clock,
            tokens: Tokens::new(),
            schedule: Schedule::new(audience),
            binding: None,
            asked_for: None,
            limit: Self::LIMIT,
            observe: Box::new(|_| ()),
        }
    }

    /// Tells machines that ask the same source for the same audience apart, so that they do not ask at the
    /// same time: the name of this one.
    pub fn with_name(mut self, name: &str) -> Self {
        self.schedule = Schedule::new(&format!("{name} {}", self.audience));
        self
    }

    /// Has tokens bound to the certificate that `certificate` says is shown; another one needs another token,
    /// which is asked for within a second. It should not block.
    pub fn bound_to(
        mut self,
        certificate: impl Fn() -> CertificateThumbprint + Send + Sync + 'static,
    ) -> Self {
        self.binding = Some(Box::new(certificate));
        self
    }

    /// Has tokens bound to the certificate that connections of `tls` show.
    #[cfg(feature = "tls")]
    pub fn bound_to_certificate_of(self, tls: m2m_pki::tls::LiveTls) -> Self {
        self.bound_to(move || *tls.material().identity().certificate().thumbprint())
    }

    /// Gives the source this long.
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Tells `observe` what happens. It should not block.
    pub fn with_observer(
        mut self,
        observe: impl Fn(&RefreshEvent<S::Error>) + Send + Sync + 'static,
    ) -> Self {
        self.observe = Box::new(observe);
        self
    }

    /// What it keeps fresh.
    pub fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// Refreshes, for ever: drop it to stop.
    pub async fn run(mut self) -> Infallible {
        loop {
            let pause = match self.step().await {
                Ok(pause) => pause,
                Err(error) => {
                    (self.observe)(&RefreshEvent::Clock(error));
                    Self::LOOK
                }
            };
            let woken = tokio::time::timeout(pause, self.tokens.woken()).await;
            if woken == Ok(true)
                && let Ok(now) = self.clock.now()
            {
                self.schedule.bring_forward(now);
            }
        }
    }

    /// Asks if it is time to, and says how long to wait.
    async fn step(&mut self) -> Result<Duration, ClockError> {
        let now = self.clock.now()?;
        let certificate = self.binding.as_ref().map(|current| current());
        if self.schedule.is_due(now) || certificate != self.asked_for {
            self.ask(certificate, now).await?;
        }
        Ok(Self::LOOK)
    }

    async fn ask(
        &mut self,
        certificate: Option<CertificateThumbprint>,
        now: Timestamp,
    ) -> Result<(), ClockError> {
        self.asked_for = certificate;
        self.schedule.asked(now);
        let demand = TokenDemand {
            audience: &self.audience,
            certificate,
            now,
        };
        let limit = self.limit;
        let answer = tokio::time::timeout(limit, self.source.token(&demand)).await;
        let now = self.clock.now()?;
        let event = match checked(answer, limit, now) {
            Ok(token) => {
                self.tokens.publish(&token, certificate, now);
                self.schedule.succeeded(now, token.expires);
                RefreshEvent::Refreshed {
                    expires: token.expires,
                    due: self.schedule.due(),
                    certificate,
                }
            }
            Err(failure) => {
                self.schedule.failed(now);
                RefreshEvent::Failed {
                    failure,
                    expires: self.tokens.expires(),
                    due: self.schedule.due(),
                }
            }
        };
        (self.observe)(&event);
        Ok(())
    }
}

fn checked<E>(
    answer: Result<Result<FreshToken, E>, tokio::time::error::Elapsed>,
    limit: Duration,
    now: Timestamp,
) -> Result<FreshToken, RefreshFailure<E>> {
    let token = answer
        .map_err(|_| RefreshFailure::Slow { limit })?
        .map_err(RefreshFailure::Source)?;
    match token.expires {
        expires if now >= expires => Err(RefreshFailure::Expired { expires, now }),
        _ => Ok(token),
    }
}

impl<S: TokenSource> fmt::Debug for Refresher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresher")
            .field("audience", &self.audience)
            .field("tokens", &self.tokens)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
