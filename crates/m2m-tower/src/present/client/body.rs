//! `ClientBody`: the content of a response; when it is at its end, the connection is free again.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::connect::Open;
use super::{ClientError, Inner};

/// The content of a response of an [`OriginClient`](super::OriginClient). Read it to its end, and the connection
/// is used again; drop it before, and the connection is closed.
pub struct ClientBody<B> {
    incoming: Incoming,
    busy: Option<Busy<B>>,
}

struct Busy<B> {
    open: Open<B>,
    client: Arc<Inner<B>>,
    /// Given back when the response was read.
    _turn: OwnedSemaphorePermit,
}

impl<B> ClientBody<B> {
    pub(super) fn wrap(
        response: Response<Incoming>,
        open: Open<B>,
        turn: OwnedSemaphorePermit,
        client: &Arc<Inner<B>>,
    ) -> Response<Self> {
        let busy = Busy {
            open,
            client: Arc::clone(client),
            _turn: turn,
        };
        response.map(|incoming| {
            let mut body = Self {
                incoming,
                busy: Some(busy),
            };
            body.release_at_end();
            body
        })
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(Busy { open, client, .. }) = self.busy.take() {
            client.put_back(open);
        }
    }
}

impl<B> Unpin for ClientBody<B> {}

impl<B> Body for ClientBody<B> {
    type Data = Bytes;
    type Error = ClientError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ClientError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(context));
        match &frame {
            None => self.release(),
            Some(Ok(_)) => self.release_at_end(),
            // The connection is of no more use.
            Some(Err(_)) => self.busy = None,
        }
        let failed = |error: hyper::Error| ClientError::Http(error.to_string().into());
        Poll::Ready(frame.map(|frame| frame.map_err(failed)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B> fmt::Debug for ClientBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBody").finish_non_exhaustive()
    }
}
