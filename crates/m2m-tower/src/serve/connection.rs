//! One connection, from its socket to its end.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tower_service::Service;

use super::activity::Activity;
use super::body::ServedBody;
use super::drive::{Driver, End};
use super::io::{Begun, Version, WatchedIo, begin};
use super::places::Place;
use super::server::{Shared, Transport};
use super::service::Serving;
use crate::{AcceptError, Acceptor, OnConnection, UntilDistrusted};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A socket that was accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
    pub(super) place: Place,
    pub(super) shared: Arc<Shared>,
}

impl Accepted {
    /// Serves the connection until it ends. Until it says something it is this future, of less than a
    /// kilobyte, and a socket.
    pub(super) async fn serve<S, R>(self, service: S)
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let deadline = Instant::now() + self.shared.opening_time();
        let shared = Arc::clone(&self.shared);
        let opening = timeout_at(deadline, says_something(&self.stream));
        match shared.unless_stopping(opening).await {
            None | Some(Ok(false)) => {}
            Some(Err(_)) => shared.counts.slow_openings.one(),
            Some(Ok(true)) => Box::pin(self.open(service, deadline)).await,
        }
    }

    async fn open<S, R>(self, service: S, deadline: Instant)
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let _ = self.stream.set_nodelay(true);
        let service = OnConnection::new(service).with_address(self.from);
        let shared = Arc::clone(&self.shared);
        match &shared.transport {
            Transport::Tls(acceptor) => self.open_tls(service, acceptor, deadline).await,
            Transport::Plain => self.open_plain(service, deadline).await,
        }
    }

    async fn open_tls<S, R>(
        mut self,
        service: OnConnection<S>,
        acceptor: &Acceptor,
        deadline: Instant,
    ) where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let counts = &self.shared.counts;
        // On the heap by itself: what comes later is larger, and is not there yet.
        let shake = Box::pin(timeout_at(deadline, acceptor.accept(self.stream)));
        let (stream, peer) = match self.shared.unless_stopping(shake).await {
            None => return,
            Some(Err(_) | Ok(Err(AcceptError::Slow { .. }))) => return counts.slow_openings.one(),
            Some(Ok(Err(_))) => return counts.handshakes_failed.one(),
            Some(Ok(Ok(accepted))) => accepted,
        };
        self.place.opened();
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Version::Http2,
            _ => Version::Http1,
        };
        let service = service.with_peer(peer.clone());
        let started = Started::new(&self.shared, version);
        let serving = started.serve(stream, Begun::default(), service);
        let serving = Box::pin(UntilDistrusted::new(serving, &peer));
        if serving.await.is_err() {
            counts.distrusted.one();
        }
    }

    async fn open_plain<S, R>(mut self, service: OnConnection<S>, deadline: Instant)
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        self.place.opened();
        let beginning = timeout_at(deadline, begin(&mut self.stream));
        let (version, begun) = match self.shared.unless_stopping(beginning).await {
            None | Some(Ok(Err(_))) => return,
            Some(Err(_)) => return self.shared.counts.slow_heads.one(),
            Some(Ok(Ok(begun))) => begun,
        };
        let started = Started::new(&self.shared, version);
        Box::pin(started.serve(self.stream, begun, service)).await;
    }
}

/// Whether a byte comes, before the end.
async fn says_something(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]).await, Ok(1))
}

/// A connection on which HTTP is spoken.
struct Started {
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    version: Version,
}

impl Started {
    fn new(shared: &Arc<Shared>, version: Version) -> Self {
        Self {
            shared: Arc::clone(shared),
            activity: Arc::new(Activity::new(Arc::clone(shared))),
            version,
        }
    }

    async fn serve<I, S, R>(self, stream: I, begun: Begun, service: OnConnection<S>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let io = TokioIo::new(WatchedIo::new(stream, begun, Arc::clone(&self.activity)));
        let service = Serving::new(service, Arc::clone(&self.activity));
        let driver = Driver::new(&self.shared, &self.activity, self.version);
        let end = match self.version {
            Version::Http1 => {
                let connection = self.shared.http1.serve_connection(io, service);
                let close = |connection: Pin<&mut _>| {
                    http1::Connection::graceful_shutdown(connection);
                };
                driver.drive(pin!(connection), close).await
            }
            Version::Http2 => {
                let connection = self.shared.http2.serve_connection(io, service);
                let close = |connection: Pin<&mut _>| {
                    http2::Connection::graceful_shutdown(connection);
                };
                driver.drive(pin!(connection), close).await
            }
        };
        let counts = &self.shared.counts;
        match end {
            End::Done => {}
            End::Broken => counts.broken.one(),
            End::SlowHead => counts.slow_heads.one(),
            End::SlowReader => counts.slow_readers.one(),
            End::Cancelling => counts.cancelling.one(),
            End::Overdue => counts.overdue.one(),
        }
    }
}
