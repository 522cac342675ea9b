//! `Server`: the loop that accepts, and its end.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower_service::Service;

use super::body::ServedBody;
use super::connection::Accepted;
use super::counts::{Counts, ServeCounts};
use super::limits::{ServeLimits, at_most_a_year};
use super::places::{Full, Places};
use crate::Acceptor;

/// Serves HTTP/1.1 and HTTP/2 within [`ServeLimits`], to clients that are known by their certificates.
///
/// Which version, the client and the server agree on in the handshake (ALPN): give
/// [`LiveTls`](m2m_pki::tls::LiveTls) `.with_alpn(&[b"h2", b"http/1.1"])`. A client that says nothing speaks
/// HTTP/1.1.
///
/// Each request has a [`PeerAddress`](crate::PeerAddress) and a [`ConnectedPeer`](crate::ConnectedPeer) among
/// its extensions, as [`Authenticate`](crate::Authenticate) wants them. A connection ends with the trust in
/// its peer; that certificates expire is looked up each second.
///
/// Cloning copies a pointer: a clone reads the counts, or stops the server.
///
/// ```no_run
/// # async fn run(acceptor: m2m_tower::Acceptor, layer: m2m_tower::Authenticate)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use m2m_tower::{ServeLimits, Server};
/// use tokio::net::TcpListener;
///
/// let router = Router::new().route("/orders", get(|| async { "none" })).layer(layer);
/// let server = Server::mutual_tls(acceptor, ServeLimits::new());
/// let listener = TcpListener::bind("0.0.0.0:8443").await?;
/// let watch = server.clone();
/// tokio::spawn(async move { println!("{:?}", watch.counts()) });
/// // Until it is stopped; what is under way then is finished within a limit.
/// let drained = server.serve(listener, router, std::future::pending()).await?;
/// assert_eq!(drained.cut, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) limits: ServeLimits,
    pub(super) counts: Counts,
    pub(super) transport: Transport,
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) is_stopping: AtomicBool,
    pub(super) stop: Notify,
    places: Arc<Places>,
}

/// How clients connect.
pub(super) enum Transport {
    Tls(Acceptor),
    Plain,
}

/// Why a server does not serve.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It serves without TLS, and the listener is not on loopback.
    #[error("{address} is not on loopback, and there is no TLS")]
    NotLoopback {
        /// Where the listener listens.
        address: SocketAddr,
    },
    /// The listener has no address.
    #[error("address of the listener: {0}")]
    Listener(io::Error),
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that were open when it was stopped.
    pub open: usize,
    /// Of those, the ones that did not end in time and were cut.
    pub cut: usize,
}

/// How long to wait when the system gives no connection: for descriptors others have to be closed.
const SHORTAGE: Duration = Duration::from_millis(50);

impl Server {
    /// Serves clients that `acceptor` takes. The time it gives a handshake begins with the connection.
    pub fn mutual_tls(acceptor: Acceptor, limits: ServeLimits) -> Self {
        Self::new(Transport::Tls(acceptor), limits)
    }

    /// Serves without TLS, on loopback and nowhere else: for what a proxy on the same machine, or a test,
    /// connects to. HTTP/2 is spoken with who begins it (RFC 9113 §3.3).
    pub fn plain_on_loopback(limits: ServeLimits) -> Self {
        Self::new(Transport::Plain, limits)
    }

