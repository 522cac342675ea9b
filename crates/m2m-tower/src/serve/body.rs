//! `ServedBody`: the body of a request, which ends if it comes too slowly.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::server::Shared;

pin_project! {
    /// The body of a request, as a [`Server`](super::Server) hands it to its service. It ends with
    /// [`BodyError::TooSlow`] if its client takes longer than
    /// [`ServeLimits::with_body_pace`](super::ServeLimits::with_body_pace) allows. How long it is, is not
    /// limited here.
    pub struct ServedBody {
        #[pin]
        inner: Incoming,
        // Only where there is something to wait for.
        pacer: Option<Box<Pacer>>,
    }
}

/// Why a body ended before its end.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Its client took too long to send it.
    #[error("of the body {received} bytes came, and {waited:?} were waited for them")]
    TooSlow {
        /// How many bytes came before.
        received: u64,
        /// How long was waited for all of them.
        waited: Duration,
    },
    /// The connection ended, or what came on it is no body.
    #[error("connection: {0}")]
    Connection(io::Error),
}

/// How long may be waited yet.
struct Pacer {
    shared: Arc<Shared>,
    received: u64,
    /// How long was waited, until the last piece came.
    waited: Duration,
    wait: Option<Wait>,
}

/// Something is waited for.
struct Wait {
    since: Instant,
    until: Pin<Box<Sleep>>,
}

impl ServedBody {
    pub(super) fn new(inner: Incoming, shared: &Arc<Shared>) -> Self {
        let pacer = (!inner.is_end_stream()).then(|| {
            Box::new(Pacer {
                shared: Arc::clone(shared),
                received: 0,
                waited: Duration::ZERO,
                wait: None,
            })
        });
        Self { inner, pacer }
    }

    /// The same body, waited for as long as the connection lasts: for calls in which a client speaks when it
    /// has something to say, such as streams of gRPC. Put this where the caller is known already.
    #[must_use]
    pub fn unhurried(mut self) -> Self {
        self.pacer = None;
        self
    }
}

impl Pacer {
    fn came(&mut self, frame: &Frame<Bytes>) {
        if let Some(wait) = self.wait.take() {
            self.waited = self.waited.saturating_add(wait.since.elapsed());
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        self.received = self.received.saturating_add(bytes as u64);
    }

    /// Is ready when it was waited for too long.
    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<BodyError> {
        let left = self.left();
        let wait = self.wait.get_or_insert_with(|| {
            let since = Instant::now();
            let until = Box::pin(tokio::time::sleep_until(since + left));
            Wait { since, until }
        });
        ready!(wait.until.as_mut().poll(context));
        self.shared.counts.slow_bodies.one();
        Poll::Ready(BodyError::TooSlow {
            received: self.received,
            waited: self.waited.saturating_add(wait.since.elapsed()),
        })
    }

    /// How long the next piece may take: one pause, and no more than is left of what all may take.
    fn left(&self) -> Duration {
        let limits = &self.shared.limits;
        let rate = u64::from(limits.body_rate.max(1));
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / rate);
        let all = limits.body_pause.saturating_add(earned);
        all.saturating_sub(self.waited).min(limits.body_pause)
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.project();
        match this.inner.poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(pacer) = this.pacer {
                    pacer.came(&frame);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = BodyError::Connection(io::Error::other(error));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let Some(pacer) = this.pacer else {
                    return Poll::Pending;
                };
                let error = ready!(pacer.poll_wait(context));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ServedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedBody").finish_non_exhaustive()
    }
}
