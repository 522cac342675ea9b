//! Bodies of requests are read: whole, within a size and a time.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Buf as _;
use http::header::{CACHE_CONTROL, CONNECTION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, Version};
use http_body::Body;

/// Why a body was not read.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyProblem {
    /// It is longer than such bodies are. It was not read to its end.
    #[error("the body is longer than {limit} bytes")]
    TooLong {
        /// How much is read.
        limit: usize,
    },
    /// It took too long.
    #[error("the body took longer than {limit:?}")]
    Slow {
        /// How long it may take.
        limit: Duration,
    },
    /// It ended before its end.
    #[error("the body was not whole")]
    Broken,
}

impl BodyProblem {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// All of `body`: at most `limit` bytes, within `time`.
pub(super) async fn read_whole<B: Body>(
    body: B,
    limit: usize,
    time: Duration,
) -> Result<Vec<u8>, BodyProblem> {
    // What says that it is too long is not waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyProblem::TooLong { limit });
    }
    let read = async move {
        let mut body = pin!(body);
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            let frame = frame.map_err(|_| BodyProblem::Broken)?;
            // Trailers say nothing here.
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            if data.remaining() > limit - bytes.len() {
                return Err(BodyProblem::TooLong { limit });
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                bytes.extend_from_slice(chunk);
                let length = chunk.len();
                data.advance(length);
            }
        }
        Ok(bytes)
    };
    let slow = BodyProblem::Slow { limit: time };
    tokio::time::timeout(time, read).await.unwrap_or(Err(slow))
}

/// An answer without a body, after which the connection ends, since the rest of the request is not read.
pub(super) fn closing(status: StatusCode, version: Version) -> Response<Vec<u8>> {
    let mut response = empty(status);
    close(&mut response, version);
    response
}

/// The connection ends with this answer.
pub(super) fn close(response: &mut Response<Vec<u8>>, version: Version) {
    // In HTTP/2 there is no such header: the stream is reset.
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// "Not now."
pub(super) fn later(status: StatusCode, wait: Duration) -> Response<Vec<u8>> {
    let mut response = empty(status);
    let seconds = HeaderValue::from(wait.as_secs().max(1));
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

pub(super) fn empty(status: StatusCode) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;

    /// Gives these, and then ends or never ends.
    struct Pieces(Vec<&'static [u8]>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
                None if self.1 => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_limit_and_not_a_byte_further() {
        let time = Duration::from_secs(10);
        let read = read_whole(Pieces(vec![b"cd", b"ab"], true), 4, time).await;
        assert_eq!(read.as_deref(), Ok(&b"abcd"[..]));
        let too_long = Err(BodyProblem::TooLong { limit: 3 });
        assert_eq!(
            read_whole(Pieces(vec![b"cd", b"ab"], true), 3, time).await,
            too_long
        );
        let time = Duration::from_millis(20);
        let slow = Err(BodyProblem::Slow { limit: time });
        assert_eq!(read_whole(Pieces(vec![b"ab"], false), 4, time).await, slow);
    }
}
