//! What the acceptor of a connection knows about who is at its other end, handed on in extensions.

use std::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::Request;
use m2m_crypto::CertificateThumbprint;
use tower_service::Service;

/// The address of the other end of the connection: an extension of each of its requests. Only what accepts
/// connections puts one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The certificate whose key the client showed in the handshake, where another TLS stack than
/// `m2m_pki::tls` verified its chain: an extension of each request. Tokens that are bound to it are
/// taken; who the client is, it does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerThumbprint(pub CertificateThumbprint);

/// A service for the requests of one connection: each gets what is known of that connection.
#[derive(Clone)]
pub struct OnConnection<S> {
    inner: S,
    address: Option<PeerAddress>,
    thumbprint: Option<PeerThumbprint>,
    #[cfg(feature = "tls")]
    peer: Option<ConnectedPeer>,
}

impl<S> OnConnection<S> {
    /// Requests go to `inner`, and of the connection nothing is known yet.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            address: None,
            thumbprint: None,
            #[cfg(feature = "tls")]
            peer: None,
        }
    }

    /// The other end has this address.
    #[must_use]
    pub const fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = Some(PeerAddress(address));
        self
    }

    /// The other end showed the key of this certificate, as another TLS stack says.
    #[must_use]
    pub const fn with_thumbprint(mut self, thumbprint: CertificateThumbprint) -> Self {
        self.thumbprint = Some(PeerThumbprint(thumbprint));
        self
    }

    /// The other end is this peer.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_peer(mut self, peer: ConnectedPeer) -> Self {
        self.peer = Some(peer);
        self
    }
}

impl<S, B> Service<Request<B>> for OnConnection<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        if let Some(address) = self.address {
            extensions.insert(address);
        }
        if let Some(thumbprint) = self.thumbprint {
            extensions.insert(thumbprint);
        }
        #[cfg(feature = "tls")]
        if let Some(peer) = &self.peer {
            extensions.insert(peer.clone());
        }
        self.inner.call(request)
    }
}

impl<S> fmt::Debug for OnConnection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnConnection")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "tls")]
pub use of_tls::ConnectedPeer;

#[cfg(feature = "tls")]
mod of_tls {
    use std::fmt;
    use std::sync::Arc;

    use m2m_pki::tls::{OpenConnection, Peer, PeerError};
    use m2m_types::Timestamp;

    /// Who is at the other end of a connection, and whether that is still so: an extension of each of its
    /// requests. Cloning copies pointers.
    #[derive(Clone)]
    pub struct ConnectedPeer {
        peer: Peer,
        open: Arc<OpenConnection>,
    }

    impl ConnectedPeer {
        /// `peer` is at the other end of the connection that `open` watches.
        pub fn new(peer: Peer, open: Arc<OpenConnection>) -> Self {
            Self { peer, open }
        }

        /// Who it is.
        pub const fn peer(&self) -> &Peer {
            &self.peer
        }

        /// Whether it is still trusted: two loads.
        ///
        /// # Errors
        ///
        /// [`PeerError`].
        pub fn check(&self, now: Timestamp) -> Result<(), PeerError> {
            self.open.check(now)
        }

        pub(crate) fn open(&self) -> Arc<OpenConnection> {
            Arc::clone(&self.open)
        }
    }

    impl fmt::Debug for ConnectedPeer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_tuple("ConnectedPeer").field(&self.peer).finish()
        }
    }
}
