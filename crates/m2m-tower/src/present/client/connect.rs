//! `Open`: a connection, who is at its other end, and which certificate it shows.

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use m2m_crypto::CertificateThumbprint;
use m2m_types::Timestamp;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Attached, ClientError, Inner};
use crate::connection::ConnectedPeer;
use crate::tls::UntilDistrusted;

/// A connection.
pub(super) struct Open<B> {
    sender: SendRequest<B>,
    peer: ConnectedPeer,
    shown: CertificateThumbprint,
}

impl<B> Open<B> {
    /// The certificate that it shows.
    pub(super) const fn shown(&self) -> &CertificateThumbprint {
        &self.shown
    }

    /// Whether it is open, and its other end trusted.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        !self.sender.is_closed() && self.peer.check(now).is_ok()
    }
}

impl<B> Open<B>
where
    B: Body + Send + 'static,
{
    /// Sends a request. One that was certainly not sent comes back with the error.
    pub(super) async fn send(
        &mut self,
        request: Request<B>,
    ) -> Result<Response<Incoming>, (Option<Request<B>>, ClientError)> {
        let failed = |error: hyper::Error| ClientError::Http(error.to_string().into());
        if let Err(error) = self.sender.ready().await {
            return Err((Some(request), failed(error)));
        }
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|mut error| (error.take_message(), failed(error.into_error())))
    }
}

impl<B> Inner<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Opens a connection, for which there is a token if there has to be one.
    pub(super) async fn open(&self, attached: Option<&Attached>) -> Result<Open<B>, ClientError> {
        let limit = self.limits.connect;
        let opening = async {
            let (stream, shown) = self.handshake().await?;
            if let Some(Attached(tokens)) = attached
                && tokens.bound_to(&shown, self.now()?).is_none()
            {
                tokens.wait_bound_to(&shown).await;
            }
            self.serve(stream, shown).await
        };
        let opened = tokio::time::timeout(limit, opening).await;
        opened.unwrap_or(Err(ClientError::Slow { limit }))
    }

    /// A handshake, and which certificate was shown in it: that which was ours all the time.
    async fn handshake(
        &self,
    ) -> Result<(TlsStream<TcpStream>, CertificateThumbprint), ClientError> {
        const HANDSHAKES: usize = 8;
        let host = self.origin.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let unusable = |_| ClientError::Handshake(std::io::ErrorKind::InvalidInput);
        let name = ServerName::try_from(bare).map_err(unusable)?.to_owned();
        for _ in 0..HANDSHAKES {
            let stream = self.connect(bare).await?;
            let before = self.certificate();
            let shake = TlsConnector::from(self.connector.config()).connect(name.clone(), stream);
            let stream = shake
                .await
                .map_err(|error| ClientError::Handshake(error.kind()))?;
            if self.certificate() == before {
                return Ok((stream, before));
            }
        }
        Err(ClientError::Unsettled {
            handshakes: HANDSHAKES,
        })
    }

    async fn connect(&self, host: &str) -> Result<TcpStream, ClientError> {
        let addresses = tokio::net::lookup_host((host, self.origin.port()))
            .await
            .map_err(|error| ClientError::Resolve(error.kind()))?;
        let mut failure = ClientError::Resolve(std::io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A request is small and waited for.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = ClientError::Connect(error.kind()),
            }
        }
        Err(failure)
    }

    /// Looks who is at the other end, and has the connection closed when nobody trusts them any more.
    async fn serve(
        &self,
        stream: TlsStream<TcpStream>,
        shown: CertificateThumbprint,
    ) -> Result<Open<B>, ClientError> {
        let (_, connection) = stream.get_ref();
        let connector = &self.connector;
        let peer = connector.peer(connection).map_err(ClientError::Peer)?;
        // Nothing to call: whoever serves the connection is woken.
        let watched = connector.watch(&peer, |_| ()).map_err(ClientError::Peer)?;
        let peer = ConnectedPeer::new(peer, Arc::new(watched));
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Http(error.to_string().into()))?;
        let serving = UntilDistrusted::new(connection, &peer);
        tokio::spawn(async move {
            // What went wrong is told to whoever sent the request.
            let _ = serving.await;
        });
        Ok(Open {
            sender,
            peer,
            shown,
        })
    }
}
