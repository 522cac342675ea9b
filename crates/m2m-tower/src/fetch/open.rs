//! `OpenConnection`: one connection of HTTP/1.1, whose work is done by whoever waits for an answer on it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::FetchFailure;

/// What bytes go over.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// One connection. Nothing of it goes on while nobody waits for it, and nothing when it is dropped.
pub(super) struct OpenConnection {
    sender: SendRequest<Full<Bytes>>,
    /// [`None`] once it has ended.
    work: Option<Pin<Box<Connection<TokioIo<Box<dyn Duplex>>, Full<Bytes>>>>>,
}

/// No answer came.
pub(super) struct NoAnswer {
    /// Whether the request was never sent.
    pub(super) is_unsent: bool,
}

impl OpenConnection {
    const HEAD_BYTES: usize = 64 * 1024;

    pub(super) async fn begin(stream: Box<dyn Duplex>) -> Result<Self, FetchFailure> {
        let (sender, work) = Builder::new()
            .max_buf_size(Self::HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| FetchFailure::Http)?;
        Ok(Self {
            sender,
            work: Some(Box::pin(work)),
        })
    }

    /// Sends `request`, and reads what comes with `read`.
    pub(super) async fn ask<T, F: Future<Output = T>>(
        &mut self,
        request: Request<Full<Bytes>>,
        read: impl FnOnce(Response<Incoming>) -> F,
    ) -> Result<T, NoAnswer> {
        let Self { sender, work } = self;
        let answer = async move {
            match sender.send_request(request).await {
                Ok(response) => Ok(read(response).await),
                Err(error) => Err(NoAnswer {
                    is_unsent: error.is_canceled(),
                }),
            }
        };
        drive(work, answer).await
    }

    /// Whether another request can be sent: the last answer was read whole, and the other side has not ended
    /// it meanwhile, as far as is known here. Waits for nothing.
    pub(super) async fn is_alive(&mut self) -> bool {
        poll_fn(|context| {
            let work = self.work.as_mut();
            if work.is_some_and(|work| work.as_mut().poll(context).is_ready()) {
                self.work = None;
            }
            Poll::Ready(())
        })
        .await;
        self.work.is_some() && self.sender.is_ready()
    }
}

/// Both in one task.
async fn drive<W: Future, F: Future>(work: &mut Option<Pin<Box<W>>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Poll::Ready(done) = future.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if let Some(running) = work
            && running.as_mut().poll(context).is_ready()
        {
            *work = None;
            // What it has read is there by now.
            return future.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}