    fn new(transport: Transport, limits: ServeLimits) -> Self {
        Self {
            shared: Arc::new(Shared {
                counts: Counts::default(),
                http1: http1(&limits),
                http2: http2(&limits),
                is_stopping: AtomicBool::new(false),
                stop: Notify::new(),
                places: Arc::new(Places::new(limits.clone())),
                transport,
                limits,
            }),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> ServeCounts {
        let (open, opening) = self.shared.places.held();
        self.shared.counts.read(open, opening)
    }

    /// Takes no more connections, and ends each when what is under way on it was answered, or when
    /// [`ServeLimits::with_drain`] is over. It stays stopped.
    pub fn stop(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.shared.stop.notify_waiters();
    }

    /// Serves `service` to who connects to `listener`, until `until` is ready or [`Server::stop`] is called,
    /// and then until what is under way has ended. May be called for several listeners at once: they share
    /// the limits, and the stop of one is that of all. If the future is dropped, all connections are cut.
    ///
    /// Whatever goes wrong with a connection, or in `service`, ends that connection and not the loop.
    ///
    /// # Errors
    ///
    /// [`ServeError`], before anything was accepted.
    pub async fn serve<S, R>(
        &self,
        listener: TcpListener,
        service: S,
        until: impl Future<Output = ()>,
    ) -> Result<Drained, ServeError>
    where
        S: Service<Request<ServedBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = listener.local_addr().map_err(ServeError::Listener)?;
        let is_loopback = address.ip().to_canonical().is_loopback();
        if matches!(self.shared.transport, Transport::Plain) && !is_loopback {
            return Err(ServeError::NotLoopback { address });
        }
        let mut connections = JoinSet::new();
        let mut until = pin!(self.shared.unless_stopping(until));
        let mut events = Events {
            listener: &listener,
            pause: None,
            second: Box::pin(sleep(SECOND)),
        };
        loop {
            match events.next(&mut connections, until.as_mut()).await {
                Event::Stop => break,
                Event::Ended(result) => self.ended(result),
                Event::Second => self.shared.close_overdue(),
                Event::Accepted(Err(error)) => events.pause = self.failed(&error),
                Event::Accepted(Ok((stream, from))) => {
                    if let Some(accepted) = self.take(stream, from) {
                        connections.spawn(accepted.serve(service.clone()));
                    }
                }
            }
        }
        // Nobody is to wait for a connection that will not be accepted.
        drop(listener);
        self.stop();
        Ok(self.drain(connections).await)
    }

    /// A connection, if there is room for it.
    fn take(&self, stream: TcpStream, from: SocketAddr) -> Option<Accepted> {
        let counts = &self.shared.counts;
        let refused = match self.shared.places.take(from.ip()) {
            Ok(place) => {
                counts.accepted.one();
                return Some(Accepted {
                    stream,
                    from,
                    place,
                    shared: Arc::clone(&self.shared),
                });
            }
            Err(Full::Connections) => &counts.refused_connections,
            Err(Full::Openings) => &counts.refused_openings,
            Err(Full::Address) => &counts.refused_by_address,
        };
        refused.one();
        // Reset, and not closed: nothing is left to wait for in the kernel.
        let _ = stream.set_zero_linger();
        None
    }

    /// Until when to wait after `error`.
    fn failed(&self, error: &io::Error) -> Option<Instant> {
        // The client is gone already: the next one may be there.
        let is_its_own = matches!(
            error.kind(),
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
        );
        self.shared.counts.accept_errors.one();
        (!is_its_own).then(|| Instant::now() + SHORTAGE)
    }

    fn ended(&self, result: Result<(), tokio::task::JoinError>) {
        if result.is_err_and(|error| error.is_panic()) {
            self.shared.counts.panicked.one();
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) -> Drained {
        let open = connections.len();
        // Each ends by itself in time; this is for services that panic, block or do not yield.
        let deadline = Instant::now() + self.shared.limits.drain + SECOND;
        while let Ok(Some(result)) = timeout_at(deadline, connections.join_next()).await {
            self.ended(result);
        }
        let left = connections.len();
        connections.shutdown().await;
        let overdue = self.shared.counts.overdue.now();
        let cut = left.saturating_add(usize::try_from(overdue).unwrap_or(usize::MAX));
        Drained {
            open,
            cut: cut.min(open),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// What the loop waits for.
struct Events<'a> {
    listener: &'a TcpListener,
    /// Nothing is accepted until then.
    pause: Option<Instant>,
    second: Pin<Box<tokio::time::Sleep>>,
}

enum Event {
    Stop,
    Ended(Result<(), tokio::task::JoinError>),
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Second,
}

impl Events<'_> {
    async fn next(
        &mut self,
        connections: &mut JoinSet<()>,
        mut until: Pin<&mut impl Future>,
    ) -> Event {
        let mut pause = pin!(self.pause.take().map(tokio::time::sleep_until));
        let mut is_paused = pause.is_some();
        poll_fn(|context| {
            if until.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Stop);
            }
            // Before others are accepted: what has ended gives its memory back.
            if let Poll::Ready(Some(result)) = connections.poll_join_next(context) {
                return Poll::Ready(Event::Ended(result));
            }
            if self.second.as_mut().poll(context).is_ready() {
                self.second.as_mut().reset(Instant::now() + SECOND);
                return Poll::Ready(Event::Second);
            }
            if let Some(pause) = pause.as_mut().as_pin_mut() {
                if is_paused && pause.poll(context).is_pending() {
                    return Poll::Pending;
                }
                is_paused = false;
            }
            self.listener.poll_accept(context).map(Event::Accepted)
        })
        .await
    }
}

impl Shared {
    /// How long a connection may take until its handshake is complete.
    pub(super) fn opening_time(&self) -> Duration {
        match &self.transport {
            Transport::Tls(acceptor) => at_most_a_year(acceptor.handshake_timeout()),
            Transport::Plain => self.limits.head_time,
        }
    }

    /// What `future` gives, unless the server is stopped before.
    pub(super) async fn unless_stopping<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stop = pin!(self.stop.notified());
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            // Polled first: whoever stops after the look at the flag wakes it.
            let told = stop.as_mut().poll(context).is_ready();
            match told || self.is_stopping.load(Ordering::Acquire) {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn close_overdue(&self) {
        if let Transport::Tls(acceptor) = &self.transport {
            // What it says of the clock, each request is told as well.
            let _ = acceptor.tls().close_overdue();
        }
    }
}

fn http1(limits: &ServeLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Times are kept by `Driver`: hyper does not tell a slow head from no head.
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(BUFFER));
    if limits.head_fields != ServeLimits::FIELDS {
        builder.max_headers(limits.head_fields);
    }
    builder
}

/// What a connection of HTTP/1.1 keeps of a body, and a stream of HTTP/2 of a response.
const BUFFER: usize = 64 << 10;
/// What a connection of HTTP/2 keeps of bodies that nobody reads.
const WINDOW: u32 = 1 << 20;
/// hyper's own: streams that were reset by us for what the client did.
const OWN_RESETS: usize = 1024;
/// h2's own: streams that the client reset before they were looked at.
const EARLY_RESETS: usize = 20;

fn http2(limits: &ServeLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(head)
        .max_concurrent_streams(limits.streams)
        .max_pending_accept_reset_streams(EARLY_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW / 4)
        .max_send_buf_size(BUFFER);
    builder
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.shared.limits)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
