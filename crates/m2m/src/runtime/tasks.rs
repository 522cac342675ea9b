//! `Task`: one piece of background work. Nothing is done behind the application's back: it runs each task, or
//! all of them by [`Runtime::run`](super::Runtime::run).

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use m2m_crypto::SystemRandom;
use m2m_tower::ssf::{Deliverer, DeliveryEvent};
use m2m_types::Timestamp;

use super::Inner;
use super::error::RuntimeError;
use super::log::LogEvent;

/// Which background work. Its text is stable and never renamed; new work gets new names.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskName {
    /// `signing-keys`: publishes, activates and forgets the keys that tokens are signed with. Issuers only.
    SigningKeys,
    /// `crl`: an issuer puts on its CRL what was revoked, and makes a new one in time; everybody goes by the
    /// newest.
    Crl,
    /// `issuer-keys`: fetches the keys of an issuer in another process. Where one was joined only.
    IssuerKeys,
    /// `certificate`: renews our own certificate when two thirds of its life are over, at the latest.
    Certificate,
    /// `connections`: closes those whose peers' certificates have expired.
    Connections,
    /// `revocations`: merges what was revoked one by one, and forgets what has expired for everybody.
    Revocations,
    /// `store`: takes away what marks deleted records, once every follower has had an hour to see it.
    Store,
    /// `events-received`: does what events say that a process that died has left, and forgets the names of
    /// old ones. With a receiver only.
    EventsReceived,
    /// `events-sent`: pushes events until they have arrived, and ends streams that are due to end. With a
    /// transmitter only.
    EventsSent,
}

impl TaskName {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SigningKeys => "signing-keys",
            Self::Crl => "crl",
            Self::IssuerKeys => "issuer-keys",
            Self::Certificate => "certificate",
            Self::Connections => "connections",
            Self::Revocations => "revocations",
            Self::Store => "store",
            Self::EventsReceived => "events-received",
            Self::EventsSent => "events-sent",
        }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One piece of background work: a future that never ends. Spawn it; dropped, it stops where it is, with
/// nothing half done: each of its steps is one commit. What was dropped can be had again by
/// [`Runtime::tasks`](super::Runtime::tasks).
#[must_use = "a task does nothing unless it is polled"]
pub struct Task {
    name: TaskName,
    work: Pin<Box<dyn Future<Output = Infallible> + Send>>,
}

impl Task {
    /// The work of this name, unless somebody has it.
    pub(super) fn take(inner: &Arc<Inner>, name: TaskName) -> Option<Self> {
        let lease = Lease::take(Arc::clone(inner), name)?;
        Some(Self {
            name,
            work: Box::pin(lease.work()),
        })
    }

    /// Its name.
    pub const fn name(&self) -> TaskName {
        self.name
    }
}

impl Future for Task {
    type Output = Infallible;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Infallible> {
        self.work.as_mut().poll(context)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.name).finish()
    }
}

/// That somebody has this work. Whoever drops it gives it back.
struct Lease {
    inner: Arc<Inner>,
    name: TaskName,
}

/// A clock that jumps, or a machine that slept, is noticed within this.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

impl Lease {
    fn take(inner: Arc<Inner>, name: TaskName) -> Option<Self> {
        let is_free = inner.board.take(name);
        is_free.then_some(Self { inner, name })
    }

    async fn work(self) -> Infallible {
        let (inner, name) = (&*self.inner, self.name);
        inner.board.runs(name);
        if name == TaskName::EventsSent {
            self.deliver().await;
        }
        let mut crls = inner.membership.link().follow_crl();
        loop {
            let next = self.step_once().await;
            if name != TaskName::Crl {
                inner.sleep_until(next).await;
                continue;
            }
            if inner.is_issuer {
                // Our own, which the step has seen.
                crls.mark_unchanged();
            }
            tokio::select! {
                () = inner.sleep_until(next) => {}
                changed = crls.changed() => if changed.is_err() {
                    // Whoever publishes is gone; what is due by time stays due.
                    inner.sleep_until(next).await;
                }
            }
        }
    }

