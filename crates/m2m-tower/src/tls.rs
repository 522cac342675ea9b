//! `Acceptor`: a TLS handshake that says who came; and `UntilDistrusted`, which ends with the trust in them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
#[cfg(any(feature = "metrics", feature = "tracing"))]
use std::time::Instant;

use m2m_pki::tls::{LiveTls, OpenConnection, PeerError};
#[cfg(feature = "tracing")]
use m2m_types::ServiceId;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection::ConnectedPeer;

/// Accepts TLS connections whose clients are known by their certificates, by what is trusted and revoked at
/// that moment.
#[derive(Clone)]
pub struct Acceptor {
    tls: LiveTls,
    handshake: Duration,
    observed: ObservedHandshakes,
}

/// Why a connection was not accepted: for operators. The client gets an alert.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The handshake failed.
    #[error("handshake: {0}")]
    Handshake(std::io::Error),
    /// The handshake took too long.
    #[error("the handshake took longer than {limit:?}")]
    Slow {
        /// How long it may take.
        limit: Duration,
    },
    /// The client is not trusted.
    #[error("{0}")]
    Peer(PeerError),
}

impl Acceptor {
    /// How long a handshake may take: a client at the other end of the world needs a second.
    pub const HANDSHAKE: Duration = Duration::from_secs(5);

    /// Accepts clients that `tls` takes.
    pub const fn new(tls: LiveTls) -> Self {
        Self {
            tls,
            handshake: Self::HANDSHAKE,
            observed: ObservedHandshakes::NONE,
        }
    }

    /// Gives a handshake this long.
    #[must_use]
    pub const fn with_handshake_timeout(mut self, handshake: Duration) -> Self {
        self.handshake = handshake;
        self
    }

    /// Counts handshakes in `metrics`, and how long those took that ended well.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn with_metrics(mut self, metrics: &crate::Metrics) -> Self {
        self.observed.metrics = Some(metrics.handshakes());
        self
    }

    /// Emits an event `m2m.not_accepted` for each connection that is not, at most a hundred a second, and a span
    /// `m2m.handshake` at `DEBUG` for each handshake.
    #[cfg(feature = "tracing")]
    #[must_use]
    pub fn with_tracing(mut self) -> Self {
        self.observed.traces = Some((Instant::now(), crate::observe::Sampler::default()));
        self
    }

    /// How long a handshake may take.
    #[cfg(feature = "serve")]
    pub(crate) const fn handshake_timeout(&self) -> Duration {
        self.handshake
    }

    #[cfg(feature = "serve")]
    pub(crate) const fn tls(&self) -> &LiveTls {
        &self.tls
    }

    /// Does the handshake on `stream`, and knows its client from then on. Run it in a task of its own: a
    /// client that says nothing keeps nobody else waiting then.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]; the connection is closed.
    pub async fn accept<S>(&self, stream: S) -> Result<(TlsStream<S>, ConnectedPeer), AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = self.observed.begin();
        let result = self.shake(stream).await;
        let told = result.as_ref().map(|(_, peer)| peer);
        self.observed.ended(begun, told);
        result
    }

    async fn shake<S>(&self, stream: S) -> Result<(TlsStream<S>, ConnectedPeer), AcceptError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.handshake;
        let shake = TlsAcceptor::from(self.tls.server_config()).accept(stream);
        let stream = tokio::time::timeout(limit, shake)
            .await
            .map_err(|_| AcceptError::Slow { limit })?
            .map_err(AcceptError::Handshake)?;
        let (_, connection) = stream.get_ref();
        let peer = self.tls.peer(connection).map_err(AcceptError::Peer)?;
        // Nothing to call: whoever serves the connection is woken.
        let open = self.tls.watch(&peer, |_| ()).map_err(AcceptError::Peer)?;
        let connected = ConnectedPeer::new(peer, Arc::new(open));
        Ok((stream, connected))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("tls", &self.tls)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

/// How a handshake ended.
#[cfg(any(feature = "metrics", feature = "tracing"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shaken {
    Accepted,
    Failed,
    Slow,
    Refused,
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
impl Shaken {
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 4] = [Self::Accepted, Self::Failed, Self::Slow, Self::Refused];

    m2m_types::codes! {
        pub(crate) fn code;
        Self::Accepted => "accepted",
        Self::Failed => "failed",
        Self::Slow => "slow",
        Self::Refused => "refused",
    }
}

/// Who is told of handshakes. Nobody is unless somebody asked for it, and then nothing is measured.
#[derive(Clone)]
struct ObservedHandshakes {
    #[cfg(feature = "metrics")]
    metrics: Option<crate::observe::HandshakeMetrics>,
    #[cfg(feature = "tracing")]
    traces: Option<(Instant, crate::observe::Sampler)>,
}

/// What was begun for one handshake.
struct BegunHandshake {
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    since: Instant,
    #[cfg(feature = "tracing")]
    span: Option<crate::observe::Kept>,
}

impl ObservedHandshakes {
    const NONE: Self = Self {
        #[cfg(feature = "metrics")]
        metrics: None,
        #[cfg(feature = "tracing")]
        traces: None,
    };

    fn begin(&self) -> BegunHandshake {
        BegunHandshake {
            #[cfg(any(feature = "metrics", feature = "tracing"))]
            since: Instant::now(),
            #[cfg(feature = "tracing")]
            span: self
                .traces
                .as_ref()
                .and_then(|_| crate::observe::handshake()),
        }
    }

    #[cfg(not(any(feature = "metrics", feature = "tracing")))]
    fn ended(&self, _: BegunHandshake, _: Result<&ConnectedPeer, &AcceptError>) {}

    #[cfg(any(feature = "metrics", feature = "tracing"))]
    fn ended(&self, begun: BegunHandshake, result: Result<&ConnectedPeer, &AcceptError>) {
        let took = begun.since.elapsed();
        let outcome = match result {
            Ok(_) => Shaken::Accepted,
            Err(AcceptError::Handshake(_)) => Shaken::Failed,
            Err(AcceptError::Slow { .. }) => Shaken::Slow,
            Err(AcceptError::Peer(_)) => Shaken::Refused,
        };
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &self.metrics {
            metrics.count(outcome, took);
        }
        #[cfg(feature = "tracing")]
        if let Some((since, sampler)) = &self.traces {
            let span = begun.span.as_ref();
            let peer = result.ok().and_then(|peer| peer.peer().service_id());
            crate::observe::shaken(span, outcome.code(), peer.map(ServiceId::as_str));
            if let (Err(error), Some(left_out)) = (result, sampler.take(since.elapsed().as_secs()))
            {
                crate::observe::not_accepted(outcome.code(), error, took, left_out, span);
            }
        }
    }
}

pin_project! {
    /// A future that ends when trust in a peer does: what serves its connection, which is then dropped and
    /// closed, whatever it was doing.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct UntilDistrusted<F> {
        #[pin]
        serving: F,
        open: Arc<OpenConnection>,
    }
}

impl<F: Future> UntilDistrusted<F> {
    /// Polls `serving` as long as `peer` is trusted. One such future for each connection.
    pub fn new(serving: F, peer: &ConnectedPeer) -> Self {
        Self {
            serving,
            open: peer.open(),
        }
    }
}

impl<F: Future> Future for UntilDistrusted<F> {
    type Output = Result<F::Output, PeerError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(error) = Pin::new(&mut this.open.closed()).poll(context) {
            return Poll::Ready(Err(error));
        }
        this.serving.poll(context).map(Ok)
    }
}

impl<F> fmt::Debug for UntilDistrusted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilDistrusted")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
