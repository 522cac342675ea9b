//! `Whole`: reads a body to its end, within a limit and before a deadline.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

pin_project! {
    /// The bytes of a body, all of them.
    pub(crate) struct Whole<B> {
        #[pin]
        body: B,
        #[pin]
        deadline: Sleep,
        read: Vec<u8>,
        limit: usize,
    }
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotWhole {
    TooLong,
    Slow,
    /// It broke off, or has trailers, which do not fit into bytes.
    Broken,
}

impl<B> Whole<B> {
    /// At most `limit` bytes, within `time` from now.
    pub(crate) fn new(body: B, limit: usize, time: Duration) -> Self {
        Self {
            body,
            deadline: tokio::time::sleep(time),
            read: Vec::new(),
            limit,
        }
    }
}

impl<B: Body> Future for Whole<B> {
    type Output = Result<Bytes, NotWhole>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // What was announced is not waited for if it will be too much.
        if this.read.is_empty() && this.body.size_hint().lower() > *this.limit as u64 {
            return Poll::Ready(Err(NotWhole::TooLong));
        }
        loop {
            let frame = match this.body.as_mut().poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(NotWhole::Broken)),
                Poll::Ready(None) => {
                    return Poll::Ready(Ok(std::mem::take(this.read).into()));
                }
                Poll::Pending => {
                    let is_over = this.deadline.poll(context).is_ready();
                    return match is_over {
                        true => Poll::Ready(Err(NotWhole::Slow)),
                        false => Poll::Pending,
                    };
                }
            };
            let Ok(mut data) = frame.into_data() else {
                return Poll::Ready(Err(NotWhole::Broken));
            };
            if data.remaining() > *this.limit - this.read.len() {
                return Poll::Ready(Err(NotWhole::TooLong));
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                this.read.extend_from_slice(chunk);
                data.advance(length);
            }
        }
    }
}
