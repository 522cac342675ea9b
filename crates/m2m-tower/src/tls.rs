//! `Acceptor`: a TLS handshake that says who came; and `UntilDistrusted`, which ends with the trust in them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use m2m_pki::tls::{LiveTls, OpenConnection, PeerError};
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
        }
    }

    /// Gives a handshake this long.
    #[must_use]
    pub const fn with_handshake_timeout(mut self, handshake: Duration) -> Self {
        self.handshake = handshake;
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
            .finish()
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
