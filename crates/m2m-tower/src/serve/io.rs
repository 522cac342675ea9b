//! `WatchedIo`: a connection as hyper reads it, that says when bytes come; and which version they begin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;

/// How a client begins that speaks HTTP/2 without having said so (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

pin_project! {
    /// A connection of which the beginning may have been read.
    pub(super) struct WatchedIo<I> {
        #[pin]
        inner: I,
        activity: Arc<Activity>,
        begun: Begun,
    }
}

/// What was read to learn the version, and how much of it was given on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Begun {
    bytes: [u8; PREFACE.len()],
    given: usize,
    filled: usize,
}

impl Begun {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.given..self.filled).unwrap_or_default()
    }
}

impl<I: AsyncRead> WatchedIo<I> {
    pub(super) fn new(inner: I, begun: Begun, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            begun,
        }
    }
}

/// Reads as much of `stream` as tells which version it is: all of the preface, or the first byte that is not
/// of it.
pub(super) async fn begin<I>(stream: &mut I) -> io::Result<(Version, Begun)>
where
    I: AsyncRead + Unpin,
{
    let mut begun = Begun::default();
    loop {
        let more = std::future::poll_fn(|context| {
            let room = begun.bytes.get_mut(begun.filled..).unwrap_or_default();
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut room))?;
            Poll::Ready(io::Result::Ok(room.filled().len()))
        });
        let more = more.await?;
        begun.filled += more;
        let is_preface = PREFACE.starts_with(begun.rest());
        match is_preface {
            false => return Ok((Version::Http1, begun)),
            true if begun.filled == PREFACE.len() => return Ok((Version::Http2, begun)),
            true if more == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            true => {}
        }
    }
}

impl<I: AsyncRead> AsyncRead for WatchedIo<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let rest = this.begun.rest();
        if !rest.is_empty() {
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(rest.get(..count).unwrap_or_default());
            this.begun.given += count;
            this.activity.read();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(this.inner.poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            this.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite> AsyncWrite for WatchedIo<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn version_of(mut bytes: &[u8]) -> io::Result<(Version, usize)> {
        pollster::block_on(begin(&mut bytes)).map(|(version, begun)| (version, begun.rest().len()))
    }

    #[test]
    fn the_version_is_told_by_the_preface_and_nothing_of_it_is_lost() {
        assert_eq!(version_of(PREFACE).unwrap(), (Version::Http2, 24));
        assert_eq!(version_of(b"GET / HTTP/1.1").unwrap(), (Version::Http1, 14));
        let almost = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX";
        assert_eq!(version_of(almost).unwrap(), (Version::Http1, 24));
        assert_eq!(version_of(b"PUT").unwrap(), (Version::Http1, 3));
        assert!(version_of(b"PRI").is_err() && version_of(b"").is_err());
    }
}
