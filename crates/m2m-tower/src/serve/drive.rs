//! `Driver`: polls a connection until it ends, or a limit ends it.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use super::io::Version;
use super::server::Shared;

/// Why a connection ended.
pub(super) enum End {
    /// By itself, or as it was asked to.
    Done,
    Broken,
    SlowHead,
    SlowReader,
    Cancelling,
    /// It had been asked to end, and did not in time.
    Overdue,
}

/// What decides about the end of a connection. It has one timer, which is never later than the next limit;
/// whether the limit was reached is looked up when it rings.
pub(super) struct Driver<'a> {
    shared: &'a Shared,
    activity: &'a Activity,
    version: Version,
    /// When the next half of a pause is over, if something is under way.
    turn: Option<Instant>,
    /// When it has to have ended, since it was asked to.
    end: Option<Instant>,
}

impl<'a> Driver<'a> {
    pub(super) const fn new(shared: &'a Shared, activity: &'a Activity, version: Version) -> Self {
        Self {
            shared,
            activity,
            version,
            turn: None,
            end: None,
        }
    }

    /// Polls `connection` until it ends; `close` asks it to take no more requests, and to end when those are
    /// answered that came.
    pub(super) async fn drive<C>(
        mut self,
        mut connection: Pin<&mut C>,
        close: impl Fn(Pin<&mut C>),
    ) -> End
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut stopping = pin!(self.shared.stop.notified());
        // The waker stays that of this task: once is enough, and later no lock is taken for it.
        poll_fn(|context| {
            let _ = stopping.as_mut().poll(context);
            Poll::Ready(())
        })
        .await;
        let mut timer = pin!(sleep_until(self.due()));
        poll_fn(|context| {
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(context) {
                    let is_good = result.is_ok() || self.end.is_some();
                    return Poll::Ready(if is_good { End::Done } else { End::Broken });
                }
                let step = self.step(timer.as_mut(), context);
                match step {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(ControlFlow::Break(end)) => return Poll::Ready(end),
                    Poll::Ready(ControlFlow::Continue(())) => {
                        self.end = Some(Instant::now() + self.shared.limits.drain);
                        close(connection.as_mut());
                    }
                }
            }
        })
        .await
    }

    /// Whether the connection has to end at once, is to be asked to end, or goes on.
    fn step(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<ControlFlow<End>> {
        let limits = &self.shared.limits;
        if self.activity.is_cancelling(limits.cancellations) {
            return Poll::Ready(ControlFlow::Break(End::Cancelling));
        }
        if self.end.is_none() && self.shared.is_stopping.load(Ordering::Acquire) {
            return Poll::Ready(ControlFlow::Continue(()));
        }
        loop {
            let due = self.due();
            if due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if due > Instant::now() {
                timer.as_mut().reset(due);
                continue;
            }
            if self.end.is_some() {
                return Poll::Ready(ControlFlow::Break(End::Overdue));
            }
            if self.turn.is_none() {
                if self.waits_for_head() {
                    return Poll::Ready(ControlFlow::Break(End::SlowHead));
                }
                self.shared.counts.idle.one();
                return Poll::Ready(ControlFlow::Continue(()));
            }
            if self.activity.turn() {
                return Poll::Ready(ControlFlow::Break(End::SlowReader));
            }
            self.turn = None;
            timer.as_mut().reset(self.due());
        }
    }

    /// When there is something to decide next, if nothing happens before.
    fn due(&mut self) -> Instant {
        let limits = &self.shared.limits;
        if let Some(end) = self.end {
            return end;
        }
        if self.activity.is_busy() {
            let half = limits.response_pause / 2;
            return *self.turn.get_or_insert_with(|| Instant::now() + half);
        }
        self.turn = None;
        match self.waits_for_head() {
            true => self.head_since() + limits.head_time,
            false => self.activity.idle_since() + limits.idle,
        }
    }

    /// Whether a head has begun, or the first one is awaited. In HTTP/2 other things than heads come, and
    /// who sends only those is idle.
    fn waits_for_head(&self) -> bool {
        match self.version {
            Version::Http1 => !self.activity.was_asked() || self.activity.head_since().is_some(),
            Version::Http2 => false,
        }
    }

    fn head_since(&self) -> Instant {
        // The first head is awaited from the beginning.
        let since = self.activity.head_since();
        match self.activity.was_asked() {
            true => since.unwrap_or_else(|| self.activity.idle_since()),
            false => self.activity.opened(),
        }
    }
}