    /// Delivers events, for ever, if there is a transmitter.
    async fn deliver(&self) {
        let Some((transmitter, sender)) = &self.inner.transmitting else {
            return;
        };
        let (inner, name) = (Arc::clone(&self.inner), self.name);
        let observe = move |event: &DeliveryEvent| inner.delivered(name, event);
        let (transmitter, clock) = (Arc::clone(transmitter), Arc::clone(&self.inner.clock));
        let deliverer = Deliverer::new(transmitter, sender.clone(), clock);
        deliverer.with_observer(observe).run().await;
    }

    /// Does what is due, reports, and says when to come again.
    async fn step_once(&self) -> Timestamp {
        let (inner, name) = (&*self.inner, self.name);
        let now = match inner.clock.now() {
            Ok(now) => now,
            Err(error) => return self.failed(Timestamp::MIN, &error.into()),
        };
        match inner.step(name, now).await {
            Ok(next) => {
                // Whatever a step says, it does not turn into a loop without a pause.
                let next = next.max(now.saturating_add(Duration::from_secs(1)));
                inner.board.succeeded(name, now, next);
                next
            }
            Err(error) => self.failed(now, &error),
        }
    }

    fn failed(&self, now: Timestamp, error: &RuntimeError) -> Timestamp {
        let why = error.to_string();
        let task = self.name;
        self.inner
            .log
            .tell(&LogEvent::TaskFailed { task, why: &why });
        self.inner.board.failed(task, now, &why)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inner.board.give_back(self.name);
    }
}

impl Inner {
    /// Waits until the clock says so; a second at least.
    async fn sleep_until(&self, due: Timestamp) {
        loop {
            let now = self.clock.now().unwrap_or(Timestamp::MIN);
            let left = due.checked_since(now).unwrap_or_default();
            let pause = left.clamp(Duration::from_secs(1), LONGEST_SLEEP);
            tokio::time::sleep(pause).await;
            // With a clock that does not work it is the next step that says so.
            if self.clock.now().map_or(true, |now| now >= due) {
                return;
            }
        }
    }

    /// Does what is due of this work at `now`, and says when to come again.
    pub(super) async fn step(
        &self,
        name: TaskName,
        now: Timestamp,
    ) -> Result<Timestamp, RuntimeError> {
        const MINUTE: Duration = Duration::from_secs(60);
        let random = &SystemRandom;
        let soon = now.saturating_add(MINUTE);
        match name {
            TaskName::SigningKeys => match self.membership.issuer() {
                Some(issuer) => issuer.step_keys(now, random).await,
                None => Ok(soon),
            },
            TaskName::IssuerKeys => self.membership.step_keys(now).await,
            TaskName::Crl => {
                let next = match self.membership.issuer() {
                    Some(issuer) if self.is_issuer => {
                        let set = self.revocations.revocations();
                        issuer.step_crl(set, now, random).await
                    }
                    _ => Ok(soon),
                };
                self.membership.step_crl(random).await?;
                Ok(next?.min(soon))
            }
            TaskName::Certificate => self.membership.step(now, random).await,
            TaskName::Connections => {
                let tls = self.membership.tls();
                tls.close_overdue()?;
                let next = tls.next_deadline();
                Ok(next.map_or(soon, |next| {
                    next.saturating_add(Duration::from_secs(1)).min(soon)
                }))
            }
            TaskName::Revocations => {
                let compacted = self.revocations.compact(now).await;
                compacted.map_err(RuntimeError::revocations)?;
                Ok(now.saturating_add(5 * MINUTE))
            }
            TaskName::Store => {
                self.prune().await?;
                Ok(now.saturating_add(60 * MINUTE))
            }
            TaskName::EventsReceived => self.act(now).await,
            // Done by a loop of its own.
            TaskName::EventsSent => Ok(soon),
        }
    }
}
